"""A function of coordinates, evaluated at many points at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwidgets.basis import Basis
from lwidgets.measures import in_order, same_but_rounding
from lwidgets.noise import FrozenNoise, Shared, on_main_thread, private_noise, shared_kept
from lwidgets.objective.base import UNLIKELY, LossAt, Objective, loss_in
from lwidgets.parameters import VECTOR, ParameterSpace, Source, State

_CHUNK = 1 << 14  # points per call


class FunctionObjective(Objective, door="function"):
    """An analytic objective: a function of many points at once; made by `Objective.from_function`."""

    at_once = True

    def __init__(
        self, f: Callable[[Tensor], Tensor | Mapping[str, Tensor]], dim: int, names: Iterable[str] | None = None
    ) -> None:
        """Try the function on one point."""
        self.coordinate_names = tuple(names) if names is not None else None
        if self.coordinate_names is not None and len(self.coordinate_names) != dim:
            raise ValueError(
                f"Objective.from_function: names must hold {dim} names, got {len(self.coordinate_names)}. Give "
                "one for each coordinate."
            )
        self.function = f
        self.space = ParameterSpace.of_vector(dim)
        origin = torch.zeros(1, dim, dtype=torch.float64)
        with shared_kept(seed=UNLIKELY) if on_main_thread() else nullcontext(()) as changed:
            with private_noise(0) as noise:
                first = self._evaluated(origin)
            self.names = tuple(first)
            if noise.used or isinstance(f, FrozenNoise):
                self._check_draws(first, origin, list(noise.drawn))
        self.shared = tuple(changed)
        if noise.used:
            self.function = FrozenNoise(self.function, 0)
        if self.shared:
            self.function = Shared(self.function, self.shared)

    def evaluate(
        self, basis: Basis, coefficients: Iterable[NDArray[np.float64]], *, batchnorm: str = "none"
    ) -> Generator[dict[str, float], None, None]:
        """Values at every point, computed many at once."""
        vectors = torch.stack([v[VECTOR] for v in basis.vectors])
        for chunk in torch.as_tensor(np.asarray(list(coefficients))).split(_CHUNK):
            values = in_order(self._evaluated(chunk @ vectors), self.names)
            for i in range(len(chunk)):
                yield {name: float(value[i]) for name, value in values.items()}

    def measure(self, source: Source, batchnorm: str = "none") -> dict[str, float]:
        """Values at one point, a vector of shape (dim,)."""
        point = self.space.select(State.of(source)).parameters[VECTOR]
        return {name: float(value[0]) for name, value in in_order(self._evaluated(point[None]), self.names).items()}

    @property
    def reads(self) -> tuple[Any, ...]:
        """The function."""
        return (self.function,)

    def loss_at(self, origin: State, batchnorm: str) -> LossAt:
        """The function itself, at one point; there is nothing that an origin could supply."""
        return lambda parameters, batch: loss_in(self.function(parameters[VECTOR][None]))

    def provenance(self) -> dict[str, Any]:
        """What was evaluated, as plain values."""
        return {
            "function": getattr(self.function, "__name__", "function"),
            "dim": self.space.size,
            "metrics": list(self.names),
        }

    def _check_draws(self, first: Mapping[str, Tensor], origin: Tensor, drawn: list[str]) -> None:
        """A function that draws: the same value after other draws, and beside other points."""
        for points in (origin, origin.expand(3, -1)):
            with private_noise(1):
                again = in_order(self._evaluated(points), self.names)
            for name, value in first.items():
                for other in again[name]:
                    if not same_but_rounding(value[0], other):
                        raise ValueError(
                            f"Objective.from_function: f must be deterministic, and give a point the same value beside "
                            f"others as alone, got {name} = {value[0].item():.9g} and then {other.item():.9g}. "
                            f"It draws random numbers ({', '.join(dict.fromkeys(drawn)) or 'frozen'}). Draw the same "
                            "for all points, in shape (1, ...), by generator=torch.Generator().manual_seed(0) made in "
                            "f, or with f=lw.frozen_noise(f, seed=0)."
                        )

    def _evaluated(self, points: Tensor) -> dict[str, Tensor]:
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
