"""A basis that is kept smaller: the models as they are, the directions nearly, and how nearly is told."""

import gc
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import lwidgets as lw
from lwidgets import directions
from lwidgets.basis import combination
from lwidgets.directions import Made
from lwidgets.sampling.storage import storage_error
from tests.models import CASES, CNN, MLP, TRANSFORMER, at, flat, named, same

HALF = (torch.bfloat16, torch.float16)
UNIT = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}  # largest relative error of rounding


def planes(case, **options):
    """(objective, the plane bound to it) in float32."""
    objective = case.objective(batchnorm="frozen", metrics={} if case.by_model else {"error": lw.metrics.error})
    return objective, lw.Plane.random(case.model(), **options).bound(objective.space, objective.device)


def directions_of(plane):
    return plane.basis.vectors[len(plane.vertices) :]


def plain_values(case, plane, coords):
    """Losses of models made by hand from the basis' vectors, on every pixel."""
    origin, vectors = case.model(), [dict(v) for v in plane.basis.vectors]
    losses = [
        case.plain_loss(at(origin, list(zip(plane.coefficients(u)[0], vectors, strict=True))))
        for u in itertools.product(*coords)
    ]
    return np.array(losses).reshape([len(c) for c in coords])


OPTIONS = [
    {},
    {"zero_1d": False},
    {"orthogonal": True},
    {"normalize": "model"},
    {"normalize": "layer", "seeds": (3, 3)},
    {"normalize": "none"},
]


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_each_direction_is_rounded_once_to_the_nearest(case, options, dtype):
    _, full = planes(case, **options)
    half = full.stored(dtype=dtype)
    for exact, kept in zip(directions_of(full), directions_of(half), strict=True):
        assert list(exact) == list(kept)
        for name in exact:
            assert kept[name].dtype == dtype
            if not options.get("orthogonal"):
                assert torch.equal(kept[name], exact[name].to(dtype))
            scale = exact[name].abs().max().item()
            np.testing.assert_allclose(kept[name].float(), exact[name], rtol=2 * UNIT[dtype], atol=1e-3 * scale)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_is_made_on_demand_is_what_is_kept_to_the_last_bit(options):
    for subspace in (planes(TRANSFORMER, **options)[1], planes(CNN, **options)[1].stored(dtype=torch.bfloat16)):
        lazy = subspace.unmade
        assert "basis" not in subspace.__dict__
        assert all(isinstance(v, Made) for v in lazy.vectors[1:])
        assert all(same(dict(a), dict(b)) for a, b in zip(lazy.vectors, subspace.basis.vectors, strict=True))


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_model_in_the_centre_is_reproduced_to_the_last_bit(case, dtype):
    objective, full = planes(case)
    plane = full.stored(dtype=dtype, device="cpu")
    assert same(dict(plane.point((0, 0)).parameters), named(case.model()))
    landscape = lw.sample(objective, plane, resolution=3, tolerance=0)
    assert landscape.at((0, 0))["loss"] == objective.measure(case.model(), "frozen")["loss"]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_points_are_the_sum_added_up_by_hand_in_full_precision(case):
    _, full = planes(case, zero_1d=False)
    plane = full.stored(dtype=torch.bfloat16)
    x, y = 0.7, -1.3
    terms = [(1, named(case.model())), *zip((x, y), directions_of(plane), strict=True)]
    point, expected = plane.point((x, y)).parameters, named(at(case.model(), terms))
    assert all(point[name].dtype == torch.float32 for name in expected)
    np.testing.assert_allclose(flat(point, list(expected)), flat(expected), rtol=1e-5, atol=1e-6)


def test_algebra_on_the_basis_is_that_of_its_flat_vectors():
    _, full = planes(MLP)
    plane = full.stored(dtype=torch.bfloat16).over(2.0, (0.0, 1.0))
    names = list(named(MLP.model()))
    vectors = [{n: v.get(n, torch.zeros(full.space.shapes[n])) for n in names} for v in plane.basis.vectors]
    rows = np.stack([flat(v, names) for v in vectors])
    np.testing.assert_allclose(plane.basis.gram(), rows @ rows.T, rtol=1e-12)
    found, residual = plane.project(plane.point((0.3, -0.8)))
    np.testing.assert_allclose(found, [0.3, -0.8], atol=1e-6)
    assert residual < 1e-5
    assert plane.cosine() == pytest.approx(rows[1] @ rows[2] / np.sqrt((rows[1] @ rows[1]) * (rows[2] @ rows[2])))


