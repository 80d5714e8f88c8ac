"""Checkpoints: every usual format gives the same point, none of them runs code, faults are named."""

import argparse
import json
import os
import pickle
import warnings
from pathlib import Path

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


# Folders, shards and names


def sharded(model, folder, suffix="safetensors", name="model"):
    """A checkpoint in two shards and an index, as save_pretrained writes it."""
    tensors = dict(model.state_dict())
    names = list(tensors)
    shards = {f"{name}-0000{i + 1}-of-00002.{suffix}": names[i::2] for i in range(2)}
    for shard, held in shards.items():
        part = {n: tensors[n].contiguous().clone() for n in held}
        safetensors.torch.save_file(part, folder / shard) if suffix == "safetensors" else torch.save(
            part, folder / shard
        )
    index = folder / f"{name}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {n: s for s, held in shards.items() for n in held}}))
    return index


def as_pickled_shards(model, folder):
    sharded(model, folder, "bin", "pytorch_model")


def as_trainer(model, folder):
    as_safetensors(model, folder / "model.safetensors")
    for other in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        torch.save({"state": torch.zeros(3)}, folder / other)


FOLDERS = {
    "safetensors": lambda model, folder: as_safetensors(model, folder / "model.safetensors"),
    "bin": lambda model, folder: as_torch(model, folder / "pytorch_model.bin"),
    "both": lambda model, folder: [f(model, folder) for f in (FOLDERS["safetensors"], FOLDERS["bin"])],
    "sharded": sharded,
    "sharded bin": as_pickled_shards,
    "Trainer": as_trainer,
    "diffusers": lambda model, folder: as_safetensors(model, folder / "diffusion_pytorch_model.safetensors"),
    "capitals": lambda model, folder: as_safetensors(model, folder / "MODEL.SafeTensors"),
    "one of any name": lambda model, folder: as_nested("state_dict")(model, folder / "epoch=3.ckpt"),
    "adapter": lambda model, folder: as_safetensors(model, folder / "adapter_model.safetensors"),
}


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("case", [MLP, CNN, TRANSFORMER], ids=lambda c: c.name)
def test_a_folder_with_one_checkpoint_is_that_checkpoint(tmp_path, case, kind):
    folder = tmp_path / "checkpoint-16"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    model = case.model(1)
    FOLDERS[kind](model, folder)
    assert State.of(folder).label == "checkpoint-16"
    assert case.objective().measure(str(folder))["loss"] == case.plain_loss(model)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_an_index_is_all_of_its_shards_and_a_missing_one_is_named(tmp_path, suffix):
    model = MLP.model(1)
    index = sharded(model, tmp_path, suffix)
    assert MLP.objective().measure(index)["loss"] == MLP.plain_loss(model)
    missing = f"model-00002-of-00002.{suffix}"
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"must have all of its 2 shards beside it, got no '{missing}'"):
        State.of(index)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be an index of shards, with a 'weight_map'"),
        ("[]", "must be an index of shards"),
        ('{"metadata": {}}', "must be an index of shards"),
        ('{"weight_map": 3}', "must be an index of shards"),
        ('{"weight_map": {"w": "../other.safetensors"}}', "must list files beside itself, got '../other.safetensors'"),
        ('{"weight_map": {"w": "/etc/passwd"}}', "must list files beside itself"),
        ('{"weight_map": {"w": "model.safetensors.index.json"}}', "must list files beside itself"),
        ('{"weight_map": {"0.weight": "a.safetensors", "9.weight": "a.safetensors"}}', "got no '9.weight'"),
    ],
)
def test_an_index_that_is_wrong_is_refused_by_name(tmp_path, content, message):
    as_safetensors(MLP.model(), tmp_path / "a.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(ValueError, match=message):
        State.of(index)


def test_a_folder_with_several_checkpoints_or_none_is_refused_and_the_advice_works(tmp_path):
    with pytest.raises(ValueError, match=r"with one checkpoint in it, got none. Save model.state_dict\(\) there"):
        State.of(tmp_path)
    for step in (8, 16):
        (tmp_path / f"checkpoint-{step}").mkdir()
        as_safetensors(MLP.model(step), tmp_path / f"checkpoint-{step}" / "model.safetensors")
    with pytest.raises(ValueError, match=r"got none, but the folders checkpoint-16, checkpoint-8") as caught:
        State.of(tmp_path)
    assert MLP.objective().measure(eval(caught.value.args[0].split("such as ")[1][:-1], {"folder": str(tmp_path)}))
    for step in (8, 16):
        as_torch(MLP.model(step), tmp_path / f"step{step}.pt")
    with pytest.raises(ValueError, match=r"got step16.pt, step8.pt. Pass one of them, such as folder \+ '/step8.pt'"):
        State.of(tmp_path)
    assert State.of(str(tmp_path) + "/step8.pt").label == "step8.pt"


def test_a_base_and_an_adapter_in_one_folder_are_two_checkpoints(tmp_path):
    for name in ("model.safetensors", "adapter_model.safetensors"):
        as_safetensors(MLP.model(), tmp_path / name)
    with pytest.raises(ValueError, match=r"got model.safetensors, adapter_model.safetensors"):
        State.of(tmp_path)


def test_checkpoints_in_pieces_are_refused_and_the_advice_works(tmp_path):
    from torch.distributed.checkpoint import FileSystemWriter, save
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    model = MLP.model(1)
    pieces = tmp_path / "pieces"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(dict(model.state_dict()), storage_writer=FileSystemWriter(pieces), no_dist=True)
    with pytest.raises(ValueError, match=r"got a distributed checkpoint, .* Convert it: .*dcp_to_torch_save"):
        State.of(pieces)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp_to_torch_save(pieces, tmp_path / "model.pt")
    assert MLP.objective().measure(tmp_path / "model.pt")["loss"] == MLP.plain_loss(model)
    deepspeed = tmp_path / "deepspeed"
    deepspeed.mkdir()
    (deepspeed / "zero_to_fp32.py").write_text("")
    with pytest.raises(ValueError, match=r"DeepSpeed's.*Run the zero_to_fp32.py in it"):
        State.of(deepspeed)


@pytest.mark.parametrize("name", ["x.SAFETENSORS", "x.SafeTensors", "x.bin", "x.pt", "no suffix"])
def test_safetensors_are_known_by_their_name_in_any_case_or_by_their_bytes(tmp_path, name):
    model = MLP.model(1)
    as_safetensors(model, tmp_path / name)
    assert MLP.objective().measure(tmp_path / name)["loss"] == MLP.plain_loss(model)


@pytest.mark.parametrize(
    ("start", "format_"), [(b"GGUF", "a GGUF file"), (b"\x89HDF", "an HDF5 file"), (b"\x93NUMPY", "a NumPy array")]
)
def test_other_formats_are_named(tmp_path, start, format_):
    (tmp_path / "weights.bin").write_bytes(start + bytes(100))
    with pytest.raises(ValueError, match=f"weights.bin must .*It is {format_}|weights.bin must hold only tensors"):
        State.of(tmp_path / "weights.bin")


def test_messages_name_the_file_and_never_the_folders_above_it(tmp_path):
    private = tmp_path / "someone" / "private"
    private.mkdir(parents=True)
    (private / "noise.pt").write_bytes(b"PK\x03\x04" + bytes(50))
    (private / "noise.safetensors").write_bytes(bytes(50))
    (private / "locked.pt").write_bytes(b"x")
    (private / "namespace.pt").touch()
    torch.save({"args": argparse.Namespace(lr=1)}, private / "namespace.pt")
    (private / "model.safetensors.index.json").write_text('{"weight_map": {"w": "gone.safetensors"}}')
    (private / "empty").mkdir()
    told = []
    for name in (*os.listdir(private), "absent.pt"):
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            State.of(private / name)
        told.append(str(caught.value))
    assert all(str(tmp_path) not in text and "private" not in text for text in told)
    assert any("argparse.Namespace" in text for text in told)


def test_what_went_wrong_is_told_without_folders():
    from lwidgets.checkpoints.files import _told

    path = Path("/home/someone/models/a.pt")
    for error, expected in (
        (PermissionError(13, "Permission denied", str(path)), "Permission denied"),
        (RuntimeError(f"cannot read {path}: bad"), "cannot read a.pt: bad"),
        (
            RuntimeError("in /opt/lib/torch/serialization.py and http://x.org/a"),
            "in serialization.py and http://x.org/a",
        ),
        (RuntimeError(""), "RuntimeError"),
    ):
        assert _told(error, path) == expected
