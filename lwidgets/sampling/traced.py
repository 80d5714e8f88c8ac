"""An objective evaluated through traced graphs (`folding`) in place of its module."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule
from torch.fx.experimental import symbolic_shapes
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_flatten, tree_unflatten

from lwidgets.basis import Basis, combination
from lwidgets.data import Batches
from lwidgets.objective import ModelObjective
from lwidgets.parameters import State, as_held
from lwidgets.pauses import pause
from lwidgets.replica import Replica
from lwidgets.sampling.folding import Kind, Split, fuse_batchnorm, split
from lwidgets.sampling.tracing import Untraceable, trace

Task = Literal["measure", "collect"]
"""From one batch to its metrics, or to the statistics that its BatchNorm layers collect."""

# What torch imports and registers the first time it batches comes here, on the thread that imports this module: two
# threads that import torch's own modules at once may leave them half made, until the process is started again.
_ = symbolic_shapes, torch.vmap(torch.neg)(torch.zeros(1))

# Bytes of weights that are kept combined over the batches of a point; larger ones are made when used. A choice: 67
# million numbers in float32; benchmarks/memory.py holds the peak of a model with more.
_HELD = 1 << 28


class Programs:
    """The graphs of an objective: traced once for every shape of batch, whatever the basis."""

    def __init__(self, objective: ModelObjective, batchnorm: str, moving: Sequence[str]) -> None:
        """Nothing is traced before it is asked for.

        Args:
            objective: What to evaluate.
            batchnorm: A resolved mode.
            moving: Names of the parameters that differ from point to point.
        """
        self._objective = weakref.ref(objective)  # whose plans hold this: it would keep itself alive
        self.batchnorm, self.moving = batchnorm, tuple(moving)
        with objective.replica() as replica:
            collected = replica.batchnorms if batchnorm == "recalibrate" else ()
            names = {id(buffer): name for name, buffer in replica.buffers.items()}
            self.statistics = tuple(names[id(b)] for part in collected for b in (part.running_mean, part.running_var))
        tensors = (*objective.space.shapes, *objective.space.buffers)
        self.fixed = tuple(name for name in tensors if name not in {*self.moving, *self.statistics})
        self._graphs: dict[Any, GraphModule] = {}
        self._splits: dict[Any, Split] = {}

    @property
    def objective(self) -> ModelObjective:
        """What is evaluated, which whoever evaluates holds."""
        objective = self._objective()
        if objective is None:
            raise ReferenceError("Programs: objective must be held by whoever evaluates it, got one that is gone.")
        return objective

    def split(self, task: Task, basis: Basis, leaves: Sequence[Tensor], structure: Any, fold: bool) -> Split:
        """The graph for batches of this shape; traced at the basis' origin when it is not there yet.

        Raises:
            Untraceable: It cannot be; the message says why.
        """
        key = (task, structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
        state = basis.origin.tensors
        changing = self.statistics if task == "measure" else ()
        if key not in self._graphs:
            names = (*self.moving, *changing, *self.fixed)
            inputs = [state[name].to(self.objective.device) for name in names]
            with self._function(task, structure, (*self.moving, *changing, *self.fixed), basis.origin) as function:
                self._graphs[key] = graph = trace(function, [*inputs, *leaves])
            fuse_batchnorm(graph)
        counts: dict[Kind, int] = {"affine": len(self.moving), "other": len(changing)}
        counts["fixed"] = len(self.fixed) + len(leaves)
        roles = [role for role, count in counts.items() for _ in range(count)]
        if (*key, fold) not in self._splits:
            self._splits[*key, fold] = split(self._graphs[key], roles, fold=fold)
        return self._splits[*key, fold]

    @contextmanager
    def _function(
        self, task: Task, structure: Any, names: Sequence[str], origin: State
    ) -> Iterator[Callable[..., Any]]:
        """The task as a function of the tensors named and of the batch's own."""
        objective = self.objective

        def measure(module: nn.Module, batch: Any) -> Tensor:
            values = objective.values(module, batch).values()
            return torch.stack([value.to(objective.device, torch.float64) for value in values])

        def collect(module: nn.Module, batch: Any) -> tuple[Tensor, ...]:
            objective.visit(module, batch)
            calls = zip(replica.batchnorms, statistics, strict=True)
            return tuple(total for layer, seen in calls for total in _totals(layer, seen))

        with objective.replica() as spare:
            spare.release()  # it may be new and hold a whole model
            replica = Replica(spare.module, objective.device)  # what a module keeps of a trace is of no use to a pass
        replica.show(origin)  # so that a parameter which is not reached by its name has a shape, and is found
        with _own_statistics(replica, task, self.batchnorm) as statistics:
            like = replica.parameters
            harness = _Harness(replica.module, measure if task == "measure" else collect)

            def function(*tensors: Tensor) -> Any:
                given = zip(names, tensors, strict=False)
                named = {f"module.{n}": as_held(t, like[n]) if n in like else t for n, t in given}
                return functional_call(harness, named, (tree_unflatten(list(tensors[len(names) :]), structure),))

            yield function


