"""The data an objective is averaged over: read once, fixed, the same at every point.

A loader that only shuffles is fine, because order cannot matter; one whose samples differ between two passes would
give a different loss surface at every point, and is refused by name.

What a batch counts in the average is its weight: its number of samples, as far as its own parts tell
(`lwidgets.means` compares that with what the loss does), or what ``weight=`` says.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from lwidgets.batch import Cut, as_tensor, cuts_of, digest, leaves, mapped, sizes_of
from lwidgets.noise import undisturbed

_BATCH_ENTRIES = 1 << 22  # input numbers per batch: few, large batches, while activations stay within reach
_HELD = 1 << 26  # bytes of data of which a second copy is kept
_READ = 256  # samples of a Dataset that are read at a time
_MOST = 1 << 14  # batches of a stream that does not say how many it has ...
_LONGEST = 20.0  # ... and seconds that it may take
_SHARE = 0.5  # of the free memory that data may take

Weight = float | Sequence[float] | Callable[[Any], float]
"""What batches count: all the same; a number for each; or a function of a batch, as those of `lwidgets.weights`."""


@dataclass(frozen=True, eq=False)
class Batches:
    """Fixed batches on one device.

    Attributes:
        batches: What the model and the loss will be given, in order.
        sizes: Samples in each; 1 where it cannot be told.
        fingerprint: Short hash of the samples, independent of their order; part of a landscape's provenance.
        weights: What each counts in an average; its samples, unless something else is known.
        cut: How a batch is divided into samples; None where it cannot be.
        additive: Whether dividing batches leaves the loss as it is; None where nobody has looked.
        divided: Whether the data were given as a whole, and fell into batches here.
    """

    batches: tuple[Any, ...]
    sizes: tuple[int, ...]
    fingerprint: str
    weights: tuple[float, ...] = ()
    cut: Cut | None = None
    additive: bool | None = None
    divided: bool = False

    def __post_init__(self) -> None:
        if not self.weights:
            object.__setattr__(self, "weights", tuple(map(float, self.sizes)))

    def __len__(self) -> int:
        """Number of samples."""
        return sum(self.sizes)

    def __iter__(self) -> Iterator[tuple[Any, float]]:
        """Batch and weight; tensors are copies, so that a model that works in place spoils its own only."""
        for batch, weight in zip(self.batches, self.weights, strict=True):
            yield mapped(batch, Tensor.clone), weight

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return sum(self.weights)

    @classmethod
    def of(cls, data: Any, device: torch.device, weight: Weight | None = None) -> Batches:
        """Read the data.

        Args:
            data: (X, y), in any nesting of tuples, dicts and lists, of tensors, arrays or data frames with a common
                first axis; an object that holds such; a Dataset; a DataLoader or another iterable of batches that can
                be gone through more than once.
            device: Where the batches are kept.
            weight: What a batch counts; by default its samples.

        Raises:
            ValueError: There is no sample, the first axes differ, two passes give different samples, a stream does not
                end, or weights are not numbers of which one is positive and none negative.
            TypeError: The data can be gone through only once, are of no known kind, or hold what is no number.
        """
        if isinstance(data, Batches):
            return data if weight is None else data.weighing(weight)
        whole = _whole(data)
        batches, seen = _read_twice(data) if whole is None else ([whole], _Seen.of([whole], _common([whole])))
        if not seen.samples:
            raise ValueError(
                "Objective: data must hold at least one sample, got none. Check the dataset and its filters."
            )
        cut = _common(batches)
        if whole is not None and cut is not None:
            batches = _split(whole, cut)
        kept = tuple(mapped(batch, lambda t: t.detach().to(device, copy=True)) for batch in batches)
        counted = [cut.count(batch) if cut else None for batch in kept]
        sizes = tuple(1 if count is None else count for count in counted)
        divided = whole is not None or _is_dataset(data)
        found = cls(kept, sizes, seen.fingerprint(), cut=cut, divided=divided and len(kept) > 1)
        return found if weight is None else found.weighing(weight)

    def weighing(self, weight: Weight) -> Batches:
        """The same batches with other weights.

        Raises:
            ValueError: They are not finite, one is negative, or all are 0.
        """
        if callable(weight):
            weights = [_number(weight(batch)) for batch, _ in self]
        elif isinstance(weight, int | float):
            weights = [float(weight)] * len(self.batches)
        else:
            weights = [_number(w) for w in weight]
        if len(weights) != len(self.batches):
            raise ValueError(
                f"Objective: weight must have a number for each batch, got {len(weights)} for {len(self.batches)} "
                "batches. Pass a function of a batch, such as lambda batch: len(batch[1])."
            )
        if not all(0 <= w < float("inf") for w in weights) or not any(weights):
            raise ValueError(
                f"Objective: weight must be finite, never negative, and positive for some batch, got {weights[:8]}. "
                "Return how many samples, or tokens, of a batch count."
            )
        return replace(self, weights=tuple(weights))

    def cuts(self) -> tuple[Cut, ...]:
        """Every way to divide all batches into samples that their sizes allow."""
        return tuple(
            cut for cut in cuts_of(self.batches[0]) if all(cut.count(batch) is not None for batch in self.batches)
        )

    def joined(self) -> Batches:
        """All data as one batch.

        Raises:
            RuntimeError: They cannot be put together.
        """
        if self.cut is None:
            raise RuntimeError("the batches cannot be divided into samples")
        batch = self.cut.join(self.batches)
        return replace(self, batches=(batch,), sizes=(len(self),), weights=(self.total,), divided=False)

    def part(self, count: int) -> Batches | None:
        """A fixed part of the samples in one batch; each label has its share where there are integer labels.

        Returns:
            None when the batches cannot be divided into samples, or these cannot be put together.
        """
        cut = self.cut
        if cut is None or self.additive is False:
            return None
        columns = [cut.moved(batch) or [] for batch in self.batches]
        labels = [
            torch.cat(column).cpu()
            for column in zip(*columns, strict=True)
            if all(leaf.ndim == 1 and not leaf.is_floating_point() for leaf in column)
        ]
        order = torch.argsort(labels[-1], stable=True) if labels else torch.arange(len(self))
        chosen = order[torch.linspace(0, len(self) - 1, min(count, len(self))).round().long()].sort().values
        starts = np.cumsum([0, *self.sizes[:-1]])
        rows = [
            (chosen[(chosen >= a) & (chosen < a + n)] - int(a)).tolist()
            for a, n in zip(starts, self.sizes, strict=True)
        ]
        try:
            batch = cut.join([cut.take(b, r) for b, r in zip(self.batches, rows, strict=True) if r])
        except RuntimeError:  # sequences of other lengths in other batches
            return None
        label = f"{self.fingerprint}, {len(chosen)} of {len(self)}"
        return replace(self, batches=(batch,), sizes=(len(chosen),), fingerprint=label, weights=(), divided=False)


def _number(weight: Any) -> float:
    try:
        return float(weight)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"Objective: weight must give a number for a batch, got {type(weight).__name__}. "
            "Return for example len(batch[1])."
        ) from error


class Copies:
    """Batches to be gone through again and again; copied once, and anew where a model has written into its copy.

    What is written past torch (through ``.data`` or NumPy) is noticed the first time only.
    """

    def __init__(self, data: Batches) -> None:
        """Nothing is copied yet."""
        self._data = data
        self._held: list[tuple[list[Tensor], list[int]] | None] = [None] * len(data.batches)
        tensors = [leaf for batch in data.batches for leaf in leaves(batch)]
        plain = all(type(leaf) is Tensor and leaf.layout is torch.strided for leaf in tensors)
        self._hold = plain and sum(leaf.nbytes for leaf in tensors) <= _HELD

    def __iter__(self) -> Iterator[tuple[Any, float]]:
        """Batch and weight, in order."""
        for i, (batch, weight) in enumerate(zip(self._data.batches, self._data.weights, strict=True)):
            held = self._held[i]
            if held is None or [leaf._version for leaf in held[0]] != held[1]:
                copied = mapped(batch, Tensor.clone)
                tensors = leaves(copied)
                if not self._hold or any(leaf.is_inference() for leaf in tensors):  # these have no versions
                    yield copied, weight
                    continue
                self._held[i] = tensors, [leaf._version for leaf in tensors]
            else:
                tensors = held[0]
            again = iter(tensors)
            yield mapped(batch, lambda _, again=again: next(again).detach()), weight  # type: ignore[misc]
            if held is None and not all(map(same_bits, tensors, leaves(batch))):
                self._hold, self._held[i] = False, None


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal bit by bit, because what is not a number differs from itself; of one shape and dtype."""
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def readings(data: Any, device: torch.device, weight: Weight | None, dtype: torch.dtype) -> Iterator[Batches]:
    """The data as they are; and where model and loss cannot take these, what else an ordinary user may mean.

    Arrays, data frames and lists of numbers are float64 without anybody having chosen that: they are rounded to the
    model's own dtype. Lists of samples are stacked to batches.

    Args:
        data: See `Batches.of`.
        device: See there.
        weight: See there.
        dtype: The model's.

    Yields:
        The next reading, each time it is asked for.
    """
    yield Batches.of(data, device, weight)
    if isinstance(data, Batches):
        return
    for other in (_rounded, _stacked):
        try:
            read = other(data, dtype)
            reading = None if read is None else Batches.of(read, device, weight)
        except (TypeError, ValueError, RuntimeError):  # not of that kind: what is wrong with the first reading counts
            continue
        if reading is not None:
            yield reading


