"""What mkdocs does besides: links to files outside docs/, notebooks as pages, and the public names in detail."""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

NOTEBOOK = "_notebook.md"  # behind the name of a notebook: its page; a tutorial of the same name has its own
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((\.\.?/[^)#\s]+)(#[^)\s]*)?\)")
_CELL = re.compile(r"<td.*?</td>", re.DOTALL)
_SPHINX = re.compile(r":(?:attr|class|func|meth|mod):(?=<code)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """A page beside each notebook, made of it."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            page = markdown_of(json.loads(Path(str(file.abs_src_path)).read_text("utf-8")))
            files.append(File.generated(config, file.src_uri.removesuffix(".ipynb") + NOTEBOOK, content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that leave docs/ lead to the repository, if its URL is known; the public names are told in detail."""
    if page.file.src_uri == "reference/api.md":
        markdown += _details()
    folder = posixpath.dirname(page.file.src_uri)

    def instead(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = posixpath.normpath(posixpath.join("docs", folder, target))
        if path.startswith("docs/"):
            return link[0]
        if not (Path(config.config_file_path).parent / path).exists():
            raise PluginError(f"{page.file.src_uri}: there is no {path} in the repository.")
        if url := os.environ.get("REPO_URL"):
            return f"[{text}]({url.rstrip('/')}/blob/HEAD/{path}{anchor})"
        plain = text.strip("`")
        return f"`{path}`" if path.endswith(plain) else f"{text} (`{path}`)"

    return _LINK.sub(instead, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """What Markdown here leaves as it was: names in docstrings as Sphinx has them, and GitHub's bars in tables."""
    return _CELL.sub(lambda cell: cell[0].replace("\\|", "|"), _SPHINX.sub("", html))


def _details() -> str:
    """Each public name with its signature and docstring, for mkdocstrings."""
    import turnswap

    blocks = [f"::: turnswap.{module}.{name}\n" for name, module in turnswap._MODULE_OF.items()]
    return "\n".join(["\n## In detail\n", *blocks])


def markdown_of(notebook: dict[str, Any]) -> str:
    """A notebook as a page: its texts, its code, and what the code printed and drew."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(_fenced("python", source))
            parts += [_output(output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    """One output: a picture before a table before text, as notebooks show it; no script."""
    data = {kind: "".join(text) for kind, text in output.get("data", {}).items() if isinstance(text, str | list)}
    if "image/png" in data:
        return f"![Output](data:image/png;base64,{''.join(data['image/png'].split())})"
    if "text/html" in data and "<script" not in data["text/html"]:
        # The site's own looks in place of pandas'.
        table = re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL)
        return "<div>" + table.replace(' border="1" class="dataframe"', "") + "</div>"
    text = "".join(output.get("text", [])) or data.get("text/plain", "") or "\n".join(output.get("traceback", []))
    return _fenced("text", re.sub(r"\x1b\[[0-9;]*m", "", text)) if text.strip() else ""


def _fenced(language: str, text: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
