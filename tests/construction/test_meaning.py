"""The gates decide as a reader would: each kind of bad translation is found, and free paraphrases pass."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from turnswap.construction.gates import Thresholds, Translation, measure, problems
from turnswap.construction.meaning import alignment, homographs
from turnswap.construction.meaning.instructions import stated_otherwise

from ..conftest import REPOSITORY

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
    ("two of a kind", "it", "Describe how a candle is made.", "Descrivi come si fa una sedia.", "Describe how a chair is made."),
    ("scope", "fr", "Use bold only for the names.", "Utilise le gras pour tout, sauf pour les noms.", "Use bold for everything except the names."),
    ("case", "ko", "Write it in capital letters, not in lowercase.", "대문자가 아니라 소문자로 써 주세요.", "Write it in lowercase, not in capital letters."),
    ("order", "zh", "List them from most expensive to cheapest.", "按从便宜到贵的顺序列出。", "List them from cheap to expensive."),
    ("order", "pt", "Say what comes after the test and what comes before lunch.", "Diga o que vem antes da prova e o que vem depois do almoço.",
     "Say what comes before the test and what comes after lunch."),
    ("who", "pt", "Imagine that your boss asks you for a raise.", "Imagine que você pede um aumento ao seu chefe.",
     "Imagine that you ask your boss for a raise."),
    ("degree", "hi", "Make the story less scary.", "कहानी को और डरावनी बनाइए।", "Make the story scarier."),
    ("omission", "es", "Explain magnets to my son, and end with a riddle.", "Explícale los imanes a mi hijo.", "Explain magnets to my son."),
    ("words in a row", "hi", "Write a short letter to my friend today.", "लिखिए मेरे दोस्त आज छोटा पत्र को एक।", None),
    ("words in a row", "de", "Please write a letter to my old friend.", "Freund. bitte einen Brief an alten meinen schreiben", None),
    ("untranslated sentence", "de", "I need a toast. Keep it light.", "Ich brauche einen Trinkspruch. Keep it light.", None),
    ("asked", "zh", "Think of a riddle about a mirror.", "什么东西你笑它也笑，你哭它也哭？", None),
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
    ("pt", "Your answer may contain at most 40 words.", "A resposta não pode passar de 40 palavras.", "The answer cannot exceed 40 words."),
    ("fr", "Be sure not to leave out any of the steps.", "Veille à indiquer toutes les étapes.", "Make sure you give all the steps."),
    ("pt", "Don't use long sentences.", "Use frases curtas.", "Use short sentences."),
    ("sw", "Plant 200 trees.", "Panda miti mia mbili.", "Plant two hundred trees."),
    ("de", "Write a poem about life above the clouds.", "Schreibe ein Gedicht über das Leben über den Wolken.", None),
    ("ru", "Only use hiragana.", "Не используй ничего, кроме хираганы.", "Don't use anything other than hiragana."),
    ("ko", "Less formal, please.", "좀 더 편한 말투로 부탁해요.", "In a somewhat more relaxed tone, please."),
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


# a source, its translation, and the word that takes it in the other meaning
HOMOGRAPHS = [
    ("de", "The USB port on my laptop is loose.", "Der USB-Anschluss an meinem Laptop ist locker.", "Der USB-Hafen an meinem Laptop ist locker."),
    ("fr", "How do I cash a check at the bank?", "Comment encaisser un chèque à la banque ?", "Comment encaisser une vérification à la banque ?"),
    ("es", "Summarize the court case in simple words.", "Resume el caso judicial con palabras sencillas.", "Resume la funda del tribunal con palabras sencillas."),
    ("it", "Keep the tweet under 280 characters.", "Il tweet non deve superare i 280 caratteri.", "Il tweet non deve superare i 280 personaggi."),
    ("pt", "Give me a recipe for fruit punch for a party.", "Me dê uma receita de ponche de frutas para uma festa.", "Me dê uma receita de soco de frutas para uma festa."),
    ("ru", "Summarize the plot of this novel.", "Кратко изложи сюжет этого романа.", "Кратко изложи участок этого романа."),
    ("zh", "Write the title in capital letters.", "标题请用大写。", "标题请用首都字母写。"),
    ("ja", "Write a thank-you note to a kind nurse.", "親切な看護師へのお礼状を書いてください。", "種類の看護師へのお礼状を書いてください。"),
    ("ko", "How can I raise engagement on my Instagram posts?", "인스타그램 게시물의 참여도를 어떻게 높일 수 있나요?", "인스타그램 게시물의 약혼을 어떻게 높일 수 있나요?"),
    ("ar", "Which tablet has the best screen for drawing?", "أي جهاز لوحي لديه أفضل شاشة للرسم؟", "أي قرص لديه أفضل شاشة للرسم؟"),
    ("hi", "Write a story about a spell cast by a witch.", "एक चुड़ैल के मंत्र की कहानी लिखें।", "एक चुड़ैल की वर्तनी की कहानी लिखें।"),
    ("sw", "What is the interest on this bank loan?", "Riba ya mkopo huu wa benki ni kiasi gani?", "Hamu ya mkopo huu wa benki ni kiasi gani?"),
    ("tr", "Describe the main character of the novel.", "Romanın ana kahramanını anlat.", "Romanın ana harfini anlat."),
]  # fmt: skip
# a word around it tells the other meaning, and another tells it better, or none tells it surely
TOLD_BETTER = [
    ("de", "Write a letter to the school board about the wooden desks.", "Schreibe einen Brief an den Schulvorstand über die Holztische."),
    ("es", "What should employees do in case of fire at the company?", "¿Qué deben hacer los empleados en caso de incendio en la empresa?"),
    ("ko", "Feel free to include the cost.", "비용도 자유롭게 포함해 주세요."),
    ("it", "Write a story of 500 words with two main characters.", "Scrivi un racconto di 500 parole con due personaggi principali."),
    ("zh", "Do not use the letter e in the story about love.", "在这个爱情故事里不要使用字母e。"),
    ("fr", "Write a story in which a girl leaves her village.", "Écris une histoire où une fille quitte son village."),
    ("de", "Draft an email about the cold room.", "Entwirf eine E-Mail über den kalten Raum."),
]  # fmt: skip


@pytest.mark.parametrize(("language", "source", "right", "wrong"), HOMOGRAPHS)
def test_a_word_of_two_meanings_taken_in_the_wrong_one_is_told(
    language: str, source: str, right: str, wrong: str
) -> None:
    assert list(homographs.differences(source, right, language)) == []
    assert list(homographs.differences(source, wrong, language))


@pytest.mark.parametrize(("language", "source", "translation"), TOLD_BETTER)
def test_a_word_far_off_or_an_idiom_does_not_tell_a_meaning(language: str, source: str, translation: str) -> None:
    assert list(homographs.differences(source, translation, language)) == []


def test_each_word_of_two_meanings_has_cues_that_fit_one_of_them() -> None:
    for word, meanings in homographs._WORDS.items():
        cues = [cue for line in meanings for cue in line.partition("|")[0].split()]
        assert len(cues) == len(set(cues)), word


def test_a_problem_names_the_turn_and_what_both_say() -> None:
    texts = ["Write a poem.", "Use at least 5 sentences."], ["Écris un poème.", "Utilise au plus 5 phrases."]
    pair = Translation("en", "fr", texts[0], texts[1], texts[0])
    (problem,) = problems(pair, measure(pair), Thresholds())
    assert "'at least 5'" in problem
    assert "'at most 5' in turn 2" in problem


@pytest.mark.slow
def test_the_labelled_pairs_of_the_page_are_mostly_decided_alike_and_it_says_so() -> None:
    """The page is what its script prints, and no change loses what the gates once told."""
    docs = REPOSITORY / "docs" / "explanation" / "translation_gates.md"
    made = runpy.run_path(str(docs.parents[1] / "scripts" / docs.with_suffix(".py").name))
    page = made["page"](sorted(made["PAIRS"].glob("meaning_pairs_*.jsonl")))
    assert docs.read_text("utf-8") == page, (
        "python docs/scripts/translation_gates.py > docs/explanation/translation_gates.md"
    )
    found = re.findall(r"`meaning_pairs_(\w+)\.jsonl`: (bad|good)[^|]*\| (\d+) \| (\d+)", page)
    assert len(found) == 6
    # The last pairs were written to be hard: half of them are long and as freely rendered as can be.
    least = {name: {"bad": 0.9, "good": 0.97} for name in ("dev", "held")} | {"blind": {"bad": 0.8, "good": 0.9}}
    assert [each for each in found if int(each[2]) < least[each[0]][each[1]] * int(each[3])] == []


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


@pytest.mark.parametrize(
    ("source", "translation", "left_out"),
    [
        (
            "Write a story about a hare who opens a shop. The other animals do not want to pay. "
            "Let the tortoise find a clever solution. Use fewer than 20 sentences.",
            "Andika hadithi kuhusu sungura anayefungua duka. Wanyama wengine hawataki kulipa. "
            "Tumia sentensi zisizofika 20.",
            "Let the tortoise find a clever solution.",
        ),
        (
            "Write a story about the sea. Keep it short. Use no comma at all. End with a question that makes people think.",
            "Schreibe eine Geschichte über das Meer. Halte sie kurz. Verwende kein Komma und ende mit einer Frage, die zum "
            "Nachdenken anregt.",
            None,  # two were made one
        ),
        ("Write about the sea. Keep it short. Thank you.", "Schreibe über das Meer. Danke.", None),  # too few to tell
    ],
)
def test_a_sentence_without_one_in_its_place_is_found_by_lengths(
    source: str, translation: str, left_out: str | None
) -> None:
    assert alignment.left_out(source, translation) == left_out


@pytest.mark.parametrize(
    ("language", "source", "translation", "back"),
    [
        (
            "sw",
            "Write fewer than ten sentences.",
            "Andika sentensi zisizozidi tisa.",
            "Write no more than nine sentences.",
        ),
        ("hi", "Use at most 100 words.", "100 शब्दों से अधिक का प्रयोग न करें।", "Use no more than 100 words."),
        (
            "ar",
            "Do not praise it, and use fewer than 150 words.",
            "لا تمدحه، واستخدم أقل من 150 كلمة.",
            "Do not praise it, and use fewer than 150 words.",
        ),
        (
            "de",
            "End your reply with a goodbye.",
            "Bitte beende deine Antwort mit einem Abschied.",
            "Please end your reply with a farewell.",
        ),
        (
            "zh",
            "Please divide this newsletter into two parts, marked with SECTION 1 and SECTION 2.",
            "请把这份简报分成两个部分，并且分别用SECTION 1和SECTION 2标出。",
            "Please divide this newsletter into two parts, marked with SECTION 1 and SECTION 2.",
        ),
    ],
)
def test_bounds_and_numbers_said_in_another_way_pass(language: str, source: str, translation: str, back: str) -> None:
    translated = Translation("en", language, [source], [translation], [back])
    assert problems(translated, measure(translated), Thresholds()) == []
