"""Merged models in the explorer, against models put together by hand."""

import copy
from contextlib import closing

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets import merging
from lwidgets.export.recording import record
from tests.models import at, flat, named
from tests.studies.reading import curve_of, picture, text_of


def convolutional(bn):
    layers = [
        nn.Conv2d(1, 4, 3),
        *([nn.BatchNorm2d(4)] if bn else []),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 4 * 5, 4),
    ]
    return nn.Sequential(*layers)


@pytest.fixture(scope="module", params=["mlp", "cnn", "batchnorm"])
def family(request):
    """A base, three models made of it, and their tasks: of different sizes, with and without a name."""
    torch.manual_seed(0)
    if request.param == "mlp":
        base = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
        inputs = [torch.randn(n, 6) for n in (30, 20, 25)]
    else:
        base = convolutional(request.param == "batchnorm")
        inputs = [torch.randn(n, 1, 6, 7) for n in (30, 20, 25)]
    models, tasks = [], {}
    for name, x in zip(("red", "green", "blue"), inputs, strict=True):
        model, y = copy.deepcopy(base), torch.randint(4, (len(x),))
        optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-2)
        for _ in range(25):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        models.append(model.eval())
        tasks[name] = lw.Objective(model, (x, y), loss=F.cross_entropy, metrics={"error": lw.metrics.error})
    return base.eval(), models, tasks


def between(base, merged, scale):
    """base + scale (merged - base), tensor by tensor in float64."""
    other = {name: tensor.double() - named(base)[name].double() for name, tensor in merged.parameters.items()}
    return at(base, [(1.0, named(base)), (scale, other)])


def loss(task, module):
    """On the task's data, BatchNorm with the statistics of those data."""
    ((x, y),) = task.data.batches
    module = copy.deepcopy(module).train()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = 1.0
    with torch.no_grad():
        module(x)
        return F.cross_entropy(module.eval()(x), y).item()


def row_of(explorer, method):
    """The row of the table that speaks of a method."""
    (found,) = (row for row in picture(explorer, "methods_table").rows if row[0].endswith(f" {method}"))
    return found


DIRECT = {
    "average": lambda base, models, tasks: merging.average(*models),
    "task arithmetic": lambda base, models, tasks: merging.task_arithmetic(base, *models),
    "ties": lambda base, models, tasks: merging.ties(base, *models, keep=0.3),
    "dare": lambda base, models, tasks: merging.dare(base, *models, drop=0.7, seed=4),
    "isotropic": lambda base, models, tasks: merging.isotropic(base, *models),
    "fisher": lambda base, models, tasks: merging.fisher(*models, objectives=tasks),
    "regmean": lambda base, models, tasks: merging.regmean(*models, objectives=tasks),
    "epimer": lambda base, models, tasks: merging.epimer(base, *models, objectives=tasks),
}


def test_every_method_is_offered_and_is_that_of_the_library(family):
    base, models, tasks = family
    explorer = lw.MergingExplorer(base, models, tasks, density=0.3, seed=4, plane=False, compare=False)
    assert explorer.study.sliders["method"].options == tuple(DIRECT)
    for method, direct in DIRECT.items():
        explorer.method = method
        assert explorer.wait(60)
        made = direct(base, models, list(tasks.values()))
        np.testing.assert_allclose(flat(explorer.merged.parameters), flat(made.parameters), rtol=1e-6, atol=1e-7)
    assert list(explorer.compared) == ["base", "red", "green", "blue"]
    explorer.close()