def _rounded(data: Any, dtype: torch.dtype) -> Any | None:
    """The data with float64 of arrays in the model's dtype; None where there are none."""
    told = _whole(data)
    if told is None and not isinstance(data, list | tuple):
        return None
    read = data if told is None else _pair(data) if isinstance(data, tuple) else data
    rounded = _in_dtype(read, dtype)
    return rounded if [t.dtype for t in leaves(rounded)] != [t.dtype for t in leaves(read)] else None


def _stacked(data: Any, dtype: torch.dtype) -> Any | None:
    """A list of samples as a loader; lists of equal tensors as tensors; None where the data are nothing like that."""
    if isinstance(data, tuple) and any(isinstance(part, list) for part in data):
        return tuple(default_collate([_in_dtype(_rows(p), dtype) for p in part]) for part in data)
    if isinstance(data, Mapping | Tensor | DataLoader | str) or not (
        hasattr(data, "__getitem__") and hasattr(data, "__len__") and len(data)
    ):
        return None
    if not (_is_dataset(data) or _is_sample(data[0])):
        return None
    return DataLoader(_Samples(data, dtype), batch_size=_READ, collate_fn=_collate)


def _is_sample(row: Any) -> bool:
    """Something with a single number in it, as a label; or one graph. A batch has neither."""
    if isinstance(row, Mapping | tuple | list):
        parts = [as_tensor(part) if not isinstance(part, int | float | np.generic) else part for part in _values(row)]
        return any(not part.ndim if isinstance(part, Tensor) else part is not None for part in parts)
    return hasattr(type(row), "num_nodes")


