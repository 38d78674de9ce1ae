"""Sentences as readers count them, and the blocks of a reply that hold them or hold none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnswap.tasks.multiif.layout import blocks, is_bullet, plain
from turnswap.tasks.multiif.sentences import count_sentences, split

COUNTS: list[tuple[str, str, int]] = [
    # Letters
    (
        "en",
        "Subject: Good news!\n\nDear Ms. Hill,\n\nI got the job. Thank you for the help.\n\nBest regards,\nJane Doe",
        2,
    ),
    ("fr", "Objet : Merci !\n\nChère Marie !\n\nTon aide compte. À demain.\n\nCordialement,\n[Votre nom]", 2),
    ("es", "Estimado señor Ruiz:\n\nGracias por su carta.\n\nAtentamente,\nAna", 1),
    ("it", "Gentile dottoressa Neri,\n\nLe scrivo per ringraziarla. Arrivo lunedì.\n\nCordiali saluti,\nLuca", 2),
    ("pt", "Prezado Sr. Lima,\n\nRecebi o pacote. Está tudo certo.\n\nAtenciosamente,\nAna", 2),
    ("de", "Liebe Anna!\n\nIch komme morgen. Ich freue mich.\n\nViele Grüße\nTom", 2),
    ("ru", "Уважаемый Иван Петрович!\n\nСпасибо за письмо. Жду ответа.\n\nС уважением,\nАнна", 2),
    ("hi", "प्रिय राम,\n\nमैं ठीक हूँ। जल्दी मिलेंगे।\n\nतुम्हारा,\nश्याम", 2),
    ("zh", "尊敬的王先生：\n\n您好！感谢您的来信。期待您的回复。\n\n此致\n敬礼\n\n李明", 3),
    ("ja", "田中様\n\nお手紙ありがとうございます。お返事をお待ちしています。\n\n敬具\n\n山田太郎", 2),
    # Lists
    ("en", "Here are three tips that help:\n\n1. Sleep well.\n2. Eat fruit.\n3. Walk.", 4),
    ("en", "With the app you can do this:\n- Plan trips\n- Save money\n\nTry it today.", 2),
    ("zh", "1、今天去公园。\n2、明天去学校。\n3、后天休息。", 3),
    ("zh", "（1）先洗菜。\n（2）再切菜。", 2),
    ("zh", "一、先洗菜。\n二、再切菜。", 2),
    ("zh", "1.先洗菜。\n2.再切菜。", 2),
    ("ja", "・りんご\n・なし\n\nどちらも果物です。", 1),
    ("ru", "1. Откройте дверь.\n2. Войдите.", 2),
    ("hi", "1. दरवाज़ा खोलें।\n2. अंदर आएँ।", 2),
    # Headings, emphasis, code, rules, tables
    ("en", "# Why it rains!\n\nWarm air rises.\n\n---\n\nIt cools.", 2),
    ("en", "**Why it rains**\nWarm air rises.", 1),
    ("en", "**Warm air rises.** It cools.", 2),
    ("en", "**Warm air rises.**\n\nIt cools.", 2),
    ("en", "Call it so:\n\n```python\nprint('Done. Bye.')\nrun()\nstop()\n```\n\nThat works.", 1),
    ("en", "```\nWarm air rises.\nIt cools.\n```", 2),  # all that there is, in a fence
    ("en", "| Day | Plan |\n|---|---|\n| One | Rest. |\n\nEnjoy it.", 1),
    ("fr", "<<La pluie !>>\n\nIl pleut.", 1),
    # Direct speech
    ("ru", "«Иди домой!» — сказал он. Она ушла.", 2),
    ("fr", "« Viens ! » dit-il. Elle vint.", 2),
    ("es", "—¡Vamos! —dijo él. Y salieron.", 2),
    ("en", '"Stop!" he said. "Why?" Anna asked.', 2),
    ("de", "„Halt!“, rief er. Sie blieb stehen.", 2),
    ("hi", '"रुको!" उसने कहा। वह रुक गई।', 2),
    ("zh", "“走吧！”她说。他们走了。", 2),
    ("ja", "「行こう！」と彼は言った。二人は出かけた。", 2),
    # Abbreviations, initials, ordinals, numbers
    ("en", "Dr. Lee met J. R. R. Tolkien at 5 p.m. on Monday. They paid $3.50.", 2),
    ("en", "P.S. I love you.", 1),
    ("en", "The result was consistent. The test passed.", 2),
    ("fr", "P.-S. Il pleut.", 1),
    ("it", "Il Sig. Rossi e la Dott.ssa Neri arrivano alle 9.30. Poi partono.", 2),
    ("es", "La Sra. Gil y el Dr. Paz viven en EE.UU. desde 2010. Son felices.", 2),
    ("pt", "O Dr. Lima saiu às 9h30. Já voltou.", 2),
    ("ru", "А. С. Пушкин родился в 1799 г. в Москве. Он жил на ул. Арбат.", 2),
    ("de", "Am 3. Oktober kam Prof. Klein, d. h. der Chef. Er blieb.", 2),
    ("hi", "डॉ. शर्मा आए। वे चले गए।", 2),
    # Stops
    ("en", "Really?! Yes... It works.", 3),
    ("en", "See www.example.org for more. Bye.", 2),
    ("en", "It rains.We stay in.", 2),
    ("en", "all of it is small. it has two sentences.", 2),
    ("en", "今天很好。明天呢？", 2),  # in another language than asked for
    ("ar", "كيف حالك؟ أنا بخير.", 2),
    ("en", "Yes", 1),
    # No sentence at all
    ("en", "- Apples\n- Pears", 0),
    ("en", '{"name": "Rex", "age": 4}', 0),
    ("en", '```json\n{"story": "It rains. We stay.", "tags": ["rain"]}\n```', 2),
    # Ends of abbreviations
    ("es", "Vendemos velas, jabones, etc. Todo es bueno. Vivo en EE. UU. desde 2010.", 3),
    ("fr", "Ce vase date du Ve siècle av. J.-C. et vient d'Athènes. Le Dr. Morel l'a étudié.", 2),
    ("ru", "Есть мёд, чай и т. д. Цены невысокие.", 2),
    ("it", "I. Calvino nacque a Cuba.", 1),
    ("hi", "मैं बाज़ार गया| वहाँ भीड़ थी|", 2),
    ("ja", "私は……何も知りませんでした。", 1),
]


@pytest.mark.parametrize(("language", "reply", "sentences"), COUNTS)
def test_sentences_are_those_that_a_reader_counts(language: str, reply: str, sentences: int) -> None:
    assert count_sentences(reply, language) == sentences, [
        (block, split(block.text, language)) for block in blocks(reply)
    ]


def test_a_correction_that_is_switched_off_counts_what_it_left_out() -> None:
    letter = "Dear Ms. Hill,\n\nI got the job.\n\nBest regards,\nJane"
    assert count_sentences(letter, "en", lambda name: name != "letters") > count_sentences(letter, "en")
    heading = "# Why it rains!\n\nWarm air rises."
    assert count_sentences(heading, "en", lambda name: name != "headings-and-code") == 2
    speech = "“走吧！”她说。"
    assert count_sentences(speech, "zh", lambda name: name != "direct-speech") == 2
    fruit = "- Apples\n- Pears\n\nBoth are fruit."
    assert count_sentences(fruit, "en", lambda name: name != "list-items") == 3


@pytest.mark.parametrize(
    ("line", "bullet"),
    [
        ("- one", True), ("* two", True), ("  • three", True), ("・りんご", True), ("-one", True), ("*note", True),
        ("---", False), ("* * *", False), ("*note* on it", False), ("**bold**", False), ("-5 apples", True),
        ("1. one", False), ("— Да.", False), ("plain", False), ("* a *b* c", True),
    ],
)  # fmt: skip
def test_bullets_are_told_from_rules_emphasis_and_numbers(line: str, bullet: bool) -> None:
    assert is_bullet(line) is bullet


def test_emphasis_headings_and_line_breaks_are_not_read() -> None:
    assert plain("# **Write** a\n_short_  poem with snake_case") == "Write a short poem with snake_case"


@settings(max_examples=500, deadline=None)
@given(
    st.text(alphabet="aB .!?*#-_`>|[](){}1\n。、「」«»\u0915\u0301…:,", max_size=60),
    st.sampled_from(["en", "zh", "hi", "ru", "de", "quc"]),
)
def test_a_text_has_no_more_sentences_than_stretches_of_letters(text: str, language: str) -> None:
    assert 0 <= count_sentences(text, language) <= sum(map(str.isalnum, text))


@pytest.mark.parametrize(
    ("language", "reply", "sentences"),
    [
        # A line that only looks like a greeting or sign-off
        ("en", "Hi, I am Tom!", 1),
        ("de", "Hallo, ich helfe dir gern weiter!\n\nHier ist die Antwort.", 2),
        ("zh", "大家好，我今天很高兴见到你们！\n\n这是答案。", 2),
        ("it", "Grazie per l'aiuto.\nCiao, mi chiamo Luca!", 2),
        ("en", "Thank you.", 1),
        ("en", "Hello!", 1),
        # Stops that end a sentence behind what may be an abbreviation
        ("en", "I live in the U.S. It is big.", 2),
        ("en", "This is point A. This is point B.", 2),
        ("en", "She has a Ph.D. She is smart.", 2),
        ("de", "Ich habe nur 3. Das reicht.", 2),
        ("ru", "Это стоит 500 руб. Очень дорого.", 2),
        ("ru", "Длина 5 м. Ширина 3 м. Высота 2 м.", 3),
        # And that do not
        ("de", "Es gibt z. B. Äpfel. Und Birnen.", 2),
        ("en", "He is No. 1. She is No. 2.", 2),
        ("en", "See Fig. 3 for details. Then go on.", 2),
        # What is not a verb of speech
        ("ja", "「ありがとう！」ところで、明日は休みです。", 2),
        ("zh", "“走吧！”我想回家。", 2),
        ("en", 'She shouted "Help!" Nobody asked why.', 2),
        # A letter's head and signature
        (
            "en",
            "[Your Name]\n[City, State, ZIP]\n\nDear Ms. Hill,\n\nI write.\n\nSincerely,\nJohn Doe\nManager, Acme Inc.",
            1,
        ),
        ("en", "**Step 1: Wash.** Then dry.", 2),
    ],
)  # fmt: skip
def test_sentences_of_what_looks_like_something_else(language: str, reply: str, sentences: int) -> None:
    assert count_sentences(reply, language) == sentences, [
        (block, split(block.text, language)) for block in blocks(reply)
    ]
