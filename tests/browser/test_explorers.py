"""Every slider of both explorers, by mouse and by keyboard: trait and picture follow, and the numbers are right."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from explorers import DIGITS, SETUP, Explorer, drawn, notebook, number, numbers_after, read_figure
from lab import Server, ask_kernel, canvas_pixels, console_errors, drag_slider
from playwright.sync_api import Browser, Locator, Page

CELLS = [
    SETUP + DIGITS,
    "curve = lw.CurveExplorer(objective, a, b)\ncurve",
    "surface = lw.SurfaceExplorer(objective)\nsurface",
]


@pytest.fixture(scope="module")
def lab(lab_server: Server, browser: Browser) -> Iterator[Page]:
    with notebook(lab_server, browser, "explorers", CELLS, size=(1300, 2000)) as page:
        yield page


@pytest.fixture(autouse=True)
def no_console_errors(lab: Page) -> Iterator[None]:
    lab.messages.clear()
    yield
    assert console_errors(lab) == []


@pytest.fixture
def curve(lab: Page) -> Explorer:
    explorer = Explorer(lab, "curve", 0)
    explorer.reset()
    return explorer


@pytest.fixture
def surface(lab: Page) -> Explorer:
    explorer = Explorer(lab, "surface", 1)
    explorer.reset()
    return explorer


# ------------------------------------------------------------------------------------------- the numbers


def assert_curve_agrees(curve: Explorer) -> None:
    """Lines, dots, caption, readout and status against the kernel's landscapes and barriers."""
    page = curve.page
    assert curve.status.get_attribute("data-phase") == "done", curve.status.inner_text()
    told = ask_kernel(
        page,
        """{split: dict(x=one.coords[0].tolist(), values={m: v.tolist() for m, v in one.values.items()},
        error=one.error, evaluations=one.evaluations, at=one.at(curve.alpha),
        measured=plain(curve.model_at(curve.alpha), data),
        barrier=[getattr(curve.barriers[split], part, None) for part in ("value", "alpha")])
        for (split, one), data in zip(curve.landscapes.items(), (objective, objective.test))}""",
    )
    sliders = ask_kernel(page, "dict(curve.study.values)")
    metric, log = sliders["metric"], sliders["log_height"]
    figure = read_figure(curve.root.locator(".bqplot"), log=log)
    for k, one in enumerate(told.values()):
        values = np.array(one["values"][metric])
        keep = np.isfinite(values) & ((values > 0) | (not log))
        expected = np.stack([np.array(one["x"])[keep], values[keep]], axis=1)
        span = np.ptp(expected, axis=0)
        assert figure.lines[k].shape == expected.shape
        assert np.all(np.abs(figure.lines[k] - expected) < 2e-3 * span + 2e-3 * np.abs(expected))
        dot = figure.dots[k - len(told)]  # the dots at alpha are drawn last
        assert dot == pytest.approx((sliders["alpha"], one["at"][metric]), rel=4e-3, abs=4e-3 * span[1])

    caption = curve.root.locator(".lwidgets-caption").inner_text()
    for split, one in told.items():
        value, alpha = one["barrier"]
        if value is None:
            assert f"{split}: " in caption  # why there is none
            continue
        words = re.search(rf"{split} (\S+) ± \S+ at alpha ([-−\d.]+)", caption)
        assert words, caption
        assert (number(words[1]), number(words[2])) == pytest.approx((value, alpha), rel=1e-3, abs=1e-9)

    text = curve.root.locator(".lw-words").inner_text()
    assert numbers_after(text, "alpha")[0] == pytest.approx(sliders["alpha"], rel=1e-2)
    for split, part in zip(told, text.partition("\n")[2].split(";"), strict=True):
        for name, measured in told[split]["measured"].items():
            shown = numbers_after(part, name)[0]
            assert shown == pytest.approx(measured, rel=1e-3, abs=1e-9)
            # What is measured lies near the curve: twice its estimate, and what a straight line between pixels adds.
            room = 2 * told[split]["error"][name] + 0.01 * np.ptp(told[split]["values"][name])
            assert abs(shown - told[split]["at"][name]) <= room

    status = curve.status.inner_text()
    for split, one in told.items():
        assert f"{split}: " in status
        assert (
            one["evaluations"] == sliders["resolution"]
            or f"{one['evaluations']:,} of {sliders['resolution']:,} evaluated" in status
        )
        assert one["error"][metric] == 0 or f"error ≤ {one['error'][metric]:.2g}" in status