def test_orthogonal_directions_stay_orthogonal_but_for_rounding():
    _, full = planes(TRANSFORMER, orthogonal=True, zero_1d=False)
    assert abs(full.stored(dtype=torch.bfloat16).cosine()) < 1e-4
    assert abs(planes(TRANSFORMER, zero_1d=False)[1].cosine()) > 1e-3


def test_tied_weights_are_kept_once_and_move_together():
    objective, full = planes(TRANSFORMER)
    plane = full.stored(dtype=torch.bfloat16)
    assert all("output.weight" not in v for v in plane.basis.vectors)
    model = objective.model_at(plane.point((0.5, 0.5)))
    assert model.output.weight is model.embedding.weight
    assert not torch.equal(model.embedding.weight, TRANSFORMER.model().embedding.weight)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("span", [0.5, (-0.25, 1.5)], ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_error_covers_the_difference_on_the_whole_grid_and_is_not_far_above_it(case, span, dtype):
    objective, full = planes(case, span=span, zero_1d=False)
    half = full.stored(dtype=dtype)
    coords = [axis.grid(size) for axis, size in zip(full.axes, (5, 9), strict=True)]
    true = np.abs(plain_values(case, half, coords) - plain_values(case, full, coords)).max()
    error = storage_error(objective, half, coords, "none" if case is not CNN else "frozen")["loss"]
    assert true <= error
    assert error < 2.5 * true + 1e-5


@pytest.mark.parametrize("normalize", ["filter", "model"])
def test_the_error_is_twice_the_largest_difference_of_the_corners_of_the_grid(normalize):
    objective, full = planes(MLP, normalize=normalize)
    half = full.stored(dtype=torch.bfloat16)
    coords = [np.linspace(-2, 1, 4), np.linspace(-1, 3, 5)]  # which is not what the axes say
    corners = [[c[0], c[-1]] for c in coords]
    gaps = np.abs(plain_values(MLP, half, corners) - plain_values(MLP, full, corners))
    fresh = full.stored(dtype=torch.bfloat16)
    found = storage_error(objective, fresh, coords, "none")
    assert found["loss"] == pytest.approx(2 * gaps.max(), rel=1e-2, abs=1e-6)
    assert "basis" not in fresh.__dict__


def test_the_error_of_a_line_is_measured_at_the_ends_and_halfway_to_them():
    line = lw.Line.random(torch.tensor([1.0, 2.0, 3.0]), 4, zero_1d=False).stored(dtype=torch.float16)
    objective = lw.Objective.from_function(lambda u: u.sum(dim=1), dim=3)
    seen = []

    def off_in_between(u):
        seen.append(u)
        return torch.zeros(4) if len(seen) == 1 else torch.tensor([0.0, -3.0, 1.0, 0.0])

    objective.function = off_in_between
    assert storage_error(objective, line, [np.linspace(-3, 3, 9)], "none") == {"loss": 6.0}
    for basis, points in zip((line.stored(), line), seen, strict=True):
        np.testing.assert_allclose(basis.project(list(points))[0][:, 0], [-3, -1.5, 1.5, 3])


def test_a_metric_that_counts_samples_may_be_five_more_off():
    objective, full = planes(MLP)
    half = full.stored(dtype=torch.float16)
    coords = [axis.grid(3) for axis in full.axes]
    found = storage_error(objective, half, coords, "none")["error"] * len(objective.data)
    assert found >= 5 - 1e-9
    assert found % 1 == pytest.approx(0, abs=1e-4) or found % 1 == pytest.approx(1, abs=1e-4)
    assert storage_error(objective, half, coords, "none")["loss"] < 5 / len(objective.data)


def bowl(*shown):
    """A plane around (1, 2, 3), and the error of a bowl with one function for each call: first exact, then kept."""
    calls = iter(shown)
    first = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=3)
    first.function = lambda u: next(calls)(u, (u**2).sum(dim=1))
    plane = lw.Plane.random(torch.tensor([1.0, 2.0, 3.0]), zero_1d=False).stored(dtype=torch.bfloat16)
    return storage_error(first, plane, [np.array([-1.0, 0.0, 1.0])] * 2, "none")["loss"]


