"""Hooks of MkDocs: pages that are made while the site is built, and links between them.

The changelog, the contributing guide, the extension's README and the benchmarks stay where they are
in the repository; the site shows them beside the pages of `docs/`. The tutorials, the reference and
the table of benchmarks are made from the code and from `benchmarks/results`. Links are written for
the repository and turned here into links between pages.
"""

import re
import sys
from importlib import import_module
from pathlib import Path, PurePosixPath
from posixpath import relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

reference, results, tutorials = map(import_module, ("reference", "results", "tutorials"))

MOVED = {  # file of the repository -> page of the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/NOTES.md": "benchmarks/notes.md",
    "benchmarks/README.md": "benchmarks/index.md",
    "benchmarks/results": "benchmarks/results/index.md",
    "extensions/ndx-population-dynamics/README.md": "extension.md",
    "tutorials": "tutorials/index.md",
}
PROJECT = ("CODE_OF_CONDUCT.md", "SECURITY.md")  # shown where they exist
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the tutorials, the pages of results and what the project has to the navigation."""
    sections: dict[str, list[Any]] = {}
    assert config.nav is not None
    for entry in config.nav:
        sections.update(entry)
    sections["Tutorials"] += [f"tutorials/{path.stem}.md" for path in tutorials.paths()]
    sections["Benchmarks"].append({"Each result": [name for name, _ in results.pages()]})
    sections["Project"] += [MOVED[name] for name in PROJECT if (ROOT / name).exists()]
    config.watch += [str(ROOT / "nwbdyn"), str(ROOT / "tutorials")]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every page that does not lie in `docs/`."""
    for name, page in MOVED.items():
        if page != "index.md" and (ROOT / name).is_file():
            files.append(File.generated(config, page, content=(ROOT / name).read_text("utf-8")))
    made = [
        *results.pages(),
        ("benchmarks/results/index.md", results.table()),
        *reference.pages(),
        *tutorials.files(),
    ]
    for name, content in made:
        files.append(File.generated(config, name, content=content))
    style = File("site/extra.css", config.docs_dir, config.site_dir, use_directory_urls=False)
    files.append(style)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links to pages; others lose their link."""
    here = page.file.src_uri
    source = _source_of(here)
    parts = re.split(r"(^```.*?^```)", markdown, flags=re.M | re.S)  # code stays as it is
    for i in range(0, len(parts), 2):
        parts[i] = _LINK.sub(lambda match: _linked(match, source, here, files), parts[i])
    return "".join(parts)


def _source_of(page: str) -> PurePosixPath:
    """The file of the repository that a page was made of."""
    for name, moved in MOVED.items():
        if moved == page and page != "index.md" and (ROOT / name).is_file():
            return PurePosixPath(name)
    if page.startswith("benchmarks/results/"):
        return PurePosixPath(page)
    return PurePosixPath("docs") / page


def _linked(match: re.Match[str], source: PurePosixPath, here: str, files: Files) -> str:
    picture, text, target = match.groups()
    address, _, anchor = target.partition("#")
    if "://" in address or not address or address.startswith("mailto:"):
        return match.group()
    path = _normal(source.parent / address)
    page = _page_of(path)
    if files.get_file_from_path(page) is None:
        return match.group() if (source.parent / address) == path and picture else text
    anchor = f"#{anchor}" if anchor else ""
    return f"{picture}[{text}]({relpath(page, str(PurePosixPath(here).parent))}{anchor})"


def _page_of(path: PurePosixPath) -> str:
    """The page of the site that shows a file of the repository, or the file's own path."""
    if str(path) in MOVED:
        return MOVED[str(path)]
    if path.parts[:1] == ("docs",):
        return str(PurePosixPath(*path.parts[1:]))
    if path.parts[:1] == ("tutorials",):
        return str(path.with_suffix(".md"))
    return str(path)


def _normal(path: PurePosixPath) -> PurePosixPath:
    """The path without `..`, from the root of the repository."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    return PurePosixPath(*parts)
