"""Whether a loss is a mean over the samples of a batch, and what counts as one: its value beside that of its parts.

A mean over N samples is the mean of what it is on parts, weighted by their samples. So a batch is divided (or several
small ones are put together), and the loss of the whole is compared with that weighted mean. Where it agrees, batches
may be weighted by these numbers and data be divided further without changing the value; where it does not (sums, means
over tokens, class weights, contrastive losses, dice), how the data happen to be divided would decide what is seen.

Batches that cannot be divided, as graphs in one object, are compared behind the model: its output and all of the batch
that has as many rows are divided, and the loss is asked with these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lwidgets.batch import Cut, leaves, mapped, sizes_of
from lwidgets.data import Batches
from lwidgets.weights import Tokens, target_in

Values = Callable[[Any], Mapping[str, Tensor]]
"""Metrics of a batch, the loss first."""

Count = Callable[[Any], float | None]
"""What a batch counts."""

_AGREES = 0.03  # of the root of the last bit's worth, 1e-5 in float32: what kernels for other batch sizes may change
_CLEARLY = 0.1  # of the gap of samples is what tokens must agree to, to be preferred where both do
_ALIKE = 0.01  # of what rounding may change: gaps below it do not differ
_LOOKED_AT = 3  # batches, spread over all
_TOGETHER = 8  # batches of one sample that are put together instead
_FEW = 32  # samples of each of two batches that are put together


@dataclass(frozen=True)
class Compared:
    """Metrics of a whole and of its parts.

    Attributes:
        whole: Name -> value.
        parts: The same of each part.
        weights: What each part counts.
        rounding: Relative; what values in the loss's precision may differ by.
    """

    whole: dict[str, float]
    parts: list[dict[str, float]]
    weights: list[float]
    rounding: float

    def mean(self, name: str) -> float:
        """Of the parts, by their weights; a part that counts nothing cannot spoil it."""
        counted = [(w, part[name]) for w, part in zip(self.weights, self.parts, strict=True) if w]
        total = sum(w for w, _ in counted)
        return sum(w * value for w, value in counted) / total if total else float("nan")

    def gap(self, name: str) -> float:
        """How far the whole is from that mean, relative to the parts."""
        whole, mean = self.whole[name], self.mean(name)
        if whole == mean or (whole != whole and mean != mean):
            return 0.0
        size = max((abs(part[name]) for part, w in zip(self.parts, self.weights, strict=True) if w), default=0.0)
        gap = abs(whole - mean) / max(size, 1e-30)
        return gap if gap == gap else float("inf")

    def agrees(self, name: str) -> bool:
        """Whether the whole is that mean, but for rounding."""
        return self.gap(name) <= self.rounding

    def told(self, name: str) -> str:
        """Both values, and those of the parts."""
        weights = ", ".join(f"{w:g}" for w in self.weights)
        values = ", ".join(f"{part[name]:.6g}" for part in self.parts)
        summed = sum(part[name] for part in self.parts)
        a_sum = abs(self.whole[name] - summed) <= self.rounding * (abs(summed) + 1e-30)
        hint = " (it is their sum: use reduction='mean')" if a_sum else ""
        return (
            f"{self.whole[name]:.6g} on a whole, and {self.mean(name):.6g} as the mean of its parts, {values} weighted "
            f"by {weights}{hint}"
        )


@dataclass(frozen=True)
class Way:
    """One way to divide batches, and what the metrics then are.

    Attributes:
        parts: For each batch that was looked at: whole and parts.
        values: Metrics of these.
        count: Samples of a batch.
        cut: The division; None for one behind the model, by which data are never divided.
    """

    parts: list[tuple[Any, list[Any]]]
    values: list[tuple[dict[str, float], list[dict[str, float]]]]
    count: Count
    cut: Cut | None

    def compared(self, count: Count, rounding: float) -> list[Compared] | None:
        """By any weights; None where those of parts do not add up to that of the whole, which tells nothing."""
        found = []
        for (divided, parts), (whole, values) in zip(self.parts, self.values, strict=True):
            weights, together = [count(part) for part in parts], count(divided)
            if any(w is None for w in weights) or not any(weights):
                return None
            if abs(sum(w or 0 for w in weights) - (together or 0)) > 1e-9 * (together or 0):
                return None
            found.append(Compared(whole, values, [float(w or 0) for w in weights], rounding))
        return found


def uncompared(data: Batches, *, known: bool) -> Batches:
    """The data for a loss that draws, of which a whole and its parts have different noise: weighted as they are.

    Args:
        data: In batches of which each counts its samples, unless something else is known.
        known: Whether it is known what they count.

    Raises:
        ValueError: It is not known, and how many samples a batch has cannot be told.
    """
    if data.cut is None and not known and len(data.batches) > 1:
        raise ValueError(
            f"Objective: data must tell how many samples a batch has, got sizes {sizes_of(data.batches[0])}, and a "
            "loss that draws random numbers, of which a batch and its parts cannot be compared. Pass weight=, what a "
            "batch counts; or one whole batch."
        )
    data = replace(data, additive=False)
    return data.joined() if data.divided else data


def settled(
    data: Batches, values: Values, module: nn.Module, *, told: bool, count: Count | None = None, loss: Any = None
) -> tuple[Batches, str]:
    """The data with the weights that the loss's own value confirms.

    Args:
        data: With the weights that were told, or that their sizes suggest.
        values: The metrics at the model's own parameters.
        module: The model that these call.
        told: Whether weights were given as numbers: then they stay.
        count: What a batch counts, if that was told.
        loss: The user's loss, which may have class weights or a label to ignore.

    Returns:
        The data, and what is to be said about them; nothing where all is well.

    Raises:
        ValueError: Batches differ in how many samples they may have, and neither sizes nor values tell.
    """
    failed: list[Compared] = []
    dtypes = {p.dtype for p in module.parameters() if p.is_floating_point()}

    def noted(batch: Any) -> Mapping[str, Tensor]:
        found = values(batch)
        dtypes.update(value.dtype for value in found.values() if value.is_floating_point())
        return found

    def gap(way: Way, each: Count) -> float:
        rounding = _rounding(dtypes)
        compared = way.compared(each, rounding)
        failed.extend(c for c in compared or [] if not c.agrees("loss"))
        found = float("inf") if compared is None else max(c.gap("loss") for c in compared)
        return max(found, _ALIKE * rounding)

    def agree(way: Way, each: Count) -> bool:
        return gap(way, each) <= _rounding(dtypes)

    ways: list[Way] = []
    fitting: list[tuple[Way, Count]] = []
    for cut in data.cuts():
        if fitting and not _varies(data, cut.count):
            continue
        way = _divided(data, noted, cut)
        if way is not None:
            ways.append(way)
            each = count or way.count
            if agree(way, each):
                fitting.append((way, each))
    if told or count is not None:
        additive = bool(fitting) and (not told or _proportional(data, fitting[0][1]))
        data = replace(data, cut=fitting[0][0].cut if additive else data.cut, additive=additive)
        quiet = told or additive or not failed or len(data.batches) == 1
        return data, "" if quiet else _said("loss", failed[0], "what weight= counts")
    gaps = [(gap(way, each), i, way, each) for i, each in enumerate(_tokens(data, loss)) for way in ways]
    best = min(gaps, key=lambda found: found[:2], default=None)
    agrees = best is not None and best[0] <= _rounding(dtypes)
    # weights that differ little may agree by chance: at an untrained model the losses of all samples are alike
    if best is not None and agrees and (not fitting or best[0] < _CLEARLY * gap(*fitting[0])):
        fitting = [best[2:]]
    if not fitting and len(data.batches) > 1 and (behind := _behind(data, noted, module)) is not None:
        fitting = [(behind, behind.count)] if agree(behind, behind.count) else []
    if fitting:
        return _weighted(data, fitting, _rounding(dtypes))
    data = replace(data, additive=False)
    if data.divided:
        try:
            return data.joined(), ""
        except RuntimeError:
            pass
    if len(data.batches) == 1:
        return data, ""
    alike = len({tuple(leaf.shape for leaf in leaves(batch)) for batch in data.batches}) == 1
    if failed and (alike or (data.cut is not None and not any(data.cut.axes))):
        return data, _said("loss", failed[0], "samples")
    if alike:
        return data, ""
    raise ValueError(
        "Objective: data must tell how many samples each batch has, got batches whose sizes do not: "
        f"{sizes_of(data.batches[0])}, and {sizes_of(data.batches[-1])}. "
        "Pass weight=, a function of a batch that returns how many samples it counts, for example "
        "weight=lambda batch: len(batch.y), lw.weights.tokens() where target entries count, weight=1 where all batches "
        "count the same; or all data as one whole batch, data=[batch]."
    )


def _weighted(data: Batches, fitting: Sequence[tuple[Way, Count]], rounding: float) -> tuple[Batches, str]:
    """The weights that agree; where the loss is a mean along several axes, every entry counts alike."""
    way, count = fitting[0]
    weights = _counts(data, count)
    for _, each in fitting[1:]:
        if _varies(data, each):
            weights = [a * b for a, b in zip(weights, _counts(data, each), strict=True)]
    wrong = [(c, name) for c in way.compared(count, rounding) or [] for name in c.whole if not c.agrees(name)]
    additive = way.cut is not None and not wrong
    sizes = tuple(int(n) for n in _counts(data, way.count))
    data = replace(data, cut=way.cut, additive=additive, sizes=sizes, weights=tuple(weights))
    if not wrong or len(data.batches) == 1:
        return data, ""
    return data, _said(wrong[0][1], wrong[0][0], count.label if isinstance(count, Tokens) else "samples")


def _counts(data: Batches, count: Count) -> list[float]:
    return [float(count(batch) or 0) for batch in data.batches]


def _varies(data: Batches, count: Count) -> bool:
    return len(set(_counts(data, count))) > 1


def _said(name: str, compared: Compared, what: str) -> str:
    return (
        f"Objective: {name} is no mean over {what}: {compared.told(name)}. "
        "Its average over batches depends on how the data fall into them. Say what a batch counts with weight= "
        "(lw.weights.tokens() counts target entries that are not ignored), return (sum, count) from the loss, or pass "
        "all data as one whole batch, data=[(X, y)]."
    )


def _divided(data: Batches, values: Values, cut: Cut) -> Way | None:
    """Batches divided along a cut; None where model or loss cannot do with parts, or nothing can be divided."""
    try:
        looked_at = list(_looked_at(data, cut))
        found = [(_numbers(values, whole), [_numbers(values, part) for part in parts]) for whole, parts in looked_at]
    except Exception:  # whatever the user's code says to a batch of another size
        return None
    return Way(looked_at, found, cut.count, cut) if found else None


def _looked_at(data: Batches, cut: Cut) -> Iterator[tuple[Any, list[Any]]]:
    """Wholes and their parts: batches and what they are divided into, and samples of several batches together."""
    large = [data.batches[i] for i in _some(data) if (cut.count(data.batches[i]) or 0) > 1]
    for batch in large:
        yield batch, [cut.take(batch, range(a, b)) for a, b in _edges(cut.count(batch) or 0)]
    # what is alike within every batch may differ between them
    indices = dict.fromkeys([*range(1 if large else min(_TOGETHER, len(data.batches))), _most_ignored(data)])
    apart = [data.batches[i] for i in indices]
    few = [cut.take(batch, range(min(cut.count(batch) or 0, _FEW))) for batch in apart if cut.count(batch)]
    if len(data.batches) > 1 and len(few) > 1:
        with suppress(RuntimeError):  # sequences of other lengths
            together = cut.join(few)
            yield together, few


def _most_ignored(data: Batches) -> int:
    """The batch in which the smallest share of target entries counts; the last where all alike do."""
    shares = []
    for batch in data.batches:
        target = target_in(batch)
        known = isinstance(target, Tensor) and not target.is_floating_point() and target.numel()
        shares.append(float((target >= 0).double().mean()) if known else 1.0)
    last = len(shares) - 1
    return min(range(len(shares)), key=lambda i: (shares[i], last - i))


def _some(data: Batches) -> list[int]:
    last = len(data.batches) - 1
    return sorted({round(i * last / (_LOOKED_AT - 1)) for i in range(_LOOKED_AT)})


def _edges(n: int) -> list[tuple[int, int]]:
    """Parts of very different sizes, because equal halves may agree by chance; of one sample only where they must."""
    edges = sorted({0, max(-(-n // 8), min(2, n // 2)), -(-n // 2), n})
    return list(pairwise(edges))


def _behind(data: Batches, values: Values, module: nn.Module) -> Way | None:
    """Batches divided behind the model: its outputs, and what in the batch has as many rows."""
    try:
        return _by_rows(data, values, module)
    except Exception:  # whatever the user's code says
        return None


def _by_rows(data: Batches, values: Values, module: nn.Module) -> Way | None:
    looked_at: list[tuple[Any, list[Any]]] = []
    found = []
    place: int | None = None
    for i in _some(data):
        batch = data.batches[i]
        outputs: list[Any] = []
        with _forward(module, partial(_recorded, outputs, module.forward)):
            whole = _numbers(values, batch)
        sizes = {len(leaf) for output in outputs for leaf in leaves(output)[:1] if leaf.ndim}
        if len(sizes) != 1:  # the loss is a mean over points of several kinds
            return None
        n = sizes.pop()
        places = [j for j, leaf in enumerate(leaves(batch)) if leaf.ndim and len(leaf) == n and place in (None, j)]
        if not places:
            return None
        if n < 2:
            continue
        place = places[-1]
        parts, numbers = [], []
        for a, b in _edges(n):
            rows = partial(_rows, a, b, n)
            parts.append(mapped(batch, rows))
            with _forward(module, partial(_replayed, iter(outputs), rows)):
                numbers.append(_numbers(values, parts[-1]))
        looked_at.append((batch, parts))
        found.append((whole, numbers))
    return None if place is None else Way(looked_at, found, partial(_rows_at, place), None)


def _rows(a: int, b: int, n: int, tensor: Tensor) -> Tensor:
    return tensor[a:b].clone() if tensor.ndim and len(tensor) == n else tensor.clone()


def _replayed(outputs: Iterator[Any], rows: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Any:
    return mapped(next(outputs), rows)


def _rows_at(place: int, batch: Any) -> float:
    return float(len(leaves(batch)[place]))


def _recorded(outputs: list[Any], forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    output = forward(*args, **kwargs)
    outputs.append(mapped(output, lambda t: t.detach().clone()))
    return output


@contextmanager
def _forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Within: the module's forward is another one."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _tokens(data: Batches, loss: Any) -> list[Tokens]:
    """Counts that a target of class indices suggests; each is compared before it is used."""
    target = target_in(data.batches[0])
    if not isinstance(target, Tensor) or target.is_floating_point() or not target.ndim:
        return []
    classes, ignored = getattr(loss, "weight", None), getattr(loss, "ignore_index", -100)
    if not isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss):
        classes, ignored = None, -100
    counted = [Tokens(ignored, classes=None if classes is None else classes.detach())]
    return counted + ([Tokens(ignored, shifted=True)] if target.ndim > 1 else [])


def _proportional(data: Batches, count: Count) -> bool:
    numbers = _counts(data, count)
    return all(
        abs(w * sum(numbers) - n * data.total) <= 1e-9 * data.total * sum(numbers)
        for w, n in zip(data.weights, numbers, strict=True)
    )


def _numbers(values: Values, batch: Any) -> dict[str, float]:
    """Metrics of a copy, because model or loss may write into it."""
    return {name: float(value) for name, value in values(mapped(batch, Tensor.clone)).items()}


def _rounding(dtypes: Iterable[torch.dtype]) -> float:
    """By the least precise of parameters and values: a loss may compute in less than its model."""
    eps = max((torch.finfo(dtype).eps for dtype in dtypes), default=0.0)
    return float(max(_AGREES * eps**0.5, 2 * eps))
