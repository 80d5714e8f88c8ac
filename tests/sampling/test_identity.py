"""Whatever changes a value changes its identity, and nothing else does, in no process."""

import copy
import enum
import functools
import gc
import hashlib
import importlib.util
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.basis import Basis
from lwidgets.parameters import State
from lwidgets.sampling.content import Content
from lwidgets.sampling.identity import identity
from tests.models import CASES, CNN, MLP

ROOT = Path(__file__).parents[2]
X, Y = MLP.samples()


def digest(thing):
    return Content().add(thing).hexdigest()


def identity_of(objective, subspace=None, batchnorm=None):
    subspace = (subspace or lw.Plane.random(objective.module)).bound(objective.space, objective.device)
    return identity(objective, subspace.basis, batchnorm or objective.resolve(subspace.between_models))


def with_loss(loss, data=(X, Y), **options):
    return identity_of(lw.Objective(MLP.model(), data, loss=loss, **options))


# the point


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_made_again_is_the_same_and_evaluating_changes_nothing(case):
    objective = case.objective()
    before = identity_of(objective)
    assert len(before) == 40
    assert int(before, 16)
    lw.sample(objective, lw.Plane.random(case.model()), resolution=3)
    objective.measure(case.model(1))
    assert identity_of(objective) == before
    assert identity_of(case.objective()) == before
    assert identity_of(copy.copy(objective)) == before


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_weight_of_the_model_counts(case):
    objective, found = case.objective(), set()
    names = [name for name, _ in case.model().named_parameters()]
    for name in ("", *names):
        model = case.model()
        if name:
            with torch.no_grad():
                model.get_parameter(name).view(-1)[-1] += 1e-3
        line = lw.Line(model, case.model(1))
        found.add(identity_of(objective, line))
        found.add(identity_of(objective, lw.Line(case.model(1), model)))  # moved by the other vector
    assert len(found) == 2 * (len(names) + 1)


def test_a_weight_that_does_not_move_counts():
    found = set()
    for change in (0.0, 1.0):
        model = MLP.model()
        with torch.no_grad():
            model[0].bias[1] += change
        for moved in ("4.*", "*"):
            found.add(identity_of(lw.Objective(model, (X, Y), loss=F.cross_entropy, params=moved)))
    assert len(found) == 4


def test_directions_count_by_content_and_not_by_seed():
    objective = MLP.objective()
    planes = [lw.Plane.random(objective.module, seeds) for seeds in ((0, 1), (0, 2), (1, 0), (0, 0))]
    planes += [lw.Plane.random(objective.module, normalize="layer"), lw.Plane.random(objective.module, orthogonal=True)]
    assert len({identity_of(objective, plane) for plane in planes}) == len(planes)
    assert identity_of(objective, planes[0].over(3.0)) == identity_of(objective, planes[0])
    again = lw.Plane.random(MLP.model(), (0, 1), span=0.5)
    assert identity_of(objective, again) == identity_of(objective, planes[0])


def test_dtype_counts():
    assert identity_of(MLP.objective(torch.float64)) != identity_of(MLP.objective())


def tensors(seed, dtype=torch.float32, shapes=(("a", (3, 2)), ("b", (4,)))):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes}


def test_every_part_of_a_basis_counts_and_its_layout_does_not():
    objective = MLP.objective()
    base = Basis((tensors(0), tensors(1)), State({**tensors(2), "c": torch.ones(2)}, {"d": torch.zeros(2)}))
    u, v = base.vectors
    without = {"a": v["a"]}
    swapped = State({**base.origin.parameters, "c": torch.tensor([1.0, -1.0])}, base.origin.buffers)
    buffer = State(base.origin.parameters, {"d": torch.tensor([0.0, 1e-30])})
    bases = [
        base,
        Basis((v, u), base.origin),
        Basis((u,), base.origin),
        Basis((u, v, v), base.origin),
        Basis((u, without), base.origin),
        Basis((u, {"a": v["b"].clone(), "b": v["a"].clone()}), base.origin),
        Basis((u, {**v, "a": v["a"].reshape(2, 3)}), base.origin),
        Basis((u, {**v, "b": v["b"].view(torch.int32)}), base.origin),
        Basis((u, v), swapped),
        Basis((u, v), buffer),
        Basis((u, v), base.origin, vertices=1),
    ]
    names = [identity(objective, b, "none") for b in bases]
    assert len(set(names)) == len(bases)
    turned = {name: tensor.t().contiguous().t() for name, tensor in v.items()}
    same_content = Basis(({"b": u["b"].clone(), "a": u["a"]}, turned), base.origin)
    assert identity(objective, same_content, "none") == names[0]


