"""Write the section "The types" of docs/format.md from the extension's specification.

    python docs/make_format.py

Run it after a change of a type; a test compares the page with the specification.
"""

from pathlib import Path

import yaml

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "format.md"
SPEC = "extensions/ndx-population-dynamics/spec/ndx-population-dynamics.extensions.yaml"
HEADING = "## The types\n"
KINDS = {None: "dataset", "VectorData": "column", "DynamicTableRegion": "region"}

Row = tuple[str, ...]  # name, kind, of, shape, "yes" where it may be absent, words


def rows(spec: dict) -> list[Row]:
    """Every field of a type, in the order of the specification."""
    made = []
    for item in spec.get("attributes", ()):
        absent = "" if item.get("required", True) else "yes"
        made.append((item["name"], "attribute", item["dtype"], "", absent, item["doc"]))
    for item in spec.get("datasets", ()):
        kind = KINDS[item.get("neurodata_type_inc")]
        dims = item.get("dims", ())
        shape = f"({', '.join(dims)}{',' * (len(dims) == 1)})" if dims else ""
        of = "row" if kind == "region" else item.get("dtype", "any")
        absent = "yes" if item.get("quantity", 1) in ("?", "*") else ""
        made.append((item["name"], kind, of, shape, absent, item["doc"]))
    for kind, of in (("groups", "neurodata_type_inc"), ("links", "target_type")):
        for item in spec.get(kind, ()):
            absent = "yes" if item.get("quantity", 1) in ("?", "*") else ""
            name = item.get("name", "(any name)")
            made.append((name, kind.removesuffix("s"), item[of], "", absent, item["doc"]))
    return made


def section(types: list[dict]) -> str:
    """The section of the page, from its heading on."""
    parts = [HEADING]
    for spec in types:
        parts.append(f"\n### {spec['neurodata_type_def']} ({spec['neurodata_type_inc']})\n\n")
        parts.append(f"{spec['doc']}\n")
        if not rows(spec):
            continue
        parts.append("\n| name | kind | of | shape | may be absent | |\n")
        parts.append("| --- | --- | --- | --- | --- | --- |\n")
        for name, *cells, doc in rows(spec):
            shown = f"`{name}`" if not name.startswith("(") else name
            parts.append(f"| {shown} | {' | '.join(cells)} | {doc} |\n")
    return "".join(parts)


if __name__ == "__main__":
    types = yaml.safe_load((DOCS.parent / SPEC).read_text("utf-8"))["groups"]
    page = PAGE.read_text("utf-8").split(HEADING)[0]
    PAGE.write_text(page + section(types), "utf-8")
