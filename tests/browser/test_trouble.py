"""What goes wrong is said where it happened, and the last good picture stays."""

from collections.abc import Iterator

import numpy as np
import pytest
from explorers import SETUP, Explorer, drawn, notebook
from lab import Server, ask_kernel, console_errors, wait_for_kernel
from playwright.sync_api import Browser, Page, expect

# Small and quick; what the loss does beside its work is decided here, while the notebook runs.
CELLS = [
    SETUP
    + """
import time
images, labels = lw.demo.digits_data()
images, labels = images[:200], labels[:200]
model = lw.demo.train_mlp(images, labels, (16,), seed=0, steps=40)
mood = {"limit": float("inf"), "sleep": 0.0, "blank": float("inf")}

def loss(output, target):
    time.sleep(mood["sleep"])
    size = output.abs().max().item()
    if size > mood["limit"]:
        raise ArithmeticError(f"outputs <b>{size:.0f}</b> are too large for my taste")
    return F.cross_entropy(output, target) if size < mood["blank"] else output.sum() * float("nan")

objective = lw.Objective(model, (images, labels), loss=loss)
""",
    "surface = lw.SurfaceExplorer(objective, span=0.5, resolution=17)\nsurface",
]


@pytest.fixture(scope="module")
def lab(lab_server: Server, browser: Browser) -> Iterator[Page]:
    with notebook(lab_server, browser, "trouble", CELLS, size=(1300, 1000)) as page:
        yield page


@pytest.fixture
def surface(lab: Page) -> Iterator[Explorer]:
    lab.messages.clear()
    ask_kernel(lab, "mood.update(limit=float('inf'), sleep=0.0, blank=float('inf'))")
    explorer = Explorer(lab, "surface")
    explorer.set(seed_x=0, span=0.5, resolution=17, tolerance=0.01)
    yield explorer
    assert console_errors(lab) == []


def press(explorer: Explorer, slider: str, key: str = "ArrowRight", times: int = 1) -> None:
    for _ in range(times):
        explorer.handle(slider).press(key)


def test_an_exception_shows_its_own_words_and_the_last_picture(surface: Explorer):
    before, shown = surface.picture(), surface.shown()
    limit = ask_kernel(surface.page, "model(images).abs().max().item() * 1.5")
    ask_kernel(surface.page, f"mood.update(limit={limit!r})")
    press(surface, "span", "End")
    alert = surface.status.locator("[role=alert]")
    expect(alert).to_be_visible()
    expect(alert).to_contain_text("ArithmeticError: outputs <b>")
    expect(alert).to_contain_text("are too large for my taste")
    expect(alert).to_contain_text("surface")  # where
    assert alert.locator("pre b").count() == 0  # text, never markup
    assert surface.status.get_attribute("data-phase") == "failed"
    assert ask_kernel(surface.page, "[surface.wait(30), surface.span]") == [True, 3.0]
    drawn(surface.page)
    assert np.array_equal(before, surface.picture())
    assert surface.shown() == shown
    told = "[type(surface.study.error).__name__, float(surface.study['surface'].coords[0].max())]"
    assert ask_kernel(surface.page, told) == ["ArithmeticError", 0.5]  # the last good one is what is shown


def test_moving_back_recovers(surface: Explorer):
    before = surface.picture()
    limit = ask_kernel(surface.page, "model(images).abs().max().item() * 1.5")
    ask_kernel(surface.page, f"mood.update(limit={limit!r})")
    press(surface, "span", "End")
    expect(surface.status.locator("[role=alert]")).to_be_visible()
    ask_kernel(surface.page, "mood.update(limit=float('inf'))")
    press(surface, "span", "ArrowLeft")
    surface.wait_for("span", lambda span: span == pytest.approx(2.95))
    surface.settle()
    expect(surface.status.locator("[role=alert]")).to_be_hidden()
    assert surface.status.get_attribute("data-phase") == "done"
    assert not np.array_equal(before, surface.picture())
    surface.set(span=0.5)
    assert np.array_equal(before, surface.picture())


