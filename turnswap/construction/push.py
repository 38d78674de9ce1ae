"""A release as a pull request on the Hub."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HTTPError  # of the HTTP client, which goes by another name in newer versions

from turnswap.core.errors import UserError, reason_of

from .hub import NOBODY
from .release import described, files_of

_REQUIRED = {"url": "url", "creator": "creators", "datePublished": "published"}  # by Croissant; and our keys for it


def to_upload(folder: Path, anyway: bool = False) -> list[Path]:
    """The files of a release, and nothing else that lies in its folder.

    Raises:
        UserError: the folder holds no release, or nobody reviewed any of it, and not ``anyway``.
    """
    paths = [folder / name for name in files_of(described(folder))]
    if missing := [path for path in paths if not path.is_file()]:
        raise UserError(f"{missing[0]} is missing.", "Write the release again: turnswap build run CONFIG.")
    if unreviewed(folder) and not anyway:
        raise UserError(
            f"{folder}: {NOBODY}. Nothing is uploaded.",
            "Let people read it first (audit in the YAML), or add --anyway: card and rows will say that nobody did.",
        )
    return paths


def unreviewed(folder: Path) -> bool:
    """Whether nobody reviewed any of a release; a UserError where it cannot be read."""
    names = [name for name in files_of(described(folder)) if name.endswith(".parquet")]
    return {each for name in names for each in _column(folder / name, "review")} <= {NOBODY}


def lacking(folder: Path) -> list[str]:
    """Keys of the section ``release`` that Croissant's standard needs and this release was made without."""
    told = described(folder)
    return [key for name, key in _REQUIRED.items() if name not in told]


def push(folder: Path, paths: list[Path], name: str) -> str:
    """Upload files as a pull request; a data set that is not there yet is made first, private.

    Args:
        folder: of the release.
        paths: the files in it.
        name: of the data set on the Hub, ``ORG/NAME``.

    Returns:
        The pull request's URL.

    Raises:
        UserError: the Hub refuses, or cannot be reached.
    """
    api = HfApi()
    try:
        if not api.repo_exists(name, repo_type="dataset"):
            api.create_repo(name, repo_type="dataset", private=True)
        made = api.create_commit(
            name,
            [CommitOperationAdd(path.relative_to(folder).as_posix(), path) for path in paths],
            repo_type="dataset",
            commit_message="Release of a data set made by turnswap build",
            create_pr=True,
        )
    except (OSError, ValueError, HTTPError) as error:  # every error of the Hub's client and of connections is one
        raise UserError(
            f"{name} could not be uploaded: {reason_of(error)}",
            "Check the name (ORG/NAME), the connection, and who you are: hf auth whoami, hf auth login.",
        ) from error
    return str(made.pr_url)


def _column(path: Path, name: str) -> list[str]:
    try:
        return list(pq.read_table(path, columns=[name])[name].to_pylist())
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read: {reason_of(error)}.", "turnswap build run CONFIG writes it again."
        ) from error
