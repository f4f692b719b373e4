"""Adapters as files: kilobytes, whole or not there, and whatever is wrong with one is said before the model changes."""

import json
import pickle
import struct

import pytest
import torch
from lora_helpers import IDS, SHAPE, with_adapter
from training_helpers import assert_helpful, child, die_inside_a_write, identical, temporary_files, weights

from gptlib.checkpoints import CheckpointError
from gptlib.lora import (
    LoRAConfig,
    active_adapter,
    adapters_of,
    add_lora,
    lora_state,
    merge,
    switch,
    trainable_parameters,
)
from gptlib.model import GPT2_CONFIGS, GPTModel
from gptlib.weights.adapters import CONFIG, PICKLE, TENSORS, load_adapter, save_adapter
from gptlib.weights.export import write_safetensors


@pytest.fixture
def saved(make_model, tmp_path):
    """The folder of an adapter for the tiny model."""
    return save_adapter(with_adapter(make_model(), dropout=0.25), tmp_path / "adapter")


@torch.no_grad()
@pytest.mark.parametrize("transformers", [False, True])
@pytest.mark.parametrize("shape", [{}, {"qkv_bias": True, "weight_tying": True}, {"n_layers": 12}])
def test_there_and_back(make_model, tmp_path, transformers, shape):
    model = with_adapter(make_model(**shape), "mine", dropout=0.25, target_modules=["c_proj", "c_fc"])
    with_adapter(model, "other", seed=9)
    folder = save_adapter(model, tmp_path / "deep" / "adapter", "mine", transformers=transformers)
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, TENSORS]
    again = make_model(**shape)
    state = torch.get_rng_state()
    found = load_adapter(again, folder, "yours")
    assert torch.equal(torch.get_rng_state(), state)
    assert found == LoRAConfig(rank=3, alpha=5.0, dropout=0.25, target_modules=("c_fc", "c_proj"))
    assert active_adapter(again) == "yours"
    assert all(".adapters.yours." in name for name in trainable_parameters(again))
    switch(model, "mine")
    assert torch.equal(again(IDS), model(IDS))


