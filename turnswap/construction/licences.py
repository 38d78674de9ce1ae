"""Whether what is made of seeds may go under a licence: what each asks stands in ``licences.toml``, by SPDX id.

No legal advice: what the table does not know, or knows not to be clear, is left to a person with a sentence.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files

from turnswap.core.errors import UserError

_LOOK = "Please read both licences before you publish."


@dataclass(frozen=True)
class Terms:
    """What a licence asks of works that are made of the licensed one.

    Attributes:
        id: its SPDX id.
        asks: some of ``named``, ``non-commercial``, ``no derivatives``, ``share alike``.
        also: licences under which what is shared alike may go beside its own.
        hub: the Hub's name for it; empty where it has none, None where it is the id in small letters.
    """

    id: str
    asks: tuple[str, ...]
    also: tuple[str, ...] = ()
    hub: str | None = None


_TABLE = {
    id_.lower(): Terms(id_, tuple(row["asks"]), tuple(row.get("also", ())), row.get("hub"))
    for id_, row in tomllib.loads((files(__package__ or "") / "licences.toml").read_text("utf-8")).items()
}


def terms_of(licence: str) -> Terms | None:
    """What a licence asks, by its SPDX id in any case; None where the table does not know it."""
    return _TABLE.get(licence.strip().lower())


def check_licences(seeds: str, release: str) -> list[str]:
    """Refuse a release that the licences of its seeds do not allow.

    Args:
        seeds: the SPDX id of their licence; where they are from several sources, ids with ``AND`` between them.
        release: that of the data set.

    Returns:
        Sentences on what is not known to be allowed, for a person to look at.

    Raises:
        UserError: it names the seeds' licence, what it asks, and that the release's does not.
    """
    made, doubts = terms_of(release), []
    for name in re.split(r"\s+AND\s+", seeds.strip()):
        given = terms_of(name)
        if given is not None and "no derivatives" in given.asks:
            raise UserError(
                f"The seeds are under {given.id}, which allows no derivatives, and translations are derivatives.",
                "Use other seeds, or ask the owners for a licence and name that one in release.seeds_licence.",
            )
        if given is None or made is None:
            unknown = " and ".join(each for each, known in ((name, given), (release.strip(), made)) if known is None)
            doubts.append(f"Our table of licences lacks {unknown}: may seeds under {name} go under {release}? {_LOOK}")
        elif asked := _not_kept(given, made):
            advice = f"Set release.licence to {given.id}, or use other seeds."
            raise UserError(f"The seeds are under {given.id}, {asked}, and the release is under {made.id}.", advice)
        elif "named" in given.asks and "named" not in made.asks:
            doubts.append(f"{given.id} asks that the seeds' source is named; {made.id} does not ask for that. {_LOOK}")
    return doubts


def _not_kept(given: Terms, made: Terms) -> str:
    """What the one asks and the other does not keep, in words; empty where there is nothing."""
    if "share alike" in given.asks and made.id not in (given.id, *given.also):
        return "which asks for the same licence for all that is made of them"
    if "non-commercial" in given.asks and "non-commercial" not in made.asks:
        return "which allows no commercial use"
    return ""


def hub_licence(licence: str) -> dict[str, str]:
    """What a dataset card's front matter says of a licence, by the Hub's names."""
    known = terms_of(licence)
    name = "" if known is None else known.id.lower() if known.hub is None else known.hub
    if name:
        return {"license": name}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", licence.strip().lower()).strip("-")}


def licence_url(licence: str) -> str:
    """Where SPDX shows a licence; the name itself where the table does not know it."""
    known = terms_of(licence)
    return f"https://spdx.org/licenses/{known.id}.html" if known else licence.strip()
