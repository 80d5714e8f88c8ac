"""Coordinates to coefficients and back: barycentric algebra, grids, projections."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

import lwidgets as lw
from lwidgets.subspaces import Axis
from tests.models import CASES, CNN, MLP, at, flat, named

COORDINATE = st.floats(-3, 3, allow_subnormal=False)


def double_models(case=MLP):
    return [case.model(seed, torch.float64) for seed in range(3)]


def planes():
    a, b, c = double_models()
    return {
        "line": lw.Line(a, b),
        "random line": lw.Line.random(a, 5),
        "through": lw.Plane.through(a, b, c),
        "random": lw.Plane.random(a, (0, 1)),
        "orthogonal": lw.Plane.random(a, (0, 1), orthogonal=True),
        "layer": lw.Plane.random(a, (3, 4), "layer"),
        "spanned": lw.Plane.spanned(a, b, c),
        "identity": lw.Subspace.identity(2),
    }


PLANES = planes()


@given(COORDINATE, COORDINATE)
def test_coefficients_are_barycentric_between_models_and_free_along_directions(x, y):
    assert PLANES["through"].coefficients((x, y))[0] == pytest.approx([1 - x - y, x, y], abs=1e-15)
    assert PLANES["random"].coefficients((x, y))[0].tolist() == [1.0, x, y]
    assert PLANES["line"].coefficients(x)[0].tolist() == [1 - x, x]


@pytest.mark.parametrize("name", PLANES)
def test_trap_1_coefficients_are_one_hot_at_every_vertex(name):
    subspace = PLANES[name]
    vertices = len(subspace.vertices)
    corners = np.eye(len(subspace.axes))[: vertices - 1]
    rows = subspace.coefficients(np.vstack([np.zeros(len(subspace.axes)), corners]))
    assert rows.tolist() == np.eye(vertices, rows.shape[1]).tolist()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_trap_1_the_vertices_are_the_models_to_the_last_bit(case):
    a, b, c = (case.model(seed) for seed in range(3))
    plane = lw.Plane.through(a, b, c)
    for corner, model in (((0, 0), a), ((1, 0), b), ((0, 1), c)):
        point = plane.point(corner)
        assert all(torch.equal(point.parameters[n], p) for n, p in model.named_parameters())


@pytest.mark.parametrize("name", ["through", "spanned", "random"])
def test_points_are_the_sum_added_up_by_hand(name):
    a, b, c = (named(m) for m in double_models())
    plane = PLANES[name]
    x, y = 0.7, -1.3
    if name == "through":
        terms = [(1 - x - y, a), (x, b), (y, c)]
    else:
        terms = (
            [(1, a), (x, b), (y, c)]
            if name == "spanned"
            else [(1, a), *zip((x, y), plane.basis.vectors[1:], strict=True)]
        )
    expected = named(at(double_models()[0], terms))
    np.testing.assert_allclose(
        flat(plane.point((x, y)).parameters, list(a)), flat(expected, list(a)), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("name", PLANES)
@given(x=COORDINATE, y=COORDINATE)
@example(x=0.0, y=0.0)
@example(x=1.0, y=0.0)
def test_projecting_a_point_of_the_subspace_gives_its_coordinates_and_no_residual(name, x, y):
    u = [x, y][: len(PLANES[name].axes)]
    found, residual = PLANES[name].project(PLANES[name].point(u))
    np.testing.assert_allclose(found, u, atol=1e-8)
    assert residual < 1e-7


@pytest.mark.parametrize("name", ["line", "through", "random", "spanned"])
def test_projection_is_least_squares_on_the_flat_vectors(name):
    subspace, model = PLANES[name], MLP.model(4, torch.float64)
    names = list(named(model))
    origin = flat(subspace.point(np.zeros(len(subspace.axes))).parameters, names)
    slopes = np.stack([flat(subspace.point(e).parameters, names) - origin for e in np.eye(len(subspace.axes))], axis=1)
    gap = flat(named(model), names) - origin
    u, _, _, _ = np.linalg.lstsq(slopes, gap, rcond=None)
    found, residual = subspace.project(model)
    np.testing.assert_allclose(found, u, rtol=1e-7)
    np.testing.assert_allclose(residual, np.linalg.norm(gap - slopes @ u), rtol=1e-9)
    both, residuals = subspace.project([model, subspace.point(u)])
    assert both.shape == (2, len(subspace.axes))
    np.testing.assert_allclose(both, [u, u], rtol=1e-6)
    np.testing.assert_allclose(residuals, [residual, 0], atol=1e-6)


def test_only_parameters_that_move_are_combined_and_projected():
    a, b, _ = double_models()
    objective = lw.Objective(a, MLP.samples(torch.float64), loss=MLP.loss, params="0.*")
    line = lw.Line(a, b).bound(objective.space)
    middle = line.point([0.5]).parameters
    assert torch.equal(middle["2.weight"], a[2].weight)
    np.testing.assert_allclose(middle["0.weight"], (a[0].weight + b[0].weight).detach() / 2, rtol=1e-12)
    u, residual = line.project(b)
    assert (u[0], residual) == (pytest.approx(1.0, abs=1e-9), pytest.approx(0.0, abs=1e-7))


def test_orthogonality_is_a_choice_made_after_normalising_and_the_cosine_is_reported():
    plain, right = PLANES["random"], PLANES["orthogonal"]
    x, y = (flat(v) for v in plain.basis.vectors[1:])
    assert plain.cosine() == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-9)
    assert abs(right.cosine()) < 1e-12
    assert right.provenance()["orthogonal"]
    assert all(torch.equal(right.basis.vectors[1][n], plain.basis.vectors[1][n]) for n in right.basis.vectors[1])
    z = flat(right.basis.vectors[2])
    np.testing.assert_allclose(z, y - (x @ y) / (x @ x) * x, rtol=1e-9, atol=1e-12)


def test_trap_4_orthogonal_holds_for_given_directions_that_name_different_parameters():
    a = double_models()[0]
    whole = {name: torch.randn_like(p) for name, p in a.named_parameters()}
    part = {"0.weight": torch.randn_like(a[0].weight)}
    for x, y in ((whole, part), (part, whole)):
        assert abs(lw.Plane.spanned(a, x, y, orthogonal=True).cosine()) < 1e-12


def test_trap_4_a_direction_of_zeros_is_refused_or_left_zero_when_it_is_made_orthogonal():
    model = torch.nn.Linear(4, 3)
    torch.nn.init.zeros_(model.weight)  # filter normalised directions of zero filters are zero
    plane = lw.Plane.random(model, orthogonal=True)
    assert plane.cosine() is None
    assert not any(v["weight"].any() for v in plane.basis.vectors)


def test_trap_12_a_direction_with_a_name_the_model_does_not_have_is_refused_by_name():
    a = MLP.model()
    good = {"0.weight": torch.randn_like(a[0].weight)}
    part = {"2.weight": torch.randn_like(a[2].weight)}
    with pytest.raises(ValueError, match=r"hidden.weight"):
        lw.Plane.spanned(a, {**good, "hidden.weight": torch.zeros(3, 2)}, part).point((0, 0))


def test_trap_10_a_direction_may_use_either_name_of_a_tied_weight():
    model = CASES[2].model()
    tied, other = torch.randn_like(model.embedding.weight), {"position": torch.randn_like(model.position)}
    plane = lw.Plane.spanned(model, {"output.weight": tied}, other)
    assert torch.equal(plane.basis.vectors[1]["embedding.weight"], tied)


@given(
    low=st.floats(-5, 5),
    length=st.floats(0.01, 8),
    size=st.integers(2, 60),
    marks=st.sampled_from([(), (0.0,), (0.0, 1.0)]),
)
def test_trap_1_a_grid_is_uniform_has_every_mark_exactly_and_nearly_the_ends(low, length, size, marks):
    axis = Axis("x", "", low, low + length, marks)
    inside = [m for m in marks if axis.low <= m <= axis.high]
    assume(len(inside) < 2 or size > max(2, length))  # fewer points cannot have both models and the ends
    grid = axis.grid(size)
    assert len(grid) == size
    assert all(m in grid for m in inside)
    steps = np.diff(grid)
    assert (steps > 0).all()
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-9)
    # one mark: the grid slides by half a step; two: their distance is a whole number of steps, so it stretches as well
    allowed = {0: 1e-9, 1: 0.5 + 1e-9, 2: 1 + length / 2}[len(inside)] * steps.mean()
    assert abs(grid[0] - axis.low) <= allowed
    assert abs(grid[-1] - axis.high) <= allowed


@pytest.mark.parametrize("size", [3, 5, 9, 12, 17, 33, 65, 66])
def test_trap_1_an_ordinary_grid_has_the_ends_that_were_asked_for(size):
    assert Axis("alpha", "", 0.0, 1.0, (0.0, 1.0)).grid(size).tolist() == pytest.approx(
        np.linspace(0, 1, size).tolist(), rel=1e-15
    )
    if size % 2:
        assert Axis("x", "", -1.5, 1.5, (0.0,)).grid(size)[[0, size // 2, -1]].tolist() == [-1.5, 0.0, 1.5]


def test_a_grid_of_one_point_is_refused():
    with pytest.raises(ValueError, match=r"resolution must be at least 2, got 1. Use an odd number such as 33"):
        Axis("x", "", 0, 1).grid(1)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ((2.0,), [(-2, 2), (-2, 2)]),
        (((0.0, 1.0),), [(0, 1), (0, 1)]),
        ((2.0, 1.0), [(-2, 2), (-1, 1)]),
        ((1.0, 2.0), [(-1, 1), (-2, 2)]),
        ((1.0, 1.0), [(-1, 1), (-1, 1)]),
        (((0.0, 1.0), 3.0), [(0, 1), (-3, 3)]),
        (((0.0, 1.0), (-2.0, 5.0)), [(0, 1), (-2, 5)]),
    ],
)
def test_over_takes_one_span_for_all_axes_or_one_for_each(spans, expected):
    assert [(a.low, a.high) for a in lw.Subspace.identity(2).over(*spans).axes] == expected


@pytest.mark.parametrize("span", [0.0, -1.0, (0.0, np.nan), ((0.0, 1.0),) * 3, (np.inf,)])
def test_a_span_without_extent_is_refused_and_the_advice_works(span):
    with pytest.raises(ValueError, match=r"span must be a positive number or \(low, high\)") as caught:
        lw.Subspace.identity(2, span=span)
    assert "span=1.0" in str(caught.value)
    lw.Subspace.identity(2, span=1.0)


@pytest.mark.parametrize("span", [(2.0, 1.0), (1.0, 1.0)])
def test_a_low_end_that_is_not_below_the_high_end_is_refused_and_not_read_as_two_spans(span):
    with pytest.raises(ValueError, match=r"low < high"):
        lw.Plane.random(MLP.model(), span=span)


def test_widening_keeps_the_vectors_and_the_old_subspace():
    plane = lw.Plane.random(MLP.model())
    vectors = plane.basis
    wide = plane.over(3.0)
    assert wide.basis is vectors
    assert plane.axes[0].high == 1.0
    assert wide.axes[0].label == plane.axes[0].label


def test_equal_seeds_give_two_independent_draws_of_which_the_first_is_the_seeds_own():
    a = MLP.model()
    twice, once = lw.Plane.random(a, (3, 3)), lw.Plane.random(a, (3, 4))
    for name, tensor in once.basis.vectors[1].items():
        assert torch.equal(twice.basis.vectors[1][name], tensor)
    assert 0 < abs(twice.cosine()) < 0.3
    assert twice.axes[1].label == "y (seed 3 draw 2, filter normalised)"


def test_seeds_points_and_coordinates_of_the_wrong_kind_are_refused():
    a = MLP.model()
    for seeds in ((1,), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"seeds must be two integers, got .* Use for example \(0, 1\)"):
            lw.Plane.random(a, seeds)
    with pytest.raises(ValueError, match=r"coordinates must have shape \(P, 2\), got \(1, 3\).*each of x, y"):
        PLANES["random"].point((0, 0, 0))
    with pytest.raises(ValueError, match=r"must fit the objective's model"):
        lw.Line(a, CNN.model()).point((0.5,))


def test_between_models_is_true_for_lines_and_planes_through_models_only():
    assert [name for name in PLANES if PLANES[name].between_models] == ["line", "through"]


def test_swapping_the_seeds_transposes_the_plane():
    objective = MLP.objective(torch.float64)
    a = MLP.model(0, torch.float64)
    planes = [
        lw.sample(objective, lw.Plane.random(a, seeds), resolution=(9, 9), tolerance=0)
        for seeds in itertools.permutations((0, 1))
    ]
    np.testing.assert_allclose(planes[0].values["loss"], planes[1].values["loss"].T, rtol=1e-12)
