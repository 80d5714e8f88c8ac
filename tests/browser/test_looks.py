"""Dark theme, a narrow window, many surfaces on one page: everything is drawn, nothing is cut off or overlaps."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from explorers import SETUP, Explorer, drawn, notebook, steady
from lab import Server, ask_kernel, console_errors
from playwright.sync_api import Browser, Locator, Page

SMALL = (
    SETUP
    + """
images, labels = lw.demo.digits_data()
images, labels = images[:300], labels[:300]
a, b = (lw.demo.train_mlp(images, labels, (16,), seed, steps=60) for seed in (0, 1))
objective = lw.Objective(a, (images, labels), loss=F.cross_entropy, metrics={"error": lw.metrics.error})
"""
)
VIEWS = "[one.wait(60) and one.panels.places['surface_picture'].view for one in surfaces]"
CELLS = [
    SMALL,
    "curve = lw.CurveExplorer(objective, a, b)\ncurve",
    "surface = lw.SurfaceExplorer(objective, resolution=33)\nsurface",
]


@pytest.fixture(scope="module")
def lab(lab_server: Server, browser: Browser) -> Iterator[Page]:
    with notebook(lab_server, browser, "looks", CELLS, size=(1300, 1700)) as page:
        yield page


@pytest.fixture
def explorers(lab: Page) -> Iterator[tuple[Explorer, Explorer]]:
    lab.messages.clear()
    yield Explorer(lab, "curve", 0), Explorer(lab, "surface", 1)
    assert console_errors(lab) == []


def set_theme(page: Page, theme: str) -> None:
    page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    dark = "dark" in theme.lower()
    page.wait_for_function("(light) => document.body.dataset.jpThemeLight === light", arg=str(not dark).lower())


def colour(node: Locator, name: str = "color") -> np.ndarray:
    text = node.evaluate("(node, name) => getComputedStyle(node)[name]", name)
    return np.array([float(v) for v in re.findall(r"[\d.]+", text)][:4])


def luminance(rgb: np.ndarray) -> float:
    return float(np.dot(rgb[:3], [0.2126, 0.7152, 0.0722]) / 255)


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_ink_stands_out_from_the_paper_in_both_themes(explorers: tuple[Explorer, Explorer], lab: Page, theme: str):
    curve, surface = explorers
    set_theme(lab, theme)
    curve.settle()
    surface.settle()
    paper = luminance(colour(lab.locator(".jp-Notebook"), "backgroundColor"))
    assert (paper < 0.2) == ("Dark" in theme)
    words = [
        surface.readout,
        surface.status,
        curve.root.locator(".lwidgets-caption"),
        curve.root.locator("label").nth(1),
    ]
    for words_ in words:
        assert abs(luminance(colour(words_)) - paper) > 0.4
    for tick in curve.root.locator(".bqplot .svg-background g.tick text, .bqplot .axislabel").all():
        fill = colour(tick, "fill")
        assert abs(luminance(fill) - paper) > 0.3, tick.text_content()
    # Axes and labels of the height field are ink on a transparent canvas.
    for kind in ("map", "surface"):
        picture = surface.picture(kind)
        margin = picture[-40:][picture[-40:, :, 3] > 0.8]
        assert len(margin) > 50, kind
        contrast = np.abs(margin[:, :3] @ [0.2126, 0.7152, 0.0722] - paper)
        assert np.quantile(contrast, 0.9) > 0.4, kind


def boxes(nodes: Locator) -> list[dict[str, Any]]:
    return [box for node in nodes.all() if (box := node.bounding_box()) and box["width"] * box["height"] > 0]


def overlap(a: dict[str, Any], b: dict[str, Any]) -> float:
    across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
    down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
    return max(0.0, across) * max(0.0, down)


def assert_tidy(explorer: Explorer) -> None:
    """Controls, figures and lines of text lie inside the explorer, side by side; axis labels inside their figure."""
    steady(explorer.root, 400)  # bqplot takes its time to follow a window
    root = explorer.root.bounding_box()
    parts = explorer.root.locator(
        ".widget-hslider, .widget-dropdown, .widget-text, .widget-checkbox, .bqplot, .lw-pane, .lw-bar, .lw-text, "
        ".lwidgets-caption, .lw-words, .lw-status, .lw-checks"
    )
    found = boxes(parts)
    assert len(found) > 8
    for box in found:
        assert root["x"] - 1 <= box["x"], box
        assert box["x"] + box["width"] <= root["x"] + root["width"] + 4, box  # bqplot's margins
    for one, other in itertools.combinations(found, 2):
        assert overlap(one, other) < 4, (one, other)
    for figure in explorer.root.locator(".bqplot").all():
        frame = figure.bounding_box()
        texts = figure.locator("g.tick text, .axislabel, .legendtext")
        inside = boxes(texts)
        assert len(inside) >= 8
        for box in inside:
            assert frame["x"] - 2 <= box["x"], box
            assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 2, box
            assert frame["y"] - 2 <= box["y"], box
            assert box["y"] + box["height"] <= frame["y"] + frame["height"] + 2, box
        for axis in figure.locator(".svg-background g.axis").all():
            for one, other in itertools.combinations(boxes(axis.locator("text")), 2):
                assert overlap(one, other) < 2, (one, other)
    for text in explorer.root.locator(".widget-label, .widget-readout, .lw-status-text, .lw-caption").all():
        if text.is_visible():
            assert text.evaluate("(node) => node.scrollWidth <= node.clientWidth + 1"), text.inner_text()
    for canvas in explorer.root.locator(".lw-base").all():  # no ink on the border of a canvas: nothing is cut off
        pane = "map" if "map:" in canvas.get_attribute("aria-label") else "surface"
        alpha = explorer.picture(pane)[..., 3]
        for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
            assert (edge > 0.5).sum() == 0, pane


@pytest.mark.parametrize("width", [1300, 900])
def test_nothing_overlaps_or_is_cut_off(explorers: tuple[Explorer, Explorer], lab: Page, width: int):
    lab.set_viewport_size({"width": width, "height": 2000})
    for explorer in explorers:
        explorer.settle()
        assert_tidy(explorer)


def test_nothing_overlaps_in_a_window_of_420_pixels(explorers: tuple[Explorer, Explorer], lab: Page):
    lab.set_viewport_size({"width": 420, "height": 2600})
    lab.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    try:
        for explorer in explorers:
            explorer.settle()
            assert_tidy(explorer)
    finally:
        lab.set_viewport_size({"width": 1300, "height": 1700})
        lab.evaluate("() => window.jupyterapp.shell.expandLeft()")


def test_eighteen_surfaces_on_one_page_are_all_painted(lab_server: Server, browser: Browser):
    """Browsers take the 17th WebGL context away from the first; all of ours share one."""
    cells = [
        SMALL,
        "surfaces = [lw.SurfaceExplorer(objective, resolution=9, seed_x=2 * k, seed_y=2 * k + 1) for k in range(18)]",
        f"import ipywidgets\nviews = {VIEWS}\nfor one in views: one.layout.width = '400px'\n"
        "ipywidgets.HBox(views, layout=dict(flex_flow='row wrap'))",
    ]
    with notebook(lab_server, browser, "eighteen", cells, size=(1300, 2000)) as opened:
        assert ask_kernel(opened, "all(s.wait(60) for s in surfaces)")
        fields = opened.locator(".lw-height-field")
        opened.wait_for_function(
            "() => { const all = [...document.querySelectorAll('.lw-height-field')];"
            " return all.length === 18 && all.every((root) => root.dataset.final === 'true'); }"
        )
        opened.wait_for_timeout(300)
        colours = fields.evaluate_all(
            """(roots) => roots.map((root) => [...root.querySelectorAll('.lw-base')].map((canvas) => {
                const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
                const found = new Set();
                for (let k = 0; k < data.length; k += 4) {
                    const [r, g, b, a] = data.subarray(k, k + 4);
                    const vivid = a === 255 && Math.max(r, g, b) - Math.min(r, g, b) > 40;
                    if (vivid) found.add((r << 16) | (g << 8) | b);
                }
                return found.size;
            }))"""
        )
        assert len(colours) == 18
        assert all(len(panes) == 2 and min(panes) > 30 for panes in colours), colours
        assert console_errors(opened) == []
        assert not [text for _, text in opened.messages if "context" in text.lower()]


def test_height_fields_side_by_side_have_room(lab_server: Server, browser: Browser):
    """In a row of ipywidgets nothing but the picture itself asks for a width."""
    cells = [
        SMALL,
        "import ipywidgets\nsurfaces = [lw.SurfaceExplorer(objective, resolution=9, seed_y=k) for k in (1, 2)]",
        f"ipywidgets.HBox({VIEWS})",
    ]
    with notebook(lab_server, browser, "row", cells) as opened:
        opened.locator(".lw-height-field").nth(1).wait_for(state="attached")
        drawn(opened)
        widths = opened.locator(".lw-height-field").evaluate_all("(roots) => roots.map((root) => root.clientWidth)")
        assert len(widths) == 2
        assert min(widths) >= 240
