"""What is evaluated: parameter points -> named metrics."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwidgets.basis import Basis
from lwidgets.batchnorm import BATCHNORM_MODES, BatchNormMode, cumulative_statistics, resolve_batchnorm
from lwidgets.data import Batches, Copies, random_state_kept
from lwidgets.hooks import backward_hooks, observe, settle
from lwidgets.measures import Measured, Metric, inputs_of, one_number_each, same_but_rounding, target_of
from lwidgets.parameters import VECTOR, ParameterSpace, Source, State
from lwidgets.replica import Replica, private_copy
from lwidgets.wrappers import hidden_weights, refuse_uncopyable, unwrapped

_CHUNK = 1 << 14  # points of an analytic objective per call
_LARGE = 1 << 28  # bytes of parameters from which on they are not copied where they can be shown as they are


class Objective:
    """A model, its data, a loss and further metrics, evaluated at any parameter point.

    The user's module is never touched: points are written into private copies, in eval mode. Hooks that only watch are
    left out of these, and what cannot be copied, such as a trainer or an open file, is shared with them: `provenance`
    names both. Data are read once, kept, and weighted by sample; losses are accumulated in float64.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        *,
        loss: Metric,
        metrics: Mapping[str, Metric] | None = None,
        batchnorm: BatchNormMode | None = None,
        params: str | Iterable[str] | None = None,
        device: str | torch.device | None = None,
        test: Any = None,
    ) -> None:
        """Read the data and try the loss once, at the model's own parameters.

        Args:
            model: Any module. Out of DataParallel, DistributedDataParallel, torch.compile and AveragedModel the module
                inside is taken, and that is what ``loss`` is called with.
            data: (X, y), a Dataset, a DataLoader, or whatever batches ``loss(model, batch)`` takes. See `Batches.of`.
            loss: ``loss(output, target)``, called with the model's output, or ``loss(model, batch)``, which calls the
                model itself (physics-informed networks, autoencoders, language models). A mean over the batch: a 0-d
                real tensor. It may return a dict of such tensors with the key "loss".
            metrics: Further metrics by name, of either form, computed in the same pass.
            batchnorm: "recalibrate", "frozen" or "batch"; None chooses recalibrate between models and frozen around
                one.
            params: Glob or globs on names of the parameters that may move; ``!glob`` leaves names out. By default those
                that the model trains (``requires_grad``), or all where it trains none; "*" is all.
            device: Where to compute; by default where the model's parameters are.
            test: Held-out data of the same kind; then ``objective.test`` evaluates the same metrics on them.

        Raises:
            TypeError: The loss fits neither form; a parameter that would move is an integer or has 8 bits or fewer; or
                the model cannot be copied: TorchScript, shards (FSDP), lazy layers, the meta device.
            ValueError: The model has no parameters; data are empty or differ between two passes; a loss is not one real
                number; an unknown mode; or the model gives different losses for the same batch.
        """
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"Objective: model must be a torch.nn.Module, got {type(model).__name__}. "
                "Build the module first, then load the checkpoint into it, or use Objective.from_function."
            )
        if batchnorm is not None and batchnorm not in BATCHNORM_MODES:
            raise ValueError(
                f"Objective: batchnorm must be one of {', '.join(BATCHNORM_MODES)} or None, got {batchnorm!r}. "
                "Leave it out for the usual choice."
            )
        if "loss" in (metrics or {}):
            raise ValueError(
                'Objective: metrics must not contain "loss", which names the loss itself. Use another name.'
            )
        refuse_uncopyable(unwrapped(model), "Objective")
        self.space = ParameterSpace.of_module(model, params)
        self.module = unwrapped(model)
        self.batchnorm = batchnorm
        self.device = torch.device(device) if device is not None else _device_of(model)
        self.data = Batches.of(data, self.device)
        self.train = self.data  # what BatchNorm is recalibrated on; a test objective keeps the training data
        self._begin({"loss": loss, **(metrics or {})})
        self.split = "data" if test is None else "train"
        self.test: Objective | None = None if test is None else self.on(test, split="test")

    @classmethod
    def from_function(
        cls, f: Callable[[Tensor], Tensor | Mapping[str, Tensor]], dim: int, names: Iterable[str] | None = None
    ) -> Objective:
        """An analytic objective.

        Args:
            f: Many points at once, float64 of shape (P, dim), to values of shape (P,) or a dict of them.
            dim: Number of coordinates.
            names: Names of the coordinates, for axes.

        Example:
            >>> bowl = Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
            >>> bowl.names
            ('loss',)
        """
        return FunctionObjective(f, dim, names)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: all but replicas and plans, which are made where they are needed, and test data."""
        return {**vars(self), "_spare": [], "plans": {}, "test": None}

    def __repr__(self) -> str:
        facts = self.provenance()
        what = facts.get("model") or facts["function"]
        return f"Objective({what}: {', '.join(self.names)}; {self.space})"

    def on(self, data: Any, split: str = "data") -> Self:
        """The same model, loss, metrics and parameter filter on other data.

        BatchNorm is still recalibrated on the first.

        Args:
            data: Of the same kind.
            split: Its name, "test" or "validation", for barriers and pictures.
        """
        other = copy.copy(self)
        other._spare = self._spare
        other.split = split
        other.data = Batches.of(data, self.device)
        other.test = None
        return other

    def with_model(self, model: nn.Module, *, batchnorm: BatchNormMode | None = None) -> Self:
        """The same data, loss and metrics for another model that takes the same inputs.

        Parameters that stay here stay there, by name; all others move.

        Args:
            model: Any module.
            batchnorm: The mode; by default as here.

        Raises:
            ValueError: The model gives different losses for the same batch, or losses that are not one real number.
        """
        other = copy.copy(self)
        other.module, other.batchnorm = unwrapped(model), batchnorm or self.batchnorm
        space = ParameterSpace.of_module(model, "*", refuse=False)
        stay = self.space.shapes.keys() - set(self.space.moved)
        moved = tuple(name for name in space.moved if name not in stay)
        other.space = replace(space, moved=moved, frozen=self.space.frozen.intersection(space.shapes))
        other._begin({name: measure.function for name, measure in self._measures.items()})
        other.test = None if self.test is None else self.test.with_model(model, batchnorm=batchnorm)
        return other

    def part(self, samples: int) -> Self | None:
        """The same objective on a fixed, stratified part of its data; BatchNorm is recalibrated on that part, too.

        Returns:
            None when the data cannot be divided into samples.
        """
        data = self.data.part(samples)
        if data is None:
            return None
        other = self.on(data, self.split)
        other.train = data
        return other

    def values(self, module: nn.Module, batch: Any) -> dict[str, Tensor]:
        """All metrics on one batch, 0-d tensors; the model's output is computed once for all that take it.

        Args:
            module: The model, at whatever point it is.
            batch: One of ``data``'s.
        """
        found: dict[str, Any] = {}
        shared: list[Tensor] = []
        for name, measure in self._measures.items():
            if measure.takes_model:
                with torch.enable_grad():  # a physics-informed loss differentiates the output by its input
                    found[name] = measure.function(module, batch)
            else:
                with torch.no_grad():
                    if not shared:
                        shared.append(module(inputs_of(batch)))
                    found[name] = measure.function(shared[0], target_of(batch))
        return one_number_each(found)

    def visit(self, module: nn.Module, batch: Any) -> None:
        """One forward pass over a training batch, through the loss where only it knows how to call the model."""
        loss = self._measures["loss"]
        if loss.takes_model:
            with torch.enable_grad():
                loss.function(module, batch)
        else:
            module(inputs_of(batch))

    def resolve(self, between_models: bool) -> str:
        """The BatchNorm mode for a subspace: "none", "frozen", "recalibrate" or "batch"."""
        return resolve_batchnorm(self.batchnorm, self.module, between_models=between_models)

    def evaluate(
        self, basis: Basis, coefficients: Iterable[NDArray[np.float64]], *, batchnorm: str = "frozen"
    ) -> Generator[dict[str, float], None, None]:
        """Metrics at every point, one after another; stop iterating to stop computing.

        Args:
            basis: K vectors.
            coefficients: Rows of shape (K,); each is taken when it is evaluated.
            batchnorm: A resolved mode.

        Yields:
            Metric name -> value, for each row.
        """
        moving = set(basis.moving)
        data = Copies(self.data)
        with self.replica() as replica:
            writable = False
            for row in coefficients:
                vector = basis.vector_at(row)
                if vector is not None:  # it is there already, and need not be copied
                    zero = torch.zeros_like
                    own = {n: vector[n] if n in vector else zero(basis.origin.parameters[n]) for n in moving}
                    self._show(replica, State({**basis.origin.parameters, **own}, basis.origin.buffers))
                else:
                    if not writable or self._changes_itself:
                        self._show(replica, basis.origin, moving)
                    basis.combine(row, replica.coordinates)
                writable = vector is None
                yield self._measure(replica, batchnorm, data)

    def measure(self, source: Source, batchnorm: str = "frozen") -> dict[str, float]:
        """Metrics of one model: a module, state dict, checkpoint or State of this architecture.

        With "frozen" its own BatchNorm statistics are used, so a grid point that is the model must agree to the last
        bit of float32.
        """
        with self.replica() as replica:
            self._show(replica, self.space.select(State.of(source)))
            return self._measure(replica, batchnorm, self.data)

    def model_at(self, state: State, batchnorm: str = "frozen") -> nn.Module:
        """A new module in eval mode with the parameters and buffers of a point; recalibrated where that is the mode."""
        with self.replica() as replica:
            self._show(replica, self.space.select(state))
            self._prepare(replica, batchnorm)
            module = private_copy(replica.module)
        trained = dict(self.module.named_parameters())
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(trained[name].requires_grad)
        return module

    def provenance(self) -> dict[str, Any]:
        """What was evaluated, as plain values."""
        return {
            "model": type(self.module).__name__,
            "parameters": self.space.count(self.space.shapes),
            "moved": self.space.size,
            "frozen": self.space.count(self.space.frozen),
            "moves": str(self.space),
            **self._told,
            "metrics": list(self.names),
            "loss": self._measures["loss"].label,
            "samples": self.samples,
            "batches": len(self.data.batches),
            "data": self.data.fingerprint,
            "device": str(self.device),
            "dtype": sorted({str(self.space.dtypes[name]).removeprefix("torch.") for name in self.space.moved}),
            "torch": torch.__version__,
        }

    @property
    def samples(self) -> int:
        """In the data; 0 where there are none."""
        return len(self.data)

    @contextmanager
    def replica(self) -> Iterator[Replica]:
        """A private skeleton of the module that nobody else is using; two studies may evaluate at once."""
        try:
            replica = self._spare.pop()
        except IndexError:
            replica = Replica(self._pristine.module, self.device)
        try:
            yield replica
        finally:
            replica.release()
            self._spare.append(replica)

    def _prepare(self, replica: Replica, batchnorm: str) -> None:
        """Eval mode, and the BatchNorm mode's statistics for the parameters that are in place."""
        if any(part.training for part in replica.module.modules()):
            replica.module.eval()
        if batchnorm == "recalibrate":
            with cumulative_statistics(replica.batchnorms), torch.no_grad():
                for batch, _ in self.train:
                    self.visit(replica.module, batch)
        elif batchnorm == "batch":
            for layer in replica.batchnorms:
                layer.train()  # uses the batch's statistics; the running ones it updates are ours and never read

    def _show(self, replica: Replica, state: State, own: Iterable[str] = ()) -> None:
        """Give the replica a point; a model that writes into its weights somewhere must not write into the state's.

        Only a large one, tried and found not to at its own point, is trusted, because a copy would be one model more.
        """
        trusted = not self._changes_itself and sum(p.nbytes for p in state.parameters.values()) >= _LARGE
        replica.show(state, own if trusted else replica.parameters)

    def _measure(self, replica: Replica, batchnorm: str, data: Iterable[tuple[Any, int]]) -> dict[str, float]:
        self._prepare(replica, batchnorm)
        totals = torch.zeros(len(self.names), dtype=torch.float64, device=self.device)
        for batch, size in data:
            totals += size * torch.stack(
                [v.to(self.device, torch.float64) for v in self.values(replica.module, batch).values()]
            )
        return dict(zip(self.names, (totals / self.samples).tolist(), strict=True))

    def _begin(self, functions: Mapping[str, Metric]) -> None:
        """Try the functions on a private copy of the module, and keep it."""
        replica = Replica(self.module, self.device)
        observed = observe(replica.module)
        with random_state_kept():
            self._measures, tried = self._probe(functions, replica.module)
            self.names = self._check_names(replica.module, tried)
        self._changes_itself = not all(  # a forward pass that clips or projects its own weights
            torch.equal(replica.parameters[name], p.to(self.device)) for name, p in self.module.named_parameters()
        )
        with random_state_kept():
            watching, acting = settle(observed, lambda: self._elsewhere(replica))
        told = {
            "shared with the model": list(replica.shared),
            "hooks left out": [*(each.label for each in watching), *backward_hooks(self.module)],
            "hooks that take part": [each.label for each in acting],
            "weights that are no parameters": [told for told, _ in hidden_weights(self.module)],
        }
        self._told = {what: names for what, names in told.items() if names}
        replica.release()
        self._spare: list[Replica] = []
        self._pristine = replica  # the user's module may change; what is copied from now on does not
        self.plans: dict[Any, Any] = {}  # what sampling finds out about the fastest way to evaluate it

    def _probe(
        self, functions: Mapping[str, Metric], module: nn.Module
    ) -> tuple[dict[str, Measured], dict[str, Tensor]]:
        """Which form each metric has, by its argument names or else by trying it on the first batch; and its value."""
        tried = {name: Measured.of(name, f, module, next(iter(self.data))[0]) for name, f in functions.items()}
        measures = {name: measure for name, (measure, _) in tried.items()}
        return measures, one_number_each({name: value for name, (_, value) in tried.items()})

    def _elsewhere(self, replica: Replica) -> str:
        """The values of the first batch where no weight is the model's own, or what goes wrong there."""
        replica.show(State.of(self.module), own=replica.parameters)
        for name in self.space.moved:
            replica.coordinates[name].mul_(1.25).add_(0.01)
        try:
            return repr({n: v.item() for n, v in self.values(replica.module, next(iter(self.data))[0]).items()})
        except Exception as error:  # whatever the model says when something is missing
            return repr(error)

    def _check_names(self, module: nn.Module, first: Mapping[str, Tensor]) -> tuple[str, ...]:
        second = self.values(module, next(iter(self.data))[0])
        if "loss" not in first:
            raise ValueError(
                f"Objective: loss must return a number or a dict with the key 'loss', got keys {list(first)}. "
                "Rename one."
            )
        for name, value in first.items():
            if not same_but_rounding(value, second[name]):
                raise ValueError(
                    f"Objective: model and loss must be deterministic in eval mode, got {name} = "
                    f"{value.item():.9g} and then "
                    f"{second[name].item():.9g} on the same batch. Switch off the dropout or sampling that stays "
                    "on in eval()."
                )
        return tuple(first)