def _values(row: Any) -> Iterable[Any]:
    return row.values() if isinstance(row, Mapping) else row


class _Samples(Dataset[Any]):
    """Rows of Python values, arrays or tensors as samples of tensors."""

    def __init__(self, rows: Any, dtype: torch.dtype) -> None:
        self._rows, self._dtype = rows, dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> Any:
        if i >= len(self):
            raise IndexError(i)
        row = self._rows[i]
        if isinstance(row, Mapping):
            row = {key: _rows(value) for key, value in row.items()}
        elif isinstance(row, tuple | list):
            row = tuple(_rows(value) for value in row)
        return _in_dtype(row, self._dtype)


def _rows(values: Any) -> Any:
    """Nested lists of numbers as an array; whatever else as it is."""
    if isinstance(values, list) and values and all(isinstance(v, int | float | np.generic | list) for v in values):
        try:
            return np.asarray(values)
        except ValueError:  # rows of different lengths
            return values
    return values


def _in_dtype(batch: Any, dtype: torch.dtype) -> Any:
    """A batch with float64 of arrays in another dtype; a tensor has the dtype that somebody gave it."""
    theirs = {id(t) for t, u in zip(leaves(batch), leaves(batch), strict=True) if t is u}  # an array is converted anew
    return mapped(batch, lambda t: t.to(dtype) if t.dtype == torch.float64 and id(t) not in theirs else t)


