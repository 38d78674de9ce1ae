"""The files that a task is made of: YAMLs, the modules that they name, and all that these import or name in turn.

Modules are read, not run, so that an import inside a function counts like one at the top. What cannot be read off a
module, an import of a name that is made as it runs, brings in every module below its folder.
"""

from __future__ import annotations

import ast
import functools
import glob
import itertools
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import yaml

from turnswap.merge_methods.folder import files_of

# Followed wherever they are installed: tasks are edited in place, and a checkout keeps its version as it changes.
FOLLOWED = ("turnswap", "lm_eval")
_DATA = ("dataset_path", "data_dir", "data_files", "tokenizer")  # settings that may name a folder, or files by a glob
_IMPORTERS = {"import_module", "__import__", "spec_from_file_location", "run_path", "run_module"}
_LONGEST = 255  # of a file's name


@dataclass
class Files:
    """Files by a name that says nothing of where they lie, and the packages that were not followed."""

    found: dict[Path, str] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)  # installed ones, as they are imported
    declared: dict[str, list[Any]] = field(default_factory=dict)  # what YAMLs of a name hold, without places

    def add(self, path: Path, base: Path) -> bool:
        """Take a file up under its path from ``base``; false where it was there."""
        if path in self.found:
            return False
        self.found[path] = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name
        return True

    def add_modules(self, modules: Iterable[tuple[Path, Path]], root: Path | None = None) -> None:
        """Take up modules, each with the folder that its import starts from, and what they import or name.

        ``root``: the task's folder, where its modules look too.
        """
        waiting = list(modules)
        while waiting:
            path, base = waiting.pop()
            if not self.add(path, base) or path.suffix != ".py":
                continue
            ours = self.found[path].split("/")[0] in FOLLOWED
            module, near = _read(path, path.stat().st_mtime_ns), [] if ours else [path.parent, base, root or base]
            for name, level in module.imports:
                if level:
                    waiting += locate(name, (str(path.parents[level - 1]),), base)
                    continue
                for folder in near:
                    waiting += locate(name, (str(folder),))
                waiting += self._installed(name)
            if not ours:
                waiting += self._named(module, near)
                if module.imports_anything:
                    below = (file for name, file in files_of(path.parent).items() if _is_module(name))
                    waiting += [(file, base) for file in below]

    def _installed(self, name: str) -> list[tuple[Path, Path]]:
        top = name.split(".")[0]
        if top in sys.stdlib_module_names:
            return []
        found = locate(name)
        if top in FOLLOWED or not any(_is_installed(path) for path, _ in found):
            return found
        self.packages.add(top)
        return []

    def _named(self, module: _Module, folders: list[Path]) -> Iterator[tuple[Path, Path]]:
        """Files and modules beside a module, or in folders there, whose names stand in it as texts."""
        folders = list(folders)
        for folder in folders:  # grows
            for text in module.texts:
                path = Path(os.path.normpath(folder / text))
                if os.path.isfile(path):
                    yield path, folders[0]
                elif os.path.isdir(path) and folders[0] in path.parents and path not in folders:
                    folders.append(path)
                elif text.replace(".", "_").isidentifier():
                    yield from locate(text, (str(folder),))

    def settle(self, value: Any, folder: Path, name: str = "") -> Any:
        """A setting without places: files that it names are taken up, functions are said by name."""
        if isinstance(value, Mapping):
            return {str(k): self.settle(one, folder, name if name in _DATA else str(k)) for k, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.settle(one, folder, name) for one in value]
        if callable(value):
            inner = getattr(value, "func", value)  # of a partial
            self.add_modules(_module_of(inner), folder)
            return getattr(inner, "__qualname__", type(inner).__qualname__)
        if not isinstance(value, str):
            plain = isinstance(value, (int, float)) or value is None
            return value if plain else re.sub(r" at 0x[0-9a-f]+", "", repr(value))
        if "\n" in value or not (name in _DATA or {"/", "."} & set(value)):
            return value
        for path in (Path(value).absolute(), folder / value):
            if os.path.isfile(path):
                files = {path: path.parent}
            elif os.path.isdir(path) and (name in _DATA or os.path.isabs(value)):
                files = dict.fromkeys(files_of(path).values(), path.parent)
            else:
                matching = map(Path, glob.glob(str(path), recursive=True) if name in _DATA else ())
                files = {one: one.parent for one in matching if one.is_file()}
            for one, base in files.items():
                self.add(one, base)
            if files:
                return f"<{path.name}>"
        return value


