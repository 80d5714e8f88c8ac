"""Paths between models as they are seen from above a plane."""

import numpy as np
import pytest
import torch

import lwidgets as lw
from lwidgets.studies.parts.plane import seen_from_above

A, B, C, D = (torch.tensor(x) for x in ([0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]))
PLANE = lw.Plane.through(A, B, C)


def test_a_line_in_the_plane_is_where_its_points_are():
    path = seen_from_above(lw.Line(B, C), PLANE, label="b to c", color="#123456")
    alphas = np.linspace(0, 1, len(path.x))
    np.testing.assert_allclose(path.x, 1 - alphas, atol=1e-7)  # in units of b - a and c - a
    np.testing.assert_allclose(path.y, alphas, atol=1e-7)
    assert (path.label, path.color, path.dashed) == ("b to c", "#123456", False)


def test_one_that_leaves_the_plane_is_dashed_where_the_nearest_points_are():
    path = seen_from_above(lw.Line(A, B + D), PLANE, label="", color="#000000")
    np.testing.assert_allclose(path.x, np.linspace(0, 1, len(path.x)), atol=1e-7)
    np.testing.assert_allclose(path.y, 0, atol=1e-7)
    assert path.dashed


@pytest.mark.parametrize("path", [PLANE, lw.Line.random(A, 0)])
def test_only_a_path_between_models_is_drawn(path):
    with pytest.raises(ValueError, match=r"must have one coordinate and be between models.*Use Line\(a, b\)"):
        seen_from_above(path, PLANE, label="", color="#000000")
