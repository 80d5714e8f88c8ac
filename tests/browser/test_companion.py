"""Pages without a kernel and without a network: what they show is what the live widget shows."""

import re

import numpy as np
import pytest
from lab import chromium_page, console_errors
from playwright.sync_api import Browser, Page

import lwidgets as lw
from lwidgets.export.write import write_page

SEEDS = (0, 3, 4)
EXTENT = re.compile(r"loss .*?([\d.e+−-]+) at .*? to ([\d.e+−-]+)")
POISON = '</script><img src=x onerror="window.__harmed = 1"><script>window.__harmed = 1</script>'


@pytest.fixture(scope="module")
def digits():
    return lw.demo.digits(steps=20)


@pytest.fixture
def offline(browser: Browser):
    """A page with no network; whatever it asks for is kept."""
    with chromium_page((900, 1200), browser=browser) as page:
        page.context.set_offline(True)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        yield page


def opened(page: Page, path) -> Page:
    page.goto(path.as_uri())
    page.wait_for_function("() => window.__lwidgetsReady")
    return page


def numbers(page: Page, view: int = 0) -> np.ndarray:
    """Values of a height field at every position, as the page decodes them."""
    return np.array(
        page.evaluate(
            """view => {
                const { studies, arrays } = window.__lwidgetsCompanion.companion;
                return studies[0].frames.map((frame) => Array.from(arrays.floats(frame[view].values[0])));
            }""",
            view,
        )
    )


def test_every_position_shows_what_the_live_widget_shows(digits, offline, tmp_path):
    objective, a, _ = digits
    explorer = lw.SurfaceExplorer(objective, a, resolution=9)
    explorer.wait(60)
    page = opened(offline, explorer.to_html(tmp_path / "page.html", {"seed_x": SEEDS, "log": None}))
    stored = numbers(page)
    assert len(stored) == 6
    for k, (seed, log) in enumerate((seed, log) for seed in SEEDS for log in (False, True)):
        explorer.seed_x, explorer.log = seed, log
        assert explorer.wait(60)
        live = explorer.height_field.picture()["frame"]["values"][0].ravel()
        step = 2e-5 if log else np.ptp(stored) / 65532
        allowed = step * np.abs(live) if log else np.full(live.shape, step)
        assert (np.abs(stored[k] - live) <= allowed + 1e-6 * np.abs(live)).all()
        page.get_by_role("slider", name="seed x").fill(str(SEEDS.index(seed)))
        page.get_by_role("checkbox", name="log height").set_checked(log)
        page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        told = page.locator(".lw-height-field .lw-caption").inner_text()
        low, high = (float(x.replace("−", "-")) for x in EXTENT.search(told).groups())
        assert (low, high) == pytest.approx((live.min(), live.max()), rel=2e-3, abs=2 * step)
    explorer.close()
    assert page.asked == [(tmp_path / "page.html").as_uri()]
    assert not console_errors(page)


def test_every_control_of_a_curves_page_moves_something(digits, offline, tmp_path):
    objective, a, b = digits
    explorer = lw.CurveExplorer(objective, a, b, resolution=17)
    explorer.wait(60)
    page = opened(offline, explorer.to_html(tmp_path / "page.html", {"alpha": 5, "log": None, "barrier": None}))
    explorer.close()
    seen = [page.locator("main").inner_text()]
    page.get_by_role("slider", name="alpha").press("End")
    page.get_by_text("alpha 1:").wait_for()
    seen.append(page.locator("main").inner_text())
    page.get_by_role("checkbox", name="log height").check()
    seen.append(page.locator("main").inner_html())
    page.get_by_role("combobox", name="barrier").select_option("mean")
    page.get_by_text("Ainsworth").first.wait_for()
    seen.append(page.locator("main").inner_text())
    assert len(set(seen)) == 4
    assert not console_errors(page)


def test_a_page_of_two_studies_is_drawn_in_both_themes_and_narrow(digits, offline, tmp_path):
    objective, a, b = digits
    surface, curve = lw.SurfaceExplorer(objective, a, resolution=9), lw.CurveExplorer(objective, a, b, resolution=17)
    for explorer in (surface, curve):
        explorer.wait(60)
    path = write_page(
        tmp_path / "page.html",
        [(surface, {"seed_x": SEEDS}), (curve, None)],
        title="Two",
        abstract="A *loss* $L(\\theta)$",
        citation="[Li et al.](https://arxiv.org/abs/1712.09913)",
    )
    surface.close()
    curve.close()
    page = opened(offline, path)
    assert page.locator("h1").inner_text() == "Two"
    assert page.locator("math").count() == 1
    backgrounds = set()
    for scheme, width in (("light", 900), ("dark", 900), ("light", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)
        backgrounds.add(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
        assert page.locator("main canvas").count() >= 2
        assert page.locator("main svg").count() >= 1
    assert len(backgrounds) == 2
    assert not console_errors(page)


def test_a_title_that_would_be_a_script_is_a_title(offline, tmp_path):
    objective = lw.Objective.from_function(lambda u: {POISON: u[:, 0] ** 2 + u[:, 1] ** 2}, dim=2)
    landscape = lw.sample(objective, lw.Subspace.identity(2), resolution=5)
    page = opened(offline, landscape.to_html(tmp_path / "page.html", title=POISON, abstract=POISON, caption=POISON))
    assert page.locator("h1").inner_text() == POISON
    assert page.evaluate("() => window.__harmed") is None
    assert page.locator("img").count() == 0
    assert POISON[:20] in page.locator(".lw-height-field .lw-caption").inner_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('"version": 1', '"version": 9'), "version"),
        (lambda text: re.sub(r'("data": ")[^"]{40}', r"\1", text), "data"),
        (lambda text: text.replace('"frames": [[', '"frames": [[0], ['), "frames"),
        (lambda text: text.replace('"format": "lwidgets.companion"', '"format": "other"'), "format"),
    ],
    ids=["version", "truncated", "count", "kind"],
)
def test_a_damaged_page_says_what_is_wrong_in_place(offline, tmp_path, change, words):
    landscape = lw.sample(
        lw.Objective.from_function(lambda u: u[:, 0] ** 2, dim=2), lw.Subspace.identity(2), resolution=5
    )
    path = landscape.to_html(tmp_path / "page.html")
    damaged = change(path.read_text())
    assert damaged != path.read_text()
    path.write_text(damaged)
    page = opened(offline, path)
    assert words in page.locator("main").inner_text()
