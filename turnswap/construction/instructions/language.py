"""The language of the reply."""

from __future__ import annotations

from turnswap.tasks.multiif.languages import name_of
from turnswap.tasks.multiif.text import known_languages

from . import ids
from .making import making
from .rules import Demand, impossible

_DRAWN = ("ar", "de", "es", "fi", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "sw", "te", "vi")


making(
    ids.LANGUAGE,
    draw=lambda draw: {
        "language": draw.one([code for code in _DRAWN if code in known_languages() - {draw.conversation.language}])
    },
    weight=0.5,
    named=lambda kwargs: [name_of({"zh-cn": "zh"}.get(kwargs["language"], kwargs["language"]))],
    shape=lambda shape, kwargs: shape.set(language=kwargs["language"]),
)


@impossible("two languages", ids.LANGUAGE, ids.LANGUAGE)
def _languages(one: Demand, other: Demand) -> bool:
    """the reply is to be in two languages"""
    codes = {one.kwargs["language"], other.kwargs["language"]}
    return len(codes) == 2 and not ("zh" in codes and codes & {"zh-cn", "zh-tw"})
