"""Losses and metrics as they are called: the form each has, and what it returned as one number for each name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lwidgets.batch import leaves
from lwidgets.noise import FrozenNoise, PrivateNoise, Shared, name_of, private_noise

Metric = Callable[..., Any]
"""``metric(output, target)`` or ``metric(model, batch)``, a mean over the batch as a 0-d tensor."""

_ROUNDING = 8  # times the machine epsilon, relative: two sums of the same numbers in another order
_MOST = 1e-3  # relative: more is no rounding, in whatever precision
_SEEDS = (0, 1)  # a loss that seeds its draws itself gives the same after either
_DEEP = 3  # calls within calls in which a module is looked for


@dataclass(frozen=True)
class Measured:
    """A loss or metric and the form it has.

    Attributes:
        given: As the user gave it.
        function: What is called in its place: with noise of its own where it draws, with parameters that require
            gradients where it differentiates.
        takes_model: Whether ``function`` takes (model, batch) or (output, target).
    """

    given: Metric
    function: Metric
    takes_model: bool

    @property
    def label(self) -> str:
        """For provenance: its name, and whose noise it has."""
        noise = f", noise of seed {self.given.seed}" if isinstance(self.given, FrozenNoise) else ""
        return name_of(self.given) + noise

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers, its own or the process's: then parts of a batch have other noise than it."""
        function: Any = self.function
        while not isinstance(function, FrozenNoise | Shared):
            if not isinstance(function, ThroughModel | Differentiated):
                return False
            function = function.function
        return True

    def through_model(self) -> Measured:
        """The same as a function of (model, batch)."""
        return self if self.takes_model else replace(self, function=ThroughModel(self.function), takes_model=True)

    def shared(self, generators: tuple[str, ...]) -> Measured:
        """The same for one that uses the process's generators: they are put back after every call."""
        measure = self.through_model()
        return replace(measure, function=Shared(measure.function, generators))


@dataclass(frozen=True)
class Trial:
    """What came of calling a loss or metric at the model's own parameters.

    Attributes:
        measure: The form that works.
        first: What it returned, by name.
        second: What it returned when it was called again; None where it has not been.
        drawn: Operations by which it drew random numbers.
    """

    measure: Measured
    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor] | None
    drawn: tuple[str, ...]

    @classmethod
    def of(
        cls,
        name: str,
        given: Metric,
        module: nn.Module,
        batch: Callable[[], Any],
        trained: frozenset[str],
        moved: frozenset[str],
    ) -> Trial:
        """Try the forms that come into question, by argument names or else by what works.

        Args:
            name: Of the metric.
            given: By the user.
            module: A copy of the model, whose parameters require no gradients.
            batch: Gives the first one, a new copy for every call, because a model may write into it.
            trained: Parameters that require gradients in the user's model.
            moved: Those that will move.

        Raises:
            TypeError: No form works.
            ValueError: What it returned is not one number.
        """
        if not callable(given):
            raise TypeError(
                f"Objective: {name} must be a function of (output, target) or of (model, batch), got "
                f"{type(given).__name__}. {_advice(given, module, batch())}Pass for example loss=F.cross_entropy."
            )
        module.eval()
        failures: dict[bool, Exception] = {}
        for watched in (True, False):  # what cannot be watched works all the same
            for takes_model in _forms(given, batch()):
                for measure in _candidates(given, takes_model, trained, moved):
                    unseen = nullcontext(PrivateNoise(_SEEDS[0]))
                    try:
                        with private_noise(_SEEDS[0]) if watched else unseen as noise:
                            value = _called(measure, module, batch())
                    except Exception as error:
                        failures.setdefault(takes_model, error)
                    else:
                        return cls._again(name, measure, module, batch, numbers(name, value), noise)
        told = "; ".join(
            f"as {name_of(given)}({'model, batch' if takes_model else 'output, target'}): {type(error).__name__}: "
            f"{str(error)[:300]}"
            for takes_model, error in failures.items()
        )
        raise TypeError(
            f"Objective: {name} must work as loss(output, target) or as loss(model, batch) on the first batch, "
            f"got {told}. {_advice(given, module, batch())}{_other_dtypes(module, batch())}"
            "Call it by hand on one batch to see the whole traceback."
        ) from next(iter(failures.values()))

    @classmethod
    def _again(
        cls,
        name: str,
        measure: Measured,
        module: nn.Module,
        batch: Callable[[], Any],
        first: Mapping[str, Tensor],
        noise: PrivateNoise,
    ) -> Trial:
        """With noise of its own if it drew any, and without gradients by the parameters if these make no difference."""

        def call(measure: Measured, seed: int) -> tuple[Measured, Mapping[str, Tensor]]:
            if noise.used:
                measure = measure.through_model()
                measure = replace(measure, function=FrozenNoise(measure.function, seed))
            return measure, numbers(name, _called(measure, module, batch()))

        trial = partial(cls, first=first, drawn=tuple(noise.drawn))
        if isinstance(measure.function, Differentiated):
            cheaper = replace(measure, function=measure.function.function)
            try:
                chosen, second = call(cheaper, _SEEDS[1])
                if second.keys() == first.keys() and all(same_but_rounding(first[key], second[key]) for key in first):
                    return trial(measure=chosen, second=second)
            except Exception:
                pass  # it cannot do without, and is called as before
        elif not noise.used:
            return trial(measure=measure, second=None)
        chosen, second = call(measure, _SEEDS[1])
        return trial(measure=chosen, second=second)


