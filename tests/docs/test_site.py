"""The site: its pages made from the code, its nav, what it loads and where its links lead."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from turnswap.tasks.multiif import metrics

from ..conftest import REPOSITORY

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS = REPOSITORY / "docs"
SCRIPTS = DOCS / "scripts"
NAV = re.findall(
    r"^ +- (?:[^:\n]+: )?(\S+\.md)(?: #.*)?$", (REPOSITORY / "mkdocs.yml").read_text("utf-8"), re.MULTILINE
)
MADE = runpy.run_path(str(SCRIPTS / "pages.py"))["PAGES"]


@pytest.fixture(autouse=True)
def _beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def _script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(SCRIPTS / f"{name}.py"))


@pytest.mark.parametrize("name", MADE)
def test_a_page_of_the_reference_is_what_the_code_says(name: str) -> None:
    assert (DOCS / "reference" / f"{name}.md").read_text("utf-8") == _script(name)["page"](), "make docs-pages"


def test_a_figure_that_nobody_describes_fails_the_page_of_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    there = metrics.aggregations
    monkeypatch.setattr(metrics, "aggregations", lambda **asked: {**there(**asked), "turn1_novel": sum})
    with pytest.raises(KeyError, match="novel"):
        _script("metrics")["page"]()


def test_a_key_that_nobody_describes_fails_its_table() -> None:
    @dataclasses.dataclass
    class Settings:
        """What a test asks for.

        Attributes:
            one: of ``two``.
        """

        one: list[str]
        other: int = 3

    keys_of = _script("tables")["keys_of"]
    with pytest.raises(KeyError, match="other"):
        list(keys_of(Settings))
    assert [(key.name, key.default, key.meaning) for key in keys_of(Settings, {"other": "told"})] == [
        ("one", "**needed**", "of `two`."),
        ("other", "`3`", "told"),
    ]


def test_every_page_stands_in_the_nav_once() -> None:
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    notebooks = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.ipynb")]
    assert sorted(NAV) == sorted([*pages, *(name.replace(".ipynb", "_notebook.md") for name in notebooks)])


PAGE = '<h1 id="top"></h1><a href="other.html#there">x</a><img src="a.png"><a href="https://arxiv.org/abs/1">y</a>'


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("", None),
        ('<script src="https://unpkg.com/x.js"></script>', "loads https://unpkg.com/x.js from another host"),
        ('<link rel="stylesheet" href="//fonts.googleapis.com/css">', "from another host"),
        ('<link rel="canonical" href="https://example.org/">', None),
        ('<img srcset="a.png, https://example.org/b.png 2x">', "from another host"),
        ('<p style="background: url(https://example.org/c.png)">', "from another host"),
        ('<img src="gone.png">', "loads gone.png, which is not there"),
        ('<pre class="mermaid">', "Mermaid"),
        ('<a href="gone.html">', "gone.html leads nowhere"),
        ('<a href="other.html#gone">', "no such place"),
        ('<a href="#top">', None),
        ('<a href="#gone">', "no such place"),
        ('<a href="http://arxiv.org/abs/1">', "is not https"),
        ('<a href="https://unknown.example/">', "add unknown.example to HOSTS"),
    ],
)
def test_what_is_wrong_with_a_site_is_said(tmp_path: Path, html: str, said: str | None) -> None:
    (tmp_path / "index.html").write_text(PAGE + html, "utf-8")
    (tmp_path / "other.html").write_text('<h2 id="there">', "utf-8")
    (tmp_path / "a.png").touch()
    found = list(_script("check_site")["problems"](tmp_path))
    assert len(found) == (said is not None)
    assert (said or "") in "".join(found)


def test_a_style_sheet_loads_nothing_from_another_host(tmp_path: Path) -> None:
    (tmp_path / "site.css").write_text('@import "https://example.org/a.css";', "utf-8")
    assert list(_script("check_site")["problems"](tmp_path)) == ["site.css loads https://example.org/a.css."]


def _build(site: Path, **environment: str) -> None:
    arguments = [
        "build",
        "--quiet",
        "--strict",
        "--config-file",
        str(REPOSITORY / "mkdocs.yml"),
        "--site-dir",
        str(site),
    ]
    given = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(REPOSITORY), **environment}
    done = subprocess.run([sys.executable, "-m", "mkdocs", *arguments], env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="needs the extra docs: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    _build(folder, REPO_URL="")
    return folder


@pytest.mark.slow
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(site: Path) -> None:
    assert list(_script("check_site")["problems"](site)) == []


@pytest.mark.slow
def test_the_public_names_are_told_in_detail(site: Path) -> None:
    import turnswap

    page = (site / "reference" / "api.html").read_text("utf-8")
    for name, module in turnswap._MODULE_OF.items():
        assert f'id="turnswap.{module}.{name}"' in page


@pytest.mark.slow
def test_links_that_leave_the_documents_lead_to_the_repository_if_it_is_known(site: Path, tmp_path: Path) -> None:
    page = Path("how_to") / "search.html"
    assert "<code>configs/search.yml</code>" in (site / page).read_text("utf-8")
    _build(tmp_path, REPO_URL="https://github.com/someone/turnswap")
    assert "https://github.com/someone/turnswap/blob/HEAD/configs/search.yml" in (tmp_path / page).read_text("utf-8")


@pytest.mark.slow
def test_the_search_finds_from_a_file(site: Path, browser: Browser) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.click("input.md-search__input")
    page.keyboard.type("forgetting", delay=50)
    page.wait_for_selector(".md-search-result__link")
    assert all(url.startswith(("file:", "about:", "data:")) for url in asked)


def test_a_notebook_becomes_a_page_of_its_cells() -> None:
    pytest.importorskip("mkdocs", reason="needs the extra docs: pip install '.[docs]'")
    outputs = [
        {"output_type": "stream", "text": ["\x1b[1mbold\x1b[0m\n"]},
        {"output_type": "display_data", "data": {"image/png": "AAAA\n", "text/plain": "<Figure>"}},
        {
            "output_type": "execute_result",
            "data": {"text/html": '<style>a</style><table border="1" class="dataframe">', "text/plain": "x"},
        },
        {"output_type": "display_data", "data": {"text/html": "<script></script>", "text/plain": "a chart"}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Text"]},
        {"cell_type": "code", "source": ["print('```')"], "outputs": outputs},
        {"cell_type": "code", "source": [], "outputs": []},
    ]
    page = _script("hooks")["markdown_of"](json.loads(json.dumps({"cells": cells})))
    assert page.split("\n\n") == [
        "# Title\nText",
        "````python\nprint('```')\n````",
        "```text\nbold\n```",
        "![Output](data:image/png;base64,AAAA)",
        "<div><table></div>",
        "```text\na chart\n```\n",
    ]
