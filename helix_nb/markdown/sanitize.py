"""The two allowlists: everything that is shown as HTML went through one of them, last of all."""

from __future__ import annotations

import re
from functools import lru_cache

import nh3

from .highlight import CLASSES, LANGUAGES

_TEXT_TAGS = """
    a blockquote br code em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead tr ul
"""
_MATH_TAGS = """
    math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow mspace msqrt
    mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none
"""
_MATH_ATTRIBUTES = {
    "math": {"display"},
    "menclose": {"notation"},
    "mfrac": {"linethickness"},
    "mi": {"mathvariant"},
    "mn": {"mathvariant"},
    "mo": {
        *("accent", "fence", "form", "largeop", "lspace", "mathvariant", "maxsize", "minsize"),
        *("movablelimits", "rspace", "separator", "stretchy", "symmetric"),
    },
    "mover": {"accent"},
    "mspace": {"linebreak", "width"},
    "mstyle": {"displaystyle", "mathcolor", "mathvariant", "scriptlevel"},
    "mtable": {"columnalign", "columnlines", "displaystyle", "rowlines", "rowspacing", "columnspacing"},
    "mtd": {"columnalign"},
    "mtext": {"mathvariant"},
    "munder": {"accentunder"},
    "munderover": {"accent", "accentunder"},
}
_MATH_VALUE = re.compile(r"#?[\w.+-]{1,40}(?: [\w.+-]{1,20}){0,30}", re.ASCII)


@lru_cache(maxsize=1)
def _text_cleaner() -> nh3.Cleaner:
    align = {"align": {"left", "center", "right"}}
    return nh3.Cleaner(
        tags=set(_TEXT_TAGS.split()),
        clean_content_tags=set(),
        attributes={"*": set(), "a": {"href"}, "ol": {"start"}},
        tag_attribute_values={"th": align, "td": align},
        allowed_classes={"span": set(CLASSES), "code": {f"language-{name}" for name in LANGUAGES}},
        set_tag_attribute_values={"a": {"target": "_blank"}},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel="noopener noreferrer",
    )


@lru_cache(maxsize=1)
def _math_cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=set(_MATH_TAGS.split()),
        clean_content_tags={"script", "style", "annotation", "annotation-xml"},
        attributes={"*": set(), **_MATH_ATTRIBUTES},
        attribute_filter=lambda tag, name, value: value if _MATH_VALUE.fullmatch(value) else None,
        url_schemes=set(),
        url_relative="deny",
        link_rel=None,
    )


def sanitize(html: str) -> str:
    """Return only what text needs of some HTML: it loads nothing, runs nothing and names nothing."""
    return _text_cleaner().clean(html)


def sanitize_mathml(html: str) -> str:
    """Return only what a formula needs of some MathML: no link, no style, no HTML inside `mtext`."""
    return _math_cleaner().clean(html)
