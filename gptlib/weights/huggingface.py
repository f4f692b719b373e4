"""Hugging Face's files: config.json and model.safetensors, from the Hub or a folder, mapped into memory.

A float32 model on the CPU takes its weights straight from the file: the transposed ones as views, for which
`gptlib.ops.backend` has kernels of their own: they train as fast, and decode nearly as fast. In other types and on
other devices each gets memory of its own.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from gptlib.checkpoints import empty_model
from gptlib.checkpoints.building import assign_parameters
from gptlib.checkpoints.tensors import check_tensors, shapes_of
from gptlib.model import GPTConfig, GPTModel
from gptlib.utils.errors import CheckpointError
from gptlib.utils.files import read_json
from gptlib.utils.text import shorten
from gptlib.weights.hub import hub_folder
from gptlib.weights.inference import for_inference
from gptlib.weights.names import Name, NameTable, names_of
from gptlib.weights.safetensors import DTYPES, REMEDY, Stored, TensorReader, check_dtypes, find_tensors
from gptlib.weights.settings import checked_config, checked_settings
from gptlib.weights.sizes import REPOSITORIES, find_folder, find_size, sizes_in_words

NUMBERS = {
    "vocab_size": "vocab_size",
    "context_length": "n_positions",
    "emb_dim": "n_embd",
    "n_heads": "n_head",
    "n_layers": "n_layer",
}
"""Our names of the numbers in config.json."""

DEFAULTS = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}

FIXED: dict[str, tuple] = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),  # two names of one formula
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
    "add_cross_attention": (False,),
    "quantization_config": (None,),
}
"""Settings of config.json of which our model can do these only; each may be left out."""


def load_hf_gpt2(
    name: str | Path,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    *,
    precision: str | None = None,
) -> GPTModel:
    """A GPT-2 in Hugging Face's format as a GPTModel in eval mode.

    name: "124M", "gpt2-small (124M)", "gpt2" …; another repository of the Hub, "owner/name"; or a folder with
    config.json and model.safetensors (or its parts and their index). dtype: by default as stored; the model can be
    trained. precision: "auto", "fp32", "bf16" or "int8" for a model to write with, at the best speed of that precision;
    its `.precision` says what "auto" took, and why. What is downloaded goes to Hugging Face's own cache, and
    HF_ENDPOINT names another host. A float32 model on the CPU uses the file as its memory: replace the file while it
    is in use, but don't write into it. Training the model changes no file.

    Raises ValueError for a name or a setting that makes no sense, DownloadError if the files can't be had,
    FileNotFoundError if the folder lacks them, CheckpointError if they are damaged or the model is not one that ours
    can be.
    """
    dtype, device = checked_settings(dtype, device, precision)
    folder = model_folder(name)
    config = read_config(folder / "config.json")
    table = names_of(config)
    tensors = _named(folder, find_tensors(folder), table)
    if config.weight_tying and (head := tensors.pop(table.head.huggingface, None)):
        _check_tied(folder, tensors.get(table.outer[0].huggingface, head), head)

    model = empty_model(config)
    names, shapes = table.parameters(config), shapes_of(model)
    expected = {name.huggingface: name.stored_shape(shapes[name.ours]) for name in names}
    check_tensors(f"'{folder}'", {name: tensor.shape for name, tensor in tensors.items()}, expected, REMEDY)
    types = {DTYPES[tensor.dtype] for tensor in tensors.values()}
    dtype = dtype or (next(iter(types)) if len(types) == 1 else torch.float32)
    mapped = device.type == "cpu" and {dtype} | types == {torch.float32}
    reader = TensorReader()

    def read(name: Name) -> Tensor:
        tensor = reader.read(tensors[name.huggingface])
        if not mapped:  # converted first, since a transpose of half the bytes takes a third of the time
            tensor = tensor.to(device=device, dtype=dtype, copy=True)
        return name.transposed(tensor) if mapped else name.transposed(tensor).contiguous()

    ours = {name.ours: name for name in names}
    return for_inference(assign_parameters(model, lambda name: read(ours[name]), list(ours)), precision)


def model_folder(name: str | Path) -> Path:
    """The folder of a model: the given one, or that of Hugging Face's cache, filled if need be."""
    if size := find_size(name):
        return hub_folder(REPOSITORIES[size])
    if isinstance(name, str) and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) and not Path(name).is_dir():
        return hub_folder(name)
    if folder := find_folder(name):
        return folder
    raise ValueError(
        f"{name!r} is neither a size of GPT-2 nor a folder; give {sizes_in_words()}, a folder, or a repository as "
        "'owner/name'."
    )


def read_config(path: Path) -> GPTConfig:
    """The configuration in config.json. CheckpointError if the model computes what ours can't, by the setting."""
    if not path.is_file():
        raise FileNotFoundError(
            f"The folder '{path.parent}' has no config.json; check the path, or fetch the file too."
        )
    try:
        config = read_json(path, "config")
    except ValueError as error:
        raise CheckpointError(f"{shorten(error, 200)}; {REMEDY}.") from None
    if not isinstance(config, dict) or config.get("model_type") != "gpt2":
        kind = config.get("model_type") if isinstance(config, dict) else None
        raise CheckpointError(f"'{path}' is of a model of type {shorten(repr(kind))}, and gptlib loads 'gpt2' only.")
    width = config.get("n_embd", DEFAULTS["n_embd"])
    fixed = FIXED | {"n_inner": (None, 4 * width if isinstance(width, int) else None)}
    for setting, possible in fixed.items():
        if config.get(setting, possible[0]) not in possible:
            raise CheckpointError(
                f"'{path}' has {setting}={shorten(repr(config[setting]))}, and gptlib's GPT-2 can do "
                f"{possible[-1]!r} only; use transformers for this model."
            )
    tied = config.get("tie_word_embeddings", True)
    if not isinstance(tied, bool):
        raise CheckpointError(f"'{path}' has tie_word_embeddings={shorten(repr(tied))}, not true or false; {REMEDY}.")
    drop_rate = config.get("resid_pdrop", 0.1)
    return checked_config(f"'{path}'", DEFAULTS | config, NUMBERS, weight_tying=tied, drop_rate=drop_rate)


def _named(folder: Path, stored: list[Stored], table: NameTable) -> dict[str, Stored]:
    """The tensors by their names without prefix, buffers left out. CheckpointError if a name is there twice."""
    blocks = table.block[0].huggingface.partition("{i}")[0]
    found: dict[str, Stored] = {}
    for tensor in stored:
        name = tensor.name.removeprefix(table.prefix)
        if name.startswith(blocks) and name.endswith(table.buffers):
            continue
        if name in found:
            raise CheckpointError(
                f"'{folder}' has '{shorten(tensor.name)}' and '{shorten(found[name].name)}', which are one tensor; "
                f"{REMEDY}."
            )
        found[name] = tensor
    check_dtypes(f"'{folder}'", found.values(), "use a copy that is not quantized")
    return found


def _check_tied(folder: Path, embedding: Stored, head: Stored) -> None:
    """Raise CheckpointError if a head was stored that is not the token embedding, though the config says it is."""
    reader, rows = TensorReader(), 4096
    table, other = reader.read(embedding), reader.read(head)
    parts = zip(table.split(rows), other.split(rows), strict=True) if table.shape == other.shape else ()
    if table.shape != other.shape or not all(torch.equal(a, b) for a, b in parts):
        raise CheckpointError(
            f"'{folder}' has a head (lm_head.weight) that differs from the token embedding, and its config.json says "
            'that they are tied; set "tie_word_embeddings" to false there to use the head.'
        )
