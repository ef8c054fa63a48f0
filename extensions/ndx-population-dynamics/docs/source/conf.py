"""Sphinx configuration; pages are made of the specification, the README and the changelog."""

from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SPEC = ROOT / "spec"
KINDS = {None: "dataset", "VectorData": "column", "DynamicTableRegion": "region"}
PARTS = ("attributes", "datasets", "groups", "links")

namespace = yaml.safe_load((SPEC / "ndx-population-dynamics.namespace.yaml").read_text("utf-8"))
(described,) = namespace["namespaces"]

project = described["name"]
author = ", ".join(described["author"])
version = release = described["version"]
extensions = ["myst_parser"]
html_theme = "sphinx_rtd_theme"
exclude_patterns = ["build"]
myst_heading_anchors = 3
# Links of the README to files of the repository, and its diagram, which is not drawn here.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]


def of(part: str, item: dict) -> tuple[str, str]:
    """Kind of a field, and type or data type."""
    if part == "attributes":
        dtype = item["dtype"]
        return "attribute", dtype if isinstance(dtype, str) else dtype["target_type"]
    if part == "datasets":
        return KINDS[item.get("neurodata_type_inc")], str(item.get("dtype", "any"))
    if part == "groups":
        return "group", item["neurodata_type_inc"]
    return "link", item["target_type"]


def types_page(name: str) -> str:
    """Every type of a schema file with its fields."""
    lines = []
    for spec in yaml.safe_load((SPEC / name).read_text("utf-8"))["groups"]:
        title = f"{spec['neurodata_type_def']} ({spec['neurodata_type_inc']})"
        lines += [f"## {title}", "", spec["doc"], ""]
        rows = [
            f"| {item.get('name', '(any name)')} | {' | '.join(of(part, item))} | {item['doc']} |"
            for part in PARTS
            for item in spec.get(part, ())
        ]
        if rows:
            lines += ["| name | kind | of | |", "| --- | --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


main = types_page("ndx-population-dynamics.extensions.yaml")
legacy = types_page("ndx-population-dynamics.legacy.yaml").replace("\n## ", "\n### ")
(HERE / "types.md").write_text(
    f"# Types\n\n{main}\n## Types of versions 0.1 and 0.2\n\n#{legacy}", "utf-8"
)
(HERE / "description.md").write_text((ROOT / "README.md").read_text("utf-8"), "utf-8")
(HERE / "release_notes.md").write_text((ROOT / "CHANGELOG.md").read_text("utf-8"), "utf-8")