def test_the_curves_are_those_of_models_put_together_by_hand(family):
    base, models, tasks = family
    explorer = lw.MergingExplorer(
        base, models, tasks, method="ties", density=0.4, span=(-0.25, 1.5), resolution=15, tolerance=0.0, plane=False
    )
    assert explorer.wait(60)
    merged = merging.ties(base, *models, keep=0.4)
    assert list(explorer.landscapes) == list(tasks)
    for name, curve in explorer.landscapes.items():
        assert {0.0, 1.0} <= set(curve.coords[0])
        for scale, value in list(zip(curve.coords[0], curve.values["loss"], strict=True))[::3]:
            assert value == pytest.approx(loss(tasks[name], between(base, merged, scale)), rel=1e-5)
    explorer.scale = 0.3
    assert explorer.wait(60)
    told = {name: loss(task, between(base, merged, 0.3)) for name, task in tasks.items()}
    here = {name: scores["loss"] for name, scores in explorer.study["here"].items()}
    assert here == pytest.approx(told, rel=1e-5)
    words = picture(explorer, "curves_picture").caption
    assert all(f"{name} {value:.4g}" in words for name, value in here.items())
    assert f"mean {np.mean(list(here.values())):.4g}" in words
    module = explorer.model_at(0.3)
    by_hand = between(base, merged, 0.3)
    for one, other in zip(module.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one, other.to(one), rtol=1e-5, atol=1e-6)
    assert explorer.verify(60)
    explorer.close()


def test_dashed_lines_are_each_model_on_its_own_task(family):
    base, models, tasks = family
    explorer = lw.MergingExplorer(base, models, tasks, plane=False, compare=False)
    assert explorer.wait(60)
    dashed = [one for one in picture(explorer, "curves_picture").items if getattr(one, "style", "") == "dashed"]
    expected = [loss(task, model) for task, model in zip(tasks.values(), models, strict=True)]
    assert [one.y[0] for one in dashed] == pytest.approx(expected, rel=1e-5)
    mean = curve_of(explorer, "curves_picture", "mean of tasks")
    np.testing.assert_allclose(mean.y, np.mean([c.values["loss"] for c in explorer.landscapes.values()], axis=0))
    explorer.close()


def test_the_table_has_every_method_where_its_mean_loss_is_lowest(family):
    base, models, tasks = family
    explorer = lw.MergingExplorer(base, models, tasks, density=0.3, seed=4, plane=False)
    assert explorer.wait(120)
    assert list(explorer.compared) == ["base", *tasks, *DIRECT]
    grid = np.linspace(0, 1.5, 31)
    for name in ("average", "dare", "regmean"):
        made = DIRECT[name](base, models, list(tasks.values()))
        means = [np.mean([loss(task, between(base, made, s)) for task in tasks.values()]) for s in grid]
        one = explorer.compared[name]
        assert np.interp(one.scale, grid, means) <= min(means) + 0.03 * np.ptp(means)
        for task, scores in one.scores.items():
            assert scores["loss"] == pytest.approx(loss(tasks[task], between(base, made, one.scale)), rel=1e-5)
        assert f"{np.mean([s['loss'] for s in one.scores.values()]):.4g}" in row_of(explorer, name)
    for name, module in (("base", base), *zip(tasks, models, strict=True)):
        assert explorer.compared[name].scale is None
        for task, scores in explorer.compared[name].scores.items():
            assert scores["loss"] == pytest.approx(loss(tasks[task], module), rel=1e-5)
    explorer.close()


