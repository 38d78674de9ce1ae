"""Check the built site: python docs/scripts/check_site.py SITE [--fetch].

No page loads anything from another host; every link inside the site leads to a page, and its anchor to a place in it;
links to other hosts are https, and to hosts that we know. --fetch asks these whether the page is there.
"""

from __future__ import annotations

import re
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# A link to another host is a decision: it may go away. Add the host here.
HOSTS = {"arxiv.org", "docs.vllm.ai", "example.org", "github.com", "huggingface.co", "optuna.org", "pypi.org"}
_LOADING = {"audio", "embed", "iframe", "img", "input", "script", "source", "track", "video"}
_NOT_LOADED = {"alternate", "canonical", "next", "prev"}
_REMOTE = re.compile(r"(?:https?:)?//")


class _Page(HTMLParser):
    """The places, links and loaded resources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take one element in."""
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        self.classes |= set(given.get("class", "").split())
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in _LOADING:
            self.loaded += [given[name] for name in ("src", "poster") if given.get(name)]
            self.loaded += [each.split()[0] for each in given.get("srcset", "").split(",") if each.strip()]
        if tag == "link" and given.get("rel") not in _NOT_LOADED:
            self.loaded.append(given.get("href", ""))
        self.loaded += _urls(given.get("style", ""))


def _urls(css: str) -> list[str]:
    return re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s]+)", css)


def problems(site: Path) -> Iterator[str]:
    """What is wrong with a site, in sentences."""
    pages = {path: _Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        for url in page.loaded:
            if _REMOTE.match(url):
                yield f"{name} loads {url} from another host."
            elif path.name != "404.html" and not url.startswith("data:") and not _target(path, url).exists():
                yield f"{name} loads {url}, which is not there."
        if "mermaid" in page.classes:  # the theme would load what draws it
            yield f"{name} has a picture in Mermaid, for which the theme loads a program from another host."
        if path.name != "404.html":  # its links start at the host's root
            yield from (f"{name}: {said}" for url in page.links if (said := _wrong(path, url, pages)))
    for path in site.rglob("*.css"):
        yield from (f"{path.name} loads {url}." for url in _urls(path.read_text("utf-8")) if _REMOTE.match(url))


def _target(path: Path, url: str) -> Path:
    """The file that a link leads to."""
    target = unquote(urlsplit(url).path)
    return (path.parent / target).resolve() if target else path


def _wrong(path: Path, url: str, pages: dict[Path, _Page]) -> str | None:
    """What is wrong with a link; None where nothing is."""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        if parts.scheme != "https":
            return f"{url} is not https."
        return None if parts.netloc in HOSTS else f"{url}: add {parts.netloc} to HOSTS in check_site.py if it is meant."
    target = _target(path, url)
    if target.is_dir():
        target /= "index.html"
    if not target.exists():
        return f"{url} leads nowhere."
    if target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].places:
        return f"{url}: the page has no such place."
    return None


def external(site: Path) -> list[str]:
    """The links to other hosts."""
    links = {url for path in site.rglob("*.html") for url in _Page(path.read_text("utf-8")).links}
    return sorted({url.partition("#")[0] for url in links if url.startswith("https://")})


def unreachable(urls: Iterable[str]) -> Iterator[str]:
    """What cannot be fetched, and why."""
    for url in urls:
        asked = urllib.request.Request(url, headers={"User-Agent": "turnswap's documents"})
        try:
            with urllib.request.urlopen(asked, timeout=30):
                pass
        except (OSError, ValueError) as error:
            yield f"{url}: {error}"


def main(folder: str, *options: str) -> None:
    """Check, and say what is wrong."""
    site = Path(folder).resolve()
    if not (site / "index.html").exists():
        sys.exit(f"{folder} is no site: run make docs.")
    found = [*problems(site), *(unreachable(external(site)) if "--fetch" in options else ())]
    for each in found:
        sys.stderr.write(f"{each}\n")
    pages = len([*site.rglob("*.html")])
    sys.stdout.write(f"{pages} pages, {len(external(site))} links to other hosts: {len(found) or 'no'} problems\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
