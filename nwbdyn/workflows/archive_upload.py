"""Upload to the archive: check path and file as the archive will, then send to a draft.

Nothing is sent while the checks find a problem, and nothing at all in a rehearsal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nwbdyn import archive, disclosure
from nwbdyn.archive import asset_metadata
from nwbdyn.archive.catalogue import RESULTS
from nwbdyn.errors import AddressError, ArchiveError, ConfigError, ResultsError
from nwbdyn.nwb.read import copied_from
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Source

_UNSTATED = "its archive does not state the access, it needs a key, or only this network reaches it"


@dataclass(frozen=True)
class ValidatedFile:
    """A file that passed the archive's checks, and where it would go."""

    path: Path
    dandiset: str  # dandi:ID
    asset_path: str
    size: int  # bytes


@dataclass(frozen=True)
class UploadResult:
    """Result of an upload."""

    asset: Source
    relation: str  # one sentence on the dandiset's `relatedResource`; empty where none is due
    rejections: tuple[str, ...]  # what the archive's own validation says against it, so far
    pending: bool = False  # the archive's validation is not done


def check_draft(
    dandiset: str,
    *sources: Source,
    instance: str | None = None,
    allow_embargoed: bool = False,
    allow_unknown_access: bool = False,
) -> None:
    """Make sure, before any work is done, that results of `sources` may go to a dandiset.

    Args:
        dandiset: `dandi:ID`.
        sources: the recording that was fitted, and every other one whose data are in the fit.
        instance: archive of `dandiset`.
        allow_embargoed: let results of an embargoed recording go to an open dandiset.
        allow_unknown_access: let results go there although no archive says who may see the
            recording.

    Raises:
        AddressError: no such dandiset.
        ArchiveError: the archive of the dandiset cannot be reached.
        ResultsError: the dandiset is open, and a recording is embargoed, or nobody can tell.
    """
    draft = archive.draft(dandiset, instance=instance)
    if draft.embargoed:
        return
    open_to_all = f"dandi:{draft.dandiset_id} is open to everybody"
    for source in sources:
        access, reason = _access(source)
        if access == "embargoed" and not allow_embargoed:
            raise ResultsError(
                f"{source.uri} is embargoed, and {open_to_all}. Send the results to an embargoed "
                "dandiset, or pass --allow-embargoed if its owners agree."
            )
        if access == "unknown" and not allow_unknown_access:
            raise ResultsError(
                f"Who may see {source.uri} is unknown ({reason}), and {open_to_all}. Send the "
                "results to an embargoed dandiset, or pass --allow-unknown-access if you know that "
                "the recording is open."
            )


def check_file(path: Path, dandiset: str, *checked: Source, **choices: Any) -> None:
    """Make sure that every recording that a file names may be seen by those who may see the file.

    A file may hold more than the results of one fit: those of other fits, and a copy of a
    recording.

    Args:
        path: file that would be sent.
        dandiset: `dandi:ID`.
        checked: recordings that `check_draft` has checked already.
        choices: further arguments of `check_draft`.

    Raises:
        ResultsError: the dandiset is open, and one of them is embargoed, or nobody can tell.
        ReadError: the file cannot be read.
    """
    known = {replace(disclosure.of_source(source), size=None) for source in checked}
    named = copied_from.of_file(path)
    others = [source for source in named if replace(source, size=None) not in known]
    if others:
        check_draft(dandiset, *others, **choices)


def _access(source: Source) -> tuple[archive.Access, str]:
    """Access to a recording, and the reason if it is unknown."""
    try:
        return archive.access(source), _UNSTATED
    except (AddressError, ArchiveError, ConfigError) as error:
        return "unknown", str(error).rstrip(".")


def validate_for_upload(path: Path, dandiset: str, *, report: Report = silent) -> ValidatedFile:
    """Check `path` as the archive does, and return its path in the archive.

    The checks are nwbinspector's under the dandi configuration and the archive's own validation of
    the file and its name.

    Args:
        path: an exported NWB file.
        dandiset: `dandi:ID`.

    Raises:
        AddressError: the file's name names no subject.
        ResultsError: the archive would not take the file; every problem is in the message.
    """
    asset_path = archive.default_asset_path(path)
    report(Progress("checking", 0, 1, "files"))
    problems = _problems(path, asset_path)
    report(Progress("checking", 1, 1, "files"))
    if problems:
        subject = any("subject" in problem.lower() for problem in problems)
        fix = " Pass --subject FIELD=VALUE and --overwrite." if subject else ""
        raise ResultsError(
            f"{path.name} is not ready for the archive, so nothing was sent: "
            f"{'; '.join(problems)}.{fix}"
        )
    return ValidatedFile(path, dandiset, asset_path, path.stat().st_size)


