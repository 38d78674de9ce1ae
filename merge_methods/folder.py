"""Every file of a model's folder: which of them decide what loads, which are the recipient's, which do not belong.

Loaders read tokenizers, templates, code, adapters and further weight files without being asked.
"""

from __future__ import annotations

import filecmp
import fnmatch
import json
import os
import re
import shutil
from collections.abc import Iterator, Set
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mergekit.options import MergeOptions
from transformers.utils import CHAT_TEMPLATE_DIR, CHAT_TEMPLATE_FILE, CONFIG_NAME

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole

from .checkpoint import Checkpoint, read_json
from .layout import NAMES
from .recipe import Recipe
from .vocabulary import tokenizer_json

TOKENIZER_CONFIG, TOKENIZER_JSON = "tokenizer_config.json", "tokenizer.json"
PROVENANCE, ATTESTATION, CHECKSUMS, CARD = "layer_swap.json", "provenance.intoto.json", "SHA256SUMS", "README.md"
OURS = ("mergekit_config.yml", PROVENANCE, ATTESTATION, CHECKSUMS)
# What tools of version control and download keep beside a model; no loader looks there.
NOT_THE_MODELS = (".git", ".cache")
TOKENIZER, SETTINGS, CODE, CARDS, PICTURES = (
    tuple(NAMES["files"][kind]) for kind in ("tokenizer", "settings", "code", "cards", "pictures")
)
DOCUMENTS = (*CARDS, "*.txt", *PICTURES)  # texts with the name of a tokenizer's are none, nor are the recipient's
ADAPTER = re.compile(r"(^|/)adapter_(config|model)\b")
WEIGHTS = re.compile(
    r"\.(safetensors|bin|pt|pth|pkl|ckpt|gguf|ggml|h5|msgpack|npz|onnx|tflite|mlmodel)$|\.index(\.\w+)?\.json$|/?consolidated\.",
    re.IGNORECASE,
)
# What a configuration may differ in: who wrote it and where it lay.
NOT_COMPARED = ("transformers_version", "_name_or_path", "name_or_path", "_commit_hash", "is_local", "local_files_only")
ABSENT = type("Absent", (), {"__repr__": lambda _: "absent"})()
MOST = 5  # fields of one file that are named


def files_of(folder: Path) -> dict[str, Path]:
    """All files of a folder and what is below it, by their paths from there; links are followed, but not in circles."""
    found: dict[str, Path] = {}
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        top = Path(here) == folder
        folders[:] = [] if real in seen else [name for name in folders if not (top and name in NOT_THE_MODELS)]
        if real not in seen:
            found |= {(Path(here) / name).relative_to(folder).as_posix(): Path(here) / name for name in names}
        seen.add(real)
    return dict(sorted(found.items()))


def deciding_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that decide what loads, beside its weights and config.json."""
    files = {name: path for name, path in files_of(folder).items() if path.is_file()}
    has_code = any("auto_map" in read_json(folder / name) for name in (CONFIG_NAME, TOKENIZER_CONFIG))
    # Scripts that lie beside a model count where it says that its code does.
    return {
        name: path
        for name, path in files.items()
        if (_decides(name) and (has_code or not _fits(name, ("*.py",))))
        or (_fits(name, ("*.txt",)) and not _fits(name, CARDS))  # tokenizers with code of their own read such
    }


def _decides(name: str) -> bool:
    return _fits(name, (*TOKENIZER, *SETTINGS, *CODE)) and not WEIGHTS.search(name)


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path has one of these forms, which reach into no folder that they do not name."""
    return any(fnmatch.fnmatchcase(name, one) and name.count("/") == one.count("/") for one in patterns)


def is_document(name: str) -> bool:
    """Whether a file is for people: nothing that loads a model reads it."""
    return _fits(Path(name).name, DOCUMENTS) and not _decides(name)


def copy_deciding_files(recipe: Recipe, folder: Path, options: MergeOptions) -> None:
    """Give a merged folder the recipient's files that decide what loads, each byte for byte.

    A chat template that the configuration declares takes the place of the recipient's default one; what mergekit wrote
    anew to bring it in, the recipient's own files replace.
    """
    declared = declared_files(recipe)
    if not options.copy_tokenizer and recipe.recipient.tokenizer_files:  # the user's wish
        declared = {name: content for name, content in declared.items() if not _fits(name, TOKENIZER)}
    for name in deciding_files(folder).keys() - declared.keys():
        (folder / name).unlink()
    for name, content in declared.items():
        if isinstance(content, str):
            write_whole(folder / name, content)
        else:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(content, folder / name)


def declared_files(recipe: Recipe) -> dict[str, Path | str]:
    """What decides beside weights and config.json, as it should be: the recipient's files, or texts in their place."""
    recipient = recipe.recipient.description.folder
    if (recipient / TOKENIZER_CONFIG).is_dir():
        raise UserError(
            f"{recipient / TOKENIZER_CONFIG} is a folder; it should be a file.", "Download the model again."
        )
    files: dict[str, Path | str] = dict(deciding_files(recipient))
    template = declared_template(recipe)
    if template is None:
        return files
    settings = read_json(recipient / TOKENIZER_CONFIG)
    stored = settings.pop("chat_template", None)
    if stored is not None:  # files of their own take precedence over it for transformers, but not for every reader
        files[TOKENIZER_CONFIG] = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    if isinstance(stored, list) and CHAT_TEMPLATE_FILE not in files:
        files |= {f"{CHAT_TEMPLATE_DIR}/{one['name']}.jinja": one["template"] for one in stored}
        files.pop(f"{CHAT_TEMPLATE_DIR}/default.jinja", None)
    return files | {CHAT_TEMPLATE_FILE: template}


