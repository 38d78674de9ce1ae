"""Results for others' readers: written to files, and sent to the Hub by :func:`propose` alone, as a pull request."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import yaml
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import validate_repo_id

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.tasks.multiif.dataset import HUB_REPOSITORY, LANGUAGES

from .board_files import NOBODY, board_files, name_on_board, record, record_id
from .figures import OVERALL
from .model_card import eval_results, hub_revision, merge
from .sheets import notes_of
from .table import Summary

FORMATS = ("model-index", "eval-results", "open-llm-leaderboard", "every-eval-ever")
MODEL_INDEX, EVAL_RESULTS, BOARD, RECORD = FORMATS
CARD = "README.md"
ENTRIES = ".eval_results/multiif.yaml"


def require_pushable(format_: str, repository: str) -> None:
    """Refuse what :func:`propose` could not do, before anything is written."""
    if format_ == BOARD:
        raise UserError(
            "There is no one repository to push a leaderboard's files to: every Space has two data sets of its own.",
            "Write them with -o FOLDER, then upload FOLDER/requests and FOLDER/results to your Space's data sets.",
        )
    if format_ == RECORD:
        raise UserError(
            "Every Eval Ever takes records for all models into one data set, by its own checks.",
            "Write them with -o FOLDER, then submit FOLDER/data as that project says.",
        )
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"--push takes a model repository on the Hub: {error}", "Expected: --push ORG/MODEL") from None


def require_source(format_: str, source: str) -> None:
    """Refuse a link that no format holds, or that is none."""
    if format_ not in (EVAL_RESULTS, RECORD):
        raise UserError(f"{format_} has no place for --source.", f"Expected --format {EVAL_RESULTS} or {RECORD}.")
    try:
        parts = urlsplit(source)
        valid = parts.scheme in ("http", "https") and "." in (parts.hostname or "") and not re.search(r"\s", source)
    except ValueError:
        valid = False
    if not valid:
        raise UserError(f"--source {source!r} is no link.", "Expected an address that begins with https://.")


def export(summary: Summary, format_: str, output: Path, source: str | None = None) -> list[Path]:
    """Write one model's figures in a format, and return the files.

    Args:
        summary: the figures.
        format_: one of :data:`FORMATS`.
        output: the model's folder (or its card, for ``model-index``); a folder for the board's files or for records.
        source: see :func:`require_source`.

    Raises:
        UserError: the figures or what lies there already do not allow it; then nothing was written.
    """
    if format_ == MODEL_INDEX:
        contents = _card_contents(summary, output)
    elif output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file.", "Expected a folder; it need not exist yet.")
    elif format_ == EVAL_RESULTS:
        contents = _entries_contents(summary, output, source)
    else:
        files = board_files(summary, output) if format_ == BOARD else record(summary, output, source)
        contents = {output / path: text for path, text in files.items()}
    for path, text in contents.items():
        write_whole(path, text, "Choose another place with -o.")
    return list(contents)


def remarks(summary: Summary, format_: str) -> list[str]:
    """What the user must know of what was exported."""
    model = summary.model
    missing = [code for code in LANGUAGES if code not in model.languages]
    said = notes_of("not_all_languages", missing=", ".join(missing)) if missing and format_ != MODEL_INDEX else []
    if format_ == EVAL_RESULTS:
        said += notes_of("eval_results", repository=HUB_REPOSITORY)
    if format_ == RECORD:
        said += notes_of("record")
        said += [] if "/" in name_on_board(model) else notes_of("nobody", nobody=NOBODY)
        said += [] if model.has_samples else notes_of("no_conversations")
    if format_ != EVAL_RESULTS and not model.is_benchmark:
        said += notes_of("other_data", data=model.facts["data"])
    if any(run.n < run.of for run in model.languages.values()):
        said += notes_of("partial")
    return said


def _entries_file(summary: Summary, source: str | None) -> str:
    """The Hub's eval results: overall accuracy, 0 to 1, per turn over the languages, then per language and turn.

    ``docs/upstream/hub/eval.yaml`` declares the same tasks. ``source`` is a link to more about the evaluation.

    Raises:
        UserError: the data was not the whole benchmark.
    """
    model = summary.model
    if not model.is_benchmark:
        raise UserError(
            f"Eval results are entries of {HUB_REPOSITORY}, but the data of these was {model.facts['data']}.",
            "Evaluate on the benchmark, or take --format model-index, which names the data.",
        )
    partial = [f"{run.n} of {run.of} in {code}" for code, run in model.languages.items() if run.n != run.of]
    if partial:
        raise UserError(
            f"Eval results stand for whole languages, but conversations run were {', '.join(partial)}.",
            "Evaluate without --limit, or take --format model-index, which tells how many.",
        )
    entries = [
        huggingface_hub.EvalResultEntry(
            dataset_id=HUB_REPOSITORY,
            task_id=record_id(scope, metric),
            value=summary.figure(scope, metric).value,
            dataset_revision=hub_revision(model),
            date=datetime.fromtimestamp(model.when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            source_url=source,
            source_name="Evaluation results" if source else None,
            notes=summary.signature,
        )
        for scope in summary.published_scopes
        for metric in OVERALL
    ]
    content = huggingface_hub.eval_result_entries_to_yaml(entries)
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _card(summary: Summary, content: str | None, where: str) -> str:
    return merge(content, name_on_board(summary.model).rpartition("/")[2], eval_results(summary), where)


def _card_contents(summary: Summary, output: Path) -> dict[Path, str]:
    path = output / CARD if output.is_dir() else output
    if path.suffix.lower() != ".md" or not path.parent.is_dir():
        advice = "Expected a folder that exists, or a .md in one."
        raise UserError(f"{output} is no model's folder, and no card.", advice)
    try:
        content = path.read_bytes().decode() if path.exists() else None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.", "Expected a model card in UTF-8.") from None
    return {path: _card(summary, content, str(path))}


def _entries_contents(summary: Summary, output: Path, source: str | None) -> dict[Path, str]:
    path = output / ENTRIES
    try:
        before = yaml.safe_load(path.read_text("utf-8")) if path.exists() else []
        is_ours = all(str(entry["notes"]).startswith("multiif:") for entry in before)
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        is_ours = False
    if not is_ours:
        advice = "Move it to another file in that folder."
        raise UserError(f"{path} holds what turnswap did not write; it would be lost.", advice)
    return {path: _entries_file(summary, source)}


def propose(summary: Summary, format_: str, repository: str, source: str | None = None) -> str | None:
    """Open a pull request on the Hub with one model's figures, and return its address.

    Args:
        summary: the figures.
        format_: ``model-index``, which goes into the card as it is on the Hub now, or ``eval-results``.
        repository: the model's.
        source: see :func:`require_source`.

    Returns:
        None where the repository holds just that already.

    Raises:
        UserError: offline, without a token, or the Hub refused.
    """
    require_pushable(format_, repository)
    if huggingface_hub.is_offline_mode():
        raise UserError("A pull request needs the Hub, but HF_HUB_OFFLINE is set.", "Unset it, then run again.")
    if huggingface_hub.get_token() is None:
        raise UserError(
            "A pull request needs a token of the Hugging Face Hub, and none was found.",
            "Log in with: hf auth login (or set HF_TOKEN), then run again.",
        )
    api = huggingface_hub.HfApi()
    try:
        if format_ == MODEL_INDEX:
            path, before = CARD, _card_on_hub(api, repository)
            text = _card(summary, before, f"{repository}'s {CARD} on the Hub")
            if text == before:
                return None
        else:
            path, text = ENTRIES, _entries_file(summary, source)
        commit = api.upload_file(
            path_or_fileobj=text.encode(),
            path_in_repo=path,
            repo_id=repository,
            repo_type="model",
            commit_message="Multi-IF results",
            commit_description=summary.signature,
            create_pr=True,
        )
    except UserError:
        raise
    except Exception as error:  # the Hub's client has many ways to fail, none of which is about our figures
        # Of a download the client says only that it failed; of a refusal the cause says less than the client.
        reason = (error.__cause__ if isinstance(error, ValueError) else None) or error
        raise UserError(
            f"No pull request to {repository} was opened: {type(reason).__name__}: {reason}",
            "Check the repository's name, the connection and the token (hf auth whoami), then run the command again.",
        ) from error
    return str(commit.pr_url)


def _card_on_hub(api: Any, repository: str) -> str | None:
    """The card as it is now; None where the repository has none."""
    try:
        # Not from the cache: merged into an old card, the pull request would undo what came since.
        path = api.hf_hub_download(repository, CARD, force_download=True)
    except LocalEntryNotFoundError:  # is an EntryNotFoundError, but means that the Hub could not be reached
        raise
    except EntryNotFoundError:
        return None
    return Path(path).read_bytes().decode()
