"""Prose of a page: readable, and unable to do anything."""

from html.parser import HTMLParser

import pytest

from lwidgets.export.prose import html_of

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    '[x](https://e.org/"onmouseover=alert(1))',
    "![x](https://e.org/track.png)",
    "![x\" onerror=alert(1)](x.png 'y')",
    r"$\text{<script>alert(1)</script>}$",
    r"$\href{javascript:alert(1)}{x}$",
    r"$\mathrm{</mi></math><script>alert(1)</script>}$",
    r"$$\style{x:expression(alert(1))}{y}$$",
    r"$\text{&lt;script&gt;}$",
    "</main><script>alert(1)</script>",
    "<!-- -->--><svg onload=alert(1)>",
    "`<script>`",
    "$" * 999,
    "x" * 100_000,
]

ALLOWED = {"p", "em", "strong", "a", "code", "pre", "ul", "ol", "li", "br", "del", "blockquote", "hr", "h1", "h2", "h3"}
MATHS = {"math", "mrow", "mi", "mn", "mo", "mtext", "mstyle", "msub", "msup", "mfrac", "munderover", "mspace"}


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words += data


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30])
def test_markup_in_prose_is_inert(text):
    read = Reader(html_of(text))
    assert set(read.tags) <= ALLOWED | MATHS
    assert not [name for name, _ in read.attributes if name.startswith("on") or name in ("src", "style", "srcset")]
    links = [value for name, value in read.attributes if name == "href"]
    assert all(link.startswith(("https://", "http://", "mailto:", "#")) for link in links)


def test_markdown_and_maths_are_rendered():
    read = Reader(
        html_of("# Title\n\nA *barrier* of **$\\alpha$**, [here](https://e.org).\n\n$$\\frac{1}{n}\\sum_i x_i$$")
    )
    assert {"h1", "em", "strong", "math", "mfrac", "a"} <= set(read.tags)
    assert ("href", "https://e.org") in read.attributes
    assert ("display", "block") in read.attributes
    assert "α" in read.words


def test_a_comparison_in_maths_stays_one():
    assert "&lt;" in html_of("$a<b$")


def test_maths_that_cannot_be_read_is_shown_as_written():
    assert html_of("$\\frac{$") == "<p><code>\\frac{</code></p>"
