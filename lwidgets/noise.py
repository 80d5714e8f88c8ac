"""Random numbers of one's own: what a loss or model draws never comes from a generator that others use.

torch's default generators belong to the whole process. An explorer evaluates beside the user's cells, so neither
drawing from them nor saving and restoring them is right: the user's own stream would be rolled back. Within
`private_noise`, what this thread draws or seeds by torch goes to generators of its own, and no other thread notices.

NumPy's and Python's global generators, and ``torch.default_generator`` called by its name, cannot be told apart by
thread. `Shared` keeps and restores them around a loss that uses them, which is right where nothing else runs.
"""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from lwidgets.modes import ThreadMode

_aten = torch.ops.aten
_COMPOSED: Any = torch._C.DispatchKey.CompositeImplicitAutograd
_of_thread = threading.local()
_installing, _sharing = threading.Lock(), threading.RLock()


@dataclass(frozen=True)
class FrozenNoise:
    """A loss whose draws are the same in every call; made by `frozen_noise`.

    Attributes:
        function: The loss.
        seed: Of its draws.
    """

    function: Callable[..., Any]
    seed: int = 0

    @property
    def __name__(self) -> str:
        """The loss's own."""
        return name_of(self.function)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The loss, for whoever asks for its signature."""
        return self.function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the loss returns when torch's generators have just been seeded."""
        before, depth = _noise_of_thread(), torch._C._len_torch_dispatch_stack()
        try:
            with private_noise(self.seed):
                return self.function(*args, **kwargs)
        finally:
            _unwind(before, depth)


def frozen_noise(loss: Callable[..., Any], seed: int = 0) -> FrozenNoise:
    """A loss or metric that draws random numbers, as a function of parameters and batch alone (common random numbers).

    Every call returns what it would after ``torch.manual_seed(seed)``, but from private generators: the draws of
    the loss and those of the model in its forward pass. So a variational autoencoder, a diffusion model or a dropout
    that stays on is compared at all points, and between models, by the same noise.

    Batches of one shape get the same draws. Noise that differs between them is best made a part of the data, as in
    ``data=(X, torch.randn(X.shape))``. Draws by NumPy or Python's ``random`` are not frozen.

    Args:
        loss: ``loss(output, target)``, when the forward pass is frozen with it, or ``loss(model, batch)``.
        seed: Of the draws; another seed is another sample of the noise.

    Returns:
        To be given as ``loss=`` or among ``metrics=``; can be pickled if the loss can.

    Raises:
        TypeError: The loss cannot be called.

    Example:
        >>> import lwidgets as lw
        >>> def denoising(model, batch):
        ...     return (model(batch + torch.randn_like(batch)) - batch).square().mean()
        >>> objective = lw.Objective(torch.nn.Linear(2, 2), torch.ones(8, 2), loss=lw.frozen_noise(denoising, seed=1))
        >>> objective.names
        ('loss',)
    """
    if not callable(loss):
        raise TypeError(
            f"frozen_noise: loss must be a function, got {type(loss).__name__}. "
            "Pass the loss itself: frozen_noise(loss, seed=0)."
        )
    return FrozenNoise(loss, int(seed))


@contextmanager
def private_noise(seed: int = 0) -> Iterator[PrivateNoise]:
    """Within: this thread draws from generators of its own, which start at the seed, whatever it calls by torch.

    Args:
        seed: As for ``torch.manual_seed``, which within acts on these generators.

    Yields:
        What has been drawn so far.

    Example:
        >>> state = torch.get_rng_state()
        >>> with private_noise(3):
        ...     drawn = torch.rand(2)
        >>> torch.equal(torch.get_rng_state(), state)
        True
        >>> torch.equal(drawn, torch.rand(2, generator=torch.Generator().manual_seed(3)))
        True
    """
    _install()
    noise, before = PrivateNoise(seed), _noise_of_thread()
    depth = torch._C._len_torch_dispatch_stack()
    try:
        _of_thread.noise = noise
        with noise:
            yield noise
    finally:
        _unwind(before, depth)


def _unwind(before: PrivateNoise | None, depth: int) -> None:
    """Leave nothing behind; called again from outside, because Ctrl-C may come within what cleans up."""
    while torch._C._len_torch_dispatch_stack() > depth:
        torch._C._pop_torch_dispatch_stack(None)
    _of_thread.noise = before