def test_the_plane_holds_the_models_and_marks_where_each_method_ends(family):
    base, models, tasks = family
    explorer = lw.MergingExplorer(base, models, tasks, first="blue", second="green", method="dare", density=0.5)
    assert explorer.wait(120)
    origin, axes = flat(named(base)), np.stack([flat(named(models[i])) - flat(named(base)) for i in (2, 1)], axis=1)
    for name, (x, y, off) in explorer.study["places"].items():
        gap = flat(explorer.compared[name].state.parameters) - origin
        nearest, *_ = np.linalg.lstsq(axes, gap, rcond=None)
        np.testing.assert_allclose((x, y), nearest, atol=1e-5)
        assert off == pytest.approx(np.linalg.norm(gap - axes @ nearest), rel=1e-4, abs=1e-5)
    marks = {mark.label: (mark.x, mark.y) for mark in picture(explorer, "plane_picture").markers if mark.label}
    assert marks["base"] == pytest.approx((0, 0), abs=1e-9)
    assert marks["blue"] == pytest.approx((1, 0), abs=1e-6)
    assert marks["green"] == pytest.approx((0, 1), abs=1e-6)
    nearest, *_ = np.linalg.lstsq(axes, flat(explorer.merged.parameters) - origin, rcond=None)
    assert marks["scale 1"] == pytest.approx(tuple(nearest), abs=1e-5)
    assert set(marks) == {"base", "red", "green", "blue", "scale 1", *map(str, range(1, 9))}
    assert marks["4"] == pytest.approx(explorer.study["places"]["dare"][:2])
    assert row_of(explorer, "dare")[0] == "4 dare"
    explorer.scale, explorer.span = 0.5, (-0.25, 1.25)
    assert explorer.wait(60)
    last = picture(explorer, "plane_picture").markers[-1]
    assert (last.x, last.y) == pytest.approx(tuple(nearest / 2), abs=1e-5)
    (way,) = picture(explorer, "plane_picture").paths
    np.testing.assert_allclose([way.x, way.y], np.outer(nearest, np.linspace(-0.25, 1.25, 65)), atol=1e-5)
    assert way.dashed  # entries drawn at random lead out of the plane
    surfaces = explorer.study["surfaces"]
    shown = picture(explorer, "plane_picture").landscape.values["loss"]
    np.testing.assert_allclose(shown, np.mean([s.values["loss"] for s in surfaces.values()], axis=0), rtol=1e-6)
    for name, surface in surfaces.items():
        for i, j in np.argwhere(surface.evaluated)[::40]:
            x, y = surface.coords[0][i], surface.coords[1][j]
            point = dict(
                zip(
                    named(base),
                    torch.split(torch.as_tensor(origin + axes @ [x, y]), [p.numel() for p in named(base).values()]),
                    strict=True,
                )
            )
            module = at(base, [(1.0, {n: t.reshape(named(base)[n].shape) for n, t in point.items()})])
            assert surface.values["loss"][i, j] == pytest.approx(loss(tasks[name], module), rel=1e-5)
    explorer.task = "green"
    assert explorer.wait(60)
    shown = picture(explorer, "plane_picture").landscape.values["loss"]
    np.testing.assert_allclose(shown, surfaces["green"].values["loss"], rtol=1e-6)
    explorer.close()


def test_one_objective_for_all_has_one_curve_and_no_task(family):
    base, models, tasks = family
    explorer = lw.MergingExplorer(base, models[:2], tasks["red"])
    assert explorer.wait(60)
    assert "task" not in explorer.study.sliders
    assert "first" not in explorer.study.sliders
    assert len(explorer.landscapes) == 1
    assert picture(explorer, "plane_picture").landscape.final
    assert picture(explorer, "methods_table").head == ("model", "scale", "loss", "L2 off the plane")
    assert list(explorer.compared)[:3] == ["base", "a", "b"]
    assert explorer.verify(60)
    explorer.close()


def test_a_method_of_ones_own_and_one_that_fails(family):
    base, models, tasks = family
    calls = []

    def last(start, given, objectives):
        calls.append((start, given, objectives))
        return given[-1]

    def broken(*_):
        raise ValueError("broken: models must be whole, got holes. Mend them.")

    own = {"last": last, "broken": broken}
    explorer = lw.MergingExplorer(base, models, tasks, methods=own, method="last")
    assert explorer.wait(60)
    assert explorer.merged.parameters.keys() == named(models[-1]).keys()
    assert loss(tasks["blue"], explorer.model_at(1.0)) == pytest.approx(loss(tasks["blue"], models[-1]), rel=1e-5)
    ((_, given, objectives),) = calls  # the picture and the comparison share it
    assert (len(given), list(objectives)) == (3, list(tasks.values()))
    where, scale = explorer.study["places"], explorer.compared["last"].scale
    assert where["last"] == pytest.approx(scale * np.array(where["blue"]), rel=1e-5)
    explorer.method = "broken"
    assert explorer.wait(60)
    assert "got holes" in text_of(explorer, "refusal")
    assert explorer.landscapes == {}
    assert explorer.verify(60)
    with pytest.raises(ValueError, match=r"merged: method must be able to merge these models, got broken: .* holes"):
        _ = explorer.merged
    explorer.method = "average"
    assert explorer.wait(60)
    assert set(explorer.landscapes) == set(tasks)
    explorer.close()


