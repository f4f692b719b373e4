"""The same random weights in every form that people load, and every way to load them."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from _peers import PROMPT, TOP_K, prompts, rate_between, times_of

from gptlib.checkpoints import load_checkpoint, save_checkpoint
from gptlib.generation import generate_tokens
from gptlib.generation.quantization import with_precision
from gptlib.lora import LoRAConfig, add_lora, merge
from gptlib.model import GPTConfig, GPTModel
from gptlib.weights import load_hf_gpt2, load_model, load_openai_gpt2
from gptlib.weights.adapters import load_adapter, save_adapter
from gptlib.weights.converted import fingerprint, keep_converted
from gptlib.weights.export import export_to_huggingface
from gptlib.weights.tensorflow import NUMBERS


class Folders:
    """Writes them all; in a process of its own, whose memory then comes free."""

    def write(self, config: GPTConfig, target: Path) -> None:
        """hf/ as transformers saves it, exported/ as we do, openai/ as after its first use, a .pth and an adapter."""
        from transformers import GPT2LMHeadModel, logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.manual_seed(0)
        model = GPTModel(config).eval()
        export_to_huggingface(model, target / "exported")
        GPT2LMHeadModel.from_pretrained(target / "exported").save_pretrained(target / "hf")
        save_checkpoint(target / "model.pth", model)
        openai = target / "openai"
        openai.mkdir()
        (openai / "hparams.json").write_text(json.dumps({theirs: config[ours] for ours, theirs in NUMBERS.items()}))
        keep_converted(openai, model, fingerprint(openai))
        save_adapter(add_lora(model, LoRAConfig(rank=8)), target / "adapter")


def with_adapter(folder: Path) -> GPTModel:
    model = load_hf_gpt2(folder / "hf")
    load_adapter(model, folder / "adapter")
    return model


def with_merged_adapter(folder: Path) -> GPTModel:
    model = with_adapter(folder)
    merge(model)
    return model


def with_strided_weights(folder: Path) -> GPTModel:
    """A model that was given a state_dict whose matrices are views of transposed ones, as Conv1D's are."""
    found = load_checkpoint(folder / "model.pth").model
    model = GPTModel(found.config)
    weights = {
        name: tensor.t().contiguous().t() if ".c_" in name and tensor.ndim == 2 else tensor
        for name, tensor in found.state_dict().items()
    }
    model.load_state_dict(weights, assign=True)
    return model.eval()


def then_in(load: Callable[[Path], GPTModel]) -> "Door":
    """For what is loaded without a word on precision."""
    return lambda folder, precision: with_precision(load(folder), precision)[0]


Door = Callable[[Path, str], GPTModel | None]
DOORS: dict[str, Door] = {
    "load_hf_gpt2": lambda folder, precision: load_hf_gpt2(folder / "hf", precision=precision),
    "load_hf_gpt2, exported": lambda folder, precision: load_hf_gpt2(folder / "exported", precision=precision),
    "load_openai_gpt2": lambda folder, precision: load_openai_gpt2(folder / "openai", precision=precision),
    "load_model, .pth": lambda folder, precision: load_model(folder / "model.pth", precision=precision).model,
    "load_checkpoint": then_in(lambda folder: load_checkpoint(folder / "model.pth").model),
    "LoRA, with_precision": then_in(with_adapter),
    "LoRA, merge": then_in(with_merged_adapter),
    "LoRA, not merged": lambda folder, precision: with_adapter(folder) if precision == "fp32" else None,
    "state_dict, strided": then_in(with_strided_weights),
}


class Doors:
    """The models of one precision at a time, through every door."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.models: dict[str, GPTModel] = {}

    def open(self, precision: str) -> list[str]:
        """The names of those that there are in this precision."""
        self.models.clear()
        self.models |= {name: model for name, load in DOORS.items() if (model := load(self.folder, precision))}
        return list(self.models)

    def writing(self, door: str, n: int) -> float:
        model = self.models[door]
        ids = prompts(1, PROMPT, model.config.vocab_size)
        return rate_between(times_of(generate_tokens(model, ids, n, top_k=TOP_K)))
