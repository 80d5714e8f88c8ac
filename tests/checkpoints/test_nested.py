"""What training scripts save around a model: the same in memory as in a file."""

import pytest
import torch
from torch import nn

import lwidgets as lw
from lwidgets.checkpoints import model_in
from lwidgets.parameters import State
from tests.models import MLP


def optimizer() -> dict:
    model = MLP.model(2)
    adam = torch.optim.Adam(model.parameters())
    model(MLP.samples()[0]).sum().backward()
    adam.step()
    return adam.state_dict()


NESTS = {
    "Lightning": lambda t: {"state_dict": t, "epoch": 3, "optimizer_states": [optimizer()], "hyper_parameters": {}},
    "tutorial": lambda t: {"model_state_dict": t, "optimizer_state_dict": optimizer(), "loss": torch.tensor(0.3)},
    "nanoGPT": lambda t: {"model": {f"_orig_mod.{n}": v for n, v in t.items()}, "optimizer": optimizer(), "config": {}},
    "DeepSpeed": lambda t: {"module": t, "lr_scheduler": {"last": torch.zeros(1)}},
    "averages only": lambda t: {"ema": t, "step": torch.tensor(4)},
    "averages of the same": lambda t: {"model": t, "model_ema": {n: v.clone() for n, v in t.items()}},
    "any one key": lambda t: {"backbone_weights": t, "rng": {"cpu": torch.zeros(5)}},
    "twice": lambda t: {"checkpoint": {"model": t, "optimizer": optimizer()}, "epoch": 1},
    "with a loss's weights": lambda t: {"net": t, "criterion": {"weight": torch.ones(3)}},
    "by parameter": lambda t: {"model": t, "optim": {"0.weight": {"exp_avg": torch.zeros(3)}}},
}


@pytest.mark.parametrize("nest", NESTS)
def test_a_checkpoint_is_its_model_in_memory_and_in_a_file(tmp_path, nest):
    model = MLP.model(1)
    checkpoint = NESTS[nest](model.state_dict())
    torch.save(checkpoint, tmp_path / "c.pt")
    here = MLP.objective()
    assert here.measure(checkpoint)["loss"] == MLP.plain_loss(model)
    assert here.measure(tmp_path / "c.pt")["loss"] == MLP.plain_loss(model)
    line = lw.sample(here, lw.Line(MLP.model(0), checkpoint), resolution=3, tolerance=0)
    assert line.values["loss"][-1] == MLP.plain_loss(model)


AMBIGUOUS = {
    "timm": ("state_dict", "state_dict_ema"),
    "torchvision": ("model", "model_ema"),
    "BasicSR": ("params", "params_ema"),
    "mean teacher": ("student", "teacher"),
    "GAN": ("generator", "discriminator"),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_several_models_are_refused_and_the_advice_works(tmp_path, kind):
    models = [MLP.model(1), MLP.model(2)]
    checkpoint = {key: m.state_dict() for key, m in zip(AMBIGUOUS[kind], models, strict=True)} | {"epoch": 3}
    path = tmp_path / "c.pt"
    torch.save(checkpoint, path)
    for source in (checkpoint, path):
        with pytest.raises(ValueError, match="must hold one model, got different ones under") as caught:
            State.of(source)
        in_file, in_memory = str(caught.value).rpartition("Pass one of them: ")[2].rstrip(".").split(", or ")
        by_file = eval(in_file.replace("path,", "path, "), {"torch": torch, "path": path})
        in_memory = eval(in_memory.removesuffix(" of what is loaded"), {"checkpoint": checkpoint})
        for picked in (by_file, in_memory):
            assert MLP.objective().measure(picked)["loss"] == MLP.plain_loss(models[1])


def test_the_key_of_an_average_is_in_the_label_and_a_models_is_not(tmp_path):
    tensors = MLP.model().state_dict()
    assert State.of({"model": tensors}).label == "state dict"
    assert State.of({"ema": tensors}).label == "state dict[ema]"
    torch.save({"state_dict_ema": tensors}, tmp_path / "c.pt")
    assert State.of(tmp_path / "c.pt").label == "c.pt[state_dict_ema]"


def test_a_module_in_a_mapping_is_a_model():
    model = MLP.model(1)
    assert MLP.objective().measure({"model": model, "epoch": 3})["loss"] == MLP.plain_loss(model)
    assert State.of({"ema": model}).label == "Sequential[ema]"
    with pytest.raises(ValueError, match="different ones under 'model' and 'ema'"):
        State.of({"model": model, "ema": MLP.model(2)})


@pytest.mark.parametrize(
    "loaded",
    [{}, {"epoch": 3}, {"model": {}}, {"optimizer": optimizer()}, {"shadow_params": [torch.zeros(3)]}, {"model": 3}],
)
def test_without_a_model_there_is_no_point(loaded):
    assert model_in(loaded, "test", "checkpoint") == ({}, "")
    with pytest.raises(ValueError, match="must hold tensors, got none"):
        State.of(loaded)


def test_a_bare_state_dict_is_left_as_it_is_whatever_its_names():
    tensors = {"model.weight": torch.zeros(2), "state_dict": torch.ones(3), "ema": torch.ones(1)}
    assert model_in(tensors, "test", "checkpoint")[0].keys() == tensors.keys()
    assert isinstance(model_in({"net": nn.Linear(1, 1)}, "test", "checkpoint")[0], nn.Linear)
