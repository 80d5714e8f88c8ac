"""``sample`` and ``stream``: an objective over a subspace, as landscapes from coarse to exact.

Whatever ends a run early, an interrupt between any two instructions too, is met in one place: there the plan is made
anew and told again all that was measured. It answers as it did, so what was half done does not matter.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lwidgets.failures import hand_over, words_of
from lwidgets.landscape import Landscape, Sampling
from lwidgets.objective import Objective
from lwidgets.progress import Progress
from lwidgets.sampling.evaluate import Distrusted
from lwidgets.sampling.identity import follow_no_more
from lwidgets.sampling.measure import CacheArgument, Changed, Measure
from lwidgets.sampling.part import LOOK, SLOW, Part, could_guide, landscapes_of_part
from lwidgets.sampling.refine import Guide, Picture, Pixels, refine
from lwidgets.sampling.storage import storage_error
from lwidgets.subspaces import Subspace
from lwidgets.version import __version__

Array = NDArray[np.float64]
_TRIES = 5  # pictures begun, and given up because what they show had changed, before it is taken as it comes
Plan = Generator[tuple[Pixels, Picture | None], Mapping[str, Array], Picture]


class Interrupted(KeyboardInterrupt):
    """A keyboard interrupt during `sample` or `stream`; nothing that had been measured is lost.

    Attributes:
        landscape: The picture so far; of no evaluations, where it came before the first.
    """

    def __init__(self, landscape: Landscape) -> None:
        """Keep the picture."""
        self.landscape = landscape
        super().__init__(f"sample: interrupted {_after(landscape)}. The picture so far is this exception's .landscape.")


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

    Warns:
        UserWarning: A model differs from the origin in what does not move, and so is not quite at its place; the axis'
            label says so, too.

    Raises:
        ValueError: An argument breaks its rule; the subspace does not fit the objective.
        Interrupted: Ctrl-C, at any moment; the exception carries everything that was measured.
        BaseException: Whatever the loss, a metric or ``progress`` raised, with a note that says where; its
            ``.landscape`` is everything that was measured.

    Example:
        >>> import lwidgets as lw
        >>> bowl = lw.Objective.from_function(lambda u: u[:, 0] ** 2 + 3 * u[:, 1] ** 2, dim=2)
        >>> landscape = lw.sample(bowl, lw.Subspace.identity(2), resolution=(65, 33))
        >>> landscape.values["loss"].shape, landscape.evaluations < 110
        ((65, 33), True)
    """
    objective, subspace = objective.suited(lambda own: subspace.bound(own.space, own.device))
    told = subspace.warning(objective.resolve(subspace.between_models))
    if told:
        warnings.warn(f"sample: {told}", UserWarning, stacklevel=2)
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
        first_look: Where an evaluation is slow, begin with a picture from a part of the data. Such a picture says in
            ``sampling.first_look`` from which part, and its error is nan.

    Yields:
        A Landscape whenever a grid or a round is complete. Each is a value of its own.
    """
    shape, deciding = _check(objective, subspace, resolution, tolerance, budget, metric)
    asked = _Asked(shape, deciding, float(tolerance), None if budget is None else int(budget), bool(log))
    grad = torch.is_grad_enabled()
    for tries in count(1):
        run = _Run(objective, subspace, asked, progress)
        try:
            measure = run.begin(executor, cache)
            with closing(run.parts):
                picture = yield from run.pictures(look=first_look and executor is None)
                measure.require_steady()
            yield run.landscape(picture, final=True)
            return
        except (Changed, Distrusted):  # a picture is of one thing: what was measured before is measured again
            if tries == _TRIES:
                follow_no_more(run.objective)
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not (type(error) is GeneratorExit and run.where):
                raise  # nobody wants the rest, nor the picture so far; it was not the loss that raised it
            torch.set_grad_enabled(grad)  # an interrupt may come just where torch.no_grad() would have given it back
            if isinstance(error, KeyboardInterrupt):
                raise Interrupted(run.landscape_so_far()) from error
            if run.begun:
                run.hand_over(error)
            raise


@dataclass(frozen=True)
class _Asked:
    """What the caller wants: the arguments of `sample`, checked."""

    shape: tuple[int, ...]
    deciding: tuple[str, ...]
    tolerance: float
    budget: int | None
    log: bool

    def told(self) -> dict[str, Any]:
        """For provenance, as plain values."""
        return {
            "resolution": list(self.shape),
            "tolerance": self.tolerance,
            "deciding": list(self.deciding),
            "budget": self.budget,
            "log": self.log,
        }


@dataclass(frozen=True)
class _Told:
    """What a plan was made of and has been told, so that it can be made again.

    Attributes:
        start: The picture that it began with.
        guide: What it follows.
        tables: For each of its requests, rows of metrics in its order. The last is filled while it is measured.
    """

    start: Picture | None = None
    guide: Guide | None = None
    tables: list[list[Array]] = field(default_factory=list)


class _Run:
    """One run of sampling: what is measured, counted, and told.

    Attributes:
        told: What the present plan knows.
        begun: Whether the arguments fit each other, so that what goes wrong goes wrong while sampling.
    """

    def __init__(self, objective: Objective, subspace: Subspace, asked: _Asked, progress: Progress | None) -> None:
        self.objective, self.subspace, self.asked, self.progress = objective, subspace, asked, progress
        self.rounded = dict.fromkeys(objective.names, 0.0)
        self.told = _Told()
        self.begun = False
        self.total = int(np.prod(asked.shape))
        self.done = 0
        self.where = ""
        self.seen: Part | None = None
        self.followed = ""
        self.evaluate: Measure | None = None
        self._began = time.perf_counter()
        self._where_from: dict[str, Any] = {}

    def begin(self, executor: Executor | None, cache: CacheArgument) -> Measure:
        """What takes a while before the first evaluation: models are loaded, directions drawn."""
        subspace = self.subspace
        self.objective, self.subspace = self.objective.suited(lambda own: subspace.bound(own.space, own.device))
        if told := self.subspace.told_unmoved():
            warnings.warn(told, stacklevel=4)
        asked = self.asked
        self.rounded = storage_error(self.objective, self.subspace, self.coords, self.batchnorm)  # before the basis
        self.evaluate = Measure(self.objective, self.subspace, executor=executor, cache=cache)
        self.parts = landscapes_of_part(
            self.objective,
            self.subspace,
            self.coords,
            asked.tolerance,
            deciding=asked.deciding,
            log=asked.log,
            executor=executor,
            cache=cache,
        )
        self._where_from = {"objective": self.objective.provenance(), "subspace": self.subspace.provenance()}
        self.begun = True
        return self.evaluate

    @cached_property
    def coords(self) -> tuple[Array, ...]:
        """The pixels' coordinates on each axis."""
        return tuple(axis.grid(size) for axis, size in zip(self.subspace.axes, self.asked.shape, strict=True))

    @cached_property
    def batchnorm(self) -> str:
        """The resolved mode."""
        return self.objective.resolve(self.subspace.between_models)

    def _models(self) -> list[tuple[int, ...]]:
        """Pixels where the models are."""
        return [
            tuple(int(np.flatnonzero(c == u)[0]) for c, u in zip(self.coords, point, strict=True))
            for point in self.subspace.models
            if all(u in c for c, u in zip(self.coords, point, strict=True))
        ]

    def _plan(self) -> Plan:
        """Where to measure next, from the start."""
        asked = self.asked
        return refine(
            asked.shape,
            self.objective.names,
            asked.tolerance,
            deciding=asked.deciding,
            log=asked.log,
            always=self._models(),
            start=self.told.start,
            guide=self.told.guide,
        )

    def pictures(self, *, look: bool = False) -> Generator[Landscape, None, Picture]:
        """Refine until it is good enough, or the budget is spent.

        Args:
            look: Take a first look at a part of the data, if the first pixel shows that it is worth it.

        Yields:
            A landscape whenever there is more to see.
        """
        told, plan = self.told, self._plan()
        picture = told.start
        try:
            pixels, _ = next(plan)
            while True:
                rows: list[Array] = []
                told.tables.append(rows)
                yield from self._measure(pixels, rows, look=look and picture is None)
                pixels, newer = plan.send(self._table(rows))
                if newer is None:
                    continue
                picture = newer
                yield self.landscape(picture)
                if told.start is None:
                    guide = yield from self._guide(picture)
                    if guide is not None:
                        self.told = _Told(picture, guide)
                        return (yield from self.pictures())
                elif told.guide is not None and picture.evaluated.sum() > told.guide.evaluations:  # it does not pay
                    self.followed, self.told = "", _Told(picture)
                    return (yield from self.pictures())
        except StopIteration as stop:
            last: Picture = stop.value
            return last

    def _measure(self, pixels: NDArray[np.intp], rows: list[Array], *, look: bool) -> Generator[Landscape, None, None]:
        """Metrics at the pixels, or at the first few when the budget ends.

        Args:
            pixels: Shape (m, axes).
            rows: Where they go, each as soon as it is known.
            look: Take a first look at a part of the data, if the first pixel shows that it is worth it.

        Yields:
            What there is to look at in the meantime.
        """
        assert self.evaluate is not None
        budget = self.asked.budget
        allowed = pixels if budget is None else pixels[: max(0, budget - self.done)]
        points = np.stack([c[i] for c, i in zip(self.coords, allowed.T, strict=True)], axis=-1)
        with closing(self.evaluate(self.subspace.coefficients(points))) as values:  # type: ignore[type-var]
            for pixel, point in zip(allowed, points, strict=True):
                self.where = self._named(point)
                began = time.perf_counter()
                rows.append(next(values))
                self.where = ""
                self.done += 1
                self._tell()
                if look and len(rows) == 1:
                    measured = dict(zip(self.objective.names, rows[0], strict=True))
                    if time.perf_counter() - began > SLOW:
                        yield from self._look(LOOK, partial(Part.at, pixel=pixel, measured=measured))

    def _table(self, rows: list[Array]) -> dict[str, Array]:
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(self.objective.names))
        return dict(zip(self.objective.names, table.T, strict=True))

    def landscape(self, picture: Picture, *, final: bool = False) -> Landscape:
        """The picture with all that is known about it."""
        told = {
            **self.asked.told(),
            **({} if self.evaluate is None else self.evaluate.facts()),
            "seconds": round(time.perf_counter() - self._began, 3),
            "level": list(picture.level),
            "settled": picture.settled,
        }
        if any(self.rounded.values()):
            told["storage error"] = self.rounded
        first_look, settled = "", bool(picture.settled)
        if self.seen is not None:
            shaped = self.seen.under(picture)
            if shaped is not picture or 0 in picture.level:
                told["first look"] = first_look = self.seen.label
                picture = shaped
        if self.followed:
            told["guide"] = self.followed
        space = self.objective.space
        return Landscape(
            coords=self.coords,
            axes=tuple(axis.name for axis in self.subspace.axes),
            labels=self.subspace.labels,
            values=picture.values,
            evaluated=picture.evaluated,
            evaluations=int(picture.evaluated.sum()),
            error={name: error + self.rounded[name] for name, error in picture.error.items()},
            provenance={
                "lwidgets": __version__,
                **self._where_from,
                "batchnorm": self.batchnorm,
                "split": self.objective.split,
                "sampling": told,
            },
            final=final,
            sampling=Sampling(
                settled=settled,
                first_look=first_look,
                batchnorm=self.batchnorm,
                split=self.objective.split,
                kind=self.subspace.kind,
                models=self.subspace.model_labels,
                directions=tuple(direction.label for direction in self.subspace.directions),
                moves=str(space) if self.objective.has_model else "",
                frozen=space.count(space.frozen),
                without_effect=self.objective.without_effect,
            ),
        )

    def landscape_so_far(self) -> Landscape:
        """The picture of all that was measured, whatever was being done; another Ctrl-C meanwhile begins it anew."""
        while True:
            try:
                return self.landscape(self._picture_so_far())
            except KeyboardInterrupt:
                continue

    def _picture_so_far(self) -> Picture:
        plan, picture = self._plan(), self.told.start
        next(plan)
        try:
            for rows in [*self.told.tables, []]:  # fewer than asked for end it
                _, picture = plan.send(self._table(rows))
        except StopIteration as stop:
            picture = stop.value
        assert picture is not None
        return picture

    def hand_over(self, error: BaseException) -> None:
        """Give an exception the picture so far, and say where it was raised."""
        landscape = self.landscape_so_far()
        advice = "Use smaller batches, or fewer data. " if _is_memory(error) else ""
        at = f" at {self.where}" if self.where else ""
        note = f"sample: failed{at} {_after(landscape)}. {advice}The picture so far is this exception's .landscape."
        hand_over(error, note, landscape=landscape)

    def _named(self, point: Array) -> str:
        return ", ".join(f"{axis.name} = {u:.6g}" for axis, u in zip(self.subspace.axes, point, strict=True))

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.done, self.total)

    def _look(self, points: float, shown: Callable[[Part], Picture | None]) -> Iterator[Landscape]:
        """Go on with the part's landscape until it has so many points an axis, showing what there is to show."""
        for part in self.parts:
            self._tell()
            if part is not None:
                self.seen = part
                picture = shown(part)
                if picture is not None:
                    yield self.landscape(picture)
                if all(n >= min(points, size) for n, size in zip(part.picture.level, self.asked.shape, strict=True)):
                    break

    def _guide(self, picture: Picture) -> Generator[Landscape, None, Guide | None]:
        """The part's landscape as a guide, where that pays."""
        asked = self.asked
        if not could_guide(self.objective, picture, asked.tolerance, asked.deciding, asked.log):
            return None
        if self.seen is None:
            yield from self._look(LOOK, lambda part: None)
        names = self.seen.flattens(picture, asked.deciding, asked.log) if self.seen else []
        if not names:
            return None
        yield from self._look(np.inf, lambda part: picture)
        part, self.seen = self.seen, None
        assert part is not None
        guide = part.guide(picture, names, asked.deciding, asked.tolerance, asked.log)
        if guide is not None:
            self.followed = f"{', '.join(guide.values)}: {part.evaluations:,} evaluations on {part.label}"
        return guide


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
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in words_of(error)


def _after(landscape: Landscape) -> str:
    count = landscape.evaluations
    return f"after {count:,} evaluation{'s' * (count != 1)}" if count else "before anything was measured"
