"""CurveExplorer and SurfaceExplorer without a browser: traits, numbers against plain torch, nothing lost."""

import copy
import gc
import queue
import threading
import time
import weakref
from dataclasses import replace

import ipywidgets
import numpy as np
import pytest
import torch
import traitlets
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.objective import ModelObjective
from lwidgets.pictures import Rule
from lwidgets.sampling.evaluate import Local
from lwidgets.studies.parts import checks
from tests.models import MLP
from tests.studies.reading import on_show, picture, view

WAIT = 60


@pytest.fixture(scope="module")
def digits():
    return lw.demo.digits(hidden=(16,), steps=60)


@pytest.fixture
def curve(digits):
    explorer = lw.CurveExplorer(*digits, resolution=33)
    assert explorer.wait(WAIT)
    yield explorer
    explorer.close()


@pytest.fixture
def surface(digits):
    explorer = lw.SurfaceExplorer(digits[0], resolution=17)
    assert explorer.wait(WAIT)
    yield explorer
    explorer.close()


def plain_loss(objective, model, a=None, b=None, alpha=0.0):
    """Cross-entropy over the objective's data of the mixture of two modules, by plain torch in float64."""
    mixed = copy.deepcopy(model).double()
    if a is not None:
        with torch.no_grad():
            for p, pa, pb in zip(mixed.parameters(), a.parameters(), b.parameters(), strict=True):
                p.copy_((1 - alpha) * pa.double() + alpha * pb.double())
    total = sum(F.cross_entropy(mixed(x.double()), y).item() * n for (x, y), n in objective.data)
    return total / len(objective.data)


def test_the_curve_is_the_models_loss_on_training_and_test_data(curve, digits):
    objective, a, b = digits
    assert list(curve.landscapes) == ["train", "test"]
    for split, one in {"train": objective, "test": objective.test}.items():
        drawn = curve.landscapes[split]
        assert drawn.provenance["split"] == split
        for alpha in (0.0, 0.25, 1.0):
            expected = plain_loss(one, a, a, b, alpha)
            assert drawn.at(alpha)["loss"] == pytest.approx(expected, rel=1e-5, abs=drawn.error["loss"])


def test_the_readout_at_alpha_is_measured_there(curve, digits):
    objective, a, b = digits
    curve.alpha = 0.37
    assert curve.wait(WAIT)
    expected = plain_loss(objective, a, a, b, 0.37)
    shown = picture(curve, "reading")
    assert shown.title == "alpha 0.37"
    assert f"train loss {expected:.4g}" in shown.text
    assert "(measured)" in shown.text


def test_the_barrier_follows_its_definition_and_split(curve):
    losses = curve.landscape.values["loss"]
    alphas = curve.landscape.coords[0]
    excess = (losses - (1 - alphas) * losses[0] - alphas * losses[-1]).max()
    mean = losses.max() - (losses[0] + losses[-1]) / 2
    assert curve.barriers["train"].value == pytest.approx(excess, rel=2e-3)  # between grid points
    curve.barrier = "mean"
    assert curve.barriers["train"].value == pytest.approx(mean, rel=2e-3)
    assert (curve.barriers["test"].split, curve.barriers["test"].kind) == ("test", "mean")
    curve.barrier = "error"
    assert curve.barriers["train"].metric == "error"
    assert "Frankle" in picture(curve, "curves_picture").caption


def test_alpha_moves_a_marker_and_computes_no_curve(curve):
    before = curve.landscape
    curve.alpha = 0.75
    assert curve.wait(WAIT)
    assert curve.landscape is before
    assert [one.x for one in picture(curve, "curves_picture").items if isinstance(one, Rule)] == [0.75]
    marks = view(curve, "curves_picture").figure.marks
    assert any(np.size(m.x) == 2 and (np.asarray(m.x) == 0.75).all() for m in marks)


def test_span_goes_beyond_the_models_and_takes_alpha_along(curve):
    curve.span = (-0.5, 1.5)
    curve.alpha = 1.25
    assert curve.wait(WAIT)
    alphas = curve.landscape.coords[0]
    assert alphas[0] <= -0.45
    assert {0.0, 1.0} <= set(alphas)
    assert curve.controls["alpha"].max == 1.5
    curve.span = (0.0, 1.0)
    assert curve.alpha == 1.0
    assert curve.controls["alpha"].max == 1.0