def test_controls_of_some_methods_are_shown_with_them(family):
    base, models, tasks = family
    explorer = lw.MergingExplorer(base, models, tasks, plane=False, compare=False)
    for method, shown in (("average", set()), ("ties", {"density"}), ("dare", {"density", "seed"}), ("fisher", set())):
        explorer.method = method
        assert {n for n in ("density", "seed") if explorer.controls[n].layout.display != "none"} == shown
    explorer.close()


def test_held_out_data_and_the_scale_chosen_without_them():
    base, models, tasks = lw.demo.digits_tasks(hidden=(32,), steps=300, held_out=0.95)
    explorer = lw.MergingExplorer(base, models, tasks, plane=False)
    assert explorer.wait(60)
    assert explorer.data == "test"
    on_test = explorer.compared
    explorer.data = "train"
    assert explorer.wait(60)
    assert {n: one.scale for n, one in explorer.compared.items()} == {n: one.scale for n, one in on_test.items()}
    for name, one in on_test.items():
        for task, scores in one.scores.items():
            if one.scale is not None:
                assert scores == pytest.approx(tasks[task].test.measure(one.state), rel=1e-6)
            assert scores["loss"] != explorer.compared[name].scores[task]["loss"]
    grid = np.linspace(0, 1.5, 31)
    ways = [between(base, merging.average(*models), scale) for scale in grid]
    known, unknown = (
        [np.mean([of(task).measure(way)["loss"] for task in tasks.values()]) for way in ways]
        for of in (lambda task: task, lambda task: task.test)
    )
    best = int(np.argmin(known))
    assert abs(best - int(np.argmin(unknown))) > 1
    assert on_test["average"].scale == pytest.approx(grid[best], abs=0.051)
    assert best == 30
    assert "1.5 or more" in row_of(explorer, "average")


def test_a_page_keeps_methods_and_scales(tmp_path):
    base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=20)
    explorer = lw.MergingExplorer(base, models, tasks)
    found = record(explorer.study, {"method": ("average", "ties"), "scale": (0.0, 0.5, 1.0)}, lambda *_: None)
    assert len(found.frames) == 6
    assert [(panel.name, panel.kind) for panel in found.panels] == [
        ("curves_picture", "curves"),
        ("plane_picture", "surface"),
        ("methods_table", "table"),
    ]
    assert "density" not in [slider.name for slider, _ in found.fixed]
    assert all(frame[2].title.startswith("Measured on the test data") for frame in found.frames)
    assert found.frames[0][0].caption != found.frames[5][0].caption
    path = explorer.to_html(tmp_path / "merging.html", {"method": ("average", "ties")})
    assert "task arithmetic" in path.read_text()
    explorer.close()


def test_what_cannot_be_merged_is_refused_in_words():
    base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=2)
    one, _ = tasks.values()
    with pytest.raises(ValueError, match=r"models must be two or more, got 1\. Pass"):
        lw.MergingExplorer(base, models[:1], one)
    with pytest.raises(ValueError, match=r"objectives must be one for each of 2 models, got 3"):
        lw.MergingExplorer(base, models, [one, one, one])
    other = lw.Objective(models[0], one.data.batches, loss=F.cross_entropy)
    with pytest.raises(ValueError, match=r"must have the same metrics, got loss of 'b' beside loss, error"):
        lw.MergingExplorer(base, models, [one, other])
    with pytest.raises(ValueError, match=r"models must be two or more, got str\. Pass a list \[a, b\], or a dict"):
        lw.MergingExplorer(base, "models", one)
    with pytest.raises(ValueError, match=r"models and objectives must have the same names, got 0, 1 and digits 0 to 4"):
        lw.MergingExplorer(base, dict(enumerate(models)), tasks)
    with pytest.raises(ValueError, match=r"names of tasks and methods must differ.* got '1' twice"):
        lw.MergingExplorer(base, {1: models[0], "1": models[1]}, one)
    with pytest.raises(ValueError, match=r"objectives must be one for each of 2 models, got 2: Objective, int\."):
        lw.MergingExplorer(base, models, [one, 3])
    partly = lw.Objective(
        models[0], one.data.batches, loss=F.cross_entropy, metrics={"error": lw.metrics.error}, params="0.*"
    )
    with pytest.raises(ValueError, match=r"must move the same parameters of one architecture, got .* of 'b' beside"):
        lw.MergingExplorer(base, models, [one, partly])
    for names, twice in (("ties", "b"), "ties"), (("mean of tasks", "b"), "mean of tasks"), (("base", "b"), "base"):
        with pytest.raises(ValueError, match=f"names of tasks and methods must differ, .* got {twice!r} twice"):
            lw.MergingExplorer(base, models, dict(zip(names, tasks.values(), strict=True)))
    wider, *_ = lw.demo.digits_tasks(hidden=(9,), steps=1)
    with pytest.raises(ValueError, match=r"0\.weight"):
        lw.MergingExplorer(wider, models, tasks)


