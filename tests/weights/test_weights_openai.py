"""OpenAI as the source: checkpoints that TensorFlow itself has written: the numbers of transformers, and no harm."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from pretrained_files import (
    IDS,
    OFFICIAL,
    fifty_more,
    logits_of,
    openai_variables,
    relative_error,
    save_folder,
    write_openai,
)

from gptlib.checkpoints import CheckpointError, load_checkpoint
from gptlib.generation import generate
from gptlib.model import GPTModel
from gptlib.weights import download_and_load_gpt2, load_hf_gpt2, load_openai_gpt2, load_weights_into_gpt

FILES = {"checkpoint", "hparams.json", "model.ckpt.index", "model.ckpt.meta", "model.ckpt.data-00000-of-00001"}


@pytest.fixture(scope="session")
def theirs(make_twins):
    return make_twins(11, **OFFICIAL)[1]


@pytest.fixture(scope="session")
def original(theirs, tmp_path_factory):
    """A folder in OpenAI's layout, for reading only."""
    return write_openai(tmp_path_factory.mktemp("openai") / "original", theirs)


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it, to do as one likes."""
    (tmp_path / "gpt2").mkdir()
    for path in original.iterdir():
        if path.name in FILES:
            (tmp_path / "gpt2" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "gpt2"


@pytest.fixture
def no_tensorflow(monkeypatch):
    """As if it were not installed."""
    return lambda: monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.fixture
def no_download(monkeypatch):
    """Fails the test where anything would be fetched."""

    def fetch(*_, **__):
        raise AssertionError("nothing is to be downloaded here")

    monkeypatch.setattr("gptlib.weights.openai.fetch_openai_files", fetch)


def test_the_logits_are_those_of_transformers_and_of_the_other_road(theirs, folder, tmp_path):
    model = load_openai_gpt2(folder)
    assert relative_error(model(IDS), logits_of(theirs)) < 1e-5
    other = load_hf_gpt2(save_folder(tmp_path / "hf", theirs))
    assert model.config == other.config
    for (name, ours), others in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, others), name
    assert torch.equal(generate(model, IDS[:, :5], 50, temperature=0), fifty_more(theirs))
    assert not model.training
    assert model.output_head.weight is model.token_embedding.weight
    assert all(parameter.requires_grad and parameter.is_contiguous() for parameter in model.parameters())


def test_the_second_time_needs_no_tensorflow(theirs, folder, no_tensorflow):
    first = load_openai_gpt2(folder)
    no_tensorflow()
    again = load_openai_gpt2(folder)
    assert torch.equal(first(IDS), again(IDS))
    assert not again.training
    assert torch.equal(load_checkpoint(folder / "converted.pth").model(IDS), first(IDS))
    assert load_openai_gpt2(folder, dtype="bf16").blocks[0].norm_1.weight.dtype == torch.bfloat16
    assert next(load_checkpoint(folder / "converted.pth").model.parameters()).dtype == torch.float32
    # Who deletes the originals to save room keeps a working model.
    for path in folder.glob("model.ckpt*"):
        path.unlink()
    assert torch.equal(load_openai_gpt2(folder)(IDS), first(IDS))


def test_the_copy_is_the_models_memory_and_training_changes_no_file(folder):
    load_openai_gpt2(folder)
    content = (folder / "converted.pth").read_bytes()
    model = load_openai_gpt2(folder)
    before = model(IDS).detach().clone()
    model(IDS).square().mean().backward()
    torch.optim.AdamW(model.parameters(), lr=0.1).step()
    assert not torch.allclose(model(IDS), before)
    assert (folder / "converted.pth").read_bytes() == content
    assert torch.equal(load_openai_gpt2(folder)(IDS), before)


@pytest.mark.parametrize("damage", ["newer files", "no record", "record of another", "cut", "not ours"])
def test_a_copy_that_is_stale_or_broken_is_made_again(make_twins, folder, damage):
    before = load_openai_gpt2(folder)(IDS)
    converted, record = folder / "converted.pth", folder / "converted.json"
    if damage == "newer files":
        other = make_twins(12, **OFFICIAL)[1]
        write_openai(folder, other)
        before = logits_of(other)
    elif damage == "no record":
        record.unlink()
        converted.write_bytes(b"")
    elif damage == "record of another":
        record.write_text(json.dumps({"made_from": {"hparams.json": [1, 2]}}))
        converted.write_bytes(b"")
    elif damage == "cut":
        converted.write_bytes(converted.read_bytes()[:-100])
    else:
        record.write_text("[" * 100_000)
    assert relative_error(load_openai_gpt2(folder)(IDS), before) < 1e-5
    assert relative_error(load_checkpoint(converted).model(IDS), before) < 1e-5


def test_where_no_copy_can_be_kept_the_weights_are_there_all_the_same(theirs, folder, monkeypatch):
    def full(*_, **__):
        raise CheckpointError("the disk is full")

    monkeypatch.setattr("gptlib.weights.converted.save_checkpoint", full)
    with pytest.warns(UserWarning, match="no copy was kept for next time: the disk is full"):
        model = load_openai_gpt2(folder)
    assert relative_error(model(IDS), logits_of(theirs)) < 1e-5
    assert {path.name for path in folder.iterdir()} == FILES


def test_a_size_is_taken_from_its_folder(folder, tmp_path, monkeypatch):
    folder.rename(tmp_path / "355M")
    asked = []

    def fetch(size, models_dir):
        asked.append((size, models_dir))
        return tmp_path / size

    monkeypatch.setattr("gptlib.weights.openai.fetch_openai_files", fetch)
    first = load_openai_gpt2("gpt2-medium (355M)", tmp_path)
    assert asked == [("355M", tmp_path)]
    assert torch.equal(load_openai_gpt2("355m", str(tmp_path))(IDS), first(IDS))
    assert len(asked) == 1  # the converted copy is all that it takes


def test_without_tensorflow_both_ways_out_are_told(folder, no_tensorflow):
    no_tensorflow()
    with pytest.raises(CheckpointError, match=r"pip install tensorflow.*load_hf_gpt2"):
        load_openai_gpt2(folder)
    assert {path.name for path in folder.iterdir()} == FILES


def test_importing_the_package_loads_none_of_the_others():
    code = (
        "import sys, gptlib.weights, gptlib.weights.loading, gptlib.weights.export; "
        "print([n for n in ('tensorflow', 'transformers', 'huggingface_hub', 'safetensors') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_tree_is_the_one_that_readers_know(theirs, folder):
    settings, params = download_and_load_gpt2(folder)
    assert settings == {"n_vocab": 97, "n_ctx": 64, "n_embd": 24, "n_head": 3, "n_layer": 2}
    assert set(params) == {"wte", "wpe", "g", "b", "blocks"}
    block = params["blocks"][1]
    assert {name: set(part) for name, part in block.items()} == {
        "ln_1": {"g", "b"},
        "ln_2": {"g", "b"},
        "attn": {"c_attn", "c_proj"},
        "mlp": {"c_fc", "c_proj"},
    }
    shapes = {name: block["attn" if "a" in name else "mlp"][name]["w"].shape for name in ("c_attn", "c_fc")}
    assert shapes == {"c_attn": (24, 72), "c_fc": (24, 96)}
    _, k, _ = np.split(block["attn"]["c_attn"]["w"], 3, axis=-1)  # as those books cut it
    assert np.array_equal(k, theirs.transformer.h[1].attn.c_attn.weight.detach().numpy()[:, 24:48])
    assert np.array_equal(params["g"], theirs.transformer.ln_f.weight.detach().numpy())


@pytest.mark.parametrize("tied", [True, False])
def test_the_tree_goes_into_any_model_of_the_same_shape(theirs, original, tied):
    _, params = download_and_load_gpt2(original)
    model = GPTModel(OFFICIAL | {"weight_tying": tied})
    assert load_weights_into_gpt(model, params) is model
    assert model.training
    assert relative_error(model.eval()(IDS), logits_of(theirs)) < 1e-5
    assert (model.output_head.weight is model.token_embedding.weight) == tied
    assert model.output_head.weight.requires_grad


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"qkv_bias": False}, "qkv_bias=False.*biases that would be lost"),
        ({"positions": "sinusoidal"}, "positions='sinusoidal'"),
        ({"n_layers": 3}, "2 blocks.*n_layers=3"),
        ({"context_length": 32}, r"model/wpe as \(64, 24\).*position_embedding.weight is \(32, 24\)"),
        ({"emb_dim": 48}, r"model/wte as \(97, 24\)"),
    ],
)
def test_a_model_of_another_shape_is_refused_and_untouched(original, changes, words):
    _, params = download_and_load_gpt2(original)
    model = GPTModel(OFFICIAL | changes)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=words):
        load_weights_into_gpt(model, params)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("params", [None, {}, [], {"blocks": 3}, {"blocks": [{}, {}]}, {"blocks": [1, 2], "wte": "no"}])
def test_params_of_another_kind_are_refused(params):
    with pytest.raises(ValueError, match="params"):
        load_weights_into_gpt(GPTModel(OFFICIAL), params)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model/h1/ln_2/b": None}, "lacks the tensor 'model/h1/ln_2/b'"),
        ({"global_step": np.float32(3)}, "has a tensor 'global_step'"),
        ({"model/h0/mlp/c_fc/w": np.ones((1, 96, 24), np.float32)}, r"c_fc/w' in the shape \(1, 96, 24\)"),
        ({"model/wte": np.ones((97, 24), np.float16)}, "'model/wte' as float16"),
    ],
)
def test_variables_that_do_not_fit_are_named(theirs, tmp_path, changes, words):
    variables = openai_variables(theirs) | changes
    folder = write_openai(tmp_path / "a", theirs, {k: v for k, v in variables.items() if v is not None})
    with pytest.raises(CheckpointError, match=words) as refusal:
        load_openai_gpt2(folder)
    assert_one_sentence(refusal.value)


def assert_one_sentence(error):
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 500


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("n_layer", 10**9), ("n_layer", 100), ("n_layer", None), ("n_layer", True), ("n_head", 0), ("n_head", 7)],
        *[("n_vocab", 10**15), ("n_embd", -1), ("n_embd", 2.5), ("n_ctx", "1024")],
    ],
)
def test_absurd_numbers_are_refused_before_any_memory_is_taken(folder, name, value):
    hparams = json.loads((folder / "hparams.json").read_text()) | {name: value}
    (folder / "hparams.json").write_text(json.dumps(hparams))
    with pytest.raises(CheckpointError, match="h2|n_head" if value in (100, 7) else name) as refusal:
        load_openai_gpt2(folder)
    assert_one_sentence(refusal.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", "[" * 100_000])
def test_damaged_hparams_are_one_sentence(folder, text):
    (folder / "hparams.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"hparams\.json") as refusal:
        load_openai_gpt2(folder)
    assert_one_sentence(refusal.value)


@pytest.mark.parametrize("file", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "noise", "flipped"])
def test_damaged_files_are_one_sentence(folder, file, damage):
    path = folder / f"model.ckpt.{file}"
    content = path.read_bytes()
    middle = len(content) // 2
    changed = {
        "empty": b"",
        "cut": content[: len(content) - 50],
        "noise": bytes(range(256)) * (len(content) // 256 + 1),
        "flipped": content[:middle] + bytes([content[middle] ^ 64]) + content[middle + 1 :],
    }
    path.unlink() if damage == "gone" else path.write_bytes(changed[damage])
    with pytest.raises((CheckpointError, FileNotFoundError)) as refusal:
        load_openai_gpt2(folder)
    assert_one_sentence(refusal.value)
    assert not (folder / "converted.pth").exists()


def test_the_file_named_checkpoint_can_not_lead_elsewhere(theirs, folder, make_twins, tmp_path):
    other = write_openai(tmp_path / "elsewhere", make_twins(13, **OFFICIAL)[1])
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{other / "model.ckpt"}"\n')
    assert relative_error(load_openai_gpt2(folder)(IDS), logits_of(theirs)) < 1e-5


def test_a_checkpoint_of_another_name_is_found_and_two_are_refused(theirs, tmp_path):
    folder = write_openai(tmp_path / "a", theirs, prefix="model-1000")
    assert relative_error(load_openai_gpt2(folder)(IDS), logits_of(theirs)) < 1e-5
    (folder / "converted.pth").unlink()
    (folder / "model-2000.index").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"2 checkpoints \(model-1000.index, model-2000.index"):
        load_openai_gpt2(folder)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("125M",), ValueError, "'125M' is no size of GPT-2; give '124M'"),
        (("nowhere/at/all",), FileNotFoundError, "nowhere/at/all"),
        ((None,), ValueError, "None"),
        ((".",), FileNotFoundError, r"hparams\.json"),
        ((".", None, "int8"), ValueError, "dtype='int8'"),
        ((".", None, None, "abacus"), ValueError, "abacus"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, monkeypatch, no_download, arguments, error, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words) as refusal:
        load_openai_gpt2(*arguments)
    assert_one_sentence(refusal.value)
