"""Pointing at the height field: hover, pin, turn, zoom; by mouse, by keyboard, and from Python."""

import re
import time
from collections.abc import Iterator

import numpy as np
import pytest
from explorers import DIGITS, SETUP, Explorer, drawn, notebook, number
from lab import Server, ask_kernel, console_errors, wait_for_kernel
from playwright.sync_api import Browser, Page, expect

# Every pixel is measured, so what is shown there is what the plain model gives.
CAMERA = "surface.study.held['surface_picture']['camera']"
CELLS = [SETUP + DIGITS, "surface = lw.SurfaceExplorer(objective, resolution=17, tolerance=0.0)\nsurface"]


@pytest.fixture(scope="module")
def lab(lab_server: Server, browser: Browser) -> Iterator[Page]:
    with notebook(lab_server, browser, "pictures", CELLS, size=(1300, 1100)) as page:
        wait_for_pointer(Explorer(page, "surface"))
        yield page


def wait_for_pointer(surface: Explorer, seconds: float = 60) -> None:
    """Until the picture answers the mouse: a page that has just opened may still lay out what is above it."""
    end = time.monotonic() + seconds
    while True:
        surface.page.mouse.move(2, 2)
        try:
            hover(surface, "map", 0.5, 0.5)
            break
        except AssertionError:
            if time.monotonic() > end:
                raise
            surface.page.wait_for_timeout(300)


@pytest.fixture
def surface(lab: Page) -> Iterator[Explorer]:
    explorer = Explorer(lab, "surface")
    lab.messages.clear()
    lab.mouse.move(2, 2)
    for kind in ("map", "surface"):
        explorer.pane(kind).focus()
        lab.keyboard.press("0")
    ask_kernel(lab, "setattr(surface, 'point', None)")
    explorer.set(resolution=17, tolerance=0.0)
    yield explorer
    assert console_errors(lab) == []


def read(text: str) -> tuple[tuple[float, float], dict[str, float]]:
    """Coordinates and metrics of a readout."""
    where = re.findall(r"= ([-−]?[\d.e]+)", text)
    metrics = re.findall(r"(loss|error) ([-−]?[\d.]+(?:e[-−+]?\d+)?)", text)
    assert len(where) == 2, text
    return (number(where[0]), number(where[1])), {name: number(value) for name, value in metrics}


def at(page: Page, point: tuple[float, float]) -> dict[str, float]:
    """The metrics at the grid point that is shown, in a few digits, as ``point``."""
    return ask_kernel(
        page, f"(lambda l: l.at([c[i] for c, i in zip(l.coords, l.pixel({point!r}))]))(surface.landscape)"
    )


def hover(surface: Explorer, kind: str, across: float, down: float) -> str:
    box = surface.pane(kind).bounding_box()
    x, y = box["x"] + across * box["width"], box["y"] + down * box["height"]
    surface.page.mouse.move(x, y)
    drawn(surface.page)
    text = surface.readout.inner_text()
    if not text.startswith("x "):  # say what the pointer met instead of the picture
        met = surface.page.evaluate("([x, y]) => document.elementFromPoint(x, y)?.outerHTML.slice(0, 300)", [x, y])
        raise AssertionError(f"nothing is read at ({x:.0f}, {y:.0f}) of {box}: {text!r}; the pointer is over {met}")
    return text


@pytest.mark.parametrize("kind", ["map", "surface"])
def test_the_readout_is_the_landscape_there(surface: Explorer, kind: str):
    met = set()
    for across, down in ((0.5, 0.45), (0.45, 0.5), (0.6, 0.5), (0.55, 0.6), (0.7, 0.55)):
        text = hover(surface, kind, across, down)
        point, metrics = read(text)
        met.add(point)
        assert "measured" in text
        for name, value in at(surface.page, point).items():
            assert metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-9)
    assert len(met) >= 4


def test_interpolated_values_say_so_and_how_wrong_they_can_be(surface: Explorer):
    surface.set(resolution=65, tolerance=0.01)
    texts = [hover(surface, "map", across, 0.4) for across in np.linspace(0.3, 0.7, 12)]
    interpolated = [text for text in texts if "interpolated, within" in text]
    assert interpolated
    for text in interpolated:
        point, metrics = read(text)
        for name, value in at(surface.page, point).items():
            assert metrics[name] == pytest.approx(value, rel=1e-3, abs=1e-6)
        error = number(re.search(r"within ([\d.e−-]+)", text)[1])
        assert error == pytest.approx(surface.ask("landscape.error['loss']"), rel=0.06)


