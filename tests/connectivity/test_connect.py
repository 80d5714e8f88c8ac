"""Trained curves and simplices: they stay low where the line does not, and training is what it says."""

import contextlib
import sys

import numpy as np
import pytest
import torch

import lwidgets as lw
from lwidgets.connectivity.connect import _away, _rate, connect, connector, simplexes
from lwidgets.connectivity.simplex_barrier import simplex_barrier
from lwidgets.gradients import DifferentiableLoss
from lwidgets.sampling.measure import Measure
from lwidgets.subspaces import Bezier, Chain, Simplex
from tests.models import CASES, CNN, MLP, everything_about, flat, named, same

KINDS = {"bezier": Bezier, "chain": Chain}


@pytest.fixture(scope="module")
def digits():
    return lw.demo.digits(hidden=(32, 32), steps=500)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_curve_removes_the_barrier_of_the_line(digits, kind):
    objective, a, b = digits
    line = lw.sample(objective, lw.Line(a, b), resolution=33)
    curve = connect(objective, a, b, kind, steps=800)
    land = lw.sample(objective, curve, resolution=33, tolerance=0)
    ends = land.values["loss"][[0, -1]]
    assert line.barrier().value > 0.7
    assert land.values["loss"].max() <= 1.1 * ends.max()
    assert land.barrier().value < 0.01
    assert lw.sample(objective.test, curve, resolution=17).values["error"].max() < 0.06


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_stay_the_models_to_the_last_bit_and_nothing_of_the_users_changes(kind, case):
    a, b = case.model(0).train(), case.model(1)
    objective = lw.Objective(a, case.samples(), loss=case.loss)
    before, random = [everything_about(m) for m in (a, b)], torch.get_rng_state()
    with torch.no_grad():
        curve = connect(objective, a, b, kind, bends=2, steps=3, batch=8)
    assert isinstance(curve, KINDS[kind])
    assert same(before[0], everything_about(a))
    assert same(before[1], everything_about(b))
    assert torch.equal(random, torch.get_rng_state())
    for t, model in ((0.0, a), (1.0, b)):
        point = curve.point([t]).parameters
        assert all(torch.equal(point[n], p) for n, p in model.named_parameters())
    for i, bend in enumerate(curve.bends, start=1):
        line = lw.Line(a, b).point([i / 3]).parameters
        gaps = [float((bend.parameters[n] - line[n]).abs().max()) for n, _ in a.named_parameters()]
        assert 0 < max(gaps) <= 3.1e-2  # three steps of Adam
    assert curve.provenance()["bends"][0] == "bend 1: trained 3 steps, seed 0"


