"""A surface: a metric over two axes, as a map with contour lines and in 3-D, and what lies on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lwidgets.landscape import Landscape
from lwidgets.palette import COLORMAPS
from lwidgets.pictures.base import Keep, Picture, colored, numbers
from lwidgets.pictures.marks import Marker, Path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Pane = Literal["map", "surface"]

_WIDTH = 5.0  # inches of a still
_NAMED = 3  # marks named in a sentence


@dataclass(frozen=True, eq=False)
class Surface(Picture):
    """A metric of a landscape over two axes.

    Attributes:
        landscape: Of two axes; None for a layer of marks on another surface.
        metric: Which of its metrics is drawn; by default the first.
        log: Whether height and colour are logarithmic.
        colormap: viridis, cividis, magma or gray.
        markers: Named places.
        paths: Lines through the plane.
        description: Its accessible name, and a caption.
        panes: "map", "surface" or both.
        camera: Of the surface: yaw and pitch in radians, zoom.
        show_points: A dot where the metric was measured.
        contours: About how many, at round values; 0 for none.
        cells: Names along both axes: a matrix or phase diagram, one square for each point. See `matrix`.

    Example:
        >>> picture = Surface.matrix([[1.0, 2.0], [3.0, 4.0]], (["a", "b"], ["c", "d"]), metric="accuracy")
        >>> picture.metric, picture.panes
        ('accuracy', ('map',))
    """

    kind: ClassVar[str] = "surface"

    landscape: Landscape | None = None
    metric: str = ""
    log: bool = False
    colormap: str = "viridis"
    markers: Sequence[Marker] = ()
    paths: Sequence[Path] = ()
    description: str = ""
    panes: Sequence[Pane] = ("map", "surface")
    camera: Mapping[str, float] = field(default_factory=dict)
    show_points: bool = False
    contours: int = 12
    cells: tuple[Sequence[str], Sequence[str]] | tuple[()] = ()

    def __post_init__(self) -> None:
        """Check that it can be drawn.

        Raises:
            ValueError: Another number of axes, axes that do not increase in float32, an unknown metric, colour map or
                pane; or names that are not one for each point.
            TypeError: Markers or paths that are none.
        """
        object.__setattr__(self, "markers", _all(self.markers, Marker, "markers"))
        object.__setattr__(self, "paths", _all(self.paths, Path, "paths"))
        object.__setattr__(self, "panes", (self.panes,) if isinstance(self.panes, str) else tuple(self.panes))
        known = get_args(Pane)
        if not self.panes or any(pane not in known for pane in self.panes):
            raise ValueError(f'Surface: panes must be "map", "surface" or both, got {self.panes!r}. Name one.')
        if self.colormap not in COLORMAPS:
            raise ValueError(
                f"Surface: colormap must be one of {', '.join(COLORMAPS)}, got {self.colormap!r}. Choose one of these."
            )
        if not 0 <= self.contours <= 40:
            raise ValueError(f"Surface: contours must be between 0 and 40, got {self.contours}. The default is 12.")
        if self.landscape is None:
            return
        if not isinstance(self.landscape, Landscape):
            raise TypeError(
                f"Surface: landscape must be a Landscape, got {type(self.landscape).__name__}. Use lw.sample, or "
                "Surface.matrix for a grid of numbers."
            )
        if len(self.landscape.coords) != 2:
            raise ValueError(
                f"Surface: landscape must have two axes, got {len(self.landscape.coords)}. Draw a curve with Curves."
            )
        object.__setattr__(self, "metric", self.metric or self.landscape.metrics[0])
        if self.metric not in self.landscape.values:
            raise ValueError(
                f"Surface: metric must be one of {', '.join(self.landscape.metrics)}, got {self.metric!r}. "
                "Use one of these."
            )
        for name, coordinates in zip(self.landscape.axes, self.landscape.coords, strict=True):
            _check_axis(name, coordinates)
        if self.cells and tuple(map(len, self.cells)) != self.landscape.shape:
            raise ValueError(
                f"Surface: cells must name the {self.landscape.shape} points of both axes, got "
                f"{tuple(map(len, self.cells))} names. Pass one name for each row and column."
            )

    @classmethod
    def matrix(
        cls,
        values: ArrayLike,
        names: tuple[Sequence[Any], Sequence[Any]],
        *,
        labels: tuple[str, str] = ("", ""),
        metric: str = "value",
        **looks: Any,
    ) -> Surface:
        """A matrix, as a heat map with names on its axes.

        Args:
            values: Shape (nx, ny): the first index goes to the right.
            names: Of the rows along x, nx, and of those along y, ny; numbers are written as they are.
            labels: Of both axes.
            metric: What the values are.
            **looks: log, colormap, description.

        Raises:
            ValueError: Shapes that do not fit, or fewer than two rows or columns.
        """
        grid = numbers(values, "Surface.matrix: values")
        cells = tuple(tuple(name if isinstance(name, str) else f"{name:g}" for name in axis) for axis in names)
        if grid.ndim != 2 or grid.shape != tuple(map(len, cells)) or min(grid.shape) < 2:
            raise ValueError(
                f"Surface.matrix: values must have a row and a column for each name, two or more, got {grid.shape} for "
                f"{' x '.join(str(len(axis)) for axis in cells)} names. Transpose it, or name them all."
            )
        landscape = Landscape(
            coords=(np.arange(grid.shape[0], dtype=np.float64), np.arange(grid.shape[1], dtype=np.float64)),
            axes=("x", "y"),
            labels=labels,
            values={metric: grid},
            evaluated=np.ones(grid.shape, dtype=bool),
            evaluations=grid.size,
            error={metric: 0.0},
        )
        return cls(landscape, metric, cells=cells, panes=("map",), contours=0, **looks)  # type: ignore[arg-type]

    def over(self, base: Surface) -> Surface:
        """Its marks on the base; its landscape in place of the base's, where it has one."""
        if self.landscape is not None:
            return replace(self, markers=(*base.markers, *self.markers), paths=(*base.paths, *self.paths))
        return replace(
            base,
            markers=(*base.markers, *self.markers),
            paths=(*base.paths, *self.paths),
            description=self.description or base.description,
        )

    def called(self, title: str) -> Surface:
        """With a description."""
        return self if self.description else replace(self, description=title)

    def hold(self, held: Mapping[str, Any]) -> Surface:
        """With the camera where a person has put it."""
        camera = held.get("camera") or {}
        return replace(self, camera={**self.camera, **camera}) if camera else self

    def lean(self) -> Surface:
        """With the metric that is drawn alone."""
        if self.landscape is None or len(self.landscape.values) == 1:
            return self
        values = {self.metric: self.landscape.values[self.metric]}
        return replace(self, landscape=replace(self.landscape, values=values, error={self.metric: self._error()}))

    def thin(self, step: int) -> Surface:
        """With every so manieth pixel of it, which its description says."""
        if self.landscape is None or step == 1:
            return self
        shape = self.landscape.shape
        i, j = (np.linspace(0, n - 1, max(2, n // step + 1)).round().astype(int) for n in shape)
        grid, (x, y) = np.ix_(i, j), self.landscape.coords
        told = f"Kept here with every {step}th of its {' x '.join(map(str, shape))} pixels along each axis."
        fewer = replace(
            self.landscape,
            coords=(x[i], y[j]),
            values={name: values[grid] for name, values in self.landscape.values.items()},
            evaluated=self.landscape.evaluated[grid],
        )
        cells = (
            tuple(tuple(axis[k] for k in kept) for axis, kept in zip(self.cells, (i, j), strict=True))
            if self.cells
            else ()
        )
        described = f"{self.description.rstrip('.')}. {told}" if self.description else told
        return replace(self, landscape=fewer, cells=cells, description=described)  # type: ignore[arg-type]

    def plain(self, keep: Keep) -> dict[str, Any]:
        """See `Picture.plain`; without a landscape there is nothing to keep."""
        found = self.landscape
        if found is None:
            return {}
        x, y = found.coords
        return {
            "shape": list(found.shape),
            "x": keep(x),
            "y": keep(y),
            "labels": [str(label) for label in found.labels],
            "metrics": list(found.values),
            "metric": self.metric,
            "values": {
                "arrays": [
                    keep(values, name, self.log, coding=self._coding(values))["array"]
                    for name, values in found.values.items()
                ]
            },
            "evaluated": keep(found.evaluated, coding="u1"),
            "errors": [_known(found.error.get(name)) for name in found.values],
            "log": self.log,
            "colormap": self.colormap,
            "final": found.final,
            "missable": found.missable if found.blind_spot else "",
            "markers": [{"x": float(m.x), "y": float(m.y), "label": m.label} for m in self.markers],
            "paths": [_plain_path(path, keep) for path in self.colored],
            "description": self.description,
            "panes": list(self.panes),
            "camera": {name: float(value) for name, value in self.camera.items()},
            "show_points": self.show_points,
            "contours": self.contours,
            **({"names": [list(axis) for axis in self.cells]} if self.cells else {}),
        }

    @property
    def colored(self) -> tuple[Path, ...]:
        """The paths, each with a colour of its own.

        >>> ways = [Path([0, 1], [0, 1]), Path([0, 1], [1, 0], color="#000000"), Path([0, 1], [1, 1])]
        >>> [path.color for path in Surface(None, paths=ways).colored]
        ['#0072B2', '#000000', '#D55E00']
        """
        return colored(self.paths)

    @property
    def outside(self) -> str:
        """Which marks leave the window, in words; empty where all lie in it.

        >>> x = np.linspace(0, 1, 3)
        >>> land = Landscape((x, x), ("x", "y"), ("x", "y"), {"loss": np.zeros((3, 3))}, np.ones((3, 3), bool), 9, {})
        >>> Surface(land, markers=[Marker(2, 0, "b")], paths=[Path([0, 3], [0, 0], "GD")]).outside
        'outside the picture: b, a part of GD'
        """
        if self.landscape is None:
            return ""
        (left, right), (low, high) = ((c[0], c[-1]) for c in self.landscape.coords)

        def inside(x: Any, y: Any) -> Any:
            room_x, room_y = 1e-6 * (right - left), 1e-6 * (high - low)
            x, y = np.asarray(x), np.asarray(y)
            return (x >= left - room_x) & (x <= right + room_x) & (y >= low - room_y) & (y <= high + room_y)

        told = [marker.label or "a marker" for marker in self.markers if not inside(marker.x, marker.y)]
        for path in self.paths:
            there = inside(path.x, path.y)
            if not there.all():
                told.append(f"{'a part of ' if there.any() else ''}{path.label or 'a path'}")
        more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
        return f"outside the picture: {', '.join(told[:_NAMED])}{more}" if told else ""

    def still(self) -> Figure | None:
        """The map as the live one draws it, with what lies on it."""
        from lwidgets.pictures.stills import draw_cells, draw_markers, draw_paths, figure, fit_height

        if self.landscape is None:
            return None
        if self.cells:
            return draw_cells(self.landscape, self.metric, self.cells, log=self.log, colormap=self.colormap)
        still: Any = figure(
            self.landscape,
            self.metric,
            log=self.log,
            width=_WIDTH,
            colormap=self.colormap,
            contours=self.contours,
            show_points=self.show_points,
            show_models=not self.markers,
            also=self.outside,
        )
        draw_paths(still.axes[0], self.colored)
        draw_markers(still.axes[0], self.markers)
        if still.axes[0].get_legend():
            fit_height(still)
        return still  # type: ignore[no-any-return]

    def _error(self) -> float:
        return float(self.landscape.error.get(self.metric, np.nan)) if self.landscape else np.nan

    def _coding(self, values: Array) -> Literal["l2", "q2"]:
        return "l2" if self.log and not (values < 0).any() else "q2"


def _all(given: Any, kind: type, name: str) -> tuple[Any, ...]:
    """The marks, each of its kind."""
    found = (given,) if isinstance(given, kind) else tuple(given)
    for k, one in enumerate(found):
        if not isinstance(one, kind):
            raise TypeError(
                f"Surface: {name} must be {kind.__name__}s, got {type(one).__name__} at {k}. "
                f"Use lw.{kind.__name__}(x, y, label)."
            )
    return found


def _plain_path(path: Path, keep: Keep) -> dict[str, Any]:
    told = {name: getattr(path, name) for name in ("time", "loss", "residual")}
    return {
        "x": keep(path.x),
        "y": keep(path.y),
        "label": path.label,
        "color": path.color,
        "dashed": path.dashed,
        **{name: keep(values) for name, values in told.items() if values is not None},
    }


def _check_axis(name: str, coordinates: Array) -> None:
    rounded = coordinates.astype(np.float32)
    if len(rounded) < 2:
        raise ValueError(f"Surface: {name} must have two points or more, got {len(rounded)}. Sample more.")
    wrong = np.flatnonzero(~(np.diff(rounded) > 0) | ~np.isfinite(rounded[1:]) | ~np.isfinite(rounded[:-1]))
    if len(wrong):
        k = int(wrong[0])
        raise ValueError(
            f"Surface: {name} must be finite and strictly increasing in float32, got {coordinates[k]:g}, "
            f"{coordinates[k + 1]:g} at index {k}. Sort the axis, or widen its span."
        )


def _known(error: float | None) -> float | None:
    """An error estimate as JSON can carry it: NaN and infinity mean that it is not known."""
    return None if error is None or not np.isfinite(error) else float(error)
