"""Reading checkpoint files and folders without executing anything that is in them."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from lwidgets.checkpoints.nested import model_in
from lwidgets.files import without_folders

_SINGLE = (  # what libraries call the weights of a folder, in the order in which they look for them
    "model.safetensors",  # transformers, accelerate, timm
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "diffusion_pytorch_model.safetensors",  # diffusers
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
)
_ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")  # PEFT
_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar")
_OTHERS = {  # first bytes of formats that are not torch's
    b"GGUF": ("a GGUF file, whose weights are quantised", "Convert the model it was made from"),
    b"\x89HDF": ("an HDF5 file", "Load it with the library that wrote it, and pass a dict of tensors"),
    b"\x93NUMPY": ("a NumPy array", "Pass np.load(path) as a tensor, by name"),
}
_INDEX = ".index.json"


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors by name from a checkpoint file, a sharded checkpoint's index or a folder with one in it, on the CPU.

    A pickle that needs more than tensors and plain containers is refused: loading it would run its code.

    Args:
        path: A file: safetensors are known by their name or first bytes, ``*.index.json`` lists shards, anything else
            is for ``torch.load(weights_only=True)``. Or a folder, as ``save_pretrained``, a Trainer and accelerate
            write it.

    Returns:
        The tensors, and the key they were under where that is worth saying: that of a moving average, not "model".

    Raises:
        FileNotFoundError: Nothing is at that path, or a shard is missing.
        ValueError: The file is damaged, would execute code, or holds no tensors or several models; the folder has no
            checkpoint, or more than one.
    """
    if path.is_dir():
        return read_checkpoint(_in_folder(path))
    if not path.exists():
        raise FileNotFoundError(
            f"read_checkpoint: path must be a checkpoint file or a folder with one in it, got {path.name!r}, which is "
            "not there. Check the path; for a model of the Hub, pass what from_pretrained returns."
        )
    if path.name.lower().endswith(_INDEX):
        return _sharded(path), ""
    try:
        if _is_safetensors(path):
            return _safetensors(path), ""
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"read_checkpoint: {path.name} must be a complete safetensors file, got: {_told(error, path)}. Copy the "
            "file again."
        ) from error
    except pickle.UnpicklingError as error:
        needs = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise ValueError(
            f"read_checkpoint: {path.name} must hold only tensors, got a pickle that torch.load(weights_only=True) "
            f"refuses{f' (it asks for {needs[1]})' if needs else ''}, because loading it could run code. Save "
            "model.state_dict() with safetensors or torch.save, or load it yourself and pass the state dict."
        ) from error
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        raise ValueError(
            f"read_checkpoint: {path.name} must be a complete checkpoint, got: {_told(error, path)}. {_advice(path)}."
        ) from error
    if isinstance(loaded, Mapping):
        tensors, where = model_in(loaded, "read_checkpoint", path.name)
        if tensors and not isinstance(tensors, nn.Module):
            return dict(tensors), where
    raise ValueError(
        f"read_checkpoint: {path.name} must hold a dict of tensors, got {_kind(loaded)}. "
        "Save model.state_dict(), alone or under a key such as 'state_dict' or 'model'."
    )


def _in_folder(folder: Path) -> Path:
    """The checkpoint in a folder."""
    there = {entry.name.lower(): entry for entry in sorted(folder.iterdir())}
    usual = [there[name] for name in _SINGLE if name in there][:1]
    usual += [there[name] for name in _ADAPTER if name in there][:1]
    if not usual and (".metadata" in there or any(name.endswith(".distcp") for name in there)):
        raise ValueError(
            f"read_checkpoint: {folder.name} must be a folder with whole tensors, got a distributed checkpoint, whose "
            "tensors are in pieces. Convert it: torch.distributed.checkpoint.format_utils.dcp_to_torch_save(folder, "
            '"model.pt").'
        )
    if not usual and "zero_to_fp32.py" in there:
        raise ValueError(
            f"read_checkpoint: {folder.name} must be a folder with whole tensors, got one of DeepSpeed's, whose "
            "tensors are in pieces. Run the zero_to_fp32.py in it, and pass the file that it writes."
        )
    files = usual or [f for name, f in there.items() if name.endswith((*_SUFFIXES, _INDEX)) and f.is_file()]
    if len(files) == 1:
        return files[0]
    below = [entry.name for entry in there.values() if entry.is_dir()]
    found = [f.name for f in files] or below
    got = "" if files else "none" + (", but the folders " if below else "")
    advice = f"Pass one of them, such as folder + '/{found[-1]}'" if found else "Save model.state_dict() there"
    raise ValueError(
        f"read_checkpoint: {folder.name} must be a folder with one checkpoint in it, got {got}{_listed(found)}. "
        f"{advice}."
    )


def _sharded(index: Path) -> dict[str, Tensor]:
    """All shards that an index lists, which lie beside it."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names: dict[str, set[str]] = {}
        for name, shard in places.items():
            names.setdefault(str(shard), set()).add(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"read_checkpoint: {index.name} must be an index of shards, with a 'weight_map', got none. Copy the file "
            "again."
        ) from error
    tensors: dict[str, Tensor] = {}
    for shard, wanted in names.items():
        if Path(shard).name != shard or shard.lower().endswith(_INDEX):
            raise ValueError(
                f"read_checkpoint: {index.name} must list files beside itself, got {shard!r}. Move the shards there."
            )
        path = index.parent / shard
        if not path.is_file():
            raise FileNotFoundError(
                f"read_checkpoint: {index.name} must have all of its {len(names)} shards beside it, got no {shard!r}. "
                "Copy it there."
            )
        held, _ = read_checkpoint(path)
        missing = sorted(wanted - held.keys())
        if missing:
            raise ValueError(
                f"read_checkpoint: {shard} must hold what {index.name} says, got no {missing[0]!r}. Copy both again."
            )
        tensors |= {name: held[name] for name in wanted}
    return {name: tensors[name] for name in places}


def _is_safetensors(path: Path) -> bool:
    """By its name, or by its first bytes: the length of a header, and the header's brace."""
    if path.suffix.lower() == ".safetensors":
        return True
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= path.stat().st_size


def _safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors, those that were saved once for several names under each (`safetensors.torch.save_model`)."""
    tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, framework="pt") as file:
        others = file.metadata() or {}
    return tensors | {name: tensors[kept] for name, kept in others.items() if kept in tensors and name not in tensors}


def _told(error: BaseException, path: Path) -> str:
    """What went wrong in one line, without the folders that lead there."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    first = told.partition("\n")[0].rstrip(".").replace(str(path.resolve()), path.name).replace(str(path), path.name)
    return without_folders(first) or type(error).__name__


def _advice(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return "Check that it may be read"
    format_, advice = next((told for magic, told in _OTHERS.items() if start.startswith(magic)), ("", ""))
    return f"It is {format_}. {advice}" if format_ else "Copy the file again"


def _kind(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        keys = ", ".join(map(repr, list(loaded)[:5]))
        return f"one without tensors, with the keys {keys}" if keys else "an empty one"
    return type(loaded).__name__


def _listed(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