def by_hand(case, a, b, kind, steps, batch, lr, seed):
    """Garipov's training with torch's own optimiser on the bend, through a graph of the point; one bend."""
    bend = {n: ((named(a)[n] + named(b)[n]) / 2).requires_grad_() for n in named(a)}
    optimizer = torch.optim.Adam(bend.values(), lr=lr)
    rng = np.random.default_rng(seed)
    objective = lw.Objective(a, case.samples(torch.float64), loss=case.loss)
    batches = objective.mini_batches(batch, rng)
    model = case.model(0, torch.float64)
    for part in model.modules():
        part.train(isinstance(part, torch.nn.BatchNorm2d))
    for step in range(steps):
        t = rng.random()
        if kind == "bezier":
            weights = ((1 - t) ** 2, 2 * t * (1 - t), t**2)
        else:
            weights = (max(0, 1 - 2 * t), 1 - abs(2 * t - 1), max(0, 2 * t - 1))
        point = {n: weights[0] * named(a)[n] + weights[1] * bend[n] + weights[2] * named(b)[n] for n in bend}
        examples = next(batches)
        wrapped = torch.nn.Module()
        wrapped.inner, wrapped.forward = model, lambda x, model=model: case.batch_loss(model, x)
        loss = torch.func.functional_call(wrapped, {f"inner.{n}": p for n, p in point.items()}, (examples,))
        optimizer.param_groups[0]["lr"] = lr * np.interp(step / steps, [0.5, 0.9], [1, 0.01])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {n: p.detach() for n, p in bend.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("kind", KINDS)
def test_training_is_that_of_a_plain_loop(kind, case):
    a, b = case.model(0, torch.float64), case.model(1, torch.float64)
    objective = lw.Objective(a, case.samples(torch.float64), loss=case.loss)
    curve = connect(objective, a, b, kind, steps=20, batch=11, lr=3e-3, seed=5)
    expected = by_hand(case, a, b, kind, 20, 11, 3e-3, 5)
    np.testing.assert_allclose(flat(curve.bends[0].parameters, list(expected)), flat(expected), rtol=1e-6, atol=1e-8)


def test_a_state_that_is_given_is_not_trained_even_where_the_ends_are_the_same():
    a = lw.State.of(MLP.model(0))
    b = lw.State({**lw.State.of(MLP.model(1)).parameters, "4.weight": a.parameters["4.weight"]})
    before = [{n: t.clone() for n, t in state.parameters.items()} for state in (a, b)]
    curve = connect(MLP.objective(), a, b, steps=3)
    simplexes(MLP.objective(), a, b, steps=3)
    connector(MLP.objective(), a, b, steps=3)
    assert same(before[0], a.parameters)
    assert same(before[1], b.parameters)
    assert not torch.equal(curve.bends[0].parameters["4.weight"], a.parameters["4.weight"])


def test_simplices_are_trained_at_points_drawn_uniformly_from_each_of_them(monkeypatch):
    draws = []

    def train(objective, vertices, *, draw, **_):
        draws.append(np.array([draw(np.random.default_rng(seed)) for seed in range(4000)]))
        return [vertices[-1]]

    monkeypatch.setattr(sys.modules[connect.__module__], "_train", train)
    simplexes(MLP.objective(), MLP.model(0), MLP.model(1), vertices=2)
    assert [d.shape for d in draws] == [(4000, 2, 3), (4000, 2, 4)]
    for d in draws:
        assert not d[:, 0, 1].any()
        assert not d[:, 1, 0].any()
        np.testing.assert_allclose(d.sum(axis=2), 1)
    first, second = draws[1][:, 0, [0, 2, 3]], draws[1][:, 1, 1:]
    for shares in (first, second):  # Dirichlet(1, 1, 1): variance 1/18, covariance -1/36
        np.testing.assert_allclose(shares.mean(axis=0), 1 / 3, atol=0.02)
        np.testing.assert_allclose(np.cov(shares.T)[0, :2], [1 / 18, -1 / 36], atol=4e-3)
    assert np.corrcoef(first[:, 0], second[:, 0])[0, 1] == pytest.approx(0, abs=0.08)


def test_a_seed_gives_the_same_curve_and_another_seed_another():
    objective, a, b = MLP.objective(), MLP.model(0), MLP.model(1)
    first, again, other = (connect(objective, a, b, steps=5, seed=seed).bends[0].parameters for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


def test_only_what_moves_is_trained():
    a, b = MLP.model(0), MLP.model(1)
    objective = lw.Objective(a, MLP.samples(), loss=MLP.loss, params="2.*")
    bend = connect(objective, a, b, steps=5).bends[0].parameters
    middle = lw.Line(a, b).bound(objective.space).point([0.5]).parameters
    assert [n for n in bend if not torch.equal(bend[n], middle[n])] == ["2.weight", "2.bias"]


def test_the_rate_is_constant_for_a_half_then_falls_to_one_percent():
    assert [_rate(x) for x in (0, 0.3, 0.5)] == [1, 1, 1]
    assert _rate(0.7) == pytest.approx(0.505)
    assert [_rate(x) for x in (0.9, 0.95, 1.0)] == pytest.approx([0.01] * 3)


def test_progress_is_told_after_every_step_and_may_stop():
    told = []
    connect(MLP.objective(), MLP.model(0), MLP.model(1), steps=3, progress=lambda *step: told.append(step))
    connector(MLP.objective(), MLP.model(0), MLP.model(1), steps=1, progress=lambda *step: told.append(step))
    simplexes(MLP.objective(), MLP.model(0), vertices=2, steps=2, progress=lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3), (1, 1), (1, 4), (2, 4), (3, 4), (4, 4)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        connect(MLP.objective(), MLP.model(0), MLP.model(1), progress=stop)


def test_simplices_grow_where_the_loss_is_low_and_connect_models(digits):
    objective, a, b = digits
    ends = max(objective.measure(m)["loss"] for m in (a, b))
    direct = simplex_barrier(objective, Simplex(a, b)).value
    pair = simplexes(objective, a, b, steps=600)
    for simplex, model in zip(pair, (a, b), strict=True):
        assert torch.equal(simplex.vertices[0].parameters["0.weight"], model[0].weight)
        assert simplex_barrier(objective, simplex).value < direct / 20
    assert torch.equal(pair[0].vertices[1].parameters["0.weight"], pair[1].vertices[1].parameters["0.weight"])
    (triangle,) = simplexes(objective, a, vertices=2, steps=600)
    bound = triangle.bound(objective.space)
    inside = [row[0] for row in Measure(objective, bound)(bound.coefficients(bound.draw(40)))]
    assert max(inside) <= 1.2 * ends
    assert len(triangle.vertices) == 3


def test_more_weight_on_the_volume_makes_it_larger(digits):
    objective, a, _ = digits
    volumes = [simplexes(objective, a, vertices=2, volume=v, steps=300)[0].log_volume() for v in (0.0, 3.0, 30.0)]
    assert volumes[0] < volumes[1] - 0.1
    assert volumes[1] < volumes[2] - 0.5


def test_where_the_loss_is_flat_only_the_volume_moves_a_vertex_at_the_same_falling_rate():
    flat_loss = lw.Objective.from_function(lambda u: 0 * u[:, 0], dim=3)
    start = torch.tensor([3.0, 0.0, 4.0])
    (segment,) = simplexes(flat_loss, start, volume=2.0, steps=40, lr=0.1)
    apart = 0.01 * 5  # of the norm of the start
    for step in range(40):
        apart += 0.1 * np.interp(step / 40, [0.5, 0.9], [1, 0.01]) * 2.0 / apart
    assert segment.log_volume() == pytest.approx(np.log(apart), rel=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_way_out_is_the_gradient_of_the_logarithm_of_the_volume(count):
    models = [named(MLP.model(seed, torch.float64)) for seed in range(count + 1)]
    points = [torch.cat([t.flatten() for t in m.values()]) for m in models]
    vertex = points[0].clone().requires_grad_()
    edges = torch.stack([p - vertex for p in points[1:]])
    (torch.logdet(edges @ edges.T) / 2).backward()
    np.testing.assert_allclose(flat(_away(models[0], models[1:])), vertex.grad, rtol=1e-7, atol=1e-12)


def test_a_shared_vertex_moves_to_enlarge_all_of_its_simplices(monkeypatch):
    pulls = []

    def train(objective, vertices, *, pull, **_):
        pulls.append(pull)
        return [vertices[-1]]

    monkeypatch.setattr(sys.modules[connect.__module__], "_train", train)
    a, b, c, d = (named(MLP.model(seed, torch.float64)) for seed in range(4))
    simplexes(MLP.objective(torch.float64), a, b, vertices=2, volume=3.0)
    simplexes(MLP.objective(torch.float64), a, b, volume=0.0)
    vertex = torch.cat([t.flatten() for t in d.values()]).requires_grad_()
    first, second, shared = (torch.cat([t.flatten() for t in m.values()]) for m in (a, b, c))
    for own in (first, second):
        edges = torch.stack([own - vertex, shared - vertex])
        (3.0 * torch.logdet(edges @ edges.T) / 2 / 2).backward()
    np.testing.assert_allclose(flat(pulls[1]([a, b, c, d])), vertex.grad, rtol=1e-7, atol=1e-12)
    assert pulls[2] is None


def test_a_flat_simplex_has_no_way_out():
    here = {"w": torch.ones(3)}
    assert not _away(here, [here])["w"].any()


def test_batchnorm_networks_are_connected_with_the_statistics_of_the_batch():
    objective, a, b = CNN.objective(), CNN.model(0), CNN.model(1)
    curve = connect(objective, a, b, steps=150, batch=26)
    line, found = (lw.sample(objective, path, resolution=17, tolerance=0) for path in (lw.Line(a, b), curve))
    assert found.provenance["batchnorm"] == "recalibrate"
    assert found.values["loss"].max() < line.values["loss"].max()


def orthonormal(models):
    """Columns that span the differences of the models."""
    first, *others = (flat(named(m)) for m in models)
    return np.linalg.qr(np.array([other - first for other in others]).T)[0]


def connector_by_hand(case, models, steps, batch, lr, seed):
    """Adam on the coordinates of everything that is orthogonal to the differences, through a dense projection."""
    span = torch.as_tensor(orthonormal(models))
    mean = torch.as_tensor(np.mean([flat(named(m)) for m in models], axis=0))
    off = torch.zeros_like(mean).requires_grad_()
    optimizer = torch.optim.Adam([off], lr=lr)
    objective = lw.Objective(models[0], case.samples(torch.float64), loss=case.loss)
    batches = objective.mini_batches(batch, np.random.default_rng(seed))
    model = case.model(0, torch.float64)
    for part in model.modules():
        part.train(isinstance(part, torch.nn.BatchNorm2d))
    shapes = {n: p.shape for n, p in named(model).items()}
    wrapped = torch.nn.Module()
    wrapped.inner, wrapped.forward = model, lambda x: case.batch_loss(model, x)
    for step in range(steps):
        point = mean + off - span @ (span.T @ off)
        parts = point.split([shape.numel() for shape in shapes.values()])
        tensors = {f"inner.{n}": p.reshape(shapes[n]) for n, p in zip(shapes, parts, strict=True)}
        loss = torch.func.functional_call(wrapped, tensors, (next(batches),))
        optimizer.param_groups[0]["lr"] = lr * np.interp(step / steps, [0.5, 0.9], [1, 0.01])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (mean + off - span @ (span.T @ off)).detach().numpy()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("count", [2, 3])
def test_a_connector_is_trained_in_the_coordinates_orthogonal_to_all_differences(count, case):
    models = [case.model(seed, torch.float64) for seed in range(count)]
    before, random = [everything_about(m) for m in models], torch.get_rng_state()
    objective = lw.Objective(models[0], case.samples(torch.float64), loss=case.loss)
    found = connector(objective, *models, steps=20, batch=11, lr=3e-3, seed=5)
    expected = connector_by_hand(case, models, 20, 11, 3e-3, 5)
    np.testing.assert_allclose(flat(found.parameters, list(named(models[0]))), expected, rtol=1e-6, atol=1e-8)
    assert all(same(one, everything_about(m)) for one, m in zip(before, models, strict=True))
    assert torch.equal(random, torch.get_rng_state())
    assert found.label == "connector trained 20 steps, seed 5"
    assert same(found.buffers, dict(models[0].named_buffers()))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_connector_leaves_the_mean_at_right_angles_at_every_step(case, monkeypatch):
    models = [case.model(seed, torch.float64) for seed in range(3)]
    span, mean = orthonormal(models), np.mean([flat(named(m)) for m in models], axis=0)
    objective = lw.Objective(models[0], case.samples(torch.float64), loss=case.loss)
    seen = []
    gradient = DifferentiableLoss.gradient
    monkeypatch.setattr(
        DifferentiableLoss, "gradient", lambda self, at, batch: seen.append(flat(at)) or gradient(self, at, batch)
    )
    last = connector(objective, *models, steps=12, lr=0.1)
    for point in (*seen[1:], flat(last.parameters, list(named(models[0])))):
        off = point - mean
        assert np.linalg.norm(off) > 0.1
        assert np.abs(span.T @ off).max() < 1e-12 * np.linalg.norm(off)
    np.testing.assert_allclose(seen[0], mean, atol=1e-14)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_connector_on_a_quadratic_is_its_minimum_under_the_constraint(count):
    rng = np.random.default_rng(count)
    models, minimum, root = rng.normal(size=(count, 7)), rng.normal(size=7), rng.normal(size=(7, 7))
    h = root @ root.T + np.eye(7)
    h_, m_ = torch.as_tensor(h), torch.as_tensor(minimum)
    bowl = lw.Objective.from_function(lambda u: ((u - m_) @ h_ * (u - m_)).sum(dim=1) / 2, dim=7)
    found = connector(bowl, *map(torch.as_tensor, models), steps=4000, lr=0.03).parameters["x"].numpy()
    mean = models.mean(axis=0)
    free = np.linalg.svd(models[1:] - models[0])[2][count - 1 :].T
    best = mean - free @ np.linalg.solve(free.T @ h @ free, free.T @ h @ (mean - minimum))
    np.testing.assert_allclose(found, best, atol=1e-5)
    assert np.linalg.norm(best - minimum) > 0.1


def test_the_connector_of_points_on_a_sphere_lies_on_it_and_of_points_in_a_valley_at_its_bottom():
    sphere = lw.Objective.from_function(lambda u: (u.square().sum(dim=1) - 1).square(), dim=5)
    points = torch.nn.functional.normalize(torch.as_tensor(np.random.default_rng(1).normal(size=(3, 5))), dim=1)
    found = connector(sphere, *points, lr=0.01)
    assert sphere.measure(Simplex(*points).point([1 / 3, 1 / 3]))["loss"] > 0.1
    assert sphere.measure(found)["loss"] < 1e-8
    valley = lw.Objective.from_function(lambda u: (u[:, 1] - u[:, 0] ** 4) ** 2 + u[:, 2] ** 4, dim=3)
    bent = torch.tensor([[-1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    found = connector(valley, *bent, lr=0.01)
    assert found.parameters["x"].tolist() == pytest.approx([0, 0, 0], abs=1e-3)


def test_a_connector_is_low_and_its_lines_are_much_lower_than_the_direct_one(digits):
    objective, a, b = digits
    c = connector(objective, a, b)
    direct, bent = (lw.sample(objective, path, resolution=33, tolerance=0) for path in (lw.Line(a, b), Chain(a, c, b)))
    assert objective.measure(c)["loss"] < min(objective.measure(m)["loss"] for m in (a, b))
    assert bent.barrier().value < direct.barrier().value / 5
    assert lw.sample(objective.test, Chain(a, c, b), resolution=17).values["error"].max() < 0.06


def test_three_models_are_connected_by_the_triangles_of_their_connectors_and_explorers_draw_them(digits):
    objective, a, b = digits
    third = lw.demo.train_mlp(*lw.demo.digits_data()[:2], (32, 32), 2, 500)
    ab, abc = connector(objective, a, b), connector(objective, a, b, third)
    triangle = Simplex(a, ab, abc).bound(objective.space)
    direct = Simplex(a, b, third).bound(objective.space)
    here, there = ([row[0] for row in Measure(objective, s)(s.coefficients(s.draw(40)))] for s in (triangle, direct))
    assert max(here) < max(there) / 4
    with contextlib.closing(lw.CurveExplorer(objective, Chain(a, ab, b), resolution=9)) as explorer:
        assert explorer.wait(60)
        assert explorer.landscape.values["loss"][4] == pytest.approx(objective.measure(ab)["loss"], rel=1e-4)
    with contextlib.closing(lw.SurfaceExplorer(objective, triangle, resolution=9)) as explorer:
        assert explorer.wait(60)
        assert explorer.landscape.at((0.0, 1.0))["loss"] == pytest.approx(objective.measure(abc)["loss"], rel=1e-3)


def test_a_connector_in_single_precision_stays_orthogonal_and_moves_only_what_moves():
    a, b = MLP.model(0), MLP.model(1)
    objective = lw.Objective(a, MLP.samples(), loss=MLP.loss, params="2.*")
    found = connector(objective, a, b, steps=30).parameters
    moved = {n: found[n] - (named(a)[n] + named(b)[n]) / 2 for n in ("2.weight", "2.bias")}
    apart = {n: named(a)[n] - named(b)[n] for n in moved}
    cosine = flat(moved) @ flat(apart) / np.linalg.norm(flat(moved)) / np.linalg.norm(flat(apart))
    assert abs(cosine) < 1e-6
    assert torch.equal(found["0.weight"], a[0].weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "spline"}, "connect: kind must be one of bezier, chain, got 'spline'. Use bezier"),
        ({"bends": 0}, "connect: bends must be at least 1, got 0"),
        ({"steps": 0}, "connect: steps must be at least 1, got 0"),
        ({"batch": 0}, "connect: batch must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        connect(MLP.objective(), MLP.model(0), MLP.model(1), **options)


def test_models_that_do_not_fit_are_refused_with_the_key():
    with pytest.raises(ValueError, match=r"0.weight"):
        connect(MLP.objective(), MLP.model(0), torch.nn.Sequential(torch.nn.Linear(6, 5)))
    with pytest.raises(ValueError, match=r"ResidualCNN must fit the objective's model, got 15 mismatched keys"):
        simplexes(MLP.objective(), MLP.model(0), CNN.model(0))
    with pytest.raises(ValueError, match=r"models must be one or more, got none"):
        simplexes(MLP.objective())
    with pytest.raises(ValueError, match=r"connector: models must be two or more, got 1. Pass connector\(objective, a"):
        connector(MLP.objective(), MLP.model(0))
    with pytest.raises(ValueError, match=r"connector: steps must be at least 1, got 0"):
        connector(MLP.objective(), MLP.model(0), MLP.model(1), steps=0)
    with pytest.raises(ValueError, match=r"simplexes: vertices must be at least 1, got 0"):
        simplexes(MLP.objective(), MLP.model(0), vertices=0)


@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan")])
def test_a_connector_needs_a_rate(lr):
    bowl = lw.Objective.from_function(lambda u: u.square().sum(dim=1), dim=2)
    with pytest.raises(ValueError, match=r"connector: lr must be above 0, got .*\. Leave it out"):
        connector(bowl, torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), lr=lr)