@dataclass(frozen=True)
class ThroughModel:
    """``loss(output, target)`` as ``loss(model, batch)``."""

    function: Metric

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        """What the loss makes of the model's output."""
        return self.function(model(inputs_of(batch)), target_of(batch))


@dataclass(frozen=True)
class Differentiated:
    """A function of a model that differentiates by its parameters, or asks which of them require gradients.

    Our copies require none, so that no graph is built; for such a function they do while it is called.

    Attributes:
        function: Of (model, batch).
        names: Of the parameters.
    """

    function: Metric
    names: frozenset[str]

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        """What the function returns; no gradient is left behind."""
        named = model.named_parameters()
        marked = [p for name, p in named if name in self.names and not p.requires_grad]
        for parameter in marked:
            parameter.requires_grad_(True)
        try:
            return self.function(model, batch)
        finally:
            for parameter in marked:
                parameter.requires_grad_(False)
                parameter.grad = None


def call(measure: Measured, module: nn.Module, batch: Any, output: Callable[[], Any]) -> Any:
    """What a loss or metric returns.

    Args:
        measure: Its form.
        module: The model.
        batch: What both are given.
        output: The model's, computed when it is asked for.
    """
    if measure.takes_model:
        with torch.enable_grad():  # a physics-informed loss differentiates the output by its input
            return measure.function(module, batch)
    with torch.no_grad():
        return measure.function(output(), target_of(batch))


def _called(measure: Measured, module: nn.Module, batch: Any) -> Any:
    return call(measure, module, batch, lambda: module(inputs_of(batch)))


def _forms(given: Metric, batch: Any) -> tuple[bool, ...]:
    """Whether it may take the model, in the order in which to try."""
    if not _is_pair(batch):
        return (True,)
    return (True, False) if _first_argument(given) in ("model", "module", "net", "network") else (False, True)


def _candidates(given: Metric, takes_model: bool, trained: frozenset[str], moved: frozenset[str]) -> Iterator[Measured]:
    """Ways to call it in a form: first with gradients as in the user's model, then without, then by all that moves."""
    if not takes_model and isinstance(given, FrozenNoise):  # the forward pass is frozen with it
        yield Measured(given, replace(given, function=ThroughModel(given.function)), True)
    elif not takes_model:
        yield Measured(given, given, False)
    else:
        if trained:
            yield Measured(given, Differentiated(given, trained), True)
        yield Measured(given, given, True)
        if moved - trained:
            yield Measured(given, Differentiated(given, trained | moved), True)


def _advice(given: Metric, module: nn.Module, batch: Any) -> str:
    """What to do about a loss that works in no form, as far as data and output show it."""
    name = name_of(given)
    if isinstance(batch, Mapping):
        return "A batch of keywords is passed on by loss=lambda model, batch: model(**batch).loss. "
    if isinstance(batch, Tensor):
        return "A pair of tensors must be the tuple (X, y), not a list. "
    if not _is_pair(batch):
        return ""
    try:
        with private_noise(), torch.no_grad():
            output = module(inputs_of(batch))
    except Exception:
        return ""
    if isinstance(output, Tensor):
        return ""
    keys = list(output) if isinstance(output, Mapping) else [f.lstrip("_") for f in getattr(output, "_fields", ())]
    wanted = next((key for key in ("logits", "out", "prediction", "last_hidden_state") if key in keys), None)
    wanted = wanted or next(iter(keys), None)
    plain = type(output) is dict or (isinstance(output, Mapping) and not hasattr(output, str(wanted)))
    part = "[0]" if wanted is None else f"[{wanted!r}]" if plain else f".{wanted}"
    contents = f" of {', '.join(map(str, keys))}" if keys else ""
    return (
        f"The model returns a {type(output).__name__}{contents}: give the loss what it wants of it, for example "
        f"loss=lambda output, target: {name}(output{part}, target). "
    )


