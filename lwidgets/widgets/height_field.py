"""The height field: a metric over a plane, as a map with contour lines and as a surface to turn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import ArrayLike, NDArray

from lwidgets.distances import l2
from lwidgets.landscape import Landscape
from lwidgets.palette import COLORMAPS
from lwidgets.subspaces import Subspace

_STEPS = 65  # points of a path
_OFF = 1e-5  # of a path's size: less off a plane is rounding

_OF_A_PATH = {"x", "y", "label", "color", "dashed"}


def script(name: str) -> Path:
    """Return the built script of a widget.

    Args:
        name: File name in ``lwidgets/static``, e.g. ``"height_field.js"``.

    Returns:
        The path of an existing file.

    Raises:
        FileNotFoundError: The script was not built.

    Example:
        >>> script("no_such.js")
        Traceback (most recent call last):
        ...
        FileNotFoundError: script: lwidgets/static must hold no_such.js, got no such file. Run `make build`.
    """
    path = Path(__file__).parent.parent / "static" / name
    if not path.is_file():
        raise FileNotFoundError(f"script: lwidgets/static must hold {name}, got no such file. Run `make build`.")
    return path


class HeightField(anywidget.AnyWidget):
    """A metric on a grid: a map with contour lines and a surface in a box, which share colours and pointer.

    ``frame`` carries the data, all of it at once, so that a picture never mixes two states; build it with
    :func:`frame`. The other traits say how it is looked at.

    Attributes:
        frame: What to draw, from :func:`frame`; ``{}`` while nothing has been computed.
        panes: ``"map"``, ``"surface"`` or both.
        camera: Of the surface: ``yaw`` and ``pitch`` in radians (yaw 0 looks along +y, pitch pi/2 looks
            straight down) and ``zoom`` (1 fits the box). Written by the browser at the end of a gesture.
        point: The pinned point ``[x, y]`` in the units of the axes, or ``[]``.
        show_points: Draw a dot on every point that was really evaluated.
        contours: About how many contour levels; they lie at round values that contain the colour bar's
            ticks. 0 for none.
        markers: Named places, each ``{"x": float, "y": float, "label": str}``.
        paths: Named lines through points of the plane, in the order drawn, each
            ``{"x": [float], "y": [float], "label": str, "color": "#rrggbb", "dashed": bool}``: x and y of one length,
            two or more, finite, any sequences or arrays; ``dashed`` may be left out; no legend for an empty label.
        description: Accessible name of the figure.
    """

    _esm = script("height_field.js")
    _tag = 0  # of the frame drawn last

    frame = traitlets.Dict().tag(sync=True)
    panes = traitlets.List(traitlets.Enum(["map", "surface"]), ["map", "surface"]).tag(sync=True)
    camera = traitlets.Dict(default_value={"yaw": 0.7, "pitch": 0.6, "zoom": 1.0}).tag(sync=True, echo_update=False)
    point = traitlets.List(traitlets.CFloat()).tag(sync=True)
    show_points = traitlets.Bool(False).tag(sync=True)
    contours = traitlets.Int(12, min=0, max=40).tag(sync=True)
    markers = traitlets.List(traitlets.Dict()).tag(sync=True)
    paths = traitlets.List(traitlets.Dict()).tag(sync=True)
    description = traitlets.Unicode("").tag(sync=True)

    def __init__(self, **kwargs: Any) -> None:
        # In a row of widgets nothing else asks for a width: the picture adapts to what it is given.
        super().__init__(**{"layout": {"width": "100%", "min_width": "280px"}, **kwargs})

    def draw(self, landscape: Landscape, metric: str, *, log: bool = False, **looks: Any) -> None:
        """Show a landscape over two axes as the next frame; arguments as for `frame_of`."""
        self._tag += 1
        self.frame = frame_of(landscape, metric, log=log, tag=self._tag, **looks)

    def picture(self) -> dict[str, Any]:
        """What is on show, as plain values and arrays: the frame's binary fields unpacked, and how it is looked at."""
        looks = {name: getattr(self, name) for name in ("panes", "camera", "show_points", "contours")}
        paths = [{**path, "x": np.array(path["x"]), "y": np.array(path["y"])} for path in self.paths]
        marks = {"markers": self.markers, "paths": paths}
        return {"frame": unpacked(self.frame), **marks, "description": self.description, **looks}

    @traitlets.validate("point")
    def _valid_point(self, proposal: dict[str, Any]) -> list[float]:
        point: list[float] = proposal["value"]
        if len(point) not in (0, 2) or not np.isfinite(point).all():
            raise traitlets.TraitError(
                f"HeightField: point must be [x, y] with finite numbers, or [], got {point}. "
                "Pass [] to unpin the point."
            )
        return point

    @traitlets.validate("paths")
    def _valid_paths(self, proposal: dict[str, Any]) -> list[dict[str, Any]]:
        return [_path(k, path) for k, path in enumerate(proposal["value"])]


