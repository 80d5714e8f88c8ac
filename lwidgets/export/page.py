"""One HTML file that holds everything it needs and asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from typing import Any

from lwidgets.export.prose import html_of
from lwidgets.widgets.height_field import script

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f23; --paper: #fff; --quiet: #57606a; --rule: #d0d7de; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #16181b; --quiet: #9aa4ae; --rule: #3a4048; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 16px; max-width: 980px; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 8px 0; }
a { color: inherit; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--rule); padding: 2px 10px; text-align: left; }
pre, code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 0.9em; } pre { overflow-x: auto; }
.abstract, .caption { max-width: 44rem; }
footer { margin-top: 24px; padding-top: 8px; border-top: 1px solid var(--rule); color: var(--quiet);
  font-size: 0.8rem; }
noscript { display: block; padding: 8px 12px; border: 1px solid var(--rule); }
math[display="block"] { overflow-x: auto; margin: 8px 0; }
/* Plain letters, slanted: few systems have the mathematical ones that a browser would put in their place. */
math mi { text-transform: none; font-style: italic; } math mi[mathvariant="normal"] { font-style: normal; }
@media print {
  :root { color-scheme: light; --ink: #1b1f23; --paper: #fff; --quiet: #57606a; --rule: #d0d7de; }
  body { max-width: none; padding: 0; }
}
"""

_NO_SCRIPT = "These pictures are drawn by a script, which is switched off here."


def page(
    document: Mapping[str, Any],
    *,
    title: str,
    abstract: str = "",
    caption: str = "",
    citation: str = "",
    note: str = "",
) -> str:
    """The page.

    Args:
        document: A companion document.
        title: Plain text, shown above.
        abstract: Markdown with maths, above the pictures.
        caption: The same, below them.
        citation: The same, at the end.
        note: Plain text: what the page says about its numbers.

    Returns:
        HTML whose content security policy lets nothing run but its own script, and nothing be fetched.
    """
    code = script("companion.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    data = json.dumps(document, allow_nan=False).replace("<", "\\u003c")  # no text may end the element it is in
    parts = [
        f"<h1>{escape(title)}</h1>" if title else "",
        f'<div class="abstract">{html_of(abstract)}</div>' if abstract else "",
        f'<main id="lwidgets"><noscript>{_NO_SCRIPT}</noscript></main>',
        f'<div class="caption">{html_of(caption)}</div>' if caption else "",
        f"<footer>{html_of(citation) if citation else ''}<p>{escape(note)}</p></footer>",
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{escape(title or 'Loss landscape')}</title>",
            f"<style>{_STYLE}</style></head><body>",
            *[part for part in parts if part],
            f'<script type="application/json" id="lwidgets-companion">{data}</script>',
            f"<script>{code}</script>",
            "</body></html>",
            "",
        ]
    )