def test_a_span_without_the_models_has_no_barrier_and_says_why(curve):
    curve.span = (0.25, 0.75)
    assert curve.wait(WAIT)
    assert curve.study.status.phase == "done"
    assert "alpha must have 0 and 1 among its grid points" in picture(curve, "curves_picture").caption


def test_model_at_is_the_mixture(curve, digits):
    _, a, b = digits
    model = curve.model_at(0.25)
    for p, pa, pb in zip(model.parameters(), a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, 0.75 * pa + 0.25 * pb)
        assert p.requires_grad


def test_controls_and_traits_are_one(surface):
    for name, value in {
        "span": 0.5,
        "resolution": 33,
        "metric": "error",
        "log_height": True,
        "colormap": "magma",
    }.items():
        surface.controls[name].value = value
        assert getattr(surface, name) == value
    surface.seed_x = 7
    assert surface.controls["seed_x"].value == 7
    surface.seed_x = 12345  # beyond what the control offers
    assert surface.controls["seed_x"].value == 12345
    surface.resolution = 21  # between the control's steps
    assert surface.wait(WAIT)
    assert surface.landscape.shape == (21, 21)


def test_each_trait_of_the_surface_reaches_the_landscape(surface):
    surface.seed_x, surface.seed_y, surface.span, surface.normalize = 3, 4, 0.5, "layer"
    surface.tolerance = 0.0
    landscape = surface.landscape
    assert landscape.provenance["subspace"]["directions"] == ["seed 3, layer normalised", "seed 4, layer normalised"]
    assert landscape.coords[0][[0, -1]].tolist() == [-0.5, 0.5]
    assert landscape.evaluated.all()
    assert landscape.error["loss"] == 0.0


def numbers(explorer, token):
    """An array as it was sent to the browser."""
    sent = view(explorer, "surface_picture").arrays[str(token)]
    return np.frombuffer(sent["data"], {"f4": "<f4", "u1": "u1"}[sent["coding"]]).reshape(sent["shape"])


def test_what_is_sent_is_the_landscape(surface):
    surface.metric = "error"
    assert surface.wait(WAIT)
    landscape, sent = surface.landscape, view(surface, "surface_picture").picture
    assert picture(surface, "surface_picture").landscape is landscape
    for k, metric in enumerate(landscape.metrics):
        np.testing.assert_array_equal(
            numbers(surface, sent["values"]["arrays"][k]), landscape.values[metric].astype("f4")
        )
    np.testing.assert_array_equal(numbers(surface, sent["evaluated"]["array"]), landscape.evaluated)
    assert (sent["kind"], sent["metric"], sent["final"], sent["shape"]) == (
        "surface",
        "error",
        True,
        list(landscape.shape),
    )


def test_surface_model_at_and_pinned_point(surface, digits):
    objective, a, _ = digits
    surface.point = (0.5, -0.25)
    assert surface.point == (0.5, -0.25)
    model = surface.model_at(surface.point)
    x, y = (lw.Gaussian(seed).vector(lw.State.of(a), objective.space) for seed in (0, 1))
    for name, parameter in model.named_parameters():
        expected = dict(a.named_parameters())[name]
        if name in x:
            expected = expected + 0.5 * x[name] - 0.25 * y[name]
        torch.testing.assert_close(parameter, expected)
    surface.point = None
    assert surface.point is None


def test_the_envelope_compares_seeds_against_single_lines(surface, digits):
    objective, a, _ = digits
    surface.envelope = 3
    assert surface.wait(WAIT)
    curves = surface.latest("directions")
    assert len(curves) == 3
    alone = lw.sample(objective, lw.Line.random(a, seed=2), resolution=33, tolerance=surface.tolerance)
    np.testing.assert_array_equal(curves[2].values["loss"], alone.values["loss"])
    drawn = picture(surface, "envelope_picture")
    assert "along 3 random directions (seeds 0 to 2)" in drawn.caption
    np.testing.assert_array_equal(drawn.items[2].y, alone.values["loss"])
    assert "envelope_picture" in on_show(surface)
    surface.envelope = 0
    assert surface.wait(WAIT)
    assert picture(surface, "envelope_picture") is None
    assert "envelope_picture" not in on_show(surface)


