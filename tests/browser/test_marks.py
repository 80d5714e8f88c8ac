"""What bqplot has on the page is what the kernel has: marks that come while a figure is laid out were lost once."""

from explorers import DIGITS, SETUP, notebook
from lab import Server, ask_kernel, console_errors
from playwright.sync_api import Browser, expect

MAKE = [
    "lw.CurveExplorer(objective, a, b)",
    "lw.CurveExplorer(objective, a, b, alpha=0.25, span=(-0.5, 1.5))",
    "lw.LayerwiseExplorer(objective, a, b)",
    "lw.ConnectivityExplorer(objective, a, b, alignment='weights', plane=False)",
]
CELLS = [SETUP + DIGITS + "\nmade = []", *(f"made.append({make})\nmade[-1]" for make in MAKE)]
DOTS = """[sum(len(mark.x) for place in one.panels.places.values() if hasattr(place.view, "figure")
    for mark in place.view.figure.marks if type(mark).__name__ == "Scatter") for one in made]"""


def test_every_mark_of_the_kernel_is_on_the_page(lab_server: Server, browser: Browser):
    with notebook(lab_server, browser, "marks", CELLS, size=(1300, 3600)) as page:
        ask_kernel(page, "[one.wait(120) for one in made]")
        shown = page.locator(".lwidgets-explorer")
        expect(shown).to_have_count(len(MAKE))
        for k, dots in enumerate(ask_kernel(page, " ".join(DOTS.split()))):
            assert dots > 0
            expect(shown.nth(k).locator(".bqplot .svg-figure g.object_grp")).to_have_count(dots, timeout=20_000)
        assert console_errors(page) == []
