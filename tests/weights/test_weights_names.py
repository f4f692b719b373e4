"""The table of names against the lists that the two sources publish, and the sizes by all that people call them."""

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from gptlib.checkpoints import empty_model
from gptlib.checkpoints.tensors import check_tensors, shapes_of
from gptlib.model import GPT2_CONFIGS
from gptlib.model.architectures import ARCHITECTURES
from gptlib.weights.names import GPT2_NAMES, TABLES, names_of
from gptlib.weights.sizes import REPOSITORIES, SELECTIONS, check_size, find_size


@pytest.mark.parametrize("size", GPT2_CONFIGS)
def test_every_parameter_of_every_size_is_there_once_with_the_shape_of_both_sources(size):
    config = GPT2_CONFIGS[size]
    model, names = empty_model(config), names_of(config).parameters(config)
    assert [name.ours for name in names] == list(dict.fromkeys(name.ours for name in names))
    assert {name.ours for name in names} == {name for name, _ in model.named_parameters()}

    C, V = config.emb_dim, 50257
    openai = {"model/wte": (V, C), "model/wpe": (1024, C), "model/ln_f/g": (C,), "model/ln_f/b": (C,)}
    for i in range(config.n_layers):
        for norm in ("ln_1", "ln_2"):
            openai |= {f"model/h{i}/{norm}/g": (C,), f"model/h{i}/{norm}/b": (C,)}
        for place, n_in, n_out in (
            ("attn/c_attn", C, 3 * C),
            ("attn/c_proj", C, C),
            ("mlp/c_fc", C, 4 * C),
            ("mlp/c_proj", 4 * C, C),
        ):
            openai |= {f"model/h{i}/{place}/w": (1, n_in, n_out), f"model/h{i}/{place}/b": (n_out,)}
    shapes = shapes_of(model)
    assert {name.openai: name.openai_shape(shapes[name.ours]) for name in names} == openai

    with torch.device("meta"):
        theirs = GPT2LMHeadModel(
            GPT2Config(n_embd=C, n_layer=config.n_layers, n_head=config.n_heads)
        ).transformer.state_dict()
    assert {name.huggingface: name.stored_shape(shapes[name.ours]) for name in names} == {
        name: tuple(tensor.shape) for name, tensor in theirs.items()
    }


def test_the_path_in_the_tree():
    paths = {name.openai: name.tree_path() for name in GPT2_NAMES.parameters(GPT2_CONFIGS["124M"])}
    assert paths["model/wte"] == ("wte",)
    assert paths["model/ln_f/b"] == ("b",)
    assert paths["model/h11/mlp/c_proj/w"] == ("blocks", 11, "mlp", "c_proj", "w")
    assert len(set(paths.values())) == len(paths) == 4 + 12 * 12


def test_an_empty_model_is_as_any_other_but_for_its_memory():
    from gptlib.model import GPTModel

    config = {**GPT2_CONFIGS["124M"], "emb_dim": 24, "n_layers": 2}
    empty, full = empty_model(GPTModel(config).config), GPTModel(config)
    assert shapes_of(empty) == shapes_of(full)
    assert all(parameter.is_meta for parameter in empty.parameters())
    assert empty.output_head.weight is empty.token_embedding.weight
    assert torch.nn.Linear(2, 2).weight.abs().sum() > 0  # drawing works again


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"a": (2,)}, "lacks the tensor 'b' and 1 more"),
        ({"a": (2,), "b": (3, 4), "c": (1,), "d": ()}, "has a tensor 'd' that"),
        ({"a": (2,), "b": (4, 3), "c": (1,)}, r"'b' in the shape \(4, 3\), .* asks for \(3, 4\)"),
    ],
)
def test_what_does_not_fit_is_named(found, words):
    with pytest.raises(RuntimeError, match=f"^the file .*{words}.*; try again\\.$"):
        check_tensors("the file", found, {"a": (2,), "b": (3, 4), "c": (1,)}, "try again")


def test_each_architecture_has_its_table():
    assert TABLES.keys() == ARCHITECTURES.keys()
    for architecture, table in TABLES.items():
        assert names_of(ARCHITECTURES[architecture].config_class()) is table


def test_there_are_sixteen_rows():
    assert (len(GPT2_NAMES.outer), len(GPT2_NAMES.block), GPT2_NAMES.head.openai) == (4, 12, None)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *SELECTIONS.items(),
        *((repository, size) for size, repository in REPOSITORIES.items()),
        ("124M", "124M"),
        (" 355m ", "355M"),
        ("GPT2-Large(774M)", "774M"),
        ("gpt2-xl  (1558m)", "1558M"),
        ("gpt2", "124M"),
        ("gpt2-small", "124M"),
        ("gpt2-medium", "355M"),
        ("OpenAI-Community/GPT2-XL", "1558M"),
    ],
)
def test_a_size_has_many_names(name, size):
    assert find_size(name) == check_size(name) == size


@pytest.mark.parametrize("name", ["", "125M", "gpt3", "gpt2-huge", "openai/gpt2", "model.pth", None, 124, Path("124M")])
def test_other_names_are_none(name):
    assert find_size(name) is None
    with pytest.raises(ValueError, match="is no size of GPT-2; give '124M', '355M', '774M' or '1558M'"):
        check_size(name)