def task_files(task: Any, declared: Path | None, code: Files) -> tuple[Files, Any]:
    """The files of a task that lm-eval has built, and its configuration without places.

    Args:
        task: any of lm-eval's.
        declared: the YAML that it, or its group, stands in.
        code: what counts already.
    """
    files, folder = Files(dict(code.found), set(code.packages)), declared.parent if declared else Path.cwd()
    for path, held in _with_included(declared) if declared else ():
        files.declared.setdefault(path.name, []).append(files.settle(held, path.parent))
        for module in _functions(held):
            files.add_modules([*locate(module, (str(path.parent),)), *locate(module)], folder)
    files.add_modules(_module_of(type(task)), folder)
    content = dict(task.config.to_dict(keep_callable=True))
    # Where the recipient and the YAML lie is handed to tasks as metadata.
    metadata = content.get("metadata") or {}
    content["metadata"] = {key: one for key, one in metadata.items() if key not in ("pretrained", "config_source")}
    settled = files.settle(content, folder)
    own = {path: name for path, name in files.found.items() if path not in code.found}
    return Files(own, files.packages - code.packages, files.declared), settled


class _Yaml(yaml.SafeLoader):
    """Reads tasks without loading what they name."""


class _Function(str):
    pass


_Yaml.add_multi_constructor("!", lambda loader, tag, node: _Function(node.value))


def _with_included(path: Path) -> Iterator[tuple[Path, Any]]:
    paths = [path]
    for one in paths:  # grows
        held = yaml.load(one.read_bytes(), _Yaml)
        included = held.get("include") or []
        named = ((one.parent / each).resolve() for each in ([included] if isinstance(included, str) else included))
        paths += [each for each in named if each not in paths]
        yield one, held


def _functions(held: Any) -> Iterator[str]:
    """The modules of the functions that a YAML names."""
    match held:
        case _Function():
            yield held.rpartition(".")[0]
        case dict():
            yield from itertools.chain.from_iterable(map(_functions, held.values()))
        case list():
            yield from itertools.chain.from_iterable(map(_functions, held))


@dataclass(frozen=True)
class _Module:
    imports: frozenset[tuple[str, int]]  # with how many dots before it
    texts: frozenset[str]
    imports_anything: bool


@functools.lru_cache(4096)
def _read(path: Path, _changed: int) -> _Module:
    """What a module imports and which texts stand in it; nothing of one that Python cannot read."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):
        nodes = []
    imports, texts, anything = set(), set(), False
    for node in nodes:
        match node:
            case ast.Import(names):
                imports |= {(one.name, 0) for one in names}
            case ast.ImportFrom(module, names, level):
                start = [module] if module else []
                imports |= {(".".join([*start, one.name]), level or 0) for one in names}
            case ast.Constant(str() as text) if 0 < len(text) < _LONGEST and text.isprintable():
                texts.add(text)
            case ast.Call(ast.Name(called) | ast.Attribute(attr=called), given) if called in _IMPORTERS:
                anything |= not all(isinstance(one, ast.Constant) for one in given)
    return _Module(frozenset(imports), frozenset(texts), anything)


def locate(name: str, where: tuple[str, ...] | None = None, base: Path | None = None) -> list[tuple[Path, Path]]:
    """The files of a module and of the packages above it, each with the folder that the import starts from.

    A last name that is none of a module's is one in it.
    """
    found = []
    for part in name.split("."):
        spec = PathFinder.find_spec(part, where) or (
            None if where else getattr(sys.modules.get(part), "__spec__", None)
        )
        if spec is None:
            break
        where = tuple(spec.submodule_search_locations or ())
        origin = Path(spec.origin) if spec.has_location and spec.origin else None
        base = base or (Path(where[0]).parent if where else origin and origin.parent)
        if origin and base:
            found.append((origin, base))
        if not where:
            break
    return found


def _module_of(value: Callable[..., Any]) -> list[tuple[Path, Path]]:
    """The module that a function or class is from."""
    name = getattr(value, "__module__", None) or ""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or (_is_installed(Path(file)) and name.split(".")[0] not in FOLLOWED):
        return []
    return locate(name) or [(Path(file), Path(file).parent)]


def _is_module(name: str) -> bool:
    return name.endswith(".py") and not any(part.startswith(".") or part == "site-packages" for part in name.split("/"))


def _is_installed(path: Path) -> bool:
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or path.is_relative_to(_STDLIB)


_STDLIB = sysconfig.get_path("stdlib")