def test_checks_pass_on_an_honest_picture_and_catch_a_changed_one(surface, digits):
    report = surface.verify(WAIT)
    assert report
    assert report.checks["The picture contains the model itself"].state == "pass"
    landscape = surface.landscape
    broken = {name: values + 1.0 for name, values in landscape.values.items()}
    forged = replace(landscape, values=broken)
    assert checks.reproduces(digits[0], surface.latest("plane"), forged).state == "fail"


def test_an_exception_in_the_loss_is_shown_and_the_last_picture_stays(digits):
    _, a, _ = digits
    images, labels = lw.demo.digits_data()
    limit = [1e9]

    def touchy(output, target):
        value = F.cross_entropy(output, target)
        if value > limit[0]:
            raise RuntimeError("the loss has had enough")
        return value

    explorer = lw.SurfaceExplorer(lw.Objective(a, (images, labels), loss=touchy), resolution=9, span=0.1)
    assert explorer.wait(WAIT)
    good, sent = picture(explorer, "surface_picture"), dict(view(explorer, "surface_picture").picture)
    limit[0] = 0.0
    explorer.span = 0.2
    assert explorer.wait(WAIT)
    assert explorer.status_bar.status["phase"] == "failed"
    assert explorer.status_bar.status["message"] == "RuntimeError: the loss has had enough"
    assert picture(explorer, "surface_picture").landscape is good.landscape
    assert view(explorer, "surface_picture").picture == sent
    limit[0] = 1e9
    explorer.span = 0.3
    assert explorer.wait(WAIT)
    assert explorer.status_bar.status["phase"] == "done"
    explorer.close()


def test_stop_ends_within_a_step_and_keeps_the_picture(digits):
    _, a, _ = digits

    def slow(output, target):
        time.sleep(0.01)
        return F.cross_entropy(output, target)

    explorer = lw.SurfaceExplorer(lw.Objective(a, lw.demo.digits_data(), loss=slow), resolution=65, tolerance=0.0)
    deadline = time.monotonic() + WAIT
    while picture(explorer, "surface_picture") is None and time.monotonic() < deadline:
        time.sleep(0.01)
    explorer.study.stop()
    assert explorer.wait(2)
    assert explorer.status_bar.status["phase"] == "stopped"
    assert 0 < explorer.landscape.evaluations < 65 * 65
    assert not explorer.landscape.final
    explorer.close()


def test_close_stops_the_worker_closes_every_child_and_says_so_afterwards(digits):
    explorer = lw.SurfaceExplorer(digits[0], resolution=9, title="Closing down")
    explorer.wait(WAIT)
    children = [view(explorer, "surface_picture"), *explorer.controls.values(), explorer.status_bar]
    explorer.close()
    explorer.close()
    assert explorer.study._work.latest.join(5)
    assert not any("Closing down" in thread.name for thread in threading.enumerate())
    assert all(child.comm is None for child in children)
    with pytest.raises(RuntimeError, match=r"SurfaceExplorer.wait: widget must be open, got a closed one"):
        explorer.wait()
    with pytest.raises(RuntimeError, match="study must be open, got the closed 'Closing down'"):
        explorer.seed_x = 3
    assert explorer.landscape.evaluations > 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("resolution", 1, r"resolution must lie in \[3, 2049\], got 1"),
        ("metric", "accuracy", "metric must be one of 'loss', 'error', got 'accuracy'"),
        ("normalize", "filters", "normalize must be one of 'filter', 'layer', 'model', 'none'"),
        ("span", -1.0, "span must lie in"),
        ("seed_x", 0.5, "seed_x must be an integer, got 0.5"),
    ],
)
def test_a_trait_refuses_by_name_and_keeps_its_value(surface, name, value, message):
    before = getattr(surface, name)
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(surface, name, value)
    assert getattr(surface, name) == before


@pytest.fixture
def evaluated(monkeypatch):
    """Where everything is noted that is evaluated: a point of a landscape, or a model by itself."""
    noted = []
    points, measure = Local.__call__, ModelObjective.measure

    def noting(self, coefficients):
        for row in points(self, coefficients):
            noted.append("point")
            yield row

    def noting_too(self, *args, **more):
        noted.append("model")
        return measure(self, *args, **more)

    monkeypatch.setattr(Local, "__call__", noting)
    monkeypatch.setattr(ModelObjective, "measure", noting_too)
    return noted