def declared_template(recipe: Recipe) -> str | None:
    """The chat template that a configuration brings in, as mergekit reads ``chat_template``; None where it has none.

    Raises:
        UserError: it is no template, and the name of none.
    """
    if not recipe.config.chat_template or not recipe.recipient.tokenizer_files:
        return None
    from mergekit.merge import _set_chat_template  # it has no public one

    taken = SimpleNamespace(chat_template=None)
    try:
        _set_chat_template(taken, recipe.config)
    except RuntimeError as error:
        raise UserError(f"chat_template: {error}.", "Write a template, auto, or the name of one.") from error
    template: str | None = taken.chat_template
    return template


def folder_problems(folder: Path, recipe: Recipe, output: Checkpoint) -> Iterator[str]:
    """Every file that does not belong to the merged model, is not as declared, or is missing."""
    weights, index = {file.name for file in output.files}, f"{output.base}.index.json"
    indexed = set(read_json(folder / index).get("weight_map", {}).values())
    compared = {CONFIG_NAME, *weights, *([index] if indexed == weights else [])}
    yield from stray_files(files_of(folder), recipe, compared, output.base if weights == {output.base} else index)
    for name in declared_files(recipe):
        if not (folder / name).exists():
            advice = "; copy it, or merge again without --no-copy-tokenizer" if _fits(name, TOKENIZER) else ""
            yield f"{name}: missing; the recipient has it{advice}"


def stray_files(files: dict[str, Path], recipe: Recipe, compared: Set[str], named_by: str) -> Iterator[str]:
    """Every file that does not belong to the merged model, or is not as declared, without those compared elsewhere."""
    declared = declared_files(recipe)
    theirs = files_of(recipe.recipient.description.folder)
    for name, path in files.items():
        if name in compared:
            continue
        if not path.is_file():
            yield f"{name}: a link to what is not there"
        elif ADAPTER.search(name):
            yield f"{name}: does not belong here; transformers loads an adapter into the model without asking"
        elif WEIGHTS.search(name):
            yield f"{name}: holds or names weights outside {named_by}; other loaders read it"
        elif name in declared:
            yield from _file_problems(name, path, declared[name])
        elif name in theirs and theirs[name].is_file() and filecmp.cmp(path, theirs[name], shallow=False):
            continue
        elif _decides(name):
            sets = ", ".join(read_json(path)) if path.suffix == ".json" else ""
            what = "code" if _fits(name, CODE) else "file"
            yield f"{name}: the recipient has no such {what}" + (f", which sets {_short(sets)}" if sets else "")
        elif name in OURS or _fits(Path(name).name, CARDS):
            continue
        elif name in theirs:
            yield f"{name}: is not, byte for byte, the recipient's"
        elif not _fits(Path(name).name, DOCUMENTS):
            yield f"{name}: the recipient has no such file, and it is no document"


def code_is_the_recipients(folder: Path, recipe: Recipe) -> bool:
    """Whether a folder brings the recipient's code and no other, so that one who trusts it may run it."""
    theirs = files_of(recipe.recipient.description.folder)
    code = {name: path for name, path in files_of(folder).items() if name.endswith(".py")}
    if any(name not in theirs or not filecmp.cmp(path, theirs[name], shallow=False) for name, path in code.items()):
        return False
    return read_json(folder / CONFIG_NAME).get("auto_map") == getattr(recipe.recipient.config, "auto_map", None)


def _file_problems(name: str, path: Path, declared: Path | str) -> Iterator[str]:
    ours = path.read_bytes()
    theirs = declared.encode() if isinstance(declared, str) else declared.read_bytes()
    if ours == theirs:
        return
    if name.endswith(".jinja"):
        texts = [content.decode("utf-8", "replace") for content in (ours, theirs)]
        other = "the declared one" if isinstance(declared, str) else "the recipient's"
        yield f"{name}: the chat template is not {other}: {said('it', texts[0], texts[1], other)}"
        return
    try:
        read = tokenizer_json if name == TOKENIZER_JSON else json.loads
        pair = read(ours), read(theirs)
    except Exception:  # the tokenizers library raises nothing more special
        yield f"{name}: is not, byte for byte, the recipient's ({len(ours)} bytes, the recipient's {len(theirs)})"
        return
    yield from differences(name, *pair)


def differences(name: str, ours: Any, theirs: Any) -> Iterator[str]:
    """The fields in which the content of one file is not the recipient's, with both values."""
    if name.endswith("config.json") and isinstance(ours, dict) and isinstance(theirs, dict):
        ours, theirs = ({key: one[key] for key in one if key not in NOT_COMPARED} for one in (ours, theirs))
    found = list(differing(ours, theirs))
    yield from (f"{name}: {said(*one)}" for one in found[:MOST])
    if len(found) > MOST:
        yield f"{name}: … and {len(found) - MOST} more fields"


def differing(ours: Any, theirs: Any, field: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The fields in which two contents of JSON differ, with both values."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys(), key=str):
            pair = [one.get(key, ABSENT) for one in (ours, theirs)]
            yield from differing(pair[0], pair[1], f"{field}.{key}".lstrip("."))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for n, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differing(one, other, f"{field}[{n}]")
    elif ours != theirs:
        yield field or "it", ours, theirs


def said(field: str, ours: Any, theirs: Any, other: str = "the recipient's") -> str:
    """A field with its two values, each shortened to where they part."""
    texts = [repr(value) for value in (ours, theirs)]
    same = next((n for n, pair in enumerate(zip(*texts, strict=False)) if len(set(pair)) > 1), 0)
    start = max(0, same - 20) if max(map(len, texts)) > 80 else 0
    shown = [("…" if start else "") + _short(text[start:]) for text in texts]
    return f"{field} is {shown[0]}, {other} is {shown[1]}"


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
