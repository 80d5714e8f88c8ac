"""Names: what each rule takes for the same, in both directions, and what it does not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lwidgets.checkpoints import is_buffer, is_counter, match, shared_wrapper, unwrapped
from lwidgets.checkpoints.names import RULES, under

PLAIN = ("encoder.0.weight", "encoder.0.bias", "encoder.norm.weight", "head.weight")
LORA = ("h.0.attn.base_layer.weight", "h.0.attn.lora_A.default.weight", "h.0.attn.lora_B.default.weight")
BERT = ("layer.0.LayerNorm.weight", "layer.0.LayerNorm.bias", "layer.0.dense.weight")

PAIRS = {
    "equal": (PLAIN, PLAIN),
    "data parallel": (PLAIN, [f"module.{n}" for n in PLAIN]),
    "compiled": (PLAIN, [f"_orig_mod.{n}" for n in PLAIN]),
    "compiled and parallel": (PLAIN, [f"module._orig_mod.{n}" for n in PLAIN]),
    "a part compiled": (PLAIN, [n.replace("encoder.", "encoder._orig_mod.") for n in PLAIN]),
    "another part compiled": (
        [n.replace("head.", "head._orig_mod.") for n in PLAIN],
        [n.replace("encoder.", "encoder._orig_mod.") for n in PLAIN],
    ),
    "sharded": (PLAIN, [n.replace("encoder.", "_fsdp_wrapped_module.encoder._fsdp_wrapped_module.") for n in PLAIN]),
    "checkpointed": (PLAIN, [n.replace("encoder.0.", "encoder.0._checkpoint_wrapped_module.") for n in PLAIN]),
    "every wrapper": (
        [f"_forward_module.module.{n}" for n in PLAIN],
        [n.replace("encoder.", "encoder._checkpoint_wrapped_module._orig_mod.") for n in PLAIN],
    ),
    "in a container": (PLAIN, [f"model.{n}" for n in PLAIN]),
    "in any container": (PLAIN, [f"my.segmenter.{n}" for n in PLAIN]),
    "in two containers": ([f"net.{n}" for n in PLAIN], [f"model.{n}" for n in PLAIN]),
    "container and wrapper": (PLAIN, [f"ema_model.module.{n}" for n in PLAIN]),
    "adapter": (LORA, [n.replace(".default", "") for n in LORA]),
    "adapter of another name": (LORA, [n.replace("default", "french") for n in LORA]),
    "adapter in its model": ([f"base_model.model.{n}" for n in LORA], [n.replace(".default", "") for n in LORA]),
    "adapter's embedding": (["e.lora_embedding_A.default", "e.x"], ["e.lora_embedding_A", "e.x"]),
    "adapter's magnitude": (["e.lora_magnitude_vector.default.weight"], ["e.lora_magnitude_vector.weight"]),
    "adapter's head": (["score.modules_to_save.default.weight", "a.b"], ["score.weight", "a.b"]),
    "adapter's base": (LORA[:1], ["h.0.attn.weight"]),
    "learned prompt": (["prompt_encoder.default.embedding.weight"], ["prompt_embeddings"]),
    "gamma and beta": (BERT, [n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta") for n in BERT]),
    "weight norm": (
        ["0.bias", "0.parametrizations.weight.original0", "0.parametrizations.weight.original1"],
        ["0.bias", "0.weight_g", "0.weight_v"],
    ),
}


@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
@pytest.mark.parametrize("case", PAIRS)
def test_names_that_are_the_same_are_found_in_both_directions(case, turned):
    known, theirs = PAIRS[case] if not turned else PAIRS[case][::-1]
    found = match(known, theirs)
    assert found.found == {name: (other,) for name, other in zip(known, theirs, strict=True)}
    assert found.left == ()
    assert found.unclear == ()


@pytest.mark.parametrize(
    ("known", "theirs"),
    [
        (["encoder.weight", "encoder.bias"], ["decoder.weight", "decoder.bias"]),
        (["fc1.weight", "fc1.bias"], ["fc2.weight", "fc2.bias"]),
        (["0.weight", "2.weight"], ["1.weight", "3.weight"]),
        (["norm.gamma"], ["norm.weight"]),
        (["a.weight"], ["a.weight_v"]),
        (["tower_a.0.weight", "tower_a.1.weight"], ["tower_b.0.weight", "tower_b.1.weight"]),
    ],
)
def test_names_of_something_else_are_not_taken_for_the_same(known, theirs):
    assert match(known, theirs).found == {}
    assert match(known, theirs).left == tuple(theirs)


def test_the_strictest_rule_wins_and_what_a_model_calls_module_itself_stays_apart():
    known = ["block.module.weight", "block.weight"]
    assert match(known, known).found == {name: (name,) for name in known}
    assert match(known, ["block.weight"]).found == {"block.weight": ("block.weight",)}


def test_several_names_for_one_are_all_told():
    found = match(["0.weight"], ["_orig_mod.0.weight", "module.0.weight"]).found
    assert found == {"0.weight": ("_orig_mod.0.weight", "module.0.weight")}


def test_one_name_for_several_goes_to_the_one_that_moves_or_to_none():
    known = ["0.lora_A.default.weight", "0.lora_A.french.weight"]
    assert match(known, ["0.lora_A.weight"], moved=known[1:]).found == {known[1]: ("0.lora_A.weight",)}
    both = match(known, ["0.lora_A.weight"])
    assert both.found == {}
    assert both.unclear == ((tuple(known), "0.lora_A.weight"),)


def test_a_container_of_what_moves_need_not_be_around_all():
    known = ["bert.0.weight", "bert.1.weight", "classifier.weight"]
    assert match(known, ["0.weight", "1.weight"], moved=known[:2]).found == {
        "bert.0.weight": ("0.weight",),
        "bert.1.weight": ("1.weight",),
    }


def test_a_buffer_beside_the_container_does_not_hide_it():
    found = match(["0.weight"], ["model.0.weight", "criterion.weight"], weights=["model.0.weight"])
    assert found.found == {"0.weight": ("model.0.weight",)}
    assert found.left == ("criterion.weight",)


@given(
    st.lists(st.sampled_from(["module", "_orig_mod", "_fsdp_wrapped_module", "model"]), max_size=4),
    st.sets(st.sampled_from(PLAIN), min_size=2),
)
def test_any_nesting_of_wrappers_is_seen_through(path, names):
    names = sorted(names)
    wrapped = [".".join([*path, name]) for name in names]
    assert match(names, wrapped).found == {name: (w,) for name, w in zip(names, wrapped, strict=True)}
    assert match(wrapped, names).found == {w: (name,) for name, w in zip(names, wrapped, strict=True)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_leaves_plain_names_alone_and_says_the_same_twice(rule):
    for known, theirs in PAIRS.values():
        for name in (*known, *theirs):
            assert rule(rule(name)) == rule(name)
    assert [rule(name) for name in PLAIN] == list(PLAIN)


def test_containers_that_hold_all_of_a_model_are_listed():
    two = [f"{who}.{n}" for who in ("online", "average") for n in PLAIN]
    assert under(PLAIN, two) == ["online.", "average."]
    assert under(PLAIN, [f"model.{n}" for n in PLAIN[:-1]]) == []


def test_what_is_no_weight_is_known_by_dtype_or_by_the_name_that_tools_give_it():
    number = torch.zeros(2)
    buffers = ["1.running_mean", "1.running_var", "1.num_batches_tracked", "n_averaged", "rotary.inv_freq"]
    assert all(is_buffer(name, number) for name in (*buffers, "h.0.attn.masked_bias"))
    assert is_buffer("h.0.attn.bias", torch.ones(1, 1, 4, 4))
    assert not is_buffer("h.0.attn.bias", number)
    assert is_buffer("0.weight", torch.zeros(2, dtype=torch.int8))
    assert not is_buffer("0.weight", number.half())
    assert not is_buffer("0.weight", torch.zeros(2, dtype=torch.complex64))
    assert [is_counter(name) for name in (*buffers, "counter")] == [False, False, True, True, False, False]


def test_what_is_said_of_names_leaves_out_wrappers():
    assert shared_wrapper(["module.0.weight", "n_averaged"]) == "module."
    assert shared_wrapper([]) == ""
    assert shared_wrapper(["n_averaged"]) == ""
    assert unwrapped(["a.module.weight", "b._orig_mod.weight"]) == ["a.module.weight", "b.weight"]
