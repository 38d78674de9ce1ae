"""A leaderboard as a site: it grows with what is dropped in, keeps models apart, and can be put on any web server."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
import yaml

from tests.conftest import Turnswap, make_row, write_csv

from .evaluations import evaluate, follows_share

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EN = ("multiif_en",)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    data = write_csv(folder / "data.csv", [make_row(f"{n}:1:en") for n in range(24)])
    for name, share in (("good", 0.9), ("weak", 0.1), ("third", 0.5)):
        evaluate(folder / name, f"org/{name}", follows_share(share), data=data, tasks=EN)
    evaluate(folder / "a" / "final", "/models/a/final", follows_share(0.8), data=data, tasks=EN)
    evaluate(folder / "b" / "final", "/models/b/final", follows_share(0.2), data=data, tasks=EN)
    evaluate(folder / "short", "org/short", follows_share(0.9), data=data, tasks=EN, gen_kwargs="max_gen_toks=16")
    return folder


def ranked(site: Path) -> list[str]:
    return [row["model"] for row in csv.DictReader((site / "board.csv").open(encoding="utf-8"))]


def test_results_dropped_into_the_folder_are_on_the_board_the_next_time(
    turnswap: Turnswap, runs: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    first = turnswap("leaderboard", "--site", site, runs / "good", f"mine={runs / 'weak'}")
    assert first.exit_code == 0, first.output
    assert ranked(site) == ["org/good", "mine"]
    assert "org/good is first" in first.output
    shutil.copytree(runs / "third", site / "results" / "dropped")
    again = turnswap("leaderboard", "--site", site)
    assert again.exit_code == 0, again.output
    assert ranked(site) == ["org/good", "org/third", "mine"]
    assert len(list((site / "models").glob("*.html"))) == 3


def test_a_submission_that_is_taken_out_leaves_no_page(turnswap: Turnswap, runs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    turnswap("leaderboard", "--site", site, runs / "good", runs / "weak")
    (withdrawn,) = (site / "results").glob("weak-*")
    shutil.rmtree(withdrawn)
    assert turnswap("leaderboard", "--site", site).exit_code == 0
    assert [page.name for page in (site / "models").glob("*.html")] == ["org--good.html"]


def test_the_same_results_again_change_nothing(turnswap: Turnswap, runs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    turnswap("leaderboard", "--site", site, runs / "good", runs / "weak")
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert turnswap("leaderboard", "--site", site, runs / "good").exit_code == 0
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before


def test_what_was_not_run_alike_is_refused_and_does_not_get_in(turnswap: Turnswap, runs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    turnswap("leaderboard", "--site", site, runs / "good")
    before = sorted(site.rglob("*"))
    refused = turnswap("leaderboard", "--site", site, runs / "short")
    assert refused.exit_code == 1
    assert "not comparable: gen is" in " ".join(refused.stderr.split())
    assert sorted(site.rglob("*")) == before


def test_models_whose_names_end_alike_have_pages_of_their_own(turnswap: Turnswap, runs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    made = turnswap("leaderboard", "--site", site, runs / "a" / "final", runs / "b" / "final")
    assert made.exit_code == 0, made.output
    pages = {page.read_text("utf-8") for page in (site / "models").glob("*.html")}
    assert len(pages) == 2
    for name in ("/models/a/final", "/models/b/final"):
        assert sum(f"<h1>Multi-IF: {name}" in page for page in pages) == 1


def test_the_readme_is_a_static_spaces_and_stays_the_owners(turnswap: Turnswap, runs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    turnswap("leaderboard", "--site", site, runs / "good")
    _, front, text = (site / "README.md").read_text("utf-8").split("---\n", 2)
    assert yaml.safe_load(front) == {"title": "Multi-IF leaderboard", "sdk": "static", "app_file": "index.html"}
    assert "CC-BY-NC-2.0" in text
    (site / "README.md").write_text("mine", "utf-8")
    turnswap("leaderboard", "--site", site, runs / "weak")
    assert (site / "README.md").read_text("utf-8") == "mine"


def test_without_results_and_without_a_site_there_is_nothing_to_rank(turnswap: Turnswap, tmp_path: Path) -> None:
    nothing = turnswap("leaderboard")
    assert nothing.exit_code == 1
    assert "--site FOLDER" in nothing.stderr
    empty = turnswap("leaderboard", "--site", tmp_path / "site")
    assert empty.exit_code == 1
    assert "holds no results" in " ".join(empty.stderr.split())
    assert not (tmp_path / "site").exists()


def test_a_changed_sample_is_found_where_every_reply_is_graded_again(
    turnswap: Turnswap, runs: Path, tmp_path: Path
) -> None:
    forged = shutil.copytree(runs / "good", tmp_path / "forged")
    (samples,) = forged.rglob("samples_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    changed = next(line for line in lines if line["verdicts"][0][0]["published"] == "S")
    changed["filtered_resps"] = ["Not a title at all, no"] * len(changed["filtered_resps"])
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    refused = turnswap("leaderboard", "--site", tmp_path / "site", forged, "--regrade")
    assert refused.exit_code == 1
    assert changed["doc"]["key"] in refused.stderr


def test_a_site_takes_no_figures_without_samples_and_no_impossible_ones(
    turnswap: Turnswap, runs: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(runs / "good", tmp_path / "bare")
    for samples in bare.rglob("samples_*"):
        samples.unlink()
    refused = turnswap("leaderboard", "--site", tmp_path / "site", bare)
    assert refused.exit_code == 1
    assert "has no samples" in " ".join(refused.stderr.split())
    (results,) = bare.rglob("results_*.json")
    content = json.loads(results.read_text("utf-8"))
    content["results"]["multiif_en"]["turn1_overall_acc,none"] = 1.5
    results.write_text(json.dumps(content), "utf-8")
    impossible = turnswap("report", bare)
    assert "Expected a share, 0 to 1" in " ".join(impossible.stderr.split())
    assert not (tmp_path / "site").exists()


def test_runs_in_folders_of_their_own_stay_apart_and_what_is_private_or_foreign_stays_out(
    turnswap: Turnswap, runs: Path, tmp_path: Path
) -> None:
    mixed, site = tmp_path / "mixed", tmp_path / "site"
    for name in ("good", "weak"):
        shutil.copytree(runs / name, mixed / name)
        (results,) = (mixed / name).rglob("results_*.json")
        (samples,) = (mixed / name).rglob("samples_*.jsonl")
        content = json.loads(results.read_text("utf-8"))
        private = {"header": "Bearer secret", "base_url": "http://me:key@10.0.0.7:8000/v1"}
        content["config"]["model_args"] |= private
        content["configs"]["multiif_en"]["metadata"] |= private  # where lm-eval writes the model's arguments once more
        results.unlink()
        results.with_name("results_2026-01-01T00-00-00.000001.json").write_text(json.dumps(content), "utf-8")
        samples.rename(samples.with_name("samples_multiif_en_2026-01-01T00-00-00.000001.jsonl"))
        samples.with_name("samples_gpqa_2026-01-01T00-00-00.000001.jsonl").write_text("{}")
    (mixed / "results_other.json").write_text('{"config_general": {}}')
    for _ in range(2):
        made = turnswap("leaderboard", "--site", site, mixed)
        assert made.exit_code == 0, made.output
        assert ranked(site) == ["org/good", "org/weak"]
    copied = [path for path in (site / "results").rglob("*") if path.is_file()]
    assert len(copied) == 4
    for path in copied:
        assert not {"gpqa", "other"} & set(path.name.split("_"))
        if path.suffix == ".json":
            text = path.read_text("utf-8")
            assert not [
                secret
                for secret in ("secret", "10.0.0.7", "me:key", "pretty_env_info", "config_source")
                if secret in text
            ]


def test_a_name_that_is_no_text_is_refused(turnswap: Turnswap, runs: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(runs / "good", site / "results" / "dropped")
    (site / "results" / "dropped" / "NAME").write_bytes(b"\xff\xfe")
    refused = turnswap("leaderboard", "--site", site)
    assert refused.exit_code == 1
    assert "no text in UTF-8" in " ".join(refused.stderr.split())


def test_every_link_leads_somewhere_and_pages_name_the_model(
    browser: Browser, turnswap: Turnswap, runs: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    turnswap("leaderboard", "--site", site, runs / "good", runs / "weak")
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((site / "index.html").as_uri())
    links = page.eval_on_selector_all("main a, footer a", "all => all.map((a) => a.getAttribute('href'))")
    assert len(links) == 4
    for link in links:
        assert (site / link).is_file(), link
    page.goto(urljoin((site / "index.html").as_uri(), links[0]))
    assert page.inner_text("h1").startswith("Multi-IF: org/good, ")
    assert page.inner_text("header a") == "The ranking"
    assert "org/weak" in page.inner_text("main")  # its comparison
    assert complaints == []
    page.close()