def test_a_head_of_each_task_is_in_its_loss():
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(5, 6), nn.Tanh())
    models = [nn.Sequential(nn.Linear(5, 6), nn.Tanh()) for _ in range(2)]
    heads = [nn.Linear(6, 3), nn.Linear(6, 4)]
    data = [(torch.randn(12, 5), torch.randint(count, (12,))) for count in (3, 4)]
    tasks = [
        lw.Objective(model, one, loss=lambda features, y, head=head: F.cross_entropy(head(features), y))
        for model, one, head in zip(models, data, heads, strict=True)
    ]
    explorer = lw.MergingExplorer(base, models, tasks, scale=0.5, plane=False)
    assert explorer.wait(60)
    half = between(base, merging.average(*models), 0.5)
    for (x, y), head, scores in zip(data, heads, explorer.study["here"].values(), strict=True):
        with torch.no_grad():
            assert scores["loss"] == pytest.approx(F.cross_entropy(head(half.float()(x)), y).item(), rel=1e-5)
    explorer.close()


@pytest.mark.parametrize("mode", ["frozen", "batch", "recalibrate"])
def test_the_models_that_were_given_are_scored_as_themselves(mode):
    torch.manual_seed(0)
    models = [convolutional(True) for _ in range(3)]
    data = [(torch.randn(24, 1, 6, 7) + k, torch.randint(4, (24,))) for k in range(2)]
    for model, (x, _) in zip(models, (data[0], *data), strict=True):
        model.train()(x)
        model.eval()
    tasks = [lw.Objective(models[0], one, loss=F.cross_entropy, batchnorm=mode) for one in data]
    explorer = lw.MergingExplorer(models[0], models[1:], tasks, plane=False, compare=False)
    assert explorer.wait(60)
    for name, model in zip(("base", "a", "b"), models, strict=True):
        for task, scores in zip(tasks, explorer.compared[name].scores.values(), strict=True):
            assert scores == task.measure(model, mode)
    explorer.close()


def test_what_does_not_move_stays_the_bases_in_every_method():
    torch.manual_seed(0)
    base, *models = (nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)) for _ in range(3))
    data = [(torch.randn(12, 5), torch.randint(3, (12,))) for _ in range(2)]
    tasks = [lw.Objective(base, one, loss=F.cross_entropy, params="0.*") for one in data]
    explorer = lw.MergingExplorer(base, models, tasks, plane=False)
    for method in ("average", "ties", "fisher"):
        explorer.method = method
        assert explorer.wait(60)
        assert explorer.merged.parameters["2.weight"].equal(base[2].weight)
        drawn = [curve.at(1.0)["loss"] for curve in explorer.landscapes.values()]
        assert drawn == pytest.approx([task.measure(explorer.merged)["loss"] for task in tasks], rel=1e-6)
        assert explorer.verify(60)
    explorer.close()


