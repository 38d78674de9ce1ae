"""Codes of languages and their English names: ``sw`` is ``Swahili`` in the data's column ``language``.

The names of ISO 639-1, and of a few languages that have data sets but no code of two letters. A code may end in a
region or script, as in ``pt-br``: ``Portuguese (BR)``. A language that is not here goes by its ISO 639-3 code of
three letters, which then is its name too.
"""

from __future__ import annotations

import difflib
import re

from turnswap.core.errors import UserError

_TABLE = """
aa Afar; ab Abkhazian; ae Avestan; af Afrikaans; ak Akan; am Amharic; an Aragonese; ar Arabic; as Assamese; av Avaric;
ay Aymara; az Azerbaijani; ba Bashkir; be Belarusian; bg Bulgarian; bi Bislama; bm Bambara; bn Bengali; bo Tibetan;
br Breton; bs Bosnian; ca Catalan; ce Chechen; ch Chamorro; co Corsican; cr Cree; cs Czech; cu Church Slavonic;
cv Chuvash; cy Welsh; da Danish; de German; dv Dhivehi; dz Dzongkha; ee Ewe; el Greek; en English; eo Esperanto;
es Spanish; et Estonian; eu Basque; fa Persian; ff Fulah; fi Finnish; fj Fijian; fo Faroese; fr French;
fy Western Frisian; ga Irish; gd Scottish Gaelic; gl Galician; gn Guarani; gu Gujarati; gv Manx; ha Hausa; he Hebrew;
hi Hindi; ho Hiri Motu; hr Croatian; ht Haitian Creole; hu Hungarian; hy Armenian; hz Herero; ia Interlingua;
id Indonesian; ie Interlingue; ig Igbo; ii Sichuan Yi; ik Inupiaq; io Ido; is Icelandic; it Italian; iu Inuktitut;
ja Japanese; jv Javanese; ka Georgian; kg Kongo; ki Kikuyu; kj Kuanyama; kk Kazakh; kl Kalaallisut; km Khmer;
kn Kannada; ko Korean; kr Kanuri; ks Kashmiri; ku Kurdish; kv Komi; kw Cornish; ky Kyrgyz; la Latin; lb Luxembourgish;
lg Ganda; li Limburgish; ln Lingala; lo Lao; lt Lithuanian; lu Luba-Katanga; lv Latvian; mg Malagasy; mh Marshallese;
mi Maori; mk Macedonian; ml Malayalam; mn Mongolian; mr Marathi; ms Malay; mt Maltese; my Burmese; na Nauru;
nb Norwegian Bokmål; nd North Ndebele; ne Nepali; ng Ndonga; nl Dutch; nn Norwegian Nynorsk; no Norwegian;
nr South Ndebele; nv Navajo; ny Chichewa; oc Occitan; oj Ojibwa; om Oromo; or Odia; os Ossetian; pa Punjabi; pi Pali;
pl Polish; ps Pashto; pt Portuguese; qu Quechua; rm Romansh; rn Rundi; ro Romanian; ru Russian; rw Kinyarwanda;
sa Sanskrit; sc Sardinian; sd Sindhi; se Northern Sami; sg Sango; si Sinhala; sk Slovak; sl Slovenian; sm Samoan;
sn Shona; so Somali; sq Albanian; sr Serbian; ss Swati; st Southern Sotho; su Sundanese; sv Swedish; sw Swahili;
ta Tamil; te Telugu; tg Tajik; th Thai; ti Tigrinya; tk Turkmen; tl Tagalog; tn Tswana; to Tongan; tr Turkish;
ts Tsonga; tt Tatar; tw Twi; ty Tahitian; ug Uyghur; uk Ukrainian; ur Urdu; uz Uzbek; ve Venda; vi Vietnamese;
vo Volapük; wa Walloon; wo Wolof; xh Xhosa; yi Yiddish; yo Yoruba; za Zhuang; zh Chinese; zu Zulu;
ast Asturian; bho Bhojpuri; ceb Cebuano; ckb Central Kurdish; fil Filipino; hmn Hmong; haw Hawaiian; ilo Ilocano;
kab Kabyle; mai Maithili; mni Manipuri; nso Northern Sotho; sat Santali; scn Sicilian; tpi Tok Pisin; yue Cantonese
"""
NAMES = dict(entry.strip().split(" ", 1) for entry in _TABLE.split(";"))
_CODES = {name: code for code, name in NAMES.items()}
_NAME_WITH_PART = re.compile(r"(.+) \(([A-Z]{2}|[A-Z][a-z]{3})\)")
_ISO_639_3 = re.compile(r"[a-z]{3}")


def name_of(code: str) -> str:
    """The English name of a code such as ``sw``, ``pt-br`` or ``quc``.

    Raises:
        UserError: there is no language of this code.
    """
    language, _, part = code.partition("-")
    name = NAMES.get(language, language if _ISO_639_3.fullmatch(language) else "")
    shown = part.title() if len(part) == 4 else part.upper()
    full = f"{name} ({shown})" if part else name
    if not name or code_of(full) != code:
        meant = f" {_CODES[code.title()]} is {code.title()}." if code.title() in _CODES else ""
        raise UserError(
            f"{code!r} is no code of a language.{meant}",
            "Expected one of ISO 639 in small letters, such as sw, with a region or script where needed: pt-br.",
        )
    return full


def code_of(name: str) -> str | None:
    """The code of an English name, such as ``pt-br`` of ``Portuguese (BR)``; None where there is no such language."""
    if divided := _NAME_WITH_PART.fullmatch(name):
        language = code_of(divided[1])
        return None if language is None or "-" in language else f"{language}-{divided[2].lower()}"
    return _CODES.get(name, name if _ISO_639_3.fullmatch(name) else None)


def near_names(name: str) -> list[str]:
    """Names that may have been meant, best first."""
    if name.strip().lower() in NAMES:  # a code in place of the name
        return [NAMES[name.strip().lower()]]
    by_letters = {known.lower(): known for known in _CODES}
    return [by_letters[near] for near in difflib.get_close_matches(name.strip().lower(), by_letters, 3, 0.6)]
