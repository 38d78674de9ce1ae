"""Pages in one file, without network: their parts inlined, and a policy under which nothing else runs or loads."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jinja2


def render_page(
    package: str, template: str, *, script: str, styles: Sequence[str] = (), libraries: str = "", **values: Any
) -> str:
    """A page of one file, made of a package's folder ``html`` and of ``core/html``, which every page shares.

    Texts from outside reach the page through the template, which escapes them, or as :func:`json_for_script`.

    Args:
        package: whose folder ``html`` is looked into first.
        template: the name of a Jinja template. What it uses and is not given is an error.
        script: the name of the page's own script.
        styles: names of style sheets, after ``style.css``.
        libraries: the text of a script that goes before it, as :func:`.heat_maps.chart_libraries` gives it. Charts
            set styles of their own, so that then any may stand inline.
        **values: what the template gets, beside ``style``, ``script``, ``libraries`` and ``policy``, the
            Content-Security-Policy.
    """

    def resource(name: str) -> str:
        own = files(package) / "html" / name
        return (own if own.is_file() else files("turnswap.core") / "html" / name).read_text("utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(resource), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    style, own_script = "".join(map(resource, ("style.css", *styles))), resource(script)
    rendered = environment.get_template(template).render(
        style=style,
        script=own_script,
        libraries=libraries,
        policy=policy([libraries, own_script], None) if libraries else policy([own_script], [style]),
        **values,
    )
    return rendered + "\n"


def policy(scripts: Sequence[str], styles: Sequence[str] | None) -> str:
    """The Content-Security-Policy of a page that has these inline scripts and styles, and nothing else.

    None for ``styles``: any may stand inline.
    """
    style_source = "'unsafe-inline'" if styles is None else _hashes(styles)
    return (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {style_source}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashes(texts: Sequence[str]) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts)


def json_for_script(content: Any) -> str:
    """JSON that may stand in a script element: nothing in it can close the element or open a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=float)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