def rests(explorer, monkeypatch):
    """A function that blocks until the explorer's worker has used its idle time where the sliders are now."""
    ends = queue.SimpleQueue()
    worker = explorer.study._work.latest
    leisure = worker._leisure

    def noting():
        began = dict(explorer.study.values)
        leisure()
        ends.put(began)

    def rest():
        while ends.get(timeout=WAIT) != explorer.study.values:
            pass

    monkeypatch.setattr(worker, "_leisure", noting)
    return rest


def test_a_second_visit_evaluates_nothing_and_a_prefetched_one_no_point(digits, surface, evaluated, monkeypatch):
    rest = rests(surface, monkeypatch)
    monkeypatch.setattr("lwidgets.study.worker._PREFETCHED", 60.0)  # however busy the machine is
    for name, values in {"seed_x": (1, 3), "span": (0.95, 2.5), "log_height": (True,), "resolution": (25,)}.items():
        start, expected = getattr(surface, name), {}
        for value in values:
            setattr(surface, name, value)
            rest()
            expected[value] = surface.landscape
        assert {"point", "model"} == set(evaluated)
        evaluated.clear()
        with monkeypatch.context() as patch:
            patch.setattr("lwidgets.study.worker._PREFETCHED", -1.0)
            for value in (start, *values):
                setattr(surface, name, value)
                rest()
                assert evaluated == []
                assert surface.landscape is expected.get(value, surface.landscape)
                assert picture(surface, "surface_picture").landscape is surface.landscape
    surface.seed_y = 2
    rest()
    evaluated.clear()
    monkeypatch.setattr("lwidgets.study.worker._PREFETCHED", -1.0)  # nothing more is computed ahead
    surface.seed_y = 3
    assert surface.wait(WAIT)
    assert set(evaluated) == {"model"}  # checks are run on what is on show
    alone = lw.sample(
        digits[0], lw.Plane.random(digits[1], (3, 3)).over(surface.span), resolution=25, tolerance=1e-2, log=True
    )
    np.testing.assert_allclose(surface.landscape.values["loss"], alone.values["loss"], rtol=1e-5)


def test_no_directions_are_kept_but_those_on_show(surface, monkeypatch):
    made, bound = [], lw.Subspace.bound

    def noting(self, *args, **more):
        made.append(weakref.ref(found := bound(self, *args, **more)))
        return found

    monkeypatch.setattr(lw.Subspace, "bound", noting)
    rest = rests(surface, monkeypatch)
    surface.seed_x = 1
    rest()
    assert len(made) > 3  # the neighbours' planes were made
    alive = [plane() for plane in made if plane() is not None]
    assert [plane.directions[0].label for plane in alive] == [surface.latest("plane").directions[0].label]


def test_a_remembered_surface_needs_no_directions(surface, monkeypatch):
    rest = rests(surface, monkeypatch)
    for seed in (1, 0):
        surface.seed_x = seed
        rest()
    assert "basis" not in vars(surface.latest("plane"))


def test_an_unknown_keyword_is_refused_with_the_known_ones(digits):
    with pytest.raises(TypeError, match=r"SurfaceExplorer: 'seeds' must be one of the sliders seed_x, seed_y, span"):
        lw.SurfaceExplorer(digits[0], seeds=(0, 1))


def test_a_plane_through_three_models_marks_and_reproduces_them(digits):
    objective, a, b = digits
    c = lw.demo.digits(seeds=(2, 3), hidden=(16,), steps=60)[1]
    explorer = lw.SurfaceExplorer(objective, lw.Plane.through(a, b, c), resolution=17)
    assert explorer.wait(WAIT)
    assert [(m.x, m.y, m.label) for m in picture(explorer, "surface_picture").markers] == [
        (0, 0, "a"),
        (1, 0, "b"),
        (0, 1, "c"),
    ]
    for point, model in {(0.0, 0.0): a, (1.0, 0.0): b, (0.0, 1.0): c}.items():
        assert explorer.landscape.at(point)["loss"] == pytest.approx(plain_loss(objective, model), rel=1e-5)
    assert explorer.verify(WAIT)
    explorer.close()


