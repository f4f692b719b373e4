"""Any model by the name that a person gives: a checkpoint of ours, an official size, a folder of either kind."""

from pathlib import Path

import torch

from gptlib.checkpoints import Checkpoint, find_checkpoint, load_checkpoint
from gptlib.model import GPTModel
from gptlib.tokenizers import GPT2Tokenizer, Tokenizer, load_tokenizer
from gptlib.tokenizers.load import TOKENIZER_FILE
from gptlib.utils.files import read_json
from gptlib.utils.folders import project_root
from gptlib.weights.converted import CONVERTED
from gptlib.weights.huggingface import load_hf_gpt2
from gptlib.weights.inference import for_inference, give_own_memory
from gptlib.weights.openai import load_openai_gpt2
from gptlib.weights.settings import checked_settings
from gptlib.weights.sizes import find_size
from gptlib.weights.tokenizer_files import vocabulary

_GPT2_SIZES = range(50257, 50305)  # of GPT-2's own vocabulary, and padded as nanoGPT pads it


def load_model(
    name: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | str | None = None,
    *,
    precision: str | None = None,
) -> Checkpoint:
    """The .model (in eval mode) and .tokenizer (None if there is none) that a name stands for.

    name: a checkpoint file; "124M", "gpt2-small (124M)", "gpt2" …; a folder of Hugging Face's kind (config.json) or of
    OpenAI's (hparams.json); a folder of checkpoints, of which the newest is taken; or a name in model_weights/.
    A size comes from OpenAI's files if they are in model_weights/openai, else from Hugging Face.

    dtype: by default as stored; the model can be trained. precision: "auto", "fp32", "bf16" or "int8" for a model to
    write with, at the best speed of that precision: it can't be trained, an adapter is merged, and its `.precision`
    says what "auto" took, and why.

    Raises ValueError for a setting that makes no sense, FileNotFoundError if nothing is there, and what
    `load_checkpoint`, `load_hf_gpt2` and `load_openai_gpt2` raise.
    """
    dtype, device = checked_settings(dtype, device, precision)
    path, size = Path(name), find_size(name)
    if not path.is_file() and size is not None:
        return load_size(size, device, dtype, precision)
    if (path / "config.json").is_file():
        model = load_hf_gpt2(path, dtype, device, precision=precision)
        return Checkpoint(model, tokenizer_of(path, model), None)
    if (path / "hparams.json").is_file():
        model = load_openai_gpt2(path, None, dtype, device, precision=precision)
        return Checkpoint(model, gpt2_tokenizer_for(model), None)
    loaded = load_checkpoint(find_checkpoint(name), device, mapped=precision is not None)
    if dtype is not None:
        loaded.model.to(dtype=dtype)
    if precision is not None:
        loaded.model = for_inference(loaded.model, precision)
        give_own_memory(loaded.model)
    return loaded


def load_size(size: str, device: torch.device, dtype: torch.dtype | None, precision: str | None) -> Checkpoint:
    """An official model: from OpenAI's files if they are there already, else from Hugging Face's.

    The latter needs no TensorFlow and the least memory.
    """
    folder = project_root() / "model_weights" / "openai" / size
    if (folder / CONVERTED).is_file() or (folder / "model.ckpt.index").is_file():
        model = load_openai_gpt2(size, None, dtype, device, precision=precision)
    else:
        model = load_hf_gpt2(size, dtype, device, precision=precision)
    return Checkpoint(model, gpt2_tokenizer_for(model), None)


def gpt2_tokenizer_for(model: GPTModel) -> Tokenizer | None:
    """GPT-2's tokenizer, if the model knows all its tokens."""
    return GPT2Tokenizer() if model.config.vocab_size in _GPT2_SIZES else None


def tokenizer_of(folder: Path, model: GPTModel) -> Tokenizer | None:
    """The tokenizer of a folder of Hugging Face's kind: the one that `gptlib export` put there, or GPT-2's.

    None if it is another: the ids of a foreign vocabulary would be nonsense to it, or it to them.
    """
    if (folder / TOKENIZER_FILE).is_file():
        return load_tokenizer(folder)
    found = _stored_vocabulary(folder)
    if found is None:
        return gpt2_tokenizer_for(model)
    if len(found) not in _GPT2_SIZES:
        return None
    tokenizer = GPT2Tokenizer()
    return tokenizer if found == vocabulary(tokenizer) else None


def _stored_vocabulary(folder: Path) -> dict | None:
    """The table of tokens in vocab.json or tokenizer.json; None if there are none, {} if it is of no use."""
    try:
        if (folder / "vocab.json").is_file():
            found = read_json(folder / "vocab.json", "vocabulary")
        elif (folder / "tokenizer.json").is_file():
            found = read_json(folder / "tokenizer.json", "tokenizer")["model"]["vocab"]
        else:
            return None
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