class _Harness(nn.Module):
    """A module that does a task with another, so that `functional_call` can give that one its tensors."""

    def __init__(self, module: nn.Module, task: Callable[[nn.Module, Any], Any]) -> None:
        super().__init__()
        self.module = module
        self.task = task

    def forward(self, batch: Any) -> Any:
        return self.task(self.module, batch)


@contextmanager
def _own_statistics(replica: Replica, task: Task, batchnorm: str) -> Iterator[list[list[tuple[Tensor, Tensor]]]]:
    """Within: BatchNorm layers use each batch's own statistics where the task wants that, and update no buffer.

    Yields:
        For each layer, the mean and the unbiased variance of every call, as they come.
    """
    replica.module.eval()
    seen: list[list[tuple[Tensor, Tensor]]] = [[] for _ in replica.batchnorms]
    changed = replica.batchnorms if task == "collect" or batchnorm == "batch" else ()
    if any(type(layer).forward is not _BatchNorm.forward for layer in changed):
        raise Untraceable("a BatchNorm layer does more than normalise")
    for layer, found in zip(changed, seen, strict=False):
        layer.forward = partial(_normalize, layer, found)
    try:
        yield seen
    finally:
        for layer in changed:
            del layer.forward


def _normalize(layer: Any, found: list[tuple[Tensor, Tensor]], inputs: Tensor) -> Tensor:
    """What a BatchNorm layer does in training, with its statistics as values instead of side effects."""
    variance, mean = torch.var_mean(inputs, [d for d in range(inputs.ndim) if d != 1], correction=0)
    count = inputs.numel() / inputs.shape[1]
    found.append((mean, variance * (count / max(count - 1, 1e-300))))
    return functional.batch_norm(inputs, mean, variance, layer.weight, layer.bias, False, 0.0, layer.eps)


def _batches(graph: GraphModule) -> bool:
    """Whether vmap has a rule for every operation; one that it could only loop over lets batching not pay."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    keys = ("FuncTorchBatched", "FuncTorchBatchedDecomposition", "CompositeImplicitAutograd")
    called = {node.target for node in graph.graph.nodes if node.op == "call_function"}
    names = [target.name() for target in called if isinstance(target, torch._ops.OpOverload)]
    return all(any(has(name, key) for key in keys) for name in names)


def _totals(layer: Any, seen: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of a layer's means and variances over its calls, and how many there were."""
    calls = torch.tensor(float(len(seen)))
    none = torch.zeros_like(layer.running_mean)
    return sum((mean for mean, _ in seen), none), sum((variance for _, variance in seen), none), calls


def _averages(totals: Sequence[Tensor]) -> Iterator[Tensor]:
    """Mean and variance of each layer over its calls; as they were reset to where there were none."""
    for mean, variance, calls in zip(*[iter(totals)] * 3, strict=True):
        count = calls.unsqueeze(-1).to(mean)
        yield torch.where(count > 0, mean / count, 0.0)
        yield torch.where(count > 0, variance / count, 1.0)


