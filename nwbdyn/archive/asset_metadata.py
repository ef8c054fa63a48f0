"""Metadata of a local file in the archive's schema, as the dandi client extracts them.

Of C. elegans nwbinspector accepts the sexes "XX" and "XO" only, and the client (0.81) refuses both.
Files with one of them get the term of the ontology that the archive uses.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dandi.files import LocalFileAsset
    from dandischema.models import BareAsset

SEXES = {
    "XX": ("Hermaphrodite", "http://purl.obolibrary.org/obo/PATO_0001340"),
    "XO": ("Male", "http://purl.obolibrary.org/obo/PATO_0000384"),
}


def of_file(local: "LocalFileAsset", *, digest: Any = None) -> dict[str, Any]:
    """Metadata of a file, without empty fields.

    Args:
        local: the file; an NWB file gets what is extracted from it, any other one its bytes only.
        digest: of its bytes.

    Raises:
        ValueError, RuntimeError: a field that the archive's schema does not know.
    """
    from dandi.metadata.nwb import get_metadata

    stated = (get_metadata(local.filepath) or {}) if local.filepath.suffix == ".nwb" else {}
    if stated.get("sex") in SEXES:
        extracted = _with_sex(local, stated, digest)
    else:
        extracted = local.get_metadata(digest=digest, ignore_errors=False)
    return extracted.model_dump(mode="json", exclude_none=True)


def _with_sex(local: "LocalFileAsset", stated: dict[str, Any], digest: Any) -> "BareAsset":
    """Metadata as `dandi.metadata.nwb.nwb2asset` extracts them, with the sex of the ontology."""
    from datetime import datetime

    from dandi.metadata.core import add_common_metadata, prepare_metadata
    from dandi.metadata.util import process_ndtypes
    from dandischema.models import SexType

    begun = datetime.now().astimezone()
    name, term = SEXES[stated["sex"]]
    extracted = prepare_metadata({**stated, "sex": ""})
    for animal in extracted.wasAttributedTo or ():
        animal.sex = SexType(schemaKey="SexType", identifier=term, name=name)
    process_ndtypes(extracted, stated["nd_types"])
    ended = datetime.now().astimezone()
    add_common_metadata(extracted, local.filepath, begun, ended, digest)
    extracted.encodingFormat = "application/x-nwb"
    extracted.path = local.path
    return extracted
