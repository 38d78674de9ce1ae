"""The gates decide as a reader would: each kind of bad translation is found, and free paraphrases pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from turnswap.construction.gates import Thresholds, Translation, measure, problems
from turnswap.construction.meaning.instructions import stated_otherwise

# ruff: noqa: E501
SHARED = Path(__file__).parents[3] / "shared" / "data" / "translation_pairs_dev.jsonl"


def judged(language: str, source: str, translation: str, back: str | None = None) -> list[str]:
    pair = Translation("en", language, [source], [translation], [source if back is None else back])
    return problems(pair, measure(pair), Thresholds())


BAD = [
    ("negation", "de", "Never use the passive voice.", "Verwende das Passiv.", "Use the passive voice."),
    ("negation, hidden by the back-translation", "fr", "Do not mention the price.", "Mentionne le prix.", None),
    ("negation", "pl", "Do not use any adjectives.", "Używaj przymiotników.", None),
    ("relation", "es", "Write at least 40 words.", "Escribe como máximo 40 palabras.", None),
    ("relation", "ko", "Use at most four sentences.", "네 문장 이상으로 써 주세요.", None),
    ("relation", "ja", "Use at least 3 examples.", "例を3つ以下にしてください。", None),
    ("number", "ru", "Give me six examples.", "Приведи восемь примеров.", "Give eight examples."),
    ("number", "it", "Write seven sentences.", "Scrivi tre frasi.", None),
    ("case", "ja", "Write everything in capital letters.", "すべて小文字で書いてください。", None),
    ("position", "pt", "Start with a question.", "Termine com uma pergunta.", "End with a question."),
    ("order", "de", "Sort the names in alphabetical order.", "Sortiere die Namen.", "Sort the names."),
    ("omission", "fr", "Write a poem about rain that rhymes.", "Écris un poème sur la pluie.", "Write a poem about rain."),
    ("addition", "it", "Describe a horse.", "Descrivi un cavallo triste.", "Describe a sad horse."),
    ("another thing", "sw", "Describe a goat.", "Eleza ng'ombe.", "Describe a cow."),
    ("changed places", "es", "Write a letter from a king to a queen.", "Escribe una carta de una reina a un rey.",
     "Write a letter from a queen to a king."),
    ("meaning", "es", "Explain how the crane lifts steel.", "Explica cómo la grulla levanta acero.", None),
    ("meaning", "de", "Describe the bat that sleeps in the cave.", "Beschreibe den Schläger, der in der Höhle schläft.", None),
    ("meaning", "zh", "Explain how a bat flies at night.", "解释球棒如何在夜间飞行。", None),
    ("words in a row", "ja", "Write a letter to my uncle.", "手紙 書く 叔父 私 へ に。", None),
    ("words in a row", "ko", "Write a poem about the sea.", "시 바다 쓰다 를 대해 는.", None),
    ("untranslated words", "de", "Please rewrite the text for younger readers.", "Bitte rewrite den Text für younger readers.", None),
    ("untranslated sentence", "fr", "Write a poem. Please keep it under one page.",
     "Écris un poème. Please keep it under one page.", None),
    ("another language", "es", "Write a short letter to my boss.", "Escreve uma carta curta ao meu chefe.", None),
    ("another language", "uk", "Explain how bread is made.", "Объясни, как пекут хлеб.", None),
    ("another language", "zh", "Tell me how to learn English.", "請告訴我怎樣學習英語。", None),
    ("keyword", "fr", 'Use the word "river".', "Utilise le mot « maison ».", 'Use the word "house".'),
    ("answered", "pt", "What is the capital of Peru?", "A capital do Peru é Lima.", None),
]  # fmt: skip
GOOD = [
    ("fr", "Make it snappier: under 60 words.", "Rends-le plus percutant : moins de 60 mots.", "Make it punchier: less than 60 words."),
    ("ru", "Use no capital letters.", "Пиши только строчными буквами.", "Write only in lowercase letters."),
    ("es", "Don't forget the date.", "Acuérdate de la fecha.", "Remember the date."),
    ("sw", "Do not use more than 40 words.", "Usitumie zaidi ya maneno 40.", "Use at most 40 words."),
    ("ja", "Use fewer than 8 sentences.", "8文未満で書いてください。", "Please write it in less than 8 sentences."),
    ("de", "Describe the bat that sleeps in the cave.", "Beschreibe die Fledermaus, die in der Höhle schläft.", None),
    ("it", "Write a dozen questions.", "Scrivi dodici domande.", "Write twelve questions."),
    ("ko", "Wrap the reply in double quotation marks.", "답변을 큰따옴표로 묶어 주세요.", "Put the answer in double quotes."),
    ("zh", "Tell me about the moon.", "请给我讲讲月亮。", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "language", "source", "translation", "back"), BAD)
def test_what_a_reader_would_refuse_is_refused(
    kind: str, language: str, source: str, translation: str, back: str | None
) -> None:
    assert judged(language, source, translation, back), kind


@pytest.mark.parametrize(("language", "source", "translation", "back"), GOOD)
def test_what_a_reader_would_accept_passes(language: str, source: str, translation: str, back: str | None) -> None:
    assert judged(language, source, translation, back) == []


def test_a_problem_names_the_turn_and_what_both_say() -> None:
    texts = ["Write a poem.", "Use at least 5 sentences."], ["Écris un poème.", "Utilise au plus 5 phrases."]
    pair = Translation("en", "fr", texts[0], texts[1], texts[0])
    (problem,) = problems(pair, measure(pair), Thresholds())
    assert "'at least 5'" in problem
    assert "'at most 5' in turn 2" in problem


def test_pairs_whose_labels_are_known_are_mostly_decided_alike() -> None:
    if not SHARED.exists():
        pytest.skip("the labelled pairs of ../shared/data are not here")
    rows = [json.loads(line) for line in SHARED.read_text("utf-8").splitlines()]
    alike = [
        (judged(row["language"], row["source"], row["translation"], row["back_translation"]) == []) == row["acceptable"]
        for row in rows
    ]
    assert sum(alike) >= 0.95 * len(alike)


@pytest.mark.parametrize(
    ("language", "prompt", "id_", "kwargs", "wrong"),
    [
        ("de", "Schreibe mindestens 80 Wörter.", "length_constraints:number_words", {"num_words": 80, "relation": "less than"}, True),
        ("de", "Schreibe weniger als 80 Wörter.", "length_constraints:number_words", {"num_words": 80, "relation": "less than"}, False),
        ("ja", "全文を小文字で書いてください。", "change_case:english_capital", {}, True),
        ("fr", "Utilise le mot « pluie ».", "keywords:forbidden_words", {"forbidden_words": ["pluie"]}, True),
        ("fr", "N'utilise pas le mot « pluie ».", "keywords:forbidden_words", {"forbidden_words": ["pluie"]}, False),
        ("es", 'Empieza con la frase "Hasta mañana".', "startend:end_checker", {"end_phrase": "Hasta mañana"}, True),
        ("de", "Schreibe mindestens 80 Sätze.", "length_constraints:number_words", {"num_words": 80, "relation": "at least"}, True),
        ("de", "Vermeide diese Wörter:\n- Haus\n- Auto", "keywords:forbidden_words", {"forbidden_words": ["Haus", "Auto"]}, False),
        ("ar", "يجب ألا يحتوي الرد على كلمة «مطر».", "keywords:forbidden_words", {"forbidden_words": ["مطر"]}, False),
        ("ar", "يجب ألا يقل عدد الكلمات في الرد عن 50.", "length_constraints:number_words", {"num_words": 50, "relation": "at least"}, False),
        ("ja", "「木陰」を2つ、もう一度お願いします。", "keywords:frequency", {"keyword": "木陰", "frequency": 2, "relation": "at least"}, False),
        ("es", 'Termina con la frase "Hasta mañana".', "startend:end_checker", {"end_phrase": "Hasta mañana"}, False),
    ],
)  # fmt: skip
def test_an_instruction_stated_otherwise_than_its_kwargs_is_told(
    language: str, prompt: str, id_: str, kwargs: dict[str, object], wrong: bool
) -> None:
    assert bool(stated_otherwise(prompt, id_, kwargs, language)) is wrong
