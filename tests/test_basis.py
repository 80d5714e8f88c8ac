"""Linear combinations of named tensors, against flat float64 vectors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lwidgets.basis import Basis, combination, inner
from lwidgets.parameters import State
from tests.models import flat

SHAPES = {"w": (4, 3), "b": (4,), "k": (2, 3, 5)}
COEFFICIENTS = arrays(np.float64, 3, elements=st.floats(-4, 4))


def tensors(seed, dtype=torch.float64, names=tuple(SHAPES)):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*SHAPES[name], generator=generator, dtype=torch.float64).to(dtype) for name in names}


def basis(dtype=torch.float64):
    return Basis((tensors(0, dtype), tensors(1, dtype), tensors(2, dtype, ("w", "k"))), State(tensors(3, dtype)))


def flat_vectors(basis):
    return np.stack([flat({n: v.get(n, torch.zeros(SHAPES[n])) for n in SHAPES}) for v in basis.vectors])


@given(COEFFICIENTS)
def test_a_point_is_the_matrix_product_of_coefficients_and_flat_vectors(c):
    point = basis().point(c)
    np.testing.assert_allclose(flat(point.parameters), c @ flat_vectors(basis()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-8), (torch.float16, 2**-10)]
)
def test_half_precision_is_combined_in_float32_and_rounded_once(dtype, tolerance):
    b = basis(dtype)
    c = [0.3, -1.7, 0.9]
    exact = c @ flat_vectors(b)
    np.testing.assert_allclose(flat(b.point(c).parameters), exact, rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("k", range(3))
def test_trap_1_a_one_hot_row_copies_its_vector_to_the_last_bit(dtype, k):
    b = basis(dtype)
    point = b.point(np.eye(3)[k])
    for name in SHAPES:
        expected = b.vectors[k].get(name, torch.zeros(SHAPES[name], dtype=dtype))
        assert torch.equal(point.parameters[name], expected)


def test_a_coefficient_of_zero_keeps_an_infinite_weight_out():
    b = Basis((tensors(0), {**tensors(1), "w": torch.full(SHAPES["w"], torch.inf)}), State(tensors(0)))
    assert torch.equal(b.point([1.0, 0.0]).parameters["w"], tensors(0)["w"])


def test_what_no_vector_names_comes_from_the_origin():
    b = Basis((tensors(0, names=("w",)),), State(tensors(5), {"count": torch.tensor(3)}))
    point = b.point([2.0])
    assert torch.equal(point.parameters["w"], 2 * tensors(0)["w"])
    assert torch.equal(point.parameters["k"], tensors(5)["k"])
    assert point.buffers["count"] == 3


def test_combining_writes_over_whatever_was_there_and_leaves_the_vectors_alone():
    b = basis()
    out = {name: torch.full(shape, torch.nan, dtype=torch.float64) for name, shape in SHAPES.items()}
    for _ in range(3):  # nothing accumulates from one call to the next
        b.combine([0.5, 0.25, 0.0], out)
    np.testing.assert_allclose(flat(out), [0.5, 0.25, 0.0] @ flat_vectors(b), rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(flat_vectors(b), flat_vectors(basis()))
    b.combine([0.0, 0.0, 0.0], out)
    assert not flat(out).any()


def test_combining_on_parameters_that_require_gradients_does_not_record_any():
    out = {name: torch.zeros(shape, dtype=torch.float64, requires_grad=True) for name, shape in SHAPES.items()}
    basis().combine([1.0, 2.0, 3.0], out)
    assert all(t.is_leaf and t.grad_fn is None for t in out.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gram_is_that_of_the_flattened_vectors(dtype):
    v = flat_vectors(basis(dtype))
    np.testing.assert_allclose(basis(dtype).gram(), v @ v.T, rtol=1e-13, atol=1e-13)


def test_inner_products_of_many_float32_numbers_are_summed_in_float64():
    ones = {"w": torch.full((3, 700_000), 0.1)}
    exact = 2_100_000 * float(np.float32(0.1)) ** 2
    assert inner(ones, ones) == pytest.approx(exact, rel=1e-10)


def test_what_is_the_same_in_all_vertices_and_in_no_direction_does_not_move():
    a, b, c = tensors(0), tensors(1), tensors(2)
    b["k"] = a["k"].clone()
    c["k"], c["b"] = a["k"], a["b"]
    origin = State(a)
    assert Basis((a, b), origin, vertices=2).moving == ("w", "b")
    assert Basis((a, b, c), origin, vertices=3).moving == ("w", "b")
    assert Basis((a, c), origin, vertices=2).moving == ("w",)
    assert Basis((a, a), origin, vertices=2).moving == ()
    assert Basis((a, {"k": torch.zeros(SHAPES["k"])}), origin, vertices=1).moving == ("k",)
    assert Basis((a, c, {"b": b["b"]}), origin, vertices=2).moving == ("w", "b")
    assert Basis((a, b), origin).moving == ("w", "b", "k")  # the coefficients need not sum to one


def test_a_weight_that_is_nan_in_every_vertex_moves_because_it_is_equal_to_nothing():
    a = tensors(0)
    a["b"][1] = torch.nan
    assert Basis((a, dict(a)), State(a), vertices=2).moving == ("b",)


def test_what_does_not_move_is_neither_written_nor_rounded():
    """0.7 w + 0.3 w is not w in floating point; a point has w itself."""
    a, b = tensors(0, torch.float32), tensors(1, torch.float32)
    b["k"] = a["k"].clone()
    basis = Basis((a, b), State(a), vertices=2)
    out = {name: torch.full(shape, 7.0) for name, shape in SHAPES.items()}
    basis.combine([0.7, 0.3], out)
    assert (out["k"] == 7).all()
    assert basis.point([0.7, 0.3]).parameters["k"] is a["k"]
    torch.testing.assert_close(out["w"], 0.7 * a["w"] + 0.3 * b["w"])


@pytest.mark.parametrize("k", range(3))
def test_the_vector_at_a_one_hot_row_is_that_vector(k):
    b = basis()
    assert b.vector_at(np.eye(3)[k]) is b.vectors[k]


@pytest.mark.parametrize(
    "row", [[0, 0, 0], [2, 0, 0], [1, 1, 0], [0.5, 0.5, 0], [2, -1, 0], [1, 1e-300, 0], [-1, 0, 0]]
)
def test_other_rows_are_no_vector(row):
    assert basis().vector_at(np.array(row, dtype=float)) is None


@given(
    COEFFICIENTS,
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.sampled_from([(), (0,), (4, 3), (3, 4, 2)]),
)
def test_a_combination_is_a_sum_for_any_shape_any_layout_and_missing_tensors(c, dtype, given_, shape):
    generator = torch.Generator().manual_seed(0)
    terms = [
        torch.randn(shape, generator=generator).to(dtype).mT
        if len(shape) > 1
        else torch.randn(shape, generator=generator).to(dtype)
        for _ in range(3)
    ]
    terms = [term if there else None for term, there in zip(terms, given_, strict=True)]
    out = torch.full(shape, torch.nan, dtype=dtype)
    out = out.mT if len(shape) > 1 else out
    combination(c, terms, out)
    exact = sum(
        (x * term.double() for x, term in zip(c, terms, strict=True) if term is not None), torch.zeros(out.shape)
    )
    size = sum(abs(x) * term.double().abs() for x, term in zip(c, terms, strict=True) if term is not None)
    rounding = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
    underflow = 1e-7 if dtype == torch.float16 else torch.finfo(dtype).tiny
    assert ((out.double() - exact).abs() <= rounding * size + underflow).all()


def test_a_combination_that_begins_with_one_leaves_its_first_tensor_alone():
    a, b = torch.ones(3), torch.arange(3.0)
    out = torch.empty(3)
    combination([1.0, 2.0], [a, b], out)
    assert out.tolist() == [1, 3, 5]
    assert a.tolist() == [1, 1, 1]
