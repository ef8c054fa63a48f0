"""The archive's own validation of an uploaded file, which takes it some time.

The archive lists a file that it has not looked at yet among the validation errors of its draft.
"""

import time
from dataclasses import dataclass

from nwbdyn.archive.addresses import DandiAddress
from nwbdyn.archive.assets import dandiset_at
from nwbdyn.archive.connection import Connection, connect
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Source

PATIENCE = 120.0  # seconds; small files take the archive less than a minute
PAUSE = 2.0  # seconds between two questions
_WAITING = "asset is currently being validated"  # how the archive's message begins


@dataclass(frozen=True)
class Verdict:
    """Result of the archive's validation of one file."""

    pending: bool  # it is not done with it
    rejections: tuple[str, ...] = ()  # what it says against it, so far


def wait(
    asset: Source,
    *,
    patience: float | None = None,
    pause: float = PAUSE,
    report: Report = silent,
) -> Verdict:
    """The archive's verdict on an asset of a draft, waited for.

    Args:
        asset: from `upload`.
        patience: seconds to wait at most, by default PATIENCE; then the verdict is pending.
        pause: seconds between two questions.
        report: called with the seconds that have passed.

    Raises:
        AddressError, ArchiveError: the archive does not answer.
    """
    limit = PATIENCE if patience is None else patience
    begun = time.monotonic()
    with connect(asset.instance) as connection:
        while True:
            verdict = _verdict(connection, asset)
            waited = time.monotonic() - begun
            if not verdict.pending or waited + pause > limit:
                return verdict
            report(Progress("validating", waited, limit, "s"))
            time.sleep(pause)


def _verdict(connection: Connection, asset: Source) -> Verdict:
    draft = dandiset_at(connection, DandiAddress(asset.dandiset_id or "", "draft"))
    version = connection.ask(lambda: draft.get_version("draft"))
    pending, rejections = False, []
    for error in version.asset_validation_errors:
        # older servers name the path in the field of a file that waits
        waits = error.message.startswith(_WAITING)
        path = error.path or (error.field if waits else None)
        if path != asset.asset_path:
            continue
        pending |= waits
        if not waits:
            rejections.append(f"{error.field}: {error.message}" if error.field else error.message)
    return Verdict(pending, tuple(dict.fromkeys(rejections)))