def _whole(data: Any) -> Any | None:
    """The data as one batch of tensors, or None when they are an iterable of batches.

    Raises:
        TypeError: They are no data.
        ValueError: Its first axes differ.
    """
    if isinstance(data, str | bytes | Path):
        raise TypeError(
            f"Objective: data must be tensors, a Dataset, a DataLoader or a list of batches, got the path or text "
            f"{str(data)[:60]!r}. Load it first, for example data=torch.load(path)."
        )
    if isinstance(data, Mapping):
        _refuse_collections(data)
    elif isinstance(data, tuple):
        data = _pair(data)
    elif isinstance(data, list):
        data = tuple(data) if data and all(isinstance(d, np.ndarray) for d in data) else None
    elif as_tensor(data) is None and (_is_dataset(data) or isinstance(data, DataLoader) or not _is_object(data)):
        return None
    if data is None:
        return None
    if isinstance(data, tuple) and not hasattr(data, "_fields"):
        tensors = [as_tensor(part) for part in data]
        lengths = [len(t) if t is not None and t.ndim else 0 for t in tensors]
        if all(t is not None for t in tensors) and len(set(lengths)) > 1:
            raise ValueError(
                f"Objective: data must have one length along the first axis, got {lengths}. Pass X and y of the same "
                "samples; or [(X, y)], one whole batch, where samples lie along another axis."
            )
    return mapped(data, lambda t: t)


