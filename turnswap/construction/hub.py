"""The release as the Hub shows and loads it: rows with typed columns as Parquet, and what describes them.

Descriptions are the front matter of the dataset card, and Croissant 1.1 (https://mlcommons.org/croissant/1.1).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from turnswap.core.errors import number_of
from turnswap.tasks.multiif.instructions import INSTRUCTIONS
from turnswap.tasks.multiif.kept import PUBLISHED
from turnswap.tasks.multiif.languages import name_of

from .licences import hub_licence, licence_url
from .prove import graded_by
from .records import Conversations, DraftConversation, json_text
from .sheet import source_of
from .steps import BuildSettings, ReleaseSettings

_FORMATS = {"parquet": "application/x-parquet", "csv": "text/csv", "py": "text/x-python"}
NOBODY = "nobody reviewed this"
SPLIT = "test"
_SCORES = ("chrf", "chrf_plus_plus", "bleu", "turn_chrf")  # those that every translation has

_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())
_FAILS = pa.list_(pa.struct([(name, _TEXT) for name in ("id", "reply", "from", "why")]))
_PROOF = pa.struct([("reply", _TEXT), ("how", _TEXT), ("fails", _FAILS)])
# Column, type (None where the data says), meaning.
COLUMNS: list[tuple[str, Any, str]] = [
    ("key", _TEXT, "Source prompt, variant, language: as in the CSV"),
    ("language", _TEXT, "Its English name"),
    ("language_code", _TEXT, "Its code in ISO 639, with a region or script where needed"),
    ("turns", None, "What the user says, and all instructions that hold by then, with IFEval's kwargs and their rule"),
    ("source_language", _TEXT, "Code of the language that it was translated from; null if it was not translated"),
    ("source_prompts", _TEXTS, "What the user says in that language, by turn"),
    ("back_translation", _TEXTS, "The translated prompts, translated back by a model"),
    ("scores", None, "The back-translation against the source, 0 to 100, and other figures of the translation"),
    ("warnings", _TEXTS, "Where the published rules grade differently from what a reader of the language expects"),
    ("review", _TEXT, f'What reviewers decided: accept or edit; "{NOBODY}" where nobody did'),
    ("reviewers", pa.int32(), "How many people decided"),
    (
        "proof",
        _PROOF,
        "A reply that follows all instructions of the last turn, and per instruction a natural one that fails",
    ),
]


def released_key(conversation: DraftConversation) -> str:
    """The key ``seed-7:sw`` as released, ``seed-7:0:sw``: seed, variant, language."""
    seed = conversation.key.removesuffix(f":{conversation.language}")
    return f"{seed}:0:{conversation.language}"


def review_of(conversation: DraftConversation) -> str:
    """What reviewers decided; :data:`NOBODY` where there was none."""
    return str(conversation.note("audit").get("decision") or NOBODY)


def who_reviewed(conversations: Conversations, whole: str = "") -> str:
    """How much of it people reviewed, what they decided and how many they were, in a sentence.

    ``whole`` says what the conversations are all of, such as `` of the release``.
    """
    notes = [each.note("audit") for each in conversations if review_of(each) != NOBODY]
    if not notes:
        return f"{NOBODY.capitalize()}."
    every = len(notes) == len(conversations)
    of = ("all" if len(notes) > 1 else "the") if every else f"{len(notes)} of"
    others = "" if every else ", nobody reviewed the others"
    edited = sum(note["decision"] == "edit" for note in notes)
    each = sorted({len(note.get("reviewers", ())) for note in notes})
    people = " or ".join(map(str, each)) + (" person" if each == [1] else " people")
    in_all = len({name for note in notes for name in note.get("reviewers", ())})
    return (
        f"People reviewed {of} {number_of(len(conversations), 'conversation')}{whole}{others}: {len(notes) - edited} "
        f"accepted as they were, {edited} edited; each decided by {people}, {in_all} in all."
    )


def parquet_files(conversations: Conversations) -> dict[str, bytes]:
    """A Parquet file per language, by path in the folder; all have the same columns and types."""
    rows = [_row(each) for each in conversations]
    types = {"turns": pa.list_(_turn_type()), "scores": _score_type([row["scores"] for row in rows])}
    schema = pa.schema([(name, kind or types[name]) for name, kind, _ in COLUMNS])
    made = {}
    for code in dict.fromkeys(each.language for each in conversations):
        own, buffer = [row for row in rows if row["language_code"] == code], io.BytesIO()
        pq.write_table(pa.Table.from_pylist(own, schema), buffer)
        made[f"data/{code}.parquet"] = buffer.getvalue()
    return made


def _row(conversation: DraftConversation) -> dict[str, Any]:
    translated, source = conversation.note("translate"), source_of(conversation) or {}
    audit, proof = conversation.note("audit"), conversation.note("prove")
    edited = [f"The scores and the back-translation are {audit['scores']}"] if "scores" in audit and source else []
    return {
        "key": released_key(conversation),
        "language": name_of(conversation.language),
        "language_code": conversation.language,
        "turns": [
            {
                "prompt": turn.prompt,
                "instruction_id_list": list(turn.instruction_ids),
                "kwargs": [*map(dict, turn.kwargs)],
                "graded_by": graded_by(conversation, number) or [PUBLISHED] * len(turn.kwargs),
            }
            for number, turn in enumerate(conversation.turns)
        ],
        "source_language": source.get("language"),
        "source_prompts": [turn["prompt"] for turn in source.get("turns", ()) if "prompt" in turn],
        "back_translation": list(translated.get("back", ())),
        "scores": {name: value for name, value in (translated.get("figures") or {}).items() if _is_score(value)},
        "warnings": [*translated.get("warnings", ()), *edited, *audit.get("doubts", ())],
        "review": review_of(conversation),
        "reviewers": len(audit.get("reviewers", ())),  # never who they are
        "proof": {name: proof.get(name) for name in ("reply", "how")} | {"fails": list(proof.get("fails") or ())},
    }


def _is_score(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)


def _score_type(scores: Sequence[Mapping[str, Any]]) -> Any:
    """A field for each figure that a translation has; a list where there is one per turn."""
    lists = {name: isinstance(value, list) for each in scores for name, value in each.items()}
    lists = {name: name.startswith("turn_") for name in _SCORES} | lists
    return pa.struct([(name, pa.list_(pa.float64()) if lists[name] else pa.float64()) for name in lists])


def _turn_type() -> Any:
    """A turn, its kwargs as in IFEval: a field for each that any instruction has, null where one does not use it."""
    kwargs = {name: kwarg for each in INSTRUCTIONS.values() for name, kwarg in each.kwargs.items()}
    types = [
        (name, _TEXTS if kwarg.expected.startswith("a list") else pa.int64() if kwarg.accepts(1) else _TEXT)
        for name, kwarg in sorted(kwargs.items())
    ]
    kwargs_type = pa.list_(pa.struct(types))
    return pa.struct(
        [("prompt", _TEXT), ("instruction_id_list", _TEXTS), ("kwargs", kwargs_type), ("graded_by", _TEXTS)]
    )


def front_matter(build: BuildSettings, settings: ReleaseSettings, conversations: Conversations) -> dict[str, Any]:
    """The YAML at the head of the dataset card: a config per language, and the default with all of them."""
    codes, n = list(dict.fromkeys(each.language for each in conversations)), len(conversations)
    sizes = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (n + 1, "100K<n<1M"))
    configs = {"default": codes} | {code: [code] for code in codes}
    hub = build.seeds.get("hub")
    return {
        "pretty_name": build.name,
        **hub_licence(settings.licence),
        "language": list(dict.fromkeys(code.partition("-")[0] for code in codes)),
        **({"language_bcp47": regional} if (regional := [code for code in codes if "-" in code]) else {}),
        "task_categories": ["text-generation"],
        "size_categories": [next(name for most, name in sizes if n < most)],
        "source_datasets": [f"extended|{hub}" if hub else "original"],
        "tags": ["instruction-following", "multi-turn", "evaluation", "lm-eval", "turnswap"],
        "configs": [
            {"config_name": name, "data_files": [{"split": SPLIT, "path": [f"data/{code}.parquet" for code in own]}]}
            for name, own in configs.items()
        ],
    }


def croissant(
    build: BuildSettings, settings: ReleaseSettings, description: str, files: Mapping[str, str | bytes]
) -> str:
    """The description in Croissant, as JSON-LD: every data file with its checksum, the columns of each language.

    Args:
        build: what the YAML says.
        settings: its section ``release``.
        description: of the data set, in words.
        files: the data files, by path in the folder.
    """
    data = {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}
    tables = [path for path in data if path.endswith(".parquet")]
    made: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": build.name,
        "description": description,
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "license": licence_url(settings.licence),
        "version": f"{settings.version}.0",  # three numbers, as the standard asks
        "inLanguage": [path.removeprefix("data/").removesuffix(".parquet") for path in tables],
        "keywords": ["instruction following", "multi-turn", "evaluation"],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": path,
                "name": path,
                "contentUrl": path,
                "contentSize": f"{len(content)} B",
                "encodingFormat": _FORMATS[path.rpartition(".")[2]],
                "sha256": hashlib.sha256(content).hexdigest(),
            }
            for path, content in data.items()
        ],
        "recordSet": [_record_set(path, pq.read_schema(io.BytesIO(data[path]))) for path in tables],
    }
    if settings.creators:
        made["creator"] = [{"@type": "sc:Organization", "name": name} for name in settings.creators]
    if settings.url:
        made["url"] = settings.url
    if settings.published:
        made["datePublished"] = settings.published.isoformat()
    return json_text(made, indent=1) + "\n"


def _record_set(path: str, schema: Any) -> dict[str, Any]:
    id_ = path.removeprefix("data/").removesuffix(".parquet")
    fields = []
    for name, _, meaning in COLUMNS:
        source = {"fileObject": {"@id": path}, "extract": {"column": name}}
        fields.append(_field(f"{id_}/{name}", name, schema.field(name).type, source) | {"description": meaning})
    key = {"@id": f"{id_}/key"}
    return {"@type": "cr:RecordSet", "@id": id_, "name": id_, "key": key, "field": fields}


def _field(id_: str, name: str, kind: Any, source: Mapping[str, Any]) -> dict[str, Any]:
    """A column, or a part of one; what lies deeper is told without where it is, as readers go no deeper."""
    field: dict[str, Any] = {"@type": "cr:Field", "@id": id_, "name": name} | ({"source": source} if source else {})
    if pa.types.is_list(kind):
        field |= {"isArray": True, "arrayShape": "-1"}
        kind = kind.value_type
    if pa.types.is_struct(kind):
        deep = "transform" in source or not source
        field = {name: value for name, value in field.items() if not deep or name != "source"}
        parts = [(each, {} if deep else {**source, "transform": {"jsonPath": each.name}}) for each in kind]
        return field | {"subField": [_field(f"{id_}/{each.name}", each.name, each.type, of) for each, of in parts]}
    number = "cr:Int64" if pa.types.is_integer(kind) else "cr:Float64"
    return field | {"dataType": "sc:Text" if pa.types.is_string(kind) else number}


# The terms of the standard, as its own context has them.
_TERMS = """arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty fileSet
format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace
samplingRate separator source subField transform"""
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}
