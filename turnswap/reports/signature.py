"""What identifies a run, in one line that stands under every figure: ``multiif:1.0|langs:en|n:909/909|…``.

In the manner of sacreBLEU (Post 2018, arXiv 1804.08771): figures may be compared where their signatures agree in all
that belongs to the measurement. Facts of the model itself are told as well, but may differ. Two runs of one name may be
of two models: every argument that was said when it was loaded counts, but for those in ``model_args.toml``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lm_eval.utils import simple_parse_args_string

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.dataset import BENCHMARK_SHA256, HUB_REPOSITORY, HUB_REVISION, Source
from turnswap.tasks.multiturn.backend import TOKEN_CAPS
from turnswap.tasks.multiturn.identity import ARGUMENTS, NO_OTHER_MODEL
from turnswap.tasks.multiturn.reasoning import KNOWN

# The chat template and the settings are the model's own: they identify a run and may differ between models.
OF_THE_MODEL = ("template", "args")
_SHORT = 8
_USUAL_MARKERS = (None, "known", [list(pair) for pair in KNOWN])
_EXCEPTED = NO_OTHER_MODEL | {*ARGUMENTS["told_apart"]}
_OF_THE_MACHINE = ("pretty_env_info", "config_source")
_HERE = re.compile(r"(?<=://)(?:localhost|127\.[\d.]+|\[::1\]|0\.0\.0\.0)(?::\d+)?(?=/|$)")


def facts_of(content: Mapping[str, Any], task: str, filter_name: str) -> dict[str, str]:
    """What identifies one task's run, by name, from the content of a results file."""
    config = content["configs"][task]
    metadata = config.get("metadata") or {}
    run = metadata.get("run") or {}
    facts = {
        "multiif": str(metadata.get("version")),
        "data": _data(metadata),
        "gen": _generation(split_generation(config.get("generation_kwargs") or {})[1]),
        "prompts": str(run.get("prompts", "unknown")),
        "template": str(run.get("chat_template_sha") or "none")[:_SHORT],
        "system": str(content.get("system_instruction_sha") or "none")[:_SHORT],
        "filter": filter_name,
        "content": content_of(metadata)[:_SHORT] or "unknown",
        "repeats": str(config.get("repeats", 1)),
        "lm-eval": str(content.get("lm_eval_version", "unknown")),
        "turnswap": str(metadata.get("turnswap", "unknown")),
    }
    if config.get("description"):
        facts["description"] = _clean(config["description"])
    if metadata.get("graded_by"):
        # Which slots these are, the content says.
        facts["graded_by"] = _clean(f"published,corrected:{metadata.get('corrected_rules')}")
    if metadata.get("reasoning_markers") not in _USUAL_MARKERS:
        facts["reasoning"] = _clean(metadata["reasoning_markers"])
    # Where an endpoint is, is nobody else's business, and cannot be repeated by others.
    settings = {n: v for n, v in identity_of(content, task)["settings"].items() if n != "base_url"}
    if settings:
        facts["args"] = ",".join(f"{name}:{_clean(value)}" for name, value in settings.items())
    return facts


def content_of(metadata: Mapping[str, Any]) -> str:
    """The hash of what a language's data holds; empty in results of earlier versions."""
    return str(metadata.get("content_sha256") or "")


def is_benchmark(metadata: Mapping[str, Any], language: str) -> bool:
    """Whether a language's data is the published Multi-IF: by its content, or as the Hub's commit."""
    # A commit of the Hub is a hash of all of its content.
    of_the_hub = Source("hub", HUB_REPOSITORY, HUB_REVISION).description
    return content_of(metadata) == BENCHMARK_SHA256.get(language, "unknown") or metadata.get("data") == of_the_hub


def content_of_all(contents: Iterable[str]) -> str:
    """One short hash of several languages' contents; of one language its own."""
    each = list(contents)
    if "unknown" in each:
        return "unknown"
    return each[0] if len(each) == 1 else hashlib.sha256(" ".join(each).encode()).hexdigest()[:_SHORT]


