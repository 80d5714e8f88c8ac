"""The same explorers in Notebook 7, which keeps the arrow keys of plain ipywidgets sliders to itself."""

from collections.abc import Iterator

import numpy as np
import pytest
from explorers import DIGITS, SETUP, Explorer, notebook, read_figure
from lab import Server, ask_kernel, console_errors, drag_slider
from playwright.sync_api import Browser, Page, expect

CELLS = [
    SETUP + DIGITS,
    "curve = lw.CurveExplorer(objective, a, b)\ncurve",
    "surface = lw.SurfaceExplorer(objective, seed_y=50, resolution=33)\nsurface",
]
HANDLES = [
    *[("curve", 0, slider, end) for slider, end in (("alpha", 0), ("span", 0), ("span", 1), ("resolution", 0))],
    *[("surface", 1, slider, 0) for slider in ("seed_x", "seed_y", "span", "resolution", "envelope")],
]


@pytest.fixture(scope="module")
def notebook7(notebook_server: Server, browser: Browser) -> Iterator[Page]:
    with notebook(notebook_server, browser, "explorers", CELLS, size=(1300, 2000)) as page:
        yield page


@pytest.fixture(autouse=True)
def no_console_errors(notebook7: Page) -> Iterator[None]:
    notebook7.messages.clear()
    yield
    assert console_errors(notebook7) == []


def test_both_are_drawn_and_their_numbers_agree(notebook7: Page):
    curve, surface = Explorer(notebook7, "curve", 0), Explorer(notebook7, "surface", 1)
    curve.settle()
    surface.settle()
    values = np.float32(ask_kernel(notebook7, "surface.landscape.values['loss'].tolist()"))
    shown = surface.shown()
    assert (np.float32(shown["min"]), np.float32(shown["max"])) == (values.min(), values.max())
    line = read_figure(curve.root.locator(".bqplot")).lines[0]
    values = np.array(ask_kernel(notebook7, "curve.landscape.values['loss'].tolist()"))
    assert np.allclose(line[:, 1], values, atol=2e-3 * np.ptp(values))
    for kind in ("map", "surface"):
        assert len(np.unique(surface.picture(kind).reshape(-1, 4), axis=0)) > 100


@pytest.mark.parametrize(("name", "nth", "slider", "end"), HANDLES)
def test_arrow_keys_move_every_handle(notebook7: Page, name: str, nth: int, slider: str, end: int):
    explorer = Explorer(notebook7, name, nth)
    pair = isinstance(explorer.ask(slider), list)
    step = ask_kernel(notebook7, f"{name}.controls[{slider!r}].step")
    before = explorer.ask(slider)[end] if pair else explorer.ask(slider)
    for key, steps in (("ArrowRight", 1), ("ArrowUp", 2), ("ArrowLeft", 1)):
        explorer.handle(slider, end).press(key)
        wanted = pytest.approx(before + steps * step)
        explorer.wait_for(slider, lambda value, wanted=wanted: (value[end] if pair else value) == wanted)


def test_the_mouse_moves_a_slider_and_the_picture(notebook7: Page):
    surface = Explorer(notebook7, "surface", 1)
    surface.settle()
    before = surface.picture()
    drag_slider(surface.control("seed_x"), 0.3)
    notebook7.mouse.move(2, 2)
    surface.wait_for("seed_x", lambda seed: seed > 10)
    surface.settle()
    assert not np.array_equal(before, surface.picture())


def test_arrow_keys_walk_over_the_map(notebook7: Page):
    surface = Explorer(notebook7, "surface", 1)
    surface.settle()
    surface.pane("map").focus()
    notebook7.keyboard.press("ArrowRight")
    expect(surface.readout).to_contain_text("loss")
    first = surface.readout.inner_text()
    notebook7.keyboard.press("ArrowUp")
    expect(surface.readout).not_to_have_text(first)
    notebook7.keyboard.press("Enter")
    surface.wait_for("point")
    notebook7.keyboard.press("Escape")
    surface.wait_for("point", lambda point: point is None)