@dataclass(frozen=True)
class _Bound:
    """A graph with a batch and a basis put in.

    Attributes:
        split: The graph.
        constants: Its fixed values.
        parts: For each folded value, a tensor for each vector of the basis.
        weight: Of the batch.
    """

    split: Split
    constants: tuple[Tensor, ...]
    parts: tuple[tuple[Tensor, ...], ...]
    weight: float


class Traced:
    """Evaluates the points of a basis; for one thread at a time."""

    def __init__(self, programs: Programs, basis: Basis, *, fold: bool, memory: float) -> None:
        """Compute what does not change from point to point.

        Args:
            programs: Of the objective, for the names that move in this basis.
            basis: K vectors, those of a subspace.
            fold: Combine behind the first products with the data, not in front of them.
            memory: Bytes that the folded parts may take.

        Raises:
            Untraceable: The objective cannot be traced, or folding takes more memory.
        """
        if basis.vertices == 0:
            raise Untraceable("the coefficients of this basis need not sum to one")
        if fold and any(basis.origin.parameters[name].dtype.itemsize < 4 for name in programs.moving):
            raise Untraceable("half precision is combined before it meets the data")
        self._programs, self._basis, self._fold, self._memory = programs, basis, fold, memory
        objective = programs.objective
        self._empty = partial(torch.empty_like, device=objective.device)
        self._fixed = [basis.origin.tensors[name].to(objective.device) for name in programs.fixed]
        with torch.no_grad():
            self._collect = self._bind("collect", objective.train) if programs.statistics else []
            self._measure = self._bind("measure", objective.data)
        self._total = objective.data.total
        weights = {name: basis.origin.parameters[name] for name in self._direct()}
        self.folds = any(bound.parts for bound in (*self._collect, *self._measure))
        self.bytes = max(sum(bound.split.sizes) for bound in (*self._collect, *self._measure))
        self.bytes += sum(weight.nbytes for weight in weights.values())
        hold = sum(weight.nbytes for weight in weights.values()) <= _HELD
        self._held = {name: self._empty(weight) for name, weight in weights.items() if hold}
        self._outs: dict[Any, Tensor] = {}

    def row(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metrics at one point, shape (M,), for coefficients of shape (K,)."""
        made: dict[str, Tensor] = {}

        def weight(name: str) -> Tensor:
            if name not in self._held:
                return self._combined(coefficients, name, self._empty(self._basis.origin.parameters[name]))
            if name not in made:
                made[name] = self._combined(coefficients, name, self._held[name])
            return made[name]

        def apply(bound: _Bound, changing: Sequence[Tensor]) -> tuple[Tensor, ...]:
            pause()
            folded = []
            for i, parts in enumerate(bound.parts):
                key = (i, parts[0].shape, parts[0].dtype)
                out = self._outs.setdefault(key, torch.empty_like(parts[0]))
                combination(coefficients, parts, out)
                folded.append(out)
            late = [partial(weight, self._programs.moving[i]) for i in bound.split.direct]
            values: tuple[Tensor, ...] = bound.split.rest(*bound.constants, *changing, *folded, *late)
            return values

        return self._average(apply).cpu().numpy()

    def rows(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Metrics at many points at once, shape (P, M), for coefficients of shape (P, K)."""
        basis, device = self._basis, self._programs.objective.device
        if not self._finite:
            raise Untraceable("a weight that is not finite, times a coefficient of 0, must not count")
        if not self._batches:
            raise Untraceable("an operation can only be repeated for each point, not done for many at once")

        def stacked(tensors: Sequence[Tensor | None], like: Tensor) -> Tensor:
            wide = torch.promote_types(like.dtype, torch.float32)
            c = torch.as_tensor(coefficients, dtype=wide, device=device)
            total = torch.zeros(len(c), *like.shape, dtype=wide, device=device)
            for column, tensor in zip(c.T, tensors, strict=True):
                if tensor is not None:
                    total.addcmul_(column.view(-1, *[1] * like.ndim), tensor.to(total))
            return total.to(like.dtype)

        weights = {
            name: stacked([vector.get(name) for vector in basis.vectors], basis.origin.parameters[name])
            for name in self._direct()
        }

        def apply(bound: _Bound, changing: Sequence[Tensor]) -> tuple[Tensor, ...]:
            pause()
            folded = [stacked(parts, parts[0]) for parts in bound.parts]
            late = [weights[self._programs.moving[i]] for i in bound.split.direct]
            each = (*changing, *folded, *late)
            if not each:  # the same at every point
                return tuple(
                    value.expand(len(coefficients), *value.shape) for value in bound.split.rest(*bound.constants)
                )
            dims = (None,) * len(bound.constants) + (0,) * len(each)
            values: tuple[Tensor, ...] = torch.vmap(bound.split.rest, in_dims=dims)(*bound.constants, *each)
            return values

        return self._average(apply).cpu().numpy()

    @torch.inference_mode()
    def _average(self, apply: Callable[[_Bound, Sequence[Tensor]], tuple[Tensor, ...]]) -> Tensor:
        """Over the batches, by weight; BatchNorm statistics over theirs, each batch alike."""
        found = [apply(bound, ()) for bound in self._collect]
        changing = list(_averages([sum(totals[1:], totals[0]) for totals in zip(*found, strict=True)]))
        total = sum(bound.weight * apply(bound, changing)[0] for bound in self._measure)
        return total / self._total  # type: ignore[return-value]  # sum() starts at 0

    def _combined(self, coefficients: NDArray[np.float64], name: str, out: Tensor) -> Tensor:
        combination(coefficients, [vector.get(name) for vector in self._basis.vectors], out)
        return out

    @cached_property
    def _finite(self) -> bool:
        return all(bool(tensor.isfinite().all()) for vector in self._basis.vectors for tensor in vector.values())

    @cached_property
    def _batches(self) -> bool:
        return all(_batches(bound.split.rest) for bound in (*self._collect, *self._measure))

    def _direct(self) -> list[str]:
        """Weights that are combined as they are."""
        used = {i for bound in (*self._collect, *self._measure) for i in bound.split.direct}
        return [self._programs.moving[i] for i in sorted(used)]

    def _bind(self, task: Task, data: Batches) -> list[_Bound]:
        basis, programs = self._basis, self._programs
        bound = []
        for batch, weight in zip(data.batches, data.weights, strict=True):
            if task == "measure" and not weight:
                continue
            leaves, structure = tree_flatten(batch)
            if not all(isinstance(leaf, Tensor) for leaf in leaves):
                raise Untraceable("the data hold something that is not a tensor")
            graph = programs.split(task, basis, leaves, structure, self._fold)
            self._memory -= len(basis.vectors) * graph.sizes[0]
            if self._memory < 0:
                raise Untraceable("folding would keep more than a quarter of the free memory")
            constants = graph.fixed(*self._fixed, *leaves)
            bound.append(_Bound(graph, constants, self._parts(graph, constants), weight))
        return bound

    def _parts(self, graph: Split, constants: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], ...]:
        """F_k of each folded value F: at the models, F(V_k); along the directions, F(V_k) - F(0)."""
        if not graph.affine.graph.output_node().args[0]:  # nothing is folded: no vector is drawn or widened whole
            return ()
        basis, like = self._basis, self._basis.origin.parameters

        def at(vector: Any) -> tuple[Tensor, ...]:
            device = self._programs.objective.device
            zeros = {n: like[n].new_zeros((), device=device).expand(like[n].shape) for n in self._programs.moving}
            moving = [vector[n].to(zeros[n]) if n in vector else zeros[n] for n in self._programs.moving]
            values: tuple[Tensor, ...] = graph.affine(*constants, *moving)
            return values

        values = [at(vector) for vector in basis.vectors]
        zero = at({}) if len(basis.vectors) > basis.vertices else ()
        for i, z in enumerate(zero):
            if z.count_nonzero():
                for k in range(basis.vertices, len(values)):
                    values[k] = (*values[k][:i], values[k][i] - z, *values[k][i + 1 :])
        if not all(bool(part.isfinite().all()) for parts in values for part in parts):
            raise Untraceable("a folded value is not finite, and cannot be combined")
        return tuple(zip(*values, strict=True))
