"""Our one fixed style, on JupyterLab's own variables, so that it follows the theme.

The fallbacks are for pages without those variables (exported HTML, VS Code): colours of a middle
lightness, readable on white and on black.
"""

from __future__ import annotations

# The class twice: JupyterLab's own rules for pre and td are as specific as class, class, element.
LAYOUT = (
    ".helix-nb{overflow-wrap:anywhere}"
    ".helix-nb.helix-nb pre{overflow-x:auto;white-space:pre;overflow-wrap:normal;padding:.5em .75em;"
    "margin:.5em 0;background:var(--jp-layout-color2,rgba(128,128,128,.12));border-radius:3px}"
    ".helix-nb.helix-nb pre code{background:none;padding:0;color:inherit}"
    ".helix-nb.helix-nb th,.helix-nb.helix-nb td{text-align:left}"
    ".helix-nb.helix-nb [align=right]{text-align:right}.helix-nb.helix-nb [align=center]{text-align:center}"
)


def _rule(names: str, variable: str, fallback: str, more: str = "") -> str:
    selectors = ",".join(f".helix-nb pre .{name}" for name in names.split())
    return f"{selectors}{{color:var(--jp-mirror-editor-{variable}-color,{fallback}){more}}}"


CODE = "".join(
    (
        _rule("k kt ow", "keyword", "#2e8b3d", ";font-weight:bold"),
        _rule("s se si", "string", "#c2544d"),
        _rule("m", "number", "#3f8457"),
        _rule("c", "comment", "#5f8787", ";font-style:italic"),
        _rule("o", "operator", "#a65fd3"),
        _rule("nf nc nd", "def", "#4c78d0"),
        _rule("nb nv", "builtin", "#2e8b3d"),
        _rule("na", "attribute", "#4c78d0"),
        _rule("nt", "tag", "#2e8b3d"),
        _rule("gh gp", "header", "#4c78d0", ";font-weight:bold"),
        _rule("gi", "string-2", "#2e8b3d"),
        _rule("gd err ne", "error", "#d34c4c"),
    )
)


def with_style(html: str) -> str:
    """Return sanitised HTML inside our own element, with the part of the style that it needs."""
    style = LAYOUT + CODE if "<span class=" in html else LAYOUT
    return f'<div class="helix-nb"><style>{style}</style>{html}</div>'
