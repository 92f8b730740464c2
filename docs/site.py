"""A hook of mkdocs: what pages link to outside of docs/ becomes part of the site.

In the repository a page links to `../../examples/cut_out.py`, which an editor and a forge follow.
mkdocs knows only what lies in docs/. So each such target becomes a page of the site below
`repository/`, and links are written anew. At the end every public name must stand in the reference.
"""

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PLACE = "repository"
"""The folder of the site that holds what lies outside of docs/."""
SHOWN_AS_IT_IS = {".md", ".jpg", ".svg"}
LANGUAGES = {
    ".py": "python",
    ".mjs": "js",
    ".cpp": "cpp",
    ".yml": "yaml",
    ".json": "json",
    ".service": "ini",
}
API = "reference/api.html"
"""The page of the site that documents these packages."""
PACKAGES = ("runtime/birefnet_runtime", "runtime/birefnet_apps")
LINK = re.compile(r"(\]\()([^)\s:#]+)((?:#[^)\s]*)?\))")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", flags=re.DOTALL | re.MULTILINE)


def in_repository(uri: str) -> str:
    """Where a file of the site lies in the repository, both relative to their tops."""
    inside = uri.startswith(f"{PLACE}/")
    return uri.removeprefix(f"{PLACE}/") if inside else f"docs/{uri}"


def in_site(path: str) -> str:
    """Where a file of the repository is in the site; a folder is the README in it."""
    if (ROOT / path).is_dir():
        path = posixpath.join(path, "README.md")
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{PLACE}/{path}" if Path(path).suffix in SHOWN_AS_IT_IS else f"{PLACE}/{path}.md"


def target_of(uri: str, link: str) -> str | None:
    """The file of the repository that a page's link leads to; None if there is none."""
    folder = posixpath.dirname(in_repository(uri))
    path = posixpath.normpath(posixpath.join(folder, link))
    return path if not path.startswith("..") and (ROOT / path).exists() else None


def links(text: str) -> set[str]:
    """What a page's links lead to, those in code left out."""
    return {match[2] for match in LINK.finditer(CODE.sub("", text))}


def page_of(config: MkDocsConfig, path: str) -> File:
    """The file of the site for a file of the repository; of code a page that shows it."""
    uri = in_site(path)
    if uri == f"{PLACE}/{path}":
        return File.generated(config, uri, abs_src_path=str(ROOT / path))
    name, text = Path(path).name, (ROOT / path).read_text(encoding="utf-8")
    language = LANGUAGES.get(Path(path).suffix, "text")
    return File.generated(
        config, uri, content=f"# {name}\n\n`{path}`\n\n````{language}\n{text}````\n"
    )


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what pages link to, and what those pages link to."""
    waiting = [file for file in files if file.src_uri.endswith(".md")]
    while waiting:
        page = waiting.pop()
        for link in links(page.content_string):
            target = target_of(page.src_uri, link)
            if target is None or target.startswith("docs/"):
                continue
            if files.get_file_from_path(in_site(target)) or not (ROOT / target).is_file():
                continue
            added = page_of(config, target)
            files.append(added)
            if target.endswith(".md"):
                waiting.append(added)
    return files


def on_page_markdown(markdown: str, *, page: Any, files: Files, **_: Any) -> str:
    """The same page with its links as the site has them."""
    uri = page.file.src_uri

    def rewritten(match: re.Match[str]) -> str:
        opening, link, rest = match.groups()
        target = target_of(uri, link)
        if target is None:
            return match[0]
        relative = posixpath.relpath(in_site(target), posixpath.dirname(uri) or ".")
        return f"{opening}{relative}{rest}"

    parts = CODE.split(markdown)
    return "".join(
        part if number % 2 else LINK.sub(rewritten, part) for number, part in enumerate(parts)
    )


def public_names(package: str) -> set[str]:
    """What a package's `__all__` holds, but for its version; the package isn't imported."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    (names,) = [
        ast.literal_eval(statement.value)
        for statement in tree.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
    ]
    return {f"{Path(package).name}.{name}" for name in names if name != "__version__"}


def on_post_build(*, config: MkDocsConfig) -> None:
    """Refuse a site whose reference lacks a public name, for want of a docstring as a rule."""
    page = (Path(config.site_dir) / API).read_text(encoding="utf-8")
    documented = {*re.findall(r'id="([\w.]+)"', page)}
    for package in PACKAGES:
        if missing := sorted(public_names(package) - documented):
            raise PluginError(f"{API} doesn't document {', '.join(missing)}: no docstring?")
