"""A barrier is negative curvature on the way: the exact identity, as a cross-check of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lwidgets.basis import inner
from lwidgets.gradients import DifferentiableLoss
from lwidgets.objective import Objective
from lwidgets.parameters import Source
from lwidgets.subspaces import Line

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class CurvatureIdentity:
    """Both sides of the identity; see `curvature_identity`.

    Attributes:
        alphas: Where, shape (P,).
        excess: The loss above its chord, measured, shape (P,).
        integral: The same from the curvature, shape (P,).
        at: Where the curvature was taken, shape (Q,).
        curvature: D^T H D there, shape (Q,).
    """

    alphas: Array
    excess: Array
    integral: Array
    at: Array
    curvature: Array

    @property
    def gap(self) -> float:
        """The largest difference of the two sides."""
        return float(np.abs(self.excess - self.integral).max())

    def __repr__(self) -> str:
        return f"CurvatureIdentity(excess up to {self.excess.max():.4g}, sides within {self.gap:.2g})"


def curvature_identity(
    objective: Objective, a: Source, b: Source, alphas: Sequence[float] = (0.25, 0.5, 0.75), *, nodes: int = 12
) -> CurvatureIdentity:
    r"""Measure the excess of the loss over its chord in two ways that have nothing in common.

    With D = B - A and H the Hessian at :math:`\gamma(s) = A + s D`,

    .. math:: L(\gamma(\alpha)) - (1-\alpha) L(A) - \alpha L(B) = -\int_0^1 G(\alpha, s) \, D^\top H(\gamma(s)) D \, ds,
              \quad G(\alpha, s) = \min(\alpha, s) (1 - \max(\alpha, s))

    because G is Green's function of the second derivative. The integral is by Gauss-Legendre quadrature on the pieces
    between the alphas. The loss must be twice differentiable: a ReLU has all of its curvature in kinks, which no
    quadrature sees.

    Args:
        objective: Its BatchNorm mode must not be "recalibrate".
        a: The model at alpha 0.
        b: The model at alpha 1.
        alphas: Inside (0, 1).
        nodes: Hessian-vector products for each of the len(alphas) + 1 pieces.

    Raises:
        ValueError: An alpha lies outside; or BatchNorm would be recalibrated.

    Example:
        >>> import lwidgets as lw, torch
        >>> quartic = lw.Objective.from_function(lambda u: (u**4).sum(dim=1), dim=1)
        >>> found = curvature_identity(quartic, torch.tensor([-1.0]), torch.tensor([1.0]))
        >>> found.excess.round(4).tolist(), found.gap < 1e-14
        ([-0.9375, -1.0, -0.9375], True)
    """
    where = np.sort(np.asarray(alphas, dtype=np.float64))
    if not (len(where) and (where > 0).all() and (where < 1).all()):
        raise ValueError(
            f"curvature_identity: alphas must lie inside (0, 1), got {list(alphas)}. Use for example [0.5]."
        )
    line = Line(a, b).bound(objective.space, objective.device)
    batchnorm = objective.resolve(line.between_models)
    loss = DifferentiableLoss(objective, line.vertices[0], batchnorm)
    start, end = line.basis.vectors
    across = {name: end[name] - start[name] for name in start}
    s, weights = _quadrature([0.0, *np.unique(where), 1.0], nodes)
    curvature = np.array([inner(across, loss.hessian_product(line.point([t]).parameters, across)) for t in s])
    green = np.minimum(where[:, None], s) * (1 - np.maximum(where[:, None], s))
    here = [objective.measure(line.point([t]), batchnorm)["loss"] for t in (0.0, *where, 1.0)]
    return CurvatureIdentity(
        alphas=where,
        excess=np.array(here[1:-1]) - (1 - where) * here[0] - where * here[-1],
        integral=-(green @ (weights * curvature)),
        at=s,
        curvature=curvature,
    )


def _quadrature(knots: Sequence[float], nodes: int) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on every piece between the knots."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    halves = [(high - low) / 2 for low, high in pairwise(knots)]
    middles = [(high + low) / 2 for low, high in pairwise(knots)]
    return (
        np.concatenate([m + h * x for m, h in zip(middles, halves, strict=True)]),
        np.concatenate([h * w for h in halves]),
    )