class FunctionObjective(Objective):
    """An analytic objective; made by `Objective.from_function`."""

    def __init__(
        self, f: Callable[[Tensor], Tensor | Mapping[str, Tensor]], dim: int, names: Iterable[str] | None = None
    ) -> None:
        """Try the function on one point."""
        self.coordinate_names: tuple[str, ...] | None = tuple(names) if names is not None else None
        if self.coordinate_names is not None and len(self.coordinate_names) != dim:
            raise ValueError(
                f"Objective.from_function: names must hold {dim} names, got {len(self.coordinate_names)}. Give "
                "one for each coordinate."
            )
        self.function = f
        self.space = ParameterSpace.of_vector(dim)
        self.batchnorm = None
        self.device = torch.device("cpu")
        self.test = None
        self.split = "data"
        self.plans = {}
        self.names = tuple(self._call(torch.zeros(1, dim, dtype=torch.float64)))

    @property
    def samples(self) -> int:
        """There are no data."""
        return 0

    def resolve(self, between_models: bool) -> str:
        """Always "none"."""
        return "none"

    def evaluate(
        self, basis: Basis, coefficients: Iterable[NDArray[np.float64]], *, batchnorm: str = "none"
    ) -> Generator[dict[str, float], None, None]:
        """Values at every point, computed many at once."""
        vectors = torch.stack([v[VECTOR] for v in basis.vectors])
        for chunk in torch.as_tensor(np.asarray(list(coefficients))).split(_CHUNK):
            values = self._call(chunk @ vectors)
            for i in range(len(chunk)):
                yield {name: float(value[i]) for name, value in values.items()}

    def measure(self, source: Source, batchnorm: str = "none") -> dict[str, float]:
        """Values at one point, a vector of shape (dim,)."""
        point = self.space.select(State.of(source)).parameters[VECTOR]
        return {name: float(value[0]) for name, value in self._call(point[None]).items()}

    def model_at(self, state: State, batchnorm: str = "none") -> nn.Module:
        """There is no model to return."""
        raise TypeError(
            "Objective.model_at: an analytic objective has no model. Use subspace.point(coordinates) instead."
        )

    def provenance(self) -> dict[str, Any]:
        """What was evaluated, as plain values."""
        return {
            "function": getattr(self.function, "__name__", "function"),
            "dim": self.space.size,
            "metrics": list(self.names),
        }

    def _call(self, points: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            found = self.function(points)
        values = dict(found) if isinstance(found, Mapping) else {"loss": found}
        for name, value in values.items():
            if not isinstance(value, Tensor) or value.shape != (len(points),) or value.is_complex():
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    f"Objective.from_function: f must return real values of shape ({len(points)},) for points of shape "
                    f"{tuple(points.shape)}, got {got} for {name!r}. Reduce over dim=1 only."
                )
        return {name: value.double() for name, value in values.items()}


def _device_of(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