def test_an_analytic_objective_needs_no_model():
    def two(u):
        return {"height": u[:, 0] ** 2 - u[:, 1], "slope": u[:, 0]}

    explorer = lw.SurfaceExplorer(lw.Objective.from_function(two, 2, names=("w1", "w2")), resolution=17)
    assert explorer.wait(WAIT)
    x, y = np.meshgrid(*explorer.landscape.coords, indexing="ij")
    np.testing.assert_allclose(explorer.landscape.values["height"], x**2 - y, atol=1e-12)
    assert explorer.landscape.axes == ("w1", "w2")
    assert picture(explorer, "surface_picture").markers == ()
    assert explorer.verify(WAIT)
    explorer.close()


def test_a_batchnorm_network_is_recalibrated_on_a_line_and_frozen_on_a_plane():
    torch.manual_seed(0)
    a, b = (nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10)).eval() for _ in range(2))
    objective = lw.Objective(a, lw.demo.digits_data(), loss=F.cross_entropy)
    line, plane = lw.CurveExplorer(objective, a, b, resolution=9), lw.SurfaceExplorer(objective, resolution=9)
    assert line.wait(WAIT)
    assert plane.wait(WAIT)
    assert line.landscape.provenance["batchnorm"] == "recalibrate"
    assert plane.landscape.provenance["batchnorm"] == "frozen"
    assert "Recalibrated" in line.verify(WAIT).checks["BatchNorm"].detail
    line.close()
    plane.close()


def test_the_explorers_are_ipywidgets_with_named_classes(curve, surface):
    for explorer in (curve, surface):
        assert isinstance(explorer, ipywidgets.VBox)
        assert "lwidgets-explorer" in explorer._dom_classes
        for name, control in explorer.controls.items():
            assert f"lwidgets-{name.replace('_', '-')}" in control._dom_classes


def test_a_widget_shows_what_its_study_holds_before_and_after(digits):
    explorer = lw.CurveExplorer(*digits, alpha=1.5, span=(0.0, 2.0), resolution=9)
    assert (explorer.alpha, explorer.controls["alpha"].value, explorer.controls["alpha"].max) == (1.5, 1.5, 2.0)
    explorer.study.set(span=(0.0, 1.0), resolution=17)
    assert (explorer.alpha, explorer.controls["alpha"].value) == (1.0, 1.0)
    assert (explorer.resolution, explorer.controls["resolution"].value) == (17, 17)
    assert explorer.wait(WAIT)
    assert explorer.landscape.shape == (17,)
    explorer.close()


def test_a_given_plane_is_explored_as_it_is_until_its_span_moves(digits):
    objective = lw.Objective.from_function(lambda u: u.sum(dim=1), 2)
    plane = lw.Subspace.identity(2, span=[(0, 1), (-5, 5)])
    explorer = lw.SurfaceExplorer(objective, plane, resolution=9)
    assert [(c[0], c[-1]) for c in explorer.landscape.coords] == [(0, 1), (-5, 5)]
    explorer.span = (-2.0, 2.0)
    assert [(c[0], c[-1]) for c in explorer.landscape.coords] == [(-2, 2), (-2, 2)]
    explorer.close()


def test_a_stop_before_anything_was_there_returns_no_other_picture(digits):
    _, a, _ = digits

    def slow(output, target):
        time.sleep(pause[0])
        return F.cross_entropy(output, target)

    pause = [0.0]
    explorer = lw.SurfaceExplorer(lw.Objective(a, lw.demo.digits_data(), loss=slow), resolution=9)
    assert explorer.wait(WAIT)
    pause[0] = 0.5
    explorer.seed_x = 7
    time.sleep(0.1)
    explorer.study.stop()
    assert explorer.wait(5)
    with pytest.raises(RuntimeError, match=r"must have been computed for the present sliders, got a stop"):
        _ = explorer.landscape
    explorer.close()


def test_a_closed_explorer_keeps_nothing_alive(digits):
    _, a, _ = digits
    objective = lw.Objective(a, lw.demo.digits_data(), loss=F.cross_entropy)
    explorer = lw.SurfaceExplorer(objective, resolution=9)
    assert explorer.wait(WAIT)
    explorer.close()
    kept = weakref.ref(objective)
    del explorer, objective
    deadline = time.monotonic() + WAIT
    while kept() is not None and time.monotonic() < deadline:  # what was computed ahead ends at its next batch
        gc.collect()
        time.sleep(0.05)
    assert kept() is None


