"""``turnswap leaderboard --site DIR``: a ranking as a static site that grows with what lies below ``DIR/results``."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from glob import escape
from importlib.resources import files
from pathlib import Path

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.core.pages import render_page

from .board_files import name_on_board
from .folders import read_results, results_files, samples_beside
from .leaderboard import Board
from .leaderboard_formats import TITLE, as_csv, as_json, as_page, pair_sheets
from .reading import split_label
from .sheets import title_of
from .signature import for_others
from .table import Summary
from .terminal import report_sheets

RESULTS, NAME = "results", "NAME"
_ELSEWHERE = "Choose another folder with --site."


def submissions(site: Path) -> list[str]:
    """What lies below the site's results, as :func:`.reading.read_models` takes it."""
    found = []
    for folder in sorted(each for each in (site / RESULTS).glob("*") if each.is_dir()):
        file = folder / NAME
        try:
            label = file.read_text("utf-8").strip() if file.is_file() else ""
        except ValueError:
            raise UserError(f"{file} is no text in UTF-8.", "Expected the name of a model, in one line.") from None
        found.append(f"{label}={folder}" if label else str(folder))
    return found


def new_results(site: Path, arguments: Iterable[str]) -> dict[str, Path]:
    """Which results are not in the site yet, and the folder that each would have there.

    Raises:
        UserError: a path holds no results, or neither the arguments nor the site name any.
    """
    found = {}
    for argument in arguments:
        label, path = split_label(argument)
        if site.resolve() not in path.resolve().parents:
            digest = hashlib.sha256(b"".join(file.read_bytes() for file in results_files(path))).hexdigest()[:8]
            known_as = re.sub(r"[^A-Za-z0-9._-]+", "-", label or path.resolve().name).strip("-.") or "results"
            target = site / RESULTS / f"{known_as}-{digest}"  # the same results again have the same place
            if not target.exists():
                found[argument] = target
    if not found and not submissions(site):
        raise UserError(f"{site / RESULTS} holds no results.", "Name some: turnswap leaderboard --site DIR RESULT...")
    return found


def require_samples(summaries: Iterable[Summary]) -> None:
    """Refuse models without samples: nothing proves a figure that stands alone."""
    for model in (summary.model for summary in summaries):
        if not model.has_samples:
            raise UserError(
                f"{model.name} has no samples beside {next(iter(model.languages.values())).files[0]}.",
                "A site needs samples as proof: run the evaluation with --log_samples.",
            )


def take_in(new: Mapping[str, Path], summaries: Iterable[Summary]) -> None:
    """Copy what was read of :func:`new_results` into the site: no other tasks' samples, nothing that is private.

    Args:
        new: argument -> folder in the site.
        summaries: the models that were read; samples are compressed, and what tells of this machine is left out.
    """
    runs = [run for summary in summaries for run in summary.model.languages.values()]
    for argument, target in new.items():
        label, path = split_label(argument)
        for file in results_files(path):
            here = target / (file.relative_to(path).parent if path.is_dir() else "")
            own = [run for run in runs if os.path.realpath(file) in map(os.path.realpath, run.files)]
            if own:
                content = json.dumps(for_others(read_results(file)), indent=1, ensure_ascii=False)
                write_whole(here / file.name, content + "\n", _ELSEWHERE)
            for samples in (each for run in own for each in samples_beside(file, escape(run.task))[:1]):
                data, name = samples.read_bytes(), samples.name
                if samples.suffix != ".gz":
                    data, name = gzip.compress(data, mtime=0), f"{name}.gz"
                write_whole(here / name, data, _ELSEWHERE)
        if label:
            write_whole(target / NAME, label + "\n", _ELSEWHERE)


def write_site(site: Path, board: Board, summaries: Sequence[Summary]) -> list[Path]:
    """Write the pages of a ranking of these models, and return them; other files there stay, a README too.

    The page of a model that is no longer on the board goes: whoever withdraws a submission is not to be found.
    """
    pages = _places(summaries)
    for page in (site / "models").glob("*.html"):
        if f"models/{page.name}" not in pages.values():
            page.unlink()
    models = [summary.model for summary in summaries]
    texts = {"index.html": as_page(board, title_of(TITLE, models), pages), "board.csv": as_csv(board)}
    texts["board.json"] = json.dumps(as_json(board), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    texts |= {pages[summary.model.name]: _model_page(board, summary) for summary in summaries}
    if not (site / "README.md").exists():
        readme = (files(__package__) / "html" / "site.md").read_text("utf-8")
        texts["README.md"] = readme.format(title=TITLE, results=RESULTS, name=NAME)
    return [write_whole(site / name, text, _ELSEWHERE) for name, text in texts.items()]


def _places(summaries: Sequence[Summary]) -> dict[str, str]:
    """A page per model: by its name, and where names end alike, by their hashes too."""
    short = {summary.model.name: name_on_board(summary.model).replace("/", "--") for summary in summaries}
    taken = [name.lower() for name in short.values()]  # some disks do not tell A from a
    hashes = {name: f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}" for name in short}
    twice = {name for name, place in short.items() if taken.count(place.lower()) > 1}
    return {name: f"models/{place}{hashes[name] if name in twice else ''}.html" for name, place in short.items()}


def _model_page(board: Board, summary: Summary) -> str:
    name = summary.model.name
    (row,) = (row for row in board.rows if row.model == name and not row.is_published)
    own = [pair for pair in board.pairs if name in (pair.a, pair.b)]
    first, *others = report_sheets([summary])
    title, sheets = title_of("Multi-IF", [summary.model]), [first, *pair_sheets(own), *others]
    ranked, style = sum(each.rank is not None for each in board.rows), ["leaderboard.css"]
    values = {"sentence": first.says, "rank": row.shown_rank, "of": ranked, "sheets": sheets}
    return render_page("turnswap.reports", "model.html.j2", title, style, "", **values)