def _pair(data: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """A tuple as one batch, with rows of numbers as tensors; None where it is a sequence of batches."""
    if hasattr(data, "_fields"):
        return data
    data = tuple(_rows(part) for part in data)
    if not data or any(as_tensor(part) is not None for part in data):
        return data or None
    kinds = {_kind(part) for part in data}
    if len(kinds) > 1 and len(data) == 2:  # inputs and targets are not made of the same parts
        return data
    cuts = [cuts_of(part) for part in data]
    counts = {cut[0].count(part) for cut, part in zip(cuts, data, strict=True) if cut}
    floats = all(leaf.is_floating_point() for leaf in leaves(data))
    if len(data) == 2 and len(counts) == 1 and floats and all(len(leaves(part)) > 1 for part in data):
        raise ValueError(
            f"Objective: data must be one batch or several, got a tuple of two {type(data[0]).__name__}s of the same "
            f"sizes, {sizes_of(data[0])}, which may be both. Pass a list: [(inputs, targets)] is one batch, "
            "[first, second] are two."
        )
    return None


def _kind(part: Any) -> Any:
    """What a part is made of, without how many samples it has."""
    if isinstance(part, list) and not leaves(part):
        return "list"
    tensors = leaves(part)
    names = tuple(part) if isinstance(part, Mapping) else len(part) if isinstance(part, tuple | list) else 0
    return type(part), names, tuple((t.dtype, t.shape[1:]) for t in tensors if not t.is_nested)


def _refuse_collections(data: Mapping[Any, Any]) -> None:
    """Raise for mappings that hold more than one batch does."""
    name = type(data).__name__
    if name == "Bunch" and {"data", "target"} <= set(data):
        raise TypeError(
            "Objective: data must be (X, y), got scikit-learn's Bunch. Pass (bunch.data, bunch.target), or load it "
            "with return_X_y=True."
        )
    if data and all(_is_collection(value) for value in data.values()):
        key = next(iter(data))
        raise TypeError(
            f"Objective: data must be (X, y), a Dataset, a DataLoader or a list of batches, got {name} of "
            f"{type(data[key]).__name__}s with the keys {', '.join(map(repr, list(data)[:6]))}. "
            f"Pass one of them, for example DataLoader(data[{key!r}], batch_size=64)."
        )


def _is_collection(value: Any) -> bool:
    """Something that one takes samples from."""
    one = isinstance(value, list | tuple | Mapping | str | bytes) or as_tensor(value) is not None
    return (not one and hasattr(value, "__getitem__") and hasattr(value, "__len__")) or isinstance(value, DataLoader)


def _is_dataset(data: Any) -> bool:
    """Samples by their number, of torch's class or of one that has the same methods."""
    alike = hasattr(type(data), "__getitem__") and hasattr(type(data), "__len__") and not hasattr(data, "__iter__")
    return alike or (isinstance(data, Dataset) and not isinstance(data, DataLoader))


def _is_object(data: Any) -> bool:
    """One batch that is an object with attributes; graphs are such though they can be iterated over."""
    graph = hasattr(type(data), "to_dict") and hasattr(type(data), "num_nodes")
    return (graph or not hasattr(data, "__iter__")) and bool(leaves(data))


def _common(batches: Sequence[Any]) -> Cut | None:
    """The most usual way to divide all of these batches; never along features alone."""
    for cut in cuts_of(batches[0]):
        if 0 in cut.axes and all(cut.count(batch) is not None for batch in batches):
            return cut
    return None


def _read_twice(data: Any) -> tuple[list[Any], _Seen]:
    """The batches of the first pass, after a second one has shown the same samples."""
    name = type(data).__name__
    if isinstance(data, Iterator):
        raise TypeError(
            f"Objective: data must be readable more than once, got the one-shot iterator {name}. "
            "Pass the DataLoader itself, or list(iterator) to freeze what it yields."
        )
    if _is_dataset(data):
        data = DataLoader(data, batch_size=_READ, collate_fn=_collate)
    elif not hasattr(data, "__iter__"):
        raise TypeError(
            f"Objective: data must be (X, y), a Dataset, a DataLoader or a list of batches, got {name}. "
            "Pass for example data=(X, y)."
        )
    failure: ValueError | None = None
    with undisturbed(*_generators(data)):  # a loader draws its shuffling seed from one of them
        first = [mapped(batch, Tensor.clone) for batch in _ending(data, name)]
        for cut in (cuts_of(first[0]) if first else ()) or (None,):  # samples may lie along another axis
            once = _Seen.of(first, cut)
            again = _Seen.of((mapped(batch, lambda t: t) for batch in islice(data, len(first) + 1)), cut)
            if once.samples == again.samples:
                return first, once
            failure = failure or once.differing(again, name)
    assert failure is not None
    raise failure


def _collate(samples: list[Any]) -> Any:
    """Samples of a Dataset as a batch, as the DataLoaders of torch and torch_geometric do it."""
    graphs: Any = sys.modules.get("torch_geometric.data")
    if graphs is not None and isinstance(samples[0], graphs.Data | graphs.HeteroData):
        return graphs.Batch.from_data_list(samples)
    try:
        return default_collate(samples)
    except (TypeError, RuntimeError, KeyError) as error:
        raise TypeError(
            f"Objective: data must be samples that can be stacked to batches, got {type(samples[0]).__name__}s for "
            f"which torch's default_collate says: {str(error).partition(chr(10))[0][:160]}. "
            "Pass DataLoader(dataset, batch_size=64, collate_fn=...) with the collate_fn that training uses."
        ) from error


def _ending(data: Any, name: str) -> Iterator[Any]:
    """The batches of one pass, as long as they fit into memory and, where nobody knows how many there are, end."""
    try:
        bounded = len(data) >= 0
    except (TypeError, NotImplementedError):
        bounded = False
    allowed, held, began = _SHARE * _free_memory(), 0, time.monotonic()
    for count, batch in enumerate(data, 1):
        yield batch
        if isinstance(data, list | tuple):
            continue
        held += sum(leaf.nbytes for leaf in leaves(batch) if leaf.layout is torch.strided)
        taken = time.monotonic() - began
        if held > allowed or (not bounded and (count >= _MOST or taken > _LONGEST)):
            raise ValueError(
                f"Objective: data must end and fit into memory, got {count:,} batches ({held / 1e6:,.1f} MB, "
                f"{taken:.0f} s) of the {name} and no end in sight. Pass the part that shall count, for example "
                "list(itertools.islice(data, 100)), or a list of all batches where there is an end."
            )


def _free_memory() -> float:
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):  # not Linux
        return float(8 << 30)


def _generators(data: Any) -> list[torch.Generator]:
    """Generators that a loader or its samplers were given."""
    samplers = [getattr(data, "sampler", None), getattr(getattr(data, "batch_sampler", None), "sampler", None)]
    found = [getattr(owner, "generator", None) for owner in (data, *samplers)]
    return [generator for generator in found if isinstance(generator, torch.Generator)]


