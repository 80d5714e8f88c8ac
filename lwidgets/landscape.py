"""The result: metrics on a grid, which points were really evaluated, and how wrong the others can be."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RectBivariateSpline, RegularGridInterpolator, make_interp_spline
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from lwidgets.barrier import Barrier, BarrierKind, barrier_of
from lwidgets.doors import through
from lwidgets.files import write_whole

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Numbers = ArrayLike | Tensor
"""A list, an array or a tensor."""

_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of the largest value: a smaller range is noise, no range
_FORMAT = "lwidgets.landscape"
_VERSION = 1
_MOST = 2**53 - 1  # whole numbers up to which JavaScript's are exact


@dataclass(frozen=True)
class Sampling:
    """How a landscape was made, as far as anything is decided on it; what people read is `Landscape.provenance`.

    The defaults are those of plain arrays, of which nobody knows more.

    Attributes:
        settled: Whether the estimated error meets the tolerance that was asked for, in the metrics that decide.
        first_look: The part of the data that the shape is from, in words; empty where it is from all of them.
        batchnorm: The resolved mode: "none", "frozen", "recalibrate" or "batch".
        split: Of the data: "data", "train", "test" or "validation".
        kind: Of the subspace: "line", "plane", "identity", ...; empty where there is none.
        models: Labels of the models in the subspace, at the origin and then at the ends of the axes.
        directions: Labels of the directions around them; a line between models has none.
        moves: What moves, in words; empty where it is every coordinate.
        frozen: How many numbers stay that the model does not train either.
        without_effect: Metrics that do not change with the parameters that move.
    """

    settled: bool = True
    first_look: str = ""
    batchnorm: str = "none"
    split: str = "data"
    kind: str = ""
    models: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    moves: str = ""
    frozen: int = 0
    without_effect: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Landscape:
    """Metrics over one or two axes. Grids are ``ij``: ``values[m][i, j]`` belongs to ``coords[0][i], coords[1][j]``.

    Attributes:
        coords: One increasing float64 array for each axis.
        axes: Names of the axes.
        labels: What the axes measure, for pictures.
        values: Metric -> float64 array of the grid's shape; measured where ``evaluated``, nan and inf included;
            elsewhere interpolated, or nan where nothing is known: among or beside values that are not finite.
        evaluated: Bool array of the grid's shape.
        evaluations: How many points were evaluated.
        error: Metric -> estimate of the largest error among the interpolated values, in the metric's unit, by how
            wrong they were where they were looked at; `blind_spot` tells what was not. 0.0 only when all were
            evaluated, nan while it is not known, or where nothing is interpolated.
        provenance: Where it came from: objective, subspace, BatchNorm mode, sampling; plain values, for people and
            files. Nothing is decided on them.
        final: False for a picture that `stream` is still improving.
        sampling: What is decided on.
    """

    coords: tuple[Array, ...]
    axes: tuple[str, ...]
    labels: tuple[str, ...]
    values: Mapping[str, Array]
    evaluated: NDArray[np.bool_]
    evaluations: int
    error: Mapping[str, float]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    final: bool = True
    sampling: Sampling = Sampling()

    @overload
    @classmethod
    def from_arrays(
        cls, x: Numbers, values: Mapping[str, Numbers], /, *, labels: str | Sequence[str] = ...
    ) -> Landscape: ...

    @overload
    @classmethod
    def from_arrays(
        cls, x: Numbers, y: Numbers, values: Mapping[str, Numbers], /, *, labels: Sequence[str] = ...
    ) -> Landscape: ...

    @classmethod
    def from_arrays(cls, *given: Any, labels: str | Sequence[str] = ("x", "y")) -> Landscape:
        """A landscape of numbers that were computed elsewhere, at every point: ``from_arrays(x, y, {name: grid})``.

        Args:
            *given: Coordinates, of shape (nx,) or those and (ny,), two or more and increasing; then name -> values, of
                shape (nx,) or (nx, ny), which may be nan or infinite. Lists, arrays and tensors, as float64.
            labels: Names of the axes, or of the only one.

        Raises:
            TypeError: The last is no mapping, or something holds no real numbers.
            ValueError: Coordinates that do not increase; no metric; a grid of another shape; or a name is missing.

        Example:
            >>> import torch
            >>> x, y = [0.0, 0.5, 1.0], np.linspace(-1, 1, 5)
            >>> bowl = Landscape.from_arrays(x, y, {"loss": np.add.outer(np.square(x), y**2)}, labels=("width", "rate"))
            >>> bowl
            Landscape(3 x 5 over width, rate; loss 0 to 2 within 0; 15 evaluated)
            >>> Landscape.from_arrays(torch.arange(3), {"error": [1, 0.5, 0.25]}, labels="epoch").at(2)
            {'error': 0.25}
        """
        *places, values = given or (None,)
        if not isinstance(values, Mapping) or not 1 <= len(places) <= 2:
            raise TypeError(
                f"Landscape.from_arrays: values must be a mapping of names to grids after one or two arrays of "
                f"coordinates, got {len(given)} arguments, the last {type(values).__name__}. "
                'Use from_arrays(x, y, {"loss": grid}).'
            )
        names = ((labels,) if isinstance(labels, str) else tuple(labels))[: len(places)]
        if len(set(names)) < len(places) or not all(isinstance(name, str) and name for name in names):
            raise ValueError(
                f"Landscape.from_arrays: labels must name {len(places)} axes differently, got {labels!r}. "
                'Use labels=("x", "y").'
            )
        coords = tuple(_numbers(place, name) for place, name in zip(places, names, strict=True))
        for name, c in zip(names, coords, strict=True):
            if c.ndim != 1 or len(c) < 2 or not np.isfinite(c).all() or not (np.diff(c) > 0).all():
                got = f"{c.tolist()[:6]}" if c.ndim == 1 else f"shape {c.shape}"
                raise ValueError(
                    f"Landscape.from_arrays: coordinates must be two or more numbers that increase, got {got} for "
                    f"{name!r}. Sort them, and the values with them."
                )
        grids = {name: _numbers(grid, name) for name, grid in values.items()}
        shape = tuple(map(len, coords))
        for name, grid in grids.items() or [("no metric", np.empty(0))]:
            if grid.shape != shape:
                turned = " Transpose it: the first axis is x." if grid.shape == shape[::-1] else ""
                raise ValueError(
                    f"Landscape.from_arrays: values must have shape {shape}, one for every point, got {grid.shape} for "
                    f"{name!r}.{turned or ' Compute them on the grid of the coordinates.'}"
                )
        return cls(
            coords=coords,
            axes=names,
            labels=names,
            values=grids,
            evaluated=np.ones(shape, dtype=bool),
            evaluations=int(np.prod(shape)),
            error=dict.fromkeys(grids, 0.0),
        )

    def __repr__(self) -> str:
        told = []
        for name, values in self.values.items():
            finite = values[np.isfinite(values)]
            if finite.size:
                told.append(f"{name} {finite.min():.4g} to {finite.max():.4g} within {self.error[name]:.2g}")
            else:
                told.append(f"{name} {'not finite where evaluated' if self.evaluated.any() else 'not known'}")
        size = " x ".join(map(str, self.shape))
        return f"Landscape({size} over {', '.join(self.axes)}; {'; '.join(told)}; {self.evaluations:,} evaluated)"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """In a notebook, a picture; elsewhere what `repr` says."""
        found: dict[str, Any] = through("landscape.bundle")(self)
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid."""
        return self.evaluated.shape

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, the deciding one first."""
        return tuple(self.values)

    @property
    def nonfinite(self) -> int:
        """Pixels that were evaluated and at which some metric is not finite."""
        return int((self._without_value & self.evaluated).sum())

    @property
    def unknown(self) -> int:
        """Pixels that were not evaluated and have no value of some metric: who knows whether it is finite there."""
        return int((self._without_value & ~self.evaluated).sum())

    @property
    def _without_value(self) -> NDArray[np.bool_]:
        none: NDArray[np.bool_] = ~np.all([np.isfinite(v) for v in self.values.values()], axis=0)
        return none

    @cached_property
    def blind_spot(self) -> float:
        """Share of the pixels in the largest disc, on a curve the widest gap, of which none was evaluated.

        A feature that is smaller may have been missed, whatever the `error` says: no sample excludes it. A disc is one
        in the picture, whose axes are equally long. 0.0 when every pixel was evaluated, 1.0 when none was.

        Example:
            >>> x, every = np.linspace(-1, 1, 65), np.arange(65) % 4 == 0
            >>> Landscape((x,), ("x",), ("x",), {"loss": x**2}, every, 17, {"loss": 0.002}).blind_spot == 3 / 65
            True
        """
        if not self.evaluated.any():
            return 1.0
        steps = [1 / max(1, size - 1) for size in self.shape]
        distance = distance_transform_edt(~self.evaluated, sampling=steps)
        radius = distance.max() * (1 + 1e-9)
        centres = np.argwhere(distance * (1 + 2e-9) >= radius)
        centre = centres[np.abs(centres * steps - 0.5).max(axis=1).argmin()]  # an outer one may not be whole
        away = [(i - c) * step for i, c, step in zip(np.indices(self.shape), centre, steps, strict=True)]
        inside = ~self.evaluated & (np.sqrt(sum(a**2 for a in away)) <= radius)
        return float(inside.sum() / inside.size)

    def at(self, point: ArrayLike) -> dict[str, float]:
        """Metrics at a point inside the grid; exact at grid points.

        Between them by a cubic spline through the pixels, or linearly where a pixel of the metric is not finite.

        Raises:
            ValueError: The point has another number of coordinates, or lies outside.
        """
        u = np.atleast_1d(np.asarray(point, dtype=np.float64))
        inside = len(u) == len(self.coords) and all(c[0] <= x <= c[-1] for c, x in zip(self.coords, u, strict=False))
        if not inside:
            extent = ", ".join(
                f"{name} in [{c[0]:g}, {c[-1]:g}]" for name, c in zip(self.axes, self.coords, strict=True)
            )
            raise ValueError(
                f"Landscape.at: point must have {extent}, got {u.tolist()}. Widen the span or move the point."
            )
        pixel = self.pixel(u)
        if all(c[i] == x for c, i, x in zip(self.coords, pixel, u, strict=True)):
            return {name: float(v[pixel]) for name, v in self.values.items()}
        return {name: self._between(v, u) for name, v in self.values.items()}

    def _between(self, values: Array, u: Array) -> float:
        if not np.isfinite(values).all():
            with np.errstate(invalid="ignore"):
                return float(RegularGridInterpolator(self.coords, values)(u)[0])
        degrees = [min(3, n - 1) for n in values.shape]
        if len(u) == 1:
            return float(make_interp_spline(self.coords[0], values, k=degrees[0])(u[0]))
        return float(RectBivariateSpline(*self.coords, values, kx=degrees[0], ky=degrees[1], s=0)(*u)[0, 0])

    def pixel(self, point: ArrayLike) -> tuple[int, ...]:
        """Index of the nearest grid point."""
        u = np.atleast_1d(np.asarray(point, dtype=np.float64))
        return tuple(int(np.abs(c - x).argmin()) for c, x in zip(self.coords, u, strict=True))

    def accuracy(self, metric: str, *, log: bool = False) -> str:
        """How wrong interpolated values can be, what may have been missed, and whether frozen weights stay, in words.

        Args:
            metric: Which.
            log: For a logarithmic picture, of whose range a share would mislead.

        Example:
            >>> x, every = np.linspace(-1, 1, 65), np.arange(65) % 4 == 0
            >>> Landscape((x,), ("x",), ("x",), {"loss": x**2}, every, 17, {"loss": 0.002}).accuracy("loss")
            'estimated error ≤ 0.002 (0.2 % of range) · 17 of 65 evaluated · may miss features below 4.6 % of the curve'
        """
        count = "all" if self.evaluated.all() else f"{self.evaluations:,} of"
        told = [f"{count} {self.evaluated.size:,} evaluated"]
        error = self.error[metric]
        if self.sampling.first_look:
            return " · ".join([f"first look, {self.sampling.first_look}", *told])
        if not self.evaluated.all():
            told.append(self.missable)
        if error != error:
            interpolated = (~self.evaluated & np.isfinite(self.values[metric])).any()
            told.insert(0, "error not known yet" if interpolated else "nothing interpolated")
        elif error > 0 or not self.evaluated.all():
            told.insert(0, f"estimated error ≤ {error:.2g}{'' if log else self._share(metric)}")
        if self.sampling.frozen:
            told.append(self.sampling.moves)
        return " · ".join(told)

    @property
    def missable(self) -> str:
        """The `blind_spot` in words."""
        whole = "plane" if len(self.shape) > 1 else "curve"
        return f"may miss features below {100 * self.blind_spot:.2g} % of the {whole}"

    def _share(self, metric: str) -> str:
        """Of a metric's range, its error: in brackets; nothing where the range is rounding, or there is none."""
        finite = drawable(self.values[metric], log=False)
        finite = finite[np.isfinite(finite)]
        if not finite.size or np.ptp(finite) <= _ROUNDING * np.abs(finite).max():
            return ""
        share = 100 * self.error[metric] / float(np.ptp(finite))
        return f" ({share:.2g} % of range)" if share < 100 else f" ({share:,.0f} % of range)"

    def barrier(self, metric: str | None = None, kind: BarrierKind = "excess") -> Barrier:
        """The barrier between the models at alpha 0 and 1 of a line.

        Args:
            metric: By default "loss", or "error" for kind "error".
            kind: "excess" over the chord (Entezari), "mean" of the ends (Ainsworth), or "error" (Frankle). See
                `barrier_of`.

        Raises:
            ValueError: Not a line through alpha 0 and 1, an unknown metric, or a non-finite value in between.
        """
        if len(self.coords) != 1:
            raise ValueError(
                f"Landscape.barrier: landscape must be a curve, got {len(self.coords)} axes. Sample a Line(a, b)."
            )
        if self.sampling.directions and self.sampling.kind != "identity":
            raise ValueError(
                f"Landscape.barrier: landscape must be of a line between two models, got a {self.sampling.kind}. "
                "Sample a Line(a, b)."
            )
        metric = metric or ("error" if kind == "error" else "loss" if "loss" in self.values else self.metrics[0])
        if metric not in self.values:
            raise ValueError(
                f"Landscape.barrier: metric must be one of {', '.join(self.metrics)}, got {metric!r}. "
                'Add it to the objective, for example metrics={"error": lw.metrics.error}.'
            )
        return barrier_of(
            self.coords[0],
            self.values[metric],
            kind=kind,
            metric=metric,
            value_error=self.error[metric],
            evaluated=self.evaluated,
            batchnorm=self.sampling.batchnorm,
            split=self.sampling.split,
        )

    def to_xarray(self) -> xarray.Dataset:
        """An xarray Dataset: a variable for each metric, ``evaluated``; errors and provenance as attributes."""
        import xarray

        variables = {
            name: xarray.DataArray(v.copy(), dims=self.axes, attrs={"error_estimate": self.error[name]})
            for name, v in self.values.items()
        }
        variables["evaluated"] = xarray.DataArray(self.evaluated.copy(), dims=self.axes)
        coords = {
            name: xarray.DataArray(c, dims=(name,), attrs={"long_name": label})
            for name, c, label in zip(self.axes, self.coords, self.labels, strict=True)
        }
        attrs = {"evaluations": self.evaluations, "provenance": json.dumps(self.provenance)}
        return xarray.Dataset(variables, coords=coords, attrs=attrs)

    def to_html(
        self, path: str | Path, *, metric: str | None = None, log: bool = False, title: str = "", **options: Any
    ) -> Path:
        """Write one HTML file that shows the picture, to be turned and read without a kernel or a network.

        Args:
            path: Of the file.
            metric: By default the first.
            log: Logarithmic height.
            title: Shown above.
            **options: Those of `write_page`: abstract, caption and citation, Markdown with maths; kind, "page" for the
                widgets of the notebook; exact, False to round; budget in megabytes.
        """
        written: Path = through("landscape.to_html")(self, path, metric=metric, log=log, title=title, **options)
        return written

    def figure(self, metric: str | None = None, **options: Any) -> Figure:
        """A matplotlib figure for a paper: a curve, or a map with contour lines, and below it how wrong it can be.

        Args:
            metric: By default the first.
            **options: log, for a logarithmic height; width in inches, 3.3 as a column has; colormap; contours, about
                how many; show_points, where it was evaluated; show_models; barrier, for example "excess"; ax,
                where to draw. See `lwidgets.pictures.stills.figure`.

        Raises:
            ValueError: An unknown metric, or an option that does not fit.
        """
        drawn: Figure = through("landscape.figure")(self, metric, **options)
        return drawn

    def to_png(
        self,
        path: str | Path,
        metric: str | None = None,
        *,
        dpi: float = 300,
        transparent: bool = False,
        **options: Any,
    ) -> Path:
        """Write the `figure` as a PNG file.

        Args:
            path: Of the file.
            metric: By default the first.
            dpi: Pixels an inch.
            transparent: Leave out the ground.
            **options: Of `figure`.

        Returns:
            The path written.

        Raises:
            ValueError: As in `figure`; or a resolution out of range.
        """
        return write_whole(path, through("landscape.png")(self, metric, dpi=dpi, transparent=transparent, **options))

    def to_svg(self, path: str | Path, metric: str | None = None, *, transparent: bool = False, **options: Any) -> Path:
        """Write the `figure` as an SVG file; equal pictures give equal bytes. Arguments as for `to_png`."""
        return write_whole(path, through("landscape.svg")(self, metric, transparent=transparent, **options))

    def save(self, path: str | Path) -> Path:
        """Write a ``.landscape.json`` file; an existing one is replaced only once the new one is complete.

        Arrays are stored as little-endian bytes in base64, so every value, nan and inf included, comes back exactly.

        Returns:
            The path written.
        """
        body = {
            "axes": [
                {"name": name, "label": label, "coords": _pack(c, "<f8")}
                for name, label, c in zip(self.axes, self.labels, self.coords, strict=True)
            ],
            "shape": list(self.shape),
            "metrics": [
                {"name": name, "values": _pack(v, "<f8"), "error": _pack(np.float64(self.error[name]), "<f8")}
                for name, v in self.values.items()
            ],
            "evaluated": _pack(self.evaluated, "u1"),
            "evaluations": self.evaluations,
            "final": self.final,
            "sampling": asdict(self.sampling),
            "provenance": self.provenance,
        }
        text = json.dumps({"format": _FORMAT, "version": _VERSION, "digest": _digest(body), **body})
        return write_whole(path, text)


