"""Plain functions with which the studies of this folder walk: derivatives, optimisers, flows and slices.

All of them take functions of many points at once: f of points, float64 of shape (P, D), gives a loss for each, (P,), or
a dict of metrics with a "loss". What else the function depends on may differ from point to point, such as a step size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from torch import Tensor, nn
from torch.func import functional_call

import lwidgets as lw

Function = Callable[[Tensor], Tensor | Mapping[str, Tensor]]
Rule = Callable[[Tensor, Tensor, dict[str, Any], Tensor, int], Tensor]

_TELL = 25  # steps between two calls of progress
_FAR = 1e8  # where a run counts as diverged
_FRAMES = 200  # points that are kept of a random walk


def real(values: ArrayLike | Tensor | Sequence[Any]) -> Tensor:
    """Numbers as a float64 tensor: ``torch.tensor(0.1)`` has been rounded to float32 before anybody sees it."""
    return torch.as_tensor(values, dtype=torch.float64)


def normal(*shape: int, seed: int) -> Tensor:
    """Independent standard normal numbers, float64, from a generator of their own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- derivatives, of many points at once ---


def _loss(f: Function, points: Tensor) -> Tensor:
    told = f(points)
    return told["loss"] if isinstance(told, Mapping) else told


def gradient(f: Function, points: Tensor, *, graph: bool = False) -> Tensor:
    """The gradient at every point, shape (P, D); with ``graph``, one that can be differentiated again."""
    with torch.enable_grad():
        at = points if graph else points.detach().requires_grad_()
        return torch.autograd.grad(_loss(f, at).sum(), at, create_graph=graph)[0]


def hessian(f: Function, points: Tensor) -> Tensor:
    """The Hessian at every point, shape (P, D, D), by D backward passes for all points together."""
    with torch.enable_grad():
        at = points.detach().requires_grad_()
        slopes = gradient(f, at, graph=True)
        rows = [
            torch.autograd.grad(slope.sum(), at, retain_graph=True, materialize_grads=True)[0] for slope in slopes.T
        ]
    return torch.stack(rows, dim=1)


def sharpness(f: Function, points: Tensor) -> Tensor:
    """The largest eigenvalue of the Hessian at every point, shape (P,); NaN where a run has diverged."""
    near = (points.abs() < _FAR).all(dim=1)  # also false of what is not a number
    largest = torch.linalg.eigvalsh(hessian(f, torch.where(near[:, None], points, 0.0)))[:, -1]
    return torch.where(near, largest, torch.nan)


# --- functions of functions ---


def within(f: Function, origin: Tensor, directions: Tensor) -> Function:
    """f in an affine subspace: a function of coordinates (P, k) at ``origin + coordinates @ directions``."""
    return lambda u: f(origin + u @ directions)


def minimised(
    f: Function,
    origin: Tensor,
    directions: Tensor,
    rest: Tensor,
    *,
    starts: ArrayLike | None = None,
    steps: int = 15,
    progress: Callable[[int, int], None] | None = None,
) -> Function:
    """The profile of f: at each coordinate along ``directions``, its least value over those along ``rest``.

    By Newton's method, where eigenvalues of the Hessian count by their size, so that it goes downhill beside a saddle,
    too, and no step is longer than a half along an eigenvector.

    Args:
        f: Of points (P, D).
        origin: Shape (D,).
        directions: Shape (k, D).
        rest: Shape (m, D).
        starts: Along ``rest``, shape (S, m), of which the lowest end counts; by default zero.
        steps: Of Newton's method.
        progress: Called at every step of it; what it raises ends the work.
    """
    tries = torch.zeros(1, len(rest), dtype=rest.dtype) if starts is None else real(starts)

    def least(u: Tensor) -> Tensor:
        ends = [descended(origin + u @ directions, start.expand(len(u), -1)) for start in tries]
        return torch.stack(ends).amin(dim=0)

    def descended(base: Tensor, v: Tensor) -> Tensor:
        inner = within(f, base, rest)
        for step in range(steps):
            if progress:
                progress(step, steps)
            values, vectors = torch.linalg.eigh(hessian(inner, v))
            along = (vectors.mT @ gradient(inner, v)[:, :, None])[:, :, 0] / values.abs().clamp(min=1e-3)
            v = v - (vectors @ along.clamp(-0.5, 0.5)[:, :, None])[:, :, 0]
        return _loss(inner, v)

    return least


