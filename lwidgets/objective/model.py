"""A model, its data, a loss and further metrics, evaluated at any parameter point."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from lwidgets.basis import Basis
from lwidgets.batch import mapped
from lwidgets.batchnorm import BATCHNORM_MODES, BatchNormMode, cumulative_statistics, resolve_batchnorm
from lwidgets.checkpoints import is_counter
from lwidgets.data import Batches, Copies, Weight, readings
from lwidgets.failures import contextmanager
from lwidgets.hooks import backward_hooks, observe, settle
from lwidgets.means import settled, uncompared
from lwidgets.measures import (
    Measured,
    Metric,
    Trial,
    call,
    count_of,
    in_order,
    inputs_of,
    modules_reached,
    one_number_each,
    same_but_rounding,
    together,
)
from lwidgets.noise import on_main_thread, private_noise, shared_kept
from lwidgets.objective.base import UNLIKELY, LossAt, Objective, loss_in
from lwidgets.parameters import ParameterSpace, Source, State, as_held
from lwidgets.pauses import pause
from lwidgets.replica import Replica, private_copy
from lwidgets.wrappers import hidden_weights, refuse_uncopyable, unwrapped

T = TypeVar("T")

_LARGE = 1 << 28  # bytes of parameters from which on they are not copied where they can be shown as they are
_STIRRED = (0.1, 1.0, 1.0)  # by which share parameters are changed, until the loss changes with them
_SMALL = 0.01  # what is added to their size for it, as zeros must change, too
_OWN_GENERATORS = "np.random.default_rng(0), random.Random(0) or torch.Generator().manual_seed(0)"


class ModelObjective(Objective, door="model"):
    """A model, its data, a loss and further metrics, evaluated at any parameter point; made by `Objective`.

    The user's module is never touched: points are written into private copies, in eval mode. Hooks that only watch are
    left out of these, and what cannot be copied, such as a trainer or an open file, is shared with them: `provenance`
    names both. Data are read once, kept, and weighted by sample; losses are accumulated in float64.
    """

    has_model = True
    test: ModelObjective | None
    _untied: Self | None = None  # made when it is first asked for

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        *,
        loss: Metric,
        metrics: Mapping[str, Metric] | None = None,
        weight: Weight | None = None,
        batchnorm: BatchNormMode | None = None,
        params: str | Iterable[str] | None = None,
        device: str | torch.device | None = None,
        test: Any = None,
    ) -> None:
        """Read the data and try the loss once; arguments, errors and warnings are those of `Objective`."""
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
        self.shared: tuple[str, ...] = ()
        self._measures: dict[str, Measured] = {}
        self.weight = weight
        self.data: Batches
        self.train: Batches
        self._read(data, {"loss": loss, **(metrics or {})})
        self.split = "data" if test is None else "train"
        self.test = None if test is None else self.on(test, split="test")

    def __getstate__(self) -> dict[str, Any]:
        """For another process: all but private copies, which are made where they are needed, and test data."""
        return {**vars(self), "_spare": [], "test": None, "_untied": None}

    def _variant(self) -> Self:
        """Another objective that begins with all that this one knows, to be changed before anybody sees it.

        What sampling finds out about the fastest way to evaluate (`plans_of`) belongs to one objective, so that another
        shares none of it: a graph has the batches in it that it was traced for.
        """
        other = object.__new__(type(self))
        vars(other).update(vars(self), test=None, _untied=None)
        return other

    def on(self, data: Any, split: str = "data") -> Self:
        """As `Objective.on`."""
        other = self._variant()
        other.split = split
        other.data = other._settled(Batches.of(data, self.device, None if isinstance(data, Batches) else self.weight))
        return other

    def with_model(self, model: nn.Module, *, batchnorm: BatchNormMode | None = None) -> Self:
        """As `Objective.with_model`."""
        other = self._variant()
        other.module, other.batchnorm = unwrapped(model), batchnorm or self.batchnorm
        space = ParameterSpace.of_module(model, "*", refuse=False)
        stay = self.space.shapes.keys() - set(self.space.moved)
        moved = tuple(name for name in space.moved if name not in stay)
        other.space = replace(space, moved=moved, frozen=self.space.frozen.intersection(space.shapes))
        other._begin({name: measure.given for name, measure in self._measures.items()})
        other.test = None if self.test is None else self.test.with_model(model, batchnorm=batchnorm)
        return other

    def untied(self) -> Self:
        """The same objective with tied tensors apart, which then move each by itself; the same one every time.

        For models of one architecture of which some tie their head to the embedding and some do not. `sample`,
        `measure` and `CurveExplorer` use it by themselves where a model has different tensors for tied names.

        Raises:
            ValueError: They cannot be told apart, because a whole module is used twice.

        Example:
            >>> a, b = nn.Linear(2, 2), nn.Linear(2, 2)
            >>> b.weight = a.weight
            >>> tied = Objective(nn.Sequential(a, b), (torch.ones(4, 2), torch.ones(4, 2)), loss=nn.functional.mse_loss)
            >>> tied, tied.untied()
            (Objective(Sequential: loss; 8 numbers move), Objective(Sequential: loss; 12 numbers move))
        """
        if self._untied is None and self.space.aliases:
            module = self.model_at(State.of(self.module))
            for alias in self.space.aliases:
                path, _, name = alias.rpartition(".")
                own = module.get_parameter(alias)
                setattr(module.get_submodule(path), name, nn.Parameter(own.detach().clone(), own.requires_grad))
            other = self.with_model(module)
            if other.space.aliases:
                tied = next(iter(other.space.aliases))
                raise ValueError(
                    f"Objective.untied: tied tensors must have places of their own, got {tied!r} in a module "
                    "that is used twice. Copy it in the model: copy.deepcopy."
                )
            still = self.space.shapes.keys() - set(self.space.moved)
            moved = (n for n in other.space.shapes if self.space.aliases.get(n, n) not in still)
            other.space = replace(other.space, moved=tuple(moved))
            self._untied = other
        untied: Self = self._untied or self
        return untied

    def part(self, samples: int) -> Self | None:
        """The same objective on a fixed, stratified part of its data; BatchNorm is recalibrated on that part, too.

        Returns:
            None when the data cannot be divided into samples, or when that would change the loss.
        """
        data = self.divisible().part(samples)
        if data is None:
            return None
        other = self.on(data, self.split)
        other.train = data
        return other

    def divisible(self) -> Batches:
        """The data, after a look at whether the loss stays as it is when they are divided into samples."""
        if self.data.additive is None:
            own, self.data = self.data, self._settled(self.data, look=True)
            self.train = self.data if self.train is own else self.train
        return self.data

    def values(self, module: nn.Module, batch: Any) -> dict[str, Tensor]:
        """All metrics on one batch, 0-d tensors; the model's output is computed once for all that take it.

        Args:
            module: The model, at whatever point it is.
            batch: One of ``data``'s.
        """
        return in_order(one_number_each(self._call(module, batch)), self.names)

    def _call(self, module: nn.Module, batch: Any, names: Iterable[str] | None = None) -> dict[str, Any]:
        """What loss and metrics return, all or those named; a model may write into its batch, so none is shared."""
        output = cache(lambda: module(inputs_of(batch)))
        chosen = self._measures if names is None else {name: self._measures[name] for name in names}
        alone = len(chosen) == 1
        given = {n: batch if alone or not m.takes_model else mapped(batch, Tensor.clone) for n, m in chosen.items()}
        return {name: call(measure, module, given[name], output) for name, measure in chosen.items()}

    def visit(self, module: nn.Module, batch: Any) -> None:
        """One forward pass over a training batch, through the loss where only it knows how to call the model."""
        loss = self._measures["loss"]
        if loss.takes_model:
            with torch.enable_grad():
                loss.function(module, batch)
        else:
            module(inputs_of(batch))

    def resolve(self, between_models: bool) -> str:
        """As `Objective.resolve`."""
        return resolve_batchnorm(self.batchnorm, self.module, between_models=between_models)

    def evaluate(
        self, basis: Basis, coefficients: Iterable[NDArray[np.float64]], *, batchnorm: str = "frozen"
    ) -> Generator[dict[str, float], None, None]:
        """As `Objective.evaluate`."""
        moving = set(basis.moving)
        data = Copies(self.data)
        with self.replica() as replica:
            writable = False
            for row in coefficients:
                vector = basis.vector_at(row)
                if vector is not None:  # it is there already, and need not be copied
                    zero = torch.zeros_like
                    own = {n: vector[n] if n in vector else zero(basis.origin.parameters[n]) for n in moving}
                    self._show(replica, basis.origin.with_parameters(own, "point"))
                else:
                    if not writable or self._changes_itself:
                        self._show(replica, basis.origin, moving)
                    basis.combine(row, replica.coordinates)
                writable = vector is None
                yield self._measure(replica, batchnorm, data)

    def measure(self, source: Source, batchnorm: str = "frozen") -> dict[str, float]:
        """Metrics of one model: a module, state dict, checkpoint or State of this architecture.

        With "frozen" its own BatchNorm statistics are used, so a grid point that is the model must agree to the last
        bit of float32. What a file of an adapter or a head lacks is this objective's model's.

        Warns:
            UserWarning: The source has none of the BatchNorm statistics that are read.
        """
        given = State.of(source)
        objective, state = self.suited(lambda objective: objective.space.select(given))
        taken = state.borrowed.keys() - given.borrowed.keys()
        lacking = sorted(n for n in taken & objective.space.statistics if not is_counter(n))
        if lacking and batchnorm == "frozen":
            warnings.warn(
                f"Objective.measure: {given.label} has no BatchNorm statistics ({lacking[0]}), and the model's own "
                'are read. Pass a state dict with buffers, or measure(source, "recalibrate").',
                UserWarning,
                stacklevel=2,
            )
        with objective.replica() as replica:
            objective._show(replica, state)
            return objective._measure(replica, batchnorm, objective.data)

    def model_at(self, state: State, batchnorm: str = "frozen") -> nn.Module:
        """As `Objective.model_at`."""
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
            **({} if self.data.weights == tuple(map(float, self.data.sizes)) else {"weight": self.data.total}),
            "data": self.data.fingerprint,
            "device": str(self.device),
            "dtype": sorted({str(self.space.dtypes[name]).removeprefix("torch.") for name in self.space.moved}),
            "torch": torch.__version__,
            **({"without effect": list(self.without_effect)} if self.without_effect else {}),
        }

    @property
    def samples(self) -> int:
        """In the data; 0 where there are none."""
        return len(self.data)

    @property
    def reads(self) -> tuple[Any, ...]:
        """The loss and the metrics, and how each is called."""
        return tuple((measure.takes_model, measure.function) for measure in self._measures.values())

    def data_read(self, batchnorm: str) -> tuple[Batches, ...]:
        """As `Objective.data_read`."""
        return (self.data, self.train) if batchnorm == "recalibrate" else (self.data,)

    @property
    def batches(self) -> Batches:
        """The data; what iterating yields are copies."""
        return self.data

    @property
    def loss(self) -> Measured:
        """The loss, and the form it has."""
        return self._measures["loss"]

    def loss_at(self, origin: State, batchnorm: str) -> LossAt:
        """As `Objective.loss_at`."""
        called = _Called(self.model_at(origin), self.loss)
        if batchnorm == "batch":
            for part in called.modules():
                part.train(isinstance(part, _BatchNorm))
        return called.at

    def mini_batches(self, size: int, rng: np.random.Generator) -> Iterator[Any]:
        """As `Objective.mini_batches`."""
        data = self.divisible()
        shares = np.array(data.weights) / data.total
        while True:
            i = int(rng.choice(len(shares), p=shares))
            batch, count = data.batches[i], data.sizes[i]
            if data.cut is not None and data.additive:
                yield data.cut.take(batch, rng.permutation(count)[:size].tolist())
            else:
                yield mapped(batch, Tensor.clone)

    def examples(self, count: int) -> Iterator[Any]:
        """As `Objective.examples`."""
        part = self.part(count)
        data = self.divisible() if part is None else part.data
        cut = data.cut if part is not None or data.additive else None
        places = [
            (batch, i)
            for batch, size, weight in zip(data.batches, data.sizes, data.weights, strict=True)
            if weight
            for i in (range(size) if cut is not None else [-1])
        ]
        for place in torch.linspace(0, len(places) - 1, min(count, len(places))).round().long().tolist():
            batch, i = places[place]
            yield mapped(batch, Tensor.clone) if cut is None else cut.take(batch, [i])

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
                    pause()
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

    def _measure(self, replica: Replica, batchnorm: str, data: Iterable[tuple[Any, float]]) -> dict[str, float]:
        self._prepare(replica, batchnorm)
        totals = torch.zeros(len(self.names), dtype=torch.float64, device=self.device)
        for batch, weight in data:
            pause()
            if weight:  # a mean over no tokens is not a number, and counts nothing
                totals += weight * torch.stack(
                    [v.to(self.device, torch.float64) for v in self.values(replica.module, batch).values()]
                )
        return dict(zip(self.names, (totals / self.data.total).tolist(), strict=True))

    def _read(self, data: Any, functions: Mapping[str, Metric]) -> None:
        """The data in the first reading that model and loss can take."""
        dtype = next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)
        failure: TypeError | None = None
        for reading in readings(data, self.device, self.weight, dtype):
            self.data = self.train = reading  # BatchNorm is recalibrated on these; a test objective keeps them
            try:
                self._begin(functions)
            except TypeError as error:
                failure = failure or error
            else:
                self.data = self.train = self._settled(reading)
                return
        assert failure is not None
        raise failure

    def _settled(self, data: Batches, *, look: bool = False) -> Batches:
        """The data with weights that agree with the loss; a single batch needs none until it shall be divided."""
        if data.additive is not None or (len(data.batches) == 1 and not look):
            return data
        with self.replica() as replica:
            self._show(replica, self.space.select(State.of(self.module)))
            self._prepare(replica, "none")

            def count(batch: Any) -> float:
                return float(count_of(self._call(replica.module, batch, ["loss"])["loss"]) or 0)

            counts = self.weight if callable(self.weight) else None
            if count_of(self._call(replica.module, next(iter(data))[0], ["loss"])["loss"]) is not None:
                counts = count
                data = data.weighing(count)
            if self._measures["loss"].draws:
                return uncompared(data, known=counts is not None or self.weight is not None)
            data, said = settled(
                data,
                lambda batch: self.values(replica.module, batch),
                replica.module,
                told=self.weight is not None and not callable(self.weight),
                count=counts,
                loss=self._measures["loss"].function,
            )
        if said:
            warnings.warn(said, UserWarning, stacklevel=4)
        return data

    def _begin(self, functions: Mapping[str, Metric]) -> None:
        """Try the functions on a private copy of the module, and keep it."""
        replica = Replica(self.module, self.device)
        observed = observe(replica.module)
        with shared_kept(seed=UNLIKELY) if on_main_thread() else nullcontext(self.shared) as changed:
            first, second, drawn = self._probe(functions, replica.module)
        self.shared = tuple(changed)
        self._check(first, second, drawn)
        self.names = tuple(first)
        self._changes_itself = not all(  # a forward pass that clips or projects its own weights
            torch.equal(replica.parameters[name], p.to(self.device)) for name, p in self.module.named_parameters()
        )
        if self.shared:
            self._measures = {name: measure.shared(self.shared) for name, measure in self._measures.items()}
        watching, acting = settle(observed, lambda: self._elsewhere(replica))
        told = {
            "shared with the model": list(replica.shared),
            "hooks left out": [*(each.label for each in watching), *backward_hooks(self.module)],
            "hooks that take part": [each.label for each in acting],
            "weights that are no parameters": [told for told, _ in hidden_weights(self.module)],
        }
        self._told = {what: names for what, names in told.items() if names}
        self.without_effect = self._unmoved(replica, first)
        replica.release()
        self._untied = None
        self._spare: list[Replica] = []
        self._pristine = replica  # the user's module may change; what is copied from now on does not

    def _probe(
        self, functions: Mapping[str, Metric], module: nn.Module
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
        """Which form each metric has; its values in two calls; and by which operations they drew."""
        trained = frozenset(name for name, p in self.module.named_parameters() if p.requires_grad)
        moved = frozenset(self.space.moved)
        trials = {name: Trial.of(name, f, module, self._first_batch, trained, moved) for name, f in functions.items()}
        self._measures = {name: trial.measure for name, trial in trials.items()}
        first = together(trial.first for trial in trials.values())
        others = [name for name, trial in trials.items() if trial.second is None]
        rest = one_number_each(self._call(module, self._first_batch(), others))
        second = together([*(trial.second for trial in trials.values() if trial.second is not None), rest])
        return first, second, [name for trial in trials.values() for name in trial.drawn]

    def _elsewhere(self, replica: Replica) -> str:
        """The values of the first batch where no weight is the model's own, or what goes wrong there."""
        replica.show(State.of(self.module), own=replica.parameters)
        for name in self.space.moved:
            replica.coordinates[name].mul_(1.25).add_(0.01)
        try:
            return repr({n: v.item() for n, v in self.values(replica.module, next(iter(self.data))[0]).items()})
        except Exception as error:  # whatever the model says when something is missing
            return repr(error)

    def _first_batch(self) -> Any:
        """A copy of its own."""
        return next(iter(self.data))[0]

    def _check(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor], drawn: list[str]) -> None:
        if "loss" not in first:
            raise ValueError(
                f"Objective: loss must return a number or a dict with the key 'loss', got keys {list(first)}. "
                "Rename one."
            )
        in_order(second, tuple(first))
        for name, value in first.items():
            if not same_but_rounding(value, second[name]):
                raise ValueError(
                    f"Objective: model and loss must be deterministic in eval mode, got {name} = "
                    f"{value.item():.9g} and then {second[name].item():.9g} on the same batch. "
                    f"{_way_to_determinism(name, drawn, self.shared)}"
                )

    def _unmoved(self, replica: Replica, first: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Loss and metrics that are the same to the last bit when all that moves is changed; warns of a loss."""
        unmoved = [name for name, value in first.items() if value.isfinite()]
        try:
            for seed, share in enumerate(_STIRRED):
                if not unmoved:
                    return ()
                with torch.no_grad(), private_noise(seed):
                    for parameter in (replica.parameters[name] for name in self.space.moved):
                        noise = 2 * torch.rand_like(parameter) - 1
                        parameter.add_(noise * (parameter.abs() + _SMALL), alpha=share)
                found = self.values(replica.module, self._first_batch())
                unmoved = [name for name in unmoved if torch.equal(found[name], first[name])]
        except Exception:  # another point may be out of bounds, which shows that it matters
            return ()
        if "loss" in unmoved:
            warnings.warn(self._unmoved_told(first["loss"].item()), stacklevel=4)
        return tuple(unmoved)

    def _unmoved_told(self, value: float) -> str:
        moved = [repr(name) for name in self.space.moved]
        modules = modules_reached(self._measures["loss"].given)
        if modules:
            uses = ", ".join(f"{name} ({type(module).__name__})" for name, module in modules.items())
            advice = (
                f"It uses {uses} from outside of it. Write loss(model, batch), and call the model that it is given, "
                "whose parameters are those of the point."
            )
        elif len(moved) < len(self.space.shapes):
            advice = "Let other parameters move by params=, or check that the model uses these."
        else:
            advice = "Check that it uses its model's output, and not a constant, a copy or the target alone."
        return (
            f"Objective: loss must depend on what moves, got {value:.6g} at the model and again when "
            f"{', '.join(moved[:4])}{f' and {len(moved) - 4} more' if len(moved) > 4 else ''} were changed. {advice}"
        )


def _way_to_determinism(name: str, drawn: list[str], shared: tuple[str, ...]) -> str:
    """What to do about a loss or metric that is different every time."""
    advice = []
    if shared:
        advice.append(
            f"It uses {', '.join(shared)}. Draw from a generator made in the loss, {_OWN_GENERATORS}, or make the "
            "noise part of the data."
        )
    if drawn:
        frozen = "loss=lw.frozen_noise(loss, seed=0)" if name == "loss" else f"lw.frozen_noise({name}, seed=0)"
        advice.append(
            f"It draws random numbers ({', '.join(dict.fromkeys(drawn))}). Draw the same ones at every point by "
            f"{frozen}, which freezes those of the model, too; or draw by generator=torch.Generator().manual_seed(0), "
            "made in the loss; or make the noise part of the data; or switch off a dropout that stays on in eval()."
        )
    return " ".join(advice) or "Switch off what changes from call to call: a dropout, a counter, a clock, a cache."


class _Called(nn.Module):
    """A model and its loss in one, so that a loss that calls the model itself meets the tensors of the call."""

    def __init__(self, model: nn.Module, loss: Measured) -> None:
        super().__init__()
        self.model = model
        self._like = dict(model.named_parameters())
        self.loss = loss

    def at(self, parameters: Mapping[str, Tensor], batch: Any) -> Tensor:
        held = {f"model.{name}": as_held(tensor, self._like[name]) for name, tensor in parameters.items()}
        return loss_in(functional_call(self, held, (batch,)))

    def forward(self, batch: Any) -> Any:
        if self.loss.takes_model:
            return self.loss.function(self.model, batch)
        return self.loss.function(self.model(batch[0]), batch[1])


def modelled(objective: Objective, asking: str) -> ModelObjective:
    """The objective, which must be a model's.

    Args:
        objective: Any.
        asking: Who needs a model, for the error.

    Raises:
        ValueError: It has no model.
    """
    if not isinstance(objective, ModelObjective):
        got = "an analytic one" if objective.at_once else f"a {type(objective).__name__}"
        raise ValueError(f"{asking}: objective must have a model, got {got}. Use Objective(model, data).")
    return objective


def _device_of(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