def assert_surface_agrees(surface: Explorer) -> None:
    """Data attributes, caption and status against the kernel's landscape."""
    told = ask_kernel(
        surface.page,
        """(lambda one: dict(sliders=dict(surface.study.values), evaluations=one.evaluations, error=one.error,
        values={m: v.tolist() for m, v in one.values.items()}, x=one.coords[0].tolist()))(surface.landscape)""",
    )
    assert surface.status.get_attribute("data-phase") == "done", surface.status.inner_text()
    sliders, shown = told["sliders"], surface.shown()
    metric = sliders["metric"]
    values = np.float32(told["values"][metric])
    values = values[np.isfinite(values) & ((values > 0) | (not sliders["log_height"]))]
    assert np.float32(shown["min"]) == values.min()
    assert np.float32(shown["max"]) == values.max()
    assert shown["shape"] == "x".join([str(sliders["resolution"])] * 2)
    assert (shown["metric"], shown["colormap"]) == (metric, sliders["colormap"])
    assert (shown["log"], shown["final"]) == (str(sliders["log_height"]).lower(), "true")
    assert max(told["x"]) == pytest.approx(sliders["span"])

    caption = surface.root.locator(".lw-caption").inner_text()
    low = re.search(rf"{metric}(?: \(log scale\))? from (\S+) at \(.*?\) to (\S+)", caption)
    assert low, caption
    assert (number(low[1]), number(low[2])) == pytest.approx((values.min(), values.max()), rel=1e-3)
    total = sliders["resolution"] ** 2
    status, error = surface.status.inner_text(), told["error"][metric]
    everything = told["evaluations"] == total
    assert ("all" if everything else f"{told['evaluations']:,} of") + f" {total:,} evaluated" in status
    assert error == 0 or f"error ≤ {error:.2g}" in status
    assert ("all" if everything else f"{told['evaluations']:,} of") + f" {total:,} points measured" in caption


# ------------------------------------------------------------------------------------------- by mouse


def choose(option: str) -> Callable[[Locator], None]:
    return lambda control: control.locator("select").select_option(option)


def enter(text: str) -> Callable[[Locator], None]:
    def type_it(control: Locator) -> None:
        control.locator("input").fill(text)
        control.locator("input").press("Enter")

    return type_it


def drag(to: float) -> Callable[[Locator], None]:
    return lambda control: drag_slider(control, to)


def tick(control: Locator) -> None:
    control.locator("input").check()


def shown_value(control: Locator) -> Any:
    """What the control itself says."""
    for part, read in (
        (".noUi-handle", lambda handles: [float(h.get_attribute("aria-valuetext")) for h in handles.all()]),
        ("select", lambda select: select.input_value()),
        ("input[type=checkbox]", lambda box: box.is_checked()),
        ("input[type=number]", lambda box: float(box.input_value())),
    ):
        if control.locator(part).count():
            value = read(control.locator(part))
            return value[0] if isinstance(value, list) and len(value) == 1 else value
    raise AssertionError("a control of no known kind")


@dataclass(frozen=True)
class Move:
    slider: str
    hand: Callable[[Locator], None]
    value: Any = None  # expected, where it does not depend on a pixel


CURVE_MOVES = [
    Move("alpha", drag(0.25)),
    Move("span", drag(0.1)),
    Move("resolution", drag(0.5)),
    Move("metric", choose("error"), "error"),
    Move("barrier", choose("mean"), "mean"),
    Move("tolerance", enter("0.05"), 0.05),
    Move("log_height", tick, True),
]
SURFACE_MOVES = [
    Move("seed_x", drag(0.4)),
    Move("seed_y", drag(0.6)),
    Move("span", drag(0.1)),
    Move("resolution", drag(0.1)),
    Move("normalize", choose("layer"), "layer"),
    Move("metric", choose("error"), "error"),
    Move("colormap", choose("magma"), "magma"),
    Move("tolerance", enter("0.001"), 0.001),
    Move("envelope", drag(0.25)),
    Move("log_height", tick, True),
    Move("show_points", tick, True),
]