class PrivateNoise(ThreadMode):
    """Gives every random operation of a thread a generator of this object's.

    Attributes:
        drawn: Names of the operations that drew, in order of their first draw.
        seeded: Whether a seed or state was set.
    """

    def __init__(self, seed: int) -> None:
        """Nothing is drawn yet."""
        super().__init__()
        self.drawn: dict[str, None] = {}
        self.seeded = False
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    supports_higher_order_operators = True

    @classmethod
    def is_infra_mode(cls) -> bool:
        """What torch.compile has made is run as it is, and may be made within."""
        return True

    @property
    def used(self) -> bool:
        """Whether a default generator would have been touched."""
        return self.seeded or bool(self.drawn)

    def generator(self, device: str | torch.device | int) -> torch.Generator:
        """This object's own for a device."""
        place = torch.empty(0, device=device).device  # "cuda" is one of several
        if place not in self._generators:
            self._generators[place] = torch.Generator(place).manual_seed(self._seed)
        return self._generators[place]

    def manual_seed(self, seed: int) -> torch.Generator:
        """What ``torch.manual_seed`` does, to these generators; returns the CPU's."""
        self.seeded, self._seed = True, int(seed)
        for generator in self._generators.values():
            generator.manual_seed(self._seed)
        return self.generator("cpu")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Every operation of torch passes here."""
        kwargs = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()):  # a higher-order one has none
            return self._random(func, args, kwargs)
        return func(*args, **kwargs)

    def _random(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        arguments = func._schema.arguments
        names = [argument.name for argument in arguments]
        defaults = {argument.name: argument.default_value for argument in arguments if argument.has_default_value()}
        given = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
        generator, device = given.get("generator"), _device_of(given)
        if (generator is not None and not _is_default(generator)) or device.type == "meta":
            return func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if "generator" not in names:
            share = next((given[key] for key in ("dropout_p", "dropout", "p") if key in given), None)
            if share == 0 or given.get("train") is False:  # a layer that drops nothing
                return func(*args, **kwargs)
            if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSED):
                with self:  # by torch's kernel, because its decomposition in Python forgets the dropout of an LSTM
                    return func._op_dk(_COMPOSED, *args, **kwargs)
        self.drawn[name] = None
        own = self.generator(device)
        if "generator" in names:
            place = names.index("generator")
            if place < len(args):
                return func(*args[:place], own, *args[place + 1 :], **kwargs)
            return func(*args, **{**kwargs, "generator": own})
        if name in _LIKE:
            return _LIKE[name](torch.empty_like(args[0], **kwargs), *args[1:], generator=own)
        if func is _aten.native_dropout.default:
            kept = torch.empty_like(args[0], dtype=torch.bool).bernoulli_(1 - args[1], generator=own)
            return args[0] * kept * (1 / (1 - args[1]) if args[1] < 1 else 0.0), kept
        packet = func.overloadpacket
        if not any("generator" in overload for overload in packet.overloads()):
            raise NotImplementedError(
                f"frozen_noise: draws must be made by operations that take a generator, got {name} on {device}. "
                "Compute attention with torch.nn.attention.sdpa_kernel(SDPBackend.MATH), or switch its dropout off."
            )
        return packet(*args, **kwargs, generator=own)


_LIKE: dict[str, Callable[..., Any]] = {  # older releases of torch have no form of these that takes a generator
    "randn_like": torch.Tensor.normal_,
    "rand_like": torch.Tensor.uniform_,
    "randint_like": lambda out, *bounds, generator: out.random_(*(0, *bounds)[-2:], generator=generator),
}


def _never_compiled(function: Callable[..., Any]) -> None:
    """Keep torch.compile away from a function, without an import of torch._dynamo."""
    frames = torch._C._dynamo.eval_frame
    if hasattr(frames, "set_code_exec_strategy"):  # older releases skip modes by themselves
        skip = frames._FrameAction.SKIP
        frames.set_code_exec_strategy(function.__code__, frames._FrameExecStrategy(skip, skip))


_never_compiled(PrivateNoise.__torch_dispatch__)


def _device_of(given: Mapping[str, Any]) -> torch.device:
    """Where an operation computes."""
    tensors = (leaf for leaf in tree_leaves(list(given.values())) if isinstance(leaf, torch.Tensor))
    first = next(tensors, None)
    return first.device if first is not None else torch.device(given.get("device") or "cpu")


def _is_default(generator: torch.Generator) -> bool:
    """By the object in C, which a call may wrap anew."""
    return any(generator._cdata == each._cdata for each in _defaults())  # type: ignore[attr-defined]


def _defaults() -> tuple[torch.Generator, ...]:
    """The CPU's, and those of graphics cards once there are any."""
    return (torch.default_generator, *torch.cuda.default_generators)


def _noise_of_thread() -> PrivateNoise | None:
    return getattr(_of_thread, "noise", None)


