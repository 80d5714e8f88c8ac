"""One HTML file that holds everything it needs and asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from lwidgets.assets import script
from lwidgets.export.bundles import bundles
from lwidgets.export.prose import html_of

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

# Jupyter's variables, which colour ipywidgets, bqplot and our own views, from those of the page. All else is said
# by ipywidgets' own style sheet, which comes later: hence the doubled selectors.
_WIDGETS_STYLE = """
:root:root { --jp-layout-color0: var(--paper); --jp-layout-color1: var(--paper); --jp-layout-color2: var(--rule);
  --jp-layout-color3: var(--rule); --jp-ui-font-color0: var(--ink); --jp-ui-font-color1: var(--ink);
  --jp-ui-font-color2: var(--quiet); --jp-content-font-color0: var(--ink); --jp-content-font-color1: var(--ink);
  --jp-content-font-color2: var(--quiet); --jp-border-color0: var(--quiet); --jp-border-color1: var(--quiet);
  --jp-border-color2: var(--rule); --jp-ui-font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
body .jupyter-widgets-disconnected::before { content: none; }
body .widget-dropdown > select { appearance: auto; background-image: none; }
body .lw-widget :is(.noUi-handle, select, input, .widget-readout):focus-visible {
  outline: 2px solid var(--jp-brand-color1); outline-offset: 2px; }
body .lw-controls:has(> .lw-widget) { grid-template-columns: repeat(auto-fit, minmax(min(330px, 100%), 1fr)); }
body .noUi-target { print-color-adjust: exact; }
.lwidgets-caption { padding: 0 10px; color: var(--quiet); font-size: 12px; overflow-wrap: anywhere; }
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
    widgets: Mapping[str, Any] | None = None,
) -> str:
    """The page.

    Args:
        document: A companion document.
        title: Plain text, shown above.
        abstract: Markdown with maths, above the pictures.
        caption: The same, below them.
        citation: The same, at the end.
        note: Plain text: what the page says about its numbers.
        widgets: From `lwidgets.widgets.embed.states`, for a page with the very widgets of the notebook.

    Returns:
        HTML whose content security policy lets nothing run but its own scripts, and nothing be fetched.
    """
    code = _host(widgets is not None).read_text(encoding="utf-8")
    unpack = script("unpack.js").read_text(encoding="utf-8")
    allowed = " ".join(map(_digest, [unpack, code, *([] if widgets is None else (one.code for one in bundles()))]))
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    data = json.dumps(document, allow_nan=False).replace("<", "\\u003c")  # no text may end the element it is in
    carried = [] if widgets is None else [_packed_bundles(), _packed('id="lwidgets-widgets"', json.dumps(widgets))]
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
            f"<style>{_STYLE}{'' if widgets is None else _WIDGETS_STYLE}</style></head><body>",
            *[part for part in parts if part],
            f'<script type="application/json" id="lwidgets-companion">{data}</script>',
            *carried,
            _packed_host(widgets is not None),
            f"<script>{unpack}</script>",
            "</body></html>",
            "",
        ]
    )


def size_of_scripts(*, widgets: bool) -> int:
    """Bytes of a page that are the same whatever it shows, about."""
    return len(_packed_host(widgets)) + (len(_packed_bundles()) if widgets else 0)


def _host(widgets: bool) -> Path:
    return script("page.js" if widgets else "companion.js")


def _packed_host(widgets: bool) -> str:
    """Our own script, half as long: ``unpack.js`` runs what comes out, if the policy knows its hash."""
    return _packed('id="lwidgets-script"', _host(widgets).read_text(encoding="utf-8"))


@cache
def _packed_bundles() -> str:
    """The scripts that pip installed, as elements of a page.

    They are compressed, so that nothing in them can be taken for markup, and a third as long. The browser compares what
    comes out with the hashes in the policy.
    """
    return "\n".join(_packed(f'class="lwidgets-bundle" data-name="{one.name}"', one.code) for one in bundles())


def _packed(attributes: str, text: str) -> str:
    content = text.encode()
    data = base64.b64encode(zlib.compress(content, 9)).decode("ascii")
    return f'<script type="application/octet-stream" {attributes} data-size="{len(content)}">{data}</script>'


def _digest(code: str) -> str:
    """As a content security policy names a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode('ascii')}'"
