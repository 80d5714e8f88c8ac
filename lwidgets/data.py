"""The data an objective is averaged over: read once, fixed, the same at every point.

A loader that only shuffles is fine, because order cannot matter; one whose samples differ between two passes would
give a different loss surface at every point, and is refused by name.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lwidgets.failures import contextmanager

_BATCH_ENTRIES = 1 << 22  # input numbers per batch: few, large batches, while activations stay within reach
_HELD = 1 << 26  # bytes of data of which a second copy is kept


@dataclass(frozen=True, eq=False)
class Batches:
    """Fixed batches on one device.

    Attributes:
        batches: What the model and the loss will be given, in order.
        sizes: Samples in each.
        fingerprint: Short hash of the samples, independent of their order; part of a landscape's provenance.
    """

    batches: tuple[Any, ...]
    sizes: tuple[int, ...]
    fingerprint: str

    def __len__(self) -> int:
        """Number of samples."""
        return sum(self.sizes)

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        """Batch and size; tensors are copies, so that a model that works in place spoils its own only."""
        for batch, size in zip(self.batches, self.sizes, strict=True):
            yield _map(batch, Tensor.clone), size

    @classmethod
    def of(cls, data: Any, device: torch.device) -> Batches:
        """Read the data.

        Args:
            data: (X, y) or any tuple, list or dict of tensors or arrays with a common first axis; a Dataset; a
                DataLoader or another iterable of batches that can be gone through more than once.
            device: Where the batches are kept.

        Raises:
            ValueError: There is no sample, the first axes differ, or two passes give different samples.
            TypeError: The data can be gone through only once, or are of no known kind.
        """
        if isinstance(data, Batches):
            return data
        arrays = _as_tensors(data)
        if arrays is not None:
            batches: list[Any] = _split(arrays)
            counts = _samples(batches)
        else:
            batches, counts = _read_twice(data)
        if not counts:
            raise ValueError(
                "Objective: data must hold at least one sample, got none. Check the dataset and its filters."
            )
        digest = hashlib.blake2b(digest_size=8)
        for sample, count in sorted(counts.items()):
            digest.update(sample + count.to_bytes(8, "little"))
        return cls(
            tuple(_map(batch, lambda t: t.detach().to(device, copy=True)) for batch in batches),
            tuple(_size(batch) for batch in batches),
            digest.hexdigest(),
        )

    def part(self, count: int) -> Batches | None:
        """A fixed part of the samples in one batch; each label has its share where there are integer labels.

        Returns:
            None when the batches cannot be divided into samples, or these cannot be put together.
        """
        columns = [_leaves(batch) for batch in self.batches]
        divisible = all(
            leaf.ndim and len(leaf) == size for leaves, size in zip(columns, self.sizes, strict=True) for leaf in leaves
        )
        if not divisible or len({len(leaves) for leaves in columns}) != 1:
            return None
        labels = [
            torch.cat([leaves[i] for leaves in columns]).cpu()
            for i, leaf in enumerate(columns[0])
            if leaf.ndim == 1 and not leaf.is_floating_point()
        ]
        order = torch.argsort(labels[-1], stable=True) if labels else torch.arange(len(self))
        chosen = order[torch.linspace(0, len(self) - 1, min(count, len(self))).round().long()].sort().values
        starts = np.cumsum([0, *self.sizes[:-1]])
        rows = [chosen[(chosen >= a) & (chosen < a + n)] - int(a) for a, n in zip(starts, self.sizes, strict=True)]
        try:
            whole = iter(
                [
                    torch.cat([leaves[i][r.to(leaves[i].device)] for leaves, r in zip(columns, rows, strict=True)])
                    for i in range(len(columns[0]))
                ]
            )
        except RuntimeError:  # sequences of other lengths in other batches
            return None
        batch = _map(self.batches[0], lambda _: next(whole))
        return Batches((batch,), (len(chosen),), f"{self.fingerprint}, {len(chosen)} of {len(self)}")


class Copies:
    """Batches to be gone through again and again; copied once, and anew where a model has written into its copy.

    What is written past torch (through ``.data`` or NumPy) is noticed the first time only.
    """

    def __init__(self, data: Batches) -> None:
        """Nothing is copied yet."""
        self._data = data
        self._held: list[tuple[list[Tensor], list[int]] | None] = [None] * len(data.batches)
        leaves = [leaf for batch in data.batches for leaf in _leaves(batch)]
        plain = all(type(leaf) is Tensor and leaf.layout is torch.strided for leaf in leaves)
        self._hold = plain and sum(leaf.nbytes for leaf in leaves) <= _HELD

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        """Batch and size, in order."""
        for i, (batch, size) in enumerate(zip(self._data.batches, self._data.sizes, strict=True)):
            held = self._held[i]
            if held is None or [leaf._version for leaf in held[0]] != held[1]:
                copied = _map(batch, Tensor.clone)
                leaves = _leaves(copied)
                if not self._hold or any(leaf.is_inference() for leaf in leaves):  # these have no versions
                    yield copied, size
                    continue
                self._held[i] = leaves, [leaf._version for leaf in leaves]
            else:
                leaves = held[0]
            again = iter(leaves)
            yield _map(batch, lambda _, again=again: next(again).detach()), size  # type: ignore[misc]
            if held is None and not all(map(_same, leaves, _leaves(batch))):
                self._hold, self._held[i] = False, None


def _same(a: Tensor, b: Tensor) -> bool:
    """Bit by bit, because what is not a number differs from itself."""
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def _read_twice(data: Any) -> tuple[list[Any], Counter[bytes]]:
    """The batches of the first pass, after a second one has shown the same samples."""
    if isinstance(data, Dataset) and not isinstance(data, DataLoader):
        data = DataLoader(data, batch_size=256)
    if isinstance(data, Iterator):
        raise TypeError(
            f"Objective: data must be readable more than once, got the one-shot iterator {type(data).__name__}. "
            "Pass the DataLoader itself, or list(iterator) to freeze what it yields."
        )
    if not hasattr(data, "__iter__"):
        raise TypeError(
            f"Objective: data must be (X, y), a Dataset, a DataLoader or a list of batches, got {type(data).__name__}. "
            "Pass for example data=(X, y)."
        )
    with random_state_kept(*_generators(data)):  # a loader draws its shuffling seed from one of them
        first = [_map(batch, Tensor.clone) for batch in data]
        once, again = _samples(first), _samples(data)
    if once != again:
        missing, total = sum((once - again).values()), sum(once.values())
        raise ValueError(
            f"Objective: data must give the same samples in every pass, got {missing} of {total} that the second pass "
            f"of the {type(data).__name__} did not repeat (augmentation, dropout in the data, random crops, or "
            "drop_last with shuffling). Switch that off, or freeze one pass with data=list(loader)."
        )
    return first, once


def _generators(data: Any) -> list[torch.Generator]:
    """Generators that a loader or its samplers were given."""
    samplers = [getattr(data, "sampler", None), getattr(getattr(data, "batch_sampler", None), "sampler", None)]
    found = [getattr(owner, "generator", None) for owner in (data, *samplers)]
    return [generator for generator in found if isinstance(generator, torch.Generator)]


@contextmanager
def random_state_kept(*generators: torch.Generator) -> Iterator[None]:
    """Leave the global generators of torch, NumPy and Python, and those given, as they were found."""
    python, numpy_ = random.getstate(), np.random.get_state()
    states = [generator.get_state() for generator in generators]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
            random.setstate(python)
            np.random.set_state(numpy_)


def _as_tensors(data: Any) -> Any | None:
    """The data as tensors with a common first axis, or None when they are an iterable of batches."""
    if isinstance(data, Tensor | np.ndarray):
        return torch.as_tensor(data)
    if isinstance(data, Mapping):
        values = list(data.values())
    elif isinstance(data, tuple) or (isinstance(data, list) and data and all(isinstance(d, np.ndarray) for d in data)):
        values = list(data)
    else:
        return None
    if not values or not all(isinstance(v, Tensor | np.ndarray) for v in values):
        return None
    lengths = [v.shape[0] if v.ndim else 0 for v in values]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"Objective: data must have one length along the first axis, got {lengths}. Pass X and y of the same "
            "samples."
        )
    return _map(tuple(data) if isinstance(data, list) else data, lambda t: t)


def _split(arrays: Any) -> list[Any]:
    length = _size(arrays)
    if length == 0:
        return []
    entries = max(leaf[0].numel() for leaf in _leaves(arrays))
    size = max(1, min(length, _BATCH_ENTRIES // max(1, entries)))
    return [_map(arrays, itemgetter(slice(i, i + size))) for i in range(0, length, size)]


def _samples(batches: Any) -> Counter[bytes]:
    """How often each sample occurs, by hash; a batch without a common first axis counts as one sample."""
    counts: Counter[bytes] = Counter()
    for batch in batches:
        leaves = [leaf.detach().cpu().contiguous() for leaf in _leaves(batch)]
        together = leaves and all(leaf.ndim and len(leaf) == len(leaves[0]) for leaf in leaves)
        rows = [leaf.reshape(len(leaf) if together else 1, -1) for leaf in leaves if leaf.numel()]
        size = len(leaves[0]) if together else 1
        hashes = sum(
            (_hash_rows(leaf.view(torch.uint8).numpy(), i) for i, leaf in enumerate(rows)),
            np.zeros((size, 2), np.uint64),
        )
        counts.update(map(bytes, hashes.astype("<u8")))
    return counts


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


def _leaves(batch: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _map(batch, lambda t: found.append(t) or t)  # type: ignore[func-returns-value]
    return found


def _size(batch: Any) -> int:
    leaves = _leaves(batch)
    return leaves[0].shape[0] if leaves and leaves[0].ndim else 1


def _map(batch: Any, f: Callable[[Tensor], Tensor]) -> Any:
    """Apply f to every tensor or array of a nested batch; anything that is neither, nor a container, stays as it is."""
    if isinstance(batch, Tensor):
        return f(batch)
    if isinstance(batch, np.ndarray) and batch.dtype.kind in "biufc":
        return f(torch.as_tensor(batch))
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_map(item, f) for item in batch))
    if isinstance(batch, Mapping):
        mapped = {key: _map(value, f) for key, value in batch.items()}
        return mapped if type(batch) is dict else _same_type(batch, mapped)
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        return type(batch)(_map(item, f) for item in batch)  # type: ignore[call-arg]
    return batch


def _same_type(batch: Mapping[Any, Any], mapped: dict[Any, Any]) -> Any:
    """Mappings with attribute access (a tokenizer's output) keep their class where it can be rebuilt."""
    try:
        return type(batch)(mapped)  # type: ignore[call-arg]
    except TypeError:
        return mapped
