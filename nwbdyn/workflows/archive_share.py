"""Results of several runs in one derived dandiset, each with its lineage, and a README for all.

A run that cannot be shared does not stop the others. Nothing but the draft itself states what was
done: a second call compares digests, leaves what is there, and tries again what failed.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nwbdyn import archive, disclosure
from nwbdyn.errors import NwbdynError, ResultsError
from nwbdyn.nwb.results import derivative
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Source
from nwbdyn.results import fit_results
from nwbdyn.workflows import archive_upload, shared_readme
from nwbdyn.workflows.export import ROUNDED, default_path, export, is_exported

NEW, REPLACE, THERE, SENT = "new", "replace", "there", "sent"
REFUSED, REJECTED, FAILED = "refused", "rejected", "failed"
PROBLEMS = (REFUSED, REJECTED, FAILED)


@dataclass(frozen=True)
class Target:
    """The dandiset that receives results, and what may go there; see `check_draft`."""

    dandiset: str  # dandi:ID
    instance: str | None = None
    replace: bool = False  # assets of the same path with other bytes
    allow_embargoed: bool = False
    allow_unknown_access: bool = False

    @property
    def access(self) -> dict[str, Any]:
        """Arguments of `check_draft`."""
        return {
            "instance": self.instance,
            "allow_embargoed": self.allow_embargoed,
            "allow_unknown_access": self.allow_unknown_access,
        }


@dataclass(frozen=True)
class SharedRun:
    """Result of one run.

    `status`: "new" or "replace" in a dry run; "there" (the same bytes are in the draft) or "sent";
    "refused" (access to the recording), "rejected" (by the archive's validation) or "failed", with
    the reason.
    """

    run: Path
    status: str
    recording: str = ""  # its address
    file: Path | None = None
    asset_path: str = ""
    size: int = 0  # bytes
    sources: tuple[Source, ...] = ()  # recordings whose data are in the fit
    asset: Source | None = None
    reason: str = ""
    pending: bool = False  # the archive's validation is not done


@dataclass(frozen=True)
class Shared:
    """Result of all runs: one row each, in order."""

    runs: tuple[SharedRun, ...]
    readme: str = ""  # "new", "sent", "there", "left as it is" or "failed"; empty: none is due
    remarks: tuple[str, ...] = ()  # sentences on the dandiset's `relatedResource` and README


def share(
    runs: Sequence[Path],
    target: Target,
    *,
    send: bool = False,
    enrich: bool = False,
    subject: Mapping[str, str] | None = None,
    report: Report = silent,
    **choices: Any,
) -> Shared:
    """Export every run, check it, and send what is not in the draft yet.

    The README of the dandiset lists every result in the draft with the recording it was fitted to.
    A README that somebody else wrote is left as it is.

    Args:
        runs: run directories, as `results.run_folder.runs_in` lists them.
        target: the dandiset.
        send: False for a dry run, which exports and checks only.
        enrich, subject, choices: as for `export_folder.export_each`. A file in a run directory
            that already holds the results is not changed.

    Raises:
        AddressError: no such dandiset.
        ArchiveError: the archive of the dandiset cannot be reached.
    """
    draft_id = archive.draft(target.dandiset, instance=target.instance).dandiset_id
    writing = {"enrich": enrich, "subject": dict(subject or {}), **choices}
    rows = []
    for number, run in enumerate(runs, start=1):
        rows.append(_attempt(_exported, SharedRun(run, NEW), writing, target, report))
        report(Progress("exporting", number, len(runs), "runs"))
    there = archive.draft_assets(draft_id, instance=target.instance)
    rows = _without_conflicts(rows)
    rows = [_attempt(_checked, row, target, there, report) for row in rows]
    if not send:
        readme = NEW if _is_due(rows, there) else ""
        return Shared(tuple(rows), readme=readme)
    remarks: list[str] = []
    rows = [_attempt(_sent, row, target, remarks, report) for row in rows]
    readme = _update_readme(draft_id, target, remarks, report)
    patience: float | None = None
    for number, row in enumerate(rows):
        rows[number] = _attempt(_validated, row, patience, report)
        patience = 0.0 if rows[number].pending else patience  # one wait that is too long will do
    return Shared(tuple(rows), readme, tuple(dict.fromkeys(remarks)))


def _attempt(step, row: SharedRun, *arguments) -> SharedRun:
    """`step(row, …)`; an error of this package becomes the row's status and reason."""
    if row.status in PROBLEMS:
        return row
    try:
        return step(row, *arguments)
    except NwbdynError as error:
        return replace(row, status=FAILED, reason=str(error))


def _exported(
    row: SharedRun, writing: Mapping[str, Any], target: Target, report: Report
) -> SharedRun:
    """Exported to its run directory, after a check that it may go to the target.

    The finished file is checked once more, since an enriched copy may hold results of other fits.
    """
    fit = fit_results.load(row.run, recorded=False)
    sources = fit_results.derived_from(fit)
    writing = {**writing, "subject": derivative.unstated_fields(fit, writing["subject"])}
    path = default_path(fit, enrich=writing["enrich"], subject=writing["subject"])
    row = replace(row, recording=disclosure.of_uri(fit.source.uri), sources=sources)
    row = replace(row, asset_path=archive.default_asset_path(path))
    if refusal := _refusal(archive_upload.check_draft, target.dandiset, *sources, **target.access):
        return replace(row, status=REFUSED, reason=refusal)
    plain = not writing.get("dense") and writing.get("precision", ROUNDED) == ROUNDED
    if not (plain and is_exported(fit, path, writing["subject"])):
        path = export(fit, path, report=report, **writing)
    checked = (path, target.dandiset, *sources)
    if refusal := _refusal(archive_upload.check_file, *checked, **target.access):
        return replace(row, status=REFUSED, reason=refusal)
    return replace(row, file=path, size=path.stat().st_size)


def _refusal(check: Callable[..., None], *arguments: Any, **access: Any) -> str:
    """The reason why a check of the access refuses, or nothing."""
    try:
        check(*arguments, **access)
    except ResultsError as error:
        return str(error)
    return ""


def _without_conflicts(rows: Sequence[SharedRun]) -> list[SharedRun]:
    """Rows of which no two have one path in the dandiset; all of those that do have failed."""
    ready = [row for row in rows if row.status not in PROBLEMS]
    count = Counter(row.asset_path for row in ready)
    return [
        replace(
            row,
            status=FAILED,
            reason=f"{count[row.asset_path]} of these runs have the path {row.asset_path}, because "
            "they fit one model to one session. Move those that are not shared to another folder.",
        )
        if row in ready and count[row.asset_path] > 1
        else row
        for row in rows
    ]


def _checked(
    row: SharedRun, target: Target, there: Mapping[str, archive.DraftAsset], report: Report
) -> SharedRun:
    """Compared with the draft, and what is not there validated as the archive would."""
    assert row.file is not None
    known = there.get(row.asset_path)
    if known is not None and known.digest == archive.etag(row.file):
        return replace(row, status=THERE)
    if known is not None and not target.replace:
        raise ResultsError(
            f"{target.dandiset}@draft/{row.asset_path} is there with other content: pass --replace."
        )
    archive_upload.validate_for_upload(row.file, target.dandiset, report=report)
    return replace(row, status=NEW if known is None else REPLACE)


def _sent(row: SharedRun, target: Target, remarks: list[str], report: Report) -> SharedRun:
    """In the draft; bytes that are there already are not sent, but their relation is completed."""
    assert row.file is not None
    result = archive_upload.send_unvalidated(
        archive_upload.ValidatedFile(row.file, target.dandiset, row.asset_path, row.size),
        *row.sources,
        instance=target.instance,
        replace=target.replace,
        report=report,
    )
    if result.relation:
        remarks.append(result.relation)
    return replace(row, status=THERE if row.status == THERE else SENT, asset=result.asset)


def _update_readme(draft_id: str, target: Target, remarks: list[str], report: Report) -> str:
    """Status of the README; the results have arrived, so a failure is a remark."""
    try:
        return shared_readme.update(draft_id, instance=target.instance, report=report)
    except NwbdynError as error:
        remarks.append(f"{shared_readme.NAME} was not sent: {error}")
        return FAILED


def _validated(row: SharedRun, patience: float | None, report: Report) -> SharedRun:
    """With the archive's own validation of the asset."""
    assert row.asset is not None
    verdict = archive.wait_for_validation(row.asset, patience=patience, report=report)
    if verdict.rejections:
        return replace(row, status=REJECTED, reason="; ".join(verdict.rejections))
    return replace(row, pending=verdict.pending)


def _is_due(rows: Sequence[SharedRun], there: Mapping[str, archive.DraftAsset]) -> bool:
    """True where the README would change: something would be sent, and the README is nwbdyn's."""
    changes = any(row.status in (NEW, REPLACE) for row in rows)
    return changes and shared_readme.is_own(there.get(shared_readme.NAME))
