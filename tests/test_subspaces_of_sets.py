"""Curves with bends, simplices and layerwise lines, against sums added up by hand in float64."""

import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lwidgets as lw
from lwidgets.sampling.evaluate import Local
from lwidgets.sampling.measure import Measure
from lwidgets.subspaces import Bezier, Chain, Layerwise, Simplex
from tests.models import CASES, CNN, MLP, TRANSFORMER, at, flat, named

T = st.floats(-0.5, 1.5, allow_subnormal=False)
CURVES = {"bezier": Bezier, "chain": Chain}


def doubles(case=MLP, count=4):
    return [case.model(seed, torch.float64) for seed in range(count)]


def de_casteljau(points, t):
    """A Bezier curve by repeated interpolation, which has no binomials."""
    while len(points) > 1:
        points = [(1 - t) * p + t * q for p, q in itertools.pairwise(points)]
    return points[0]


def on_chain(points, t):
    """A polygonal chain by NumPy's interpolation, extended along its last segments."""
    knots, points = np.linspace(0, 1, len(points)), np.array(points)
    i = min(max(int(np.searchsorted(knots, t)) - 1, 0), len(points) - 2)
    return points[i] + (t - knots[i]) / (knots[i + 1] - knots[i]) * (points[i + 1] - points[i])


BY_HAND = {"bezier": de_casteljau, "chain": on_chain}


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("kind", CURVES)
def test_points_of_a_curve_are_found_by_hand(kind, count):
    models = doubles(count=count)
    curve, points = CURVES[kind](*models), [flat(named(m)) for m in models]
    for t in (-0.25, 0.0, 0.1, 1 / 3, 0.5, 0.77, 1.0, 1.2):
        np.testing.assert_allclose(flat(curve.point([t]).parameters), BY_HAND[kind](points, t), rtol=1e-10, atol=1e-12)


@given(T)
def test_weights_add_up_to_one_and_inside_none_is_negative(t):
    points = [torch.tensor([float(i)]) for i in range(4)]
    for kind in CURVES.values():
        weights = kind(*points).coefficients([t])[0]
        assert weights.sum() == pytest.approx(1, abs=1e-12)
        assert not 0 <= t <= 1 or weights.min() >= -1e-15


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("kind", CURVES)
def test_trap_1_the_ends_of_a_curve_are_the_models_to_the_last_bit(kind, case):
    models = [case.model(seed) for seed in range(3)]
    curve = CURVES[kind](*models)
    assert curve.coefficients([[0.0], [1.0]]).tolist() == [[1, 0, 0], [0, 0, 1]]
    objective = case.objective(batchnorm="frozen" if case is CNN else None)
    land = lw.sample(objective, curve, resolution=9, tolerance=0)
    for t, model in ((0.0, models[0]), (1.0, models[2])):
        point = curve.point([t])
        assert all(torch.equal(point.parameters[n], p) for n, p in model.named_parameters())
    assert land.values["loss"][0] == objective.measure(models[0])["loss"]
    if case is not CNN:
        assert land.values["loss"][-1] == objective.measure(models[2])["loss"]


def test_a_bend_on_the_line_makes_a_curve_the_line():
    a, b = doubles(count=2)
    middle = lw.Line(a, b).point([0.5])
    for kind in CURVES.values():
        curve = kind(a, middle, b)
        for t in (0.0, 0.2, 0.5, 0.9):
            np.testing.assert_allclose(
                flat(curve.point([t]).parameters), flat(lw.Line(a, b).point([t]).parameters), rtol=1e-12, atol=1e-14
            )


@pytest.mark.parametrize("kind", CURVES)
def test_a_curve_tells_its_models_from_its_bends(kind):
    a, bend, b = doubles(count=3)
    curve = CURVES[kind](a, bend, b)
    told = curve.provenance()
    assert told["models"] == ["a: Sequential", "b: Sequential"]
    assert told["bends"] == ["bend 1: Sequential"]
    assert told["kind"] == kind
    assert curve.between_models
    assert [(t, state.label[0]) for t, state in curve.models.items()] == [((0.0,), "a"), ((1.0,), "b")]
    assert curve.axes[0].label == "t (0 = a, 1 = b)"
    basis = curve.basis
    assert curve.over((-1.0, 2.0)).basis is basis