def test_a_metric_that_repeats_a_key_of_the_loss_is_refused(digits):
    _, a, _ = digits

    def loss(output, target):
        return {"loss": F.cross_entropy(output, target), "norm": output.norm()}

    with pytest.raises(ValueError, match="metrics must not repeat 'norm', a key of the loss's dict"):
        lw.Objective(a, lw.demo.digits_data(), loss=loss, metrics={"norm": lw.metrics.error})


def test_a_path_that_is_not_a_line():
    objective, a, b = lw.demo.digits(hidden=(8,), steps=60)
    bend = objective.space.select(lw.State.of(lw.demo.digits(hidden=(8,), steps=20, seeds=(7, 8))[1]))
    path = lw.subspaces.Bezier(a, bend, b)
    explorer = lw.CurveExplorer(objective, path, resolution=17, tolerance=0.0)
    assert explorer.wait(60)
    for t, value in zip(explorer.landscape.coords[0], explorer.landscape.values["loss"], strict=True):
        assert value == pytest.approx(objective.measure(path.bound(objective.space).point([t]))["loss"], rel=1e-6)
    values = explorer.landscape.values["loss"]
    chord = np.linspace(values[0], values[-1], 17)
    assert explorer.barriers["train"].value >= (values - chord).max() - 1e-9
    assert picture(explorer, "curves_picture").x == "t (0 = a, 1 = b)"
    assert explorer.verify(60)
    explorer.close()


def test_a_line_around_one_model():
    objective, a, _ = lw.demo.digits(hidden=(8,), steps=20)
    explorer = lw.CurveExplorer(objective, lw.Line.random(a, 3, span=0.5), resolution=9)
    assert explorer.wait(60)
    assert explorer.span == (-0.5, 0.5)
    assert explorer.landscape.coords[0][[0, -1]].tolist() == [-0.5, 0.5]
    assert explorer.study.checks["The models are two"].state == "info"
    explorer.close()


def test_paths_that_cannot_be_drawn_are_refused():
    objective, a, b = lw.demo.digits(hidden=(8,), steps=2)
    with pytest.raises(ValueError, match="path must have one coordinate, got 2"):
        lw.CurveExplorer(objective, lw.Plane.random(a))
    with pytest.raises(TypeError, match="b must be left out"):
        lw.CurveExplorer(objective, lw.Line(a, b), b)
    with pytest.raises(TypeError, match="b must be the model at alpha 1"):
        lw.CurveExplorer(objective, a)


@pytest.mark.filterwarnings("ignore:Plane. weights that directions are scaled to must not be zero")
def test_what_stays_because_its_weights_are_zero_is_said_among_the_checks():
    model, x = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)), torch.randn(8, 4)
    objective = lw.Objective(model, (x, torch.arange(8) % 2), loss=F.cross_entropy)
    torch.nn.init.zeros_(model[1].weight)
    for fresh, state in (
        (model, "warn"),
        (torch.nn.Sequential(*(torch.nn.Linear(*s) for s in ((4, 3), (3, 2)))), "pass"),
    ):
        explorer = lw.SurfaceExplorer(objective, lw.Plane.random(fresh), resolution=9)
        check = explorer.verify(WAIT).checks["Weights of zero"]
        explorer.close()
        assert check.state == state
        assert ("1.weight (6 of 6)" in check.detail) == (state == "warn")


class TooLarge(Exception):
    pass


def steep(limit):
    """An objective that fails where the loss is larger than a limit, and its model."""
    model = MLP.model()

    def loss(output, target):
        value = F.cross_entropy(output, target)
        if value > limit:
            raise TooLarge("too large for me")
        return value

    return lw.Objective(model, MLP.samples(), loss=loss), model


READS = {
    "landscape": lambda explorer: explorer.landscape,
    "landscapes": lambda explorer: explorer.landscapes,
    "barriers": lambda explorer: explorer.barriers,
    "a node": lambda explorer: explorer.latest("sampled_barriers"),
}