def test_kilobytes_for_the_small_official_model(tmp_path):
    with torch.device("meta"):
        model = GPTModel(GPT2_CONFIGS["124M"])
    config = LoRAConfig(rank=1, target_modules=("c_attn",))
    add_lora(model.to_empty(device="cpu"), config)
    save_adapter(model, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 160_000  # 12 * (768 + 2304) numbers of 4 bytes


def test_the_adapter_goes_on_learning_after_the_file_is_replaced(make_model, saved):
    """It is in memory of its own, so that the next save may replace the file, on Windows, too."""
    model = make_model()
    load_adapter(model, saved)
    before = weights(model)
    save_adapter(with_adapter(make_model(), seed=7, dropout=0.25), saved)
    assert identical(weights(model), before)


def test_saving_over_an_adapter_of_another_configuration_is_refused(make_model, saved):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    for options in ({"rank": 4}, {"alpha": 6.0}, {"target_modules": ["c_fc"]}):
        model = with_adapter(make_model(), **{"dropout": 0.25} | options)
        with pytest.raises(ValueError, match="another configuration") as error:
            save_adapter(model, saved)
        assert_helpful(error, saved)
    with pytest.raises(ValueError, match="another configuration"):
        save_adapter(with_adapter(make_model(), dropout=0.25), saved, transformers=True)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_folder_without_its_tensors_is_completed(make_model, saved):
    """As a writer leaves it that was killed between the two files; no adapter is lost by another configuration."""
    (saved / TENSORS).unlink()
    save_adapter(with_adapter(make_model(), rank=5), saved)
    assert load_adapter(make_model(), saved).rank == 5


@pytest.mark.parametrize("kept", [TENSORS, PICKLE])
def test_tensors_of_which_nothing_is_known_are_not_replaced(make_model, saved, kept):
    (saved / CONFIG).unlink()
    (saved / TENSORS).rename(saved / kept)
    with pytest.raises(ValueError, match="another configuration"):
        save_adapter(with_adapter(make_model()), saved)


def test_what_can_not_be_saved(make_model, saved, tmp_path):
    model = with_adapter(make_model())
    for name, fragment in (("other", "'other'"), (None, "None")):
        switch(model, None)
        with pytest.raises(ValueError, match="to save") as error:
            save_adapter(model, tmp_path / "new", name)
        assert_helpful(error, fragment, "it has: default")
    with pytest.raises(ValueError, match="to save"):
        save_adapter(make_model(), tmp_path / "new")
    with pytest.raises(ValueError, match="is a file"):
        save_adapter(model, saved / CONFIG, "default")
    with_adapter(model, "part", target_modules=["attention.c_proj"])
    with pytest.raises(ValueError, match=r"attention\.c_proj") as error:
        save_adapter(model, tmp_path / "new", transformers=True)
    assert_helpful(error)
    assert not (tmp_path / "new").exists()


@torch.no_grad()
def test_a_merged_adapter_is_saved_as_it_was(make_model, tmp_path):
    model = with_adapter(make_model())
    expected = model(IDS)
    merge(model)
    again = make_model()
    load_adapter(again, save_adapter(model, tmp_path))
    assert torch.equal(again(IDS), expected)


def test_a_folder_that_can_not_be_made(make_model, saved):
    for folder in (saved / CONFIG / "adapter", saved / ("x" * 400)):
        with pytest.raises(CheckpointError) as error:
            save_adapter(with_adapter(make_model()), folder)
        assert_helpful(error, "could not be written")


def killed_while_saving(connection, folder, position):
    import gptlib.checkpoints.file
    import gptlib.weights.adapters

    die_inside_a_write(connection, 0, position)
    gptlib.weights.adapters.write_atomically = gptlib.checkpoints.file.write_atomically  # as replaced just now
    torch.manual_seed(9)
    save_adapter(with_adapter(GPTModel(SHAPE), seed=9, dropout=0.25), folder)


@pytest.mark.parametrize("position", [0, 3000, "fsync", "replace"])
def test_the_old_adapter_outlives_a_writer_that_is_killed(saved, position):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with child(killed_while_saving, str(saved), position) as (process, _):
        process.join(60)
    assert process.exitcode == -9
    assert {name: (saved / name).read_bytes() for name in before} == before
    assert len(temporary_files(saved)) == 1
    save_adapter(with_adapter(GPTModel(SHAPE), dropout=0.25), saved)
    assert not temporary_files(saved)


# Whatever is wrong with a folder.


def refused(model, folder, kind, *fragments):
    """Loading is refused in one sentence, and the model is the same as before."""
    before, state = weights(model), lora_state(model)
    with pytest.raises(kind) as error:
        load_adapter(model, folder, "new")
    assert_helpful(error, *fragments)
    assert identical(weights(model), before)
    assert lora_state(model) == state
    return str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.99])
def test_cut_short(make_model, saved, share):
    data = (saved / TENSORS).read_bytes()
    (saved / TENSORS).write_bytes(data[: int(share * len(data))])
    refused(make_model(), saved, CheckpointError, saved / TENSORS, "damaged")


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({"a": 1}),
        b"\xff" * 100,
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 10**15) + b"{}" * 9,
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        b"PK\x03\x04 a zip, as torch.save writes it",
    ],
)
def test_another_kind_of_file_under_the_name(make_model, saved, data):
    (saved / TENSORS).write_bytes(data)
    refused(make_model(), saved, CheckpointError, saved / TENSORS)


def test_a_pickle_is_never_loaded(make_model, saved):
    (saved / TENSORS).unlink()
    assert "complete" in refused(make_model(), saved, FileNotFoundError, TENSORS)
    torch.save({}, saved / PICKLE)
    refused(make_model(), saved, CheckpointError, "pickles", f"saved as {TENSORS}")


def test_nothing_there(make_model, tmp_path):
    for folder in (tmp_path, tmp_path / "missing", tmp_path / "x" / CONFIG):
        refused(make_model(), folder, FileNotFoundError, folder)


