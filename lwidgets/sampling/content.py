"""What an object consists of, as a hash: data and code, in the same way in every process.

Data are read to the last byte. Functions are read as bytecode, with their constants, defaults, closures and the globals
they load, and those in turn; classes as their attributes and bases; so a constant that is edited in a helper's helper
gives another hash. Code of installed packages is read as its name and the package's version, with the settings that
your code or a function of the package finds in its modules.

What cannot be read (a file handle, an object of a C library, what ``open``, ``eval`` or ``globals`` bring) is entered
under a random name that it keeps as long as it lives, and told by name in `Content.unread`: a change within it is not
seen, so nothing that depends on its not changing may rely on the hash.
"""

from __future__ import annotations

import _thread
import copyreg
import dis
import importlib.metadata
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import _lru_cache_wrapper, lru_cache
from hashlib import blake2b
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    EllipsisType,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    NoneType,
    NotImplementedType,
    UnionType,
)
from typing import Any, Self
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor, nn

from lwidgets.version import __version__

_BLOCK = 1 << 20  # numbers that are brought to the CPU, or made contiguous, at a time
_LITERALS = frozenset(
    (
        *(NoneType, EllipsisType, NotImplementedType, bool, int, float, complex, str, bytes, range),
        *(torch.dtype, torch.device, torch.layout, torch.memory_format),
    )
)
_LOCKS = (_thread.LockType, _thread.RLock)
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_HIDING = frozenset(("open", "input", "eval", "exec", "globals", "__import__"))
"""Built-in functions that bring what no name in the code tells of."""
_BOOKKEEPING = frozenset(
    (
        *("__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__", "__annotate_func__"),
        *("__annotations_cache__", "__firstlineno__", "__static_attributes__", "__type_params__", "_abc_impl"),
        *("__orig_bases__", "__parameters__", "__slotnames__", "_autograd_function_id"),  # the last counts such classes
    )
)
_HOOKS = frozenset(name for name in vars(nn.Module()) if "hook" in name)
_HEAPTYPE, _NOT_INSTANTIABLE = 1 << 9, 1 << 7  # flags of classes; C classes lack the first or have the second