@pytest.mark.parametrize("kind", CURVES)
def test_a_curve_without_bends_is_projected_onto_and_one_with_bends_says_what_to_do(kind):
    a, b, c = doubles(count=3)
    straight = CURVES[kind](a, b)
    u, residual = straight.project(c)
    expected, gap = lw.Line(a, b).project(c)
    assert (u[0], residual) == (pytest.approx(expected[0]), pytest.approx(gap))
    with pytest.raises(
        ValueError, match=rf"{CURVES[kind].__name__}.project: subspace must be affine, got a curve with 1"
    ):
        CURVES[kind](a, b, c).project(a)
    u, residual = Simplex(a, b, c).project(CURVES[kind](a, b, c).point([0.25]))
    assert residual < 1e-6
    np.testing.assert_allclose([1 - u.sum(), *u], CURVES[kind](a, b, c).coefficients([0.25])[0], atol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_engine_agrees_with_a_plain_loop_on_curves_and_remembers_them(case):
    models = doubles(case, 3)
    mode = "batch" if case is CNN else None
    objective = case.objective(torch.float64, batchnorm=mode)
    for kind in CURVES.values():
        curve = kind(*models).bound(objective.space)
        u = np.linspace(-0.1, 1.1, 40)[:, None]
        measure = Measure(objective, curve)
        found = np.array(list(measure(curve.coefficients(u))))[:, 0]
        for t, value in zip(u[::7, 0], found[::7], strict=True):
            plain = at(models[0], list(zip(curve.coefficients([t])[0], map(named, models), strict=True)))
            if case is CNN:
                for part in plain.modules():
                    part.train(isinstance(part, torch.nn.BatchNorm2d))
            assert value == pytest.approx(case.plain_loss(plain), rel=1e-9)
        again = Measure(objective, kind(*models).bound(objective.space))
        assert np.array_equal(np.array(list(again(curve.coefficients(u))))[:, 0], found)
        assert again.facts()["remembered"] == 40


@pytest.mark.parametrize("strategy", ["traced", "folded"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_way_to_evaluate_agrees_with_the_loop(case, strategy):
    a, b, c = doubles(case, 3)
    objective = case.objective(torch.float64)
    layers = Layerwise(a, b)
    views = (
        Bezier(a, c, b),
        Chain(a, c, b),
        Simplex(a, b, c),
        layers.line(layers.names[0], at=1.0),
        layers.line(at=0.3),
    )
    for subspace in (view.bound(objective.space) for view in views):
        u = np.random.default_rng(0).uniform(-0.2, 1.2, (5, len(subspace.axes)))
        found, expected = (
            np.array(
                list(Local(objective, subspace.basis, objective.resolve(True), strategy=s)(subspace.coefficients(u)))
            )
            for s in (strategy, "loop")
        )
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_bases_of_curves_simplices_and_layers_travel_to_other_processes():
    models = doubles(count=3)
    for subspace in (Bezier(*models), Chain(*models), Simplex(*models), Layerwise(*models[:2]).line("2", at=0.5)):
        basis = pickle.loads(pickle.dumps(subspace.basis))
        c = subspace.coefficients([[0.3] * len(subspace.axes)])[0]
        assert all(torch.equal(basis.point(c).parameters[n], t) for n, t in subspace.basis.point(c).parameters.items())
        assert (basis.vector_at(np.eye(len(c))[0]) is None) == (subspace.basis.vector_at(np.eye(len(c))[0]) is None)


def test_a_simplex_is_a_line_for_two_a_plane_for_three_and_has_faces():
    models = doubles()
    for u in (0.0, 0.3, 1.0):
        np.testing.assert_array_equal(
            flat(Simplex(*models[:2]).point([u]).parameters), flat(lw.Line(*models[:2]).point([u]).parameters)
        )
    plane, through = Simplex(*models[:3]), lw.Plane.through(*models[:3])
    np.testing.assert_array_equal(flat(plane.point((0.2, 0.5)).parameters), flat(through.point((0.2, 0.5)).parameters))
    face = Simplex(*models).face(3, 0)
    assert [v.label for v in face.vertices] == ["a: Sequential", "b: Sequential"]
    assert torch.equal(face.point([0.0]).parameters["0.weight"], models[3][0].weight)
    assert torch.equal(face.point([1.0]).parameters["0.weight"], models[0][0].weight)
    assert [a.name for a in Simplex(*models).axes] == ["x1", "x2", "x3"]


def test_a_face_of_a_bound_simplex_moves_what_the_simplex_moves():
    models = doubles(count=3)
    objective = lw.Objective(models[0], MLP.samples(torch.float64), loss=MLP.loss, params="0.*")
    face = Simplex(*models).bound(objective.space).face(0, 2)
    assert face.space.moved == ("0.weight", "0.bias")


def test_points_are_drawn_uniformly_from_a_simplex():
    simplex = Simplex(*(torch.tensor([float(i)]) for i in range(3)))
    u = simplex.draw(20_000, seed=3)
    shares = np.column_stack([1 - u.sum(axis=1), u])
    assert shares.min() >= 0
    # Dirichlet(1, 1, 1): mean 1/3, variance 1/18, covariance -1/36; five standard errors
    assert shares.mean(axis=0) == pytest.approx([1 / 3] * 3, abs=5 * math.sqrt(1 / 18 / 20_000))
    np.testing.assert_allclose(np.cov(shares.T)[0, :2], [1 / 18, -1 / 36], atol=2e-3)
    assert np.array_equal(u, simplex.draw(20_000, seed=3))
    assert not np.array_equal(u, simplex.draw(20_000, seed=4))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_volume_is_that_of_cayley_and_menger(count):
    models = doubles(count=count)
    points = np.array([flat(named(m)) for m in models])
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    bordered = np.ones((count + 1, count + 1))
    bordered[0, 0], bordered[1:, 1:] = 0, squares
    n = count - 1
    square = (-1) ** (n + 1) * np.linalg.det(bordered) / 2**n / math.factorial(n) ** 2
    assert Simplex(*models).log_volume() == pytest.approx(math.log(square) / 2, abs=1e-9)


def test_a_flat_simplex_has_no_volume():
    assert Simplex(*torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])).log_volume() == -math.inf
    assert Simplex(*torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])).log_volume() == pytest.approx(0.0)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_group_has_an_alpha_of_its_own(case):
    a, b = doubles(case, 2)
    layers = Layerwise(a, b)
    u = np.linspace(-0.3, 1.4, len(layers.names))
    point, first, second = layers.point(u).parameters, named(a), named(b)
    for name, tensor in point.items():
        alpha = u[layers.names.index(name.rpartition(".")[0] or name)]
        np.testing.assert_allclose(tensor, (1 - alpha) * first[name] + alpha * second[name], rtol=1e-10, atol=1e-12)