def test_values_that_are_not_finite_are_hatched_and_counted(surface: Explorer):
    ask_kernel(surface.page, "mood.update(blank=model(images).abs().max().item() * 1.5)")
    surface.set(span=2.0, tolerance=0.0)
    count = ask_kernel(surface.page, "surface.landscape.nonfinite")
    assert 0 < count < 17 * 17
    caption = surface.root.locator(".lw-caption").inner_text()
    assert f"{count} of 289 values {'is' if count == 1 else 'are'} not finite" in caption
    expect(surface.root.locator(".lw-key-masked")).to_be_visible()
    values = np.float32(ask_kernel(surface.page, "surface.landscape.values['loss'].tolist()"))
    shown = surface.shown()
    assert (np.float32(shown["min"]), np.float32(shown["max"])) == (np.nanmin(values), np.nanmax(values))

    # The share of gray in the map is about the share of blank pixels; colours of viridis are never gray.
    picture = surface.picture()
    height, width = picture.shape[:2]
    inside = picture[30 : height - 60, 90 : width - 30, :3]
    gray = np.ptp(inside, axis=-1) < 0.05
    assert 0 < gray.mean() < 1
    for row in surface.root.locator(".lw-checks li").all():
        if "finite" in row.text_content():
            assert row.get_attribute("data-state") == "warn"
            assert f"{count} of 289" in row.text_content()
            break
    else:
        raise AssertionError("no check speaks of finite values")


def test_the_stop_button_stops_within_a_second_and_keeps_the_picture(surface: Explorer):
    ask_kernel(surface.page, "mood.update(sleep=0.05)")  # 9 points are shown after half a second, 289 would take 15
    press(surface, "seed_x", "ArrowRight", times=7)
    stop = surface.status.get_by_role("button", name="Stop")
    expect(stop).to_be_enabled()
    surface.page.wait_for_function(
        "() => document.querySelector('.lw-height-field').dataset.final === 'false'", timeout=20_000
    )
    expect(stop).to_be_enabled()
    stop.click()
    expect(surface.status).to_have_attribute("data-phase", "stopped", timeout=1_000)
    expect(stop).to_be_disabled()
    drawn(surface.page)
    shown, picture = surface.shown(), surface.picture()
    surface.page.wait_for_timeout(300)
    assert surface.shown() == shown
    assert np.array_equal(picture, surface.picture())
    assert "Stopped" in surface.status.inner_text()

    ask_kernel(surface.page, "mood.update(sleep=0.0)")  # and it starts again with the next move
    press(surface, "seed_x")
    surface.wait_for("seed_x", lambda seed: seed == 8)
    surface.settle()
    assert surface.shown()["final"] == "true"


def test_a_slow_surface_is_shown_coarse_first(surface: Explorer):
    ask_kernel(surface.page, "mood.update(sleep=0.02)")
    before = int(surface.shown()["tag"])
    press(surface, "seed_x", times=3)
    surface.wait_for("seed_x", lambda seed: seed == 3)
    surface.page.wait_for_function(
        """(before) => {
            const { tag, final } = document.querySelector('.lw-height-field').dataset;
            return +tag > before && final === 'false';
        }""",
        arg=before,
    )
    expect(surface.root.locator(".lw-refining")).to_be_visible()
    surface.settle()
    expect(surface.root.locator(".lw-refining")).to_have_count(0)


def test_a_stale_computation_does_not_keep_the_new_one_waiting(surface: Explorer):
    """One evaluation step is 50 ms here; a move while a 15 s surface runs must not wait for it."""
    ask_kernel(surface.page, "mood.update(sleep=0.05)")
    surface.page.evaluate("() => { window.frames_ = []; globalThis.__lwidgetsPainted = (f) => frames_.push(f.tag); }")
    press(surface, "seed_x", times=2)
    surface.page.wait_for_function("() => frames_.length > 0", timeout=10_000)
    press(surface, "seed_x")
    surface.wait_for("seed_x", lambda seed: seed == 3)
    wait_for_kernel(surface.page, "surface.study['surface'].labels[0]", lambda label: "seed 3," in label, timeout=5)
    ask_kernel(surface.page, "mood.update(sleep=0.0)")
    surface.settle()


def test_closing_in_the_kernel_is_quiet_in_the_browser(surface: Explorer):
    """The last test of this file: it takes the explorer away."""
    page = surface.page
    ask_kernel(page, "mood.update(sleep=0.02)")
    press(surface, "seed_x", times=2)
    ask_kernel(page, "surface.close()")
    ask_kernel(page, "surface.close()")
    wait_for_kernel(page, "surface.study.status.phase", lambda phase: phase == "closed")
    expect(page.locator(".lwidgets-explorer")).to_have_count(0)
    expect(page.locator(".lwidgets-saved")).to_have_count(1)  # what it showed last stays to be seen
    assert ask_kernel(page, "[t.name for t in __import__('threading').enumerate() if 'lwidgets' in t.name]") == []
    assert ask_kernel(page, "list(surface.study['surface'].shape)") == [17, 17]
    page.wait_for_timeout(300)