def frame(
    x: ArrayLike,
    y: ArrayLike,
    values: Mapping[str, ArrayLike],
    evaluated: ArrayLike,
    errors: Mapping[str, float | None],
    *,
    metric: str,
    log: bool = False,
    colormap: str = "viridis",
    labels: Sequence[str] = ("x", "y"),
    final: bool = True,
    tag: int = 0,
) -> dict[str, Any]:
    """Pack a landscape for the ``frame`` trait of :class:`HeightField`.

    Grids are ``ij``: ``values[m][i, j]`` belongs to ``x[i]``, ``y[j]``. Numbers are rounded to float32 on the
    way; NaN and infinities stay what they are and are drawn as holes.

    Args:
        x: Strictly increasing coordinates. Shape (nx,), nx >= 2.
        y: Strictly increasing coordinates. Shape (ny,), ny >= 2.
        values: Each metric on the grid. Shape (nx, ny).
        evaluated: True where a value was evaluated, False where it was interpolated. Shape (nx, ny).
        errors: Estimated largest error of an interpolated value, in the unit of its metric; None, NaN or no
            entry while it is not known.
        metric: The metric to draw, a key of ``values``.
        log: Whether height and colour are logarithmic.
        colormap: One of ``viridis``, ``cividis``, ``magma``, ``gray``.
        labels: Names of the two axes.
        final: False while a finer picture is still on its way.
        tag: A number that increases from frame to frame.

    Returns:
        A new dict of JSON values and ``bytes`` (little endian).

    Raises:
        ValueError: A shape, a coordinate or a name does not fit.

    Example:
        >>> import numpy as np
        >>> x, y = np.linspace(-1, 1, 3), np.linspace(0, 1, 2)
        >>> packed = frame(x, y, {"loss": x[:, None] + y}, np.ones((3, 2), bool), {}, metric="loss")
        >>> packed["shape"], packed["errors"], len(packed["values"])
        ([3, 2], [None], 24)
    """
    xs, ys = _axis("x", x), _axis("y", y)
    shape = (len(xs), len(ys))
    if metric not in values:
        raise ValueError(
            f"frame: metric must be one of {', '.join(map(repr, values)) or 'the values'}, got {metric!r}. "
            "Pass a key of values."
        )
    if colormap not in COLORMAPS:
        raise ValueError(
            f"frame: colormap must be one of {', '.join(COLORMAPS)}, got {colormap!r}. Choose one of these."
        )
    if len(labels) != 2 or isinstance(labels, str):
        raise ValueError(f"frame: labels must be two strings, got {labels!r}. Name the x and the y axis.")
    with np.errstate(over="ignore"):  # beyond float32 a value is drawn as the infinity it would show as
        grids = [_grid(f"values[{name!r}]", grid, shape).astype("<f4") for name, grid in values.items()]
    mask = _grid("evaluated", evaluated, shape)
    return {
        "shape": list(shape),
        "x": xs.tobytes(),
        "y": ys.tobytes(),
        "labels": [str(label) for label in labels],
        "metrics": list(values),
        "values": np.stack(grids).tobytes(),
        "evaluated": (mask != 0).astype(np.uint8).tobytes(),
        "errors": [_known(errors.get(name)) for name in values],
        "metric": metric,
        "log": bool(log),
        "colormap": colormap,
        "final": bool(final),
        "tag": int(tag),
    }


def frame_of(landscape: Landscape, metric: str, *, log: bool = False, **looks: Any) -> dict[str, Any]:
    """The `frame` of a landscape over two axes.

    Args:
        landscape: What to draw.
        metric: Which of its metrics.
        log: Whether height and colour are logarithmic.
        **looks: colormap and tag.
    """
    x, y = landscape.coords
    told: dict[str, Any] = {"labels": landscape.labels, "final": landscape.final, **looks}
    return frame(x, y, landscape.values, landscape.evaluated, landscape.error, metric=metric, log=log, **told)


def path_of(path: Subspace, plane: Subspace, *, label: str, color: str) -> dict[str, Any]:
    """An entry of ``paths``: a path between models, seen from above a plane.

    Drawn where the nearest points of the plane are; dashed if it leaves the plane, for then its loss is not that of the
    picture below it.

    Args:
        path: Of one coordinate, whose points are mixtures of its vertices: a line or a curve.
        plane: In the same parameters.
        label: Of the path.
        color: As #rrggbb.

    Example:
        >>> import torch, lwidgets as lw
        >>> a, b, c = (torch.tensor(x) for x in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]))
        >>> drawn = path_of(lw.Chain(a, c, b), lw.Plane.through(a, b, c), label="round", color="#000000")
        >>> drawn["x"][::32], drawn["y"][::32], drawn["dashed"]
        ([0.0, 0.0, 1.0], [0.0, 1.0, 0.0], False)
    """
    if len(path.axes) != 1 or path.directions:
        raise ValueError(
            f"path_of: path must have one coordinate and be between models, got a {path.kind} of {len(path.axes)}. Use "
            "Line(a, b) or a curve."
        )
    corners, off = plane.project([*path.vertices])
    axis = path.axes[0]
    x, y = (path.coefficients(np.linspace(axis.low, axis.high, _STEPS)[:, None]) @ corners).T
    size = max(l2(path.vertices[0], vertex, plane.space.moved) for vertex in path.vertices)
    return {"x": x.tolist(), "y": y.tolist(), "label": label, "color": color, "dashed": bool(off.max() > _OFF * size)}