def _data(metadata: Mapping[str, Any]) -> str:
    described, sha = str(metadata.get("data", "unknown")), metadata.get("data_sha256")
    if sha:
        kind = "sample" if "packaged with turnswap" in described else "csv"
        return f"{kind}@{str(sha)[:_SHORT]}"
    return f"hub@{described.rpartition(' ')[2][:_SHORT]}" if " at revision " in described else _clean(described)


def _generation(settings: Mapping[str, Any]) -> str:
    """``greedy,max_gen_toks:2048``: in greedy decoding what shapes the distribution has no effect."""
    shown = {name: value for name, value in settings.items() if name != "until" or value}
    for name in TOKEN_CAPS[1:]:  # another name for the cap replaces ours
        if name in shown:
            shown["max_gen_toks"] = shown.pop(name)
    how = "sampled" if shown.pop("do_sample", False) else "greedy"
    if how == "greedy" and shown.get("temperature"):
        # API models drop do_sample and send the temperature: whether this was greedy depends on the backend.
        how = "do_sample:False"
    without_effect = ("temperature", "top_p", "top_k", "min_p") if how == "greedy" else ()
    return ",".join([how, *(f"{n}:{_clean(v)}" for n, v in sorted(shown.items()) if n not in without_effect)])


def _clean(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "/").replace("'", "")


def require_comparable(
    one: str, facts: Mapping[str, str], other: str, others: Mapping[str, str], accepted: Iterable[str]
) -> None:
    """Refuse two models that were not run alike; the chat template may differ, and what is accepted.

    Raises:
        UserError: it names what differs, or a name in ``accepted`` that is no part of a signature (a misspelt one would
            accept nothing).
    """
    accepted = set(accepted)
    for name in accepted:
        if name not in facts and name not in ("description", "reasoning", "args", "graded_by"):
            raise UserError(f"--accept {name}: that is no part of a signature.", f"Expected one of {', '.join(facts)}.")
    # The same content may have come by different ways; whoever accepts other data accepts other content.
    if facts.get("content", "unknown") == others.get("content", "unknown") != "unknown":
        accepted |= {"data"}
    elif "data" in accepted:
        accepted |= {"content"}
    accepted |= set(OF_THE_MODEL)
    if names := _differing(facts, others, accepted):
        raise UserError(
            f"{one} and {other} are not comparable: {describe_difference(facts, others, accepted)}.",
            f"Run both alike; or, if you know that it does not matter, add --accept {','.join(names)}.",
        )


def _differing(one: Mapping[str, Any], other: Mapping[str, Any], accepted: Iterable[str]) -> list[str]:
    return [name for name in {**one, **other} if name not in set(accepted) and one.get(name) != other.get(name)]


def describe_difference(one: Mapping[str, Any], other: Mapping[str, Any], accepted: Iterable[str] = ()) -> str:
    """The facts in which two runs differ, with both values; empty where they were run alike."""
    names = _differing(one, other, accepted)
    return "; ".join(f"{name} is {one.get(name, 'default')} and {other.get(name, 'default')}" for name in names)


def signature(facts: Mapping[str, str], languages: Iterable[str], n: int, of: int, drawn: str = "") -> str:
    """The line that identifies the figures of ``n`` of ``of`` conversations; ``drawn`` tells of their intervals."""
    first = {"multiif": facts["multiif"], "langs": "+".join(languages), "n": f"{n}/{of}"}
    parts = [f"{name}:{value}" for name, value in {**first, **facts}.items()]
    return "|".join([*parts, drawn] if drawn else parts)


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
        n: said[n] for n in sorted(said) if n not in _EXCEPTED and said[n] != ARGUMENTS["as_if_not_said"].get(n)
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
    reasoning |= {name: others.pop(name) for name in settings if name in ARGUMENTS["reasoning"]}
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
    kept = {name: value for name, value in content.items() if name not in (*ARGUMENTS["secret"], *_OF_THE_MACHINE)}
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
    keys = [[name for name in ARGUMENTS["always_shown"] if name in each["settings"]] for each in identities]
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