class Content:
    """A hash that grows by whole objects.

    Attributes:
        unread: What was met that cannot be read, by its type or name; a dict for its order.
        compiled: Whether a function or module was met that torch.compile has made.

    Example:
        >>> def power(exponent):
        ...     return lambda x: x**exponent
        >>> digest = lambda thing: Content().add(thing).hexdigest()
        >>> digest(power(2)) == digest(power(2)), digest(power(2)) == digest(power(3))
        (True, False)
    """

    def __init__(self, named: Mapping[int, str] | None = None, code: list[weakref.ref[Any]] | None = None) -> None:
        """Nothing is in it yet.

        Args:
            named: id -> name of objects that are entered by that name instead of their content.
            code: Where functions and classes are put instead of being read; their places in it are entered.
        """
        self._named, self._code = named or {}, code
        self._hash = blake2b(digest_size=20)
        self._seen: dict[Any, int] = {}
        self._alive: list[Any] = []  # or an id could be given to a second object
        self.unread: dict[str, None] = {}
        self.compiled = False

    def hexdigest(self) -> str:
        """Forty digits."""
        return self._hash.hexdigest()

    def add(self, *things: Any) -> Self:
        """Enter objects, one after another.

        Raises:
            Exception: Whatever an object raises when it is read; the hash is then of no use.
        """
        for thing in things:
            self._add(thing)
        return self

    def _put(self, kind: str, text: str | bytes = b"") -> None:
        data = text.encode() if isinstance(text, str) else text
        self._hash.update(b"%b %d:%b" % (kind.encode(), len(data), data))

    def _add(self, thing: Any) -> None:
        kind = type(thing)
        if kind in _LITERALS:
            self._put(kind.__name__, repr(thing))
        elif kind is tuple or kind is torch.Size:  # a compiler merges equal constants: which one it is does not matter
            self._sequence(thing)
        elif kind is frozenset:
            self._unordered(thing)
        elif kind is CodeType:
            self._put("code", _read(thing).digest)
        elif id(thing) in self._named:
            self._put("named", self._named[id(thing)])
        elif self._first(id(thing)):
            self._alive.append(thing)
            self._enter(thing, kind)

    def _first(self, key: Any) -> bool:
        """Whether something is met for the first time; later it is entered as its number, so cycles end."""
        if key in self._seen:
            self._put("seen", str(self._seen[key]))
            return False
        self._seen[key] = len(self._seen)
        return True

    def _enter(self, thing: Any, kind: type) -> None:
        if isinstance(thing, Tensor):
            self._tensor(thing)
        elif isinstance(thing, np.ndarray | np.generic):
            self._array(thing)
        elif isinstance(thing, FunctionType | type):
            self.compiled |= "_torchdynamo_orig_callable" in vars(thing)
            if self._code is not None:
                self._put("code", str(len(self._code)))
                self._code.append(weakref.ref(thing))
            elif isinstance(thing, type):
                self._class(thing)
            else:
                self._function(thing)
        elif kind in (list, set, dict):
            self._items(thing, kind)
        elif kind is MappingProxyType:
            self._items(dict(thing), dict)
        elif kind is MethodType:
            self._put("method")
            self.add(thing.__func__, thing.__self__)
        elif kind is BuiltinFunctionType:
            self._put("builtin", f"{thing.__module__}.{thing.__qualname__}")
            if not isinstance(thing.__self__, ModuleType) and type(thing.__self__).__name__ != "PyCapsule":
                self.add(thing.__self__)
        elif kind in (staticmethod, classmethod):
            self._put(kind.__name__)
            self.add(thing.__func__)
        elif kind is property:
            self._put("property")
            self.add(thing.fget)
        elif kind is CellType:
            self._put("cell")
            with suppress(ValueError):  # nothing has been put in yet
                self._add(thing.cell_contents)
        elif isinstance(thing, ModuleType) and (version := _version(thing.__name__)) is not None:
            self._put("module", f"{thing.__name__} {version}")
        elif kind is weakref.ReferenceType:
            self.add(thing())
        elif kind.__module__ == "typing" or kind in (GenericAlias, UnionType):
            self._put("type", repr(thing))  # of an annotation
        elif kind in _LOCKS:
            self._put("lock")
        elif isinstance(thing, logging.Logger):
            self._put("logger", thing.name)  # behind it is what the whole process logs
        elif kind is _lru_cache_wrapper:
            self.add(thing.__wrapped__)
        elif isinstance(thing, nn.Module):
            self._put("instance")
            self.compiled |= "_orig_mod" in vars(thing)["_modules"]
            self.add(kind)
            self._state({name: value for name, value in vars(thing).items() if name not in _HOOKS})
            for name in ("_forward_pre_hooks", "_forward_hooks"):  # their keys count all hooks of the process
                self._sequence(vars(thing)[name].values())
        else:
            self._instance(thing, kind)

    def _sequence(self, things: Iterable[Any]) -> None:
        things = list(things)
        self._put("sequence", str(len(things)))
        self.add(*things)

    def _unordered(self, things: Iterable[Any]) -> None:
        each = [Content(self._named).add(thing) for thing in things]
        for content in each:
            self.unread |= content.unread
        self._put("set", "".join(sorted(content.hexdigest() for content in each)))

    def _items(self, thing: Any, kind: Any) -> None:
        """What is in a built-in container, or in an instance of a subclass of one."""
        self._put(kind.__name__)
        if kind in (set, frozenset):
            self._unordered(kind.__iter__(thing))
        elif kind is dict:
            self._sequence(part for item in dict.items(thing) for part in item)
        else:
            self._sequence(kind.__iter__(thing))

    def _state(self, state: Mapping[str, Any]) -> None:
        self._sequence(part for name in sorted(state) for part in (name, state[name]))

    def _tensor(self, tensor: Tensor) -> None:
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
            self._unknown(tensor)
            return
        self._put("tensor", f"{tensor.dtype} {tuple(tensor.shape)}")
        _hash_tensor(tensor.detach().resolve_conj().resolve_neg(), self._hash.update)

    def _array(self, array: np.ndarray[Any, Any] | np.generic) -> None:
        self._put("array", f"{array.dtype} {array.shape}")
        if array.dtype.hasobject:
            self._sequence(array.ravel().tolist())
        else:
            self._hash.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    def _function(self, function: FunctionType) -> None:
        version = _version(function.__globals__.get("__name__"))
        if version is not None and _found_by_name(function):
            self._put("installed", f"{function.__module__}.{function.__qualname__} {version}")
            if not _is_core(function.__module__):
                self._settings(function)
            return
        code = _read(function.__code__)
        self._put("function", code.digest)
        self.add(function.__defaults__, function.__kwdefaults__, function.__closure__)
        self._state({name: value for name, value in vars(function).items() if name != "__wrapped__"})
        if version is not None:
            self._put("installed", f"{function.__globals__['__name__']} {version}")
            return
        for name in code.loads:
            self._put("global", name)
            if name in function.__globals__:
                self._reached(function.__globals__[name], code)
            elif name in _HIDING:
                self._put("hiding")
                self.unread[f"what {name}() brings"] = None
        for name in code.imports:
            relative = f"{function.__globals__.get('__package__')}.{name}".rstrip(".")
            found = [sys.modules[each] for each in (name, relative) if each in sys.modules]
            for module in found:
                self._reached(module, code)
            if not found:
                self._unknown(function)
        if "environ" in code.names or "getenv" in code.names:
            self._state({text: os.environ.get(text) for text in code.texts})

    def _reached(self, thing: Any, code: _Code) -> None:
        """What code finds under a name; of a module, what it can use of it."""
        if not isinstance(thing, ModuleType):
            self._add(thing)
        elif self._first((id(thing), code.digest)):
            version = _version(thing.__name__)
            self._put("module", f"{thing.__name__} {version}")
            for name in code.names:
                if name in vars(thing):
                    value = vars(thing)[name]
                    if version is None or isinstance(value, ModuleType) or _is_setting(value):
                        self._put("global", name)
                        self._reached(value, code)

    def _settings(self, function: FunctionType) -> None:
        """The settings that a function of an installed package finds in its module, and so do those that it calls."""
        for name in _read(function.__code__).loads:
            value = function.__globals__.get(name)
            if _is_setting(value) and (not isinstance(value, FunctionType) or _same_package(value, function)):
                self._put("global", name)
                self._add(value)

    def _class(self, cls: type) -> None:
        self._put("class", cls.__qualname__)
        version = _version(cls.__module__)
        if version is not None and (_native(cls) is cls or _found_by_name(cls)):
            self._put("installed", f"{cls.__module__} {version}")
            for base in cls.__mro__:  # a method that somebody has replaced
                self._state(_replaced(base))
            return
        self.add(type(cls), *cls.__bases__)
        self._state({name: value for name, value in vars(cls).items() if name not in _BOOKKEEPING})

    def _instance(self, thing: Any, kind: type) -> None:
        """An object by its class, what its built-in part holds, and its attributes."""
        native = _native(kind)
        installed = _version(kind.__module__) is not None
        self._put("instance")
        self.add(kind)
        if native in _LITERALS:
            self._put("value", native.__repr__(thing))
        elif native in (list, tuple, set, frozenset, dict):
            self._items(thing, native)
        elif native is not object or (installed and _takes_itself_apart(kind)):
            reduce = copyreg.dispatch_table.get(kind)
            try:
                parts = reduce(thing) if reduce else thing.__reduce_ex__(4)
            except Exception:  # whatever a class says when it cannot be taken apart
                parts = None
            if not isinstance(parts, tuple):
                self._unknown(thing)
                return
            self.add(*parts[:3], *(list(part) for part in parts[3:5] if part is not None))
            if installed:
                return
        self._state({**_slots(thing), **getattr(thing, "__dict__", {})})

    def _unknown(self, thing: Any) -> None:
        self._put("unknown", name_of(thing))
        kind = type(thing)
        self.unread[f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")] = None


@dataclass(frozen=True)
class _Code:
    """What there is to know about a code object, functions inside it included.

    Attributes:
        digest: Of bytecode, constants and names; not of line numbers.
        loads: Global names that it reads.
        imports: Modules that it imports.
        names: All names that it uses, attributes included.
        texts: The strings among its constants.
    """

    digest: str
    loads: tuple[str, ...]
    imports: tuple[str, ...]
    names: tuple[str, ...]
    texts: tuple[str, ...]


@lru_cache(maxsize=4096)
def _read(code: CodeType) -> _Code:
    inner = [_read(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    loads, imports, names = set[str](), set[str](), set(code.co_names)
    texts = {text for constant in code.co_consts for text in (constant if isinstance(constant, tuple) else [constant])}
    texts = {text for text in texts if isinstance(text, str)}
    for instruction in dis.get_instructions(code):
        if instruction.opname in _LOADS:
            loads.add(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            imports.add(instruction.argval)
    content = Content().add(code.co_code, code.co_exceptiontable, code.co_consts, code.co_names, code.co_varnames)
    content.add(code.co_freevars, code.co_cellvars, code.co_flags)
    content.add(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    return _Code(
        content.hexdigest(),
        tuple(sorted(loads.union(*(part.loads for part in inner)))),
        tuple(sorted(imports.union(*(part.imports for part in inner)))),
        tuple(sorted(names.union(*(part.names for part in inner)))),
        tuple(sorted(texts.union(*(part.texts for part in inner)))),
    )


def _hash_tensor(tensor: Tensor, update: Callable[[Any], None]) -> None:
    """Enter the numbers in order, a block at a time, so that no large tensor is copied whole."""
    if tensor.is_contiguous() or tensor.numel() <= _BLOCK:
        for block in tensor.reshape(-1).split(_BLOCK):
            update(block.cpu().view(torch.uint8).numpy())
    else:
        for part in tensor:
            _hash_tensor(part, update)


_unknown: dict[int, tuple[Callable[[], Any], str]] = {}
_lock = threading.Lock()


def name_of(thing: Any) -> str:
    """A random name of one object, the same as long as it lives and never another's."""
    with _lock:
        refer, name = _unknown.get(id(thing), (lambda: None, ""))
        if refer() is not thing:  # the id was that of an object that is gone
            try:
                refer = weakref.ref(thing)
            except TypeError:

                def refer() -> Any:
                    return thing

            name = uuid4().hex
            _unknown[id(thing)] = refer, name
        return name


@lru_cache(maxsize=4096)
def _version(module: object) -> str | None:
    """Version of the installed package that has a module; None for code that somebody may be editing."""
    if not isinstance(module, str):
        return None
    if module in sys.builtin_module_names:
        return ""
    top = module.partition(".")[0]
    if top == "lwidgets":  # wherever it is installed, and edited
        return __version__
    files = [getattr(sys.modules.get(name), "__file__", None) for name in (module, top)]
    path = next((Path(file) for file in files if file), None)
    if path is None:
        return None
    if not {"site-packages", "dist-packages"} & set(path.parts):
        return "" if path.is_relative_to(os.path.dirname(os.__file__)) else None
    version = getattr(sys.modules.get(top), "__version__", None)
    try:
        return str(version or importlib.metadata.version(top))
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_core(module: str) -> bool:
    """Whether a module is Python's or one of the libraries whose settings are not read but listed (`identity`)."""
    top = module.partition(".")[0]
    return top in ("torch", "numpy", "scipy", "lwidgets") or top in sys.stdlib_module_names


def _same_package(a: FunctionType, b: FunctionType) -> bool:
    return a.__module__.partition(".")[0] == b.__module__.partition(".")[0]


def _is_setting(value: object) -> bool:
    """Whether something in an installed module may be set by its users: plain data, its own objects, code of others."""
    if isinstance(value, FunctionType | type):
        return True  # which one it is: somebody may have put another in its place
    kind = type(value)
    plain = kind in _LITERALS or kind in (list, dict, set, frozenset, tuple)
    return plain or isinstance(value, Tensor | np.ndarray | np.generic) or _native(kind) is object


def _found_by_name(thing: Any) -> bool:
    """Whether a function or class is what an installed module has under its name."""
    if _version(thing.__module__) is None:
        return False
    found: Any = sys.modules.get(thing.__module__)
    for name in thing.__qualname__.split("."):
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    return found is thing


def _replaced(cls: type) -> dict[str, FunctionType]:
    """Methods of an installed class whose code is not."""
    return {
        name: value
        for name, value in vars(cls).items()
        if isinstance(value, FunctionType) and _version(value.__globals__.get("__name__")) is None
    }


def _slots(thing: Any) -> dict[str, Any]:
    """Attributes that are not in a ``__dict__``."""
    found = {}
    for base in type(thing).__mro__:
        for name, slot in vars(base).items():
            if isinstance(slot, MemberDescriptorType):
                with suppress(AttributeError):  # never set
                    found[name] = slot.__get__(thing)
    return found


def _takes_itself_apart(cls: Any) -> bool:
    return cls.__reduce__ is not object.__reduce__ or cls.__reduce_ex__ is not object.__reduce_ex__


def _native(cls: type) -> Any:
    """The nearest base that is written in C, which may hold what no attribute shows."""
    return next(
        base
        for base in cls.__mro__
        if base.__flags__ & (_HEAPTYPE | _NOT_INSTANTIABLE) != _HEAPTYPE
        or isinstance(vars(base).get("__new__"), BuiltinFunctionType)
    )