def unpacked(packed: Mapping[str, Any]) -> dict[str, Any]:
    """A frame with arrays in place of bytes: x, y, one of shape (nx, ny) for each metric, and evaluated."""
    if not packed:
        return {}
    nx, ny = packed["shape"]
    return {
        **packed,
        "x": np.frombuffer(packed["x"], "<f4"),
        "y": np.frombuffer(packed["y"], "<f4"),
        "values": list(np.frombuffer(packed["values"], "<f4").reshape(-1, nx, ny)),
        "evaluated": np.frombuffer(packed["evaluated"], np.uint8).reshape(nx, ny),
    }


def _path(k: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check one of the paths; its coordinates become lists, as JSON has them."""

    def refuse(part: str, rule: str, got: object, hint: str) -> traitlets.TraitError:
        return traitlets.TraitError(f"HeightField: paths[{k}]{part} must {rule}, got {got}. {hint}")

    path = {"dashed": False, **given}
    if set(path) != _OF_A_PATH:
        raise refuse("", f"have {', '.join(sorted(_OF_A_PATH))}", ", ".join(sorted(map(str, given))), "Name these.")
    for axis in ("x", "y"):
        try:
            along = np.asarray(path[axis], dtype=np.float64)
        except (TypeError, ValueError):
            raise refuse(f".{axis}", "be numbers", repr(path[axis]), "Pass a list or an array.") from None
        if along.ndim != 1 or len(along) < 2 or not np.isfinite(along).all():
            got = f"shape {along.shape}" if along.ndim != 1 or len(along) < 2 else _first_gap(along)
            raise refuse(f".{axis}", "hold two or more finite numbers", got, "Leave out what is not on the path.")
        path[axis] = along.tolist()
    if len(path["x"]) != len(path["y"]):
        raise refuse(".y", "be as long as x", f"{len(path['y'])} for {len(path['x'])}", "Pass one y for each x.")
    if not isinstance(path["label"], str):
        raise refuse(".label", "be text", repr(path["label"]), 'Pass "" for a path without a name.')
    if not isinstance(path["color"], str) or not re.fullmatch("#[0-9a-fA-F]{6}", path["color"]):
        raise refuse(".color", "be #rrggbb", repr(path["color"]), "lwidgets.palette has colours to choose from.")
    if not isinstance(path["dashed"], bool):
        raise refuse(".dashed", "be True or False", repr(path["dashed"]), "Leave it out for a solid line.")
    return path


def _first_gap(along: NDArray[np.float64]) -> str:
    """The first number that is not finite, and where it is."""
    at = int(np.flatnonzero(~np.isfinite(along))[0])
    return f"{along[at]:g} at index {at}"


def _axis(name: str, coordinates: ArrayLike) -> NDArray[np.float32]:
    """Check one axis and round it to little-endian float32."""
    given = np.asarray(coordinates, dtype=np.float64)
    if given.ndim != 1 or len(given) < 2:
        raise ValueError(
            f"frame: {name} must have shape (n,) with n >= 2, got {given.shape}. Pass the coordinates of one axis."
        )
    rounded = given.astype("<f4")
    wrong = np.flatnonzero(~(np.diff(rounded) > 0) | ~np.isfinite(rounded[1:]) | ~np.isfinite(rounded[:-1]))
    if len(wrong):
        k = int(wrong[0])
        raise ValueError(
            f"frame: {name} must be finite and strictly increasing in float32, got {given[k]:g}, {given[k + 1]:g} "
            f"at index {k}. Sort the axis, or widen its span."
        )
    return rounded


def _grid(name: str, grid: ArrayLike, shape: tuple[int, int]) -> NDArray[Any]:
    """Return a grid as an array of the expected shape."""
    array = np.asarray(grid)
    if array.shape != shape:
        hint = (
            "Transpose it: grids are [i, j] = [x, y]." if array.shape == shape[::-1] else "Evaluate on the same grid."
        )
        raise ValueError(f"frame: {name} must have shape {shape} for these axes, got {array.shape}. {hint}")
    return array


def _known(error: float | None) -> float | None:
    """Return an error estimate as JSON can carry it: NaN and infinity mean that it is not known."""
    return None if error is None or not np.isfinite(error) else float(error)