def test_a_value_of_the_origin_under_a_moving_name_does_not_count():
    objective, vectors = MLP.objective(), (tensors(0), tensors(1))
    names = {identity(objective, Basis(vectors, State(tensors(seed))), "none") for seed in (2, 3)}
    assert len(names) == 1


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float64, torch.complex64, torch.bool, torch.int8]
)
def test_tensors_of_every_kind_are_read_to_the_last_element(dtype):
    numbers = torch.zeros(5, 3, 7).to(dtype)
    found = {digest(numbers)}
    for i in range(numbers.numel()):
        changed = numbers.clone()
        changed.view(-1)[i] = 1
        found.add(digest(changed))
        turned = changed.permute(2, 0, 1).contiguous().permute(1, 2, 0)
        assert digest(turned) == digest(changed)
    assert len(found) == 1 + numbers.numel()
    assert digest(numbers) != digest(numbers.reshape(3, 5, 7))


@pytest.mark.parametrize("place", [0, (1 << 20) - 1, 1 << 20, 2_999_999])
def test_large_tensors_are_read_across_blocks_in_any_layout(place):
    numbers = torch.zeros(3, 1000, 1000)
    plain = digest(numbers)
    numbers.view(-1)[place] = 1
    assert digest(numbers) != plain
    assert digest(numbers.permute(1, 0, 2).contiguous().permute(1, 0, 2)) == digest(numbers)


# BatchNorm and data


def test_batchnorm_mode_and_statistics_count():
    def name(batchnorm="frozen", change=0.0, train=None):
        model = CNN.model()
        model.bn1.running_mean += change
        objective = lw.Objective(model, train or CNN.samples(), loss=F.cross_entropy).on(CNN.samples())
        return identity_of(objective, lw.Plane.random(model), batchnorm)

    x, y = CNN.samples()
    assert len({name(mode) for mode in ("frozen", "recalibrate", "batch")}) == 3
    assert name() == name() != name(change=0.1)
    other = (x.flip(0), y.flip(0))
    assert name(train=other) == name(), "training data matter only where statistics are recalibrated"
    assert name("recalibrate", train=other) != name("recalibrate")


def test_every_datum_and_the_way_data_are_batched_count():
    found = {with_loss(F.cross_entropy)}
    for i in (0, 17, 40):
        x, y = X.clone(), Y.clone()
        x[i, 5] += 1e-3
        y[i] = (y[i] + 1) % 3
        found |= {with_loss(F.cross_entropy, (x, Y)), with_loss(F.cross_entropy, (X, y))}
    split = [(X[:20], Y[:20]), (X[20:], Y[20:])]
    ways = [split, split[::-1], [(X[:21], Y[:21]), (X[21:], Y[21:])], (X.flip(0), Y.flip(0)), (X, Y.int().long() + 0)]
    found |= {with_loss(F.cross_entropy, data) for data in ways}
    assert len(found) == 7 + 4, "the last of the ways is the data themselves"


def test_the_test_split_is_another_objective():
    objective = lw.Objective(MLP.model(), (X[:30], Y[:30]), loss=F.cross_entropy, test=(X[30:], Y[30:]))
    assert identity_of(objective.test) != identity_of(objective)
    assert identity_of(objective.on((X[30:], Y[30:]), "validation")) == identity_of(objective.test)


def test_batches_of_other_containers_and_with_words_in_them_count():
    Pair = namedtuple("Pair", "x y")

    def loss(model, batch):
        x, y = (batch["x"], batch["y"]) if isinstance(batch, dict) else batch[:2]
        return F.cross_entropy(model(x), y)

    ways = [[{"x": X, "y": Y}], [{"y": Y, "x": X}], [Pair(X, Y)], [(X, Y)], [[X, Y]]]
    ways += [[{"x": X, "y": Y, "word": word}] for word in ("a", "b")]
    assert len({with_loss(loss, data) for data in ways}) == len(ways)


# code: every pair differs in something that decides a value