def test_corners_that_are_not_finite_do_not_hide_the_others():
    def plain(u, values):
        return values

    def hole(u, values):
        return torch.where(values == values.max(), torch.nan, values)

    def infinite(u, values):
        return values + torch.inf

    everywhere = bowl(plain, plain)
    assert 0 < bowl(hole, hole) < np.inf
    assert 0 < everywhere < np.inf
    assert np.isnan(bowl(infinite, infinite))
    assert bowl(plain, infinite) == bowl(plain, lambda u, values: values * torch.nan) == np.inf


def test_nothing_is_evaluated_where_nothing_is_rounded():
    calls = []

    def loss(output, target):
        calls.append(1)
        return nn.functional.cross_entropy(output, target)

    objective = lw.Objective(MLP.model(), MLP.samples(), loss=loss)
    calls.clear()
    plane = lw.Plane.random(MLP.model()).stored(device="cpu")
    assert storage_error(objective, plane, [np.linspace(-1, 1, 3)] * 2, "none") == {"loss": 0.0}
    assert not calls


def hulls():
    a, b, c = (MLP.model(seed) for seed in range(3))
    return {"line": lw.Line(a, b), "plane": lw.Plane.through(a, b, c)}


@pytest.mark.parametrize("kind", ["line", "plane"])
def test_models_are_kept_elsewhere_as_they_are_and_not_in_fewer_bits(kind):
    subspace = hulls()[kind]
    kept = subspace.stored(device="cpu")
    for a, b in zip(subspace.basis.vectors, kept.basis.vectors, strict=True):
        assert same(dict(a), dict(b))
    with pytest.raises(ValueError, match=r"no direction is drawn, got torch.float16 for a .*; use device=\"cpu\""):
        subspace.stored(dtype=torch.float16)


def test_directions_that_were_given_are_shared_and_exact_unless_made_orthogonal():
    a, x, y = (MLP.model(seed) for seed in range(3))
    plane = lw.Plane.spanned(a, x, y)
    with pytest.raises(ValueError, match="no direction is drawn"):
        plane.stored(dtype=torch.bfloat16)
    first, second = directions_of(lw.Plane.spanned(a, x, y, orthogonal=True).stored(dtype=torch.bfloat16))
    assert {t.dtype for t in first.values()} == {torch.float32}
    assert {t.dtype for t in second.values()} == {torch.bfloat16}
    assert same(dict(first), named(x))


def test_what_is_stored_elsewhere_stays_there_when_bound_to_an_objective():
    objective = MLP.objective()
    plane = lw.Plane.random(MLP.model()).stored(device="meta")
    assert {t.device.type for v in plane.vertices for t in v.tensors.values()} == {"meta"}
    bound = plane.bound(objective.space, objective.device).over(2.0)
    assert {t.device.type for v in bound.vertices for t in v.tensors.values()} == {"meta"}
    assert {t.device.type for v in bound.basis.vectors for t in v.values()} == {"meta"}
    here = lw.Plane.random(MLP.model()).stored(device="cpu").bound(objective.space, torch.device("meta"))
    assert {t.device.type for v in here.basis.vectors for t in v.values()} == {"cpu"}