def drawable(values: ArrayLike, log: bool) -> Array:
    """The values, with nan for those without a place in a picture: not finite, or on a logarithmic axis not positive.

    >>> drawable([1.0, 0.0, np.inf, 1e300], log=True).tolist()
    [1.0, nan, nan, nan]
    """
    numbers = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):  # browsers draw float32, beyond which a value is infinity
        finite = np.isfinite(numbers.astype(np.float32))
    return np.where(finite & ((numbers > 0) | (not log)), numbers, np.nan)


def mean_of(landscapes: Sequence[Landscape]) -> Landscape:
    """The mean of several landscapes on one grid, as of one model's loss on several tasks.

    An error is the mean of the errors, which bounds that of the mean; a pixel is measured where it is in all of them.
    The provenance is the first's, with the objectives of all.

    Raises:
        ValueError: There are none, or their grids or metrics differ.

    Example:
        >>> x, known = np.linspace(0, 1, 3), np.array([True, False, True])
        >>> first, second = (Landscape((x,), ("x",), ("x",), {"loss": c * x}, known, 2, {"loss": c}) for c in (1, 3))
        >>> mean_of([first, second]).values["loss"].tolist(), mean_of([first, second]).error
        ([0.0, 1.0, 2.0], {'loss': 2.0})
    """
    if not landscapes:
        raise ValueError("mean_of: landscapes must be one or more, got none. Sample one first.")
    first = landscapes[0]
    for i, other in enumerate(landscapes):
        same = len(other.coords) == len(first.coords) and all(map(np.array_equal, other.coords, first.coords))
        if not same or other.metrics != first.metrics:
            raise ValueError(
                f"mean_of: landscapes must have one grid and the same metrics, got {other!r} at {i} after {first!r}. "
                "Sample them with one span and resolution."
            )
    with np.errstate(invalid="ignore"):  # infinities of both signs have no mean
        values = {name: np.mean([one.values[name] for one in landscapes], axis=0) for name in first.metrics}
    return replace(
        first,
        values=values,
        evaluated=np.all([one.evaluated for one in landscapes], axis=0),
        evaluations=sum(one.evaluations for one in landscapes),
        error={name: float(np.mean([one.error[name] for one in landscapes])) for name in first.metrics},
        provenance={**first.provenance, "mean of": [one.provenance.get("objective") for one in landscapes]},
        final=all(one.final for one in landscapes),
        sampling=replace(
            first.sampling,
            settled=all(one.sampling.settled for one in landscapes),
            first_look=next((one.sampling.first_look for one in landscapes if one.sampling.first_look), ""),
            without_effect=tuple(
                name for name in first.metrics if all(name in one.sampling.without_effect for one in landscapes)
            ),
        ),
    )