def scaled(factor):
    return lambda output, target: factor * F.cross_entropy(output, target)


def by_default(factor):
    def loss(output, target, factor=factor):
        return factor * F.cross_entropy(output, target)

    return loss


def by_keyword(factor):
    def loss(output, target, *, factor=factor):
        return factor * F.cross_entropy(output, target)

    return loss


def by_attribute(factor):
    def loss(output, target):
        return loss.factor * F.cross_entropy(output, target)

    loss.factor = factor
    return loss


def by_inner(factor):
    weigh = scaled(factor)

    def loss(output, target):
        return sum(weigh(output[i:], target[i:]) for i in range(2))

    return loss


class Weighted:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, output, target):
        return self.factor * F.cross_entropy(output, target)

    def method(self, output, target):
        return self(output, target)


class Slotted:
    __slots__ = ("__hidden", "unset")

    def __init__(self, factor):
        self.__hidden = factor

    def __call__(self, output, target):
        return self.__hidden * F.cross_entropy(output, target)


class Listed(list):
    def __call__(self, output, target):
        return sum(self) * F.cross_entropy(output, target)


@dataclass(frozen=True)
class Record:
    factor: float

    def __call__(self, output, target):
        return self.factor * F.cross_entropy(output, target)


class Mode(enum.Enum):
    PLAIN = 1
    DOUBLE = 2


def of_class(factor):
    class Loss:
        strength = factor

        @property
        def twice(self):
            return 2 * self.strength

        def __call__(self, output, target):
            return self.twice * F.cross_entropy(output, target)

    return Loss()


def of_base(factor):
    class Base:
        def weigh(self, value):
            return factor * value

    class Loss(Base):
        def __call__(self, output, target):
            return self.weigh(F.cross_entropy(output, target))

    return Loss()


def of_helper_class(factor):
    class Helper:
        @staticmethod
        def weigh(value):
            return factor * value

        @classmethod
        def again(cls, value):
            return cls.weigh(value)

    return lambda output, target: Helper.again(F.cross_entropy(output, target))


def decorated(factor):
    @torch.no_grad()
    @functools.wraps(F.cross_entropy)  # it says that it is torch's own
    def loss(output, target):
        return factor * F.cross_entropy(output, target)

    return loss


def of_module(factor):
    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.CrossEntropyLoss()
            self.register_buffer("factor", torch.tensor(factor), persistent=False)

        def forward(self, output, target):
            return self.factor * self.inner(output, target)

    return Loss()


def hooked(factor):
    loss = nn.CrossEntropyLoss()
    loss.register_forward_hook(lambda module, inputs, output: factor * output)
    return loss


def prehooked(factor):
    loss = nn.CrossEntropyLoss()
    loss.register_forward_pre_hook(lambda module, inputs: (factor * inputs[0], inputs[1]))
    return loss


def differentiable(factor):
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return factor * value

    return lambda output, target: Scale.apply(F.cross_entropy(output, target))


def dispatched(factor):
    @functools.singledispatch
    def loss(output, target):
        return F.cross_entropy(output, target)

    @loss.register
    def _(output: torch.Tensor, target):
        return factor * F.cross_entropy(output, target)

    return loss


def guarded(factor):
    def one(output, target):
        try:
            return F.cross_entropy(output, target)
        except ValueError:
            return factor

    def other(output, target):
        try:
            return F.cross_entropy(output, target)
        except TypeError:
            return factor

    return one if factor < 2 else other


def kept(container):
    def make(factor):
        held = container(factor)
        return lambda output, target: F.cross_entropy(output, target) if held is not None else None

    return make


