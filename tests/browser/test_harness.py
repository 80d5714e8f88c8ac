"""The harness itself: a plain slider, moved by hand, and the kernel behind it."""

import numpy as np
import pytest
from lab import (
    ask_kernel,
    canvas_pixels,
    console_errors,
    drag_slider,
    open_and_run,
    press_slider,
    wait_for_kernel,
    write_notebook,
)

CELL = "import ipywidgets\nslider = ipywidgets.IntSlider(value=50, min=0, max=100)\nslider"
# Notebook 7 keeps the arrow keys of plain ipywidgets sliders for itself. noUiSlider's PageUp is five steps.
KEYS = {"lab_server": ("ArrowRight", 51), "notebook_server": ("PageUp", 55)}


@pytest.mark.parametrize("fixture", KEYS)
def test_slider_moved_by_key_and_by_mouse_reaches_the_kernel(fixture, request, page):
    server = request.getfixturevalue(fixture)
    write_notebook(server.root / "slider.ipynb", [CELL])
    open_and_run(page, server, "slider.ipynb")
    slider = page.locator(".widget-slider")
    assert ask_kernel(page, "slider.value") == 50
    before = canvas_pixels(slider)

    key, value = KEYS[fixture]
    press_slider(slider, key)
    wait_for_kernel(page, "slider.value", lambda found: found == value)

    drag_slider(slider, to=0.25)
    wait_for_kernel(page, "slider.value", lambda found: found == 25)
    assert slider.locator(".widget-readout").inner_text() == "25"
    assert not np.array_equal(before, canvas_pixels(slider))
    assert console_errors(page) == []


def test_a_failing_cell_is_reported_with_its_traceback(lab_server, page):
    write_notebook(lab_server.root / "fails.ipynb", ["print('so far')", "1 / 0"])
    with pytest.raises(RuntimeError, match=r"(?s)error in cell 1.*so far.*ZeroDivisionError"):
        open_and_run(page, lab_server, "fails.ipynb")


def test_an_expression_that_fails_is_reported_by_name(lab_server, page):
    write_notebook(lab_server.root / "ask.ipynb", ["pass"])
    open_and_run(page, lab_server, "ask.ipynb")
    with pytest.raises(RuntimeError, match=r"nothing_here.*NameError"):
        ask_kernel(page, "nothing_here")
