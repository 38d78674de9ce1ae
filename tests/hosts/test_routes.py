"""Every way in which the stock commands come to know the tasks: in fresh environments, from a wheel and editable.

The environments hold turnswap alone and borrow everything else from the one that runs the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ..conftest import REPOSITORY, make_row, read_results, write_csv

RUN = ["lm_eval", "run", "--model", "dummy", "--tasks", "multiif_en", "--limit", "2", "--output_path", "out"]
SEVERAL = Path(__file__).with_name("several.py")
PLAIN = ["--metadata", '{"prompts": "plain"}']


class Environment:
    """A virtual environment with turnswap in it."""

    def __init__(self, directory: Path, *install: str) -> None:
        self.directory = directory
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)  # pip is borrowed
        (self.site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.check("python", "-m", "pip", "install", "--quiet", "--no-deps", *install)
        # the hosts' own console scripts, for this environment's Python
        for name, module, function in (
            ("lm_eval", "lm_eval.__main__", "cli_evaluate"),
            ("mergekit-yaml", "mergekit.scripts.run_yaml", "main"),
        ):
            script = self.directory / "bin" / name
            script.write_text(f"#!{self.directory}/bin/python\nfrom {module} import {function}\n{function}()\n")
            script.chmod(0o755)

    @property
    def site(self) -> Path:
        return next((self.directory / "lib").glob("python*/site-packages"))

    def run(self, *command: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        program = str(self.directory / "bin" / command[0])
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | variables
        return subprocess.run(
            [program, *command[1:]], cwd=cwd or self.directory, env=environment,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def check(self, *command: str, cwd: Path | None = None, **variables: str) -> str:
        done = self.run(*command, cwd=cwd, **variables)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def lm_eval(self, *commands: list[str], cwd: Path | None = None, **variables: str) -> list[tuple[int, str]]:
        """Status and output of several commands, from one Python: each would spend most of its time on its start."""
        out = self.check("python", str(SEVERAL), json.dumps(commands), cwd=cwd, **variables)
        return [(status, text) for status, text in json.loads(out.splitlines()[-1])]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git knows of, so that building leaves no trace."""
    copy = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (REPOSITORY / name).is_file() or (REPOSITORY / name).is_symlink():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy / name, follow_symlinks=False)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(directory), str(checkout)], check=True
    )
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="module")
def editable(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("editable") / "venv", "-e", str(checkout))


@pytest.fixture(scope="module", params=["wheel", "editable"])
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    if request.param == "editable":
        return request.getfixturevalue("editable")  # type: ignore[no-any-return]
    return Environment(tmp_path_factory.mktemp("wheel") / "venv", str(request.getfixturevalue("wheel")))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    write_csv(tmp_path / "data.csv", [make_row(f"{n}:1:en") for n in range(3)])
    return tmp_path


def test_the_wheel_holds_yamls_sample_and_type_marker(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "py.typed",
        "tasks/multiif/_multiif.yaml",
        "tasks/multiif/multiif.yaml",
        "tasks/multiif/multiif_hi.yaml",
        "tasks/multiif/leaderboard/_leaderboard_multiif.yaml",
        "tasks/multiif/leaderboard/leaderboard_multiif_hi.yaml",
        "reports/published_scores.json",
        "reports/html/report.html.j2",
        "reports/html/transcripts.js",
        "core/html/style.css",
    ):
        assert f"turnswap/{name}" in names
    assert "turnswap/tasks/multiif/sample/sample.csv" in names
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"turnswap"}


