"""Pages in one file, without network: their parts inlined, and a policy under which nothing else runs or loads."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jinja2


def resource(name: str) -> str:
    """A file of ``reports/html``."""
    return (files(__package__ or "") / "html" / name).read_text("utf-8")


def environment() -> jinja2.Environment:
    """Templates of ``reports/html``: what they are given is escaped, and what they lack is an error."""
    loader = jinja2.FunctionLoader(resource)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)


def policy(scripts: Sequence[str], styles: Sequence[str] | None) -> str:
    """The Content-Security-Policy of a page that has these inline scripts and styles, and nothing else.

    None for ``styles``: any may stand inline, as charts need, which set their own.
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
