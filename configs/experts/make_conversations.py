"""Writes conversations.csv next to itself: `python configs/experts/make_conversations.py`.

What make demo asks: conversations of three turns about 24 topics, in English and in Spanish, in the format of Multi-IF.
So there are 24 source prompts in each language, enough for p-values. Instructions are of kinds that the English expert
learns from make_instructions.py, and of a few others; the topics are others. The file is the same on every run.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

FILE = Path(__file__).with_name("conversations.csv")
LANGUAGES = ("English", "Spanish")

TOPICS = """
a notice about a lost umbrella | un aviso sobre un paraguas perdido
a message to a neighbour about a loud party | un mensaje a un vecino sobre una fiesta ruidosa
an advertisement for a small flat | un anuncio de un piso pequeño
a short text about whales | un texto breve sobre las ballenas
an invitation to a concert | una invitación a un concierto
advice for the first day at university | consejos para el primer día en la universidad
a description of a beach in winter | una descripción de una playa en invierno
a thank-you card to a doctor | una tarjeta de agradecimiento a una doctora
an explanation of what an earthquake is | una explicación de qué es un terremoto
a notice about a closed road | un aviso sobre una carretera cortada
a story about an old clock | un cuento sobre un reloj viejo
a complaint about a cold meal | una queja sobre una comida fría
instructions for washing a car | instrucciones para lavar un coche
a text about trees in the city | un texto sobre los árboles de la ciudad
a welcome message for new members of a club | un mensaje de bienvenida para los nuevos socios de un club
a text about the sun | un texto sobre el Sol
a report about a tennis match | una noticia sobre un partido de tenis
a description of a garden | una descripción de un jardín
an email that asks for a meeting | un correo para pedir una reunión
a text about coffee | un texto sobre el café
a poster for a museum | un cartel para un museo
a summary of a day in the mountains | un resumen de un día en la montaña
a note for a babysitter | una nota para la niñera
a review of a restaurant | una reseña de un restaurante
"""

# What the words and kwargs of instructions name, per language; beside it n, a number of bullet points.
GIVEN = ({"marker": "P.S.", "phrase": "See you soon"}, {"marker": "P.D.", "phrase": "Hasta pronto"})

# By name: the instruction's id, its words in English and in Spanish, and its kwargs.
INSTRUCTIONS: dict[str, tuple[str, str, str, dict[str, str | int]]] = {
    "bullets": (
        "detectable_format:number_bullet_lists",
        "Use exactly {n} bullet points that start with - and a space.",
        "Usa exactamente {n} viñetas que empiecen con - y un espacio.",
        {"num_bullets": "n"},
    ),
    "paragraphs": (
        "length_constraints:number_paragraphs",
        "Write exactly two paragraphs separated by ***",
        "Escribe exactamente dos párrafos separados por ***",
        {"num_paragraphs": 2},
    ),
    "versions": (
        "combination:two_responses",
        "Give two different versions separated by ******",
        "Da dos versiones distintas separadas por ******",
        {},
    ),
    "json": ("detectable_format:json_format", "Answer in JSON format.", "Responde en formato JSON.", {}),
    "sentences": (
        "length_constraints:number_sentences",
        "Write fewer than 5 sentences.",
        "Escribe menos de 5 frases.",
        {"num_sentences": 5, "relation": "less than"},
    ),
    "words": (
        "length_constraints:number_words",
        "Write fewer than 40 words.",
        "Escribe menos de 40 palabras.",
        {"num_words": 40, "relation": "less than"},
    ),
    "no comma": ("punctuation:no_comma", "Do not use any commas.", "No uses ninguna coma.", {}),
    "title": (
        "detectable_format:title",
        "Add a title in double angular brackets, such as <<title>>.",
        "Pon un título entre dobles ángulos, como <<título>>.",
        {},
    ),
    "postscript": (
        "detectable_content:postscript",
        "Add a postscript that starts with {marker}",
        "Añade una posdata que empiece por {marker}",
        {"postscript_marker": "marker"},
    ),
    "placeholders": (
        "detectable_content:number_placeholders",
        "Leave at least 2 placeholders in square brackets, such as [name].",
        "Deja al menos 2 marcadores entre corchetes, como [nombre].",
        {"num_placeholders": 2},
    ),
    "quotation": (
        "startend:quotation",
        "Put the whole answer in double quotation marks.",
        "Pon toda la respuesta entre comillas dobles.",
        {},
    ),
    "ending": (
        "startend:end_checker",
        "Finish with the exact words: {phrase}",
        "Termina con las palabras exactas: {phrase}",
        {"end_phrase": "phrase"},
    ),
}

# What the three turns of a conversation ask for: one answer can follow all three.
TURNS = [
    ("bullets", "no comma", "title"),
    ("paragraphs", "placeholders", "ending"),
    ("versions", "no comma", "ending"),
    ("json", "words", "placeholders"),
    ("sentences", "quotation", "no comma"),
    ("words", "title", "postscript"),
    ("bullets", "postscript", "no comma"),
    ("paragraphs", "quotation", "no comma"),
    ("versions", "title", "placeholders"),
    ("json", "placeholders", "words"),
    ("sentences", "ending", "title"),
    ("words", "no comma", "quotation"),
]
BEGINNINGS = (("Write {what}. ", "Good. ", "Now: "), ("Escribe {what}. ", "Bien. ", "Ahora: "))


def make_row(number: int, language: int) -> dict[str, str | int]:
    """One conversation: a topic by its number, in a language by its place in LANGUAGES."""
    what = TOPICS.strip().splitlines()[number].split(" | ")[language]
    given: dict[str | int, str | int] = {"n": 2 + number % 3, **GIVEN[language]}
    row: dict[str, str | int] = {"turns": "", "responses": ""}
    ids, kwargs = [], []
    for turn, name in enumerate(TURNS[number % len(TURNS)]):
        id_, *words, named = INSTRUCTIONS[name]
        ids.append(id_)
        kwargs.append(json.dumps({key: given.get(value, value) for key, value in named.items()}))
        content = (BEGINNINGS[language][turn] + words[language]).format(what=what, **given)
        row[f"turn_{turn + 1}_prompt"] = json.dumps({"role": "user", "content": content}, ensure_ascii=False)
        row[f"turn_{turn + 1}_instruction_id_list"] = json.dumps(ids)
        row[f"turn_{turn + 1}_kwargs"] = json.dumps(kwargs, ensure_ascii=False)
    key = f"d{number + 1}:1:{('en', 'es')[language]}"
    return {**row, "key": key, "turn_index": 0, "language": LANGUAGES[language]}


def make_text() -> str:
    """The whole file."""
    rows = [make_row(number, language) for language in range(2) for number in range(len(TOPICS.strip().splitlines()))]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    FILE.write_text(make_text(), encoding="utf-8", newline="\n")