def follow(explorer: Explorer, move: Move) -> None:
    """Move, and see the trait in the kernel come to what the control shows."""
    before = explorer.ask(move.slider)
    control = explorer.control(move.slider)
    move.hand(control)
    value = explorer.wait_for(move.slider, lambda found: found == shown_value(control) != before)
    assert value != before
    assert move.value is None or value == move.value
    explorer.page.mouse.move(2, 2)
    explorer.settle()
    assert explorer.ask(move.slider) == value == shown_value(control)


def test_every_slider_is_moved_below(curve: Explorer, surface: Explorer):
    for explorer, moves in ((curve, CURVE_MOVES), (surface, SURFACE_MOVES)):
        assert set(explorer.ask("study.values.copy()")) == {m.slider for m in moves}


@pytest.mark.parametrize("move", CURVE_MOVES, ids=lambda move: move.slider)
def test_curve_follows_the_mouse(curve: Explorer, move: Move):
    figure = curve.root.locator(".bqplot")
    before = canvas_pixels(figure)
    follow(curve, move)
    assert not np.array_equal(before, canvas_pixels(figure))
    assert_curve_agrees(curve)


@pytest.mark.parametrize("move", SURFACE_MOVES, ids=lambda move: move.slider)
def test_surface_follows_the_mouse(surface: Explorer, move: Move):
    before = {kind: surface.picture(kind) for kind in ("map", "surface")}
    follow(surface, move)
    assert_surface_agrees(surface)
    if move.slider == "envelope":
        assert_envelope_agrees(surface)
        return
    for kind, picture in before.items():
        assert not np.array_equal(picture, surface.picture(kind)), kind


def assert_envelope_agrees(surface: Explorer) -> None:
    """One gray line a direction, whose ends the caption sums up."""
    count = surface.ask("envelope")
    assert count > 1
    figure = surface.root.locator(".bqplot")
    figure.wait_for()
    drawn(surface.page)
    lines = read_figure(figure).lines[:count]
    told = ask_kernel(surface.page, "[one.values[surface.metric].tolist() for one in surface.latest('directions')]")
    assert len(told) == count
    for line, values in zip(lines, told, strict=True):
        assert np.allclose(line[:, 1], values, atol=3e-3 * np.ptp(told))
    caption = surface.root.locator(".lwidgets-caption").inner_text()
    ends = np.array(told)[:, [0, -1]]
    assert f"along {count} random directions" in caption
    assert f"between {ends.min():.3g} and {ends.max():.3g}, median {np.median(ends):.3g}" in caption


def test_moving_back_shows_the_same_picture_again(surface: Explorer):
    before = surface.picture()
    follow(surface, Move("seed_x", drag(0.4)))
    assert not np.array_equal(before, surface.picture())
    surface.set(seed_x=0)
    assert np.array_equal(before, surface.picture())


def test_a_drag_ends_at_its_last_value(surface: Explorer):
    drag_slider(surface.control("seed_x"), 0.8, steps=20)
    drag_slider(surface.control("seed_x"), 0.3, steps=20)
    value = shown_value(surface.control("seed_x"))
    surface.wait_for("seed_x", lambda found: found == value)
    surface.settle()
    assert_surface_agrees(surface)
    label = ask_kernel(surface.page, "surface.landscape.labels[0]")
    assert f"seed {value:g}," in label


def test_alpha_stays_within_a_narrower_span(curve: Explorer):
    curve.set(alpha=0.9)
    curve.set(span=[0.0, 0.5])
    assert curve.ask("alpha") == shown_value(curve.control("alpha")) == 0.5
    assert_curve_agrees(curve)


# ------------------------------------------------------------------------------------------- by keyboard

HANDLES = [
    *[("curve", slider, end) for slider, end in (("alpha", 0), ("span", 0), ("span", 1), ("resolution", 0))],
    *[("surface", slider, 0) for slider in ("seed_x", "seed_y", "span", "resolution", "envelope")],
]


