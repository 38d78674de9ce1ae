"""Pages in one file, without network: their parts inlined, and a policy under which nothing else runs or loads."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import jinja2

from turnswap import __version__


def render_page(
    package: str, template: str, title: str, parts: Sequence[str], libraries: str = "", **values: Any
) -> str:
    """A page of one file, made of a package's folder ``html`` and of ``core/html``, which every page shares.

    Texts from outside reach the page through the template, which escapes them, or as :func:`json_for_script`.

    Args:
        package: whose folder ``html`` is looked into first.
        template: the name of a Jinja template, which extends ``page.html.j2``. What it uses and is not given is an
            error.
        title: its heading, which also stands below every printed page.
        parts: names of style sheets, which come after ``style.css``, and of the page's own scripts.
        libraries: the text of a script that goes before it, as :func:`.heat_maps.chart_libraries` gives it. Charts
            set styles of their own, so that then any may stand inline.
        **values: what the template gets, beside ``title``, ``style``, ``script``, ``libraries`` and ``policy``, the
            Content-Security-Policy. A ``sentence`` stands first on the page.
    """
    loader = jinja2.ChoiceLoader([jinja2.PackageLoader(name, "html") for name in (package, "turnswap.core")])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    style, script = (
        "".join(loader.get_source(environment, part)[0] for part in ("style.css", *parts) if part.endswith(ending))
        for ending in (".css", ".js")
    )
    # Below every printed page. As escapes: a title may hold what would end a string or the style.
    escaped = "".join(f"\\{ord(letter):06x}" for letter in title)
    style += f'@page {{ @bottom-left {{ content: "{escaped}" }} }}\n'
    styles = "'unsafe-inline'" if libraries else _hashes(style)
    scripts = _hashes(libraries, script) if libraries else _hashes(script)
    policy = f"default-src 'none'; script-src {scripts}; style-src {styles}; base-uri 'none'; form-action 'none'"
    values |= {"title": title, "style": style, "script": script, "libraries": libraries, "policy": policy}
    return environment.get_template(template).render(values, version=__version__) + "\n"


def _hashes(*texts: str) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts)


def json_for_script(content: Any) -> str:
    """JSON that may stand in a script element: nothing in it can close the element or open a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=float)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
