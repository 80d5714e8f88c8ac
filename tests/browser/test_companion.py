"""Pages without a kernel and without a network: what they show is what the live widget shows."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from lab import chromium_page, console_errors
from playwright.sync_api import Browser, Page, expect

import lwidgets as lw
from lwidgets.export.write import write_page

SEEDS = (0, 3, 4)
EXTENT = re.compile(r"loss .*?([\d.e+−-]+) at .*? to ([\d.e+−-]+)")
POISON = '</script><img src=x onerror="window.__harmed = 1"><script>window.__harmed = 1</script>'

both = pytest.mark.parametrize("kind", ["figure", "page"])


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


def painted(page: Page) -> None:
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


def until(page: Page, check, *told) -> None:
    """Wait for what comes a little later: bqplot puts off some of its work."""
    end = time.monotonic() + 10
    while not check():
        assert time.monotonic() < end, told
        page.wait_for_timeout(30)


def put(page: Page, name: str, place: int) -> None:
    """Move a slider as a reader does who has no mouse."""
    slider = page.get_by_role("slider", name=name)
    slider.press("Home")
    for _ in range(place):
        slider.press("ArrowRight")


def numbers(page: Page, panel: int = 0) -> np.ndarray:
    """Values of a surface at every position of two sliders, the last fastest, as the page decodes them."""
    return np.array(
        page.evaluate(
            """panel => {
                const { studies: [{ frames, sliders: [slow, fast] }], arrays } = window.__lwidgetsCompanion.companion;
                const values = (p, q) => Array.from(arrays.floats(frames.at([p, q])[panel].near.values[0]));
                return slow.positions.flatMap((_, p) => fast.positions.map((_, q) => values(p, q)));
            }""",
            panel,
        )
    )


# Ticks of x and y as [label, pixel], width and height inside the axes, and the paths of lines: our own and bqplot's.
DRAWN = {
    "figure": """() => {
        const texts = (anchor) => [...document.querySelectorAll(`.lw-axes text[text-anchor=${anchor}]:not(.lw-label)`)];
        const inner = document.querySelector('.lw-curves > svg');
        const [left, top] = [inner.x.baseVal.value, inner.y.baseVal.value];
        const at = (text, axis) => Number(text.getAttribute(axis));
        return {
            x: texts('middle').map((text) => [text.textContent, at(text, 'x') - left]),
            y: texts('end').map((text) => [text.textContent, at(text, 'y') - 4 - top]),
            size: [inner.width.baseVal.value, inner.height.baseVal.value],
            lines: [...inner.querySelectorAll('path')].map((path) => path.getAttribute('d'))
                .filter((d) => !d.includes('h0')),
        };
    }""",
    "page": """() => {
        const ticks = (anchor, part) => [...document.querySelectorAll(`.bqplot .axis[text-anchor=${anchor}] .tick`)]
            .map((tick) => [tick.textContent, tick.getAttribute('transform').match(/[-\\d.]+/g)[part] - 0.5])
            .filter(([text]) => text);  // d3 leaves some of a log axis bare
        const area = document.querySelector('.plotarea_events');
        const marks = [...document.querySelectorAll('.bqplot .svg-figure .curve path.line')];
        return {
            x: ticks('middle', 0),
            y: ticks('end', 1),
            size: ['width', 'height'].map((name) => Number(area.getAttribute(name))),
            lines: marks.map((path) => path.getAttribute('d') || ''),
        };
    }""",
}


def read(page: Page, kind: str, log: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """The two ends of both axes, and every line as points (x, y), read off the pixels by the ticks."""
    drawn = page.evaluate(DRAWN[kind])
    if min(len(drawn["x"]), len(drawn["y"])) < 2:  # new axes are on their way
        return np.full((2, 2), np.nan), []
    scales = []
    for axis, logarithmic in (("x", False), ("y", log)):
        labels, places = zip(*drawn[axis], strict=True)
        values = np.array([float(label.replace("−", "-")) for label in labels])
        slope, start = np.polyfit(np.array(places, float), np.log(values) if logarithmic else values, 1)
        scales.append((slope, start, np.exp if logarithmic else np.asarray))

    def points(pixels) -> np.ndarray:
        return np.stack([f(start + slope * pixels[:, k]) for k, (slope, start, f) in enumerate(scales)], axis=1)

    width, height = drawn["size"]
    numbers = [np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2) for path in drawn["lines"]]
    return points(np.array([[0.0, height], [width, 0.0]])), [points(pixels) for pixels in numbers]


def agrees(page: Page, kind: str, picture: lw.Curves) -> bool:
    """Whether lines on show are those of a live picture to a pixel or two, in its ranges: bqplot leaves some room."""
    ends, drawn = read(page, kind, "y" in picture.log)
    live = [np.stack([one.x, one.y], axis=1) for one in picture.strokes if one.style != "points"]
    asked = np.array(picture.ranges).T
    extent = asked[1] - asked[0]
    if [one.shape for one in drawn] != [one.shape for one in live] or not (np.abs(ends - asked) < 0.1 * extent).all():
        return False
    return all((np.abs(a - b) < extent / (400, 200)).all() for a, b in zip(drawn, live, strict=True))


def draws(page: Page, kind: str, *wanted, atol: float = 0.02) -> bool:
    """Whether the lines on show are these, each as its points."""
    _, drawn = read(page, kind, log=False)
    same = [one.shape for one in drawn] == [np.shape(one) for one in wanted]
    return same and all(np.allclose(a, b, rtol=0, atol=atol) for a, b in zip(drawn, wanted, strict=True))


@both
def test_every_position_shows_what_the_live_widget_shows(digits, offline, tmp_path, kind):
    objective, a, _ = digits
    explorer = lw.SurfaceExplorer(objective, a, resolution=9)
    explorer.wait(60)
    page = opened(offline, explorer.to_html(tmp_path / "page.html", {"seed_x": SEEDS, "log_height": None}, kind=kind))
    stored = numbers(page)
    assert len(stored) == 6
    for k, (seed, log) in enumerate((seed, log) for seed in SEEDS for log in (False, True)):
        explorer.seed_x, explorer.log_height = seed, log
        assert explorer.wait(60)
        live = explorer.study.pictures["surface_picture"].landscape.values["loss"].ravel()
        step = 2e-5 if log else np.ptp(stored) / 65532
        allowed = step * np.abs(live) if log else np.full(live.shape, step)
        assert (np.abs(stored[k] - live) <= allowed + 1e-6 * np.abs(live)).all()
        put(page, "seed x", SEEDS.index(seed))
        page.get_by_role("checkbox", name="log height").set_checked(log)
        painted(page)
        told = page.locator(".lw-height-field .lw-caption").inner_text()
        low, high = (float(x.replace("−", "-")) for x in EXTENT.search(told).groups())
        assert (low, high) == pytest.approx((live.min(), live.max()), rel=2e-3, abs=2 * step)
        assert page.get_by_role("slider", name="seed x").get_attribute("aria-valuetext") == str(seed)
    explorer.close()
    assert page.asked == [(tmp_path / "page.html").as_uri()]
    assert not console_errors(page)


@both
def test_every_position_draws_the_lines_of_the_live_plot(digits, offline, tmp_path, kind):
    objective, a, b = digits
    explorer = lw.CurveExplorer(objective, a, b, resolution=17)
    explorer.wait(60)
    alphas, spans = (0.0, 0.5, 0.9), ((0.0, 1.0), (-0.5, 1.5))
    asked = {"alpha": alphas, "span": spans, "log_height": None, "barrier": ["mean", "error"]}
    page = opened(offline, explorer.to_html(tmp_path / "page.html", asked, kind=kind))
    for p, span in enumerate(spans):
        for log in (False, True):
            for barrier in asked["barrier"]:
                for k, alpha in enumerate(alphas):
                    explorer.study.set(span=span, log_height=log, barrier=barrier, alpha=alpha)
                    assert explorer.wait(60)
                    put(page, "alpha", k)
                    put(page, "span", p)
                    page.get_by_role("checkbox", name="log height").set_checked(log)
                    page.get_by_role("combobox", name="barrier").select_option(barrier)
                    picture = explorer.study.pictures["curves_picture"]
                    until(page, lambda p=picture: agrees(page, kind, p), span, log, barrier, alpha)
                    words = page.locator("main").inner_text()
                    assert picture.caption in words
                    assert f"alpha {alpha:.3g}\n" in words
                    assert picture.y in "".join(page.locator("main svg").all_text_contents())
    explorer.close()
    assert not console_errors(page)


@both
def test_a_control_whose_places_are_words_tells_them(digits, offline, tmp_path, kind):
    objective, a, b = digits
    explorer = lw.CurveExplorer(objective, a, b, resolution=9)
    explorer.wait(60)
    asked = {"span": [(0.0, 1.0), (-0.5, 1.5)], "tolerance": [0.0, 1e-3, 0.1], "resolution": [9], "barrier": None}
    page = opened(offline, explorer.to_html(tmp_path / "page.html", asked, kind=kind))
    explorer.close()
    span = page.get_by_role("slider", name="span")
    assert span.get_attribute("aria-valuetext") == "0 to 1"
    span.press("End")
    assert span.get_attribute("aria-valuetext").replace("−", "-") == "-0.5 to 1.5"
    assert page.get_by_role("slider", name="tolerance").get_attribute("aria-valuetext") == "0.001"
    role = "slider" if kind == "figure" else "combobox"
    assert page.get_by_role(role, name="resolution").is_disabled()
    options = page.get_by_role("combobox", name="barrier").locator("option").all_text_contents()
    assert options == ["excess", "mean", "error"]


@both
def test_between_positions_the_lines_are_mixed_and_the_page_says_so(offline, tmp_path, kind):
    study = lw.Study("Slopes")
    study.slider("slope", 1.0, low=0.0, high=2.0, step=0.25)
    x = np.linspace(0.0, 1.0, 5)

    @study.view
    def draw(slope):
        return lw.Curves([lw.Series(x, slope * x, "line")], x="x", y="y", y_range=(-0.1, 2.1))

    page = opened(offline, study.to_html(tmp_path / "page.html", {"slope": [0.0, 1.0, 2.0]}, kind=kind))
    study.close()
    slider, note = page.get_by_role("slider", name="slope"), page.locator(".lw-between")
    assert note.inner_text().strip() == ""
    for _ in range(3):
        slider.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.lw-between').textContent")
    assert "mixed from the neighbouring ones" in note.inner_text()
    at = float(slider.get_attribute("aria-valuetext"))
    assert 1.0 < at < 2.0
    until(page, lambda: draws(page, kind, np.stack([x, at * x], axis=1)), at)


def magenta(page: Page, pane: str) -> np.ndarray:
    """Rows of what is magenta in a pane, from its top; shape (n,)."""
    found = page.locator(f".lw-{pane} .lw-base").evaluate(
        """(canvas) => {
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const rows = [];
            for (let k = 0; k < data.length; k += 4)
                if (data[k] > 225 && data[k + 1] < 60 && data[k + 2] > 225) rows.push(Math.floor(k / 4 / canvas.width));
            return rows;
        }"""
    )
    return np.array(found)


@both
def test_paths_of_a_layer_are_those_of_the_page_at_every_position(offline, tmp_path, kind):
    study = lw.Study("Paths")
    study.slider("level", 0.0, low=-0.9, high=0.9, step=0.1)
    x = np.linspace(-1.0, 1.0, 5)
    slope = 1 + 1e-3 * x[:, None] + 0 * x
    plain = lw.Landscape((x, x), ("x", "y"), ("x", "y"), {"loss": slope}, np.ones((5, 5), bool), 25, {"loss": 0.0})

    @study.view
    def draw():
        return lw.Surface(plain)

    @study.view(on="draw")
    def way(level):
        path = lw.Path([-0.8, 0.8], [level, level], f"at {level:g}", "#ff00ff")
        return lw.Surface(None, paths=[path] if level < 0.6 else [])

    page = opened(offline, study.to_html(tmp_path / "page.html", {"level": [-0.6, 0.0, 0.3, 0.8]}, kind=kind))
    study.close()
    rows = []
    for k, level in enumerate((-0.6, 0.0, 0.3)):
        put(page, "level", k)
        until(page, lambda level=level: page.locator(".lw-paths").inner_text() == f"at {level:g}", level)
        painted(page)
        rows.append(magenta(page, "map").mean())
        assert len(magenta(page, "surface")) > 50
    assert (rows[0] - rows[1]) / (rows[1] - rows[2]) == pytest.approx(2, rel=0.05)
    put(page, "level", 3)
    until(page, lambda: not page.locator(".lw-paths").is_visible())
    painted(page)
    assert not len(magenta(page, "map")) + len(magenta(page, "surface"))
    assert not console_errors(page)


def test_ticks_are_written_as_in_the_notebook(offline, tmp_path):
    study = lw.Study("Ticks")
    study.slider("high", 0.1, options=(0.1, 100.0))

    @study.view
    def draw(high):
        return lw.Curves([lw.Series([0.0, 1.0], [0.0, high])])

    page = opened(offline, study.to_html(tmp_path / "page.html", {"high": None}, kind="page"))
    study.close()
    ticks = page.locator(".bqplot .axis").nth(1).locator(".tick")
    for place, texts in (
        (0, ["0.00", "0.02", "0.04", "0.06", "0.08", "0.10"]),
        (1, ["0", "20", "40", "60", "80", "100"]),
    ):
        page.get_by_role("combobox").select_option(index=place)
        expect(ticks).to_have_text(texts)


@pytest.mark.parametrize("power", [1, 4], ids=["mixed", "snapped"])
def test_positions_that_no_decimal_hits_are_reached(offline, tmp_path, power):
    study = lw.Study("Thirds")
    study.slider("level", 1 / 3, low=0.0, high=1.0, step=0.01)
    x = np.linspace(0.0, 1.0, 5)

    @study.view
    def draw(level):
        return lw.Curves([lw.Series(x, level**power * x)], y_range=(-0.05, 1.05))

    page = opened(offline, study.to_html(tmp_path / "page.html", {"level": 7}, kind="page"))
    study.close()
    note, slider = page.locator(".lw-between"), page.get_by_role("slider", name="level")
    assert slider.get_attribute("aria-valuetext") == "0.3333"
    assert note.count() == (power == 1)  # where nothing is mixed, there is nothing to be said
    assert "".join(note.all_inner_texts()).strip() == ""
    for place in range(7):
        slider.press("Home")
        for _ in range(place * (17 if power == 1 else 1)):
            slider.press("ArrowRight")
        wanted = np.stack([x, (place / 6) ** power * x], axis=1)
        until(page, lambda points=wanted: draws(page, "page", points, atol=0.005), place)
        assert "".join(note.all_inner_texts()).strip() == ""
    assert not console_errors(page)


def test_a_value_typed_between_positions_goes_to_the_nearest(digits, offline, tmp_path):
    objective, a, _ = digits
    explorer = lw.SurfaceExplorer(objective, a, resolution=9)
    explorer.wait(60)
    page = opened(offline, explorer.to_html(tmp_path / "page.html", {"seed_x": (0, 2, 4)}, kind="page"))
    explorer.close()
    readout = page.locator(".widget-readout")
    readout.fill("3")
    readout.press("Enter")
    painted(page)
    shown = page.get_by_role("slider", name="seed x").get_attribute("aria-valuetext")
    assert readout.inner_text() == shown
    assert shown in ("2", "4")


def test_quick_changes_of_what_is_drawn_end_at_the_last(digits, offline, tmp_path):
    objective, a, b = digits
    explorer = lw.CurveExplorer(objective, a, b, resolution=17)
    explorer.wait(60)
    page = opened(offline, explorer.to_html(tmp_path / "page.html", {"log_height": None}, kind="page"))
    box = page.get_by_role("checkbox", name="log height")
    for count in (6, 7):
        for _ in range(count):
            box.click()
        explorer.log_height = box.is_checked()
        explorer.wait(60)
        until(page, lambda: agrees(page, "page", explorer.study.pictures["curves_picture"]), explorer.log_height)
    explorer.close()
    assert not console_errors(page)


def test_bqplot_gets_gaps_bands_and_points_as_in_the_notebook(offline, tmp_path):
    study = lw.Study("Gaps")
    study.slider("level", 1, low=1, high=2)
    x, bad = np.linspace(0.0, 1.0, 6), [np.nan, 0.0, 0.2, np.inf, 0.4, np.nan]

    @study.view
    def draw(level):
        y = level * np.array(bad)
        band = lw.Series(x, np.stack([0 * x, level + x]), "between", style="band")
        points = lw.Series(x, y, "", style="points")
        return lw.Curves([band, lw.Series(x, y, "line"), points], y_range=(-0.1, 2.1))

    page = opened(offline, study.to_html(tmp_path / "page.html", {"level": [1, 2]}, kind="page"))
    study.close()
    put(page, "level", 1)
    lower, upper = np.stack([x, 0 * x], axis=1), np.stack([x, 2 + x], axis=1)
    until(page, lambda: draws(page, "page", lower, upper, [[0.2, 0.0], [0.4, 0.4], [0.8, 0.8]]))
    expect(page.locator(".bqplot .dot")).to_have_count(3)
    assert "NaN" not in page.evaluate("() => document.querySelector('.bqplot').outerHTML")
    assert not console_errors(page)


def test_what_lies_below_the_window_is_laid_out_for_paper(digits, offline, tmp_path):
    objective, a, b = digits
    explorer = lw.CurveExplorer(objective, a, b, resolution=9)
    explorer.wait(60)
    page = opened(offline, explorer.to_html(tmp_path / "page.html", {"log_height": None}, kind="page"))
    until(page, lambda: agrees(page, "page", explorer.study.pictures["curves_picture"]))
    page.set_viewport_size({"width": 500, "height": 80})
    figure, axis = page.locator(".bqplot"), page.locator(".bqplot .domain").first
    until(page, lambda: 300 < axis.bounding_box()["width"] < figure.bounding_box()["width"] < 500)
    assert figure.bounding_box()["y"] > 80
    until(page, lambda: agrees(page, "page", explorer.study.pictures["curves_picture"]))
    explorer.close()


@both
def test_a_page_of_two_studies_is_drawn_in_both_themes_and_narrow(digits, offline, tmp_path, kind):
    objective, a, b = digits
    surface, curve = lw.SurfaceExplorer(objective, a, resolution=9), lw.CurveExplorer(objective, a, b, resolution=17)
    for explorer in (surface, curve):
        explorer.wait(60)
    path = write_page(
        tmp_path / "page.html",
        [(surface, {"seed_x": SEEDS}), (curve, {"barrier": None})],
        title="Two",
        abstract="A *loss* $L(\\theta)$",
        citation="[Li et al.](https://arxiv.org/abs/1712.09913)",
        kind=kind,
    )
    surface.close()
    curve.close()
    page = opened(offline, path)
    assert page.locator("h1").inner_text() == "Two"
    assert page.locator("math").count() == 1
    papers = set()

    def is_readable() -> bool:
        paper, *ink = page.evaluate(
            """() => [document.body, ...document.querySelectorAll('.lw-controls label, .lw-controls select, '
                    + 'main .lw-curves text, main .tick text, main .axislabel')]
                .map((node) => [getComputedStyle(node), node.closest('svg') ? 'fill' : 'color'])
                .map(([style, property], k) => style[k ? property : 'backgroundColor'].match(/[\\d.]+/g).slice(0, 3))
                .map((channels) => channels.reduce((sum, channel) => sum + Number(channel) / 765, 0))"""
        )
        papers.add(round(paper, 2))
        return len(ink) > 10 and all(abs(one - paper) > 0.3 for one in ink)

    for scheme, width in (("light", 900), ("dark", 900), ("light", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        until(page, is_readable, scheme)
        until(page, lambda: page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), width)
        assert page.locator("main canvas").count() >= 2
        assert page.locator("main svg").count() >= 1
    assert len(papers) == 2
    assert not console_errors(page)


@both
def test_a_title_that_would_be_a_script_is_a_title(offline, tmp_path, kind):
    objective = lw.Objective.from_function(lambda u: {POISON: u[:, 0] ** 2 + u[:, 1] ** 2}, dim=2)
    landscape = lw.sample(objective, lw.Subspace.identity(2), resolution=5)
    words = dict.fromkeys(("title", "abstract", "caption"), POISON)
    page = opened(offline, landscape.to_html(tmp_path / "page.html", kind=kind, **words))
    assert page.locator("h1").inner_text() == POISON
    assert page.evaluate("() => window.__harmed") is None
    assert page.locator("img").count() == 0
    assert POISON[:20] in page.locator(".lw-height-field .lw-caption").inner_text()


@both
def test_names_that_would_be_scripts_are_names_in_controls_and_curves(offline, tmp_path, kind):
    study = lw.Study(POISON, source=POISON, claim=POISON, limits=POISON, citation=POISON)
    study.slider("count", 1, low=0, high=2, label=POISON, help=POISON)
    study.slider("which", POISON, options=(POISON, "other"), label=f"which {POISON}")

    @study.view
    def draw(count, which):
        return lw.Curves([lw.Series([0.0, 1.0], [count, 3.0], which)], x=POISON, y=POISON, caption=POISON)

    @study.view
    def tell(which):
        return lw.Words(which, title=POISON)

    @study.view
    def rows(which):
        return lw.Table((POISON, "b"), [(which, POISON)], title=POISON, notes=[POISON])

    path = study.to_html(tmp_path / "page.html", {"count": [0, 1, 2], "which": None}, kind=kind)
    study.close()
    page = opened(offline, path)
    drawn = page.locator("main svg").first.locator("xpath=..")
    expect(drawn).to_contain_text(POISON)
    page.get_by_role("combobox").select_option(label="other")
    page.get_by_role("slider").press("End")
    expect(drawn).to_contain_text("other")
    page.get_by_role("combobox").select_option(label=POISON)
    expect(drawn).not_to_contain_text("other")
    assert page.evaluate("() => window.__harmed") is None
    assert page.locator("img, iframe, main script").count() == 0
    assert page.locator("main").inner_text().count(POISON) >= 10
    until(page, lambda: drawn.text_content().count(POISON) >= 3)  # both axes and the legend


@both
def test_nothing_but_its_own_scripts_runs_in_a_page(offline, tmp_path, kind):
    landscape = lw.sample(
        lw.Objective.from_function(lambda u: u[:, 0] ** 2, dim=1), lw.Subspace.identity(1), resolution=5
    )
    page = opened(offline, landscape.to_html(tmp_path / "page.html", kind=kind))
    until(page, lambda: page.locator("main svg path").count() > 1)
    assert not console_errors(page)
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.__harmed = 1';
            const button = document.createElement('button');
            button.setAttribute('onclick', 'window.__harmed = 2');
            document.body.append(script, button);
            button.click();
        }"""
    )
    assert page.evaluate("() => window.__harmed") is None