def test_map_coordinates_run_right_and_up(surface: Explorer):
    row = [read(hover(surface, "map", across, 0.5))[0] for across in np.linspace(0.3, 0.9, 7)]
    column = [read(hover(surface, "map", 0.6, down))[0] for down in np.linspace(0.1, 0.8, 7)]
    assert [x for x, _ in row] == sorted({x for x, _ in row})
    assert [y for _, y in column] == sorted({y for _, y in column}, reverse=True)
    assert len({y for _, y in row}) == len({x for x, _ in column}) == 1


def test_the_brightest_pixel_of_the_map_is_the_largest_value(surface: Explorer):
    red, green, blue, alpha = np.moveaxis(surface.picture("map"), -1, 0)
    bright = np.where(alpha == 1, red + green - blue, 0)  # 1.7 at the bright end of viridis, 0 at the dark one
    assert bright.max() > 1.3
    yellow = bright > bright.max() - 0.05
    rows, columns = np.nonzero(yellow)
    y, x = np.median(rows) / yellow.shape[0], np.median(columns) / yellow.shape[1]
    _, metrics = read(hover(surface, "map", x, y))
    assert metrics["loss"] > 0.8 * float(surface.shown()["max"])


def test_a_click_pins_and_the_model_there_has_the_value_shown(surface: Explorer):
    box = surface.pane("map").bounding_box()
    surface.page.mouse.click(box["x"] + 0.7 * box["width"], box["y"] + 0.3 * box["height"])
    point = wait_for_kernel(surface.page, "surface.point")
    surface.page.mouse.move(2, 2)
    expect(surface.readout).to_contain_text("pinned")
    shown, metrics = read(surface.readout.inner_text())
    assert shown == pytest.approx(point, abs=1e-4)
    plain = ask_kernel(surface.page, "plain(surface.model_at(surface.point), objective)")
    for name, value in plain.items():
        assert metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-9)


def test_a_point_set_from_python_shows_and_goes(surface: Explorer):
    ask_kernel(surface.page, "setattr(surface, 'point', (0.5, -0.25))")
    expect(surface.readout).to_contain_text("pinned")
    shown, metrics = read(surface.readout.inner_text())
    assert shown == (0.5, -0.25)
    assert metrics["loss"] == pytest.approx(at(surface.page, shown)["loss"], rel=1e-4)
    ask_kernel(surface.page, "setattr(surface, 'point', None)")
    expect(surface.readout).not_to_contain_text("pinned")


def magenta(picture: np.ndarray) -> np.ndarray:
    """Places (across, up) of what is magenta, as shares of the picture of a pane."""
    red, green, blue, alpha = np.moveaxis(picture, -1, 0)
    rows, columns = np.nonzero((red > 0.88) & (green < 0.25) & (blue > 0.88) & (alpha == 1))
    return np.stack([columns / picture.shape[1], 1 - rows / picture.shape[0]], axis=1)


def test_paths_set_from_python_are_drawn_named_and_gone(surface: Explorer):
    page = surface.page
    before = {kind: surface.picture(kind) for kind in ("map", "surface")}
    shown = "surface.panels.show('surface_picture', {})"
    picture = "surface.study.pictures['surface_picture']"
    way = "lw.Path(np.linspace(-0.5, 9.5, 21), np.linspace(-0.5, 9.5, 21), 'the way out', '#ff00ff', dashed=True)"
    ask_kernel(page, shown.format(f"__import__('dataclasses').replace({picture}, paths={way})"))
    legend = surface.root.locator(".lw-paths")
    expect(legend).to_have_text("the way out")
    drawn(page)
    across, up = magenta(surface.picture("map")).T
    # On the readout's own word about where its ends are: it began at (-0.5, -0.5), and left by a corner.
    corners = []
    for k in (across.argmin(), across.argmax()):
        found, _ = read(hover(surface, "map", across[k], 1 - up[k]))
        corners.append(found)
    assert np.abs(np.subtract(corners, [(-0.5, -0.5), (1, 1)])).max() <= 2 / 16
    assert np.ptp(across) > 0.3
    assert len(magenta(surface.picture("surface"))) > 50
    for kind in ("map", "surface"):
        label = surface.root.locator(f".lw-{kind} .lw-base").get_attribute("aria-label")
        assert label.endswith("path: the way out")
    ask_kernel(page, shown.format(picture))
    expect(legend).to_be_hidden()
    page.mouse.move(2, 2)
    for kind, picture in before.items():
        wait_until_same(surface, kind, picture)


