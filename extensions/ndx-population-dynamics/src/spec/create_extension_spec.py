"""Write the specification of ndx-population-dynamics: the YAML files in `spec/`.

Run it after every change of a type, and commit the files; a test runs it again and compares.
Attributes are `int`, never `int64`, and texts in datasets are `text`, never `isodatetime`: older
readers cannot open files that use the others.
"""

import argparse
import sys
from pathlib import Path

from pynwb.spec import NWBNamespaceBuilder

sys.path.insert(0, str(Path(__file__).resolve().parent))
from connectivity_types import CONNECTIVITY_TYPES
from legacy_types import LEGACY_TYPES
from result_types import RESULT_TYPES
from run_types import RUN_TYPES

NAME, VERSION = "ndx-population-dynamics", "0.3.0"
SPEC_FOLDER = Path(__file__).resolve().parents[2] / "spec"
TYPES = [*RUN_TYPES, *RESULT_TYPES, *CONNECTIVITY_TYPES]


def main(output: Path) -> None:
    namespace = NWBNamespaceBuilder(
        name=NAME,
        version=VERSION,
        doc="Models of neural population dynamics: predicted activity and coupling over time",
        author=["nwbdyn developers"],
    )
    namespace.include_namespace("core")
    for spec in TYPES:
        namespace.add_spec(f"{NAME}.extensions.yaml", spec)
    for spec in LEGACY_TYPES:
        namespace.add_spec(f"{NAME}.legacy.yaml", spec)
    namespace.export(f"{NAME}.namespace.yaml", outdir=str(output))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", type=Path, default=SPEC_FOLDER)
    main(parser.parse_args().output)
