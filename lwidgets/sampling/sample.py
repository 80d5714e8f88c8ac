"""``sample`` and ``stream``: an objective over a subspace, as landscapes from coarse to exact."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwidgets.landscape import Landscape
from lwidgets.objective import Objective
from lwidgets.sampling.evaluate import Local
from lwidgets.sampling.refine import Picture, refine
from lwidgets.subspaces import Subspace
from lwidgets.version import __version__

Progress = Callable[[int, int], None]
"""``progress(evaluated, total)``, called after every point; raise in it to stop."""


class Interrupted(KeyboardInterrupt):
    """A keyboard interrupt during `sample` or `stream`; nothing that had been measured is lost.

    Attributes:
        landscape: The picture so far.
    """

    def __init__(self, landscape: Landscape) -> None:
        """Keep the picture."""
        self.landscape = landscape
        super().__init__(
            f"sample: interrupted after {landscape.evaluations} evaluations. "
            "The picture so far is this exception's .landscape."
        )


def sample(
    objective: Objective,
    subspace: Subspace,
    *,
    resolution: int | Sequence[int] = 65,
    tolerance: float = 1e-2,
    budget: int | None = None,
    log: bool = False,
    metric: str | Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Landscape:
    """The landscape of an objective over a subspace, measured where needed and interpolated where good enough.

    Args:
        objective: What to evaluate.
        subspace: Where; one or two axes.
        resolution: Pixels an axis, or one number for each axis. Odd numbers keep the centre in the middle.
        tolerance: Largest error of an interpolated pixel, relative to the range of the metric. 0 evaluates every pixel.
        budget: Most evaluations; the picture is then as good as they allow, and says so.
        log: Judge and interpolate the logarithm of positive metrics, for pictures in logarithmic height.
        metric: Which metric or metrics must meet the tolerance; the loss by default. The others are measured at the
            same points and carry their own estimates, which may be larger.
        progress: Called after every evaluation with (evaluated, pixels).

    Raises:
        ValueError: An argument breaks its rule; the subspace does not fit the objective.
        Interrupted: Ctrl-C; the exception carries everything that was measured.

    Example:
        >>> import lwidgets as lw
        >>> bowl = lw.Objective.from_function(lambda u: u[:, 0] ** 2 + 3 * u[:, 1] ** 2, dim=2)
        >>> landscape = lw.sample(bowl, lw.Subspace.identity(2), resolution=(65, 33))
        >>> landscape.values["loss"].shape, landscape.evaluations < 100
        ((65, 33), True)
    """
    *_, last = stream(
        objective,
        subspace,
        resolution=resolution,
        tolerance=tolerance,
        budget=budget,
        log=log,
        metric=metric,
        progress=progress,
    )
    return last


def stream(
    objective: Objective,
    subspace: Subspace,
    *,
    resolution: int | Sequence[int] = 65,
    tolerance: float = 1e-2,
    budget: int | None = None,
    log: bool = False,
    metric: str | Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Iterator[Landscape]:
    """Landscapes after each step, coarse to final; `sample` is the last of them. Arguments as there.

    Yields:
        A Landscape whenever a level or a set of probes is complete. Each is a value of its own.
    """
    shape, deciding = _check(objective, subspace, resolution, tolerance, budget, metric)
    subspace = subspace.bound(objective.space, objective.device)
    coords = tuple(axis.grid(size) for axis, size in zip(subspace.axes, shape, strict=True))
    batchnorm = objective.resolve(subspace.between_models)
    settings = {
        "resolution": list(shape),
        "tolerance": float(tolerance),
        "deciding": list(deciding),
        "budget": None if budget is None else int(budget),
        "log": bool(log),
    }
    provenance = {
        "lwidgets": __version__,
        "objective": objective.provenance(),
        "subspace": subspace.provenance(),
        "batchnorm": batchnorm,
        "split": objective.split,
    }
    total = int(np.prod(shape))
    done = 0
    interrupts: list[KeyboardInterrupt] = []
    began = time.perf_counter()

    evaluate = Local(objective, subspace.basis, batchnorm)

    def measure(pixels: NDArray[np.intp]) -> Mapping[str, NDArray[np.float64]]:
        nonlocal done
        allowed = pixels if budget is None else pixels[: max(0, budget - done)]
        coordinates = np.stack([c[i] for c, i in zip(coords, allowed.T, strict=True)], axis=-1)
        rows = []
        try:
            for row in evaluate(subspace.coefficients(coordinates)):
                rows.append(row)
                done += 1
                if progress is not None:
                    progress(done, total)
        except KeyboardInterrupt as error:
            interrupts.append(error)
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(objective.names))
        return dict(zip(objective.names, table.T, strict=True))

    def landscape(picture: Picture, final: bool) -> Landscape:
        sampling = {
            **settings,
            **evaluate.facts(),
            "seconds": round(time.perf_counter() - began, 3),
            "level": list(picture.level),
            "settled": picture.settled,
        }
        return Landscape(
            coords=coords,
            axes=tuple(axis.name for axis in subspace.axes),
            labels=tuple(axis.label for axis in subspace.axes),
            values=picture.values,
            evaluated=picture.evaluated,
            evaluations=int(picture.evaluated.sum()),
            error=picture.error,
            provenance={**provenance, "sampling": sampling},
            final=final,
        )

    models = [
        tuple(int(np.flatnonzero(c == u)[0]) for c, u in zip(coords, point, strict=True))
        for point in subspace.models
        if all(u in c for c, u in zip(coords, point, strict=True))
    ]
    plan = refine(shape, objective.names, tolerance, deciding=deciding, log=log, always=models)
    picture = None
    try:
        pixels, _ = next(plan)
        while True:
            pixels, newer = plan.send(measure(pixels))
            picture = newer or picture
            if interrupts and picture is not None:
                raise Interrupted(landscape(picture, final=False)) from interrupts[0]
            if newer is not None:
                yield landscape(newer, final=False)
    except StopIteration as stop:
        if interrupts:
            raise Interrupted(landscape(stop.value, final=False)) from interrupts[0]
        yield landscape(stop.value, final=True)


def _check(
    objective: Objective, subspace: Subspace, resolution: Any, tolerance: float, budget: int | None, metric: Any
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    dim = len(subspace.axes)
    if dim not in (1, 2):
        raise ValueError(f"sample: subspace must have one or two axes, got {dim}. Fix the other coordinates first.")
    shape = tuple(resolution) if isinstance(resolution, Sequence | np.ndarray) else (resolution,) * dim
    if len(shape) != dim or any(not isinstance(n, int | np.integer) or n < 2 for n in shape):
        raise ValueError(
            f"sample: resolution must be an integer of at least 2 for each of {dim} axes, got {resolution!r}. "
            f"Use for example resolution={65 if dim == 1 else (65, 65)}."
        )
    if not 0 <= tolerance < np.inf:
        raise ValueError(
            f"sample: tolerance must be a share of the range, 0 or more, got {tolerance!r}. Use for example 1e-2."
        )
    coarsest = int(np.prod([min(3, n) for n in shape]))
    if budget is not None and budget < coarsest:
        raise ValueError(
            f"sample: budget must be at least {coarsest} evaluations, the coarsest grid, got {budget!r}. Raise it."
        )
    deciding = objective.names[:1] if metric is None else (metric,) if isinstance(metric, str) else tuple(metric)
    unknown = [name for name in deciding if name not in objective.names]
    if unknown or not deciding:
        raise ValueError(
            f"sample: metric must be among {', '.join(objective.names)}, got {metric!r}. Use one of these."
        )
    return tuple(int(n) for n in shape), deciding