def test_dragging_turns_the_surface_and_a_double_click_turns_it_back(surface: Explorer):
    before, page = surface.picture("surface"), surface.page
    camera = ask_kernel(page, CAMERA)
    box = surface.pane("surface").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y - 40, steps=6)
    page.mouse.up()
    turned = wait_for_kernel(page, CAMERA, lambda found: found != camera)
    assert turned["zoom"] == camera["zoom"]
    assert abs(turned["yaw"] - camera["yaw"]) > 0.5
    assert abs(turned["pitch"] - camera["pitch"]) > 0.1
    assert np.mean(before != surface.picture("surface")) > 0.05
    assert ask_kernel(page, "surface.point") is None  # a drag is not a click

    page.mouse.dblclick(x, y)
    wait_for_kernel(page, CAMERA, lambda found: found == camera)
    page.keyboard.press("Escape")
    wait_until_same(surface, "surface", before)


def wait_until_same(surface: Explorer, kind: str, picture: np.ndarray, seconds: float = 3) -> None:
    """Software GL draws a picture that has come to rest again, better; so give it that time."""
    for _ in range(int(seconds / 0.1)):
        if np.array_equal(picture, surface.picture(kind)):
            return
        surface.page.wait_for_timeout(100)
    assert np.mean(np.abs(picture - surface.picture(kind))) < 1e-6, "the picture must be as before"


@pytest.mark.parametrize("kind", ["map", "surface"])
def test_ctrl_and_wheel_zoom_and_zero_shows_everything(surface: Explorer, kind: str):
    page = surface.page
    page.wait_for_timeout(300)
    before = surface.picture(kind)
    hover(surface, kind, 0.6, 0.4)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    drawn(page)
    assert np.mean(before != surface.picture(kind)) > 0.02
    expect(surface.root.locator(f".lw-{kind} .lw-reset")).to_be_visible()
    surface.pane(kind).focus()
    page.keyboard.press("0")
    wait_until_same(surface, kind, before)


@pytest.mark.parametrize("kind", ["map", "surface"])
def test_plus_and_minus_zoom(surface: Explorer, kind: str):
    page = surface.page
    page.wait_for_timeout(300)
    before = surface.picture(kind)
    surface.pane(kind).focus()
    page.keyboard.press("+")
    drawn(page)
    assert np.mean(before != surface.picture(kind)) > 0.02
    page.keyboard.press("-")
    wait_until_same(surface, kind, before)


def test_the_wheel_alone_scrolls_the_page_and_says_how_to_zoom(surface: Explorer):
    surface.page.locator(".jp-InputPrompt").first.click()
    before = surface.picture("map")
    hover(surface, "map", 0.5, 0.5)
    surface.page.mouse.wheel(0, -50)
    expect(surface.root.locator(".lw-map .lw-hint.lw-on")).to_be_visible()
    assert np.array_equal(before, surface.picture("map"))


def test_by_keyboard_alone(surface: Explorer):
    """Tab from the last slider to the map, walk, pin, unpin, and on to the surface."""
    page = surface.page
    last = ask_kernel(page, "list(surface.study.sliders)[-1]")
    surface.control(last).locator(".noUi-handle, select, input").first.focus()
    for _ in range(2):  # a slider's number can be edited, and so has a place of its own
        page.keyboard.press("Tab")
    expect(surface.pane("map")).to_be_focused()
    cell = page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex")

    page.keyboard.press("ArrowRight")
    drawn(page)
    start, _ = read(surface.readout.inner_text())
    step = 2 / 16
    for key, move in (("ArrowRight", (1, 0)), ("ArrowUp", (0, 1)), ("ArrowLeft", (-1, 0)), ("ArrowDown", (0, -1))):
        page.keyboard.press(key)
        drawn(page)
        point, metrics = read(surface.readout.inner_text())
        assert point == pytest.approx((start[0] + move[0] * step, start[1] + move[1] * step), abs=1e-3)
        assert metrics["loss"] == pytest.approx(at(page, point)["loss"], rel=1e-4)
        start = point
    page.keyboard.press("Shift+ArrowRight")
    drawn(page)
    point, _ = read(surface.readout.inner_text())
    assert point[0] == pytest.approx(start[0] + 5 * step, abs=1e-3)

    page.keyboard.press("Enter")
    pinned = wait_for_kernel(page, "surface.point")
    assert pinned == pytest.approx(point, abs=1e-4)
    page.keyboard.press("Escape")
    wait_for_kernel(page, "surface.point", lambda found: found is None)

    assert page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex") == cell
    page.keyboard.press("Tab")
    expect(surface.pane("surface")).to_be_focused()
    before = surface.picture("surface")
    page.keyboard.press("ArrowLeft")
    drawn(page)
    assert not np.array_equal(before, surface.picture("surface"))
    wait_for_kernel(page, f"{CAMERA}['yaw']", lambda yaw: abs(yaw - 0.7) > 0.05)