class _Default:
    """Stands before the CPU's default generator in ``torch.random``, whose functions set seeds and states by it."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def __getattr__(self, name: str) -> Any:
        noise = _noise_of_thread()
        if noise is None:
            return getattr(self._generator, name)
        if name in ("manual_seed", "seed", "set_state"):
            noise.seeded = True
        return noise.manual_seed if name == "manual_seed" else getattr(noise.generator("cpu"), name)


def _install() -> None:
    """Let torch's functions that seed know about `private_noise`, once; outside of it they do what they did.

    They are Python functions that no mode of torch's sees, and find their generators in these places whenever they are
    called, also where they were imported by name before.
    """
    functions: Any = torch.random
    with _installing:
        if isinstance(functions.default_generator, _Default):
            return
        functions.default_generator = _Default(torch.default_generator)
        for kind in ("cuda", "xpu", "mtia", "mps"):
            module = getattr(torch, kind, None)
            if module is not None and module.is_available():
                for name, own in _OF_DEVICES.items():
                    if hasattr(module, name):
                        setattr(module, name, _redirected(getattr(module, name), kind, own))


def _redirected(function: Callable[..., Any], kind: str, own: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def redirected(*args: Any, **kwargs: Any) -> Any:
        noise = _noise_of_thread()
        return function(*args, **kwargs) if noise is None else own(noise, kind, *args, **kwargs)

    return redirected


def _seed(noise: PrivateNoise, kind: str, seed: int) -> None:
    noise.manual_seed(seed)


def _state(noise: PrivateNoise, kind: str, device: Any = None) -> torch.Tensor:
    return noise.generator(_place(kind, device)).get_state()


def _set_state(noise: PrivateNoise, kind: str, new_state: torch.Tensor, device: Any = None) -> None:
    noise.seeded = True
    noise.generator(_place(kind, device)).set_state(new_state)


def _place(kind: str, device: Any) -> Any:
    return kind if device is None else torch.device(kind, device) if isinstance(device, int) else device


_OF_DEVICES: dict[str, Callable[..., Any]] = {
    "manual_seed": _seed,
    "manual_seed_all": _seed,
    "get_rng_state": _state,
    "set_rng_state": _set_state,
}


@dataclass(frozen=True)
class Shared:
    """A loss that uses generators which all threads share: they are as before after every call.

    One call at a time, because what one draws would be missing in another.

    Attributes:
        function: The loss.
        generators: Which, as `shared_kept` names them.
    """

    function: Callable[..., Any]
    generators: tuple[str, ...]

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The loss, for whoever asks for its signature."""
        return self.function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the loss returns."""
        with _sharing, shared_kept(self.generators), shared_kept(self.generators):  # twice, because of Ctrl-C
            return self.function(*args, **kwargs)


@dataclass(frozen=True)
class _Stream:
    """A generator that all threads share: how its state is read and set, and how it is seeded."""

    get: Callable[[], Any]
    put: Callable[[Any], Any]
    seed: Callable[[int], Any]


_SHARED = {
    "torch.default_generator": _Stream(
        lambda: [generator.get_state().numpy() for generator in _defaults()],
        lambda states: [g.set_state(torch.from_numpy(s)) for g, s in zip(_defaults(), states, strict=False)],
        lambda seed: [generator.manual_seed(seed) for generator in _defaults()],
    ),
    "numpy.random": _Stream(np.random.get_state, np.random.set_state, np.random.seed),
    "random": _Stream(random.getstate, random.setstate, random.seed),
}


@contextmanager
def shared_kept(names: Iterable[str] = tuple(_SHARED), *, seed: int | None = None) -> Iterator[list[str]]:
    """Within: whatever is drawn; afterwards the generators that all threads share are as they were found.

    Only where nobody else draws from them meanwhile: what they draw would be rolled back.

    Args:
        names: Which: "torch.default_generator", "numpy.random", "random".
        seed: Seed them first, so that whoever sets one to the state that it happens to have is noticed, too.

    Yields:
        Those that were changed, known at the end.
    """
    changed: list[str] = []
    streams = {name: _SHARED[name] for name in names}
    found = {name: stream.get() for name, stream in streams.items()}
    with ExitStack() as stack:
        for name in (*streams, *streams):  # once more, because Ctrl-C may come within what puts back
            stack.callback(streams[name].put, found[name])
        if seed is not None:
            for stream in streams.values():
                stream.seed(seed)
        began = {name: pickle.dumps(stream.get()) for name, stream in streams.items()}
        try:
            yield changed
        finally:
            changed += [name for name, stream in streams.items() if pickle.dumps(stream.get()) != began[name]]


@contextmanager
def undisturbed(*generators: torch.Generator) -> Iterator[None]:
    """Within: whatever is drawn; all generators stay as they are, NumPy's and Python's on the main thread only.

    Args:
        *generators: Further ones that are put back.
    """
    states = [generator.get_state() for generator in generators]
    try:
        with private_noise(), shared_kept(tuple(_SHARED) if on_main_thread() else ()):
            yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def on_main_thread() -> bool:
    """Whether this is the thread of the user's cells, who waits."""
    return threading.current_thread() is threading.main_thread()


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called in words."""
    return str(getattr(function, "__name__", type(function).__name__))
