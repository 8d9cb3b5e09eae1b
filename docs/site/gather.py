"""MkDocs hook: it makes the site's pages out of the repository's, which are written for a reader of the repository.

Laws:

- A link to a page leads to its page of the site; one to another file of the repository, to a copy of the file.
- A list is a list by the rules of CommonMark, by which the repository is read. Python-Markdown asks for four columns of
  indentation and a blank line before a list; the text is given both.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig

ROOT: Final = Path(__file__).parents[2]
RENAMED: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "helm/whatomate-gateway/README.md": "chart.md",
}
"""Pages whose place on the site does not follow from their place in the repository."""
SERVERS: Final = [
    {"url": "http://127.0.0.1:8080", "description": "the gateway of `make run`"},
    {
        "url": "{url}",
        "description": "another, which allows this page by GATEWAY_CORS_ORIGINS",
        "variables": {"url": {"default": "https://gateway.example"}},
    },
]
_LINK: Final = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCE: Final = re.compile(r"( *)(`{3,}|~{3,})")
_ITEM: Final = re.compile(r"( *)([-*+]|\d{1,9}[.)])( +)(?=\S)")
COLUMNS: Final = 4


def pages() -> dict[str, str]:
    """Return the place on the site of each page, by its path in the repository."""
    patterns = ("docs/*.md", "docs/integrations/*.md", "docs/packages/*/*.md", "bench/**/*.md")
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    paths = sorted(path.relative_to(ROOT).as_posix() for path in found)
    return {path: path.removeprefix("docs/").replace("/README.md", "/index.md") for path in paths} | RENAMED


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, the files that they link to, and the OpenAPI document."""
    places = pages()
    linked: set[str] = set()
    for source, place in places.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        content = as_python_markdown(with_links(text, source, places, linked))
        files.append(File.generated(config, place, content=content))
    for path in sorted(linked):
        files.append(File.generated(config, copied(path), abs_src_path=str(ROOT / path)))
    document = json.loads(Path(config.extra["openapi"]).read_text(encoding="utf-8"))
    document["servers"] = SERVERS
    files.append(File.generated(config, "openapi.json", content=json.dumps(document)))
    return files


def copied(path: str) -> str:
    """Return the place on the site of a file that is no page."""
    place = path.removeprefix("docs/")
    return place if place != path and not place.endswith(".md") else f"files/{path}"


def with_links(text: str, source: str, places: dict[str, str], linked: set[str]) -> str:
    """Return a page whose links lead to the site; the files that are to be copied are added to `linked`.

    Raises:
        ValueError: a link leads nowhere.
    """

    def moved(found: re.Match[str]) -> str:
        begin, target, anchor, end = found[1], found[2], found[3] or "", found[4]
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in places:
            place = places[path]
        elif (ROOT / path).is_file():
            linked.add(path)
            place = copied(path)
        else:
            raise ValueError(f"{source} links to {target}, which is no file")
        here = posixpath.dirname(places[source])
        return f"{begin}{posixpath.relpath(place, here or '.')}{anchor}{end}"

    return "".join(
        part if is_code else _LINK.sub(moved, part)
        for part, is_code in by_code(text.splitlines(keepends=True))
    )


def by_code(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Yield each line, with whether it belongs to a fenced block."""
    fence = ""
    for line in lines:
        found = _FENCE.match(line)
        if fence:
            yield line, True
            if found and found[2].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        else:
            fence = found[2] if found else ""
            yield line, bool(found)


def as_python_markdown(text: str) -> str:
    """Return a page of CommonMark with its lists as Python-Markdown reads them."""
    written: list[str] = []
    open_items: list[int] = []  # the column at which the content of each begins
    before = ""  # the line before this one, if that is not blank
    is_loose = False  # whether the last item has several blocks
    for line, is_code in by_code(text.split("\n")):
        if not line.strip():
            written.append("")
            before, is_loose = "", bool(open_items)
            continue
        indent = len(line) - len(line.lstrip(" "))
        item = None if is_code else _ITEM.match(line)
        if item or not before or is_code or is_table(line):  # else it continues a paragraph, however indented
            while open_items and indent < open_items[-1]:
                open_items.pop()
        outer, depth = (open_items[-1] if open_items else 0), len(open_items)
        if item:
            follows_text = before and not _ITEM.match(before)
            if follows_text and (is_loose or not (depth or before.startswith(" "))):
                written.append("")
            marker = " " * (COLUMNS * depth) + item[2]
            written.append(marker.ljust(COLUMNS * (depth + 1)) + line[item.end() :])
            open_items.append(item.end())
            is_loose = False
        else:
            written.append(" " * (COLUMNS * depth + max(0, indent - outer)) + line.lstrip(" "))
            is_loose = is_loose or is_code
        before = line
    return "\n".join(written)


def is_table(line: str) -> bool:
    """Return whether a line is a row of a table."""
    return line.lstrip().startswith("|")
