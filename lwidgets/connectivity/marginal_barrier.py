"""The barrier between two Bayesian networks: of the loss of their predictions, averaged over Gaussian posteriors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from lwidgets.barrier import Barrier, barrier_of
from lwidgets.directions import gaussian
from lwidgets.features import class_scores, cross_entropies, features, labels
from lwidgets.objective import Objective
from lwidgets.parameters import ParameterSpace, Source, State
from lwidgets.subspaces import Line

Array = NDArray[np.float64]

DEFINITION = (
    "max over alpha of L(q_alpha) - (1 - alpha) L(q_0) - alpha L(q_1), L(q) = -E log E_q p(y|x) on the Wasserstein "
    "geodesic (Rossi et al. 2023)"
)


@dataclass(frozen=True, eq=False)
class Posterior:
    """A Gaussian over parameters, with independent entries.

    Attributes:
        mean: The centre.
        std: Standard deviations, under the same names; a name that is missing does not vary.
    """

    mean: Source
    std: Source

    def draw(self, space: ParameterSpace, seed: int) -> State:
        """A sample: mean + std * noise, the noise depending on (seed, parameter name) alone.

        Raises:
            ValueError: A standard deviation is negative, or has another shape.
        """
        mean, std = space.select(State.of(self.mean)), State.of(self.std).parameters
        drawn = dict(mean.parameters)
        for name in space.moved:
            if name not in std:
                continue
            if std[name].shape != drawn[name].shape or bool((std[name] < 0).any()):
                raise ValueError(
                    f"Posterior: std of {name!r} must be at least 0 and of shape {tuple(drawn[name].shape)}, got "
                    f"{tuple(std[name].shape)} from {std[name].min().item():.3g} on. "
                    "Pass standard deviations, not their logarithms."
                )
            noise = gaussian(seed, name, drawn[name].shape).to(drawn[name])
            drawn[name] = drawn[name] + std[name].to(drawn[name]) * noise
        return replace(mean, parameters=drawn, label=f"{mean.label}, sample {seed}")


@dataclass(frozen=True, eq=False, repr=False)
class MarginalPath:
    """The loss of the averaged predictions on the geodesic between two posteriors.

    Attributes:
        alphas: Shape (P,).
        loss: -E log E_q p(y|x), shape (P,).
        without: The same without one sample, shape (S, P): how much depends on the draw.
        batchnorm: How BatchNorm statistics were treated.
        split: Which data.
    """

    alphas: Array
    loss: Array
    without: Array
    batchnorm: str
    split: str

    def __repr__(self) -> str:
        return f"MarginalPath({len(self.alphas)} points, {len(self.without)} samples; {self.barrier().value:.4g} high)"

    def barrier(self) -> Barrier:
        """Its height above the chord; the error includes the standard error of the samples, by the jackknife."""
        found = barrier_of(self.alphas, self.loss, metric="marginal loss", batchnorm=self.batchnorm, split=self.split)
        heights = self.without - (1 - self.alphas) * self.without[:, :1] - self.alphas * self.without[:, -1:]
        at_top = heights[:, int(np.flatnonzero(self.alphas == found.alpha)[0])]
        spread = math.sqrt((len(at_top) - 1) * at_top.var())
        return replace(found, error=found.error + spread, definition=DEFINITION)


def marginal_path(
    objective: Objective, p: Posterior, q: Posterior, *, samples: int = 16, seed: int = 0, points: int = 17
) -> MarginalPath:
    r"""The loss of averaged predictions between two posteriors with independent Gaussian entries.

    On the Wasserstein-2 geodesic mean and standard deviation are linear in alpha, so a sample with the same noise at
    every alpha moves on a straight line: :math:`\theta_s(\alpha) = (1-\alpha)(m_0 + \sigma_0 \epsilon_s) + \alpha (m_1
    + \sigma_1 \epsilon_s)`. With standard deviations of zero this is the ordinary line.

    Source: Rossi et al., "On permutation symmetries in Bayesian neural network posteriors: a variational perspective",
    NeurIPS 2023; the loss is estimated with S samples inside the logarithm, and so from above on average.

    Args:
        objective: Its loss is the cross-entropy of class scores, of shape (N, C), for labels of shape (N,).
        p: At alpha 0.
        q: At alpha 1.
        samples: S, at least 2; sample i has the noise of seed + i.
        seed: Of the first sample.
        points: Of the path, at least 2.

    Raises:
        ValueError: Another loss; a posterior does not fit; fewer samples or points.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(16,), steps=30)
        >>> wide = {name: 0.05 + 0 * w for name, w in a.state_dict().items()}
        >>> path = marginal_path(objective, Posterior(a, wide), Posterior(b, wide), samples=4, points=5)
        >>> path.loss.shape, path.barrier().metric
        ((5,), 'marginal loss')
    """
    if samples < 2 or points < 2:
        raise ValueError(
            f"marginal_path: samples and points must be at least 2, got {samples} and {points}. Use 16 and 17."
        )
    space, target = objective.space, labels(objective)
    lines = [
        Line(*(each.draw(space, seed + i) for each in (p, q))).bound(space, objective.device) for i in range(samples)
    ]
    batchnorm = objective.resolve(between_models=True)
    class_scores(objective, lines[0].vertices[0], batchnorm)  # is the loss what is averaged?
    alphas = np.linspace(0, 1, points)
    loss, without = np.empty(points), np.empty((samples, points))
    for k, alpha in enumerate(alphas):
        likely = -torch.stack(
            [
                cross_entropies(features(objective, line.point([alpha]), batchnorm=batchnorm).double(), target)
                for line in lines
            ]
        )
        loss[k] = _marginal(likely)
        without[:, k] = [_marginal(likely[[j for j in range(samples) if j != i]]) for i in range(samples)]
    return MarginalPath(alphas, loss, without, batchnorm, objective.split)


def _marginal(log_likelihood: torch.Tensor) -> float:
    """-E log E p from log-likelihoods of shape (S, N)."""
    return float(-(log_likelihood.logsumexp(dim=0) - math.log(len(log_likelihood))).mean())