def load(path: str | Path) -> Landscape:
    """Read a landscape that `Landscape.save` wrote. Nothing in the file is executed.

    A file that does not say how it was sampled (`Sampling`) is refused: no default would be true of it.

    Raises:
        FileNotFoundError: Nothing is at that path.
        ValueError: The file is truncated, damaged, of another kind or of a newer version; the message says which.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"load: path must be a landscape file, got {path.name!r}, which is not there. Check the path."
        )

    def refuse(rule: str, got: str, step: str) -> ValueError:
        return ValueError(f"load: {path.name} must {rule}, got {got}. {step}")

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise refuse("be a landscape file", "binary data", "Use a file that Landscape.save wrote.") from error
    except json.JSONDecodeError as error:
        raise refuse(
            "be a complete landscape file",
            f"text that ends or breaks at character {error.pos}",
            "Copy or save it again.",
        ) from error
    except RecursionError as error:
        raise refuse("be a landscape file", "JSON nested too deep", "Use a file that Landscape.save wrote.") from error
    except ValueError as error:  # Python's limit for whole numbers
        raise refuse(
            "be a landscape file", "a number of thousands of digits", "Use a file that Landscape.save wrote."
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise refuse("be a landscape file", "JSON of another kind", "Use a file that Landscape.save wrote.")
    version = content.get("version")
    if type(version) is not int or version != _VERSION:
        raise refuse(f"have format version {_VERSION}", f"version {version!r:.40}", "Update lwidgets to read it.")
    body = {key: value for key, value in content.items() if key not in ("format", "version", "digest")}
    if content.get("digest") != _digest(body):
        raise refuse("be as it was saved", "contents that do not match their digest", "Copy or save it again.")
    try:
        return _of_file(body)
    except ValueError as error:
        raise refuse("hold axes, metrics and their values", str(error), "Save it again.") from error


def _of_file(body: Mapping[str, Any]) -> Landscape:
    """What `Landscape.save` wrote, every part of it checked: the digest is no signature.

    Raises:
        ValueError: A part is missing, of another type or out of range; the message names it.
    """
    shape = tuple(_whole(n, f"shape[{i}]", least=2) for i, n in enumerate(_part(body, "shape", list)))
    if not 1 <= len(shape) <= 2:
        raise ValueError(f"shape with {len(shape)} axes instead of one or two")
    axes = [_named(axis, f"axes[{i}]") for i, axis in enumerate(_part(body, "axes", list))]
    if len(axes) != len(shape):
        raise ValueError(f"{len(axes)} axes for a shape of {len(shape)}")
    metrics = [_named(metric, f"metrics[{i}]") for i, metric in enumerate(_part(body, "metrics", list))]
    if not metrics or any(len({one["name"] for one in named}) < len(named) for named in (axes, metrics)):
        raise ValueError("no metric, or one name twice")
    coords = tuple(_unpack(_part(axis, "coords", str), "<f8", (n,)) for axis, n in zip(axes, shape, strict=True))
    if not all(np.isfinite(c).all() and (np.diff(c) > 0).all() for c in coords):
        raise ValueError("coordinates that do not increase")
    error = {m["name"]: float(_unpack(_part(m, "error", str), "<f8", ())) for m in metrics}
    evaluated = _unpack(_part(body, "evaluated", str), "u1", shape)
    if evaluated.max() > 1:
        raise ValueError("evaluated with a byte other than 0 and 1")
    return Landscape(
        coords=coords,
        axes=tuple(axis["name"] for axis in axes),
        labels=tuple(_part(axis, "label", str) for axis in axes),
        values={m["name"]: _unpack(_part(m, "values", str), "<f8", shape) for m in metrics},
        evaluated=evaluated.astype(bool),
        evaluations=_whole(body.get("evaluations"), "evaluations", least=0),
        error=error,
        provenance=_part(body, "provenance", dict),
        final=_part(body, "final", bool),
        sampling=_sampling(_part(body, "sampling", dict)),
    )


def _sampling(part: Mapping[str, Any]) -> Sampling:
    """What is decided on, every fact of the type that it has by default."""
    found: dict[str, Any] = {}
    for fact in fields(Sampling):
        like = fact.default
        value = _part(part, fact.name, list if isinstance(like, tuple) else type(like))
        if isinstance(like, tuple):
            if not all(isinstance(text, str) for text in value):
                raise ValueError(f"{fact.name} with something other than text")
            value = tuple(value)
        found[fact.name] = _whole(value, fact.name, least=0) if type(like) is int else value
    if unknown := sorted(part.keys() - found.keys()):
        raise ValueError(f"sampling with {unknown[0]!r:.40}, which is not known here")
    return Sampling(**found)


def _numbers(given: Numbers, name: str) -> Array:
    """Lists, arrays or tensors as a float64 array of their own."""
    try:
        array = given.detach().cpu().double().numpy() if isinstance(given, Tensor) else np.asarray(given)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"numbers of type {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Landscape.from_arrays: coordinates and values must be real numbers, got {error} for {name!r}. "
            "Pass a list, an array or a tensor of them."
        ) from error


def _part(whole: Mapping[str, Any], name: str, kind: type) -> Any:
    """A part of a file that must be of a type."""
    if type(whole.get(name)) is not kind:
        raise ValueError(f"{name} that is {type(whole[name]).__name__ if name in whole else 'missing'}")
    return whole[name]


def _named(part: Any, where: str) -> Mapping[str, Any]:
    """An axis or a metric."""
    if not isinstance(part, dict) or not _part(part, "name", str):
        raise ValueError(f"{where} without a name")
    return part


def _whole(number: Any, name: str, *, least: int) -> int:
    """A whole number of a size that every program can hold."""
    if type(number) is not int or not least <= number <= _MOST:
        raise ValueError(f"{name} {number!r:.40} instead of a whole number of at least {least}")
    return number


def _pack(array: ArrayLike, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode("ascii")


def _unpack(text: str, dtype: str, shape: Sequence[int]) -> Any:
    data, size = base64.b64decode(text, validate=True), int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    if len(data) != size:
        raise ValueError(f"{len(data):,} bytes of values instead of {size:,}")
    return np.frombuffer(data, dtype=dtype).reshape(tuple(shape)).astype(dtype.lstrip("<"))


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()
