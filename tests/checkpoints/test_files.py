"""Checkpoints: every usual format gives the same point, none of them runs code, faults are named."""

import os
import pickle

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

import lwidgets as lw
from lwidgets.parameters import State
from tests.models import CNN, MLP, TRANSFORMER, named, same


def as_safetensors(model, path):
    safetensors.torch.save_model(model, path)  # stores tied tensors once


def as_torch(model, path):
    torch.save(model.state_dict(), path)


def as_old_torch(model, path):
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)


def as_nested(key):
    def write(model, path):
        torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, key: model.state_dict()}, path)

    return write


def as_data_parallel(model, path):
    torch.save(torch.nn.DataParallel(model).state_dict(), path)


FORMATS = {
    "model.safetensors": as_safetensors,
    "model.pt": as_torch,
    "old.pth": as_old_torch,
    "training.ckpt": as_nested("state_dict"),
    "accelerate.pt": as_nested("model_state_dict"),
    "detr.pth": as_nested("model"),
    "parallel.pt": as_data_parallel,
}


@pytest.mark.parametrize("file", FORMATS)
@pytest.mark.parametrize("case", [MLP, CNN, TRANSFORMER], ids=lambda c: c.name)
def test_trap_11_every_format_loads_to_the_same_loss(tmp_path, case, file):
    model = case.model(1)
    FORMATS[file](model, tmp_path / file)
    state = State.of(tmp_path / file)
    assert state.label == file
    assert case.objective().measure(state)["loss"] == case.plain_loss(model)


def test_a_path_may_be_a_string_and_a_line_may_join_two_files(tmp_path):
    a, b = MLP.model(0), MLP.model(1)
    as_torch(a, tmp_path / "a.pt")
    as_safetensors(b, tmp_path / "b.safetensors")
    line = lw.Line(str(tmp_path / "a.pt"), tmp_path / "b.safetensors")
    from_files = lw.sample(MLP.objective(), line, resolution=5, tolerance=0)
    from_modules = lw.sample(MLP.objective(), lw.Line(a, b), resolution=5, tolerance=0)
    assert from_files.values["loss"].tolist() == from_modules.values["loss"].tolist()
    assert from_files.provenance["subspace"]["models"] == ["a: a.pt", "b: b.safetensors"]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_trap_11_a_malicious_pickle_is_refused_and_not_run(tmp_path):
    proof = tmp_path / "executed"

    class Malice:
        def __reduce__(self):
            return os.mkdir, (str(proof),)

    for name in ("bare.pkl", "zipped.pt"):
        path = tmp_path / name
        if name == "bare.pkl":
            path.write_bytes(pickle.dumps({"weight": Malice()}))
        else:
            torch.save({"weight": Malice()}, path)
        with pytest.raises(ValueError, match=r"must hold only tensors, got a pickle .* could run code"):
            State.of(path)
        assert not proof.exists()


def test_trap_11_a_pickled_module_is_refused_and_the_advice_works(tmp_path):
    model, path = MLP.model(), tmp_path / "whole.pt"
    torch.save(model, path)
    with pytest.raises(ValueError, match=r"whole.pt must hold only tensors.*Save model.state_dict\(\)"):
        State.of(path)
    torch.save(model.state_dict(), path)
    assert same(dict(State.of(path).parameters), named(model))


@pytest.mark.parametrize("file", ["model.safetensors", "model.pt", "old.pth"])
def test_a_truncated_file_is_refused_with_its_name(tmp_path, file):
    FORMATS[file](MLP.model(), tmp_path / file)
    content = (tmp_path / file).read_bytes()
    for length in (0, 1, 7, 100, len(content) // 2, len(content) - 1):
        (tmp_path / file).write_bytes(content[:length])
        with pytest.raises(ValueError, match=f"read_checkpoint: {file} must"):
            State.of(tmp_path / file)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@given(st.binary(max_size=200), st.sampled_from(["noise.pt", "noise.safetensors"]))
def test_noise_is_refused_and_never_escapes_as_another_error(tmp_path, content, file):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"read_checkpoint: {file} must"):
        State.of(tmp_path / file)


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"got 'absent.pt', which is not there"):
        State.of(tmp_path / "absent.pt")


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"lr": 0.1}, torch.zeros(3)])
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"must hold a dict of tensors, got .*Save model.state_dict\(\)"):
        State.of(tmp_path / "other.pt")


def test_a_checkpoint_of_another_architecture_names_the_key_and_both_shapes(tmp_path):
    wider = torch.nn.Sequential(*(MLP.make()[i] for i in range(4)), torch.nn.Linear(12, 5))
    as_torch(wider, tmp_path / "wider.pt")
    with pytest.raises(
        ValueError, match=r"wider.pt must fit .*key '4.weight' must have shape \(3, 12\), got \(5, 12\)"
    ):
        lw.sample(MLP.objective(), lw.Line(MLP.model(), tmp_path / "wider.pt"), resolution=3)