LOSSES = {
    "constant in a closure": scaled,
    "default argument": by_default,
    "keyword default": by_keyword,
    "attribute of a function": by_attribute,
    "closure of a closure": by_inner,
    "callable object": Weighted,
    "bound method": lambda f: Weighted(f).method,
    "slots": Slotted,
    "subclass of list": lambda f: Listed([f, 1.0]),
    "dataclass": Record,
    "class attribute": of_class,
    "base class": of_base,
    "helper class": of_helper_class,
    "decorated": decorated,
    "function with a gradient": differentiable,
    "single dispatch": dispatched,
    "mapped over points": lambda f: torch.func.vmap(scaled(f)),
    "vectorized": lambda f: np.vectorize(scaled(f)),
    "constant of an inner function": lambda f: (lambda x: (lambda: 1.5)()) if f < 2 else (lambda x: (lambda: 2.5)()),
    "global name": guarded,
    "name of a method": lambda f: (lambda x: x.sin()) if f < 2 else (lambda x: x.cos()),
    "partial keyword": lambda f: functools.partial(F.cross_entropy, label_smoothing=f / 10),
    "partial of a partial": lambda f: functools.partial(functools.partial(scaled(f))),
    "remembered by lru_cache": lambda f: functools.lru_cache(scaled(f)),
    "label smoothing": lambda f: nn.CrossEntropyLoss(label_smoothing=f / 10),
    "class weights": lambda f: nn.CrossEntropyLoss(weight=torch.tensor([1.0, f, 1.0])),
    "reduction": lambda f: nn.CrossEntropyLoss(reduction="mean" if f < 2 else "sum"),
    "buffer of a loss": of_module,
    "hook": hooked,
    "pre-hook": prehooked,
    "list": kept(lambda f: [f]),
    "tuple": kept(lambda f: (1, (f,))),
    "set": kept(lambda f: {1, "a", f}),
    "frozenset": kept(lambda f: frozenset({1, "a", f})),
    "dict value": kept(lambda f: {"a": f}),
    "dict key": kept(lambda f: {f: "a"}),
    "ordered dict": kept(lambda f: OrderedDict(a=f)),
    "default dict": kept(lambda f: defaultdict(scaled(f))),
    "deque": kept(lambda f: deque([f])),
    "array": kept(lambda f: np.array([1.0, f])),
    "array dtype": kept(lambda f: np.zeros(2, "f4" if f < 2 else "i4")),
    "array of objects": kept(lambda f: np.array([None, f], dtype=object)),
    "numpy scalar": kept(np.float32),
    "tensor": kept(torch.tensor),
    "sparse tensor": kept(lambda f: torch.tensor([0.0, f]).to_sparse()),
    "type with arguments": kept(lambda f: list[int] if f < 2 else list[float]),
    "dates": kept(lambda f: np.array([int(f)], dtype="M8[D]")),
    "record array": kept(lambda f: np.array([(1, f)], dtype=[("a", "i4"), ("b", "f8")])),
    "bytearray": kept(lambda f: bytearray([int(f)])),
    "slice": kept(lambda f: slice(0, int(f))),
    "path": kept(lambda f: Path(f"a{f}")),
    "pattern": kept(lambda f: __import__("re").compile(f"a{f}")),
    "type": kept(lambda f: int if f < 2 else float),
    "function of torch": kept(lambda f: F.relu if f < 2 else F.gelu),
    "builtin of torch": kept(lambda f: torch.relu if f < 2 else torch.tanh),
    "method of torch": kept(lambda f: torch.Tensor.relu if f < 2 else torch.Tensor.tanh),
    "builtin": kept(lambda f: min if f < 2 else max),
    "bound builtin": kept(lambda f: [f].append),
    "enum": kept(lambda f: Mode.PLAIN if f < 2 else Mode.DOUBLE),
    "int or float": kept(lambda f: 1 if f < 2 else 1.0),
    "true or one": kept(lambda f: True if f < 2 else 1),
    "text or bytes": kept(lambda f: "1" if f < 2 else b"1"),
    "sign of zero": kept(lambda f: 0.0 if f < 2 else -0.0),
    "nesting": kept(lambda f: [[1], 2] if f < 2 else [[1, 2]]),
    "which of two": kept(lambda f: (scaled(1), scaled(2)) if f < 2 else (scaled(2), scaled(1))),
}
UNREADABLE = {"sparse tensor"}


@pytest.mark.parametrize("kind", LOSSES)
def test_what_a_loss_is_made_of_counts(kind):
    make = LOSSES[kind]
    assert digest(make(1.0)) != digest(make(2.0))
    assert (digest(make(1.0)) == digest(make(1.0))) == (kind not in UNREADABLE)


@pytest.mark.parametrize("kind", ["default argument", "callable object", "class weights", "partial keyword", "hook"])
def test_a_loss_counts_in_the_identity(kind):
    make = LOSSES[kind]
    assert with_loss(make(1.0)) == with_loss(make(1.0)) != with_loss(make(2.0))


