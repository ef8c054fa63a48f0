"""A DANDI archive on loopback, made of a folder of files, good enough for the real client.

    with StandIn(folder) as archive:
        ...  # archive.api is what --instance takes

`folder/000001/sub-x/sub-x.nwb` is the asset `sub-x/sub-x.nwb` of dandiset 000001. Storage is served
beside the API with byte ranges, and can be told to fail (`faults`).
"""

from standin.archive import KEY, StandIn
from standin.storage import FAULTS, Faults

__all__ = ["FAULTS", "KEY", "Faults", "StandIn"]
