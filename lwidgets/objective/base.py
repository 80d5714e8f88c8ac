"""What sampling, and whatever is right of it, needs of an objective; and the public doors to the siblings."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal, NoReturn, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwidgets.basis import Basis
from lwidgets.batchnorm import BatchNormMode
from lwidgets.checkpoints import Untied
from lwidgets.data import Batches, Weight
from lwidgets.measures import Metric, count_of
from lwidgets.parameters import ParameterSpace, Source, State

T = TypeVar("T")

LossAt = Callable[[Mapping[str, Tensor], Any], Tensor]
"""``loss(parameters, batch)``: names to tensors and a batch to a 0-d tensor with its graph."""


UNLIKELY = 0x6C776964
"""A seed that no loss uses."""


class OfModel:
    """An attribute that only an objective with a model has; another says so in words when it is read.

    An instance's own attribute of the same name comes first, so that a model's objective just sets it.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, objective: Objective | None, owner: type) -> Any:
        if objective is None:
            return self
        raise AttributeError(_lacking(objective, self.name))


def _of_model() -> Any:
    return OfModel()


def _bare(cls: type[Any], *args: Any, **kwargs: Any) -> Any:
    """An instance that nothing has been done to yet."""
    return object.__new__(cls)


class Objective:
    """What is evaluated: parameter points -> named metrics.

    ``Objective(model, data, loss=...)`` is a model's: its data are read once, kept, and weighted by sample; the user's
    module is never touched. `Objective.from_function` is an analytic one. Both keep one protocol, and a subclass that
    keeps it is sampled, drawn and explored like them:

    - ``names``, ``space``, ``device``, ``samples``: which metrics, of which parameters, where, over how many samples;
    - ``evaluate`` many points, ``measure`` one, ``resolve`` the BatchNorm mode;
    - ``reads`` and ``data_read``: what determines the values besides parameters, hence their `identity`;
    - ``loss_at``, ``batches``, ``mini_batches`` and ``examples``: the loss as a differentiable function;
    - ``provenance``: what it is, as plain values.

    What needs a model or its data (``module``, ``data``, ``on``, ``with_model``, ``model_at``, ...) is refused in words
    where there is none.

    Attributes:
        names: Of the metrics, the loss first.
        space: Which parameters there are, and which of them move.
        device: Where it computes.
        split: Of its data: "data", "train", "test" or "validation".
        test: The same on held-out data, where there are any.
        shared: Generators that loss or model use though all threads share them.
        without_effect: Names of metrics that do not change with the parameters that move.
        coordinate_names: Names of the coordinates, for axes, where they have any.
        has_model: Whether there are a module and data.
        at_once: Whether ``evaluate`` computes many points in one call, so that no faster way is looked for.
        module: The user's module; never written to.
        data: What metrics are averaged over.
        train: What BatchNorm is recalibrated on.
        batchnorm: The mode asked for, or None.
        weight: What a batch counts, as it was given.
    """

    has_model: ClassVar[bool] = False
    at_once: ClassVar[bool] = False
    _made_by: ClassVar[dict[str, type[Objective]]] = {}  # door -> the sibling that it makes

    names: tuple[str, ...]
    space: ParameterSpace
    device: torch.device = torch.device("cpu")
    split: str = "data"
    test: Objective | None = None
    shared: tuple[str, ...] = ()
    without_effect: tuple[str, ...] = ()
    coordinate_names: tuple[str, ...] | None = None
    batchnorm: BatchNormMode | None = None

    module: nn.Module = _of_model()
    data: Batches = _of_model()
    train: Batches = _of_model()
    weight: Weight | None = _of_model()

    def __init_subclass__(cls, *, door: Literal["model", "function", ""] = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__new__" not in vars(cls):  # the arguments of the door are not those of a subclass, nor of a copy
            cls.__new__ = staticmethod(_bare)  # type: ignore[method-assign]
        if door:
            Objective._made_by[door] = cls

    def __new__(
        cls,
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
    ) -> Self:
        """Read the data and try the loss once, at the model's own parameters.

        Args:
            model: Any module. Out of DataParallel, DistributedDataParallel, torch.compile and AveragedModel the module
                inside is taken, and that is what ``loss`` is called with.
            data: (X, y), a Dataset, a DataLoader, or whatever batches ``loss(model, batch)`` takes. See `Batches.of`.
                Float64 of arrays, data frames and lists, which is nobody's choice, is rounded to the model's dtype
                where the model cannot take it; lists of samples are stacked.
            loss: ``loss(output, target)``, called with the model's output, or ``loss(model, batch)``, which calls the
                model itself (physics-informed networks, autoencoders, language models). A mean over the batch: one
                real number. It may return a dict of numbers with the key "loss", an output with an attribute
                ``loss``, or (loss, logs or outputs); of logs and outputs, what is one number is a metric as well.
                It may also return (sum, count), count an int or an integer tensor that does not depend on the
                parameters, whose quotient is the mean and whose count is the batch's weight.
                What it draws by torch is private to it; unless it seeds its draws itself, freeze them by
                `frozen_noise`.
            metrics: Further metrics by name, of either form, computed in the same pass.
            weight: What a batch counts in the average over batches: a function of a batch, such as
                ``lw.weights.tokens()``; a number for each batch; or one number, where all count the same. By default
                its samples, which is compared with what the loss does to a batch and its parts.
            batchnorm: "recalibrate", "frozen" or "batch"; None chooses recalibrate between models and frozen around
                one.
            params: Glob or globs on names of the parameters that may move; ``!glob`` leaves names out. By default those
                that the model trains (``requires_grad``), or all where it trains none; "*" is all.
            device: Where to compute; by default where the model's parameters are.
            test: Held-out data of the same kind; then ``objective.test`` evaluates the same metrics on them.

        Raises:
            TypeError: The loss fits neither form; a parameter that would move is an integer or has 8 bits or fewer; or
                the model cannot be copied: TorchScript, shards (FSDP), lazy layers, the meta device.
            ValueError: The model has no parameters; data are empty, do not end or differ between two passes; how many
                samples a batch has cannot be told; a loss is not one real number; an unknown mode; or the model gives
                different losses for the same batch.

        Warns:
            UserWarning: The loss does not change with the parameters that move; or data are in several batches, and it
                is no mean over their samples.

        Attributes:
            shared: Generators that loss or model use though all threads share them: "torch.default_generator",
                "numpy.random", "random". They are put back after every call; an explorer cannot, and refuses.
            without_effect: Names of loss and metrics that do not change with the parameters that move.
        """
        bare: Self = _bare(cls._made_by["model"])
        return bare  # whose constructor Python calls next

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
        made: Callable[..., Objective] = cls._made_by["function"]
        return made(f, dim, names)

    def __repr__(self) -> str:
        facts = self.provenance()
        what = facts.get("model") or facts.get("function") or type(self).__name__
        return f"Objective({what}: {', '.join(self.names)}; {self.space})"

    # The protocol.

    @property
    def samples(self) -> int:
        """In the data; 0 where there are none."""
        return 0

    def resolve(self, between_models: bool) -> str:
        """The BatchNorm mode for a subspace: "none", "frozen", "recalibrate" or "batch".

        Args:
            between_models: Whether the subspace goes from one model to another.
        """
        return "none"

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
        raise NotImplementedError(_to_define(self, "evaluate"))

    def measure(self, source: Source, batchnorm: str = "frozen") -> dict[str, float]:
        """Metrics of one point.

        Args:
            source: A module, state dict, checkpoint or State of this architecture, or a vector of shape (dim,).
            batchnorm: A resolved mode.
        """
        raise NotImplementedError(_to_define(self, "measure"))

    def provenance(self) -> dict[str, Any]:
        """What was evaluated, as plain values, for people and files; code asks the attributes."""
        raise NotImplementedError(_to_define(self, "provenance"))

    @property
    def reads(self) -> tuple[Any, ...]:
        """What its values depend on besides parameters and data: functions and what tells how they are called."""
        raise NotImplementedError(_to_define(self, "reads"))

    def data_read(self, batchnorm: str) -> tuple[Batches, ...]:
        """The data that its values depend on.

        Args:
            batchnorm: A resolved mode.
        """
        return ()

    @property
    def batches(self) -> Iterable[tuple[Any, float]]:
        """Copies of the batches with what each counts; where there are no data, one that is None."""
        return ((None, 1.0),)

    def loss_at(self, origin: State, batchnorm: str) -> LossAt:
        """The loss as a differentiable function, of a private copy of the model in eval mode.

        Args:
            origin: Supplies what a call does not give: BatchNorm statistics, and parameters that do not move.
            batchnorm: "none", "frozen" or "batch".
        """
        raise NotImplementedError(_to_define(self, "loss_at"))

    def mini_batches(self, size: int, rng: np.random.Generator) -> Iterator[Any]:
        """Random examples of a random batch, each batch as often as its weight says, for ever.

        Args:
            size: Examples, at most all of a batch; one that cannot be divided without changing the loss comes whole.
            rng: Is drawn from.

        Yields:
            What the loss takes; None where there are no data.
        """
        while True:
            yield None

    def examples(self, count: int) -> Iterator[Any]:
        """Single examples, spread evenly over all batches; a batch that cannot be divided is one.

        Args:
            count: How many at most.

        Yields:
            What the loss takes; None, once, where there are no data.
        """
        yield None

    def untied(self) -> Self:
        """The same objective with tied tensors apart; itself where none are tied."""
        return self

    def suited(self, place: Callable[[Self], T]) -> tuple[Self, T]:
        """Itself and what ``place`` makes of it; or `untied`, where only that makes models fit.

        Args:
            place: Brings models into the objective's space; raises `Untied` where they have tied tensors apart.
        """
        try:
            return self, place(self)
        except Untied:
            apart = self.untied()
            return apart, place(apart)

    # What needs a model and its data.

    def on(self, data: Any, split: str = "data") -> Self:
        """The same model, loss, metrics and parameter filter on other data.

        BatchNorm is still recalibrated on the first.

        Args:
            data: Of the same kind.
            split: Its name, "test" or "validation", for barriers and pictures.

        Raises:
            TypeError: There is no model.
        """
        self._refuse("on")

    def with_model(self, model: nn.Module, *, batchnorm: BatchNormMode | None = None) -> Self:
        """The same data, loss and metrics for another model that takes the same inputs.

        Parameters that stay here stay there, by name; all others move.

        Args:
            model: Any module.
            batchnorm: The mode; by default as here.

        Raises:
            TypeError: There are no data.
            ValueError: The model gives different losses for the same batch, or losses that are not one real number.
        """
        self._refuse("with_model")

    def part(self, samples: int) -> Self | None:
        """The same objective on a fixed, stratified part of its data; None where there is no such part.

        Args:
            samples: About how many.
        """
        return None

    def model_at(self, state: State, batchnorm: str = "frozen") -> nn.Module:
        """A new module in eval mode with the parameters and buffers of a point; recalibrated where that is the mode.

        Raises:
            TypeError: There is no model.
        """
        self._refuse("model_at", "Use subspace.point(coordinates) for the coordinates themselves.")

    def _refuse(self, method: str, step: str = "") -> NoReturn:
        raise TypeError(_lacking(self, method, step))


def _lacking(objective: Objective, name: str, step: str = "") -> str:
    return (
        f"Objective.{name}: objective must have a model and data, got {objective!r} without. "
        f"{step or 'Use Objective(model, data, loss=...).'}"
    )


def _to_define(objective: Objective, name: str) -> str:
    return f"Objective: a subclass must define {name}, got {type(objective).__name__} without. See Objective."


def loss_in(found: Any) -> Tensor:
    """The loss among what a loss returned: a number, a dict of them, or (sum, count); a 0-d tensor."""
    value = found["loss"] if isinstance(found, Mapping) else found
    mean: Tensor = value if count_of(value) is None else value[0] / value[1]
    return mean.reshape(())
