"""Curves from one model to another by way of bends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb

from lwidgets.parameters import Source, State
from lwidgets.subspaces.base import Axis, Span, Subspace, extents, joined


class _Curve(Subspace):
    """From one model to another, by way of bends: one coordinate t, 0 at the first and 1 at the last point."""

    def __init__(self, *points: Source, span: Span = (0.0, 1.0)) -> None:
        """Join two models.

        Args:
            *points: The model at t = 0, any number of bends, the model at t = 1.
            span: (low, high) of t; beyond [0, 1] the curve is extended.

        Raises:
            ValueError: There are fewer than two points, or one does not fit the first.
        """
        kind = type(self).__name__
        if len(points) < 2:
            raise ValueError(f"{kind}: points must be two models or more, got {len(points)}. Pass {kind}(a, bend, b).")
        letters = ("a", *(f"bend {i}" for i in range(1, len(points) - 1)), "b")
        space, vertices = joined(points, letters)
        axis = Axis("t", "t (0 = a, 1 = b)", *extents(span, 1)[0], (0.0, 1.0))
        Subspace.__init__(self, space, vertices, (), (axis,), kind=kind.lower())

    @property
    def models(self) -> dict[tuple[float, ...], State]:
        """The two ends."""
        return {(0.0,): self.vertices[0], (1.0,): self.vertices[-1]}

    @property
    def bends(self) -> tuple[State, ...]:
        """The points in between."""
        return self.vertices[1:-1]

    def coefficients(self, coordinates: ArrayLike) -> NDArray[np.float64]:
        """c(u) for every point; see `Subspace.coefficients`."""
        return self._weights(self._checked(coordinates)[:, 0])

    def _far(self, axis: int) -> int:
        return len(self.vertices) - 1

    def _weights(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def _affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.bends:
            raise ValueError(
                f"{type(self).__name__}.project: subspace must be affine, got a curve with {len(self.bends)} bend(s), "
                "several points of which may be nearest. Project onto Simplex(a, bend, b)."
            )
        return super()._affine()

    @property
    def model_labels(self) -> tuple[str, ...]:
        """Labels of the models that it goes through."""
        return tuple(model.label for model in self.models.values())

    def provenance(self) -> dict[str, Any]:
        """What is needed to say where the points were, as plain values."""
        return {**super().provenance(), "bends": [bend.label for bend in self.bends]}


class Bezier(_Curve):
    r"""The Bezier curve of two models and the bends between them.

    .. math:: \theta(t) = \sum_{i=0}^{k} \binom{k}{i} t^i (1-t)^{k-i} V_i

    Source: Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", NeurIPS 2018, section 3.

    Example:
        >>> import torch
        >>> curve = Bezier(*(torch.tensor(point) for point in ([0.0, 0.0], [1.0, 2.0], [2.0, 0.0])))
        >>> curve.point([0.5]).parameters["x"].tolist()
        [1.0, 1.0]
    """

    def _weights(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        degree = len(self.vertices) - 1
        i = np.arange(degree + 1)
        return np.asarray(comb(degree, i) * t[:, None] ** i * (1 - t[:, None]) ** (degree - i))


class Chain(_Curve):
    """The polygonal chain of two models and the bends between them, each of its segments an equal share of t.

    Source: Garipov et al. 2018, section 3.

    Example:
        >>> import torch
        >>> chain = Chain(*(torch.tensor(point) for point in ([0.0, 0.0], [1.0, 2.0], [2.0, 0.0])))
        >>> chain.point([0.25]).parameters["x"].tolist()
        [0.5, 1.0]
    """

    def _weights(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        segments = len(self.vertices) - 1
        segment = np.clip(np.floor(t * segments), 0, segments - 1).astype(int)
        share = t * segments - segment
        weights = np.zeros((len(t), segments + 1))
        weights[np.arange(len(t)), segment] = 1 - share
        weights[np.arange(len(t)), segment + 1] = share
        return weights