def command_mode(page: Page) -> int:
    """Press Escape in the first cell, which is where arrow keys belong to Lab; return the active cell's number."""
    page.locator(".jp-InputPrompt").first.click()
    page.keyboard.press("Escape")
    page.locator(".jp-Notebook.jp-mod-commandMode").wait_for()
    return active_cell(page)


def active_cell(page: Page) -> int:
    return page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex")


@pytest.mark.parametrize(("name", "slider", "end"), HANDLES)
def test_arrow_keys_move_the_handle_and_not_the_notebook(request, lab, name, slider, end):
    explorer: Explorer = request.getfixturevalue(name)
    command_mode(lab)
    handle = explorer.handle(slider, end)
    handle.focus()
    cell = active_cell(lab)
    one_of = (lambda value: value[end]) if isinstance(explorer.ask(slider), list) else (lambda value: value)
    before = one_of(explorer.ask(slider))
    step = ask_kernel(lab, f"{name}.controls[{slider!r}].step")
    for key, steps in (("ArrowRight", 1), ("ArrowUp", 2), ("ArrowLeft", 1), ("ArrowDown", 0), ("ArrowRight", 1)):
        handle.press(key)
        wanted = pytest.approx(before + steps * step)
        explorer.wait_for(slider, lambda value, wanted=wanted: one_of(value) == wanted)
    explorer.settle()
    assert float(handle.get_attribute("aria-valuetext")) == pytest.approx(before + step)
    assert active_cell(lab) == cell
    (assert_curve_agrees if name == "curve" else assert_surface_agrees)(explorer)


@pytest.mark.parametrize(
    ("name", "slider", "key", "value"),
    [
        ("curve", "metric", "ArrowDown", "error"),
        ("curve", "barrier", "ArrowDown", "mean"),
        ("curve", "log_height", "Space", True),
        ("surface", "normalize", "ArrowDown", None),
        ("surface", "metric", "ArrowDown", "error"),
        ("surface", "colormap", "ArrowDown", "cividis"),
        ("surface", "log_height", "Space", True),
        ("surface", "show_points", "Space", True),
    ],
)
def test_keys_change_choices_and_boxes(request, lab, name, slider, key, value):
    explorer: Explorer = request.getfixturevalue(name)
    command_mode(lab)
    before = explorer.ask(slider)
    box = explorer.control(slider).locator("select, input")
    box.focus()
    box.press(key)
    found = explorer.wait_for(slider, lambda found: found != before)
    assert value is None or found == value
    explorer.settle()
    assert shown_value(explorer.control(slider)) == found
    (assert_curve_agrees if name == "curve" else assert_surface_agrees)(explorer)


@pytest.mark.parametrize("name", ["curve", "surface"])
def test_tab_goes_through_every_control_in_order(request, lab, name):
    explorer: Explorer = request.getfixturevalue(name)
    command_mode(lab)
    sliders = ask_kernel(lab, f"list({name}.study.sliders)")
    explorer.control(sliders[0]).locator(".noUi-handle").first.focus()
    met = []
    for _ in range(30):
        where = lab.evaluate(
            """() => {
                const at = document.activeElement;
                const control = at.closest('.jupyter-widgets[class*="lwidgets-"]');
                const name = [...(control?.classList ?? [])].find((c) => c.startsWith('lwidgets-'));
                return name && !at.isContentEditable && name !== 'lwidgets-explorer' ? name.slice(9) : null;
            }"""
        )
        if where and where not in met:
            met.append(where)
        if len(met) == len(sliders):
            break
        lab.keyboard.press("Tab")
    assert met == [slider.replace("_", "-") for slider in sliders]


@pytest.mark.parametrize("name", ["curve", "surface"])
def test_every_control_and_picture_has_a_name(request, lab, name):
    explorer: Explorer = request.getfixturevalue(name)
    for handle in explorer.root.locator(".noUi-handle").all():
        assert handle.get_attribute("aria-label")
    for canvas in explorer.root.locator("canvas.lw-base, canvas.lw-overlay").all():
        assert canvas.get_attribute("aria-label")
    if name == "curve":  # the sentence below the figure is also what it is called
        words = explorer.root.locator(".lwidgets-caption").inner_text()
        assert words in (explorer.root.locator(".bqplot svg[role=img]").get_attribute("aria-label") or "")
