"""Prose of a page: Markdown with maths, as HTML that can do nothing but be read."""

from __future__ import annotations

from html import escape
from typing import Any
from xml.etree import ElementTree

_MATHML = "http://www.w3.org/1998/Math/MathML"
_ELEMENTS = frozenset({
    "math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "msub", "msup", "msubsup", "munder", "mover",
    "munderover", "mmultiscripts", "mprescripts", "none", "mfrac", "msqrt", "mroot", "mtable", "mtr", "mtd",
    "mstyle", "mpadded", "mphantom", "menclose", "merror", "semantics",
})  # fmt: skip
_ATTRIBUTES = frozenset({
    "display", "displaystyle", "scriptlevel", "stretchy", "fence", "form", "separator", "largeop",
    "movablelimits", "accent", "accentunder", "lspace", "rspace", "linethickness", "columnalign", "rowspacing",
    "columnspacing", "columnlines", "rowlines", "notation", "mathvariant", "width", "height", "depth",
    "minsize", "maxsize", "symmetric",
})  # fmt: skip


def html_of(text: str) -> str:
    """Markdown to HTML: markup in it is shown, not obeyed; ``$...$`` and ``$$...$$`` become MathML.

    Args:
        text: Markdown with tables and links. Links lead to http, https, mailto or within the page only; pictures are
            not taken along, since a page is one file.

    Example:
        >>> html_of("A *barrier* over $x$").startswith("<p>A <em>barrier</em> over <math")
        True
        >>> html_of("<script>alert(1)</script>")
        '<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>'
    """
    import mistune

    class Renderer(mistune.HTMLRenderer):
        """Without pictures, and with maths."""

        def image(self, text: str, url: str, title: str | None = None) -> str:
            return escape(text)

        def link(self, text: str, url: str, title: str | None = None) -> str:
            known = url.startswith(("http://", "https://", "mailto:", "#"))
            return f'<a href="{escape(url)}" rel="noopener">{text}</a>' if known else text

        def inline_math(self, text: str) -> str:
            return mathml(text, block=False)

        def block_math(self, text: str) -> str:
            return mathml(text, block=True)

    renderer = Renderer(escape=True)
    found: Any = mistune.create_markdown(renderer=renderer, plugins=["math", "table", "strikethrough"])(text)
    return str(found).strip()


def mathml(latex: str, *, block: bool) -> str:
    """LaTeX to MathML of known elements only; what cannot be read is shown as it was written.

    >>> mathml("x_1", block=False).count("<mi>"), mathml("x_{", block=False)
    (1, '<code>x_{</code>')
    """
    from latex2mathml.converter import convert

    try:
        root = ElementTree.fromstring(convert(latex, display="block" if block else "inline"))
    except Exception:  # the converter has many ways to fail, none of which says more than that
        return f"<code>{escape(latex)}</code>"
    return _written(root)


def _written(element: ElementTree.Element) -> str:
    """An element as text, without what is not known; its own text stays."""
    name = element.tag.removeprefix(f"{{{_MATHML}}}")
    inside = escape(element.text or "") + "".join(_written(c) + escape(c.tail or "") for c in element)
    if name not in _ELEMENTS:
        return inside
    attributes = [(k, v) for k, v in element.attrib.items() if k in _ATTRIBUTES]
    if name == "math":
        attributes = [("xmlns", _MATHML), *attributes]
    told = "".join(f' {key}="{escape(value)}"' for key, value in attributes)
    return f"<{name}{told}>{inside}</{name}>"
