"""Hugging Face's files: the same numbers as transformers from every form of them, and no harm from bad ones."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import pytest
import torch
from pretrained_files import IDS, OFFICIAL, fifty_more, logits_of, raw_safetensors, relative_error, save_folder
from safetensors.torch import load_file, save_file

from gptlib.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from gptlib.generation import generate
from gptlib.model import GPTModel
from gptlib.training import TrainingConfig, train
from gptlib.weights import load_hf_gpt2
from tools.mirror import Mirror


@pytest.fixture(scope="session")
def theirs(make_twins):
    return make_twins(7, **OFFICIAL)[1]


@pytest.fixture
def folder(theirs, tmp_path):
    return save_folder(tmp_path / "hf", theirs)


def as_saved(folder, theirs, **options):
    """By transformers itself."""
    theirs.save_pretrained(folder, **options)
    return folder


@pytest.mark.parametrize(
    "save",
    [
        save_folder,
        as_saved,
        lambda folder, theirs: as_saved(folder, theirs, max_shard_size="20KB"),
        lambda folder, theirs: save_folder(folder, theirs, masks=True),
        lambda folder, theirs: save_folder(folder, theirs, prefix=True, masks=True, head=True),
        lambda folder, theirs: save_folder(folder, theirs, shards=3),
    ],
    ids=["as on the hub", "save_pretrained", "its parts", "masks", "prefix, masks, head", "three parts"],
)
def test_every_form_of_the_files_gives_the_logits_of_transformers(theirs, tmp_path, save):
    model = load_hf_gpt2(save(tmp_path / "hf", theirs))
    assert relative_error(model(IDS), logits_of(theirs)) < 1e-5
    assert not model.training
    assert model.config.qkv_bias
    assert model.config.weight_tying


def test_fifty_tokens_are_the_same(theirs, folder):
    assert torch.equal(generate(load_hf_gpt2(folder), IDS[:, :5], 50, temperature=0), fifty_more(theirs))


def test_an_untied_head_is_a_parameter_of_its_own(make_twins, tmp_path):
    _, theirs = make_twins(3, **OFFICIAL | {"weight_tying": False})
    model = load_hf_gpt2(save_folder(tmp_path / "hf", theirs, head=True))
    assert relative_error(model(IDS), logits_of(theirs)) < 1e-5
    assert not model.config.weight_tying
    assert model.output_head.weight is not model.token_embedding.weight


@pytest.mark.parametrize(("dtype", "torch_dtype"), [("bf16", torch.bfloat16), (torch.float16, torch.float16)])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_other_types_are_the_converted_weights(theirs, folder, dtype, torch_dtype, stored):
    tensors = {name: tensor.to(stored) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")
    model = load_hf_gpt2(folder, dtype)
    for name, tensor in tensors.items():
        ours = {"h.1.mlp.c_fc.weight": "blocks.1.feed_forward.c_fc.weight", "wpe.weight": "position_embedding.weight"}
        if name in ours:
            parameter = model.get_parameter(ours[name])
            expected = (tensor.t() if "c_fc" in name else tensor).to(torch_dtype)
            assert torch.equal(parameter, expected)
    assert {(p.dtype, p.is_contiguous()) for p in model.parameters()} == {(torch_dtype, True)}
    assert load_hf_gpt2(folder).token_embedding.weight.dtype == stored  # without one, as in the file


def test_float32_weights_are_those_of_the_file_and_no_copies(folder):
    model = load_hf_gpt2(folder)
    size = (folder / "model.safetensors").stat().st_size
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    assert max(addresses) - min(addresses) < size
    assert model.blocks[0].attention.c_attn.weight.t().is_contiguous()


def test_what_was_loaded_trains_like_any_model_and_leaves_the_file_alone(folder, tmp_path):
    before = (folder / "model.safetensors").read_bytes()
    model = load_hf_gpt2(folder)
    assert model.output_head.weight is model.token_embedding.weight
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    plain = GPTModel(model.config)
    plain.load_state_dict(model.state_dict())
    start = model.token_embedding.weight.detach().clone()
    batches = [(IDS, IDS.roll(-1, 1))] * 3
    losses = []
    for one in (model, plain):
        config = TrainingConfig(max_steps=3, learning_rate=1e-2, precision="fp32", device="cpu", seed=1)
        losses.append(train(one, batches, config=config, verbose=False).step_losses)
    torch.testing.assert_close(losses[0], losses[1])
    # Were the tie two parameters, the optimizer would have stepped the table twice.
    torch.testing.assert_close(model.token_embedding.weight, plain.token_embedding.weight)
    assert not torch.equal(model.token_embedding.weight, start)
    assert model.output_head.weight is model.token_embedding.weight
    assert (folder / "model.safetensors").read_bytes() == before

    save_checkpoint(tmp_path / "tuned.pth", model)
    assert (tmp_path / "tuned.pth").stat().st_size < 1.5 * len(before)
    assert torch.equal(load_checkpoint(tmp_path / "tuned.pth").model(IDS), model.eval()(IDS))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model_type", "llama"),
        ("activation_function", "relu"),
        ("layer_norm_epsilon", 1e-6),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("reorder_and_upcast_attn", True),
        ("add_cross_attention", True),
        ("n_inner", 100),
        ("tie_word_embeddings", "yes"),
        ("vocab_size", 10**12),
        ("n_positions", 0),
        ("n_embd", -24),
        ("n_embd", 24.0),
        ("n_head", True),
        ("n_head", 5),
        ("n_layer", 10**9),
        ("n_layer", None),
        ("n_layer", 3),
        ("resid_pdrop", 7),
    ],
)
def test_what_our_model_can_not_do_is_refused_by_its_name(theirs, tmp_path, setting, value):
    folder = save_folder(tmp_path / "hf", theirs, **{setting: value})
    words = {"model_type": "llama", "n_layer": "h.2.ln_1.weight" if value == 3 else "n_layer", "n_head": "head"}
    words["resid_pdrop"] = "drop_rate=7"
    with pytest.raises(CheckpointError, match=words.get(setting, setting)) as refusal:
        load_hf_gpt2(folder)
    assert_one_sentence(refusal.value)


def assert_one_sentence(error):
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 500


def change(folder, **tensors):
    """Write the tensors of the file anew, with these changed; None leaves one out."""
    all_tensors = load_file(folder / "model.safetensors") | {k.replace("/", "."): v for k, v in tensors.items()}
    save_file({k: v for k, v in all_tensors.items() if v is not None}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"h/1/ln_2/bias": None}, "lacks the tensor 'h.1.ln_2.bias'"),
        ({"score/weight": torch.ones(2, 24)}, "has a tensor 'score.weight'"),
        ({"h/2/ln_1/bias": torch.ones(24)}, "has a tensor 'h.2.ln_1.bias'"),
        ({"h/0/attn/c_attn/weight": torch.ones(72, 24)}, r"c_attn.weight' in the shape \(72, 24\)"),
        ({"wte/weight": torch.ones(97, 24, dtype=torch.int8)}, "'wte.weight' as I8"),
        ({"transformer/wte/weight": torch.ones(97, 24)}, "which are one tensor"),
        ({"lm_head/weight": torch.ones(97, 24)}, "differs from the token embedding"),
        ({"lm_head/weight": torch.ones(96, 24)}, "differs from the token embedding"),
        ({"wte/weight": None, "lm_head/weight": torch.ones(97, 24)}, "lacks the tensor 'wte.weight'"),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder, tensors, words):
    change(folder, **tensors)
    with pytest.raises(CheckpointError, match=words) as refusal:
        load_hf_gpt2(folder)
    assert_one_sentence(refusal.value)


class Bomb:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def entry(start=0, end=8, dtype="F32", shape="[2]"):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (raw_safetensors("{}", length=10**10), "10,000,000,000 bytes"),
        (raw_safetensors("{}", length=2**64 - 1), "bytes"),
        (raw_safetensors(f'{{"wte.weight":{entry(0, 800)}}}', b"8 bytes!"), "offset"),
        (raw_safetensors(f'{{"wte.weight":{entry(-8, 0)}}}', b"8 bytes!"), "JSON"),
        (raw_safetensors(f'{{"a":{entry()},"b":{entry()}}}', b"8 bytes!"), "offset"),
        (raw_safetensors(f'{{"a":{entry()},"a":{entry()}}}', b"8 bytes!"), "'a' twice"),
        (raw_safetensors(f'{{"a":{entry(shape="[4294967296,4294967296,4294967296]")}}}', b"8 bytes!"), "overflow"),
        (raw_safetensors(f'{{"a":{entry(dtype="PICKLE")}}}', b"8 bytes!"), "PICKLE"),
        (raw_safetensors('{"a":3}'), "file of tensors"),
        (raw_safetensors("[" * 100_000), "file of tensors"),
        (raw_safetensors(b"\xff\xfe"), "file of tensors"),
        (raw_safetensors("{}"), "lacks the tensor 'wte.weight'"),
        (b"", "0 bytes"),
        (b"short", "file of tensors"),
    ],
)
def test_a_hostile_file_is_one_sentence(folder, content, words):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as refusal:
        load_hf_gpt2(folder)
    assert_one_sentence(refusal.value)


def test_a_file_that_was_cut_is_one_sentence(folder):
    content = (folder / "model.safetensors").read_bytes()
    for length in (7, 8, 100, len(content) // 2, len(content) - 1):
        (folder / "model.safetensors").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            load_hf_gpt2(folder)


def test_a_pickle_is_never_loaded(folder, tmp_path):
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    (folder / "model.safetensors").write_bytes(bomb)
    with pytest.raises(CheckpointError, match="damaged"):
        load_hf_gpt2(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"'pytorch_model.bin'.*pickles.*save_pretrained"):
        load_hf_gpt2(folder)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "file", ["../secret.safetensors", "/tmp/x.safetensors", "a\\b.safetensors", "c:x.safetensors", "x.bin", "", 3, None]
)
def test_an_index_can_not_lead_elsewhere(theirs, tmp_path, file):
    folder = save_folder(tmp_path / "hf", theirs, shards=2)
    shutil.copy(folder / "model-00001-of-00002.safetensors", tmp_path / "secret.safetensors")
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["wte.weight"] = file
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="in its own folder") as refusal:
        load_hf_gpt2(folder)
    assert_one_sentence(refusal.value)


def test_an_index_and_its_parts_must_agree(theirs, tmp_path):
    folder = save_folder(tmp_path / "hf", theirs, shards=2)
    path, first, second = folder / "model.safetensors.index.json", *sorted(folder.glob("model-*"))
    index = json.loads(path.read_text())

    def fails(words, kind=CheckpointError, **weight_map):
        path.write_text(json.dumps({"weight_map": index["weight_map"] | weight_map}))
        with pytest.raises(kind, match=words) as refusal:
            load_hf_gpt2(folder)
        assert_one_sentence(refusal.value)

    fails("'nothing'", nothing=first.name)
    name = next(name for name, file in index["weight_map"].items() if file == first.name)
    fails("does not place there", **{name: second.name})
    fails("is not there", FileNotFoundError, **{name: "model-3.safetensors"})
    for text in ("", "[]", '{"weight_map": 3}', "{}"):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=r"no index|JSON"):
            load_hf_gpt2(folder)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"model_type": "gpt2", "n_embd": "big"}', "[" * 100_000])
def test_a_damaged_config_is_one_sentence(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError) as refusal:
        load_hf_gpt2(folder)
    assert_one_sentence(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("125M",), ValueError, "'125M' is neither .*'124M'"),
        ((124,), (ValueError, TypeError), "124"),
        (("./nowhere",), FileNotFoundError, "nowhere"),
        (("a/b/c",), FileNotFoundError, "a/b/c"),
        ((".",), FileNotFoundError, "has no config.json"),
        (("124M", "int8"), ValueError, "dtype='int8'"),
        (("124M", torch.float64), ValueError, "float64"),
        (("124M", None, "abacus"), ValueError, "abacus"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, monkeypatch, arguments, error, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words) as refusal:
        load_hf_gpt2(*arguments)
    assert_one_sentence(refusal.value)


def test_a_config_without_its_tensors_or_tensors_without_their_config(folder):
    (folder / "model.safetensors").rename(folder / "kept")
    with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors"):
        load_hf_gpt2(folder)
    (folder / "kept").rename(folder / "model.safetensors")
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        load_hf_gpt2(folder)


@pytest.mark.parametrize(("package", "name"), [("safetensors", "folder"), ("huggingface_hub", "124M")])
def test_a_package_that_is_missing_is_one_sentence(folder, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RuntimeError, match=f"package {package} is not installed.*pip install"):
        load_hf_gpt2(folder if name == "folder" else name)


FROM_THE_HUB = """
import sys
import gptlib.weights
assert not {"tensorflow", "huggingface_hub", "transformers", "safetensors"} & set(sys.modules)
from gptlib.utils.download import DownloadError
for name in ("gpt2-small (124M)", "gpt2-medium (355M)", "someone/other", "someone/none", "someone/old"):
    try:
        print(gptlib.weights.load_hf_gpt2(name).config.vocab_size)
    except DownloadError as error:
        print("DownloadError", error)
