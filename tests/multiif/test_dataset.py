from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from turnswap.core.errors import UserError
from turnswap.tasks.multiif import dataset
from turnswap.tasks.multiif.dataset import DatasetError, Source, find_source, load_conversations, parse_row
from turnswap.tasks.multiif.languages import NAMES, code_of, name_of
from turnswap.tasks.multiif.text import known_languages

from ..conftest import SHARED, make_row, write_csv


def kwargs_column(*kwargs: dict[str, Any]) -> str:
    return json.dumps([json.dumps(item) for item in kwargs])


def test_a_row_becomes_a_conversation_with_cumulative_instructions() -> None:
    conversation = parse_row(make_row("7:2:fr", "French"), 2)
    assert conversation["key"] == "7:2:fr"
    assert [turn["instruction_ids"] for turn in conversation["turns"]] == [
        ["detectable_format:title"],
        ["detectable_format:title", "punctuation:no_comma"],
        ["detectable_format:title", "punctuation:no_comma", "keywords:existence"],
    ]
    assert conversation["turns"][2]["kwargs"] == [{}, {}, {"keywords": ["rain"]}]
    assert conversation["turns"][1]["prompt"] == "Use no comma."


@pytest.mark.parametrize("missing", ["", None, math.nan, "None", "nan"])
def test_a_conversation_without_a_third_turn_keeps_its_two(missing: object) -> None:
    row = make_row(turns=2) | {"turn_3_prompt": missing}
    assert len(parse_row(row, 2)["turns"]) == 2


def test_kwargs_may_be_objects_and_nulls_that_nobody_asks_for_are_dropped() -> None:
    row = make_row(turn_2_kwargs=json.dumps([{}, {"num_words": None}]))
    assert parse_row(row, 2)["turns"][1]["kwargs"] == [{}, {}]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"language": "Klingon"}, "unknown language 'Klingon'; expected one of English, Chinese"),
        ({"turn_1_instruction_id_list": '["detectable_format:poem"]'}, "unknown instruction id .*one of detectable_fo"),
        ({"turn_2_kwargs": kwargs_column({})}, "turn 2 has 2 instruction ids and 1 kwargs"),
        ({"turn_1_instruction_id_list": "[]", "turn_1_kwargs": "[]"}, "turn 1 has 0 instruction ids"),
        ({"turn_1_kwargs": "[oops"}, "turn_1_kwargs is broken JSON"),
        ({"turn_3_kwargs": '["{}", "{}", "{"]'}, "turn_3_kwargs, item 3 is broken JSON"),
        ({"turn_3_kwargs": '["{}", "{}", "[]"]'}, "turn_3_kwargs, item 3 is not an object"),
        ({"turn_1_kwargs": '{"a": 1}'}, "turn_1_kwargs is not a list"),
        ({"turn_1_instruction_id_list": '"x"'}, "turn_1_instruction_id_list is not a list of instruction ids"),
        ({"turn_1_prompt": "Hello"}, "turn_1_prompt is broken JSON"),
        ({"turn_1_prompt": '{"role": "system", "content": "x"}'}, "turn_1_prompt is not"),
        ({"turn_2_prompt": ""}, "only the third turn may be missing"),
        ({"turn_3_kwargs": kwargs_column({}, {}, {})}, "turn 3, instruction 3: .*'keywords' is missing; expected a l"),
        ({"turn_3_kwargs": kwargs_column({}, {}, {"keywords": "rain"})}, "'keywords' is 'rain'; expected a list"),
        ({"turn_3_kwargs": kwargs_column({}, {}, {"keywords": []})}, r"'keywords' is \[\]; expected a list of one"),
        ({"turn_3_kwargs": kwargs_column({}, {"n": 3}, {"keywords": ["x"]})}, "unknown kwarg 'n'; expected no kwargs"),
    ],
)
def test_a_malformed_row_is_refused_with_its_key(columns: dict[str, str], message: str) -> None:
    with pytest.raises(DatasetError, match=f"^Row 9:9:en: .*{message}"):
        parse_row(make_row("9:9:en", **columns), 2)


