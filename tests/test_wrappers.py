"""Modules that wrap another, and modules that cannot be taken: either the same numbers, or a word and a way out."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.parameters import ParameterSpace, State
from lwidgets.wrappers import hidden_weights, unwrapped
from tests.models import MLP, make_mlp, named, same

X, Y = MLP.samples()
pytestmark = [  # torch.jit and torch.ao say that they will be gone
    pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*quantize_per_tensor:UserWarning"),
]


class Fabric(nn.Module):
    """As lightning.fabric's wrapper."""

    __module__ = "lightning.fabric.wrappers"

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._original_module = module

    def forward(self, *args):
        return self._original_module(*args)


Fabric.__name__ = "_FabricModule"

WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "torch.compile": lambda m: torch.compile(m, backend="eager"),
    "AveragedModel": lambda m: torch.optim.swa_utils.AveragedModel(m),
    "a compiled DataParallel": lambda m: torch.compile(nn.DataParallel(m), backend="eager"),
    "Fabric": Fabric,
}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """A process group of this process alone."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_wrapped_model_is_the_model_inside(kind):
    a, b = MLP.model(0), MLP.model(1)
    outer = WRAPPERS[kind](a)
    assert same(dict(State.of(outer).parameters), dict(State.of(unwrapped(outer)).parameters))
    objective = lw.Objective(outer, (X, Y), loss=F.cross_entropy)
    line = lw.sample(objective, lw.Line(outer, WRAPPERS[kind](b)), resolution=3, tolerance=0).values["loss"]
    assert (line[0], line[-1]) == (MLP.plain_loss(a), MLP.plain_loss(b))
    plain = lw.Objective(a, (X, Y), loss=F.cross_entropy)
    drawn = [lw.sample(o, lw.Plane.random(m), resolution=3, tolerance=0) for o, m in ((objective, outer), (plain, a))]
    assert (drawn[0].values["loss"] == drawn[1].values["loss"]).all()
    assert objective.provenance()["model"] == "Sequential"
    assert lw.distances.l2(outer, b) == lw.distances.l2(a, b)


@pytest.mark.parametrize("kind", WRAPPERS)
def test_symmetries_of_a_wrapped_model_are_those_of_the_model_inside(kind):
    model = make_mlp()
    outer = WRAPPERS[kind](model)
    assert lw.symmetry.derive(outer, X[:3]).groups == lw.symmetry.derive(unwrapped(outer), X[:3]).groups


@pytest.mark.parametrize("kind", WRAPPERS)
def test_globs_match_the_names_inside_and_those_that_the_wrapper_shows(kind):
    outer = WRAPPERS[kind](make_mlp())
    shown = next(name for name, _ in outer.named_parameters())
    prefix = shown.removesuffix("0.weight")
    assert prefix
    for globs in ("0.*", f"{prefix}0.*", ["*", f"!{prefix}2.*", "!4.*"]):
        assert ParameterSpace.of_module(outer, globs).moved == ("0.weight", "0.bias")


def test_distributed_data_parallel_is_the_model_inside_alone_and_as_a_part(one_process):
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.parallel.DistributedDataParallel(MLP.model(0))
            self.second = torch.compile(nn.parallel.DistributedDataParallel(nn.Linear(3, 3)), backend="eager")

        def forward(self, x):
            return self.second(torch.tanh(self.first(x)))

    for model in (nn.parallel.DistributedDataParallel(MLP.model(0)), Two()):
        objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
        plane = lw.Plane.random(model, span=0.5)
        landscape = lw.sample(objective, plane, resolution=3, tolerance=0)
        point = plane.bound(objective.space).point((0.5, -0.5)).parameters
        with torch.no_grad():
            assert landscape.values["loss"][1, 1] == F.cross_entropy(model(X), Y).item()
            for name, parameter in unwrapped(model).named_parameters():
                parameter.copy_(point[name])
            assert landscape.values["loss"][2, 0] == pytest.approx(F.cross_entropy(model(X), Y).item(), rel=1e-6)


def test_a_part_in_a_wrapper_is_reached_past_it():
    class Peeks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.compile(nn.Linear(6, 3), backend="eager")

        def forward(self, x):
            return F.linear(x, self.inner.weight) + self.inner(x)

    model = Peeks()
    assert lw.Objective(model, (X, Y), loss=F.cross_entropy).measure(model)["loss"] == pytest.approx(
        F.cross_entropy(model(X), Y).item(), rel=1e-6
    )


def test_shards_are_refused_and_the_whole_state_dict_is_the_way_out(one_process):
    from torch.distributed import device_mesh
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.fsdp import fully_shard

    model = MLP.model()
    fully_shard(model, mesh=device_mesh.init_device_mesh("cpu", (1,)))
    with pytest.raises(TypeError, match=r"Objective: .* '0.weight', a DTensor in shards") as caught:
        lw.Objective(model, (X, Y), loss=F.cross_entropy)
    assert "get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))" in str(caught.value)
    plain = make_mlp()
    plain.load_state_dict(get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)))
    assert lw.Objective(plain, (X, Y), loss=F.cross_entropy).measure(plain)["loss"] == MLP.plain_loss(MLP.model())


class Holds(nn.Module):
    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x):
        return self.part(x)


@pytest.mark.parametrize("wrap", [lambda m: m, Holds], ids=["alone", "as a part"])
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, X)], ids=["script", "trace"])
def test_torchscript_is_refused_by_name_and_its_state_dict_is_the_way_out(make, wrap):
    scripted = make(MLP.model())
    with pytest.raises(TypeError, match=r"^Objective: .*ScriptModule") as caught:
        lw.Objective(wrap(scripted), (X, Y), loss=F.cross_entropy)
    assert "load script.state_dict() into it" in str(caught.value)
    plain = make_mlp()
    plain.load_state_dict(scripted.state_dict())
    assert lw.Objective(plain, (X, Y), loss=F.cross_entropy).measure(scripted)["loss"] == MLP.plain_loss(MLP.model())
    with pytest.raises(TypeError, match=r"^symmetry: .*ScriptModule"):
        lw.symmetry.derive(scripted, X)


def test_lazy_layers_are_refused_and_one_call_is_the_way_out():
    model = nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(3))
    with pytest.raises(TypeError, match=r"^Objective: .* '0.weight', which is lazy .* Call the model on a batch first"):
        lw.Objective(model, (X, Y), loss=F.cross_entropy)
    model(X)
    assert lw.Objective(model, (X, Y), loss=F.cross_entropy).measure(model)["loss"] == F.cross_entropy(model(X), Y)


def test_the_meta_device_is_refused_and_loading_is_the_way_out():
    with torch.device("meta"):
        model = make_mlp()
    with pytest.raises(TypeError, match=r"^Objective: .* '0.weight', which is on the meta device") as caught:
        lw.Objective(model, (X, Y), loss=F.cross_entropy)
    assert 'model.to_empty(device="cpu"), then model.load_state_dict' in str(caught.value)
    model.to_empty(device="cpu")
    model.load_state_dict(MLP.model().state_dict())
    assert lw.Objective(model, (X, Y), loss=F.cross_entropy).measure(model)["loss"] == MLP.plain_loss(MLP.model())


class Hidden(nn.Module):
    """Layers where torch does not find them."""

    def __init__(self, blocks) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, x):
        for block in self.blocks.values() if isinstance(self.blocks, dict | nn.ModuleDict) else self.blocks:
            x = block(x)
        return x


class Plain(nn.Module):
    def __init__(self, weight) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x):
        return x @ self.weight


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(make_mlp(), {nn.Linear})


LINEAR = nn.Linear(6, 3)
WITHOUT = {
    "a list": (Hidden([LINEAR]), "layers in the list blocks. Use nn.ModuleList", Hidden(nn.ModuleList([LINEAR]))),
    "a tuple": (Hidden((LINEAR,)), "layers in the tuple blocks. Use nn.ModuleList", Hidden(nn.ModuleList([LINEAR]))),
    "a dict": (Hidden({"a": LINEAR}), "dict blocks. Use nn.ModuleDict", Hidden(nn.ModuleDict({"a": LINEAR}))),
    "a tensor": (
        Plain(torch.randn(6, 3, requires_grad=True)),
        "the plain tensor weight. Make it an nn.Parameter",
        Plain(nn.Parameter(torch.randn(6, 3))),
    ),
    "inside": (Holds(Hidden([LINEAR])), "layers in the list part.blocks", Holds(Hidden(nn.ModuleList([LINEAR])))),
}


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_model_without_parameters_is_refused_at_once_and_the_advice_works(kind):
    model, told, better = WITHOUT[kind]
    with pytest.raises(ValueError, match=r"^Objective: model must have parameters, got ") as caught:
        lw.Objective(model, (X, Y), loss=F.cross_entropy)
    assert told in str(caught.value)
    assert lw.Objective(better, (X, Y), loss=F.cross_entropy).space.size > 0


@pytest.mark.parametrize("make", [nn.ReLU, nn.Flatten, nn.Identity, lambda: nn.Sequential(), quantised])
def test_neither_a_model_without_parameters_nor_a_plane_around_one_hangs(make):
    model = make()
    with pytest.raises(ValueError, match=r"^Objective: model must have parameters, got "):
        lw.Objective(model, (X, Y), loss=F.cross_entropy)
    lw.Plane.random(model)


def test_packed_weights_are_named():
    with pytest.raises(ValueError, match=r"It has 0, packed by quantisation\. Use the model as it was before"):
        lw.Objective(quantised(), (X, Y), loss=F.cross_entropy)
    assert [told for told, _ in hidden_weights(quantised())] == [f"{i}, packed by quantisation" for i in (0, 2, 4)]


def test_weights_that_stay_beside_those_that_move_are_told():
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.blocks = nn.Linear(6, 3), [nn.Linear(6, 6)]
            self.all = [self.head]

        def forward(self, x):
            return self.head(self.blocks[0](x))

    objective = lw.Objective(Half(), (X, Y), loss=F.cross_entropy)
    assert objective.provenance()["weights that are no parameters"] == ["layers in the list blocks"]
    assert "weights that are no parameters" not in MLP.objective().provenance()


def test_a_state_dict_of_a_wrapped_model_fits():
    model = MLP.model()
    objective = lw.Objective(nn.DataParallel(model), (X, Y), loss=F.cross_entropy)
    for source in (model.state_dict(), nn.DataParallel(model).state_dict(), nn.DataParallel(model)):
        assert same(dict(objective.space.select(State.of(source)).parameters), named(model))
