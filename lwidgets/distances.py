"""How far apart two models are: their parameters, what they compute, and what they predict."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lwidgets.basis import inner
from lwidgets.batch import leaves
from lwidgets.features import features, named_features
from lwidgets.objective import Objective
from lwidgets.parameters import Source
from lwidgets.subspaces import Line, fitted, letters


@dataclass(frozen=True)
class Distances:
    """Between two models, on the objective's data.

    Attributes:
        l2: Euclidean distance of the parameters that move.
        relative: l2 by the root mean square of the two norms; sqrt(2) for independent directions of equal norm.
        by_parameter: Name -> Euclidean distance.
        cka: Linear centred kernel alignment of the features, in [0, 1].
        angle: arccos of it, in [0, pi / 2].
        disagreement: Share of predictions of another class; nan for outputs without classes.
        softmax: Mean Euclidean distance of the class probabilities, at most sqrt(2); nan for outputs without classes.
        layer: Whose outputs the features are; "" for the model's.
        output: Which of the model's outputs predictions are, where it returns several, as "logits"; else "".
        split: Which data.
    """

    l2: float
    relative: float
    by_parameter: dict[str, float]
    cka: float
    angle: float
    disagreement: float
    softmax: float
    layer: str
    output: str
    split: str


def between(
    objective: Objective, a: Source, b: Source, *, layer: str = "", unbiased: bool = False, classes: int | None = None
) -> Distances:
    """Every distance between two models.

    Each model has its own BatchNorm statistics.

    Args:
        objective: Supplies architecture and data.
        a: One model.
        b: The other.
        layer: Name of the module whose outputs CKA compares; the penultimate layer is usual.
        unbiased: For CKA; see `cka`.
        classes: The axis of the outputs along which classes lie. None: 1 for a matrix, else the axis that the data's
            integer labels lack, as the last one of a language model and the first one of a segmentation; where that is
            not clear, disagreement and softmax are nan.

    Raises:
        ValueError: A model does not fit; or as `features`.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(16,), steps=30)
        >>> same = between(objective, a, a)
        >>> same.l2, same.disagreement, round(same.cka, 6)
        (0.0, 0.0, 1.0)
    """
    line = Line(a, b).bound(objective.space, objective.device)
    batchnorm = "batch" if objective.resolve(between_models=False) == "batch" else "frozen"
    named = [named_features(objective, vertex, batchnorm=batchnorm) for vertex in line.vertices]
    outputs = [each.rows for each in named]
    inside = outputs if not layer else [features(objective, v, layer, batchnorm=batchnorm) for v in line.vertices]
    apart = l2_by_parameter(*line.vertices)
    by_parameter = {name: apart[name] for name in line.space.moved}
    total = math.hypot(*by_parameter.values())
    norms = [inner(vector, vector) for vector in line.basis.vectors]
    size = math.sqrt(sum(norms) / 2)
    axis = _class_axis(objective, outputs[0]) if classes is None else classes
    if axis is not None and (outputs[0].ndim <= axis or outputs[0].shape[axis] < 2):
        axis = None
    return Distances(
        l2=total,
        relative=total / size if size > 0 else 0.0,
        by_parameter=by_parameter,
        cka=cka(*inside, unbiased=unbiased),
        angle=angular_cka(*inside, unbiased=unbiased),
        disagreement=math.nan if axis is None else disagreement(*outputs, classes=axis),
        softmax=math.nan if axis is None else softmax_distance(*outputs, classes=axis),
        layer=layer,
        output=named[0].output,
        split=objective.split,
    )


def _class_axis(objective: Objective, outputs: Tensor) -> int | None:
    """The axis of the outputs that integer labels of the data do not have; None where that is none or several."""
    if outputs.ndim == 2:
        return 1
    labels = {tuple(t.shape[1:]) for t in leaves(objective.data.batches[0]) if t.ndim and not t.is_floating_point()}
    shape = tuple(outputs.shape[1:])
    fit = [axis for axis in range(len(shape)) if (*shape[:axis], *shape[axis + 1 :]) in labels]
    return 1 + fit[0] if len(fit) == 1 else None


def l2(a: Source, b: Source, names: Iterable[str] | None = None) -> float:
    """Euclidean distance of all parameters, or of those named; the rest as for `l2_by_parameter`."""
    apart = l2_by_parameter(a, b)
    return math.hypot(*(apart[name] for name in (apart if names is None else names)))


def l2_by_parameter(a: Source, b: Source) -> dict[str, float]:
    """Euclidean distance of every parameter, in float64.

    Raises:
        ValueError: b does not fit a; the message has the key.

    Example:
        >>> l2_by_parameter({"w": torch.tensor([3.0, 0.0])}, {"w": torch.tensor([0.0, 4.0])})
        {'w': 5.0}
    """
    _, (first, second) = fitted((a, b), letters(2))
    gaps = {name: t.double() - second.parameters[name].to(t.device).double() for name, t in first.parameters.items()}
    return {name: float(torch.linalg.vector_norm(gap)) for name, gap in gaps.items()}


def cka(x: Tensor, y: Tensor, *, unbiased: bool = False) -> float:
    r"""Linear centred kernel alignment of two sets of features.

    .. math:: \text{CKA} = \frac{\text{HSIC}(K, L)}{\sqrt{\text{HSIC}(K, K) \text{HSIC}(L, L)}},
              \quad K = X X^\top, \; L = Y Y^\top

    Unchanged by rotating, scaling and shifting features. Source: Kornblith et al., "Similarity of Neural Network
    Representations Revisited", ICML 2019; unbiased: Song et al., "Feature Selection via Dependence Maximization",
    JMLR 2012, eq. 5, which does not grow with the number of features, and can be negative.

    Args:
        x: Shape (N, ...), flattened to (N, D).
        y: Shape (N, ...); its number of features may differ.
        unbiased: Leave the diagonal of K and L out; N must be at least 4.

    Returns:
        nan where the features of one of them do not vary.

    Raises:
        ValueError: The numbers of examples differ, or are too small.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [-1.0, 1.0], [0.0, 3.0]])
        >>> round(cka(x, 3 * x.flip(1) + 1), 6), round(cka(x, x[:, :1]), 2)
        (1.0, 0.71)
    """
    if len(x) != len(y) or len(x) < (4 if unbiased else 2):
        raise ValueError(
            f"cka: x and y must be features of the same {4 if unbiased else 2} examples or more, got {len(x)} and "
            f"{len(y)}. Take both on the same data."
        )
    found = [_narrow(features.flatten(1).double()) for features in (x, y)]
    hsic = _unbiased_hsic if unbiased else _hsic
    cross, own, other = hsic(*found), hsic(found[0], found[0]), hsic(found[1], found[1])
    return cross / math.sqrt(own * other) if own > 0 and other > 0 else math.nan


def angular_cka(x: Tensor, y: Tensor, *, unbiased: bool = False) -> float:
    """Arccos of `cka`, a metric: 0 for features that are alike, pi / 2 for unrelated ones."""
    similar = cka(x, y, unbiased=unbiased)
    return math.acos(min(1.0, max(0.0, similar))) if similar == similar else math.nan


def disagreement(x: Tensor, y: Tensor, *, classes: int = 1) -> float:
    """Share of predictions that name another class.

    Args:
        x: Class scores.
        y: Class scores of the same shape.
        classes: The axis of the classes.

    >>> disagreement(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 5.0]]))
    0.5
    """
    return float((x.argmax(dim=classes) != y.argmax(dim=classes)).double().mean())


def softmax_distance(x: Tensor, y: Tensor, *, classes: int = 1) -> float:
    """Mean Euclidean distance of the class probabilities; arguments as for `disagreement`.

    >>> round(softmax_distance(torch.tensor([[0.0, 99.0]]), torch.tensor([[99.0, 0.0]])), 6)
    1.414214
    """
    p, q = (scores.double().softmax(dim=classes) for scores in (x, y))
    return float(torch.linalg.vector_norm(p - q, dim=classes).mean())


def _narrow(x: Tensor) -> Tensor:
    """Features with the same inner products, centred, of at most N entries: only K = X X^T counts."""
    centred = x - x.mean(dim=0)
    return centred if x.shape[1] <= len(x) else torch.linalg.qr(centred.T, mode="r").R.T


def _hsic(x: Tensor, y: Tensor) -> float:
    """tr(K L) of centred features, up to a factor that cancels."""
    return float((x.T @ y).square().sum())


def _unbiased_hsic(x: Tensor, y: Tensor) -> float:
    """Song et al.'s estimator, up to a factor that cancels, without a matrix of N x N."""
    n = len(x)
    norms = [features.square().sum(dim=1) for features in (x, y)]
    rows = [features @ features.sum(dim=0) - norm for features, norm in zip((x, y), norms, strict=True)]
    trace = (x.T @ y).square().sum() - norms[0] @ norms[1]
    ones = rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2))
    return float(trace + ones - 2 * (rows[0] @ rows[1]) / (n - 2))
