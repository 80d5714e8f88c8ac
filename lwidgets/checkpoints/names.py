"""Which tensor of a checkpoint is which of a model's: one list of rules, from the strictest to the loosest.

Two names are the same if they are equal; else if they become equal by the first rule; by the first two; and so on
(`RULES`). Last, one container around everything may be there or not (`_containers`). What comes of several tensors for
one name is for `fit` to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from torch import Tensor

Rule = Callable[[str], str]
"""From a name to what it is called without one tool's doing."""

_WRAPPERS = frozenset(
    {
        "module",  # DataParallel, DistributedDataParallel, AveragedModel, DeepSpeed, timm's ModelEma
        "_orig_mod",  # torch.compile
        "_fsdp_wrapped_module",  # FullyShardedDataParallel
        "_checkpoint_wrapped_module",  # torch's activation checkpointing
        "_forward_module",  # Lightning's strategies
    }
)
_CONTAINERS = frozenset({"model", "net", "network", "backbone", "base_model", "ema", "ema_model"})
_COUNTERS = frozenset({"num_batches_tracked", "n_averaged"})
_BUFFERS = frozenset({"running_mean", "running_var", "inv_freq", "masked_bias"})
_TUNER = re.compile(
    r"(\.(?:(?:lora|vera|ia3|hada|lokr|oft|boft|hra|fourierft|randlora)_\w+|trainable_tokens_delta))"
    r"\.(?!(?:weight|bias)$)[^.]+"
)
_WEIGHT_NORM = {"_g": "0", "_v": "1"}


def without_wrappers(name: str) -> str:
    """Without the segments that wrappers of whole modules put in, wherever they are.

    Source: the attribute under which each keeps the module; see `_WRAPPERS`.

    >>> without_wrappers("module.encoder._orig_mod.0.weight")
    'encoder.0.weight'
    """
    *path, last = name.split(".")
    return ".".join([*(part for part in path if part not in _WRAPPERS), last])


def without_adapter(name: str) -> str:
    """Without the adapter's name, which PEFT's files leave out, and without its places for what was there before.

    Source: peft.utils.save_and_load.get_peft_model_state_dict.

    >>> without_adapter("base_model.model.h.0.lora_A.default.weight")
    'base_model.model.h.0.lora_A.weight'
    >>> without_adapter("score.modules_to_save.default.weight"), without_adapter("h.0.base_layer.weight")
    ('score.weight', 'h.0.weight')
    >>> without_adapter("prompt_encoder.default.embedding.weight")
    'prompt_embeddings'
    """
    name = re.sub(r"\.modules_to_save\.[^.]+", "", name).replace(".base_layer.", ".")
    name = re.sub(r"^prompt_encoder\.[^.]+\.embedding\.weight$", "prompt_embeddings", name)
    return _TUNER.sub(r"\1", name)


def with_weight_and_bias(name: str) -> str:
    """LayerNorm's parameters as torch calls them.

    Source: transformers' from_pretrained, for checkpoints that were converted from TensorFlow.

    >>> with_weight_and_bias("layer.0.LayerNorm.gamma")
    'layer.0.LayerNorm.weight'
    """
    return re.sub(r"(LayerNorm\.)gamma$", r"\1weight", re.sub(r"(LayerNorm\.)beta$", r"\1bias", name))


def with_parametrized_norm(name: str) -> str:
    """Weight normalisation's two tensors under the names of the parametrisation.

    Source: torch.nn.utils.parametrizations.weight_norm, whose hook loads the old ones.

    >>> with_parametrized_norm("0.weight_g")
    '0.parametrizations.weight.original0'
    """
    return re.sub(
        r"(^|\.)weight(_[gv])$", lambda m: f"{m[1]}parametrizations.weight.original{_WEIGHT_NORM[m[2]]}", name
    )


RULES: tuple[Rule, ...] = (without_wrappers, without_adapter, with_weight_and_bias, with_parametrized_norm)


@lru_cache(maxsize=1 << 16)
def _forms(name: str) -> tuple[str, ...]:
    """The name, and what it becomes by the first rule, the first two, and so on."""
    forms = [name]
    for rule in RULES:
        forms.append(rule(forms[-1]))
    return tuple(forms)


def is_counter(name: str) -> bool:
    """Whether it only counts updates, which no evaluation reads: of BatchNorm before torch 0.4.1, of AveragedModel."""
    return name.rpartition(".")[2] in _COUNTERS


def is_buffer(name: str, tensor: Tensor) -> bool:
    """Whether a tensor of a bare mapping is no weight, by what is known of it: dtype, and the names that tools use.

    Float buffers are known by name: BatchNorm's statistics, rotary frequencies, GPT-2's masks.
    """
    last = name.rpartition(".")[2]
    mask = name.endswith(".attn.bias") and tensor.ndim == 4 and tensor.shape[:2] == (1, 1)
    return not (tensor.is_floating_point() or tensor.is_complex()) or last in _COUNTERS | _BUFFERS or mask


@dataclass(frozen=True)
class Match:
    """Which names are the same.

    Attributes:
        found: The model's name -> the checkpoint's; more than one where the rules do not decide between them.
        left: The checkpoint's names that are none of the model's.
        unclear: Names of the model's that one name of the checkpoint would fit equally well, and that name.
    """

    found: Mapping[str, tuple[str, ...]]
    left: tuple[str, ...]
    unclear: tuple[tuple[tuple[str, ...], str], ...] = ()