def test_a_method_that_goes_wrong_spoils_nothing():
    base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=20)

    def greedy(start, given, objectives):
        for state in (start, *given):
            for tensor in state.parameters.values():
                tensor.zero_()
        return given[0]

    def nan(start, given, objectives):
        return {name: tensor * float("nan") for name, tensor in start.parameters.items()}

    own = {"greedy": greedy, "wrong": lambda start, given, objectives: start.weight, "nan": nan}
    explorer = lw.MergingExplorer(base, models, tasks, methods=own)
    assert explorer.wait(60)
    before = {name: one.scores for name, one in explorer.compared.items() if one.scale is None}
    for method, told in (("greedy", ""), ("wrong", "AttributeError: 'State' object has no"), ("nan", "not finite")):
        explorer.method = method
        assert explorer.wait(60)
        assert explorer.study.error is None
        assert (told in text_of(explorer, "refusal")) if told else picture(explorer, "refusal") is None
        assert all(np.isfinite([mark.x, mark.y]).all() for mark in picture(explorer, "plane_picture").markers)
    explorer.data = "train"
    explorer.data = "test"
    assert explorer.wait(60)
    assert {name: one.scores for name, one in explorer.compared.items() if one.scale is None} == before
    explorer.close()


def test_a_loss_that_is_never_finite_has_no_best_scale():
    base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=2)
    tasks["digits 0 to 4"] = lw.Objective(
        models[0],
        tasks["digits 0 to 4"].data.batches,
        loss=lambda output, y: F.cross_entropy(output, y) * float("nan"),
        metrics={"error": lw.metrics.error},
    )
    explorer = lw.MergingExplorer(base, models, tasks)
    assert explorer.wait(60)
    assert "The mean loss is finite nowhere on the way." in text_of(explorer, "methods_table")
    assert list(explorer.compared) == ["base", *tasks]
    assert explorer.verify(60).checks["The data are the same in every pass"].state == "pass"
    explorer.close()


def test_methods_run_once_whatever_data_are_looked_at():
    base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=20)
    runs = []
    own = {f"own {i}": lambda *given, i=i: runs.append(i) or given[0] for i in range(12)}
    explorer = lw.MergingExplorer(base, models, tasks, methods=own, plane=False)
    assert explorer.wait(60)
    explorer.data = "train"
    explorer.density = 0.5
    assert explorer.wait(60)
    assert sorted(runs) == list(range(12))
    explorer.close()


def test_one_model_twice_makes_no_plane_and_is_told():
    base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=5)
    for pair in ((models[0], models[0]), (base, models[0])):
        explorer = lw.MergingExplorer(base, pair, tasks)
        assert explorer.wait(60)
        assert explorer.verify(60).checks["The plane has two directions"].state == "warn"
        explorer.close()


def test_models_and_objectives_have_their_names_in_any_order():
    base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=5)
    names, options = [*tasks], {"plane": False, "compare": False}
    with closing(lw.MergingExplorer(base, models, tasks, **options)) as plain:
        expected = {name: one.values["loss"] for name, one in plain.landscapes.items()}
    backwards = dict(reversed(tasks.items()))
    for given, objectives in (
        (dict(zip(names, models, strict=True)), tasks),
        (dict(zip(names, models, strict=True)), backwards),
        (dict(zip(names, models, strict=True)), [*tasks.values()]),
    ):
        with closing(lw.MergingExplorer(base, given, objectives, **options)) as explorer:
            found = explorer.landscapes
            assert list(found) == names
            assert all(np.array_equal(found[name].values["loss"], expected[name]) for name in names)
            assert explorer.compared.keys() == {"base", *names}


def test_what_does_not_move_is_no_entry_that_may_be_trimmed():
    base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=5)
    tasks = [lw.Objective(base, one.data.batches, loss=F.cross_entropy, params="2.*") for one in tasks.values()]
    options = {"method": "ties", "density": 0.4, "plane": False, "compare": False}
    with closing(lw.MergingExplorer(base, models, tasks, **options)) as explorer:
        merged = explorer.merged
    heads = [{n: t if n.startswith("2.") else base.state_dict()[n] for n, t in m.state_dict().items()} for m in models]
    expected = merging.ties(base, *heads, keep=0.4)
    assert all(torch.equal(merged.parameters[n], t) for n, t in expected.parameters.items())