def test_metrics_count_by_name_order_and_content():
    ways = [{}, {"a": scaled(1)}, {"b": scaled(1)}, {"a": scaled(2)}, {"a": scaled(1), "b": scaled(2)}]
    ways += [{"b": scaled(2), "a": scaled(1)}]
    assert len({with_loss(F.cross_entropy, metrics=metrics) for metrics in ways}) == len(ways)
    assert with_loss(F.cross_entropy, metrics=ways[3]) == with_loss(F.cross_entropy, metrics={"a": scaled(2)})


def test_an_object_that_changes_in_place_is_noticed():
    loss = Weighted(1.0)
    objective = lw.Objective(MLP.model(), (X, Y), loss=loss)
    before = identity_of(objective)
    loss.factor = 2.0
    assert identity_of(objective) != before
    loss.factor = 1.0
    assert identity_of(objective) == before


SOURCE = '''
import torch
from torch.nn import functional as F
import {helper}
from {helper} import shift as moved

STRENGTH = 1.0
UNUSED = 1.0

def weigh(value):
    """Documented."""
    return STRENGTH * value  # a remark

def loss(output, target):
    value = F.cross_entropy(output, target)
    return sum(weigh(value) for _ in range(2)) + {helper}.power(0.0) + moved(0.0) + rest(0.0)

def rest(x):
    def inner():
        import {helper} as again
        return again.late(x)
    return inner()

def walk(n):
    return run(n - 1) if n else 0.0

def run(n):
    return walk(n - 1) if n else 0.0

class Net(torch.nn.Module):
    scale = 1.0

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.scale * self.helped(self.inner(x)) + walk(3)

    def helped(self, x):
        return x if isinstance(x, torch.Tensor) else Net.helped(self, x)
'''
HELPER = """
LIMIT = 1.0

def power(x):
    return x ** 2

def shift(x):
    return x + LIMIT - 1

def late(x):
    return 3 * x

def other(x):
    return x
"""
EDITS = {  # what is edited, and whether it can matter
    "remark": (("# a remark", "# another remark"), True),
    "lines": (("STRENGTH = 1.0", "\n\n\nSTRENGTH = 1.0"), True),
    "global that nobody reads": (("UNUSED = 1.0", "UNUSED = 2.0"), True),
    "function that nobody calls": (("return x\n", "return x + 1\n"), True),
    "global": (("STRENGTH = 1.0", "STRENGTH = 1.5"), False),
    "helper": (("STRENGTH * value", "STRENGTH - value"), False),
    "keyword of a call": (("F.cross_entropy(output, target)", "F.cross_entropy(input=output, target=target)"), False),
    "helper of another module": (("x ** 2", "x ** 3"), False),
    "global of another module": (("LIMIT = 1.0", "LIMIT = 1.5"), False),
    "imported within": (("3 * x", "4 * x"), False),
    "attribute of the class": (("scale = 1.0", "scale = 1.5"), False),
    "forward": (("self.scale * self", "self.scale + self"), False),
    "called by forward": (("else Net.helped(self, x)", "else x"), False),
    "one of two that call each other": (("run(n - 1)", "run(n - 2)"), False),
    "the other": (("walk(n - 1) if n else 0.0", "walk(n - 1) if n else 1.0"), False),
}


