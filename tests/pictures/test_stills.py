"""Stills: the data and their colours are where they belong, nothing is silent, strings are inert, bytes repeat."""

import io
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import colormaps, rc_context, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from PIL import Image

import lwidgets as lw
from lwidgets.landscape import Landscape, Sampling
from lwidgets.pictures import stills
from tests.models import CNN, MLP

X, Y = np.linspace(-1, 1, 9), np.linspace(0, 3, 5)  # 2 by 3 in size and not square in number: a transposed map shows
FRAME = Sampling(batchnorm="frozen", kind="random plane", models=("Net",), directions=("d", "e"))


def surface(values, /, **changes):
    values = np.broadcast_to(np.asarray(values, dtype=np.float64), (9, 5)).copy()
    evaluated = np.zeros((9, 5), bool)
    evaluated[::2, ::2] = True
    made = Landscape((X, Y), ("x", "y"), ("along x", "along y"), {"loss": values}, evaluated, 15, {"loss": 0.25})
    return replace(made, **{"sampling": FRAME, **changes})


def curve(values, /, x=None, **changes):
    values = np.asarray(values, dtype=np.float64)
    x = np.linspace(0, 1, len(values)) if x is None else x
    evaluated = np.arange(len(values)) % 2 == 0
    made = Landscape((x,), ("alpha",), ("way",), {"loss": values}, evaluated, evaluated.sum(), {"loss": 0.5})
    return replace(made, **changes)


def tilted(x, y):
    return 3 * x + y + 4


SLOPE = tilted(X[:, None], Y)
PATH = 1 + np.sin(np.linspace(0, 3, 9))


