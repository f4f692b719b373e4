"""The copy of an OpenAI checkpoint in our own format, which is kept beside it so that TensorFlow is needed once."""

import warnings
from pathlib import Path

from gptlib.checkpoints import load_checkpoint, save_checkpoint
from gptlib.model import GPTModel
from gptlib.tokenizers import GPT2Tokenizer
from gptlib.utils.errors import CheckpointError
from gptlib.utils.files import read_json, write_json

CONVERTED = "converted.pth"


def fingerprint(folder: Path) -> dict[str, list[int]]:
    """Size and time of each file that the converted copy was made from."""
    files = [folder / "hparams.json", *sorted(folder.glob("*.index")), *sorted(folder.glob("*.data-*"))]
    return {file.name: [(stat := file.stat()).st_size, stat.st_mtime_ns] for file in files if file.is_file()}


def load_converted(folder: Path) -> GPTModel | None:
    """The model of the converted copy, if there is one that was made from the files that are there now.

    Files that are gone don't matter: whoever deletes the originals to save room keeps a working model.
    """
    if not (folder / CONVERTED).is_file():
        return None
    try:
        made_from = read_json((folder / CONVERTED).with_suffix(".json"), "record")["made_from"]
        if any(made_from.get(name) != stamp for name, stamp in fingerprint(folder).items()):
            return None
        return load_checkpoint(folder / CONVERTED, mapped=True).model
    except (OSError, ValueError, KeyError, TypeError, AttributeError, CheckpointError):
        return None  # a copy that can't be used is made again


def keep_converted(folder: Path, model: GPTModel, made_from: dict[str, list[int]]) -> None:
    """Write the copy, then the record that makes it valid; without room or permission, do without, and say so.

    made_from: the `fingerprint` of the folder before it was read.
    """
    try:
        tokenizer = GPT2Tokenizer()
    except FileNotFoundError:  # no vocabulary on this machine, and no network
        tokenizer = None
    if tokenizer is not None and tokenizer.vocab_size > model.config.vocab_size:
        tokenizer = None
    try:
        save_checkpoint(folder / CONVERTED, model, tokenizer)
        write_json((folder / CONVERTED).with_suffix(".json"), {"made_from": made_from})
    except (CheckpointError, OSError) as error:
        warnings.warn(f"The weights are loaded, but no copy was kept for next time: {error}", stacklevel=3)
