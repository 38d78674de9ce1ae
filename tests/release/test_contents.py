"""What wheel and source archive hold: the package and its licences, and nothing of the repository around it."""

from __future__ import annotations

import hashlib
import stat
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path, PurePosixPath

import turnswap

from .conftest import DIST

MOST = 1_500_000  # bytes
KINDS = {".py", ".typed", ".yaml", ".toml", ".json", ".txt", ".csv", ".j2", ".js", ".css", ".md"}
NEEDED = (
    "py.typed",
    "tasks/multiif/_multiif.yaml",
    "tasks/multiif/multiif_hi.yaml",
    "tasks/multiif/leaderboard/leaderboard_multiif_hi.yaml",
    "tasks/multiif/sample/sample.csv",
    "tasks/multiif/corrected/corrections.toml",
    "construction/wording/sw.toml",
    "construction/data_audit/wording.toml",
    "construction/html/card.md.j2",
    "core/html/page.html.j2",
    "reports/html/report.html.j2",
    "reports/published_scores.json",
)


def hashes(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as opened:
        return {name: hashlib.sha256(opened.read(name)).hexdigest() for name in opened.namelist()}


def test_the_wheel_holds_the_package_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        infos = opened.infolist()
    inside = [PurePosixPath(info.filename) for info in infos]
    information = f"turnswap-{turnswap.__version__}.dist-info"
    assert {path.parts[0] for path in inside} == {"turnswap", information}
    package = [path for path in inside if path.parts[0] == "turnswap"]
    assert {path.suffix or path.name for path in package} <= KINDS | {"py.typed"}
    assert not [path for path in package if {"tests", "docs", "benchmarks", "configs"} & set(path.parts)]
    # Of tables, the packaged sample alone: nothing of Multi-IF itself.
    assert [str(path) for path in package if path.suffix == ".csv"] == ["turnswap/tasks/multiif/sample/sample.csv"]
    assert not [info.filename for info in infos if stat.S_ISLNK(info.external_attr >> 16)]
    assert {f"turnswap/{name}" for name in NEEDED} <= set(map(str, inside))
    assert {f"{information}/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= set(map(str, inside))


def test_the_archive_holds_the_package_and_what_builds_it(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        members = [member for member in opened if not member.isdir()]
    assert all(member.isreg() for member in members)
    names = {member.name.partition("/")[2] for member in members}
    around = {name for name in names if name.split("/")[0] not in ("turnswap", "turnswap.egg-info")}
    texts = {"README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "NOTICE"}
    assert around == texts | {"MANIFEST.in", "PKG-INFO", "pyproject.toml", "setup.cfg"}


def test_the_archive_builds_the_same_wheel(wheel: Path) -> None:
    assert hashes(DIST / "again" / wheel.name) == hashes(wheel)


def test_both_are_small(wheel: Path, archive: Path) -> None:
    assert wheel.stat().st_size < MOST
    assert archive.stat().st_size < MOST


def test_the_metadata_names_version_licence_and_no_address_of_a_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        said = message_from_bytes(opened.read(f"turnswap-{turnswap.__version__}.dist-info/METADATA"))
    assert said["Version"] == turnswap.__version__
    assert said["License-Expression"] == "Apache-2.0"
    assert said.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert not [line for line in said.get_all("Requires-Dist", []) if "@" in line]