def _split(whole: Any, cut: Cut) -> list[Any]:
    """A large batch in parts; what cannot be sliced cheaply stays whole."""
    columns, length = cut.moved(whole), cut.count(whole) or 0
    if not columns or not length or any(cut.axes):
        return [whole] if length else []
    entries = max(column[0].numel() for column in columns)
    size = max(1, min(length, _BATCH_ENTRIES // max(1, entries)))
    return [cut.take(whole, range(i, min(i + size, length))) for i in range(0, length, size)]


@dataclass
class _Seen:
    """What one pass has shown.

    Attributes:
        samples: How often each sample occurs, by hash.
        shapes: How often a sample has each shape.
    """

    samples: Counter[bytes] = field(default_factory=Counter)
    shapes: Counter[Any] = field(default_factory=Counter)

    @classmethod
    def of(cls, batches: Iterable[Any], cut: Cut | None) -> _Seen:
        """Batches divided along a cut; one that cannot be counts as one sample."""
        seen = cls()
        for batch in batches:
            count = None if cut is None else cut.count(batch)
            if cut is None or count is None:
                seen.samples[digest(batch)] += 1
            elif (columns := cut.moved(batch)) is None:
                seen.samples.update(map(digest, cut.rows(batch)))
            else:
                seen.samples.update(_hashes(columns, count))
                seen.shapes.update({tuple(column.shape[1:]): count for column in columns})
        return seen

    def fingerprint(self) -> str:
        """Of the samples, whatever their order."""
        whole = hashlib.blake2b(digest_size=8)
        for sample, count in sorted(self.samples.items()):
            whole.update(sample + count.to_bytes(8, "little"))
        return whole.hexdigest()

    def differing(self, again: _Seen, name: str) -> ValueError:
        """What a second pass with other samples most likely means."""
        if not again.samples:
            return ValueError(
                f"Objective: data must be readable more than once, got a {name} whose second pass gave nothing. "
                "Make it anew and freeze what it yields with data=list(loader)."
            )
        missing, total = (self.samples - again.samples).total(), self.samples.total()
        if self.shapes != again.shapes and total == again.samples.total():
            return ValueError(
                f"Objective: data must give the same samples in every pass, got {missing} of {total} that the second "
                f"pass of the {name} gave in other shapes: sequences padded to the longest of their batch, and batches "
                "in another order. Load without shuffling, or freeze one pass with data=list(loader)."
            )
        return ValueError(
            f"Objective: data must give the same samples in every pass, got {missing} of {total} that the second pass "
            f"of the {name} did not repeat (augmentation, dropout in the data, random crops, or "
            "drop_last with shuffling). Switch that off, or freeze one pass with data=list(loader)."
        )


def _hashes(columns: Sequence[Tensor], count: int) -> Iterator[bytes]:
    """Of each of so many samples, what all columns have of it."""
    plain = (c.cpu().resolve_conj().resolve_neg() for c in columns if c.numel())
    rows = [c.clone(memory_format=torch.contiguous_format).reshape(count, -1) for c in plain]
    hashes = sum(
        (_hash_rows(leaf.view(torch.uint8).numpy(), i) for i, leaf in enumerate(rows)), np.zeros((count, 2), np.uint64)
    )
    return map(bytes, hashes.astype("<u8"))


def _hash_rows(rows: NDArray[np.uint8], salt: int) -> NDArray[np.uint64]:
    """Two 64-bit hashes for each row: every word is scrambled with its place (as SplitMix64 does), then added up.

    All rows at once, because hashing a thousand samples one by one takes longer than a small network.
    """
    width = -(-rows.shape[1] // 8)
    places = np.random.default_rng(salt).integers(0, 2**64, (2, width), dtype=np.uint64)
    found = np.empty((len(rows), 2), dtype=np.uint64)
    step = max(1, _BATCH_ENTRIES // width)
    for start in range(0, len(rows), step):
        words = np.zeros((len(rows[start : start + step]), 8 * width), dtype=np.uint8)
        words[:, : rows.shape[1]] = rows[start : start + step]
        for k in range(2):
            x = words.view(np.uint64) + places[k]
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            found[start : start + step, k] = (x ^ (x >> np.uint64(31))).sum(axis=1, dtype=np.uint64)
    return found