"""


def test_from_the_hub_once_and_then_from_its_cache(theirs, tmp_path):
    save_folder(tmp_path / "one", theirs)
    save_folder(tmp_path / "parts", theirs, shards=2)
    (tmp_path / "parts" / "pytorch_model.bin").write_bytes(b"never fetched")
    files = {f"openai-community/gpt2/{p.name}": p for p in (tmp_path / "one").iterdir()}
    files |= {f"someone/other/{p.name}": p for p in (tmp_path / "parts").iterdir()}
    files["someone/old/config.json"] = tmp_path / "one" / "config.json"
    with Mirror(files) as mirror:
        variables = {"HF_ENDPOINT": mirror.url, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}

        def run(**more):
            command = [sys.executable, "-c", FROM_THE_HUB]
            environment = os.environ | variables | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | more
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            assert "Retrying" not in done.stderr
            return done.stdout.splitlines()

        first, medium, other, none, old = run()
        assert first == other == "97"
        assert "DownloadError" in medium
        assert "openai-community/gpt2-medium" in medium
        assert "someone/none" in none
        assert "model.safetensors" in old
        fetched = {path for method, path, _ in mirror.requests if method == "GET"}
        assert not any("pytorch_model" in path for path in fetched)
    # The server is gone now, and nobody has told the client so.
    first, medium, other, none, old = run()
    assert first == other == "97"
    for message in (medium, none, old):
        assert "is not in Hugging Face's cache" in message
        assert "HF_ENDPOINT" in message
