"""README.md of a derived dandiset: what each result was fitted to, from the draft's own metadata.

The text follows from the draft alone, so that results of several folders are in it together, and
the same results give the same bytes, which are not sent twice.
"""

from collections.abc import Mapping

from nwbdyn import archive, scratch
from nwbdyn.archive import DraftAsset
from nwbdyn.archive.catalogue import RESULTS
from nwbdyn.printable import printable
from nwbdyn.progress import Report, silent

NAME = "README.md"
ACTIVITY = "nwbdyn README"  # in the metadata of a README that may be replaced
SENT, THERE, LEFT = "sent", "there", "left as it is"

_HEAD = """# Results of nwbdyn

Functional connectivity and predictions of population activity, fitted to recordings of the DANDI
archive and of others. Each file states its recording, and where it comes from; the recordings
themselves are not in here. The files are NWB: any NWB tool opens them.

```python
import nwbdyn

with nwbdyn.open_results("FILE.nwb") as fit:
    print(fit.summary())
```

"""


def text(assets: Mapping[str, DraftAsset]) -> str:
    """The README of a draft: one line per result, sorted by path."""
    results = sorted(path for path in assets if RESULTS in assets[path].activities)
    lines = [f"- `{printable(path)}`: {_described(assets[path])}" for path in results]
    return _HEAD + "\n".join([f"{len(results)} results:", "", *lines, ""])


def is_own(asset: DraftAsset | None) -> bool:
    """True where there is no README yet, or one that nwbdyn wrote."""
    return asset is None or ACTIVITY in asset.activities


def update(dandiset_id: str, *, instance: str | None = None, report: Report = silent) -> str:
    """Write README.md into a draft that holds results; return "sent", "there" or "left as it is".

    Returns an empty string where the draft holds no result.

    Raises:
        ArchiveError: the archive cannot be reached, or refuses.
    """
    assets = archive.draft_assets(dandiset_id, instance=instance)
    if not any(RESULTS in asset.activities for asset in assets.values()):
        return ""
    known = assets.get(NAME)
    if not is_own(known):
        return LEFT
    with scratch.folder() as folder:
        path = folder / NAME
        path.write_text(text(assets), encoding="utf-8", newline="\n")
        if known is not None and known.digest == archive.etag(path):
            return THERE
        archive.upload(
            path,
            f"dandi:{dandiset_id}",
            instance=instance,
            asset_path=NAME,
            generated_by=[{"schemaKey": "Activity", "name": ACTIVITY}],
            replace=True,
            report=report,
        )
    return SENT


def _described(asset: DraftAsset) -> str:
    return printable(" ".join(asset.activities[RESULTS].split()))
