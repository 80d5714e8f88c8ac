"""Which examples make a barrier: the cross-entropy on a line, taken apart exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lwidgets.features import class_scores, labels
from lwidgets.objective import Objective
from lwidgets.parameters import Source
from lwidgets.subspaces import Line

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Attribution:
    r"""The excess of the cross-entropy over its chord at one alpha, for every example.

    With z the class scores, :math:`\bar z = (1-\alpha) z_A + \alpha z_B` and :math:`E = z(\alpha) - \bar z`,

    .. math:: \text{excess} = \Delta v - J - E_y, \quad \Delta v = \text{LSE}(\bar z + E) - \text{LSE}(\bar z), \quad
              J = (1-\alpha) \text{LSE}(z_A) + \alpha \text{LSE}(z_B) - \text{LSE}(\bar z) \ge 0

    where LSE is log-sum-exp and :math:`E_y` the true class' entry. Scores that are linear in the parameters have
    E = 0, and so no barrier.

    Attributes:
        alpha: Where.
        rise: Delta v, shape (N,).
        convexity: J, shape (N,).
        true_class: E_y, shape (N,).
        batchnorm: How BatchNorm statistics were treated.
    """

    alpha: float
    rise: Array
    convexity: Array
    true_class: Array
    batchnorm: str

    def __repr__(self) -> str:
        return f"Attribution(excess {self.value:.4g} at alpha {self.alpha:g} over {len(self.rise):,} examples)"

    @property
    def excess(self) -> Array:
        """How far each example's loss is above its own chord, shape (N,)."""
        return self.rise - self.convexity - self.true_class

    @property
    def value(self) -> float:
        """Their mean: the height of the loss above the chord at alpha."""
        return float(self.excess.mean())

    def order(self) -> NDArray[np.intp]:
        """Indices of the examples in the objective's data, the one that adds most first."""
        return np.argsort(-self.excess, kind="stable")


def attribution(objective: Objective, a: Source, b: Source, alpha: float = 0.5) -> Attribution:
    """Take the barrier between two models apart, by example.

    Args:
        objective: Its loss is the cross-entropy of class scores, of shape (N, C), for labels of shape (N,).
        a: The model at alpha 0.
        b: The model at alpha 1.
        alpha: Where; a barrier's own alpha for its own height.

    Returns:
        At alpha 0 and 1 nothing but zeros, because a chord has its ends.

    Raises:
        ValueError: The loss is something else; the message has both numbers.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(16,), steps=30)
        >>> found = attribution(objective, a, b)
        >>> loss = lambda alpha: objective.measure(lw.Line(a, b).point([alpha]))["loss"]
        >>> abs(found.value - (loss(0.5) - (loss(0) + loss(1)) / 2)) < 1e-6
        True
    """
    line = Line(a, b).bound(objective.space, objective.device)
    batchnorm = objective.resolve(line.between_models)
    start, here, end = (class_scores(objective, line.point([t]), batchnorm) for t in (0.0, float(alpha), 1.0))
    straight = (1 - alpha) * start + alpha * end
    lse_start, lse_end, lse_straight, lse_here = (z.logsumexp(dim=1) for z in (start, end, straight, here))
    off = (here - straight).gather(1, labels(objective)[:, None])[:, 0]
    return Attribution(
        alpha=float(alpha),
        rise=(lse_here - lse_straight).cpu().numpy(),
        convexity=((1 - alpha) * lse_start + alpha * lse_end - lse_straight).cpu().numpy(),
        true_class=off.cpu().numpy(),
        batchnorm=batchnorm,
    )