def over(f: Function, axes: Mapping[str, tuple[float, float]], *, resolution: int = 33, **how: Any) -> lw.Landscape:
    """f sampled over a box of the plane.

    Args:
        f: Of its points, (P, 2).
        axes: Name of each of its two coordinates -> (low, high).
        resolution: Pixels an axis.
        **how: As for ``lw.sample``; log for a picture in logarithmic height, tolerance.
    """
    names = [*axes]
    plane = lw.Subspace.identity(len(names), [*axes.values()], names)
    return lw.sample(lw.Objective.from_function(f, len(names), names), plane, resolution=resolution, **how)


# --- walking ---


@dataclass(frozen=True, eq=False)
class Trajectory:
    """R walks of T points each.

    Attributes:
        t: Steps or times, shape (T,).
        points: Shape (T, R, D).
    """

    t: np.ndarray
    points: Tensor

    def observe(self, f: Callable[[Tensor], Tensor]) -> np.ndarray:
        """f of points (P, D) -> (P,) along every walk, shape (R, T)."""
        seen = f(self.points.flatten(0, 1)).unflatten(0, self.points.shape[:2])
        return seen.detach().double().T.numpy()

    def series(self, f: Callable[[Tensor], Tensor], label: str = "", **look: Any) -> lw.Series:
        """f along the walks as a curve over t; of several walks, an ensemble."""
        seen = self.observe(f)
        return lw.Series(self.t, seen[0] if len(seen) == 1 else seen, label, **look)

    def path(
        self, label: str, origin: Tensor | None = None, directions: Tensor | None = None, *, walk: int = 0, **look: Any
    ) -> lw.Path:
        """One walk on a surface, up to where it diverges, with its distance from the surface at each point.

        Args:
            label: In the legend.
            origin: Of the surface, shape (D,); by default the surface is that of the two coordinates.
            directions: Of the surface, shape (2, D).
            walk: Which one.
            **look: As of `lw.Path`.
        """
        near = (self.points[:, walk].abs() < _FAR).all(dim=1).numpy()
        kept = slice(None) if near.all() else slice(int(np.argmin(near)))
        points, time = self.points[kept, walk], self.t[kept]
        if origin is None or directions is None:
            return lw.Path(*points.T, label, time=time, **look)
        off = points - origin
        u = torch.linalg.lstsq(directions.T, off.T).solution
        return lw.Path(*u, label, time=time, residual=(off - u.T @ directions).norm(dim=1), **look)


def gd(p: Tensor, g: Tensor, state: dict[str, Any], rate: Tensor, t: int) -> Tensor:
    """Gradient descent."""
    return p - rate * g


def momentum(p: Tensor, g: Tensor, state: dict[str, Any], rate: Tensor, t: int) -> Tensor:
    """Heavy ball with 0.9."""
    state["velocity"] = 0.9 * state.get("velocity", 0.0) + g
    return p - rate * state["velocity"]


def adam(p: Tensor, g: Tensor, state: dict[str, Any], rate: Tensor, t: int) -> Tensor:
    """Adam with its usual constants, arXiv:1412.6980, algorithm 1."""
    state["mean"] = 0.9 * state.get("mean", 0.0) + 0.1 * g
    state["square"] = 0.999 * state.get("square", 0.0) + 0.001 * g**2
    mean, square = state["mean"] / (1 - 0.9 ** (t + 1)), state["square"] / (1 - 0.999 ** (t + 1))
    return p - rate * mean / (square.sqrt() + 1e-8)


def clipped(p: Tensor, g: Tensor, state: dict[str, Any], rate: Tensor, t: int) -> Tensor:
    """Gradient descent with a gradient of length 1 at most."""
    return p - rate * g / g.norm(dim=1, keepdim=True).clamp(min=1.0)


RULES: dict[str, Rule] = {"GD": gd, "momentum": momentum, "Adam": adam, "clipped": clipped}