def _other_dtypes(module: nn.Module, batch: Any) -> str:
    """What to do about inputs that have another dtype than all of the model."""
    ours = {p.dtype for p in module.parameters() if p.is_floating_point()}
    theirs = {leaf.dtype for leaf in leaves(batch) if leaf.is_floating_point()} - ours
    if len(ours) != 1 or not theirs:
        return ""
    (wanted,) = ours
    return (
        f"The data hold {theirs.pop()} where the model's parameters are {wanted}: bring them to one dtype, with "
        f"X.to({wanted}) where they are made, or with model.to(dtype). "
    )


def same_but_rounding(a: Tensor, b: Tensor) -> bool:
    """Attention kernels and sums on an accelerator may add in another order the second time; dropout does more."""
    rounding = min(_ROUNDING * torch.finfo(a.dtype).eps, _MOST) if a.is_floating_point() else 0.0
    return bool(torch.isclose(a, b.to(a), rtol=rounding, atol=0.0, equal_nan=True).all())


def _first_argument(function: Metric) -> str | None:
    try:
        return next(iter(inspect.signature(function).parameters), None)
    except (TypeError, ValueError):  # built-in functions have no signature
        return None


def _is_pair(batch: Any) -> bool:
    return isinstance(batch, tuple | list) and len(batch) == 2


def inputs_of(batch: Any) -> Any:
    """What a model is called with, of a pair (inputs, target)."""
    return batch[0]


def target_of(batch: Any) -> Any:
    """What a metric compares the output with, of a pair (inputs, target)."""
    return batch[1]


def one_number_each(found: Mapping[str, Any]) -> dict[str, Tensor]:
    """What loss and metrics returned, as one number for each name; a loss may have returned several."""
    return together(numbers(name, value) for name, value in found.items())


def together(found: Any) -> dict[str, Tensor]:
    """Numbers by name in one dict.

    Args:
        found: A dict for each loss or metric.
    """
    values: dict[str, Tensor] = {}
    for each in found:
        for name, value in each.items():
            if name in values:
                raise ValueError(
                    f"Objective: metrics must not repeat {name!r}, a key of the loss's dict. Use another name."
                )
            values[name] = value
    if "loss" in values:  # wherever a dict has it, it comes first: the first metric decides
        values = {"loss": values.pop("loss"), **values}
    return values


