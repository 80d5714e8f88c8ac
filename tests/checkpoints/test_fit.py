"""Points from whatever a model was kept as, against torch's own load_state_dict and a plain loss."""

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

import lwidgets as lw
from lwidgets.checkpoints import Untied
from lwidgets.parameters import ParameterSpace, State
from tests.models import CNN

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(3))
Y = torch.randint(0, 3, (32,), generator=torch.Generator().manual_seed(4))


class Net(nn.Module):
    """An encoder and a head."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh())
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.encoder(x))


class Lightning(nn.Module):
    """A model in a container that has buffers of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("class_weight", torch.ones(3))

    def forward(self, x):
        return self.model(x)


class LM(nn.Module):
    """An embedding and an output layer that may be one tensor."""

    def __init__(self, tie: bool, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.mix, self.lm_head = nn.Embedding(11, 8), nn.Linear(8, 8), nn.Linear(8, 11, bias=False)
        if tie:
            self.lm_head.weight = self.embed.weight

    def forward(self, tokens):
        return self.lm_head(torch.tanh(self.mix(self.embed(tokens))))


def net(seed: int, classes: int = 3) -> Net:
    torch.manual_seed(seed)
    return Net(classes).eval()


def averaged(model: nn.Module) -> nn.Module:
    swa = AveragedModel(model)
    swa.update_parameters(model)
    return swa


def partly_compiled(model: Net) -> nn.Module:
    model.encoder = torch.compile(model.encoder, backend="eager")
    return model


def own_loss(model: nn.Module, x=X, y=Y) -> float:
    with torch.no_grad():
        return F.cross_entropy(model(x), y).item()


def objective(model: nn.Module, x=X, y=Y, **options) -> lw.Objective:
    return lw.Objective(model, (x, y), loss=F.cross_entropy, **options)


WRAPS = {
    "plain": lambda model: model,
    "data parallel": nn.DataParallel,
    "averaged": averaged,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "a part compiled": partly_compiled,
    "in a container with a buffer": Lightning,
    "in two containers": lambda model: nn.Sequential(nn.Sequential(model)),
    "averaged and compiled": lambda model: torch.compile(averaged(model), backend="eager"),
}


@pytest.mark.parametrize("guest", WRAPS)
@pytest.mark.parametrize("host", WRAPS)
def test_a_model_fits_whatever_is_wrapped_around_either(host, guest):
    if {host, guest} == {"in a container with a buffer", "in two containers"}:
        pytest.skip("containers of other names around both are not taken for the same")
    model = net(1)
    loss = own_loss(copy.deepcopy(model))
    there, here = WRAPS[guest](model), objective(WRAPS[host](net(0)))
    assert here.measure(there)["loss"] == pytest.approx(loss, rel=1e-6)
    tensors = there.state_dict()
    tensors.pop("class_weight", None)
    assert here.measure(tensors)["loss"] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("guest", WRAPS)
def test_the_end_of_a_line_is_the_wrapped_model_to_the_last_bit(guest, tmp_path):
    model, here = net(1), objective(net(0))
    loss = here.measure(copy.deepcopy(model))["loss"]
    there = WRAPS[guest](model)
    tensors = there.state_dict()
    tensors.pop("class_weight", None)
    torch.save(tensors, tmp_path / "b.pt")
    for source in (there, tensors, tmp_path / "b.pt"):
        line = lw.sample(here, lw.Line(here.module, source), resolution=3, tolerance=0)
        assert line.values["loss"][-1] == loss
        assert line.labels == ("alpha (0 = a, 1 = b)",)


def test_layers_keep_their_groups_under_other_names():
    here, model = objective(net(0)), net(1)
    plain = lw.sample(here, lw.Layerwise(here.module, copy.deepcopy(model)).line("head"), resolution=3, tolerance=0)
    for wrap in ("data parallel", "a part compiled", "in two containers"):
        wrapped = WRAPS[wrap](copy.deepcopy(model))
        layers = lw.Layerwise(wrapped, here.module)
        assert [name.split(".")[-1] for name in layers.names] == ["0", "1", "head"]
        back = lw.sample(here, layers.line(layers.names[-1], at=1.0), resolution=3, tolerance=0)
        assert back.values["loss"][0] == plain.values["loss"][-1]


def without(tensors, *words):
    return {name: t for name, t in tensors.items() if not any(word in name for word in words)}


BATCHNORM = {
    "before the counter": lambda t: without(t, "num_batches_tracked"),
    "one layer's counter": lambda t: without(t, "1.num_batches_tracked"),
    "more counters": lambda t: {**t, "n_averaged": torch.tensor(3), "9.num_batches_tracked": torch.tensor(1)},
    "position ids and a mask": lambda t: {**t, "pos.position_ids": torch.arange(5), "mask": torch.ones(3, 3) > 0},
    "rotary frequencies": lambda t: {**t, "rotary.inv_freq": torch.ones(3), "h.0.attn.masked_bias": torch.tensor(-1e4)},
    "GPT-2's mask": lambda t: {**t, "h.0.attn.bias": torch.ones(1, 1, 4, 4).tril()},
    "half precision": lambda t: {n: v.half() if v.is_floating_point() else v for n, v in t.items()},
    "arrays": lambda t: {n: np.broadcast_to(v.numpy(), v.shape) for n, v in t.items()},  # not to be written to
    "with what is no tensor": lambda t: {**t, "version": 3, "_extra_state": None},
}


@pytest.mark.parametrize("kind", BATCHNORM)
def test_counters_and_constants_may_be_missing_or_more(kind):
    model, fresh = CNN.model(1), CNN.model(0)
    tensors = BATCHNORM[kind](model.state_dict())
    tensors_only = {n: t for n, t in tensors.items() if not isinstance(t, int | None)}
    as_torch = {n: t if isinstance(t, torch.Tensor) else torch.tensor(t.copy()) for n, t in tensors_only.items()}
    fresh.load_state_dict(as_torch, strict=False)
    here = CNN.objective(batchnorm="frozen")
    assert here.measure(tensors)["loss"] == pytest.approx(CNN.plain_loss(fresh), rel=1e-6)


def test_constants_that_a_checkpoint_lacks_are_the_models_and_said():
    class Masked(nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.linear = nn.Linear(6, 3)
            self.register_buffer("shift", torch.full((6,), 0.5))

        def forward(self, x):
            return self.linear(x - self.shift)

    a, b = Masked(0), Masked(1)
    landscape = lw.sample(objective(a), lw.Line(a, dict(b.named_parameters())), resolution=3, tolerance=0)
    assert landscape.values["loss"][-1] == pytest.approx(own_loss(b), rel=1e-6)
    assert landscape.provenance["subspace"]["taken from elsewhere"] == {"b: state dict": ["shift"]}


def test_statistics_that_are_missing_are_warned_of_where_they_are_read():
    here, weights = CNN.objective(batchnorm="frozen"), dict(CNN.model(1).named_parameters())
    with pytest.warns(UserWarning, match=r"has no BatchNorm statistics \(bn1.running_mean\), and the model's own"):
        here.measure(weights)
    with pytest.warns(UserWarning, match=r"state dict has no 4 tensors; the objective's own are used"):
        lw.sample(here, lw.Line.random(weights), resolution=3)
    here = CNN.objective()
    line = lw.sample(here, lw.Line(CNN.model(0), weights), resolution=3, tolerance=0)  # recalibrated: they are not read
    assert line.values["loss"][-1] == here.measure(CNN.model(1), "recalibrate")["loss"]


# Tied and untied

TOKENS, NEXT = torch.randint(0, 11, (64,)), torch.randint(0, 11, (64,))


@pytest.mark.parametrize("form", ["module", "state dict", "file", "parallel", "one name"])
def test_an_untied_model_is_at_its_end_of_a_line_from_a_tied_one(form, tmp_path):
    tied, untied = LM(True, 0), LM(False, 1)
    torch.save(untied.state_dict(), tmp_path / "b.pt")
    forms = {
        "module": untied,
        "state dict": untied.state_dict(),
        "file": tmp_path / "b.pt",
        "parallel": nn.DataParallel(untied),
        "one name": nn.DataParallel(untied).state_dict(),
    }
    here = objective(tied, TOKENS, NEXT)
    for line in (lw.Line(tied, forms[form]), lw.Line(forms[form], tied)):
        ends = lw.sample(here, line, resolution=3, tolerance=0).values["loss"][[0, -1]]
        expected = [own_loss(tied, TOKENS, NEXT), own_loss(untied, TOKENS, NEXT)]
        assert sorted(ends) == pytest.approx(sorted(expected), rel=1e-6)
    middle = copy.deepcopy(untied)
    with torch.no_grad():
        for name, p in middle.named_parameters():
            p.copy_((p.double() + tied.state_dict()[name].double()) / 2)
    between = lw.sample(here, lw.Line(tied, forms[form]), resolution=3, tolerance=0)
    assert between.values["loss"][1] == pytest.approx(own_loss(middle, TOKENS, NEXT), rel=1e-6)
    assert here.measure(forms[form])["loss"] == pytest.approx(own_loss(untied, TOKENS, NEXT), rel=1e-6)
    assert here.space.aliases
    assert here.measure(tied)["loss"] == pytest.approx(own_loss(tied, TOKENS, NEXT), rel=1e-6)


@pytest.mark.parametrize("form", ["module", "state dict", "State", "safetensors", "parallel", "averaged"])
def test_a_tied_model_fits_an_untied_one(form, tmp_path):
    tied, here = LM(True, 0), objective(LM(False, 1), TOKENS, NEXT)
    import safetensors.torch

    safetensors.torch.save_model(tied, tmp_path / "a.safetensors")  # the tensor once, and what it is called besides
    forms = {
        "module": tied,
        "state dict": tied.state_dict(),
        "State": State.of(tied),
        "safetensors": tmp_path / "a.safetensors",
        "parallel": nn.DataParallel(tied),
        "averaged": averaged(tied),
    }
    assert here.measure(forms[form])["loss"] == pytest.approx(own_loss(tied, TOKENS, NEXT), rel=1e-6)
    line = lw.sample(here, lw.Line(forms[form], here.module), resolution=3, tolerance=0)
    assert line.values["loss"][0] == pytest.approx(own_loss(tied, TOKENS, NEXT), rel=1e-6)


def test_a_tied_file_without_the_second_name_is_refused_and_the_advice_works():
    tied, here = LM(True, 0), objective(LM(False, 1), TOKENS, NEXT)
    tensors = {n: t for n, t in tied.state_dict().items() if n != "lm_head.weight"}
    with pytest.raises(ValueError, match=r"'lm_head.weight' of shape \(11, 8\) is missing.*tied") as caught:
        here.measure(tensors)
    whole = eval(str(caught.value).rpartition("say so: ")[2][:-1], {"tensors": tensors})
    assert here.measure(whole)["loss"] == pytest.approx(own_loss(tied, TOKENS, NEXT), rel=1e-6)


def test_three_tied_tensors_of_which_one_goes_its_own_way():
    def make(tie):
        torch.manual_seed(int(tie))
        model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
        model[2].weight = model[0].weight
        if tie:
            model[4].weight = model[0].weight
        return model

    all_, some = make(True), make(False)
    here = objective(all_)
    assert here.measure(some)["loss"] == pytest.approx(own_loss(some), rel=1e-6)
    assert len(here.space.aliases) == 2
    assert objective(some).measure(all_)["loss"] == pytest.approx(own_loss(all_), rel=1e-6)


def test_ties_that_are_equal_stay_ties_and_others_are_refused_by_name_where_a_model_is_needed():
    tied, untied = LM(True, 0), LM(False, 1)
    here = objective(tied, TOKENS, NEXT)
    assert here.suited(lambda own: own.space.select(State.of(copy.deepcopy(tied).state_dict())))[0] is here
    with pytest.raises(Untied, match=r"'embed.weight' and 'lm_head.weight' must be equal.*Use objective.untied"):
        here.space.select(State.of(untied))
    assert here.untied().space.select(State.of(untied)).parameters["lm_head.weight"].equal(untied.lm_head.weight)
    assert here.untied() is here.untied()
    assert here.untied().untied() is here.untied()


def test_a_module_used_twice_cannot_be_untied_and_the_advice_works():
    shared = nn.Linear(6, 6)
    torch.manual_seed(0)
    twice = nn.Sequential(shared, nn.Tanh(), shared)
    apart = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    with pytest.raises(ValueError, match=r"got '2.weight' in a module that is used twice.*copy.deepcopy"):
        objective(twice).measure(apart)
    copied = nn.Sequential(shared, nn.Tanh(), copy.deepcopy(shared))
    assert objective(copied).measure(apart)["loss"] == pytest.approx(own_loss(apart), rel=1e-6)


def test_layers_of_a_tied_and_an_untied_model_move_together():
    tied, untied = LM(True, 0), LM(False, 1)
    here = objective(tied, TOKENS, NEXT)
    for pair in ((tied, untied), (untied, tied)):
        line = lw.sample(here, lw.Layerwise(*pair).line(), resolution=3, tolerance=0)
        assert line.values["loss"][0] == pytest.approx(own_loss(pair[0], TOKENS, NEXT), rel=1e-6)
        assert line.values["loss"][-1] == pytest.approx(own_loss(pair[1], TOKENS, NEXT), rel=1e-6)
    explorer = lw.LayerwiseExplorer(here, tied, untied, tolerance=0.1)
    assert explorer.wait(60)
    assert str(explorer.verify()).startswith("pass All alphas 0 and all 1 are the two models")
    explorer.close()


def test_a_curve_explorer_takes_a_tied_and_an_untied_model():
    tied, untied = LM(True, 0), LM(False, 1)
    explorer = lw.CurveExplorer(objective(tied, TOKENS, NEXT), tied, untied, resolution=9)
    assert explorer.wait(60)
    assert explorer.landscape.values["loss"][-1] == pytest.approx(own_loss(untied, TOKENS, NEXT), rel=1e-6)
    assert own_loss(explorer.model_at(1.0), TOKENS, NEXT) == pytest.approx(own_loss(untied, TOKENS, NEXT), rel=1e-6)
    assert str(explorer.verify()).startswith("pass The ends are the two models")
    explorer.close()


# Files that hold only what moves

PARTS = {
    "head": ("head.*", lambda t: {n: v for n, v in t.items() if n.startswith("head")}),
    "head by itself": ("head.*", lambda t: {n[5:]: v for n, v in t.items() if n.startswith("head")}),
    "encoder": ("encoder.*", lambda t: {n: v for n, v in t.items() if n.startswith("encoder")}),
    "encoder by itself": ("encoder.*", lambda t: {n[8:]: v for n, v in t.items() if n.startswith("encoder")}),
    "biases of a wrapped model": ("*.bias", lambda t: {f"module.{n}": v for n, v in t.items() if n.endswith("bias")}),
    "one tensor and more": ("encoder.0.weight", lambda t: {n: v for n, v in t.items() if "encoder" in n}),
}


@pytest.mark.filterwarnings("ignore:Plane. weights that directions are scaled to")
@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_enough_if_all_that_moves_is_in_it(part):
    a, b = net(0), net(1)
    params, take = PARTS[part]
    here, tensors = objective(a, params=params), take(b.state_dict())
    expected = copy.deepcopy(a)
    expected.load_state_dict({n: b.state_dict()[n] for n in here.space.moved}, strict=False)
    if part != "one tensor and more":
        assert here.measure(tensors)["loss"] == pytest.approx(own_loss(expected), rel=1e-6)
        line = lw.sample(here, lw.Line(a, tensors), resolution=3, tolerance=0)
        assert line.provenance["subspace"]["taken from elsewhere"].keys() == {"b: state dict"}
        back = lw.sample(here, lw.Line(tensors, a), resolution=3, tolerance=0)
        assert back.values["loss"][0] == pytest.approx(own_loss(expected), rel=1e-6)
        plane = lw.sample(here, lw.Plane.random(tensors, zero_1d=False), resolution=3, tolerance=0)
        assert plane.values["loss"][1, 1] == pytest.approx(own_loss(expected), rel=1e-6)
    else:
        with pytest.warns(UserWarning, match="does not move"):
            line = lw.sample(here, lw.Line(a, tensors), resolution=3, tolerance=0)
    assert line.values["loss"][-1] == pytest.approx(own_loss(expected), rel=1e-6)


@pytest.mark.parametrize("part", ["head", "encoder"])
def test_a_part_that_lacks_what_moves_is_refused_and_the_advice_works(part):
    a, b = net(0), net(1)
    tensors = PARTS[part][1](b.state_dict())
    with pytest.raises(ValueError, match=r"is missing.*If it holds all that is to move, say so") as caught:
        lw.sample(objective(a), lw.Line(a, tensors), resolution=3)
    params = eval(re.search(r"params=(\[.*?\])", str(caught.value))[1])
    lw.sample(objective(a, params=params), lw.Line(a, tensors), resolution=3)


# Heads that differ


@pytest.mark.parametrize("where", ["end", "origin", "both"])
def test_heads_of_other_shapes_may_stay_where_they_are(where):
    a, b, own = net(0), net(1, classes=5), net(2)
    here = objective(own if where == "both" else a, params=["*", "!head.*"])
    ends = {"end": (a, b), "origin": (b, a), "both": (b, net(3, classes=4))}[where]
    with pytest.warns(UserWarning, match=r"head.weight \(of shape \(\d, 8\)\) and 1 more"):
        line = lw.sample(here, lw.Line(*ends), resolution=3, tolerance=0)
    for end, value in zip(ends, line.values["loss"][[0, -1]], strict=True):
        mixed = copy.deepcopy(here.module)
        mixed.encoder.load_state_dict(end.encoder.state_dict())
        assert value == pytest.approx(own_loss(mixed), rel=1e-6)
    assert "head.weight and head.bias" in line.labels[0]


def test_a_head_of_another_shape_that_moves_is_refused_and_the_advice_works():
    a, b = net(0), net(1, classes=5)
    with pytest.raises(ValueError, match=r"'head.weight' must have shape \(3, 8\), got \(5, 8\)") as caught:
        lw.sample(objective(a), lw.Line(a, b), resolution=3)
    params = eval(re.search(r"params=(\[.*?\])", str(caught.value))[1])
    assert params == ["*", "!head.*"]
    with pytest.warns(UserWarning, match="head.weight"):
        lw.sample(objective(a, params=params), lw.Line(a, b), resolution=3)
    with pytest.raises(ValueError, match=r"It does not move, so a Line or Plane .* put it into the loss"):
        objective(a, params=params).measure(b)  # which is not b, so there is no number for it
    with pytest.raises(ValueError, match="put it into the loss"):
        lw.merging.fisher(a, b, objectives=objective(a, params=params))
    inner = lw.Objective(a.encoder, (X, Y), loss=lambda features, y: F.cross_entropy(a.head(features), y))
    inner.measure(b.encoder)


def test_a_line_of_models_that_do_not_fit_each_other_gives_no_points_of_its_own():
    line = lw.Line(net(0), net(1, classes=5))
    for use in (lambda: line.point([1.0]), lambda: line.basis, lambda: line.project(net(0)), line.provenance):
        with pytest.raises(ValueError, match=r"'head.weight' must have shape"):
            use()
    with pytest.raises(ValueError, match="Use a checkpoint of the same architecture"):
        lw.Line(nn.Linear(3, 2), nn.Linear(2, 3))


# What is refused


def scaled(tensors):
    return {
        **{n: t.to(torch.float8_e4m3fn) if n.endswith("0.weight") else t for n, t in tensors.items()},
        "encoder.0.weight_scale": torch.tensor(0.1),
    }


REFUSED = {
    "int8 with its scale": (
        lambda t: {**t, "head.weight": t["head.weight"].to(torch.int8), "head.SCB": torch.ones(3)},
        "'head.weight' must hold the weights themselves, got torch.int8 with its scale 'head.SCB'.*dequantise",
    ),
    "int8": (lambda t: {**t, "head.weight": t["head.weight"].to(torch.int8)}, "'head.weight' must hold.*quantised"),
    "float8 with its scale": (
        scaled,
        "'encoder.0.weight' must hold.*float8_e4m3fn with its scale 'encoder.0.weight_scale'",
    ),
    "GPTQ": (
        lambda t: {**without(t, "head.weight"), "head.qweight": torch.ones(2, 2, dtype=torch.int32)},
        "'head.weight' of shape .* is missing.*quantised",
    ),
    "complex": (lambda t: {**t, "head.bias": t["head.bias"].to(torch.complex64)}, "'head.bias' must be real"),
    "meta": (lambda t: {**t, "head.bias": t["head.bias"].to("meta")}, "'head.bias' holds no numbers"),
    "two averages": (
        lambda t: {**{f"online.{n}": v for n, v in t.items()}, **{f"ema.{n}": v + 1 for n, v in t.items()}},
        r"under 'online.' and 'ema.': pass \{n.removeprefix\('online.'\)",
    ),
    "a loss's weights": (
        lambda t: {**{f"model.{n}": v for n, v in t.items()}, "criterion.weight": torch.ones(3)},
        r"under 'model.': pass \{n.removeprefix\('model.'\)",
    ),
    "two for one": (
        lambda t: {**{f"module.{n}": v for n, v in t.items()}, **{f"_orig_mod.{n}": v + 1 for n, v in t.items()}},
        "could be 'module.encoder.0.weight' and '_orig_mod.encoder.0.weight', which differ by up to 1",
    ),
    "a layer more": (
        lambda t: {**t, "extra.weight": torch.ones(2)},
        "'extra.weight' is not one of the model's.*leave them out",
    ),
    "another architecture": (
        lambda t: {**without(t, "head"), "out.weight": torch.ones(2)},
        "Use a checkpoint of the same architecture",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_taken_is_refused_by_name_with_the_way_out(kind):
    change, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message) as caught:
        objective(net(0)).measure(change(net(1).state_dict()))
    advice = re.search(r"(\{n.*\})\.$", str(caught.value))
    if advice:  # a comprehension to copy
        taken = eval(advice[1], {"tensors": change(net(1).state_dict())})
        assert objective(net(0)).measure(taken)["loss"] == pytest.approx(own_loss(net(1)), rel=1e-6)


def test_float8_that_was_only_rounded_is_taken_for_what_it_says():
    rounded = {n: t.to(torch.float8_e4m3fn) for n, t in net(1).state_dict().items()}
    expected = net(0)
    expected.load_state_dict(rounded)
    assert objective(net(0)).measure(rounded)["loss"] == pytest.approx(own_loss(expected), rel=1e-6)


def test_old_weight_norm_fits_the_new():
    def make(seed, norm):
        torch.manual_seed(seed)
        return nn.Sequential(norm(nn.Linear(6, 8)), nn.Tanh(), norm(nn.Linear(8, 3)))

    with pytest.warns(FutureWarning):
        old = make(1, nn.utils.weight_norm)
    new = make(0, nn.utils.parametrizations.weight_norm)
    here = objective(copy.deepcopy(new))
    new.load_state_dict(old.state_dict())  # torch's own hook
    assert here.measure(old)["loss"] == pytest.approx(own_loss(new), rel=1e-6)
    assert objective(old).measure(new)["loss"] == pytest.approx(own_loss(new), rel=1e-6)


def test_two_adapters_of_which_the_checkpoint_does_not_say_which():
    layout = ParameterSpace.of_state(
        State({f"0.lora_A.{name}.weight": torch.zeros(2) for name in ("default", "french")})
    )
    with pytest.raises(ValueError, match=r"'0.lora_A.weight' could be any of .*Give it the name that it has"):
        layout.select(State({"0.lora_A.weight": torch.ones(2)}))


def test_a_piece_of_a_tensor_is_refused():
    class Piece(torch.Tensor):
        def full_tensor(self):
            raise NotImplementedError

    piece = torch.zeros(3, 2).as_subclass(Piece)
    with pytest.raises(ValueError, match=r"tensors must be whole, got .*full_state_dict=True"):
        State.of({"weight": piece})


def test_names_of_a_thousand_tensors_that_are_all_missing_are_told_at_once():
    tensors = {f"blocks.{i}.attention.projection.weight": torch.zeros(1) for i in range(1000)}
    other = {f"layers.{i}.attention.output.weight": torch.zeros(1) for i in range(1000)}
    with pytest.raises(ValueError, match="got 2000 mismatched keys"):
        ParameterSpace.of_state(State(tensors)).select(State(other))