def test_wheel_and_sdist_hold_files_where_a_checkout_has_links(wheel: Path, checkout: Path, tmp_path: Path) -> None:
    build = "from setuptools import build_meta as b; b.build_sdist('.')"
    subprocess.run([sys.executable, "-c", build], cwd=checkout, check=True, capture_output=True)
    packed = next(checkout.glob("*.tar.gz"))
    shutil.move(packed, tmp_path)
    with tarfile.open(tmp_path / packed.name) as archive:
        files = {member.name.partition("/")[2]: member for member in archive if not member.isdir()}
    with zipfile.ZipFile(wheel) as archive:
        packages = {name for name in archive.namelist() if name.startswith("turnswap/")}
        links = [info.filename for info in archive.infolist() if stat.S_ISLNK(info.external_attr >> 16)]
    assert links == [name for name, member in files.items() if not member.isreg()] == []
    assert {name for name in files if name.startswith("turnswap/")} == packages
    folders = [checkout / name for name in ("turnswap", "tasks", "merge_methods")]
    found = [path.relative_to(checkout) for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = [path for path in found if path.suffix != ".pyc"]
    assert packages == {str(path if path.parts[0] == "turnswap" else "turnswap" / path) for path in found}


def test_an_editable_install_makes_turnswap_importable_and_nothing_else(editable: Environment, tmp_path: Path) -> None:
    program = (
        "import importlib.util as u, turnswap.tasks, turnswap.merge_methods\n"
        "print([n for n in ('tasks', 'merge_methods', 'tests', 'benchmarks', 'configs') if u.find_spec(n)])"
    )
    assert editable.check("python", "-c", program, cwd=tmp_path) == "[]\n"


def test_the_class_that_a_yaml_names_is_the_class_that_is_exported(editable: Environment, work: Path) -> None:
    program = (
        "import os, sys, turnswap\n"
        "from lm_eval.tasks import TaskManager\n"
        "manager = TaskManager(include_path=str(turnswap.tasks_path()), include_defaults=False)\n"
        "task = manager.load(['multiif_en'])['tasks']['multiif_en']\n"
        "assert type(task) is turnswap.MultiIF, type(task)\n"
        "files = [os.path.realpath(m.__file__) for m in sys.modules.values() if getattr(m, '__file__', None)]\n"
        "print(files.count(os.path.realpath(sys.modules['turnswap.tasks.multiif.task'].__file__)))"
    )
    assert editable.check("python", "-c", program, cwd=work, TURNSWAP_MULTIIF=str(work / "data.csv")) == "1\n"


def test_a_checkout_without_links_says_what_to_do(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "unpacked"
    shutil.copytree(checkout, copy, symlinks=True)
    for name in ("tasks", "merge_methods"):
        (copy / "turnswap" / name).unlink()
        (copy / "turnswap" / name).write_text(f"../{name}")  # what git writes where there are no links
    imported = subprocess.run([sys.executable, "-c", "import turnswap"], cwd=copy, capture_output=True, text=True)
    made = subprocess.run(["make", "test"], cwd=copy, capture_output=True, text=True)
    for done in (imported, made):
        assert done.returncode != 0
        assert "made without symbolic links" in done.stderr
        assert "git clone -c core.symlinks=true" in done.stderr


LS, VALIDATE = ["ls", "tasks"], ["validate", "--tasks", "multiif_en"]


def test_enabled_the_stock_commands_know_the_tasks(environment: Environment, work: Path) -> None:
    data = {"TURNSWAP_MULTIIF": str(work / "data.csv")}
    (_, listed), (refused, _) = environment.lm_eval(LS, VALIDATE)
    assert "multiif_en" not in listed
    assert refused == 1
    environment.check("turnswap", "enable")
    try:
        listed = environment.check("lm_eval", "ls", "tasks")
        assert all(f"|multiif_{code} " in listed for code in ("en", "zh", "fr", "ru", "hi", "es", "it", "pt"))
        program = (
            "from lm_eval import simple_evaluate\n"
            "r = simple_evaluate('dummy', tasks=['multiif_en'], limit=1, metadata={'prompts': 'plain'})\n"
            "print(sorted(r['results']))"
        )
        validate = ["validate", "--tasks", "multiif,multiif_en,multiif_pt"]
        several = ["ls", "groups"], validate, [*RUN[1:], *PLAIN], ["-c", program]
        (_, groups), (_, valid), (_, shown), (_, from_python) = environment.lm_eval(*several, cwd=work, **data)
        assert "|multiif " in groups
        assert "All tasks found" in valid
        assert "turn3_overall_acc" in shown
        assert read_results(work / "out")["configs"]["multiif_en"]["metadata"]["data"] == "CSV file data.csv"
        assert from_python.endswith("['multiif_en']\n")
        ((hidden, _),) = environment.lm_eval(VALIDATE, TURNSWAP_DISABLE="1")
        assert hidden == 1
    finally:
        environment.check("turnswap", "disable")
    ((undone, _),) = environment.lm_eval(VALIDATE)
    assert undone == 1


def test_a_users_own_folder_still_works_and_wins(environment: Environment, work: Path) -> None:
    own = work / "own"
    own.mkdir()
    for task in ("multiif_en", "mine"):
        (own / f"{task}.yaml").write_text(
            f"task: {task}\nclass: !function turnswap.tasks.multiif.task.MultiIF\ndataset_name: English\n"
            "metadata: {version: 77}\n"
        )
    command = [*RUN[1:], *PLAIN, "--include_path", str(own)]
    command[command.index("multiif_en")] = "multiif_en,mine"
    listing = ["ls", "subtasks", "--include_path", str(own)]
    environment.check("turnswap", "enable")
    try:
        (ran, _), (_, listed) = environment.lm_eval(command, listing, cwd=work, TURNSWAP_MULTIIF=str(work / "data.csv"))
    finally:
        environment.check("turnswap", "disable")
    assert ran == 0
    assert "multiif_fr" in listed
    assert read_results(work / "out")["versions"] == {"multiif_en": 77, "mine": 77}


def test_without_enabling_the_path_and_the_wrapper_do(environment: Environment, work: Path) -> None:
    data = {"TURNSWAP_MULTIIF": str(work / "data.csv")}
    path = environment.check("turnswap", "tasks-path").strip()
    ((ran, _),) = environment.lm_eval([*RUN[1:], *PLAIN, "--include_path", path], cwd=work, **data)
    assert ran == 0
    assert read_results(work / "out")["n-samples"]["multiif_en"] == {"original": 3, "effective": 2}
    shutil.rmtree(work / "out")
    environment.check("turnswap", "lm-eval", *RUN[1:], *PLAIN, cwd=work, **data, TURNSWAP_DISABLE="1")
    assert read_results(work / "out")["n-samples"]["multiif_en"] == {"original": 3, "effective": 2}
    assert "--include_path" in environment.check("turnswap", "lm-eval", "run", "--help")


SWAP = """merge_method: layer_swap
base_model: {recipient}
models: [{{model: {donor}}}]
parameters: {{bottom: 1, top: 0, transition: 0}}
"""


def test_the_stock_mergekit_yaml_swaps_layers_once_enabled(
    environment: Environment, tiny_model: Path, tmp_path: Path
) -> None:
    donor = tmp_path / "experts" / "donor"
    shutil.copytree(tiny_model, donor)
    # With one slash and no dot, stock mergekit takes the path for a Hub id, and fails when the weights are written.
    (tmp_path / "swap.yml").write_text(SWAP.format(recipient=tiny_model, donor="experts/donor"))
    merge = ["mergekit-yaml", "swap.yml", "merged", "--quiet"]
    stock = environment.run(*merge, cwd=tmp_path)
    assert stock.returncode != 0
    assert "Unimplemented merge method layer_swap" in stock.stderr
    environment.check("turnswap", "enable")
    try:
        environment.check(*merge, cwd=tmp_path)
        again = environment.run(*merge, cwd=tmp_path)
    finally:
        environment.check("turnswap", "disable")
    assert again.returncode == 1
    assert "already holds a model" in again.stderr
    assert "Traceback" not in again.stderr
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "README.md"} <= {
        path.name for path in (tmp_path / "merged").iterdir()
    }
    assert "verified merged" in environment.check("turnswap", "verify", "merged", cwd=tmp_path)


def test_without_enabling_the_wrapper_swaps_layers(environment: Environment, tiny_model: Path, tmp_path: Path) -> None:
    donor = tmp_path / "donor"
    shutil.copytree(tiny_model, donor)
    (tmp_path / "swap.yml").write_text(SWAP.format(recipient=tiny_model, donor="./donor"))
    environment.check("turnswap", "mergekit-yaml", "swap.yml", "merged", "--quiet", cwd=tmp_path, TURNSWAP_DISABLE="1")
    assert (tmp_path / "merged" / "mergekit_config.yml").read_text() == (tmp_path / "swap.yml").read_text()
    assert "--out-shard-size" in environment.check("turnswap", "mergekit-yaml", "--help")


def test_start_up_imports_nothing_and_outlives_the_package(wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", str(wheel))
    loaded = ["python", "-c", "import sys, json; print(json.dumps(sorted(sys.modules)))"]
    before = set(json.loads(environment.check(*loaded)))
    environment.check("turnswap", "enable")
    new: set[Any] = set(json.loads(environment.check(*loaded))) - before
    assert new == {"turnswap", "turnswap.hosts", "turnswap.hosts.startup"}
    environment.check("python", "-m", "pip", "uninstall", "--yes", "turnswap")
    assert list(environment.site.glob("turnswap.*"))
    after = environment.run("python", "-c", "print('fine')")
    assert (after.returncode, after.stdout, after.stderr) == (0, "fine\n", "")
    assert "hellaswag" in environment.check("lm_eval", "ls", "tasks")