@pytest.mark.parametrize(
    ("shape", "fragment"),
    [
        ({"emb_dim": 48}, "(3, 24)"),
        ({"n_layers": 3}, "blocks.2.attention.c_attn"),
        ({"n_layers": 1}, "blocks.1.attention.c_attn"),
    ],
)
def test_of_another_model(make_model, saved, shape, fragment):
    refused(with_adapter(make_model(**shape)), saved, CheckpointError, saved / TENSORS, fragment)


def test_the_name_is_taken_or_an_adapter_is_merged(make_model, saved):
    model = with_adapter(make_model(), "new")
    refused(model, saved, ValueError, "'new' already")
    merge(model)
    refused(model, saved, ValueError, "'new'")


BAD_CONFIGS = [
    (b"", "JSON"),
    (b'{"r": 3,', "JSON"),
    (b"[" * 100_000, "JSON"),
    (b"\xff\xfe", "JSON"),
    (b"[1, 2]", "[1, 2]"),
    (b"null", "None"),
    ({"r": 4}, "(4, 24)"),
    ({"r": 10**18}, "rank=1000000000000000000"),
    ({"r": 0}, "rank=0"),
    ({"r": "3"}, "rank='3'"),
    ({"r": None}, "rank=None"),
    ({"lora_alpha": -1}, "alpha=-1"),
    ({"lora_alpha": 10**400}, "makes no sense"),
    ({"lora_alpha": float("nan")}, "alpha=nan"),
    ({"lora_dropout": 1}, "dropout=1"),
    ({"target_modules": "all-linear"}, "all-linear"),
    ({"target_modules": ["c_attn"]}, "has no place for"),
    ({"target_modules": ["c_attn", "q_proj"]}, "'q_proj'"),
    ({"target_modules": ["output_head"]}, "'output_head'"),
    ({"target_modules": {"a": 1}}, "target_modules"),
    ({"target_modules": [["c_attn"]]}, "target_modules"),
    ({"peft_type": "IA3"}, "peft_type='IA3'"),
    ({"peft_type": ["LORA"]}, "peft_type=['LORA']"),
    ({"bias": "all"}, "bias='all'"),
    ({"use_dora": True}, "use_dora=True"),
    ({"use_rslora": True}, "use_rslora=True"),
    ({"rank_pattern": {"c_fc": 1}}, "rank_pattern"),
    ({"modules_to_save": ["output_head"]}, "modules_to_save"),
    ({"layers_to_transform": [0]}, "layers_to_transform"),
    ({"init_lora_weights": "pissa"}, "'pissa'"),
    ({"an invention\nof tomorrow": {"x": 1}}, "an invention of tomorrow"),
    ({"fan_in_fan_out": True}, "transformer.h.0"),
]


@pytest.mark.parametrize(("change", "fragment"), BAD_CONFIGS, ids=[str(change)[:30] for change, _ in BAD_CONFIGS])
def test_a_configuration_that_is_broken_or_of_another_kind(make_model, saved, change, fragment):
    if isinstance(change, dict):
        found = json.loads((saved / CONFIG).read_text(encoding="utf-8"))
        change = json.dumps(found | change).encode()
    (saved / CONFIG).write_bytes(change)
    text = refused(make_model(), saved, CheckpointError, fragment)
    assert saved.name in text


@pytest.mark.parametrize("key", ["r", "lora_alpha", "lora_dropout", "target_modules"])
def test_a_configuration_that_lacks_a_number(make_model, saved, key):
    found = json.loads((saved / CONFIG).read_text(encoding="utf-8"))
    del found[key]
    (saved / CONFIG).write_text(json.dumps(found), encoding="utf-8")
    refused(make_model(), saved, CheckpointError, key)


def test_tensors_of_another_type(make_model, saved):
    from safetensors.torch import load_file, save_file

    tensors = load_file(saved / TENSORS)
    save_file({name: tensor.to(torch.int32) for name, tensor in tensors.items()}, saved / TENSORS)
    refused(make_model(), saved, CheckpointError, "I32")
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
    write_safetensors(saved / TENSORS, halves)
    model = make_model()
    load_adapter(model, saved)
    assert {parameter.dtype for parameter in trainable_parameters(model).values()} == {torch.float32}
    assert set(adapters_of(model)) == {"default"}