@pytest.mark.parametrize("read", ["surface", *READS])
def test_a_picture_that_failed_raises_what_failed(read):
    objective, model = steep(40.0)
    if read == "surface":
        explorer, narrow, wide = lw.SurfaceExplorer(objective, resolution=5, span=0.1), 0.1, 900.0
    else:
        explorer = lw.CurveExplorer(objective, model, MLP.model(1), resolution=9)
        narrow, wide = (0.0, 1.0), (-90.0, 90.0)
    read = READS.get(read, READS["landscape"])
    fine = read(explorer)
    explorer.span = wide
    for _ in range(2):  # and again, for whoever asks again
        with pytest.raises(TooLarge, match="too large for me") as caught:
            read(explorer)
        assert sum(note.startswith("sample: failed at ") for note in caught.value.__notes__) == 1
        assert isinstance(caught.value.landscape, lw.Landscape)
    assert explorer.study.status.phase == "failed"
    assert "too large for me" in str(explorer.verify())
    explorer.span = narrow
    assert type(read(explorer)) is type(fine)
    explorer.close()
    assert type(read(explorer)) is type(fine)  # results can still be read


def test_what_did_not_fail_is_still_given():
    objective, _ = steep(40.0)
    explorer = lw.SurfaceExplorer(objective, resolution=5, span=0.1)
    explorer.span = 900.0
    assert explorer.wait(60)
    assert isinstance(explorer.latest("plane"), lw.Plane)
    explorer.close()


def test_after_a_stop_or_a_close_no_picture_of_other_sliders_is_given():
    begun, hold = threading.Event(), threading.Event()

    def loss(output, target):
        if hold.is_set():
            begun.set()
            time.sleep(0.01)
        return F.cross_entropy(output, target)

    x, y = MLP.samples()
    objective = lw.Objective(MLP.model(), list(zip(x.split(1), y.split(1), strict=True)), loss=loss)
    explorer = lw.SurfaceExplorer(objective, resolution=3)
    assert explorer.landscape.final
    hold.set()
    explorer.seed_x = 5
    assert begun.wait(20)
    explorer.study.stop()
    with pytest.raises(RuntimeError, match=r"present sliders, got a stop before. Move a slider, or call start\(\)"):
        _ = explorer.landscape
    begun.clear()
    explorer.seed_x = 6
    assert begun.wait(20)
    explorer.close()
    with pytest.raises(RuntimeError, match=r"got a stop before. Make a new one"):
        _ = explorer.landscape


@pytest.mark.parametrize("span", [(-2.0, 3.0), (0.0, 4.0), (-4.0, 5.0), (-7.5, 0.5), (2.5, 60.0)])
def test_a_pair_keeps_what_code_sets(span):
    a, b = MLP.model(), MLP.model(1)
    objective = MLP.objective()
    for explorer in (
        lw.CurveExplorer(objective, a, b, resolution=5),
        lw.SurfaceExplorer(objective, lw.Plane.through(a, b, MLP.model(2)), resolution=5),
    ):
        explorer.span = span
        assert explorer.wait(60)
        assert explorer.span == explorer.controls["span"].value == span
        moved = (span[0], span[0] + 3.0)
        explorer.controls["span"].value = moved  # the control is still one
        assert explorer.span == moved
        explorer.close()
    made = lw.CurveExplorer(objective, a, b, resolution=5, span=span)
    assert made.span == made.controls["span"].value == span
    with pytest.raises(traitlets.TraitError, match="span must lie in"):
        made.span = (-1000.0, 1.0)
    assert made.span == span
    made.close()


EVERY = (
    lw.SurfaceExplorer,
    lw.CurveExplorer,
    lw.LayerwiseExplorer,
    lw.ConnectivityExplorer,
    lw.MergingExplorer,
)


@pytest.fixture(scope="module")
def every():
    """One explorer of each kind, with all that can be asked for, closed in the end."""
    objective, a, b = lw.demo.digits(hidden=(8,), steps=20)
    c = lw.demo.digits(seeds=(2, 3), hidden=(8,), steps=20)[1]
    base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=20)
    made = [
        lw.SurfaceExplorer(objective, resolution=9),
        lw.CurveExplorer(objective, a, b, resolution=9),
        lw.LayerwiseExplorer(objective, a, b),
        lw.ConnectivityExplorer(objective, a, b, c, plane=False, resolution=9),
        lw.MergingExplorer(base, [*models, models[0]], tasks["digits 0 to 4"], plane=False, compare=False),
    ]
    yield made
    for explorer in made:
        explorer.close()