def match(
    known: Collection[str], given: Collection[str], *, moved: Collection[str] = (), weights: Collection[str] = ()
) -> Match:
    """Find every name of a model among those of a checkpoint.

    Args:
        known: The model's names.
        given: The checkpoint's.
        moved: Those of the model's that matter most: a name that could be of several is theirs.
        weights: Those of the checkpoint's that are no buffers, and tell the container; all, if none.

    Example:
        >>> match(["0.weight"], ["module.0.weight", "n_averaged"]).found
        {'0.weight': ('module.0.weight',)}
        >>> match(["a.weight", "a.bias"], ["model.a.weight", "model.a.bias"]).left
        ()
    """
    moved, weights = set(moved) or set(known), set(weights) or set(given)
    strip, add = _container(known, given, moved, weights)
    levels: Iterable[tuple[Rule, Rule]] = (
        ((lambda n, i=i: _forms(n)[i], lambda n, i=i: _forms(n)[i]) for i in range(len(RULES) + 1))  # type: ignore[misc]
        if not (strip or add)
        else [(lambda n: _forms(n)[-1], lambda n: _moved_over(_forms(n)[-1], strip, add))]
    )
    found: dict[str, tuple[str, ...]] = {}
    unclear: list[tuple[tuple[str, ...], str]] = []
    open_, free = list(known), list(given)
    for of_known, of_given in levels:
        theirs = _grouped(free, of_given)
        for form, ours in _grouped(open_, of_known).items():
            if form not in theirs:
                continue
            if len(ours) > 1:
                ours = [name for name in ours if name in moved]
            if len(ours) == 1:
                found[ours[0]] = tuple(theirs[form])
            else:
                unclear.append((tuple(ours), theirs[form][0]))
        taken = {name for names in found.values() for name in names}
        open_, free = [n for n in open_ if n not in found], [n for n in free if n not in taken]
        if not open_:
            break
    return Match(found, tuple(free), tuple(dict.fromkeys(u for u in unclear if not set(u[0]) <= found.keys())))


def under(known: Collection[str], given: Collection[str]) -> list[str]:
    """Containers of the checkpoint in which every one of the model's names is, with the dot; longest names last.

    >>> under(["0.weight"], ["student.0.weight", "teacher.0.weight", "loss.weight"])
    ['student.', 'teacher.']
    """
    wanted = {_forms(name)[-1] for name in known}
    have = [_forms(name)[-1] for name in given]
    first = min(wanted, default="")
    prefixes = [name.removesuffix(first) for name in have if name.endswith(f".{first}")]
    return [p for p in dict.fromkeys(prefixes) if wanted <= {n.removeprefix(p) for n in have if n.startswith(p)}]


def unwrapped(names: Sequence[str]) -> list[str]:
    """The names without what wrappers have put in, for words about them; "module" counts only around all of them.

    >>> unwrapped(["module.encoder._orig_mod.0.weight", "module.head.weight"])
    ['encoder.0.weight', 'head.weight']
    """
    inner = [".".join(part for part in name.split(".") if part not in _WRAPPERS - {"module"}) for name in names]
    prefix = shared_wrapper(inner)
    return [name.removeprefix(prefix) for name in inner]


def shared_wrapper(names: Iterable[str]) -> str:
    """What wrappers have put before every name but a counter's, with the dot; or nothing."""
    common = _common([name for name in names if not is_counter(name)])
    count = next((i for i, part in enumerate(common) if part not in _WRAPPERS), len(common))
    return "".join(f"{part}." for part in common[:count])


def _container(
    known: Collection[str], given: Collection[str], moved: Collection[str], weights: Collection[str]
) -> tuple[str, str]:
    """The container to take off the checkpoint's names and the one to put before them that find most names.

    One side may have a container of any name around all of its weights; where both have, both must be usual ones.
    """
    wanted = {_forms(name)[-1] for name in known}
    have = [_forms(name)[-1] for name in given]
    ours = [_forms(name)[-1] for name in known if name in moved and not is_counter(name)]
    theirs = [_forms(name)[-1] for name in given if name in weights and not is_counter(name)]

    def hits(pair: tuple[str, str]) -> int:
        return len(wanted.intersection(_moved_over(name, *pair) for name in have))

    best, most = ("", ""), hits(("", ""))
    if most == len(wanted):
        return best
    for pair in _containers(_common(theirs), _common(ours)):
        count = hits(pair)
        if count > most:
            best, most = pair, count
    return best


def _containers(theirs: Sequence[str], ours: Sequence[str]) -> Iterator[tuple[str, str]]:
    strips, adds = ([".".join([*path[: i + 1], ""]) for i in range(len(path))] for path in (theirs, ours))
    yield from ((strip, "") for strip in strips)
    yield from (("", add) for add in adds)
    yield from ((s, a) for s in strips for a in adds if _CONTAINERS.issuperset(f"{s}{a}".rstrip(".").split(".")))


def _moved_over(name: str, strip: str, add: str) -> str:
    return add + name.removeprefix(strip) if name.startswith(strip) else name


def _common(names: Collection[str]) -> list[str]:
    """Segments that all names begin with; the last segment of none is among them."""
    paths = [name.split(".")[:-1] for name in names]
    same = (len(set(parts)) == 1 for parts in zip(*paths, strict=False))
    return paths[0][: sum(takewhile(bool, same))] if paths else []


def _grouped(names: Iterable[str], form: Rule) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(form(name), []).append(name)
    return groups
