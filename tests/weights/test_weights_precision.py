"""One word for the precision at every door: the same model, whichever way it came in, and the user is told which."""

import re
import subprocess
import sys

import pytest
import torch
from lora_helpers import with_adapter
from pretrained_files import IDS, OFFICIAL, fifty_more, relative_error, save_folder, write_openai

from gptlib.checkpoints import load_checkpoint, save_checkpoint
from gptlib.commands.cli import main
from gptlib.generation import generate, quantization
from gptlib.generation.quantization import INFERENCE_PRECISIONS, with_precision
from gptlib.model import GPT2_CONFIGS, GPTModel
from gptlib.model.lora import adapters_of, merge, merged_copy
from gptlib.ops.backend import Backend
from gptlib.tokenizers import CharTokenizer
from gptlib.training import TrainingConfig, train
from gptlib.weights import load_hf_gpt2, load_model, load_openai_gpt2
from gptlib.weights.adapters import save_adapter
from gptlib.weights.export import export_to_huggingface

TOLERANCE = {"fp32": 1e-5, "bf16": 5e-3, "int8": 5e-3, "auto": 1e-5}
"""Of the same weights by other kernels; rounding them differs by more from what they were."""


@pytest.fixture(scope="module")
def pretrained(make_twins):
    """A small GPT-2 in the official layout: ours, transformers'."""
    return make_twins(7, **OFFICIAL)


@pytest.fixture(scope="module")
def folder(pretrained, tmp_path_factory):
    """The same model at every door."""
    folder = tmp_path_factory.mktemp("doors")
    ours, theirs = pretrained
    save_folder(folder / "hf", theirs)
    save_folder(folder / "parts", theirs, shards=3, prefix=True, masks=True, head=True)
    write_openai(folder / "openai", theirs)
    write_openai(folder / "converted", theirs)
    load_openai_gpt2(folder / "converted")
    save_checkpoint(folder / "ours.pth", ours)
    with pytest.warns(UserWarning, match="no tokenizer"):
        export_to_huggingface(ours, folder / "exported")
    return folder


DOORS = {
    "a folder of Hugging Face's": lambda folder, **options: load_hf_gpt2(folder / "hf", **options),
    "in parts": lambda folder, **options: load_hf_gpt2(folder / "parts", **options),
    "OpenAI's": lambda folder, **options: load_openai_gpt2(folder / "openai", **options),
    "OpenAI's, converted": lambda folder, **options: load_openai_gpt2(folder / "converted", **options),
    "exported": lambda folder, **options: load_model(folder / "exported", **options).model,
    "any folder": lambda folder, **options: load_model(folder / "hf", **options).model,
    "a checkpoint": lambda folder, **options: load_model(folder / "ours.pth", **options).model,
}


def written(model):
    return generate(model, IDS[:, :5], 50, temperature=0)


@torch.no_grad()
@pytest.mark.parametrize("precision", INFERENCE_PRECISIONS)
@pytest.mark.parametrize("door", DOORS)
def test_every_door_gives_the_same_model(folder, pretrained, door, precision):
    ours, theirs = pretrained
    model = DOORS[door](folder, precision=precision)
    expected, choice = with_precision(ours, precision)
    assert model.precision == choice
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.final_norm.weight.dtype == expected.final_norm.weight.dtype
    assert relative_error(model(IDS).float(), expected(IDS).float()) < TOLERANCE[precision]
    if choice.precision == "fp32":
        assert torch.equal(written(model), fifty_more(theirs))


@pytest.mark.parametrize("door", DOORS)
def test_without_a_word_the_weights_are_as_stored_and_learn(folder, pretrained, door):
    model = DOORS[door](folder)
    assert model.precision is None
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(written(model), fifty_more(pretrained[1]))


@pytest.mark.parametrize("door", DOORS)
def test_auto_says_what_it_took_and_why(folder, door, monkeypatch):
    monkeypatch.setattr(quantization, "LARGE", 100)
    for faster, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(quantization, "default_backend", lambda faster=faster: Backend(bf16_decoding=faster))
        choice = DOORS[door](folder, precision="auto").precision
        assert (choice.precision, choice.automatic) == (precision, True)
        assert str(choice).startswith(f"{precision}, ")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "int4"}, "precision='int4' is unknown; give one of auto, fp32, bf16, int8"),
        ({"precision": "fp32", "dtype": "bf16"}, "dtype='bf16' and precision='fp32' both say"),
        ({"precision": "auto", "dtype": torch.float16}, "dtype='fp16' and precision='auto' both say"),
        ({"precision": "int8", "device": "abacus"}, "abacus"),
    ],
)
def test_settings_that_make_no_sense_are_one_sentence(folder, door, options, words):
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        DOORS[door](folder, **options)
    assert "\n" not in str(error.value)


