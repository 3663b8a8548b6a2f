"""Links a reader can trust: only web and mail addresses, in full sight; images become links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from unicodedata import normalize
from urllib.parse import urlsplit

from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

from .sanitize import sanitize

if TYPE_CHECKING:
    from markdown_it.rules_core import StateCore

_WEB = re.compile(r"https?://[^\s@%\\/?#\x00-\x20\x7f]+(?:[/?#][^\s\\<>\x00-\x20\x7f]*)?", re.IGNORECASE)
_MAIL = re.compile(
    r"mailto:[^\s:/\\<>\x00-\x20\x7f]+@[^\s:/\\<>?\x00-\x20\x7f]+(?:\?[^\s<>]*)?", re.IGNORECASE
)
_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*:)?//(?:[^/?#\s]*@)?([^/?#\s:]+)|((?:[\w-]+\.)+[^\W\d_]{2,})(?=[/?#:]|$)", re.I
)
_FILES = ".md .py .rs .sh .pl .ps .so .js .ts .json .txt .html .ipynb .pdf"
_FILE_ENDINGS = tuple(_FILES.split())  # these look like domains, and mostly are not
_LOOK_ALIKE = str.maketrans({"\u3002": ".", "\u2044": "/", "\u2215": "/", "\u29f8": "/", "\ua789": ":"})
_UNSEEN = re.compile(
    "[\\s\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff]+"
)


def is_acceptable(url: str) -> bool:
    """Return whether a link may exist: absolute http(s) without a user name in it, or mail."""
    if len(url) > 2_000 or not (_WEB.fullmatch(url) or _MAIL.fullmatch(url)):
        return False
    try:
        if urlsplit(url).port == 0:
            return False
    except ValueError:
        return False  # no such port, or half an IPv6 address
    # A host that is none loses its address there.
    return " href=" in sanitize(f'<a href="{escapeHtml(url)}">')


def defuse_links(state: StateCore) -> None:
    """Turn images into links, and take apart links whose text names another host than they lead to."""
    for token in state.tokens:
        if token.children and any(child.type in ("image", "link_open") for child in token.children):
            token.children = _without_deceptive_links(_without_images(token.children))


def _without_images(tokens: list[Token]) -> list[Token]:
    """Return tokens with each image as a link named by its alt text, or as that text inside another link."""
    result: list[Token] = []
    depth = 0
    for token in tokens:
        depth += {"link_open": 1, "link_close": -1}.get(token.type, 0)
        if token.type != "image":
            result.append(token)
            continue
        words = _text(f"[image: {token.content}]" if token.content.strip() else "[image]")
        url = str(token.attrGet("src") or "")
        result += [words] if depth or not url else [_link_open(url), words, Token("link_close", "a", -1)]
    return result


def _without_deceptive_links(tokens: list[Token]) -> list[Token]:
    """Return tokens with the address in full sight, and no link, where a link's text is deceptive."""
    result: list[Token] = []
    opened = 0
    for token in tokens:
        result.append(token)
        if token.type == "link_open":
            opened = len(result) - 1
        elif token.type == "link_close":
            url = str(result[opened].attrGet("href") or "")
            inside = result[opened + 1 : -1]
            words = "".join(part.content for part in inside)
            if not url:
                result[opened:] = inside
            elif _is_deceptive(words, url):
                result[opened:] = [*inside, _text(f" ({url})" if _UNSEEN.sub("", words) else url)]
    return result


def _is_deceptive(words: str, url: str) -> bool:
    """Return whether a link's text shows nothing, another host's address, or one in look-alike letters."""
    words = normalize("NFKC", _UNSEEN.sub("", words)).translate(_LOOK_ALIKE)
    if not words:
        return True
    if url.lower().startswith("mailto:") or words.lower().endswith(_FILE_ENDINGS):
        return "://" in words
    address = _ADDRESS.match(words)
    if address is None:
        return False
    host = address[1] or address[2]
    return not host.isascii() or _host(host) != _host(urlsplit(url).hostname or "")


def _host(name: str) -> str:
    try:
        name = name.encode("idna").decode("ascii")
    except UnicodeError:
        pass  # not a host name at all; compared as it is
    return name.lower().removeprefix("www.")


def _text(content: str) -> Token:
    token = Token("text", "", 0)
    token.content = content
    return token


def _link_open(url: str) -> Token:
    return Token("link_open", "a", 1, attrs={"href": url})
