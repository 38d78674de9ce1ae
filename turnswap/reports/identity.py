"""Who was measured: a model is its name and all that was said of it when it was loaded.

Two runs of one name may be of two models: every argument counts that ``model_args.toml`` does not except.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lm_eval.utils import simple_parse_args_string

from turnswap.tasks.multiturn.identity import ARGUMENTS as _ARGUMENTS
from turnswap.tasks.multiturn.identity import NO_OTHER_MODEL

_EXCEPTED = NO_OTHER_MODEL | {*_ARGUMENTS["told_apart"]}
_OF_THE_MACHINE = ("pretty_env_info", "config_source")
_SHORT = 8
_HERE = re.compile(r"(?<=://)(?:localhost|127\.[\d.]+|\[::1\]|0\.0\.0\.0)(?::\d+)?(?=/|$)")


def identity_of(content: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What a results file tells of the model itself; values may be None.

    ``name`` is lm-eval's, ``base`` the weights below an adapter or a delta, and ``settings`` all else that changes it.
    """
    config = content.get("config") or {}
    arguments = _arguments(config)
    swap = config.get("layer_swap") or {}  # lm-eval names a swap in memory after its recipient
    dtype = str(config.get("model_dtype") or arguments.get("dtype") or arguments.get("torch_dtype") or "auto")
    reasoning, _ = split_generation(content["configs"][task].get("generation_kwargs") or {})
    hashes = {name: config[name] for name in ("peft_sha", "delta_sha") if config.get(name)}
    said = {n: _as_text(n, value) for n, value in {**arguments, **reasoning, **hashes}.items() if value is not None}
    settings = {
        n: said[n] for n in sorted(said) if n not in _EXCEPTED and said[n] != _ARGUMENTS["as_if_not_said"].get(n)
    }
    return {
        "name": str(swap.get("name") or content.get("model_name") or config.get("model") or "unnamed"),
        "base": arguments.get("pretrained") if {"peft", "delta"} & settings.keys() else None,
        "backend": config.get("model"),
        "dtype": None if dtype == "auto" else dtype.removeprefix("torch."),
        "revision": config.get("model_revision") or arguments.get("revision"),
        "sha": config.get("model_sha"),
        "parameters": config.get("model_num_parameters"),
        "settings": settings,
    }


def split_generation(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of generation that are the model's way to reason, in an extra body too, and the others."""
    reasoning: dict[str, Any] = {}
    others = dict(settings)
    if isinstance(body := settings.get("extra_body"), Mapping):
        reasoning, others["extra_body"] = split_generation(body)
        if not others["extra_body"]:
            del others["extra_body"]
    reasoning |= {name: others.pop(name) for name in settings if name in _ARGUMENTS["reasoning"]}
    return reasoning, others


def told_apart_by(identity: Mapping[str, Any]) -> dict[str, Any]:
    """All in which two models may differ, by name; where a hash is known, the revision's name says nothing."""
    known = {"name": identity["name"], "base": identity.get("base"), **identity.get("settings", {})}
    known |= {name: identity.get(name) for name in ("dtype", "revision", "backend", "sha")}
    if known["sha"] or known["revision"] == "main":
        del known["revision"]
    return {name: value for name, value in known.items() if value}


def published_identity(identity: Mapping[str, Any]) -> dict[str, str]:
    """As :func:`told_apart_by`, for files that others read: an endpoint's address as a hash."""
    known = {name: str(value) for name, value in told_apart_by(identity).items()}
    if url := known.get("base_url"):
        known["base_url"] = _hash(url)
    return known


def for_others(content: Any) -> Any:
    """What lm-eval writes, as it may be published: nowhere in it keys, addresses, and what it tells of the machine."""
    if isinstance(content, list):
        return [for_others(each) for each in content]
    if not isinstance(content, Mapping):
        return content
    kept = {name: value for name, value in content.items() if name not in (*_ARGUMENTS["secret"], *_OF_THE_MACHINE)}
    if isinstance(kept.get("model_args"), str):  # of an older lm-eval
        kept["model_args"] = _arguments(kept)
    if url := kept.get("base_url"):
        kept["base_url"] = _hash(_as_text("base_url", url))
    return {name: for_others(value) for name, value in kept.items()}


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    given = config.get("model_args") or {}
    return dict(given) if isinstance(given, Mapping) else simple_parse_args_string(str(given))


def _hash(address: str) -> str:
    """What an address is told apart by; of a hash itself."""
    return address if re.fullmatch(r"[0-9a-f]{8}", address) else hashlib.sha256(address.encode()).hexdigest()[:_SHORT]


def shown_names(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name per model: lm-eval's, with what it leaves out, and with as much more as tells models of one name apart."""
    keys = [[name for name in _ARGUMENTS["always_shown"] if name in each["settings"]] for each in identities]
    plain = [_shown(*each) for each in zip(identities, keys, strict=True)]
    for name in set(plain):
        alike = [number for number, each in enumerate(plain) if each == name]
        models = [told_apart_by(identities[number]) for number in alike]
        wanted, found = len({json.dumps(model, sort_keys=True) for model in models}), 1
        for key in sorted({key for model in models for key in model}):
            names = {_shown(identities[number], [*keys[number], key]) for number in alike}
            if found < wanted and len(names) > found:
                found = len(names)
                for number in alike:
                    keys[number].append(key)
    return [_shown(*each) for each in zip(identities, keys, strict=True)]


def _shown(identity: Mapping[str, Any], keys: Iterable[str]) -> str:
    told = told_apart_by(identity)
    said = [f"{key}={told[key][:_SHORT] if key.endswith('sha') else told[key]}" for key in keys if key in told]
    return str(identity.get("base") or identity["name"]) + (f" ({', '.join(said)})" if said else "")


def _as_text(name: str, value: Any) -> str:
    if name == "base_url":  # without a user and a key; on this machine without the port, which changes with every start
        return _HERE.sub("localhost", re.sub(r"(?<=://)[^/@]*@", "", str(value).partition("?")[0]))
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else str(value)
