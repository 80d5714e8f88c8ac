"""``sample`` and ``stream``: an objective over a subspace, as landscapes from coarse to exact."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from lwidgets.landscape import Landscape
from lwidgets.objective import Objective
from lwidgets.sampling.first_look import FirstLook, look_first
from lwidgets.sampling.measure import CacheArgument, Measure
from lwidgets.sampling.refine import Picture, refine
from lwidgets.sampling.storage import storage_error
from lwidgets.subspaces import Subspace
from lwidgets.version import __version__

Array = NDArray[np.float64]
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
    executor: Executor | None = None,
    cache: CacheArgument = None,
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
        executor: Where points are evaluated: any `concurrent.futures.Executor`, of threads, processes or a cluster
            (``client.get_executor()`` of a dask client); by default here, in the fastest way found by measurement.
        cache: Where measured values are remembered, so that none is measured twice: by default in this process' memory;
            a folder's path, to resume an interrupted run or share between processes; a `Cache`; or False.
        progress: Called after every evaluation with (evaluated, pixels).

    Raises:
        ValueError: An argument breaks its rule; the subspace does not fit the objective.
        Interrupted: Ctrl-C; the exception carries everything that was measured.
        Exception: Whatever the loss or a metric raised at a point, with a note that says where; its ``.landscape`` is
            everything that was measured.

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
        executor=executor,
        cache=cache,
        progress=progress,
        first_look=False,
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
    executor: Executor | None = None,
    cache: CacheArgument = None,
    progress: Progress | None = None,
    first_look: bool = True,
) -> Iterator[Landscape]:
    """Landscapes after each step, coarse to final; `sample` is the last of them.

    Args:
        objective: As in `sample`, like all that is not described here.
        subspace: See there.
        resolution: See there.
        tolerance: See there.
        budget: See there.
        log: See there.
        metric: See there.
        executor: See there.
        cache: See there.
        progress: See there.
        first_look: Where an evaluation is slow, begin with a picture from a part of the data. Such a picture has
            "first look" in its provenance's "sampling", and its error is nan.

    Yields:
        A Landscape whenever a grid or a round is complete. Each is a value of its own.
    """
    shape, deciding = _check(objective, subspace, resolution, tolerance, budget, metric)
    subspace = subspace.bound(objective.space, objective.device)
    settings = {
        "resolution": list(shape),
        "tolerance": float(tolerance),
        "deciding": list(deciding),
        "budget": None if budget is None else int(budget),
        "log": bool(log),
    }
    run = _Run(objective, subspace, shape, executor, cache, budget, progress, settings)
    plan = refine(shape, objective.names, tolerance, deciding=deciding, log=log, always=run.models())
    picture: Picture | None = None
    try:
        pixels, newer = next(plan)
        while True:
            table = yield from run.measure(pixels, look=first_look and picture is None)
            pixels, newer = plan.send(table)
            picture = newer or picture
            if run.stopped is None and newer is not None:
                yield run.landscape(newer)
            elif run.stopped is not None and picture is not None:
                break
    except StopIteration as stop:
        picture = stop.value
    assert picture is not None
    if run.stopped is None:
        yield run.landscape(picture, final=True)
    else:
        run.raise_stopped(picture)


class _Run:
    """One run of sampling: what is measured, counted, and told."""

    def __init__(
        self,
        objective: Objective,
        subspace: Subspace,
        shape: tuple[int, ...],
        executor: Executor | None,
        cache: CacheArgument,
        budget: int | None,
        progress: Progress | None,
        settings: dict[str, Any],
    ) -> None:
        self.objective, self.subspace, self.budget, self.progress = objective, subspace, budget, progress
        self.coords = tuple(axis.grid(size) for axis, size in zip(subspace.axes, shape, strict=True))
        self.batchnorm = objective.resolve(subspace.between_models)
        self.rounded = storage_error(objective, subspace, self.coords, self.batchnorm)  # before the basis is made
        self.evaluate = Measure(objective, subspace, executor=executor, cache=cache)
        self.total = int(np.prod(shape))
        self.done = 0
        self.stopped: BaseException | None = None
        self.where = ""
        self.seen: FirstLook | None = None
        self._settings = settings
        self._began = time.perf_counter()
        self._provenance = {
            "lwidgets": __version__,
            "objective": objective.provenance(),
            "subspace": subspace.provenance(),
            "batchnorm": self.batchnorm,
            "split": objective.split,
        }

    def models(self) -> list[tuple[int, ...]]:
        """Pixels where the models are."""
        return [
            tuple(int(np.flatnonzero(c == u)[0]) for c, u in zip(self.coords, point, strict=True))
            for point in self.subspace.models
            if all(u in c for c, u in zip(self.coords, point, strict=True))
        ]

    def measure(self, pixels: NDArray[np.intp], *, look: bool) -> Generator[Landscape, None, dict[str, Array]]:
        """Metrics at the pixels, or at the first few when the budget ends or something goes wrong.

        Args:
            pixels: Shape (m, axes).
            look: Take a first look at a part of the data, if the first pixel shows that it is worth it.

        Yields:
            What there is to look at in the meantime.
        """
        allowed = pixels if self.budget is None else pixels[: max(0, self.budget - self.done)]
        points = np.stack([c[i] for c, i in zip(self.coords, allowed.T, strict=True)], axis=-1)
        rows: list[Array] = []
        with closing(self.evaluate(self.subspace.coefficients(points))) as values:  # type: ignore[type-var]
            try:
                for pixel, point in zip(allowed, points, strict=True):
                    began = time.perf_counter()
                    try:
                        rows.append(next(values))
                    except Exception as error:
                        self._stop(error, point)
                        break
                    self.done += 1
                    self._tell()
                    if look and len(rows) == 1:
                        yield from self._look(pixel, rows[0], time.perf_counter() - began)
            except KeyboardInterrupt as error:
                self._stop(error)
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(self.objective.names))
        return dict(zip(self.objective.names, table.T, strict=True))

    def landscape(self, picture: Picture, *, final: bool = False) -> Landscape:
        """The picture with all that is known about it."""
        sampling = {
            **self._settings,
            **self.evaluate.facts(),
            "seconds": round(time.perf_counter() - self._began, 3),
            "level": list(picture.level),
            "settled": picture.settled,
        }
        if any(self.rounded.values()):
            sampling["storage error"] = self.rounded
        if self.seen is not None:
            shaped = self.seen.under(picture)
            if shaped is not picture or 0 in picture.level:
                sampling["first look"] = f"{self.seen.samples:,} of {self.seen.total:,} samples"
                picture = shaped
        return Landscape(
            coords=self.coords,
            axes=tuple(axis.name for axis in self.subspace.axes),
            labels=tuple(axis.label for axis in self.subspace.axes),
            values=picture.values,
            evaluated=picture.evaluated,
            evaluations=int(picture.evaluated.sum()),
            error={name: error + self.rounded[name] for name, error in picture.error.items()},
            provenance={**self._provenance, "sampling": sampling},
            final=final,
        )

    def raise_stopped(self, picture: Picture) -> NoReturn:
        """Say what ended the run, and hand over what there is."""
        assert self.stopped is not None
        landscape = self.landscape(picture)
        if isinstance(self.stopped, KeyboardInterrupt):
            raise Interrupted(landscape) from self.stopped
        advice = "Use smaller batches, or fewer data. " if _is_memory(self.stopped) else ""
        self.stopped.add_note(
            f"sample: failed at {self.where} after {landscape.evaluations:,} evaluations. {advice}"
            "The picture so far is this exception's .landscape."
        )
        self.stopped.landscape = landscape  # type: ignore[attr-defined]
        raise self.stopped

    def _stop(self, error: BaseException, point: Array | None = None) -> None:
        self.stopped = error
        if point is not None:
            self.where = ", ".join(f"{axis.name} = {u:.6g}" for axis, u in zip(self.subspace.axes, point, strict=True))

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.done, self.total)

    def _look(self, pixel: NDArray[np.intp], row: Array, seconds: float) -> Iterator[Landscape]:
        for seen in look_first(self.objective, self.subspace, self.coords, self.batchnorm, seconds):
            self._tell()
            if seen is not None:
                self.seen = seen
                yield self.landscape(seen.at(pixel, dict(zip(self.objective.names, row, strict=True))))


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


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)