def colors_at(figure, points):
    """The RGB in 0..1 that is drawn at points of the first axes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())
    columns, rows = figure.axes[0].transData.transform(points).T
    return image[(image.shape[0] - rows).astype(int), columns.astype(int), :3] / 255


def expected(values, low, high, name="viridis"):
    return colormaps[name]((values - low) / (high - low))[:, :3]


def inner_points():
    i, j = (k.ravel() for k in np.meshgrid(range(1, 8), range(1, 4), indexing="ij"))
    return i, j, np.column_stack([X[i], Y[j]])


def lines(figure):
    return next(c for c in figure.axes[0].collections if isinstance(c, QuadContourSet) and not c.filled)


def bar(figure):
    return figure.axes[0].child_axes[0]


def told(figure):
    return " ".join(figure.axes[0].texts[-1].get_text().split())


def texts(content):
    """Everything an SVG says, element by element."""
    return ["".join(e.itertext()) for e in ElementTree.fromstring(content).iter("{http://www.w3.org/2000/svg}text")]


def test_a_curve_has_its_values_and_dots_where_it_was_evaluated():
    landscape = curve(PATH)
    line, dots = landscape.figure().axes[0].lines
    assert line.get_xdata().tolist() == landscape.coords[0].tolist()
    assert line.get_ydata().tolist() == PATH.tolist()
    assert dots.get_xdata().tolist() == landscape.coords[0][::2].tolist()
    assert dots.get_ydata().tolist() == PATH[::2].tolist()
    assert len(landscape.figure(show_points=False).axes[0].lines) == 1


@pytest.mark.parametrize("name", ["viridis", "cividis", "magma"])
def test_trap_9_every_grid_point_of_a_map_has_the_colour_of_its_value(name):
    values = SLOPE + np.random.default_rng(0).uniform(0, 3, SLOPE.shape)
    i, j, points = inner_points()
    drawn = colors_at(surface(values).figure(contours=0, width=8, show_models=False, colormap=name), points)
    assert np.abs(drawn - expected(values[i, j], values.min(), values.max(), name)).max() < 0.04


def test_a_logarithmic_map_has_the_colours_of_logarithms_between_pixels_too():
    values = 10**SLOPE
    middle = np.column_stack([(X[:-1] + X[1:]) / 2, np.full(8, Y[1] + 0.1)])
    drawn = colors_at(surface(values).figure(log=True, contours=0, width=8, show_models=False), middle)
    assert np.abs(drawn - expected(tilted(*middle.T), SLOPE.min(), SLOPE.max())).max() < 0.02


def test_gray_stops_short_of_black_and_white_as_in_the_live_view():
    values = SLOPE.copy()
    corners = np.array([[X[0], Y[0]], [X[-1], Y[-1]]]) * 0.99 + [0, 0.015]
    dark, light = colors_at(surface(values).figure(contours=0, colormap="gray", show_models=False, width=8), corners)
    assert dark == pytest.approx(0x1A / 255, abs=0.03)
    assert light == pytest.approx(0xFA / 255, abs=0.03)


@pytest.mark.parametrize("log", [False, True])
def test_contour_lines_run_where_the_value_is_round_and_the_bar_says_which(log):
    landscape = surface(np.exp(SLOPE) if log else SLOPE)
    figure = landscape.figure(log=log)
    low, high = np.min(landscape.values["loss"]), np.max(landscape.values["loss"])
    found = []
    for path in lines(figure).get_paths():
        at = tilted(*path.vertices.T)
        assert np.ptp(at) < 1e-9
        found.append(float(np.exp(at.mean()) if log else at.mean()))
    assert 4 <= len(found) <= 12
    assert all(float(f"{v:.1g}") == pytest.approx(v) for v in found)
    inside = [t for t in bar(figure).get_yticks() if low < t < high]
    assert inside == pytest.approx(found)
    strokes = [s for c in bar(figure).collections if isinstance(c, LineCollection) for s in c.get_segments()]
    assert [s[0][1] for s in strokes] == pytest.approx(found, rel=1e-3)
    assert bar(figure).get_ylim() == pytest.approx((low, high))


def test_contours_are_at_most_as_many_as_asked_for():
    for count in (2, 3, 6, 20, 40):
        assert 1 <= len(lines(surface(SLOPE).figure(contours=count)).levels) <= count
    assert not [c for c in surface(SLOPE).figure(contours=0).axes[0].collections if not c.filled]


def test_trap_8_a_cell_with_a_corner_that_is_not_finite_is_hatched_and_no_other():
    values = SLOPE.copy()
    values[4, 2] = np.nan
    i, j = (k.ravel() for k in np.meshgrid(range(8), range(4), indexing="ij"))
    points = np.column_stack([(X[i] + X[i + 1]) / 2, (Y[j] + Y[j + 1]) / 2])
    drawn = colors_at(surface(values).figure(contours=0, width=8, show_models=False), points)
    hatched = ((i == 3) | (i == 4)) & ((j == 1) | (j == 2))
    assert (np.ptp(drawn[hatched], axis=1) < 0.1).all()
    assert (np.ptp(drawn[~hatched], axis=1) > 0.2).all()


def test_values_without_a_place_leave_a_gap_in_a_curve_and_crosses_below():
    values = PATH.copy()
    values[[2, 3, 7]] = np.nan, -1.0, np.inf
    landscape = curve(values)
    line, _, crosses = landscape.figure(log=True).axes[0].lines
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [2, 3, 7]
    assert crosses.get_xdata().tolist() == landscape.coords[0][[2, 3, 7]].tolist()
    missing = "1 of 9 not finite (×) · 1 of 9 without a value, not measured (×)"
    assert f"{missing} · 1 of 9 not positive (×)" in told(landscape.figure(log=True))
    assert missing in told(landscape.figure())
    assert "not positive" not in told(landscape.figure())
    assert landscape.figure(log=True).axes[0].get_yscale() == "log"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {},
            "estimated error ≤ 0.25 (2.8 % of range) · 15 of 45 evaluated · may miss features below 16 % of the plane",
        ),
        ({"error": {"loss": 0.0}}, "estimated error ≤ 0 (0 % of range) · 15 of 45 evaluated"),
        ({}, "% of the plane · BatchNorm frozen"),
        ({"error": {"loss": np.nan}, "final": False}, "error not known yet · 15 of 45 evaluated"),
        ({"error": {"loss": np.nan}, "values": {"loss": np.full((9, 5), np.nan)}}, "nothing interpolated · 15 of 45"),
        ({"final": False}, "% of the plane · not final"),
        ({"sampling": Sampling(batchnorm="recalibrate")}, "BatchNorm recalibrated"),
        ({"sampling": Sampling(batchnorm="batch")}, "BatchNorm of each batch"),
        (
            {"error": {"loss": np.nan}, "sampling": Sampling(first_look="64 of 1,000 samples")},
            "first look, 64 of 1,000 samples · 15 of 45 evaluated",
        ),
        ({"evaluated": np.ones((9, 5), bool), "error": {"loss": 0.0}, "sampling": Sampling()}, "all 45 evaluated"),
        ({"sampling": Sampling(batchnorm="odd", kind="odd")}, "15 of 45 evaluated"),
    ],
)
def test_an_approximation_is_never_silent(changes, words):
    landscape = surface(SLOPE, **changes)
    assert words in told(landscape.figure())
    assert words in stills.note(landscape, "loss")


def test_what_is_missing_in_a_map_is_counted():
    values = SLOPE.copy()
    values[0, :3] = np.nan, np.inf, -2
    values[1, 1] = 1e300  # beyond float32, as in the live view
    missing = "1 of 45 not finite (hatched) · 2 of 45 without a value, not measured (hatched)"
    assert missing in told(surface(values).figure())
    assert f"{missing} · 1 of 45 not positive (hatched)" in told(surface(values).figure(log=True))
    assert "3 of 45 not finite (hatched) · 1" in told(surface(values, evaluated=np.ones((9, 5), bool)).figure(log=True))


def test_axes_and_bar_are_labelled_and_the_metric_is_the_one_asked_for():
    landscape = surface(SLOPE, values={"loss": SLOPE, "error": -SLOPE}, error={"loss": 0.1, "error": 9.0})
    figure = landscape.figure("error")
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("along x", "along y")
    assert bar(figure).get_ylabel() == "error"
    assert bar(figure).get_ylim() == pytest.approx((-SLOPE.max(), -SLOPE.min()))
    assert "error ≤ 9 " in told(figure)
    assert bar(landscape.figure()).get_ylabel() == "loss"
    only = curve(PATH).figure().axes[0]
    assert (only.get_xlabel(), only.get_ylabel()) == ("way", "loss")


def marked(figure):
    """Coordinates and letters of the models."""
    circles = [line for line in figure.axes[0].lines if line.get_markeredgecolor() == stills.VERMILLION]
    return {
        text.get_text(): (float(circle.get_xdata()[0]), float(circle.get_ydata()[0]))
        for circle, text in zip(circles, figure.axes[0].texts[:-1], strict=True)
    }


def test_models_are_marked_where_they_are():
    a, b, c = (CNN.model(seed) for seed in range(3))
    objective = CNN.objective()
    line = lw.sample(objective, lw.Line(a, b, span=(-0.5, 1.5)), resolution=9)
    ends = {name: (u, line.at(u)["loss"]) for name, u in (("a", 0.0), ("b", 1.0))}
    assert marked(line.figure()) == ends
    assert "BatchNorm recalibrated" in told(line.figure())
    plane = lw.sample(objective, lw.Plane.through(a, b, c, span=(-0.5, 1.5)), resolution=(9, 5))
    assert marked(plane.figure()) == {"a": (0, 0), "b": (1, 0), "c": (0, 1)}
    assert marked(plane.figure(show_models=False)) == {}
    around = lw.sample(objective, lw.Plane.random(a), resolution=(9, 5))
    assert marked(around.figure()) == {"model": (0, 0)}
    assert "BatchNorm frozen" in told(around.figure())
    bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
    assert marked(lw.sample(bowl, lw.Subspace.identity(2), resolution=(9, 5)).figure()) == {}


def test_a_model_beside_the_grid_is_not_marked():
    assert marked(surface(SLOPE).figure()) == {"model": (0, 0)}
    assert marked(surface(SLOPE, coords=(X + 0.01, Y)).figure()) == {}
    assert marked(surface(SLOPE, coords=(X + 5, Y)).figure()) == {}


@pytest.mark.parametrize("kind", ["excess", "mean"])
def test_the_barrier_is_drawn_from_its_reference_and_stated(kind):
    line = lw.sample(MLP.objective(), lw.Line(MLP.model(0), MLP.model(1)), resolution=17)
    found = line.barrier(kind=kind)
    figure = line.figure(barrier=kind)
    height = next(one for one in figure.axes[0].lines if len(one.get_xdata()) == 2)
    assert height.get_xdata().tolist() == [found.alpha] * 2
    assert height.get_ydata()[1] == pytest.approx(line.at(found.alpha)["loss"], abs=1e-12)
    assert np.ptp(height.get_ydata()) == pytest.approx(found.value, abs=1e-12)
    assert f"barrier ({kind}) {found.value:.4g} ± {found.error:.1g} at alpha {found.alpha:.4g}" in told(figure)
    assert "may miss bumps narrower than 0.062" in told(figure)
    with pytest.raises(ValueError, match="landscape must be a curve"):
        surface(SLOPE).figure(barrier=kind)


def test_png_has_the_size_asked_for_and_tells_nothing_about_its_maker(tmp_path):
    path = surface(SLOPE).to_png(tmp_path / "map.png", width=4, dpi=150)
    image = Image.open(path)
    assert image.width == 600
    assert set(image.info) <= {"Software", "dpi"}
    assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    clear = Image.open(surface(SLOPE).to_png(tmp_path / "clear.png", transparent=True, width=4, dpi=150))
    assert clear.getpixel((0, 0))[3] == 0
    assert clear.getpixel((200, 100))[3] == 255


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("landscape", [curve(PATH), surface(SLOPE + 0.5)], ids=["curve", "map"])
def test_svg_repeats_to_the_byte_and_its_text_is_text(tmp_path, monkeypatch, landscape, log):
    first = landscape.to_svg(tmp_path / "a.svg", log=log).read_bytes()
    monkeypatch.chdir(tmp_path)
    second = landscape.to_svg("b.svg", log=log).read_bytes()
    assert first == second
    assert {"loss", landscape.labels[0]} <= set(texts(first))
    assert len(texts(first)) > 10  # every tick
    assert not re.search(rb'id="[A-Za-z]+-[0-9a-f]+"[^>]*transform="scale|DejaVuSans-', first)
    assert b"date" not in first.lower()
    assert str(tmp_path).encode() not in first


INJECTIONS = [
    "<script>alert(1)</script>",
    "</text></svg><script>alert(1)</script>",
    '" onload="alert(1)',
    "--><script>alert(1)</script><!--",
    "]]><img src=x onerror=alert(1)>",
    "&lt;b&gt; &amp; &#x3c;",
    "$\\frac{1}{2}$",
    "$x_1$ and $unfinished",
    "\\input{/etc/passwd}",
    "a_b^c~%#{}",
    "line\nbreak\x00\x08\x1b[31m\u202eend\ud800",
    "",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_strings_of_a_stranger_are_drawn_letter_by_letter(text):
    sampling = Sampling(kind="random plane", models=(text, text), first_look=text)
    options = {"axes": (text, text), "labels": (text, text), "values": {text: SLOPE}, "error": {text: np.nan}}
    for landscape in (
        surface(SLOPE, sampling=sampling, **options),
        curve(PATH, axes=(text,), labels=(text,), values={text: PATH}, error={text: 0.1}, sampling=sampling),
    ):
        content = stills.svg(landscape, width=12)
        tree = ElementTree.fromstring(content)
        tags = {e.tag.partition("}")[2] for e in tree.iter()}
        assert not tags & {"script", "foreignObject", "a", "img", "iframe", "handler", "set", "animate"}
        assert not [name for e in tree.iter() for name in e.attrib if name.lower().startswith("on")]
        shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        assert not shown or shown in texts(content)


def test_ten_megabytes_of_text_come_out_short():
    text = "<b>W&</b> " * 1_000_000
    sampling = Sampling(batchnorm=text, models=(text, text), first_look=text)
    landscape = surface(
        SLOPE, labels=(text, text), values={text: SLOPE}, error={text: np.nan}, sampling=sampling, axes=(text, text)
    )
    assert len(stills.svg(landscape)) < 300_000
    with pytest.raises(ValueError, match="metric must be one of <b>W") as caught:
        landscape.figure("x" * 10_000_000)
    assert len(str(caught.value)) < 1000


def test_names_never_reach_tex_where_the_user_writes_with_it():
    named = {"labels": (r"\input{x}", r"\input{x}"), "values": {"$": SLOPE}, "error": {"$": np.nan}}
    with rc_context({"text.usetex": True}):
        ax = Figure().add_subplot()
        surface(SLOPE, **named).figure(ax=ax)  # not drawn, so no TeX is needed here
    of_a_file = [ax.xaxis.label, ax.yaxis.label, ax.child_axes[0].yaxis.label, *ax.texts]
    assert len(of_a_file) == 5
    assert not [text.get_text() for text in of_a_file if text.get_usetex() or text.get_parse_math()]


LONG = "a long name of many words " * 5


@pytest.mark.parametrize("width", [2.0, 3.3, 7.0])
@pytest.mark.parametrize(
    "landscape",
    [
        curve(PATH),
        curve(1e-7 * PATH, labels=(LONG,), values={LONG: 1e-7 * PATH}, error={LONG: 1e-9}),
        surface(10**SLOPE),
        surface(np.nan),
        surface(SLOPE, labels=(LONG, LONG), values={LONG: 1e5 * SLOPE}, error={LONG: 0.1}, final=False),
    ],
    ids=["curve", "long curve", "map", "nothing", "long map"],
)
@pytest.mark.parametrize("log", [False, True])
def test_everything_is_inside_the_figure_which_is_as_tall_as_it_must_be(landscape, width, log):
    figure = landscape.figure(log=log, width=width)
    figure.set_dpi(300)
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert figure.get_figwidth() == width
    assert -0.01 <= box.x0 < box.x1 <= width + 0.01
    assert 0 <= box.y0 < 0.15  # laid out at 100 dpi, where letters are wider
    assert figure.get_figheight() - 0.1 < box.y1 <= figure.get_figheight()


def test_lengths_are_true_unless_the_map_would_be_a_sliver():
    square = surface(SLOPE).figure().axes[0]
    assert square.get_box_aspect() == pytest.approx(1.5)
    sliver = surface(SLOPE, coords=(X, 10 * Y)).figure().axes[0]
    assert sliver.get_box_aspect() == 1


def test_a_still_can_stand_in_a_figure_of_the_users():
    figure = Figure(figsize=(7, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    assert curve(PATH).figure(ax=left) is figure
    assert surface(SLOPE).figure(ax=right) is figure
    assert figure.get_size_inches().tolist() == [7, 3]
    assert left.lines[0].get_ydata().tolist() == PATH.tolist()
    assert right.get_xlabel() == "along x"
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    assert box.y0 >= 0
    assert box.x1 <= 7


def test_a_notebook_shows_it_in_the_size_of_the_paper():
    content, size = surface(SLOPE).figure(width=5)._repr_png_()
    assert size["width"] == 480
    assert Image.open(io.BytesIO(content)).width == 1000


@rc_context()
def test_stills_are_made_on_any_thread_and_leave_the_settings_alone():
    rcParams.update(mine := {"svg.fonttype": "path", "svg.hashsalt": "mine", "svg.id": "mine"})
    landscapes = [curve(PATH), surface(SLOPE), surface(10**SLOPE)] * 4
    alone = [stills.svg(one, log=True) for one in landscapes[:3]] * 4
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda one: stills.svg(one, log=True), landscapes))
    assert together == alone
    assert {key: rcParams[key] for key in mine} == mine


def test_nothing_imports_pyplot_and_computing_imports_no_drawing_library(tmp_path):
    script = """if True:
        import sys
        import lwidgets as lw
        assert not [name for name in sys.modules if name.startswith("matplotlib")]
        bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
        landscape = lw.sample(bowl, lw.Subspace.identity(2), resolution=(9, 5))
        landscape.to_png(sys.argv[1] + "/a.png")
        landscape.to_svg(sys.argv[1] + "/a.svg")
        landscape.figure()._repr_png_()
        assert "matplotlib.pyplot" not in sys.modules
        assert not {"ipywidgets", "bqplot", "anywidget"} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "acc"}, r"Landscape.figure: metric must be one of loss, got 'acc'. Choose one"),
        ({"colormap": "jet"}, r"colormap must be one of viridis, cividis, magma, gray, got 'jet'"),
        ({"width": 0.1}, r"width must be between 1.5 and 40 inches, got 0.1. A column has 3.3."),
        ({"width": np.nan}, r"width must be between 1.5 and 40 inches, got nan"),
        ({"contours": -1}, r"contours must be between 0 and 40, got -1"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        surface(SLOPE).figure(**options)


def test_a_resolution_out_of_range_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"Landscape.to_png: dpi must be between 10 and 1200, got 1e\+06"):
        surface(SLOPE).to_png(tmp_path / "a.png", dpi=1e6)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("landscape", "message"),
    [
        (
            Landscape((X[:2],) * 3, ("a", "b", "c"), ("a", "b", "c"), {"loss": np.zeros((2, 2, 2))},
                      np.ones((2, 2, 2), bool), 8, {"loss": 0.0}),
            r"landscape must have one or two axes, got 3. Sample a Line or a Plane.",
        ),
        (curve(PATH, x=X[::-1]), r"coordinates of alpha must be two or more increasing numbers, got \[ 1"),
        (curve([1.0]), r"coordinates of alpha must be two or more increasing numbers"),
        (surface(SLOPE, coords=(X, Y * np.nan)), r"coordinates of y must be two or more increasing numbers"),
        (surface(SLOPE, values={}), r"metric must be one of"),
    ],
    ids=["three axes", "decreasing", "one point", "nan", "no metric"],
)  # fmt: skip
def test_landscapes_that_cannot_be_drawn_are_refused(landscape, message):
    with pytest.raises(ValueError, match=f"Landscape.figure: {message}"):
        landscape.figure()


ANY = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
AXIS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5, unique=True).map(sorted)


@settings(max_examples=40)
@given(st.data(), st.lists(AXIS, min_size=1, max_size=2), st.booleans())
def test_no_value_breaks_a_picture(data, axes, log):
    shape = tuple(map(len, axes))
    landscape = Landscape(
        tuple(map(np.array, axes)),
        ("x", "y")[: len(axes)],
        ("x", "y")[: len(axes)],
        {"loss": data.draw(arrays(np.float64, shape, elements=ANY))},
        data.draw(arrays(np.bool_, shape)),
        3,
        {"loss": data.draw(ANY)},
    )
    ElementTree.fromstring(stills.svg(landscape, log=log, show_points=True))
