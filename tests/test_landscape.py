"""Landscapes as values: files that come back exactly or are refused, non-finite values, xarray."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import lwidgets as lw
from lwidgets.cli import main
from lwidgets.landscape import Landscape, Sampling, _digest, mean_of
from tests.models import MLP

AXIS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=7, unique=True).map(sorted)
ANY = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)


SAMPLINGS = st.builds(
    Sampling,
    settled=st.booleans(),
    first_look=st.text(),
    batchnorm=st.sampled_from(["none", "frozen", "recalibrate", "batch"]),
    split=st.text(),
    kind=st.text(),
    models=st.tuples(st.text()),
    directions=st.tuples(st.text(), st.text()),
    moves=st.text(),
    frozen=st.integers(0, 2**50),
    without_effect=st.tuples(st.text()),
)


@st.composite
def landscapes(draw):
    coords = tuple(np.array(c) for c in draw(st.lists(AXIS, min_size=1, max_size=2)))
    shape = tuple(len(c) for c in coords)
    metrics = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3, unique=True))
    return Landscape(
        coords=coords,
        axes=("alpha", "ψ")[: len(shape)],
        labels=('0 = "a"', "δ\n")[: len(shape)],
        values={m: draw(arrays(np.float64, shape, elements=ANY)) for m in metrics},
        evaluated=draw(arrays(np.bool_, shape)),
        evaluations=draw(st.integers(0, 10**9)),
        error={m: draw(ANY) for m in metrics},
        provenance={"seed": draw(st.integers()), "words": draw(st.text()), "list": [1.5, None, True]},
        final=draw(st.booleans()),
        sampling=draw(SAMPLINGS),
    )


def bits(array):
    return np.asarray(array, dtype=np.float64).tobytes()


@given(landscapes())
def test_trap_8_saving_and_loading_brings_back_every_bit(tmp_path, landscape):
    found = lw.load(landscape.save(tmp_path / "a.landscape.json"))
    assert [bits(c) for c in found.coords] == [bits(c) for c in landscape.coords]
    assert {m: bits(v) for m, v in found.values.items()} == {m: bits(v) for m, v in landscape.values.items()}
    assert {m: bits(e) for m, e in found.error.items()} == {m: bits(e) for m, e in landscape.error.items()}
    assert found.evaluated.tolist() == landscape.evaluated.tolist()
    for name in ("axes", "labels", "evaluations", "final", "provenance", "sampling", "shape", "metrics", "nonfinite"):
        assert getattr(found, name) == getattr(landscape, name)
    assert found.evaluated.dtype == bool
    assert [p.name for p in tmp_path.iterdir()] == ["a.landscape.json"]


@pytest.fixture(scope="module")
def surface():
    model = MLP.model()
    return lw.sample(MLP.objective(), lw.Plane.random(model), resolution=(9, 5))


@pytest.mark.parametrize(
    "option", [{"budget": np.int64(30)}, {"tolerance": np.float32(0.01)}, {"resolution": tuple(np.array([9, 5]))}]
)
def test_numbers_from_numpy_as_options_do_not_keep_a_landscape_from_being_saved(tmp_path, option):
    bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
    landscape = lw.sample(bowl, lw.Subspace.identity(2), **{"resolution": (9, 5), **option})
    assert lw.load(landscape.save(tmp_path / "a.json")).evaluations == landscape.evaluations


def test_the_loaded_arrays_may_be_written_to(tmp_path, surface):
    lw.load(surface.save(tmp_path / "a.json")).values["loss"][0, 0] = 3.0


def test_an_interrupted_save_leaves_the_old_file(tmp_path, surface):
    path = surface.save(tmp_path / "a.json")
    with pytest.raises(TypeError):
        replace(surface, provenance={"unknown": object()}).save(path)
    assert lw.load(path).evaluations == surface.evaluations
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_file_is_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"got 'absent.json', which is not there"):
        lw.load(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be a complete landscape file, got text that ends or breaks at character 0"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "must be a landscape file, got binary data"),
        (b'{"cells": [], "nbformat": 4}', "must be a landscape file, got JSON of another kind"),
        (b"[1, 2]", "got JSON of another kind"),
        (b'"lwidgets.landscape"', "got JSON of another kind"),
        (
            b'{"format": "lwidgets.landscape", "version": 2}',
            "must have format version 1, got version 2. Update lwidgets",
        ),
        (b'{"format": "lwidgets.landscape", "version": 1}', "contents that do not match their digest"),
        (b"[" * 200_000, "must be a"),
    ],
    ids=["empty", "binary", "notebook", "list", "string", "newer", "hollow", "deep"],
)
def test_foreign_files_are_refused_by_what_they_are(tmp_path, content, message):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"load: other.json .*{message}|load: other.json {message}"):
        lw.load(path)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, surface):
    path = surface.save(tmp_path / "a.json")
    content = path.read_bytes()
    for length in range(0, len(content) - 1, 37):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"must be a complete landscape file"):
            lw.load(path)


def test_any_flipped_bit_is_noticed(tmp_path, surface):
    path = surface.save(tmp_path / "a.json")
    content, chance = path.read_bytes(), random.Random(0)
    for _ in range(400):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"load: a.json must"):
            lw.load(path)


def test_a_well_formed_file_with_wrong_contents_is_refused(tmp_path, surface):
    path = surface.save(tmp_path / "a.json")
    for change in ({"shape": [9, 6]}, {"metrics": [{}]}, {"axes": "x"}, {"evaluated": "####"}, {"shape": None}):
        sealed(tmp_path / "b.json", json.loads(path.read_text()) | change)
        with pytest.raises(ValueError, match=r"must hold axes, metrics and their values"):
            lw.load(tmp_path / "b.json")


def sealed(path, content):
    """Write a crafted file whose digest fits."""
    body = {key: value for key, value in content.items() if key not in ("format", "version", "digest")}
    path.write_text(json.dumps({**content, "digest": _digest(body)}))
    return path


WRONG = (None, True, 0, -5, 1.5, 10**30, float("inf"), float("nan"), "no", "####", "AAAA", [], [1], [[]], {}, {"a": 1})


def places(part, where=()):
    """Every place in a file, by the keys that lead there."""
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, inner in items:
        yield (*where, key)
        yield from places(inner, (*where, key))


def replaced(content, where, value):
    copied = json.loads(json.dumps(content))
    part = copied
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    return copied


def loaded_or_refusal(path):
    try:
        return lw.load(path)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("dim", [1, 2])
def test_a_file_with_anything_anywhere_is_refused_in_words_or_can_be_used(tmp_path, dim):
    f = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=dim)
    landscape = lw.sample(f, lw.Subspace.identity(dim), resolution=(5,) * dim)
    content = json.loads(landscape.save(tmp_path / "a.json").read_text())
    refused = 0
    for where in places(content):
        if where == ("digest",):
            continue
        for value in WRONG:
            path = sealed(tmp_path / "b.json", replaced(content, where, value))
            found = loaded_or_refusal(path)
            if isinstance(found, str):
                assert found.startswith("load: b.json must ")
                refused += 1
                continue
            assert where[0] in ("provenance", "sampling", "evaluations", "axes", "metrics", "final"), (where, value)
            assert type(found.final) is bool
            assert 0 <= found.evaluations < 2**53
            assert "Landscape(" in repr(found)
            found.accuracy("loss" if "loss" in found.metrics else found.metrics[0])
            if dim == 1:
                with pytest.raises(ValueError, match=r"Landscape\.barrier"):
                    found.barrier(metric="another")
            assert lw.load(found.save(tmp_path / "c.json")).shape == found.shape
    assert refused > 150


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"evaluations": ', '"evaluations": ' + "9" * 5000),
        ('"shape": [', '"shape": [' + "9" * 5000 + ", "),
        ('"version": 1', '"version": ' + "1" * 5000),
        ('"final": ', '"final": ' + "[" * 100_000),
        ('"version": 1', '"version": true'),
    ],
    ids=["evaluations", "shape", "version", "deep", "true"],
)
def test_numbers_of_thousands_of_digits_are_refused_in_words(tmp_path, surface, before, after, capsys):
    path = surface.save(tmp_path / "a.json")
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(ValueError, match=r"load: a\.json must"):
        lw.load(path)
    assert main(["view", str(path), "-o", str(tmp_path / "a.html")]) == 1
    assert capsys.readouterr().err.startswith("lwidgets: load: a.json must")


def test_trap_9_grids_are_ij_at_every_pixel():
    f = lw.Objective.from_function(lambda u: u[:, 0] * 100 + u[:, 1], dim=2)
    landscape = lw.sample(f, lw.Subspace.identity(2, span=((0.0, 4.0), (0.0, 8.0))), resolution=(5, 9), tolerance=0)
    assert landscape.values["loss"].shape == landscape.shape == (5, 9)
    for i, x in enumerate(landscape.coords[0]):
        for j, y in enumerate(landscape.coords[1]):
            assert landscape.values["loss"][i, j] == 100 * x + y
            assert landscape.at((x, y))["loss"] == 100 * x + y
            assert landscape.pixel((x, y)) == (i, j)


def test_between_pixels_values_are_bilinear():
    f = lw.Objective.from_function(lambda u: 2 * u[:, 0] - u[:, 1] + 3 * u[:, 0] * u[:, 1], dim=2)
    landscape = lw.sample(f, lw.Subspace.identity(2), resolution=(12, 7), tolerance=0)
    for x, y in np.random.default_rng(0).uniform(-1, 1, size=(20, 2)):
        assert landscape.at((x, y))["loss"] == pytest.approx(2 * x - y + 3 * x * y, abs=1e-12)


def test_points_outside_are_refused_with_the_extent(surface):
    with pytest.raises(ValueError, match=r"point must have x in \[-1, 1\], y in \[-1, 1\], got \[0.0, 1.5\]"):
        surface.at((0, 1.5))
    with pytest.raises(ValueError, match=r"point must have x in"):
        surface.at(0.5)


def test_trap_8_pixels_that_are_not_finite_are_counted_once(surface):
    values = surface.values["loss"].copy()
    values[0, 0], values[3, 2], values[8, 4] = np.nan, np.inf, -np.inf
    other = surface.values["loss"].copy()
    other[3, 2] = np.nan
    assert replace(surface, values={"loss": values, "other": other}).nonfinite == 3


def test_xarray_has_the_same_numbers_names_and_errors(surface):
    dataset = surface.to_xarray()
    assert dataset["loss"].dims == surface.axes
    assert bits(dataset["loss"]) == bits(surface.values["loss"])
    assert dataset["evaluated"].sum() == surface.evaluations == dataset.attrs["evaluations"]
    assert dataset["loss"].attrs["error_estimate"] == surface.error["loss"]
    assert dataset["x"].attrs["long_name"] == surface.labels[0]
    assert float(dataset["loss"].sel(x=0, y=0)) == surface.at((0, 0))["loss"]
    assert json.loads(dataset.attrs["provenance"]) == surface.provenance


def test_every_value_has_a_repr_of_one_short_line():
    objective = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), 2)
    square = lw.Subspace.identity(2)
    landscape = lw.sample(objective, square, resolution=(9, 5), tolerance=0)
    assert repr(landscape) == "Landscape(9 x 5 over x, y; loss 0 to 2 within 0; 45 evaluated)"
    assert repr(square) == "Subspace(identity: x in [-1, 1], y in [-1, 1])"
    assert repr(objective) == "Objective(<lambda>: loss; 2 numbers move)"
    assert repr(square.basis) == "Basis(3 vectors over 1 parameters)"
    assert repr(square.vertices[0]) == "State('zero': 1 parameters of 2 numbers, 0 buffers)"


def test_the_mean_of_landscapes_is_pixel_by_pixel():
    x, y = np.linspace(0, 1, 4), np.linspace(-1, 1, 3)
    rng = np.random.default_rng(0)
    grids = [
        Landscape(
            (x, y),
            ("x", "y"),
            ("x", "y"),
            {"loss": rng.random((4, 3)), "error": rng.random((4, 3))},
            rng.random((4, 3)) < 0.5,
            evaluations,
            {"loss": 0.1 * evaluations, "error": float("nan")},
            {"objective": f"task {evaluations}", "split": "test"},
            final,
            Sampling(settled=final, split="test", without_effect=("error", "loss")[: evaluations - 4]),
        )
        for evaluations, final in ((5, True), (7, False), (9, True))
    ]
    mean = mean_of(grids)
    for i, j in np.ndindex(4, 3):
        assert mean.values["error"][i, j] == pytest.approx(sum(one.values["error"][i, j] for one in grids) / 3)
        assert mean.evaluated[i, j] == all(one.evaluated[i, j] for one in grids)
    assert mean.error["loss"] == pytest.approx(0.7)
    assert np.isnan(mean.error["error"])
    assert (mean.evaluations, mean.final) == (21, False)
    assert mean.provenance["mean of"] == ["task 5", "task 7", "task 9"]
    assert mean.provenance["split"] == "test"
    assert mean.sampling == Sampling(settled=False, split="test", without_effect=("error",))


def test_landscapes_of_other_grids_or_metrics_have_no_mean(surface):
    def like(**changes):
        return replace(surface, **changes)

    with pytest.raises(ValueError, match=r"mean_of: landscapes must be one or more, got none\."):
        mean_of([])
    moved = like(coords=(surface.coords[0] + 1, *surface.coords[1:]))
    with pytest.raises(ValueError, match=r"mean_of: landscapes must have one grid and the same metrics, got .* at 1"):
        mean_of([surface, moved])
    with pytest.raises(ValueError, match=r"got .* at 2 after"):
        mean_of([surface, surface, like(values={"other": surface.values["loss"]}, error={"other": 0.0})])


# From plain arrays.


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_a_landscape_of_numbers_computed_elsewhere(kind, tmp_path):
    x, y = [0.0, 0.5, 2.0], [-1.0, 1.0]
    grid = [[1.0, 2.0], [float("nan"), 4.0], [5.0, float("inf")]]
    found = Landscape.from_arrays(
        kind(x), kind(y), {"loss": kind(grid), "count": kind([[1, 2]] * 3)}, labels=("a", "b")
    )
    assert [c.tolist() for c in found.coords] == [x, y]
    assert (found.axes, found.labels, found.metrics) == (("a", "b"), ("a", "b"), ("loss", "count"))
    np.testing.assert_array_equal(found.values["loss"], grid)
    assert {v.dtype for v in (*found.values.values(), *found.coords)} == {np.dtype(np.float64)}
    assert (found.evaluated.all(), found.evaluations, found.error) == (True, 6, {"loss": 0.0, "count": 0.0})
    assert found.nonfinite == 2
    assert found.sampling == Sampling()
    assert "6 evaluated" in found.accuracy("count")
    assert lw.load(found.save(tmp_path / "a.json")).sampling == found.sampling
    assert found.figure("count").axes


def test_a_curve_of_numbers_has_a_barrier():
    curve = Landscape.from_arrays([0, 0.5, 1], {"loss": [0, 1, 0]}, labels="alpha")
    assert (curve.axes, curve.barrier().value) == (("alpha",), 1.0)
    assert (curve.barrier().batchnorm, curve.barrier().split) == ("none", "data")
    assert Landscape.from_arrays(range(3), {"loss": range(3)}).axes == ("x",)


def test_numbers_are_copied_in_and_may_require_gradients_or_be_half():
    x, values = np.arange(3.0), torch.arange(3, dtype=torch.bfloat16, requires_grad=True)
    curve = Landscape.from_arrays(x, {"loss": values})
    x[:] = 7
    assert curve.coords[0].tolist() == [0, 1, 2]
    assert curve.values["loss"].tolist() == [0, 1, 2]
    double = torch.arange(3, dtype=torch.float64)
    curve = Landscape.from_arrays(double, {"loss": double})
    double += 1
    assert curve.values["loss"].tolist() == curve.coords[0].tolist() == [0, 1, 2]


GRID = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("given", "options", "error", "words"),
    [
        ((), {}, TypeError, "values must be a mapping of names to grids after one or two arrays"),
        (([1, 2], [3, 4]), {}, TypeError, "got 2 arguments, the last list"),
        (([1, 2], [1, 2], [1, 2], {}), {}, TypeError, "got 4 arguments"),
        (({"loss": GRID},), {}, TypeError, "got 1 arguments, the last dict"),
        (
            ([1, 2, 3], [1, 2], {"loss": GRID.T}),
            {},
            ValueError,
            r"shape \(3, 2\).*got \(2, 3\) for 'loss'\. Transpose it",
        ),
        (([1, 2, 3], [1, 2], {"loss": GRID[0]}), {}, ValueError, r"got \(2,\) for 'loss'\. Compute them on the grid"),
        (([1, 2, 3], [1, 2], {}), {}, ValueError, "'no metric'"),
        (([1, 1], {"loss": [1, 2]}), {}, ValueError, r"two or more numbers that increase, got \[1.0, 1.0\] for 'x'"),
        (([2, 1], {"loss": [1, 2]}), {}, ValueError, "Sort them, and the values with them"),
        (([1], {"loss": [1]}), {}, ValueError, "two or more numbers"),
        (([1, np.nan], {"loss": [1, 2]}), {}, ValueError, "two or more numbers"),
        ((GRID, {"loss": GRID}), {}, ValueError, r"got shape \(3, 2\) for 'x'"),
        ((["a", "b"], {"loss": [1, 2]}), {}, TypeError, "must be real numbers, got .* for 'x'"),
        (([1, 2], {"loss": [1j, 2]}), {}, TypeError, "must be real numbers, got .*complex128 for 'loss'"),
        (([1, 2], {"loss": [[1], [1, 2]]}), {}, TypeError, "must be real numbers"),
        (([1, 2, 3], [1, 2], {"loss": GRID}), {"labels": "x"}, ValueError, "must name 2 axes differently, got 'x'"),
        (([1, 2, 3], [1, 2], {"loss": GRID}), {"labels": ("a", "a")}, ValueError, "must name 2 axes differently"),
    ],
)
def test_what_makes_no_landscape_is_refused(given, options, error, words):
    with pytest.raises(error, match=rf"^Landscape\.from_arrays: .*{words}"):
        Landscape.from_arrays(*given, **options)


# What is decided on is in the file.


def test_a_file_that_does_not_say_how_it_was_sampled_is_refused(tmp_path, surface):
    content = json.loads(surface.save(tmp_path / "a.json").read_text())
    del content["sampling"]
    with pytest.raises(ValueError, match=r"load: b\.json must hold .*, got sampling that is missing\."):
        lw.load(sealed(tmp_path / "b.json", content))


@pytest.mark.parametrize(
    ("fact", "value", "words"),
    [
        ("settled", 1, "settled that is int"),
        ("batchnorm", ["odd"], "batchnorm that is list"),
        ("models", "ab", "models that is str"),
        ("models", [1], "models with something other than text"),
        ("frozen", -1, "frozen -1 instead of a whole number"),
        ("kind", None, "kind that is NoneType"),
        ("other", "x", "sampling with 'other', which is not known here"),
    ],
)
def test_a_fact_of_another_type_is_refused(tmp_path, surface, fact, value, words):
    content = json.loads(surface.save(tmp_path / "a.json").read_text())
    content["sampling"][fact] = value
    with pytest.raises(ValueError, match=words):
        lw.load(sealed(tmp_path / "b.json", content))


def test_every_fact_has_to_be_there(tmp_path, surface):
    content = json.loads(surface.save(tmp_path / "a.json").read_text())
    for fact in content["sampling"]:
        less = {name: value for name, value in content["sampling"].items() if name != fact}
        with pytest.raises(ValueError, match=f"{fact} that is missing"):
            lw.load(sealed(tmp_path / "b.json", {**content, "sampling": less}))