def test_settings_are_looked_at_before_files(tmp_path):
    for load in (load_hf_gpt2, load_openai_gpt2, load_model):
        with pytest.raises(ValueError, match="precision='int4'"):
            load("124M", precision="int4")
        with pytest.raises(ValueError, match="both say"):
            load("124M", precision="bf16", dtype="bf16")


@torch.no_grad()
@pytest.mark.parametrize("precision", INFERENCE_PRECISIONS)
@pytest.mark.parametrize("merged", [False, True])
def test_a_model_with_an_adapter_becomes_a_plain_one(tmp_path, make_model, precision, merged):
    model = with_adapter(make_model())
    expected, _ = with_precision(merged_copy(model), precision)
    logits = model(IDS[:, :16] % 61)
    if merged:
        merge(model)
    save_checkpoint(tmp_path / "adapted.pth", model)
    loaded = load_model(tmp_path / "adapted.pth", precision=precision).model
    copied, choice = with_precision(model, precision)
    for plain in (loaded, copied):
        assert not adapters_of(plain)
        assert plain.precision == choice
        assert relative_error(plain(IDS[:, :16] % 61).float(), expected(IDS[:, :16] % 61).float()) < 5e-3
    torch.testing.assert_close(model(IDS[:, :16] % 61), logits)  # itself is as it was
    assert adapters_of(model)


@torch.no_grad()
def test_an_adapter_on_16_bits_is_added_before_they_are_rounded(make_model):
    model = with_adapter(make_model().to(torch.bfloat16), alpha=0.01)
    exact = make_model().to(torch.bfloat16).float()
    for name, module in model.named_modules():
        if name.endswith(("c_attn", "c_proj", "c_fc")) and hasattr(module, "adapters"):
            exact.get_submodule(name).weight += module.adapters["default"].update()
    found, _ = with_precision(model, "fp32")
    torch.testing.assert_close(found(IDS[:, :16] % 61), exact(IDS[:, :16] % 61))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_model_for_inference_is_not_trained(folder, precision):
    model = load_hf_gpt2(folder / "hf", precision=precision)
    with pytest.raises(ValueError, match="no parameter to train"):
        train(model, [], config=TrainingConfig(max_steps=1), verbose=False)


@torch.no_grad()
@pytest.mark.parametrize("precision", INFERENCE_PRECISIONS)
def test_a_checkpoint_may_be_written_again_while_its_model_writes(tmp_path, make_model, precision):
    path = tmp_path / "a.pth"
    save_checkpoint(path, make_model())
    model = load_model(path, precision=precision).model
    before = model(IDS[:, :16] % 61)
    path.write_bytes(bytes(path.stat().st_size))  # not as save_checkpoint does, but into the file itself
    assert torch.equal(model(IDS[:, :16] % 61), before)


@torch.no_grad()
@pytest.mark.parametrize("second", [None, {"n_layers": 1}, {}])
def test_a_file_that_is_replaced_while_it_is_read_is_not_mixed(tmp_path, make_model, monkeypatch, second):
    """A run puts its best model there while it is read in parts: all of them are of one model."""
    monkeypatch.setattr("gptlib.checkpoints.file._PART", 1)
    monkeypatch.setattr("gptlib.checkpoints.file._PARTS", 10**9)
    path, model, calls, load = tmp_path / "a.pth", make_model(0), [], torch.load
    save_checkpoint(path, model)

    def replaced(*arguments, **options):
        if len(calls) == 3 and second is not None:
            save_checkpoint(path, make_model(1, **second))
        calls.append(arguments)
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", replaced)
    found = load_model(path, precision="fp32").model
    assert len(calls) > 20
    assert torch.equal(found(IDS[:, :16] % 61), model(IDS[:, :16] % 61))


LAYOUTS = {
    "transposed": lambda weight: weight.t().contiguous().t(),
    "every second number": lambda weight: weight.repeat_interleave(2, dim=1)[:, ::2],
    "every second row": lambda weight: weight.repeat_interleave(2, dim=0)[::2],
    "in a larger matrix": lambda weight: torch.nn.functional.pad(weight, (3, 5, 2, 1))[2:-1, 3:-5],
}