@both
def test_a_page_in_a_frame_that_may_do_nothing_but_run_scripts_is_alive(digits, offline, tmp_path, kind):
    objective, a, b = digits
    explorer = lw.CurveExplorer(objective, a, b, resolution=9)
    explorer.wait(60)
    explorer.to_html(tmp_path / "page.html", {"log_height": None}, kind=kind)
    explorer.close()
    (tmp_path / "host.html").write_text('<iframe sandbox="allow-scripts" src="page.html" width="800" height="800">')
    offline.goto((tmp_path / "host.html").as_uri())
    frame = offline.frame_locator("iframe")
    frame.get_by_role("checkbox", name="log height").check()
    frame.locator("main svg text").get_by_text("log scale").first.wait_for(state="attached")


def edited(path: Path, pattern: str, replacement: str) -> Path:
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    path.write_text(changed)
    return path


@pytest.mark.parametrize(
    ("kind", "pattern", "replacement", "words"),
    [
        ("figure", '"needs": \\["curves"', '"needs": ["oracle"', '"oracle"'),
        ("figure", '"kind": "curves"', '"kind": "oracle"', '"oracle"'),
        ("figure", '("data": ")[^"]{40}', r"\1", "data"),
        ("figure", r'"pictures": \[\[', '"pictures": [[0], [', "frames"),
        ("figure", '"format": "lwidgets.companion"', '"format": "other"', "format"),
        ("page", '"needs": \\["curves"', '"needs": ["oracle"', '"oracle"'),
        ("page", r'(data-name="bqplot" data-size="\d+">)[^<]{400}', r"\1", "bqplot"),
        ("page", r'data-name="bqplot" data-size="\d', 'data-name="bqplot" data-size="', "bqplot must inflate"),
        ("page", '"lwidgets-widgets"', '"lwidgets-other"', "must carry the widgets"),
        ("page", 'data-name="bqscales"', 'data-name="other"', "widgets must be of the bundles"),
        ("page", r"'sha256-[^']*'; style", "'sha256-AAAA'; style", "must be the script that the page allows"),
    ],
)
def test_a_damaged_page_says_what_is_wrong_in_place(offline, tmp_path, kind, pattern, replacement, words):
    landscape = lw.sample(
        lw.Objective.from_function(lambda u: u[:, 0] ** 2, dim=1), lw.Subspace.identity(1), resolution=5
    )
    page = opened(offline, edited(landscape.to_html(tmp_path / "page.html", kind=kind), pattern, replacement))
    assert words in page.locator("main").inner_text()