def loaded(folder, name, source):
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_source_counts_wherever_it_can_matter(tmp_path, edit, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two versions within one second of a clock

    def name(old, new):
        assert (SOURCE + HELPER).count(old) == 1
        helper = HELPER.replace(old, new)
        main = SOURCE.replace(old, new)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        loaded(folder, "lw_helper_of_test", helper)
        module = loaded(folder, "lw_main_of_test", main.replace("{helper}", "lw_helper_of_test"))
        return identity_of(lw.Objective(module.Net(MLP.model()), (X, Y), loss=module.loss))

    try:
        (old, new), same = EDITS[edit]
        assert (name(old, new) == name(old, old)) is same
    finally:
        sys.modules.pop("lw_main_of_test", None)
        sys.modules.pop("lw_helper_of_test", None)


def cell(source, namespace):
    """Run a notebook cell."""
    exec(compile(source, "<cell>", "exec"), namespace)


def test_a_cell_that_is_run_again_with_another_helper_counts_even_for_an_objective_that_is_there():
    notebook = {"__name__": "__main__", "F": F}
    cell("def helper(x): return 2 * x\nRATE = 1.0", notebook)
    cell("def loss(output, target): return RATE * helper(F.cross_entropy(output, target))", notebook)
    objective = lw.Objective(MLP.model(), (X, Y), loss=notebook["loss"])
    names = [identity_of(objective)]
    for source in ("def helper(x): return 3 * x", "RATE = 2.0", "RATE = 1.0\ndef helper(x):\n    return 2 * x"):
        cell(source, notebook)
        names.append(identity_of(objective))
    assert len(set(names[:3])) == 3
    assert names[3] == names[0]


def test_a_method_that_is_replaced_counts_even_for_an_objective_that_is_there(monkeypatch):
    class Net(nn.Sequential):
        def forward(self, x):
            return super().forward(x)

    objective = lw.Objective(Net(MLP.model(), nn.Softplus()), (X, Y), loss=F.cross_entropy)
    names = [identity_of(objective)]
    monkeypatch.setattr(Net, "forward", lambda self, x: self[1](self[0](x)) + 1)
    names.append(identity_of(objective))
    monkeypatch.setattr(nn.Softplus, "forward", lambda self, x: x)
    names.append(identity_of(objective))
    assert len(set(names)) == 3
    monkeypatch.undo()
    assert identity_of(objective) == names[0]


# the module


class Net(nn.Module):
    """Everything that is neither parameter nor persistent buffer can be given."""

    def __init__(self, act=F.relu, **attributes):
        super().__init__()
        self.layer, self.act = nn.Linear(6, 3), act
        self.register_buffer("table", torch.ones(3), persistent=False)
        self.register_buffer("saved", torch.ones(3))
        self.plain = torch.ones(3)
        self.drop = nn.Dropout(0.1)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.act(self.layer(self.drop(x))) * self.table * self.plain * self.saved


def net(change=lambda model: None, **options):
    torch.manual_seed(0)
    model = Net(**options)
    change(model)
    return model


def hook(factor):
    return lambda model: model.layer.register_forward_hook(lambda m, i, o: factor * o)


def replaced(model):
    model.forward = functools.partial(lambda self, x: self.layer(x), model)


NETS = {
    "as it is": lambda: net(),
    "activation": lambda: net(act=F.gelu),
    "activation of its own": lambda: net(act=lambda x: x + 1),
    "number": lambda: net(scale=3.0),
    "another number": lambda: net(scale=4.0),
    "name of an attribute": lambda: net(rate=3.0),
    "attribute that sounds like a hook": lambda: net(hook_scale=3.0),
    "tensor": lambda: net(plain=torch.tensor([1.0, 1.0, 2.0])),
    "buffer that is not saved": lambda: net(lambda m: m.table.mul_(2)),
    "list of tensors": lambda: net(parts=[torch.ones(1), torch.zeros(1)]),
    "list of other tensors": lambda: net(parts=[torch.zeros(1), torch.ones(1)]),
    "dropout rate": lambda: net(lambda m: setattr(m.drop, "p", 0.2)),
    "hook": lambda: net(hook(2.0)),
    "other hook": lambda: net(hook(3.0)),
    "two hooks": lambda: net(lambda m: (hook(2.0)(m), hook(2.0)(m))),
    "replaced forward": lambda: net(replaced),
    "further child": lambda: net(extra=nn.Identity()),
}


@pytest.fixture(scope="module")
def of_nets():
    return {name: identity_of(lw.Objective(make(), (X, Y), loss=F.cross_entropy)) for name, make in NETS.items()}


def test_every_attribute_of_a_module_counts(of_nets):
    assert len(set(of_nets.values())) == len(NETS)


@pytest.mark.parametrize("name", NETS)
def test_a_module_that_is_built_again_is_the_same(of_nets, name):
    assert identity_of(lw.Objective(NETS[name](), (X, Y), loss=F.cross_entropy)) == of_nets[name]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.Conv1d(1, 2, 3, padding=1), nn.Conv1d(1, 2, 3, padding=1, padding_mode="circular")),
        (nn.Conv1d(2, 2, 3), nn.Conv1d(2, 2, 3, dilation=2)),
        (nn.LayerNorm(3), nn.LayerNorm(3, eps=1e-3)),
        (nn.ReLU(), nn.GELU()),
        (nn.GELU(), nn.GELU(approximate="tanh")),
        (nn.Sequential(nn.ReLU(), nn.Tanh()), nn.Sequential(nn.Tanh(), nn.ReLU())),
        (nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh())), nn.Sequential(OrderedDict(b=nn.Tanh(), a=nn.ReLU()))),
        (nn.LSTM(2, 3), nn.LSTM(2, 3, batch_first=True)),
    ],
)
def test_options_of_layers_count(one, other):
    for model in (one, other):
        for tensor in (*model.parameters(), *model.buffers()):
            nn.init.ones_(tensor)
    assert digest(one) == digest(copy.deepcopy(one)) != digest(other)


