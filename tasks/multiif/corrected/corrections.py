"""The corrections by name: what each is for, why, and replies on which the published rule errs.

A test grades every example by both sets of rules, so what stands here is what the code does; docs/corrected.md is
the same list for readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ALL = "all"


@dataclass(frozen=True)
class Example:
    """A reply on which the two sets of rules differ.

    Attributes:
        instruction_id: of the instruction, such as ``keywords:existence``, with its ``kwargs``.
        reply: the whole of it.
        language: the code of the conversation's language.
        published: the published strict verdict.
        corrected: the corrected one; None for a slot that no reply can follow, and that has none.
        prompt: what the user asked, where it matters.
    """

    instruction_id: str
    kwargs: Mapping[str, Any]
    reply: str
    language: str
    published: bool
    corrected: bool | None
    prompt: str = ""


@dataclass(frozen=True)
class Correction:
    """One rule in which the corrected verdicts differ from the published ones.

    Attributes:
        name: what it goes by.
        instructions: the ids it concerns.
        languages: the codes of the languages it concerns first of all, or ``("all",)``.
        rule: what holds now.
        reason: where the published rule errs, and why a reader of the language would judge otherwise.
        examples: at least one.
        needs_segmenter: whether it takes ``turnswap[cjk]``, without which the published rule stays.
    """

    name: str
    instructions: tuple[str, ...]
    languages: tuple[str, ...]
    rule: str
    reason: str
    examples: tuple[Example, ...] = field(repr=False)
    needs_segmenter: bool = False


_WORDS = "length_constraints:number_words"
_SENTENCES = "length_constraints:number_sentences"
_FIRST_WORD = "length_constraints:nth_paragraph_first_word"
_EXISTENCE = "keywords:existence"
_FREQUENCY = "keywords:frequency"
_FORBIDDEN = "keywords:forbidden_words"
_POSTSCRIPT = "detectable_content:postscript"
_SECTIONS = "detectable_format:multiple_sections"
_COMMA = "punctuation:no_comma"
_QUOTATION = "startend:quotation"
_END = "startend:end_checker"
_CAPITAL = "change_case:english_capital"
_LOWERCASE = "change_case:english_lowercase"
_LANGUAGE = "language:response_language"
_LETTERS = "keywords:letter_frequency"
_FROM_DATA = (_EXISTENCE, _FREQUENCY, _FORBIDDEN, _POSTSCRIPT, _SECTIONS)

CORRECTIONS = (
    # ----------------------------------------------------------------------------------------- counting
    Correction(
        "conversation-language",
        (_WORDS, _SENTENCES),
        (ALL,),
        "Words and sentences are counted in the language that the reply is to be in: the conversation's, or the one "
        "that the turn asks for.",
        "The published grader counts in the language that langdetect guesses from the reply. A Chinese reply with "
        "many Latin names is taken for English, in which a whole Chinese clause is one word.",
        (
            Example(
                _WORDS,
                {"num_words": 10, "relation": "at least"},
                "我用 PyTorch、NumPy、pandas、scikit-learn、matplotlib 写代码",
                "zh",
                False,
                True,
            ),
        ),
    ),
    Correction(
        "unicode-words",
        (_WORDS,),
        (ALL,),
        "Words are what stands between the word boundaries of Unicode (UAX #29) and holds a letter or digit.",
        r"The published `\w+` breaks at Hindi vowel signs and viramas, so that a reply of 7 words has 13, and at every "
        "apostrophe and decimal point.",
        (
            Example(
                _WORDS,
                {"num_words": 12, "relation": "at least"},
                "मुझे हिन्दी में कविता पढ़ना पसंद है",
                "hi",
                True,
                False,
            ),
            Example(_WORDS, {"num_words": 5, "relation": "less than"}, "Don't worry, it's fine", "en", False, True),
        ),
    ),
    Correction(
        "words-by-dictionary",
        (_WORDS,),
        ("zh", "ja", "th"),
        "Chinese and Japanese are counted in words by ICU's dictionary where a prompt of the conversation asks for "
        "that number of words (词, 単語), else in characters (字, 文字). Thai, Lao, Khmer and Burmese always are.",
        "The published grader counts characters whatever was asked for, though a Chinese word has one to four, and "
        "Thai with a package that is not always there.",
        (
            Example(
                _WORDS,
                {"num_words": 10, "relation": "at least"},
                "今天天气很好，我们去公园散步。",
                "zh",
                True,
                False,
                prompt="介绍一下你的周末，至少10个词。",
            ),
        ),
        needs_segmenter=True,
    ),
    Correction(
        "sentences-of-the-language",
        (_SENTENCES,),
        (ALL,),
        "Sentences end where they do in the language: by its own Punkt model where there is one, else at the stops of "
        "all scripts. A heading is none, the number of a list item is none, and none goes on beyond a blank line.",
        "The published grader splits nearly all languages with Punkt's English model, which does not know the "
        "abbreviations Sig. and ул., counts the numbers of a list as sentences, and does not know 。 or । in a reply "
        "whose language it guessed wrong. (Punkt is a learned model, and errs here and there in every language.)",
        (
            Example(
                _SENTENCES,
                {"num_sentences": 3, "relation": "less than"},
                "Il Sig. Rossi arriva alle 9.30. Poi parte.",
                "it",
                False,
                True,
            ),
            Example(
                _SENTENCES,
                {"num_sentences": 3, "relation": "less than"},
                "Я живу на ул. Ленина. Приходи.",
                "ru",
                False,
                True,
            ),
            Example(
                _SENTENCES,
                {"num_sentences": 3, "relation": "at least"},
                "我用 PyTorch 写代码。It works very well with Linux, Windows and MacOS。真好。",
                "zh",
                False,
                True,
            ),
            Example(
                _SENTENCES, {"num_sentences": 3, "relation": "less than"}, "1. Apples\n2. Pears", "en", False, True
            ),
        ),
    ),
    Correction(
        "paragraphs-as-seen",
        (_FIRST_WORD,),
        (ALL,),
        "Paragraphs are what blank lines part, however many, and the first word is compared without the marks "
        "around it; it may be several words, and in scripts without spaces it is what the paragraph starts with.",
        "The published grader counts the paragraphs without the blank ones, but looks the nth up among all. It "
        "compares up to the first space, which Chinese does not have, and an opening ¡ or ** stays with the word.",
        (
            Example(
                _FIRST_WORD,
                {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "其次"},
                "首先，谢谢你。\n\n其次我们要出发了。",
                "zh",
                False,
                True,
            ),
            Example(
                _FIRST_WORD,
                {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "second"},
                "First.\n\n\n\nSecond one.",
                "en",
                False,
                True,
            ),
            Example(
                _FIRST_WORD,
                {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "hola"},
                "¡Hola! ¿Qué tal?",
                "es",
                False,
                True,
            ),
        ),
    ),
    # ----------------------------------------------------------------------------------------- keywords
    Correction(
        "literal-words",
        _FROM_DATA,
        (ALL,),
        "Words of the data are looked for as they are written.",
        "The published grader uses them as regular expressions without escaping them: C++ is one or more c there, and "
        "the full stop of P.D. any character.",
        (
            Example(_EXISTENCE, {"keywords": ["C++"]}, "cc: the board", "en", True, False),
            Example(_FORBIDDEN, {"forbidden_words": ["3.5"]}, "Il en reste 345.", "fr", False, True),
            Example(_POSTSCRIPT, {"postscript_marker": "P.D."}, "El PIDE vino.", "es", True, False),
            Example(_SECTIONS, {"section_spliter": "Art.", "num_sections": 1}, "Arte 1", "it", True, False),
        ),
    ),
    Correction(
        "same-characters",
        _FROM_DATA,
        (ALL,),
        "Straight and curly apostrophes, full-width and half-width forms, composed and decomposed letters are the "
        "same, and what no reader sees is left out (Unicode's NFKC).",
        "The published grader compares code points: l’été is not l'été, and 附注: is not 附注：.",
        (
            Example(_EXISTENCE, {"keywords": ["l'été"]}, "J’aime l’été.", "fr", False, True),
            Example(_POSTSCRIPT, {"postscript_marker": "附注："}, "再见！附注: 带伞", "zh", False, True),
        ),
    ),
    Correction(
        "word-boundaries",
        (_FORBIDDEN,),
        ("zh", "hi", "ja", "th"),
        "A forbidden word stands where no other letter of a script with spaces touches it; in scripts without spaces "
        "that is anywhere. Korean particles and the Arabic article may touch it.",
        r"The published `\b` is no boundary between two Chinese characters, so that a forbidden word inside a sentence "
        "is never found, nor behind a Hindi vowel sign, where no word of Hindi that ends in one is found.",
        (
            Example(_FORBIDDEN, {"forbidden_words": ["月亮"]}, "今晚月亮很圆。", "zh", True, False),
            Example(_FORBIDDEN, {"forbidden_words": ["कविता"]}, "यह कविता है।", "hi", True, False),
        ),
    ),
    Correction(
        "keyword-forms",
        (_EXISTENCE, _FREQUENCY),
        ("en", "fr", "ru", "hi", "es", "it", "pt"),
        "A keyword counts at the start of a word, so that its forms with an ending count, and never stops in the "
        "middle of a character. In other languages, which put things before a word too, it counts anywhere.",
        "The published grader finds art in party and कम (little) in कमी (lack).",
        (
            Example(_EXISTENCE, {"keywords": ["art"]}, "What a party!", "en", True, False),
            Example(_EXISTENCE, {"keywords": ["कम"]}, "पानी की कमी है।", "hi", True, False),
        ),
    ),
    Correction(
        "no-accidental-words",
        (_EXISTENCE, _FREQUENCY, _FORBIDDEN),
        ("zh", "ja", "th"),
        "A word of a script without spaces is not found where it begins inside a word of ICU's dictionary and goes on "
        "into the next one. (A word that the dictionary does not have is found anywhere.)",
        "和服, kimono, stands in 产品和服务, products and services, for the published grader alone.",
        (Example(_EXISTENCE, {"keywords": ["和服"]}, "我们提供产品和服务。", "zh", True, False),),
        needs_segmenter=True,
    ),
    # -------------------------------------------------------------------------------------- punctuation
    Correction(
        "commas-of-all-scripts",
        (_COMMA,),
        ("zh", "ja", "ar", "fa", "ur"),
        "The commas of all scripts are commas: ， of Chinese, ، of Arabic and the others of Unicode; 、 in Japanese, "
        "as it is another mark in Chinese, 顿号.",
        "The published grader knows the ASCII comma alone: any Chinese reply without Latin text follows.",
        (
            Example(_COMMA, {}, "我喜欢苹果，也喜欢梨。", "zh", True, False),
            Example(_COMMA, {}, "りんご、梨、桃", "ja", True, False),
            Example(_COMMA, {}, "أحب التفاح، والكمثرى", "ar", True, False),
        ),
    ),
    Correction(
        "quotation-marks-of-all-languages",
        (_QUOTATION,),
        ("fr", "ru", "es", "it", "pt", "zh"),
        "« », „ “, » «, 『 』 and ＂ ＂ are quotation marks too.",
        "The published grader knows three pairs, and not the one that French, Russian, Spanish and Italian books are "
        "printed with.",
        (
            Example(_QUOTATION, {}, "« Bonjour à tous »", "fr", False, True),
            Example(_QUOTATION, {}, "„Добрый день“", "ru", False, True),
        ),
    ),
    Correction(
        "end-inside-quotation-marks",
        (_END,),
        (ALL,),
        "Closing quotation marks of any kind behind the end phrase are ignored, in the reply and in the phrase.",
        'The published grader ignores the straight " alone: a reply in curly quotes or « » cannot end with a phrase, '
        "so that no such reply follows both instructions.",
        (
            Example(_END, {"end_phrase": "¿Algo más?"}, "«Está listo. ¿Algo más?»", "es", False, True),
            Example(
                _END, {"end_phrase": "Is there anything else?"}, "“Done. Is there anything else?”", "en", False, True
            ),
        ),
    ),
    # --------------------------------------------------------------------------------- language and case
    Correction(
        "case-of-letters",
        (_CAPITAL, _LOWERCASE),
        ("en",),
        "The case is checked on the letters. Whether the reply is English is asked of its lowercased text, from ten "
        "words on and where the script is Latin.",
        "langdetect's profiles know next to no capitals: short English in capitals is taken for Vietnamese, "
        "short English in small letters for Italian or Dutch; and Spanish in capitals passes for English.",
        (
            Example(_CAPITAL, {}, "BUY GREEN TEA", "en", False, True),
            Example(_LOWERCASE, {}, "no comment", "en", False, True),
            Example(_CAPITAL, {}, "PARA PREPARAR LA SOPA HAY QUE CALENTAR EL ACEITE EN UNA OLLA.", "es", True, False),
        ),
    ),
    Correction(
        "language-by-script",
        (_LANGUAGE,),
        ("zh", "ja", "ko", "hi", "ru", "ar"),
        "A script that one language alone uses tells it; a reply in another script is never in the language asked for. "
        "zh is Chinese in either script. Where the script does not decide, langdetect does, as published.",
        "langdetect takes short Chinese for Korean or Japanese, and zh-tw for a failure where zh-cn is asked for; on "
        "zh the published grader raises.",
        (
            Example(_LANGUAGE, {"language": "zh-cn"}, "今天是星期天", "zh", False, True),
            Example(_LANGUAGE, {"language": "ko"}, "今天", "ko", True, False),
        ),
    ),
    # -------------------------------------------------------------------------------- what none can follow
    Correction(
        "unsatisfiable",
        (_FREQUENCY, _EXISTENCE, _WORDS, _SENTENCES, _FIRST_WORD, _LETTERS),
        (ALL,),
        "A slot that no reply can follow by its own kwargs, or that names an empty word, is left out of the corrected "
        "figures and counted as unsatisfiable.",
        "The published grader draws a word at random for an empty one, or fails every reply there is.",
        (
            Example(_WORDS, {"num_words": 1, "relation": "less than"}, "Yes.", "en", False, None),
            Example(
                _LETTERS, {"letter": "q", "let_frequency": 0, "let_relation": "less than"}, "No.", "en", False, None
            ),
            Example(
                _FIRST_WORD,
                {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "so"},
                "One.\n\nSo two.",
                "en",
                False,
                None,
            ),
        ),
    ),
)