def test_names_are_grouped_by_layer_by_block_by_a_mapping_or_by_a_function():
    a, b = doubles(TRANSFORMER, 2)
    assert Layerwise(a, b).names == (
        "position",
        "embedding",
        "layer.self_attn",
        "layer.self_attn.out_proj",
        "layer.linear1",
        "layer.linear2",
        "layer.norm1",
        "layer.norm2",
    )
    assert Layerwise(a, b, "block").names == ("position", "embedding", "layer")
    assert Layerwise(a, b, lambda name: "bias" if name.endswith("bias") else "rest").names == ("rest", "bias")
    deep = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)))
    tower = torch.nn.ModuleDict({"stem": torch.nn.Linear(2, 2), "stage": deep})
    assert Layerwise(tower, tower, "block").names == ("stem", "stage.0")
    by = {name: "all" for name, _ in a.named_parameters()}
    assert Layerwise(a, b, by).names == ("all",)
    by.pop("layer.norm2.bias")
    with pytest.raises(ValueError, match=r"must have a group for every parameter, got none for 'layer.norm2.bias'"):
        Layerwise(a, b, by)
    with pytest.raises(ValueError, match=r'by must be "layer", "block", a mapping or a function, got \'module\''):
        Layerwise(a, b, "module")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_trap_1_every_corner_is_made_of_the_models_to_the_last_bit(case):
    a, b = (case.model(seed) for seed in range(2))
    layers = Layerwise(a, b)
    first, second = named(a), named(b)
    chosen = layers.names[1:3]
    for view, corner in (
        (layers, tuple(float(name in chosen) for name in layers.names)),
        (layers.line(*chosen), (1.0,)),
        (layers.plane(*chosen), (1.0, 1.0)),
        (layers.line(layers.names[0], at=dict.fromkeys(chosen, 1.0)), (0.0,)),
    ):
        point = view.point(corner).parameters
        vector = view.basis.vector_at(view.coefficients(corner)[0])
        for name in point:
            expected = second if (name.rpartition(".")[0] or name) in chosen else first
            assert torch.equal(point[name], expected[name])
            assert torch.equal(vector[name], expected[name])


def test_a_line_over_all_groups_is_the_line_and_planes_see_two():
    a, b = doubles(count=2)
    layers = Layerwise(a, b)
    for u in (0.0, 0.4, 1.0, 1.3):
        np.testing.assert_allclose(
            flat(layers.line().point([u]).parameters), flat(lw.Line(a, b).point([u]).parameters), rtol=1e-12
        )
    plane = layers.plane("0", ("2", "4"))
    np.testing.assert_allclose(
        flat(plane.point((0.2, 0.7)).parameters), flat(layers.point((0.2, 0.7, 0.7)).parameters), rtol=1e-12
    )
    line = layers.line("4", at={"0": 0.25})
    np.testing.assert_allclose(
        flat(line.point([0.6]).parameters), flat(layers.point((0.25, 0, 0.6)).parameters), rtol=1e-12
    )
    assert [axis.label for axis in plane.axes] == ["0 (0 = a, 1 = b)", "2+4 (0 = a, 1 = b)"]
    assert line.over((-1.0, 2.0)).point([0.6]).parameters["0.weight"].equal(line.point([0.6]).parameters["0.weight"])


