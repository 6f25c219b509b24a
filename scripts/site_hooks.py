"""What pages of docs/ link to outside of it is part of the site, so that one link holds there and in a repository.

MkDocs calls these functions by their names. A file that is no Markdown becomes a page that shows it; JSON, which may be
large, is a file of the site. What is not there stays as it is, and the strict build fails at it.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
_DOCS, _SOURCE = "docs", "source"
_LINK = re.compile(r"\]\((?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")
_FENCED = re.compile(r"^(?P<fence>```+)[^\n]*\n.*?^(?P=fence)\s*$", re.MULTILINE | re.DOTALL)
# Not written anew: pages of Markdown, and what a browser shows or stores as it is.
_AS_THEY_ARE = (".md", ".json")


def on_files(files: Files, config: Any) -> Files:
    """Add the files that pages link to."""
    linked = {target for file in files.documentation_pages() for target in _targets(file.content_string, file.src_uri)}
    for target in sorted(linked):
        path, place = ROOT / target, _place(target)
        if not path.is_file():
            continue
        if path.suffix in _AS_THEY_ARE:
            files.append(File.generated(config, place, abs_src_path=str(path)))
        else:
            files.append(File.generated(config, place, content=_shown(target, path.read_text(encoding="utf-8"))))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to files outside docs/ lead to what the site has of them."""
    here = page.file.src_uri

    def of_the_site(link: re.Match[str]) -> str:
        target = _target(link["path"], here)
        if target is None or not (ROOT / target).is_file():
            return link[0]
        place = posixpath.relpath(_place(target), posixpath.dirname(here) or ".")
        return f"]({place}{link['anchor'] or ''})"

    parts, last = [], 0
    for fenced in _FENCED.finditer(markdown):
        parts += [_LINK.sub(of_the_site, markdown[last : fenced.start()]), fenced[0]]
        last = fenced.end()
    return "".join([*parts, _LINK.sub(of_the_site, markdown[last:])])


def _targets(markdown: str, here: str) -> Iterator[str]:
    for link in _LINK.finditer(_FENCED.sub("", markdown)):
        target = _target(link["path"], here)
        if target is not None:
            yield target


def _target(path: str, here: str) -> str | None:
    """The file that a page means by a path, from the root of the repository; None for one in docs/."""
    origin = here.removeprefix(f"{_SOURCE}/") if here.startswith(f"{_SOURCE}/") else f"{_DOCS}/{here}"
    target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
    return None if target.startswith((f"{_DOCS}/", "..", "/")) else target


def _place(target: str) -> str:
    """Where the site has a file."""
    suffix = "" if target.endswith(_AS_THEY_ARE) else ".md"
    return f"{_SOURCE}/{target}{suffix}"


def _shown(name: str, text: str) -> str:
    """A page that shows a file, which is not searched: what it says is said in words elsewhere."""
    language = {".py": "python", ".yaml": "yaml", ".yml": "yaml"}.get(posixpath.splitext(name)[1], "text")
    return f"---\nsearch:\n  exclude: true\n---\n# {name}\n\n````{language}\n{text}````\n"
