"""The release on the Hub: typed columns that datasets loads, Croissant, and a pull request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from click.testing import CliRunner

from turnswap.commands.main import main
from turnswap.construction.hub import who_reviewed
from turnswap.construction.push import to_upload
from turnswap.core.errors import UserError

from ..conftest import REPOSITORY
from .test_release import TWO, conversation, released

CONFIG = REPOSITORY / "configs" / "build_sw_ko.yaml"
FIGURES = {"chrf": 71.25, "turn_chrf": [70.0, 72.5], "found": ["sw"], "signatures": {"chrf": "version:2"}}
SOURCE = {"language": "en", "turns": [{"prompt": "Write about rain."}, {"prompt": "No commas."}]}
TRANSLATED = {"source": SOURCE, "figures": FIGURES, "back": ["Rain.", "Commas."], "warnings": ["punctuation: odd"]}
REVIEWED = {"decision": "accept", "reviewers": ["Amina", "Jun"], "comments": {"Amina": "fine"}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    told = conversation("a:sw", translate=TRANSLATED, audit=REVIEWED)
    return released(tmp_path, [conversation("a:ko", "ko"), told, conversation("b:sw", turns=2)])


def load(folder: Path, *name: str) -> Any:
    return datasets.load_dataset(str(folder), *name, cache_dir=str(folder.parent / "cache"))


def test_datasets_loads_all_languages_or_one_with_the_same_typed_columns(folder: Path) -> None:
    every, swahili, korean = load(folder), load(folder, "sw"), load(folder, "ko")
    assert [len(each["test"]) for each in (every, swahili, korean)] == [3, 2, 1]
    assert every["test"].features == swahili["test"].features == korean["test"].features
    row = swahili["test"][0]
    assert (row["key"], row["language"], row["language_code"]) == ("a:0:sw", "Swahili", "sw")
    last = row["turns"][2]
    assert last["instruction_id_list"][2] == "keywords:frequency"
    used = [{name: value for name, value in each.items() if value is not None} for each in last["kwargs"]]
    assert used == [{}, {}, {"keyword": "mvua", "frequency": 2, "relation": "at least"}]
    assert (row["source_language"], row["source_prompts"]) == ("en", ["Write about rain.", "No commas."])
    assert (row["scores"]["chrf"], row["scores"]["turn_chrf"]) == (71.25, [70.0, 72.5])
    assert row["warnings"] == ["punctuation: odd"]
    assert (row["review"], row["reviewers"]) == ("accept", 2)
    assert row["proof"]["how"] == "rule"
    assert "mvua" in row["proof"]["reply"].lower()
    assert swahili["test"][1]["review"] == "nobody reviewed this"


def test_no_file_names_a_reviewer(tmp_path: Path) -> None:
    audit = {"reviews": ["amina.csv", "jun.csv"], "adjudicator": "Jun"}
    agreement = tmp_path / "work" / "audit" / "agreement.json"
    agreement.parent.mkdir(parents=True)
    agreement.write_text(json.dumps({"pairs": [{"reviewers": ["Amina", "Jun"], "kappa": 0.5}]}))
    from .test_release import build, release  # a build whose YAML names reviewers

    made, pipeline = build(tmp_path, [conversation("a:sw", audit=REVIEWED)])
    object.__setattr__(made, "audit", audit)
    list(pipeline.run())
    for path in release(made, pipeline):
        content = path.read_bytes().lower()
        assert b"amina" not in content, path.name
        assert b"jun" not in content, path.name


def test_the_card_has_what_the_hub_reads(folder: Path) -> None:
    card = (folder / "README.md").read_text("utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "cc-by-4.0"
    assert front["language"] == ["sw", "ko"]
    assert front["size_categories"] == ["n<1K"]
    assert [each["config_name"] for each in front["configs"]] == ["default", "sw", "ko"]


def test_where_nobody_reviewed_every_file_for_readers_says_so(tmp_path: Path) -> None:
    folder = released(tmp_path, TWO)
    for name in ("README.md", "DATASHEET.md", "croissant.json", "rain.yaml", "rain_sw.yaml", "_rain.yaml"):
        assert "Nobody reviewed this." in (folder / name).read_text("utf-8"), name
    assert who_reviewed([conversation("a:sw", audit=REVIEWED), *TWO]).startswith("People reviewed 1 of 4")
    pushed = CliRunner().invoke(main, ["build", "push", str(folder), "--to", "org/rain", "--anyway"], input="n\n")
    assert "Nobody reviewed this: the card and every row say so." in pushed.output


def test_where_people_reviewed_tasks_say_how_much_of_each_language(folder: Path) -> None:
    assert (folder / "rain_ko.yaml").read_text("utf-8").startswith("# Nobody reviewed this.\n")
    told = (folder / "rain_sw.yaml").read_text("utf-8").split("\n")[0]
    assert told == (
        "# People reviewed 1 of 2 conversations, nobody reviewed the others: 1 accepted as they were, 0 edited; "
        "each decided by 2 people, 2 in all."
    )
    shared = yaml.load((folder / "_rain.yaml").read_text("utf-8").replace("!function", ""), yaml.SafeLoader)
    assert shared["metadata"]["reviewed"].startswith(
        "People reviewed 1 of 3 conversations, nobody reviewed the others: "
    )


def test_croissant_is_valid_and_reads_the_files_that_lie_beside_it(folder: Path) -> None:
    croissant = pytest.importorskip("mlcroissant", reason="needs mlcroissant, of the extra dev")
    read = croissant.Dataset(str(folder / "croissant.json"))
    assert not read.metadata.ctx.issues.errors
    rows = list(read.records("sw"))
    assert [row["sw/key"] for row in rows] == [b"a:0:sw", b"b:0:sw"]
    assert rows[0]["sw/turns"][1]["sw/turns/prompt"] == b"Usitumie koma."
    assert rows[0]["sw/scores"]["sw/scores/chrf"] == 71.25


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes]]]:
    """A stub of the Hub's API; gives what was posted to it."""
    posted: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"id": "org/rain", "sha": "a" * 40})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.path, body))
            if "preupload" in self.path:
                names = [each["path"] for each in json.loads(body)["files"]]
                self.answer({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
            else:
                url = "https://huggingface.co/datasets/org/rain"
                made = {"commitUrl": f"{url}/commit/{'b' * 40}", "commitOid": "b" * 40}
                self.answer(made | {"pullRequestUrl": "https://huggingface.co/datasets/org/rain/discussions/1"})

        def answer(self, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    from huggingface_hub import HfApi

    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("turnswap.construction.push.HfApi", lambda: HfApi(endpoint=address, token="hf_stub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield posted
    server.shutdown()
    server.server_close()


def test_a_release_goes_to_the_hub_as_a_pull_request_without_what_else_lies_there(
    folder: Path, hub: list[tuple[str, bytes]]
) -> None:
    for name in ("reviews-of-amina.csv", "private.yaml"):
        (folder / name).write_text("secret")
    command = ["build", "push", str(folder), "--to", "org/rain"]
    seen = CliRunner().invoke(main, command, input="n\n")
    assert "data/sw.parquet" in seen.output
    assert "release.url, release.creators, release.published" in seen.output
    assert hub == []
    done = CliRunner().invoke(main, [*command, "--yes"])
    assert "Pull request: https://huggingface.co/datasets/org/rain/discussions/1" in done.output, done.output
    path, body = hub[-1]
    assert path.startswith("/api/datasets/org/rain/commit/")
    assert "create_pr=1" in path
    sent = {line["value"]["path"] for line in map(json.loads, body.splitlines()) if line["key"] == "file"}
    assert sent == {each.relative_to(folder).as_posix() for each in to_upload(folder)}
    assert not {"reviews-of-amina.csv", "private.yaml"} & sent


def test_a_run_that_is_to_push_refuses_before_work_starts_what_nobody_will_have_reviewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(CONFIG.read_text("utf-8")) | {"folder": str(tmp_path / "build")}
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(config), "utf-8")
    monkeypatch.chdir(REPOSITORY)
    command = ["build", "run", str(tmp_path / "build.yaml"), "--push", "org/rain"]
    refused = CliRunner().invoke(main, command).output
    assert "The audit is off: nobody would have reviewed what --push uploads." in refused
    assert "--last prove ends before it" in CliRunner().invoke(main, [*command, "--last", "prove"]).output
    assert not (tmp_path / "build").exists()


def test_a_run_with_push_asks_and_opens_the_pull_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, hub: list[tuple[str, bytes]]
) -> None:
    config = yaml.safe_load(CONFIG.read_text("utf-8")) | {"folder": str(tmp_path / "build")}
    (tmp_path / "build.yaml").write_text(yaml.safe_dump(config), "utf-8")
    monkeypatch.chdir(REPOSITORY)
    # Reviews are tested elsewhere: here the release that they lead to is there already.
    monkeypatch.setattr("turnswap.commands.build._is_audited", lambda _: True)
    monkeypatch.setattr("turnswap.commands.build._released", lambda _: folder)
    command = ["build", "run", str(tmp_path / "build.yaml"), "--push", "org/rain"]
    done = CliRunner().invoke(main, command, input="y\n")
    assert "Pull request: https://huggingface.co/datasets/org/rain/discussions/1" in done.output, done.output
    assert "create_pr=1" in hub[-1][0]


def test_what_nobody_reviewed_is_not_pushed_unless_asked_for(tmp_path: Path) -> None:
    folder = released(tmp_path, TWO)
    with pytest.raises(UserError, match=r"nobody reviewed this\. Nothing is uploaded"):
        to_upload(folder)
    assert folder / "data" / "ko.parquet" in to_upload(folder, anyway=True)
    with pytest.raises(UserError, match="holds no release"):
        to_upload(tmp_path)


@pytest.mark.parametrize(
    "content", ["{}", "[]", '"x"', '{"name": "rain", "distribution": [{"name": "../../.ssh/id"}]}', '{"name": 1}']
)
def test_a_folder_whose_description_is_no_releases_is_refused_in_words(folder: Path, content: str) -> None:
    (folder / "croissant.json").write_text(content)
    told = CliRunner().invoke(main, ["build", "push", str(folder), "--to", "org/rain"])
    assert told.exit_code == 1
    assert "holds no release: croissant.json lists" in " ".join(told.output.split())


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_that_cannot_be_reached_is_said_in_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    from turnswap.construction.push import HfApi, push

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    api = HfApi(endpoint="http://127.0.0.1:1", token="hf_stub")
    monkeypatch.setattr("turnswap.construction.push.HfApi", lambda: api)
    with pytest.raises(UserError, match="org/rain could not be uploaded"):
        push(folder, to_upload(folder), "org/rain")