def in_order(found: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Numbers in the order of the names, by which they are matched.

    Raises:
        ValueError: There is another name, or one is missing.
    """
    if found.keys() != set(names):
        new, missing = [n for n in found if n not in names], [n for n in names if n not in found]
        told = " and ".join(
            f"{what} {', '.join(map(repr, each))}" for what, each in (("new", new), ("no", missing)) if each
        )
        raise ValueError(
            f"Objective: loss must return the same names in every call, {', '.join(names)}, got {told}. "
            "Return every key at every point, float('nan') where it has no value."
        )
    return {name: found[name] for name in names}


def numbers(name: str, value: Any) -> dict[str, Tensor]:
    """What one loss or metric returned, as one number for each name.

    A loss may return a number; a dict of numbers with the key "loss"; an output with an attribute ``loss``, as models
    of Hugging Face do; or a tuple (loss, logs or outputs). Of outputs and logs, whatever is one number is a metric too.

    Args:
        name: Of the loss or metric.
        value: What it returned.

    Raises:
        ValueError: It is none of these; the message says what came and what to return.
    """
    if name == "loss" and isinstance(value, Mapping) and not hasattr(value, "loss"):
        return {str(key): _one_number(f"loss[{key!r}]", part) for key, part in value.items()}
    if name == "loss" and not isinstance(value, Tensor) and hasattr(value, "loss"):
        if value.loss is None:
            raise ValueError(
                f"Objective: loss must return one real number for a batch, got a {type(value).__name__} whose loss is "
                "None. Pass the labels to the model, as in model(**batch) with batch['labels']."
            )
        others = value if isinstance(value, Mapping) else {}
        return {"loss": _one_number(name, value.loss), **_numbers_among(others)}
    if (
        name == "loss"
        and count_of(value) is None
        and isinstance(value, tuple | list)
        and value
        and _is_number(value[0])
    ):
        if any(map(_is_number, value[1:])):
            raise ValueError(
                f"Objective: loss must return one real number for a batch, got {len(value)} of them in a "
                f"{type(value).__name__}. Return a dict such as {{'loss': a, 'other': b}} for several metrics, or "
                "(sum, count) with an integer count for a mean."
            )
        logs = next((part for part in value[1:] if isinstance(part, Mapping)), {})
        return {"loss": _one_number(name, value[0]), **_numbers_among(logs)}
    return {name: _one_number(name, value)}


def count_of(value: Any) -> int | None:
    """What a batch counts, of a loss that returned (sum, count); None for any other.

    >>> count_of((torch.tensor(7.5), 3)), count_of(torch.tensor(2.5))
    (3, None)
    """
    if not (isinstance(value, tuple) and len(value) == 2):
        return None
    count = value[1]
    whole = isinstance(count, Tensor) and not (count.ndim or count.is_floating_point() or count.is_complex())
    return int(count) if (whole and count.dtype != torch.bool) or type(count) is int else None


def _numbers_among(parts: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {str(k): _one_number(str(k), part) for k, part in parts.items() if k != "loss" and _is_number(part)}


def _is_number(value: Any) -> bool:
    number = _as_tensor(value)
    return number is not None and number.ndim == 0 and not number.is_complex()


def _as_tensor(value: Any) -> Tensor | None:
    """A tensor of what is one already, of NumPy's or of Python's; None of anything else."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return torch.as_tensor(value) if value.dtype.kind in "biufc" else None
    if isinstance(value, int):
        return torch.as_tensor(value)
    return torch.tensor(float(value), dtype=torch.float64) if isinstance(value, Real) else None


def _one_number(name: str, value: Any) -> Tensor:
    if count_of(value) is not None:
        value = torch.as_tensor(value[0]) / value[1]
    number = _as_tensor(value)
    if number is None:
        told = "Does it end without return?" if value is None else "Return loss.mean(), or a dict of numbers."
        raise ValueError(f"Objective: {name} must return one real number for a batch, got {_kind(value)}. {told}")
    if number.is_meta:
        raise ValueError(
            f"Objective: {name} must return one real number for a batch, got a tensor on the meta device, which has no "
            "value. Load the model's weights, and keep the data on a device."
        )
    if number.numel() != 1 or number.is_complex():
        raise ValueError(
            f"Objective: {name} must return one real number for a batch, got shape {tuple(number.shape)} of "
            f"{number.dtype}. Use reduction='mean', or take .mean()."
        )
    if number.layout is not torch.strided:
        number = number.to_dense()
    return number.detach().reshape(())


def _kind(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {', '.join(map(_kind, value[:4]))}{', ...' if len(value) > 4 else ''}"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"


def modules_reached(function: Any, depth: int = _DEEP) -> dict[str, nn.Module]:
    """Modules with parameters that a function uses without being given them, by the name that it has for them.

    Args:
        function: A loss.
        depth: How many calls and containers deep to look.
    """
    found: dict[str, nn.Module] = {}
    for name, thing in _named_in(function).items():
        if isinstance(thing, nn.Module):
            found |= {name: thing} if any(True for _ in thing.parameters()) else {}
        elif depth and callable(thing):
            found |= modules_reached(thing, depth - 1)
    return found


def _named_in(function: Any) -> dict[str, Any]:
    """What a function finds by name: globals, variables around it, defaults, attributes, and the entries of those."""
    function = inspect.unwrap(function)
    if isinstance(function, MethodType):
        own = {f"self.{name}": thing for name, thing in vars(function.__self__).items()}
        return {**own, **_named_in(function.__func__)}
    if isinstance(function, partial):
        found: dict[str, Any] = {"args": function.args, "func": function.func, **function.keywords}
    elif not isinstance(function, FunctionType):
        found = {**getattr(function, "__dict__", {}), "__call__": type(function).__call__}
    elif function.__module__.startswith("torch."):
        found = {}
    else:
        code, parameters = inspect.getclosurevars(function), inspect.signature(function).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        found = {**defaults, **code.globals, **code.nonlocals}
    entries = {
        f"{name}[{key!r}]": entry
        for name, thing in found.items()
        if isinstance(thing, dict | list | tuple)
        for key, entry in (thing.items() if isinstance(thing, dict) else enumerate(thing))
    }
    return {**found, **entries}
