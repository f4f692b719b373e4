"""Our models for the rest of the world: a folder that Hugging Face's transformers loads as GPT2LMHeadModel."""

import json
import math
import shutil
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from gptlib.model import GPTModel, unwrap
from gptlib.model.lora import adapters_of, merged_copy
from gptlib.tokenizers import Tokenizer
from gptlib.tokenizers.load import TOKENIZER_FILE
from gptlib.utils.errors import CheckpointError
from gptlib.utils.files import read_json, write_atomically, write_folder_atomically, write_json
from gptlib.weights.huggingface import NUMBERS
from gptlib.weights.loading import load_model
from gptlib.weights.model_card import is_edited, known_of, model_card
from gptlib.weights.names import names_of
from gptlib.weights.safetensors import DTYPES, SINGLE
from gptlib.weights.tokenizer_files import tokenizer_files

CARD = "README.md"
_FILES = {SINGLE, CARD, TOKENIZER_FILE, "config.json", "generation_config.json"}
_FILES |= {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"}
_MARK = "gptlib_export"  # in config.json, by which an earlier export is known


def export_to_huggingface(
    source: str | Path | GPTModel,
    folder: str | Path,
    *,
    tokenizer: Tokenizer | None = None,
    facts: dict[str, Any] | None = None,
) -> Path:
    """Write the model as a folder for transformers, with equal logits and, where possible, its tokenizer; the folder.

    source: a model, or what `load_model` takes, which brings its tokenizer along; one with adapters goes out as a plain
    model, with the active one merged into its weights, and is itself left as it is. facts: what the draft of the model
    card is to say of the model ("origin", "corpus", "step", "train_loss" …; default: what is known of the source).

    All or nothing: the folder appears when it is complete. It must not exist, or be empty, or be an earlier export,
    which is replaced but for a README.md that was edited. Two processes don't write it at once: the second waits. A
    tokenizer without a counterpart there is left out, with a warning. Raises ValueError for a folder with other things
    in it, CheckpointError if it can't be written.
    """
    folder = Path(folder)
    check_target(folder)
    if not isinstance(source, torch.nn.Module):
        loaded = load_model(source)
        facts = facts if facts is not None else known_of(source, loaded.model)
        source, tokenizer = loaded.model, tokenizer or loaded.tokenizer
    model = unwrap(source)
    try:
        with write_folder_atomically(folder, on_waiting=lambda: _say_who_is_first(folder)) as temporary:
            _write_all(temporary, folder, model, tokenizer, facts or {})
    except OSError as error:
        raise CheckpointError(
            f"The folder '{folder}' could not be written ({error.strerror or error}); free some space or choose "
            "another place. An earlier export there is as it was."
        ) from error
    return folder


def _say_who_is_first(folder: Path) -> None:
    tqdm.write(f"Another process is writing '{folder}'; waiting for it.")


def check_target(folder: Path) -> None:
    """Raise ValueError if something is there that no export has made, and that would be lost."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"'{folder}' is a file; give the name of a folder to make.")
    there = sorted(path.name for path in folder.iterdir())
    try:
        earlier = _MARK in read_json(folder / "config.json")
    except (OSError, ValueError, TypeError):
        earlier = False
    foreign = [name for name in there if name not in _FILES] if earlier else there
    if foreign:
        raise ValueError(f"The folder '{folder}' has '{foreign[0]}' in it, which would be lost; give a new folder.")


def _write_all(temporary: Path, folder: Path, model: GPTModel, tokenizer: Tokenizer | None, facts: dict) -> None:
    words = "none"
    try:
        for name, text in tokenizer_files(tokenizer, model.config.context_length).items():
            with write_atomically(temporary / name, "w") as file:
                file.write(text)
        words = f"byte-level BPE of {tokenizer.vocab_size:,} tokens"
    except ValueError as error:
        warnings.warn(f"The folder has no tokenizer for transformers: {error}.", stacklevel=3)
    if tokenizer is not None:
        tokenizer.save(temporary / TOKENIZER_FILE)  # so that gptlib can load the folder with any of its tokenizers
        if words == "none":
            words = f"gptlib's {type(tokenizer).__name__} of {tokenizer.vocab_size:,} tokens ({TOKENIZER_FILE})"
    eos_id = tokenizer.eos_id if tokenizer is not None else None
    ends = {"bos_token_id": eos_id, "eos_token_id": eos_id, "pad_token_id": eos_id}
    weights = dict(hf_weights(model))
    tied = names_of(model.config).head.huggingface not in weights
    write_json(temporary / "config.json", hf_config(model) | ends | {"tie_word_embeddings": tied})
    write_json(temporary / "generation_config.json", {"_from_model_config": True, **ends})
    earlier = folder / CARD
    with write_atomically(temporary / CARD, "w") as file:
        card = earlier.read_text(encoding="utf-8") if earlier.is_file() else ""
        file.write(card if card and is_edited(card) else model_card(folder.name, model.config, facts, words))
    write_safetensors(temporary / SINGLE, weights)


def hf_config(model: GPTModel) -> dict[str, Any]:
    """config.json, but for what depends on the tokenizer."""
    c, dtype = model.config, str(model.token_embedding.weight.dtype).removeprefix("torch.")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{theirs: c[ours] for ours, theirs in NUMBERS.items()},
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": model.final_norm.eps,
        "resid_pdrop": c.drop_rate,
        "embd_pdrop": c.drop_rate,
        "attn_pdrop": c.drop_rate,
        "dtype": dtype,
        _MARK: 1,
    }


@torch.no_grad()
def hf_weights(model: GPTModel) -> Iterator[tuple[str, Tensor]]:
    """Each tensor of model.safetensors by its name there; transposed ones as views, tied ones once.

    What their GPT-2 has and this model hasn't is added so that the logits stay the same: zeros where queries, keys and
    values have no biases, and sinusoidal positions as a table. Sinusoidal models multiply their token embedding by
    sqrt(emb_dim), so that it is stored multiplied, and apart from the head. An active adapter is merged, in a copy.
    """
    if adapters_of(model):
        model = merged_copy(model)
    c, parameters = model.config, dict(model.named_parameters(remove_duplicate=False))
    table, sinusoidal = names_of(c), c.positions == "sinusoidal"
    for name in table.parameters(c):
        if name.ours == "position_embedding.weight" and sinusoidal:
            tensor = model.position_embedding(torch.arange(c.context_length, device=model.device)).to(
                model.token_embedding.weight.dtype
            )
        elif name.ours == "token_embedding.weight" and sinusoidal:
            tensor = parameters[name.ours] * math.sqrt(c.emb_dim)
        elif name.ours not in parameters:  # a bias of c_attn
            tensor = parameters[name.ours.replace(".bias", ".weight")].new_zeros(3 * c.emb_dim)
        else:
            tensor = parameters[name.ours].detach()
        yield table.saved_as(name), name.transposed(tensor)
    if sinusoidal and c.weight_tying:
        yield table.saved_as(table.head), parameters[table.head.ours].detach()


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors in the format of safetensors, one after another, so that no more than one is in memory twice.

    It is ours because the library's own writer wants all of them contiguous at once: twice the memory for a model of
    transposed views. What is small, as adapters are, goes through the library.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    names, end = {dtype: name for name, dtype in DTYPES.items()}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    if shutil.disk_usage(path.parent).free < end:
        raise OSError(f"{end / 1e9:.2f} GB are needed and {shutil.disk_usage(path.parent).free / 1e9:.2f} GB are free")
    with write_atomically(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(memoryview(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy()))