def test_train_mode_of_the_model_and_evaluating_it_do_not_count():
    model = CNN.model()
    names = {
        identity_of(lw.Objective(model.train(mode), CNN.samples(), loss=F.cross_entropy)) for mode in (True, False)
    }
    objective = lw.Objective(model, CNN.samples(), loss=F.cross_entropy, batchnorm="batch")
    list(objective.evaluate(lw.Plane.random(model).basis, np.eye(3)[:1], batchnorm="batch"))
    names.add(identity_of(objective, batchnorm="frozen"))
    assert len(names) == 1


def test_what_the_user_does_to_the_model_later_does_not_count():
    """The objective evaluates a copy that was made when it was."""
    model = net()
    plane = lw.Plane.random(model)
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    model.plain = torch.zeros(3)
    with torch.no_grad():
        model.layer.weight.add_(1.0)
        model.table.mul_(2)
    assert identity_of(objective, plane) == identity_of(lw.Objective(net(), (X, Y), loss=F.cross_entropy), plane)


def test_an_analytic_function_counts_by_what_it_computes():
    def bowl(power):
        return lw.Objective.from_function(lambda u: (u.abs() ** power).sum(dim=1), dim=2)

    plane = lw.Subspace.identity(2)
    names = [identity(bowl(power), plane.basis, "none") for power in (2, 2, 4)]
    assert names[0] == names[1] != names[2]
    through = lw.Plane.through(torch.zeros(2), torch.ones(2), torch.tensor([1.0, 0.0]))
    assert identity(bowl(2), through.basis, "none") != names[0]


def test_settings_of_torch_count():
    objective, found = MLP.objective(), []
    plane = lw.Plane.random(objective.module)
    found.append(identity_of(objective, plane))
    with torch.autocast("cpu", torch.bfloat16):
        found.append(identity_of(objective, plane))
    with torch.autocast("cpu", torch.float16):
        found.append(identity_of(objective, plane))
    torch.set_default_dtype(torch.float64)
    try:
        found.append(identity_of(objective, plane))
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(set(found)) == 4
    assert identity_of(objective, plane) == found[0]


@pytest.mark.parametrize("what", ["lwidgets.sampling.identity.__version__", "torch.__version__", "sys.version_info"])
def test_versions_count(monkeypatch, what):
    objective = MLP.objective()
    before = identity_of(objective)
    monkeypatch.setattr(what, (3, 99) if what.startswith("sys") else "0.0.1")
    assert identity_of(objective) != before


# what cannot be read


def test_what_cannot_be_read_is_itself_and_nothing_else():
    handles = [open(__file__, encoding="utf-8") for _ in range(2)]  # noqa: SIM115
    losses = [kept(lambda f: f)(handle) for handle in handles]
    try:
        assert digest(losses[0]) == digest(losses[0]) != digest(losses[1])
        objective = lw.Objective(MLP.model(), (X, Y), loss=losses[0])
        assert identity_of(objective) == identity_of(objective) != with_loss(losses[1])
    finally:
        for handle in handles:
            handle.close()


def test_an_unreadable_thing_in_the_place_of_one_that_is_gone_is_another():
    seen = set()
    for _ in range(50):  # each is likely to be where the last one was
        thing = threading.Condition().wait  # bound to something with locks, which can be read
        generator = (i for i in range(3))
        seen.add(digest(generator))
        del generator, thing
    assert len(seen) == 50