@pytest.mark.parametrize("language", ["Swahili", "Korean", "Portuguese (BR)", "quc"])
def test_data_may_be_in_any_language_that_has_a_name(language: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "d.csv", [make_row("1:0:x", language)])
    (conversation,) = load_conversations(Source("csv", str(path)), language)
    assert conversation["language"] == language


@pytest.mark.parametrize(
    ("language", "near"),
    [("Swahilli", "Swahili"), ("korean", "Korean"), ("sw", "Swahili"), ("Portugese", "Portuguese")],
)
def test_a_misspelt_language_is_refused_with_what_may_be_meant(language: str, near: str) -> None:
    with pytest.raises(DatasetError, match=f"^Row 1:1:en: unknown language '{language}'; .* such as {near}"):
        parse_row(make_row(language=language), 2)


@pytest.mark.parametrize(
    ("code", "name"),
    [("sw", "Swahili"), ("zh", "Chinese"), ("pt-br", "Portuguese (BR)"), ("sr-latn", "Serbian (Latn)"), ("quc", "quc")],
)
def test_every_code_has_a_name_and_the_way_back(code: str, name: str) -> None:
    assert (name_of(code), code_of(name)) == (name, code)


@pytest.mark.parametrize("code", ["", "xx", "SW", "swahili", "sw-", "sw-x", "pt-br-x"])
def test_what_is_no_code_has_no_name(code: str) -> None:
    with pytest.raises(UserError, match="is no code of a language"):
        name_of(code)


def test_the_languages_that_langdetect_knows_all_have_names() -> None:
    assert all(name_of(code) for code in known_languages())
    assert len(set(NAMES.values())) == len(NAMES)


def test_a_row_without_a_key_is_named_by_its_line() -> None:
    with pytest.raises(DatasetError, match="Row on line 12 .*: the column 'key' is empty"):
        parse_row(make_row(key=""), 12)


def test_only_the_language_asked_for_is_given(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "d.csv", [make_row(), make_row("1:1:fr", "French"), make_row("2:1:en")])
    conversations = load_conversations(Source("csv", str(path)), "English")
    assert [conversation["key"] for conversation in conversations] == ["1:1:en", "2:1:en"]


def test_a_language_without_rows_is_an_error_that_names_the_others(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "d.csv", [make_row()])
    with pytest.raises(DatasetError, match=r"No conversation in Hindi in CSV file d.csv. It holds English"):
        load_conversations(Source("csv", str(path)), "Hindi")


def test_a_key_twice_is_an_error(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "d.csv", [make_row(), make_row()])
    with pytest.raises(DatasetError, match="Row 1:1:en: this key occurs twice"):
        load_conversations(Source("csv", str(path)), "English")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column 'key'"),
        (b"key,language\n1,English\n", "has no column 'turn_1_prompt'"),
        (b"\xff\xfe\x00", "cannot be read as CSV in UTF-8"),
    ],
)
def test_a_file_in_another_format_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        load_conversations(Source("csv", str(path)), "English")


def test_a_file_with_a_header_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No conversations in CSV file d.csv"):
        load_conversations(Source("csv", str(write_csv(tmp_path / "d.csv", []))), "English")


def test_the_source_is_the_metadata_then_the_variable_then_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / "d.csv", [make_row()])
    assert find_source({}) == Source("hub", dataset.HUB_REPOSITORY, dataset.HUB_REVISION)
    monkeypatch.setenv("TURNSWAP_MULTIIF", str(path))
    assert find_source({"pretrained": "x"}).kind == "csv"
    assert find_source({"multiif_data": "sample"}).kind == "sample"


def test_a_task_may_bring_its_own_file_beside_its_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(tmp_path / "own.csv", [make_row("1:0:sw", "Swahili")])
    own = {"data_file": "own.csv", "config_source": str(tmp_path / "task.yaml")}
    monkeypatch.setenv("TURNSWAP_MULTIIF", "sample")  # the benchmark's
    assert find_source(own) == Source("csv", str(path))
    assert find_source(own | {"multiif_data": "sample"}).kind == "sample"
    with pytest.raises(DatasetError, match="The task's data_file names .*gone.csv', which is no file"):
        find_source(own | {"data_file": "gone.csv"})