class OneDevice(TorchDispatchMode):
    """Within: only copies may have tensors on two devices. Without a GPU, one of them has tensors without values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = [t for t in (*args, *(kwargs or {}).values()) if isinstance(t, torch.Tensor) and t.ndim]
        copies = function in (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
        assert copies or len({t.device for t in tensors}) <= 1, function
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, *HALF], ids=str)
@pytest.mark.parametrize("row", [(1, 0.5, -2), (0.3, 0, 1), (0, 2, 1), (0, 0, 1)], ids=str)
def test_terms_are_brought_to_the_device_of_the_result_before_they_are_added(row, dtype):
    terms = [torch.zeros(2, 3), torch.zeros(2, 3, dtype=dtype), torch.zeros(2, 3, dtype=dtype)]
    with OneDevice():
        out = torch.zeros(2, 3, device="meta")
        combination(row, terms, out)
        combination(row, [terms[0].to("meta"), *terms[1:]], out)
        with pytest.raises(AssertionError, match="add_"):
            out.add_(terms[0])
    assert (out.device.type, out.dtype) == ("meta", torch.float32)


def test_half_precision_models_are_left_as_they_are():
    model = MLP.model().to(torch.bfloat16)
    plane, kept = lw.Plane.random(model), lw.Plane.random(model).stored(dtype=torch.float16)
    assert all(same(dict(a), dict(b)) for a, b in zip(plane.basis.vectors, kept.basis.vectors, strict=True))


def test_float64_models_keep_their_precision_in_the_models_and_lose_it_in_the_directions():
    plane = lw.Plane.random(MLP.model(dtype=torch.float64)).stored(dtype=torch.float16)
    assert {t.dtype for t in plane.basis.vectors[0].values()} == {torch.float64}
    assert {t.dtype for v in directions_of(plane) for t in v.values()} == {torch.float16}
    assert plane.point((0.1, 0.2)).parameters["0.weight"].dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int8, torch.float8_e4m3fn, "bfloat16"], ids=str)
def test_other_dtypes_are_refused_and_the_advice_works(dtype):
    plane = lw.Plane.random(MLP.model())
    with pytest.raises(ValueError, match=r"dtype must be torch.bfloat16 or torch.float16, got .*Leave it out"):
        plane.stored(dtype=dtype)
    assert same(dict(plane.stored().basis.vectors[1]), dict(plane.basis.vectors[1]))


def test_provenance_says_how_it_is_kept_and_nothing_where_nothing_is_special():
    plane = lw.Plane.random(MLP.model())
    assert "storage" not in plane.provenance()
    half = plane.stored(dtype=torch.bfloat16)
    assert half.provenance()["storage"] == {"directions": "bfloat16"}
    both = plane.stored(dtype=torch.float16, device="cpu").over(3.0)
    assert both.provenance()["storage"] == {"directions": "float16", "device": "cpu"}
    assert "storage" not in half.stored().provenance()


def test_whether_a_direction_moves_something_is_known_without_drawing_it():
    def refuse(name):
        raise AssertionError(name)

    made = Made(["weight"], refuse)
    assert "weight" in made
    assert "bias" not in made
    assert list(made) == ["weight"]
    assert made.get("bias") is None
    with pytest.raises(AssertionError, match="weight"):
        made.get("weight")


def new_bytes():
    """Bytes behind the tensors that are new since gc.freeze(), each storage once."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@pytest.fixture
def only_what_is_new_is_counted():
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("only_what_is_new_is_counted")
@pytest.mark.parametrize(("dtype", "models"), [(None, 5), (torch.bfloat16, 4)])
def test_two_directions_in_half_precision_take_one_model(monkeypatch, dtype, models):
    monkeypatch.setattr("lwidgets.sampling.evaluate._WORTH", float("inf"))  # a graph holds weights of its own
    model, x = nn.Sequential(nn.Linear(512, 1024, bias=False), nn.Linear(1024, 512, bias=False)), torch.randn(2, 512)
    size = sum(p.nbytes for p in model.parameters())
    seen = []
    objective = lw.Objective(model, (x, x), loss=nn.functional.mse_loss)
    plane = lw.Plane.random(model).stored(dtype=dtype)
    lw.sample(objective, plane, resolution=5, tolerance=0, progress=lambda *_: seen.append(new_bytes()))
    # the user's model, the origin, the directions and the scratch
    assert max(seen) == pytest.approx(models * size, rel=0.05)


@pytest.mark.usefixtures("only_what_is_new_is_counted")
@pytest.mark.parametrize("normalize", ["filter", "model"])
def test_no_direction_is_there_whole_while_the_rounded_ones_are_made_or_the_error_is_measured(monkeypatch, normalize):
    model, x = nn.Sequential(*(nn.Linear(256, 256, bias=False) for _ in range(16))), torch.randn(2, 256)
    size = sum(p.nbytes for p in model.parameters())
    objective = lw.Objective(model, (x, x), loss=nn.functional.mse_loss)
    plane = lw.Plane.random(model, normalize=normalize).stored(dtype=torch.bfloat16).bound(objective.space)
    seen = []
    draw = directions.normals

    def watched(*args, **options):
        seen.append(new_bytes())
        return draw(*args, **options)

    monkeypatch.setattr(directions, "normals", watched)
    storage_error(objective, plane, [axis.grid(3) for axis in plane.axes], "none")
    assert len(seen) > 16
    assert max(seen) < 3.3 * size  # the user's model, the origin, one point
    seen.clear()
    assert len(plane.basis.vectors) == 3
    assert max(seen) < 3.3 * size  # the user's model, the origin, two halves