def test_only_the_layers_of_a_line_move_so_that_the_others_are_computed_once():
    a, b = doubles(count=2)
    layers = Layerwise(a, b)
    assert layers.line("4").basis.moving == layers.line("4", at=1.0).basis.moving == ("4.weight", "4.bias")
    assert set(layers.line("4", at=0.5).basis.moving) == set(named(a))
    same = MLP.model(0, torch.float64)
    same[4] = b[4]
    assert Layerwise(a, same).line().basis.moving == ("4.weight", "4.bias")
    gap = Layerwise(a, same).line().project(b)[1]
    expected = lw.Line(a, same).project(b)[1]
    assert gap == pytest.approx(expected, rel=1e-9)  # what does not move counts all the same


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_engine_agrees_with_a_plain_loop_on_layers(case):
    a, b = doubles(case, 2)
    objective = case.objective(torch.float64, batchnorm="batch" if case is CNN else None)
    layers = Layerwise(a, b)
    plane = layers.plane(layers.names[0], layers.names[-1], at=0.4)
    land = lw.sample(objective, plane, resolution=(7, 4), tolerance=0)
    assert land.shape == (7, 4)
    for i, j in ((0, 0), (2, 3), (6, 1)):
        u = np.full(len(layers.names), 0.4)
        u[0], u[-1] = land.coords[0][i], land.coords[1][j]
        alphas = {n: u[layers.names.index(n.rpartition(".")[0] or n)] for n in named(a)}
        plain = at(
            a,
            [
                (1.0, {n: (1 - alphas[n]) * t for n, t in named(a).items()}),
                (1.0, {n: alphas[n] * t for n, t in named(b).items()}),
            ],
        )
        if case is CNN:
            for part in plain.modules():
                part.train(isinstance(part, torch.nn.BatchNorm2d))
        assert land.values["loss"][i, j] == pytest.approx(case.plain_loss(plain), rel=1e-9)


def test_a_layerwise_line_has_a_barrier_against_its_own_end_and_the_last_layers_is_none():
    a, b = doubles(count=2)
    objective = MLP.objective(torch.float64)
    land = lw.sample(objective, Layerwise(a, b).line("4"), resolution=33, tolerance=0)
    assert land.barrier().value <= 1e-12  # cross-entropy is convex in the last layer
    hybrid = MLP.model(0, torch.float64)
    hybrid[4] = b[4]
    assert land.values["loss"][-1] == pytest.approx(MLP.plain_loss(hybrid), rel=1e-12)
    assert land.provenance["subspace"]["models"] == ["a: Sequential", "4 of b"]


def test_layers_of_tied_weights_and_of_wrapped_models_follow_the_objective():
    a, b = (TRANSFORMER.model(seed) for seed in range(2))
    objective = lw.Objective(torch.nn.DataParallel(MLP.model(0)), MLP.samples(), loss=MLP.loss)
    line = Layerwise(MLP.model(0), MLP.model(1)).line("2").bound(objective.space)
    assert line.basis.moving == ("2.weight", "2.bias")
    tied = Layerwise(a, b).line("embedding")
    assert tied.basis.moving == ("embedding.weight",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a, b: Bezier(a), r"Bezier: points must be two models or more, got 1. Pass Bezier\(a, bend, b\)"),
        (lambda a, b: Chain(), r"Chain: points must be two models or more, got 0"),
        (lambda a, b: Simplex(a), r"Simplex: vertices must be two models or more, got 1"),
        (lambda a, b: Simplex(a, b).face(0, 2), r"which must count vertices from 0 to 1, got \(0, 2\)"),
        (lambda a, b: Layerwise(a, b).line("1"), r"groups must be among 0, 2, 4, got '1'"),
        (lambda a, b: Layerwise(a, b).line("0", at={"x": 1}), r"groups must be among 0, 2, 4, got 'x'"),
        (lambda a, b: Layerwise(a, b).plane("0", ("2", "0")), r"no group in common, got \['0'\] in both"),
        (lambda a, b: Layerwise(a, b).point([0.0]), r"coordinates must have shape \(P, 3\), got \(1, 1\)"),
        (lambda a, b: Bezier(a, b).point([0.0, 1.0]), r"coordinates must have shape \(P, 1\), got \(1, 2\)"),
        (lambda a, b: Bezier(a, CNN.model(), b).point([0.5]), r"bend 1: ResidualCNN must fit the objective's model"),
        (lambda a, b: Layerwise(torch.zeros(2), torch.ones(2)), r"must be models with named parameters, got vectors"),
    ],
)
def test_what_is_no_subspace_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(MLP.model(0), MLP.model(1))