def test_an_object_that_raises_when_it_is_read_makes_the_objective_its_own():
    class Stubborn:
        @property
        def __dict__(self):
            raise RuntimeError("private")

        def __call__(self, output, target):
            return F.cross_entropy(output, target)

    loss = Stubborn()
    one, two = (lw.Objective(MLP.model(), (X, Y), loss=loss) for _ in range(2))
    assert identity_of(one) == identity_of(one) != identity_of(two)


def test_an_object_of_a_c_library_without_attributes_is_not_taken_for_another():
    assert digest(hashlib.sha256(b"1")) != digest(hashlib.sha256(b"2"))


def test_what_exists_only_while_an_object_is_read_is_not_taken_for_what_came_before():
    for count in range(1, 40):
        few = [deque([i]) for i in range(count)]
        assert digest([*few, deque(["one"])]) != digest([*few, deque(["other"])])


def test_which_of_two_objects_comes_again_counts():
    one, two = [1], [2]
    assert digest([one, two, one]) != digest([one, two, two])


def test_what_an_object_has_worked_out_and_kept_does_not_count():
    path = Path("a/b")
    before = digest(path)
    assert {path: str(path)}
    assert path.parts == ("a", "b")
    assert digest(path) == before == digest(Path("a") / "b")


def test_nesting_without_end_is_no_trouble():
    inner = []
    inner.append(inner)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert digest(inner) == digest(inner)
    assert with_loss(kept(lambda f: f)(inner)) == with_loss(kept(lambda f: f)(inner))
    objective = lw.Objective(MLP.model(), (X, Y), loss=kept(lambda f: f)(deep))
    assert identity_of(objective) == identity_of(objective)
    while deep:
        deep = deep.pop()


def test_identities_keep_nothing_alive():
    objective = lw.Objective(net(), (X, Y), loss=scaled(2.0))
    plane = lw.Plane.random(objective.module)
    identity_of(objective, plane)
    gone = [weakref.ref(thing) for thing in (objective, objective.module, plane, objective.data)]
    del objective, plane
    gc.collect()
    assert [refer() for refer in gone] == [None] * 4


def test_threads_agree():
    objective = CNN.objective()
    plane = lw.Plane.random(CNN.model())
    found, together = [], threading.Barrier(4)

    def work():
        together.wait()
        found.append(identity_of(objective, plane))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


# other processes

ELSEWHERE = """
import copy, sys
sys.path.insert(0, sys.argv[1])
from functools import partial
import torch
from torch import nn
from torch.nn import functional as F
import lwidgets as lw
from tests.models import CASES, MLP
from tests.sampling import test_identity as t

for case in CASES:
    print(case.name, t.identity_of(case.objective()))
for name, make in t.LOSSES.items():
    if name not in t.UNREADABLE:
        print(name, t.digest(make(1.0)))
for name in ("as it is", "activation of its own", "two hooks", "list of tensors"):
    print(name, t.identity_of(lw.Objective(t.NETS[name](), (t.X, t.Y), loss=F.cross_entropy)))
print("text", t.digest({"a", "b", "c", 1, 2.0, (3, "d"), t.Mode.PLAIN}))
torch.manual_seed(0)
recurrent = nn.LSTM(4, 3, batch_first=True)
x = torch.randn(5, 2, 4)
def loss(model, batch): return model(batch)[0].square().mean()
print("lstm", t.identity_of(lw.Objective(recurrent, x, loss=loss)))
normal = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
print("weight norm", t.identity_of(lw.Objective(normal, (x[:, 0], x[:, 1, :3]), loss=nn.MSELoss())))
demo, a, b = lw.demo.digits(hidden=(8,), steps=1)
print("demo", t.identity_of(demo, lw.Line(a, b)), t.identity_of(demo.test, lw.Line(a, b)))
"""


def test_every_process_finds_the_same(tmp_path):
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    told = []
    for seed in ("0", "1"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
        if seed == "1":
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE, str(ROOT)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.splitlines())
    assert told[0] == told[1]
    assert len(told[0]) == len(CASES) + len(LOSSES) - len(UNREADABLE) + 8


LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(width=16)
    | st.text("ab", max_size=2)
    | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(LITERALS, LITERALS)
def test_plain_values_have_one_digest_if_and_only_if_they_are_written_the_same(a, b):
    assert (digest(a) == digest(b)) == (repr(a) == repr(b))
    assert digest(a) == digest(copy.deepcopy(a))
    assert digest([a, b]) != digest([[a, b]])