def run(
    f: Function | None,
    starts: ArrayLike | Tensor,
    rule: str | Rule = "GD",
    *,
    rate: ArrayLike | Tensor = 0.1,
    steps: int = 600,
    every: int = 1,
    slope: Callable[[Tensor], Tensor] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Trajectory:
    """An optimiser from many starts at once.

    Args:
        f: Of points (P, D).
        starts: Shape (R, D), or (D,) for one.
        rule: One of `RULES`, or (points, gradient, state, rate, step) -> points.
        rate: One step size, or one for each start.
        steps: How many.
        every: One point of so many is kept.
        slope: The gradient by hand, (P, D) -> (P, D): several times as fast as by autograd, where D is small.
        progress: Called every few steps; what it raises ends the run.
    """
    step = RULES[rule] if isinstance(rule, str) else rule
    slope = slope or (lambda p: gradient(f, p))
    points, rates = torch.atleast_2d(real(starts)), real(rate).reshape(-1, 1)
    state: dict[str, Any] = {}
    kept = []
    for t in range(steps + 1):
        if t % every == 0:
            kept.append(points)
        if progress and t % _TELL == 0:
            progress(t, steps)
        points = step(points, slope(points), state, rates, t)
    return Trajectory(every * np.arange(len(kept)), torch.stack(kept))


def descent(f: Function, starts: ArrayLike | Tensor, times: ArrayLike) -> Trajectory:
    """The gradient flow of f, which may be stiff, by backward differentiation with the Hessian, to 1e-9.

    Args:
        f: Of points (P, D).
        starts: Shape (R, D), or (D,) for one.
        times: Increasing, from 0 on, shape (T,).
    """

    def by_hand(g: Callable[[Function, Tensor], Tensor]) -> Callable[[float, np.ndarray], np.ndarray]:
        return lambda _, y: -g(f, real(y)[None])[0].numpy()

    return _solved(by_hand(gradient), starts, times, method="BDF", jac=by_hand(hessian))


def flow(field: Callable[[Tensor], Tensor], starts: ArrayLike | Tensor, times: ArrayLike) -> Trajectory:
    """The flow of a vector field of points, (P, D) -> (P, D), by Dormand and Prince's method of order 8, to 1e-9."""
    return _solved(lambda _, y: field(real(y)[None])[0].numpy(), starts, times, method="DOP853")


def _solved(field: Any, starts: ArrayLike | Tensor, times: ArrayLike, **how: Any) -> Trajectory:
    t = np.asarray(times, dtype=np.float64)
    walks = [
        solve_ivp(field, (0.0, t[-1]), start.numpy(), t_eval=t, rtol=1e-9, atol=1e-12, **how).y.T
        for start in torch.atleast_2d(real(starts))
    ]
    return Trajectory(t, real(np.stack(walks, axis=1)))


def diffusion(
    drift: Callable[[Tensor], Tensor],
    noise: Callable[[Tensor], Tensor],
    starts: ArrayLike | Tensor,
    time: float,
    *,
    dt: float,
    seed: int = 0,
    least: float = -np.inf,
    progress: Callable[[int, int], None] | None = None,
) -> Trajectory:
    """Random walks dx = drift dt + noise dW, by Euler and Maruyama's method.

    Args:
        drift: (P, D) -> (P, D).
        noise: (P, D) -> (P, D), where each coordinate has its own dW; or (P, D, 1), where they share it.
        starts: Shape (R, D), or (D,) for one.
        time: When it ends.
        dt: A step of time.
        seed: Of dW.
        least: What no coordinate falls below.
        progress: Called every few steps; what it raises ends the walk.
    """
    points, steps = torch.atleast_2d(real(starts)), round(time / dt)
    every, generator, kept = max(1, steps // _FRAMES), torch.Generator().manual_seed(seed), []
    for k in range(steps + 1):
        if k % every == 0:
            kept.append(points)
        if progress and k % _TELL == 0:
            progress(k, steps)
        size = noise(points)
        shared = size.ndim == 3
        push = torch.randn(size[:, :1, 0].shape if shared else size.shape, generator=generator, dtype=points.dtype)
        size = size[:, :, 0] if shared else size
        points = (points + dt * drift(points) + dt**0.5 * size * push).clamp(min=least)
    return Trajectory(dt * every * np.arange(len(kept)), torch.stack(kept))


def train(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    directions: Tensor | None = None,
    rate: float = 1e-2,
    steps: int = 150,
) -> Callable[[Tensor], Tensor]:
    """Adam on all data at once, in all parameters of a model or in a slice around it; the model stays as it is.

    Args:
        model: Where it starts.
        data: Inputs and targets.
        loss: Of outputs and targets.
        directions: Of the slice, shape (d, D); by default all parameters move.
        rate: Of Adam.
        steps: How many.

    Returns:
        The trained model, a function of inputs.
    """
    start = {name: p.detach() for name, p in model.named_parameters()}
    sizes = [p.numel() for p in start.values()]
    u = torch.zeros(sum(sizes) if directions is None else len(directions), requires_grad=True)

    def at() -> dict[str, Tensor]:
        moved = (u if directions is None else u @ directions.to(u)).split(sizes)
        return {name: p + part.view_as(p) for (name, p), part in zip(start.items(), moved, strict=True)}

    optimizer = torch.optim.Adam([u], lr=rate)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            loss(functional_call(model, at(), data[0]), data[1]).backward()
            optimizer.step()
    trained = {name: p.detach() for name, p in at().items()}
    return lambda inputs: functional_call(model, trained, inputs)
