"""One version everywhere, a changelog that a release can quote, and no licence that NOTICE does not name."""

from __future__ import annotations

import importlib.metadata
import re
import runpy
import tomllib
from collections.abc import Iterable
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import turnswap

from .conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
CITATION = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text()
NOTICE = " ".join((REPOSITORY / "NOTICE").read_text().split())
HEADINGS = re.findall(r"^## \[(\S+)\] - (\d{4}-\d\d-\d\d)$", CHANGELOG, re.MULTILINE)


def test_the_version_is_one() -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "turnswap.__version__"}
    assert HEADINGS[0] == (turnswap.__version__, str(CITATION["date-released"]))
    assert CITATION["version"] == turnswap.__version__
    assert CITATION["license"] == PROJECT["project"]["license"] == "Apache-2.0"


def test_the_changelog_has_newest_first_under_the_usual_headings() -> None:
    assert CHANGELOG.count("\n## ") == len(HEADINGS)
    assert [date for _, date in HEADINGS] == sorted((date for _, date in HEADINGS), reverse=True)
    parts = re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE)
    usual = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {part for part in parts if not part.startswith("Upgrading from")} <= usual


# ------------------------------------------------------------------------------------ licences of what is installed
# Of the core and the extras, but those for development; the study's model has terms of its own (NOTICE).
TOOLS = {"dev", "docs", "study", "test"}
PERMISSIVE = re.compile(
    r"\b(MIT|Apache|BSD|0BSD|ISC|PSF|PSFL|Python Software Foundation|Zlib|CC0|Unlicense)\b", re.IGNORECASE
)
COPYLEFT = re.compile(
    r"[AL]?GPL|General Public|MPL|Mozilla|EPL|EUPL|CDDL|CeCILL|SSPL|BUSL|CC.BY.(SA|NC|ND)", re.IGNORECASE
)
# Used as they are, copied nowhere; each is named in NOTICE.
LATER_RELEASES_TELL = {"vl-convert-python": "BSD-3-Clause"}
ACCEPTED = {"certifi", "chardet", "mergekit", "tqdm"}
# The same of data: their metadata name the licence of their code alone.
DATA = {"pymorphy3-dicts-ru": "CC-BY-SA-3.0", "simplemma": "ODbL"}


def installed(requirements: Iterable[str]) -> set[str]:
    """What is installed of these requirements, and of all that they need in turn."""
    waiting, seen, found = [Requirement(line) for line in requirements], set[tuple[str, frozenset[str]]](), set[str]()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if name == "turnswap" or (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            needs = [Requirement(line) for line in importlib.metadata.requires(name) or ()]
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        for need in needs:
            if not need.marker or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append(need)
    return found


def licence(name: str) -> str:
    """What a package says of its licence: the expression, else the classifiers and the first line of the field."""
    said = importlib.metadata.metadata(name)
    classifiers = [line for line in said.get_all("Classifier", []) if line.startswith("License ::")]
    lines = [(said.get("License") or "").strip().partition("\n")[0], *classifiers]
    told = said.get("License-Expression") or "; ".join(line for line in lines if line not in ("", "UNKNOWN"))
    return told or LATER_RELEASES_TELL.get(name, "")


def test_every_licence_of_a_dependency_is_permissive_or_named_in_notice() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    shipped = [line for extra, lines in extras.items() if extra not in TOOLS for line in lines]
    licences = {name: licence(name) for name in installed([*PROJECT["project"]["dependencies"], *shipped])}
    assert len(licences) > 20
    copyleft = {name for name, said in licences.items() if COPYLEFT.search(said)}
    unknown = {name: said for name, said in licences.items() if name not in copyleft and not PERMISSIVE.search(said)}
    assert unknown == {}
    assert copyleft <= ACCEPTED
    for name in {*ACCEPTED, *DATA}:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", NOTICE), f"NOTICE does not name {name}"


# --------------------------------------------------------------------------------------- what the workflow runs
def ci_script(name: str) -> SimpleNamespace:
    """What a script of .ci defines."""
    return SimpleNamespace(**runpy.run_path(str(REPOSITORY / ".ci" / f"{name}.py")))


def test_the_notes_of_a_release_are_the_changelogs_section_and_the_tag_must_be_the_version() -> None:
    notes = ci_script("release_notes").notes
    assert notes(turnswap.__version__).startswith("### ")
    assert "\n## " not in notes(turnswap.__version__)
    with pytest.raises(SystemExit, match="not 9.9.9"):
        notes("9.9.9")


def test_on_a_package_index_the_readme_links_to_the_repository() -> None:
    links, here = ci_script("release_links"), "https://example.org/repository"
    text = "[a](docs/a.md), ![b](b.png), [c](https://example.org/c), [d](#d)"
    expected = f"[a]({here}/blob/v1/docs/a.md), ![b]({here}/raw/v1/b.png), [c](https://example.org/c), [d](#d)"
    assert links.with_links(text, here, "v1") == expected
    readme = links.with_links((REPOSITORY / "README.md").read_text(), here, "v1")
    assert not re.search(r"\]\((?!https?://|#)|URL_OF|'\.\[", readme)
    assert f"git clone {here} turnswap" in readme
    text = '[project]\nname = "a"\n\n[project.optional-dependencies]\nb = ["c"]\n'
    project = tomllib.loads(links.with_addresses(text, here))["project"]
    assert project["urls"]["Repository"] == here
    assert project["optional-dependencies"] == {"b": ["c"]}
    assert "\n[project.optional-dependencies]\n" in (REPOSITORY / "pyproject.toml").read_text()


def test_the_image_says_the_version_and_leaves_the_environments_out() -> None:
    assert f'image.version="{turnswap.__version__}"' in (REPOSITORY / "Containerfile").read_text()
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()  # podman reads it too
    assert ignored[1] == "*"
    assert not [line for line in ignored if line.startswith("!.venv")]