def test_every_slider_is_a_trait_that_hides_nothing_of_the_explorer(every):
    assert tuple(type(explorer).__mro__[1] for explorer in every) == EVERY
    for explorer in every:
        cls = type(explorer).__mro__[1]
        assert {name for name in explorer.study.sliders if hasattr(cls, name)} == set()
        for name, value in explorer.study.values.items():
            assert explorer.has_trait(name)
            assert getattr(explorer, name) == explorer.controls[name].value == value
            assert f"{name}={value!r}" in repr(explorer)


def test_a_value_is_the_studys_and_who_observes_is_told_once(every):
    for explorer in every:
        seen = []
        explorer.observe(lambda change, seen=seen: seen.append((change["name"], change["old"], change["new"])))
        before = explorer.log_height
        explorer.log_height = not before
        explorer.controls["log_height"].value = before
        explorer.study.set(log_height=not before)
        explorer.set_trait("log_height", before)
        explorer.log_height = before
        assert seen == [("log_height", *((before, not before), (not before, before))[k % 2]) for k in range(4)]
        assert explorer.study.values["log_height"] is before
        explorer.unobserve_all()


def test_a_tolerance_keeps_what_was_typed_and_a_slider_that_is_rounded_stays(every):
    curve = every[1]
    curve.alpha = 1 / 3
    curve.controls["alpha"].value = 0.33  # as a browser shows it
    assert curve.alpha == curve.study["alpha"] == 1 / 3
    curve.controls["tolerance"].value = 0.0123456789
    assert curve.tolerance == 0.0123456789


def test_a_point_can_be_pinned_before_there_is_a_picture_and_from_the_browser(digits):
    begun, go = threading.Event(), threading.Event()

    def loss(output, target):
        begun.set()
        go.wait(WAIT)
        return F.cross_entropy(output, target)

    go.set()
    objective = lw.Objective(digits[1], lw.demo.digits_data(), loss=loss)
    go.clear()
    begun.clear()
    explorer = lw.SurfaceExplorer(objective, resolution=5)
    assert begun.wait(WAIT)
    assert (explorer.point, view(explorer, "surface_picture")) == (None, None)
    explorer.point = (0.25, -0.5)
    assert explorer.point == (0.25, -0.5)
    explorer.hold("surface_picture", camera={"yaw": 1.0})
    go.set()
    assert explorer.wait(WAIT)
    shown = view(explorer, "surface_picture")
    assert shown.held == {"point": [0.25, -0.5], "camera": {"yaw": 1.0}}
    shown.held = {**shown.held, "point": [0.75, 0.0]}  # a person pins another
    assert explorer.point == (0.75, 0.0)
    assert explorer.study.held["surface_picture"]["camera"] == {"yaw": 1.0}
    explorer.seed_x = 3
    assert explorer.wait(WAIT)
    assert explorer.point == (0.75, 0.0)
    for wrong in ((1.0,), (1.0, 2.0, 3.0), (0.0, float("nan"))):
        with pytest.raises(traitlets.TraitError, match="point must be two finite numbers, or None, got"):
            explorer.point = wrong
    with pytest.raises(KeyError, match=r"hold: panel must be one of surface_picture, envelope_picture, got 'map'"):
        explorer.hold("map", camera={})
    explorer.point = None
    assert (explorer.point, shown.held["point"]) == (None, [])
    explorer.close()


def test_closing_while_it_computes_gives_everything_back_at_once(digits):
    begun, go = threading.Event(), threading.Event()

    def loss(output, target):
        begun.set()
        go.wait(WAIT)
        return F.cross_entropy(output, target)

    go.set()
    objective = lw.Objective(digits[1], lw.demo.digits_data(), loss=loss)
    go.clear()
    begun.clear()
    before = set(ipywidgets.widgets.widget._instances)
    explorer = lw.SurfaceExplorer(objective, resolution=9, title="Closed early")
    assert begun.wait(WAIT)
    began = time.monotonic()
    explorer.close()
    assert time.monotonic() < began + 5  # a batch that hangs does not hold it up
    go.set()
    assert explorer.study._work.latest.join(WAIT)
    assert set(ipywidgets.widgets.widget._instances) <= before
    assert explorer not in lw.StudyWidget.on_show()
    assert explorer.study.status.phase == "closed"
