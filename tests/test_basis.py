"""Linear combinations of named tensors, against flat float64 vectors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lwidgets.basis import Basis, inner
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
