"""Write docs/json.md: the documents of `--json`, from the schemas in nwbdyn/cli/schemas.

python docs/make_json.py [FILE.md]
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = ROOT / "nwbdyn" / "cli" / "schemas"
ORDER = ("find", "inspect", "fetch", "fit", "report", "validate", "export", "reproduce", "notebook")
HEAD = """# JSON from every command

Every command takes `--json`. It then prints one JSON document on stdout and nothing else there.
Progress and warnings stay on stderr; `--log-format jsonl` makes them JSON lines, too.

```
$ nwbdyn inspect sample:cortex --json | jq -r '.recordings[0].fit'
nwbdyn fit 'sample:cortex?seed=0&neurons=50&duration=600' --model netformer
```

- `schema` names the document, such as `nwbdyn/inspect/1`. The number is raised when a key changes
  its meaning or goes. New keys may come without a new number.
- A number that is not finite, or not known, is `null`.
- A command that fails prints an [error](#error) instead, with the exit code it would have without
  `--json`. The line on stderr stays.
- Exit codes are those of [the terminal](terminal.md). A document of `inspect` or `fit` with exit
  code 1 or 3 lists the recordings that failed with the reason.
- A command that ends without a document met a bug: the traceback is on stderr.

The files behind this page are JSON Schemas in `nwbdyn/cli/schemas` of the package. This page is
written from them by `docs/make_json.py`.
"""


def schemas() -> dict[str, dict[str, Any]]:
    """Schema by verb; those of the verbs in their usual order, then the others, then errors."""
    names = sorted(path.stem for path in SCHEMAS.glob("*.json"))
    order = [*(name for name in ORDER if name in names), *(n for n in names if n not in ORDER)]
    order = [name for name in order if name != "error"] + ["error"]
    return {name: json.loads((SCHEMAS / f"{name}.json").read_text("utf-8")) for name in order}


def rows(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, type and meaning of every property, those of nested objects after their object."""
    for name, field in schema.get("properties", {}).items():
        if name == "schema":
            continue
        key = f"{path}{name}"
        yield key, type_of(field), field["description"]
        yield from rows(field, f"{key}.")
        for inner, mark in ((field.get("items"), "[]"), (field.get("additionalProperties"), ".*")):
            if isinstance(inner, dict):
                yield from rows(inner, f"{key}{mark}.")


def type_of(field: dict[str, Any]) -> str:
    """The type in words: "string or null"."""
    if "enum" in field:
        return "string"
    kinds = field.get("type", "any value")
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def section(verb: str, schema: dict[str, Any]) -> str:
    """Heading, one sentence and the table of a verb."""
    lines = [f"## {verb}", "", schema["description"], "", "| key | type | meaning |"]
    lines += ["| --- | --- | --- |"]
    lines += [f"| `{key}` | {kind} | {meaning} |" for key, kind, meaning in rows(schema)]
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(section(verb, schema) for verb, schema in schemas().items())])


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "json.md"
    target.write_text(page(), encoding="utf-8")