def test_a_missing_file_is_no_reason_to_take_other_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSWAP_MULTIIF", "/nowhere/multiif.csv")
    with pytest.raises(DatasetError, match="TURNSWAP_MULTIIF names '/nowhere/multiif.csv', which is no file"):
        find_source({})
    with pytest.raises(DatasetError, match="--metadata multiif_data names 'x.csv'"):
        find_source({"multiif_data": "x.csv"})


def test_the_hub_out_of_reach_is_an_error_that_names_the_other_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(DatasetError, match=r"(?s)could not be loaded from the Hugging Face Hub.*TURNSWAP_MULTIIF="):
        load_conversations(find_source({}), "English")


def test_rows_from_the_hub_are_read_like_those_of_the_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def load_dataset(path: str, **options: object) -> list[dict[str, Any]]:
        asked.update(options, path=path)
        return [make_row(), make_row("1:1:zh", "Chinese", turns=2) | {"turn_3_prompt": None}]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    (conversation,) = load_conversations(find_source({}), "Chinese")
    assert len(conversation["turns"]) == 2
    assert asked == {"path": "facebook/Multi-IF", "revision": dataset.HUB_REVISION, "split": "train"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the English data of Multi-IF is not beside this checkout")
def test_the_published_english_data_loads_as_described() -> None:
    conversations = load_conversations(Source("csv", str(SHARED / "multiif_english.csv")), "English")
    turns = [[turn for c in conversations for turn in c["turns"][t : t + 1]] for t in range(3)]
    assert [len(turn) for turn in turns] == [909, 909, 896]
    assert [sum(len(turn["instruction_ids"]) for turn in some) for some in turns] == [1380, 2289, 3152]


@pytest.mark.parametrize(
    ("key", "source"),
    [("1019:16:en", "1019"), ("seed-7:0:sw", "seed-7"), ("k1", "k1"), ("a:b", "a:b"), (":1:en", ":1:en")],
)
def test_a_key_of_the_published_form_names_its_source_prompt_first(key: str, source: str) -> None:
    assert parse_row(make_row(key), 2)["source"] == source


def test_data_of_ones_own_names_the_column_of_its_source_prompts(tmp_path: Path) -> None:
    rows = [make_row(f"k{n}") | {"topic": f"topic {n // 2}"} for n in range(4)]
    data = Source("csv", str(write_csv(tmp_path / "own.csv", rows)))
    found = load_conversations(data, "English", "topic")
    assert [c["source"] for c in found] == ["topic 0", "topic 0", "topic 1", "topic 1"]
    with pytest.raises(DatasetError, match="column 'author' is missing.*cluster_column"):
        load_conversations(data, "English", "author")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("key", "2:1:en"),
        ("turn_3_kwargs", kwargs_column({}, {}, {"keywords": ["snow"]})),
        ("turn_2_instruction_id_list", '["detectable_format:title", "change_case:english_lowercase"]'),
        ("turn_1_prompt", '{"role": "user", "content": "Another one."}'),
    ],
)
def test_the_content_is_told_by_what_is_asked_and_how_it_is_graded(column: str, value: str) -> None:
    one, other = parse_row(make_row("1:1:en"), 2), parse_row(make_row("3:1:en"), 3)
    before = dataset.content_sha256([one, other])
    assert dataset.content_sha256([other, one]) == before
    edited = parse_row(make_row("1:1:en") | {column: value}, 2)
    assert dataset.content_sha256([edited, other]) != before


def test_the_published_english_conversations_are_recognised_by_their_content() -> None:
    path = SHARED / "multiif_english.csv"
    if not path.exists():
        pytest.skip("the published conversations are not at hand: ../shared/data/multiif_english.csv")
    conversations = load_conversations(Source("csv", str(path)), "English")
    assert dataset.content_sha256(conversations) == dataset.BENCHMARK_SHA256["en"]
    assert (len(conversations), len({c["source"] for c in conversations})) == (909, 484)
