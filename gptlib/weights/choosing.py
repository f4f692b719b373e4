"""A model for the notebooks `inference` and `inference_hf`: the one that was chosen, or one that is always there.

A notebook that is run as a whole should never end in an error because a file can't be had. So what can't be loaded is
replaced by the small model that the book brings along, and a note says so, and says what to do.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from gptlib.checkpoints import Checkpoint, empty_model
from gptlib.loss import text_token_losses
from gptlib.model import GPT2_CONFIGS, GPTModel
from gptlib.tokenizers import Tokenizer
from gptlib.utils.errors import CheckpointError, DownloadError
from gptlib.utils.folders import project_root
from gptlib.weights.download import DATA_BYTES
from gptlib.weights.huggingface import load_hf_gpt2
from gptlib.weights.loading import gpt2_tokenizer_for, load_model
from gptlib.weights.openai import load_openai_gpt2
from gptlib.weights.safetensors import SINGLE
from gptlib.weights.settings import checked_settings
from gptlib.weights.sizes import REPOSITORIES, SELECTIONS, find_size

CUSTOM = "custom"
OWN, BROUGHT = "model_weights/trained_gpt2.pth", "model_weights/tales.pth"
SOURCES = ("openai", "huggingface")

_LOADERS = {"openai": load_openai_gpt2, "huggingface": load_hf_gpt2}
_HOSTS = {"openai": "GPTLIB_OPENAI_URL", "huggingface": "HF_ENDPOINT"}
_PLAIN = "The sun rises in the east and sets in the west, as it has done since long before there was anyone to see it."


@dataclass(frozen=True)
class Chosen:
    """A model to write with, in eval mode, and its tokenizer.

    note: what it is, to be printed before all that it writes. name: the same in a few words.
    """

    model: GPTModel
    tokenizer: Tokenizer
    note: str
    name: str


def choose(
    selection: str,
    source: str,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "auto",
    precision: str | None = None,
) -> Chosen:
    """The chosen model; if it can't be had, the small one that the book brings along, and a note that says so.

    selection: "gpt2-small (124M)" to "gpt2-xl (1558M)", or "custom" for model_weights/trained_gpt2.pth. source:
    "openai" or "huggingface", from which the official ones come. dtype, device, precision: as `load_model` takes them.
    Raises ValueError for any other name, and for a setting that there is not.
    """
    size, (dtype, device) = _size_of(selection), checked_settings(dtype, device, precision)
    _check_source(source)
    settings = {"dtype": dtype, "device": device, "precision": precision}
    try:
        return _official(size, source, settings) if size else _own(settings)
    except (CheckpointError, DownloadError, OSError) as error:
        reason = str(error)
    except (MemoryError, torch.OutOfMemoryError):
        reason = f"There is not enough memory on {device} for it; choose a smaller one, or PRECISION = 'bf16'."
    found, wanted = load_model(project_root() / BROUGHT, **settings), selection if size else OWN
    note = (
        f"What follows is not by {wanted}, but by {BROUGHT}, the small model that the book brings along: "
        f"{_count(found.model):,} parameters that know seventy-two tales of one village and nothing else.\n"
        f"The reason: {reason}"
    )
    return Chosen(found.model, _tokenizer_in(found, BROUGHT), note, f"{Path(BROUGHT).name}, not {Path(wanted).name}")


def _official(size: str, source: str, settings: dict[str, Any]) -> Chosen:
    name = next(name for name, its_size in SELECTIONS.items() if its_size == size)
    model = _LOADERS[source](size, **settings)
    tokenizer = _tokenizer_in(Checkpoint(model, gpt2_tokenizer_for(model), None), name)
    other = urlsplit(os.environ.get(_HOSTS[source]) or "").hostname
    host = f", from a mirror at {other}" if other else ""
    found, official = _count(model), _official_count(size)
    count, bits = f"{found:,} parameters", _bits(model)
    learned = _knows_english(model, tokenizer)
    random = "" if learned else ", random numbers"
    if found == official and learned:
        return Chosen(model, tokenizer, f"{name}: {count}{host}, on {model.device}{bits}.", name)
    if found != official:
        count += f" instead of {official:,}"
    noise = "" if learned else "; the text below is noise"
    note = f"These are not OpenAI's weights: {count}{random}{host}{bits}{noise}."
    return Chosen(model, tokenizer, note, f"{'a stand-in' if learned else 'a random stand-in'}, not {name}")


def _own(settings: dict[str, Any]) -> Chosen:
    path = project_root() / OWN
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {OWN} yet; run the notebook train.ipynb, or `make train` in a terminal, which makes it."
        )
    found = load_model(path, **settings)
    tokenizer = _tokenizer_in(found, OWN)
    count = f"{_count(found.model):,} parameters"
    note = f"{OWN}: a model of your own, {count}, on {found.model.device}{_bits(found.model)}."
    return Chosen(found.model, tokenizer, note, path.name)


def _tokenizer_in(found: Checkpoint, name: str) -> Tokenizer:
    if found.tokenizer is None:
        raise CheckpointError(f"{name} has no tokenizer that gptlib knows, so it can't read a prompt; use another.")
    return found.tokenizer


def _knows_english(model: GPTModel, tokenizer: Tokenizer) -> bool:
    """Whether a plain sentence costs clearly less than a guess at random; random weights fail."""
    losses = [loss for _, loss in text_token_losses(model, tokenizer, _PLAIN)]
    return sum(losses) / len(losses) < math.log(tokenizer.vocab_size) - 1


def _official_count(size: str) -> int:
    return empty_model(GPT2_CONFIGS[size]).parameter_count()


def _count(model: GPTModel) -> int:
    """The number of weights, in whatever precision: a copy for inference keeps them as no parameters."""
    return empty_model(model.config).parameter_count()


def _bits(model: GPTModel) -> str:
    """In which precision and why, if one was asked for."""
    return f", in {model.precision}" if model.precision else ""


def _size_of(selection: str) -> str | None:
    """The official size, or None for "custom". Raises ValueError for what is neither."""
    size = find_size(selection)
    if size is None and selection != CUSTOM:
        names = ", ".join(map(repr, SELECTIONS))
        raise ValueError(f"{selection!r} can't be chosen; give {names}, or {CUSTOM!r} for {OWN}.")
    return size


def _check_source(source: str) -> None:
    if source not in SOURCES:
        raise ValueError(f"source={source!r} is unknown; give {' or '.join(map(repr, SOURCES))}.")


def sizes_table(source: str) -> str:
    """What each official size takes: parameters, download, memory of its weights in two types."""
    _check_source(source)
    lines = [f"{'':<20}{'parameters':>15}{'download':>12}{'fp32':>12}{'bf16':>12}"]
    for name, size in SELECTIONS.items():
        count = _official_count(size)
        # OpenAI's file is the numbers alone; Hugging Face's has a triangle of ones for each block, never used here.
        masks = 4 * GPT2_CONFIGS[size].context_length ** 2 * GPT2_CONFIGS[size].n_layers
        download = DATA_BYTES[size] + (masks if source == "huggingface" else 0)
        sizes = "".join(f"{n_bytes / 1e9:>9.2f} GB" for n_bytes in (download, 4 * count, 2 * count))
        lines.append(f"{name:<20}{count:>15,}{sizes}")
    return "\n".join(lines)


def files_table(selection: str, source: str) -> str:
    """The files of the chosen model that are on this machine, with their sizes; nothing is fetched for it."""
    size = _size_of(selection)
    _check_source(source)
    find: Callable[[str], list[Path]] = {"openai": _openai_files, "huggingface": _cached_files}[source]
    files = find(size) if size else [file for file in [project_root() / OWN] if file.is_file()]
    lines = [f"{file.name:<32}{file.stat().st_size:>16,} bytes" for file in files]
    return "\n".join(lines) or "No files of it are here yet."


def _openai_files(size: str) -> list[Path]:
    folder = project_root() / "model_weights" / "openai" / size
    return sorted(file for file in folder.glob("[!.]*") if file.is_file())


def _cached_files(size: str) -> list[Path]:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return []
    found = [try_to_load_from_cache(REPOSITORIES[size], file) for file in ("config.json", SINGLE)]
    return [Path(file) for file in found if isinstance(file, str)]