@torch.no_grad()
@pytest.mark.parametrize("precision", [None, *INFERENCE_PRECISIONS])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_may_lie_in_memory_as_they_like(pretrained, make_model, layout, precision):
    ours = pretrained[0]
    model = make_model(**OFFICIAL)
    state = {
        name: LAYOUTS[layout](tensor) if tensor.ndim == 2 else tensor for name, tensor in ours.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    assert torch.equal(written(model), written(ours))
    if precision:
        found, expected = (with_precision(each, precision)[0] for each in (model, ours))
        assert relative_error(found(IDS).float(), expected(IDS).float()) < TOLERANCE[precision]


@pytest.fixture
def home(tmp_path, monkeypatch, make_model):
    """A workbook's folder with a model that has a tokenizer, and an adapter for it."""
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "input.txt").write_text("abcdef " * 400)
    tokenizer = CharTokenizer.train("abcdef \n:?")
    model = make_model(vocab_size=tokenizer.vocab_size)
    save_checkpoint("base.pth", model, tokenizer)
    with_adapter(model)
    save_adapter(model, "adapter")
    save_checkpoint("adapted.pth", model, tokenizer)
    monkeypatch.setattr("builtins.input", lambda _: "/quit")
    return tmp_path


COMMANDS = {
    "generate": "--prompt abc --max-new-tokens 8 --temperature 0",
    "chat": "--max-new-tokens 4 --template alpaca",
    "evaluate": "--part all --stride 8",
}


@pytest.mark.parametrize("command", ["generate", "evaluate"])
@pytest.mark.parametrize("precision", INFERENCE_PRECISIONS)
def test_an_adapter_on_the_command_line(home, capsys, command, precision):
    options = [*COMMANDS[command].split(), "--precision", precision]
    outputs = []
    for model in ("--load base.pth --adapter adapter", "--load adapted.pth", "--load base.pth"):
        assert main([command, *model.split(), *options]) == 0
        outputs.append(capsys.readouterr().out.replace("adapted.pth", "base.pth"))
    assert outputs[0] == outputs[1] != outputs[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_same_words_and_says_what_auto_took(home, capsys, monkeypatch, command):
    monkeypatch.setattr(quantization, "LARGE", 100)
    monkeypatch.setattr(quantization, "default_backend", lambda: Backend(bf16_decoding=True))
    for precision in INFERENCE_PRECISIONS:
        assert main([command, "--load", "base.pth", *COMMANDS[command].split(), "--precision", precision]) == 0
        told = "bf16, which this processor multiplies natively and reads in half the time." in capsys.readouterr().err
        assert told == (precision == "auto")
    with pytest.raises(SystemExit):
        main([command, "--load", "base.pth", "--precision", "int4"])
    assert "auto, fp32, bf16 or int8" in capsys.readouterr().err


def test_what_the_checkpoint_holds_is_untouched(home):
    before = (home / "adapted.pth").read_bytes()
    load_model("adapted.pth", precision="fp32")
    assert (home / "adapted.pth").read_bytes() == before
    assert adapters_of(load_checkpoint("adapted.pth").model)


MEASURE = """
import re, sys
from pathlib import Path
import psutil
from gptlib.weights import load_hf_gpt2, load_model
load = load_hf_gpt2 if sys.argv[1].endswith("hf") else load_model
load(sys.argv[2], precision="fp32" if sys.argv[3] == "fp32" else "int8")  # what is imported and made once
before = psutil.Process().memory_info().rss
kept = load(sys.argv[1], precision=sys.argv[3])
peak = 1024 * int(re.search("VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print((peak - before) / int(sys.argv[4]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the pages that Linux tells of")
@pytest.mark.parametrize(
    ("name", "precision", "most"),
    [("hf", "fp32", 0.3), ("hf", "bf16", 1.0), ("hf", "int8", 0.8), ("pth", "bf16", 1.1), ("pth", "fp32", 1.3)],
)
def test_no_more_than_a_part_is_in_memory_twice(large, folder, name, precision, most):
    """As a share of the file in 32 bits, of which bf16 and int8 alone would be 0.5 and 0.25, and all at once 1.5."""
    path, size = large / name, 4 * 43_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path, folder / "hf", precision, str(size)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert float(done.stdout) < most


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A model of 43 million parameters, in a folder and in a checkpoint."""
    folder = tmp_path_factory.mktemp("large")
    torch.manual_seed(0)
    config = GPT2_CONFIGS["124M"].to_dict() | {"n_layers": 6, "vocab_size": 500, "context_length": 64}
    model = GPTModel(config)
    with pytest.warns(UserWarning, match="no tokenizer"):
        export_to_huggingface(model, folder / "hf")
    save_checkpoint(folder / "pth", model)
    return folder