def send(
    parcel: ValidatedFile,
    *sources: Source,
    instance: str | None = None,
    replace: bool = False,
    report: Report = silent,
) -> UploadResult:
    """Send a checked file to the draft of its dandiset; the same bytes are not sent twice.

    The asset's `wasGeneratedBy` names nwbdyn and the recordings, and the dandiset's
    `relatedResource` the dandisets that they come from, where the archive permits that.

    Args:
        sources: the recording that was fitted, and every other one whose data are in the fit.

    Raises:
        AddressError, ArchiveError, ResultsError: see `archive.upload`.
    """
    result = send_unvalidated(parcel, *sources, instance=instance, replace=replace, report=report)
    verdict = archive.wait_for_validation(result.asset, report=report)
    return UploadResult(result.asset, result.relation, verdict.rejections, verdict.pending)


def send_unvalidated(
    parcel: ValidatedFile,
    *sources: Source,
    instance: str | None = None,
    replace: bool = False,
    report: Report = silent,
) -> UploadResult:
    """Send as `send` does, without a wait for the archive's validation, which stays pending."""
    asset = archive.upload(
        parcel.path,
        parcel.dandiset,
        instance=instance,
        asset_path=parcel.asset_path,
        generated_by=[_activity(sources)],
        replace=replace,
        report=report,
    )
    named = {source.dandiset_id: source for source in sources}
    related = [_related(parcel, source, instance) for source in named.values()]
    return UploadResult(asset, " ".join(filter(None, related)), (), pending=True)


def _related(parcel: ValidatedFile, source: Source, instance: str | None) -> str:
    """Relate the dandiset to its source; return a failure, since the file itself has arrived."""
    try:
        if archive.relate(parcel.dandiset, source, instance=instance):
            return f"{parcel.dandiset} now says that it is derived from DANDI:{source.dandiset_id}."
    except ArchiveError as error:
        return (
            f"{parcel.dandiset} does not say that it is derived from DANDI:{source.dandiset_id}: "
            f"{error}"
        )
    return ""


def _problems(path: Path, asset_path: str) -> list[str]:
    from dandi.files import NWBAsset
    from nwbinspector import Importance, inspect_nwbfile, load_config

    problems = {
        message.message.rstrip("."): f" ({message.location or '/'})"
        for message in inspect_nwbfile(
            nwbfile_path=path,
            config=load_config("dandi"),
            importance_threshold=Importance.CRITICAL,
        )
    }
    asset = NWBAsset(filepath=path, path=asset_path, dandiset_path=None)
    for error in asset.get_validation_errors():  # with those of nwbinspector once more
        if error.severity is not None and error.severity.name in ("ERROR", "CRITICAL"):
            problems.setdefault(str(error.message).rstrip("."), "")
    try:
        asset_metadata.of_file(asset)
    except (ValueError, RuntimeError) as error:
        problems.setdefault(f"The dandi client cannot extract its metadata: {error}", "")
    return [message + where for message, where in problems.items()]


def _activity(sources: Sequence[Source]) -> dict[str, Any]:
    """The activity that made an asset, in the archive's schema: nwbdyn, and its recordings."""
    from nwbdyn.version import __version__

    fitted, *others = (_named(source) for source in sources)
    also = f" Data of these are in the fit, too: {'; '.join(others)}." if others else ""
    return {
        "schemaKey": "Activity",
        "name": RESULTS,  # by which `nwbdyn find --results` knows them
        "description": f"Fitted to {fitted} with nwbdyn {__version__}.{also}",
        "wasAssociatedWith": [
            {"schemaKey": "Software", "name": "nwbdyn", "version": __version__},
        ],
    }


def _named(source: Source) -> str:
    """Address and digest of a recording, without anything private."""
    digest = f", {source.digest}" if source.digest else ""
    return f"{disclosure.of_uri(source.uri)}{digest}"
