"""A folder in OpenAI's layout: hparams.json and a TensorFlow checkpoint, read through TensorFlow and only here."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from gptlib.checkpoints import empty_model
from gptlib.checkpoints.tensors import check_tensors, shapes_of
from gptlib.model import GPTConfig
from gptlib.utils.errors import CheckpointError
from gptlib.utils.files import read_json
from gptlib.utils.text import shorten
from gptlib.weights.names import Name, names_of
from gptlib.weights.settings import checked_config

NUMBERS = {
    "vocab_size": "n_vocab",
    "context_length": "n_ctx",
    "emb_dim": "n_embd",
    "n_heads": "n_head",
    "n_layers": "n_layer",
}
"""Our names of the numbers in hparams.json."""

_REMEDY = "delete the folder's files and download them again"


def read_hparams(folder: Path) -> GPTConfig:
    """The configuration in hparams.json. CheckpointError if it is damaged or absurd."""
    where = f"'{folder / 'hparams.json'}'"
    try:
        numbers = read_json(folder / "hparams.json", "hparams")
    except ValueError as error:
        raise CheckpointError(f"{shorten(error, 200)}; {_REMEDY}.") from None
    if not isinstance(numbers, dict):
        raise CheckpointError(f"{where} holds no object with the numbers of a GPT-2; {_REMEDY}.")
    return checked_config(where, numbers, NUMBERS, weight_tying=True)


def read_variables(folder: Path, config: GPTConfig) -> Iterator[tuple[Name, np.ndarray]]:
    """Each variable as it is stored, in the order of the table, after all names, types and shapes were checked."""
    prefix = _checkpoint_prefix(folder)
    where = f"'{prefix}'"
    tensorflow = _tensorflow()
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
        found, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except Exception as error:  # TensorFlow raises a dozen kinds, depending on where a file breaks
        raise CheckpointError(
            f"{where} can't be read as a TensorFlow checkpoint ({shorten(error)}); {_REMEDY}."
        ) from None
    names = names_of(config).parameters(config)
    shapes = shapes_of(empty_model(config))
    expected = {name.openai: name.openai_shape(shapes[name.ours]) for name in names}
    check_tensors(where, {name: tuple(shape) for name, shape in found.items()}, expected, _REMEDY)
    for name in expected:
        if dtypes[name] != tensorflow.float32:
            raise CheckpointError(f"{where} has '{name}' as {dtypes[name].name}, not as float32; {_REMEDY}.")
    size = sum(file.stat().st_size for file in folder.glob(f"{prefix.name}.data-*"))
    needed = 4 * sum(int(np.prod(shape)) for shape in expected.values())
    if size < needed:  # before memory is taken for what can't be there
        raise CheckpointError(f"{where} has {size:,} bytes of data, and its tensors need {needed:,}; {_REMEDY}.")
    for name in tqdm(names, desc="Reading OpenAI's checkpoint", unit="tensor", leave=False, delay=2):
        try:
            array = reader.get_tensor(name.openai)
        except Exception as error:
            raise CheckpointError(
                f"{where} is damaged where '{name.openai}' should be ({shorten(error)}); {_REMEDY}."
            ) from None
        yield name, array


def _checkpoint_prefix(folder: Path) -> Path:
    """What TensorFlow calls a checkpoint: the path of its files without their endings.

    The file `checkpoint` would name it too, but as a path that may lead anywhere.
    """
    indexes = sorted(folder.glob("*.index"))
    if not indexes:
        raise FileNotFoundError(
            f"The folder '{folder}' has no TensorFlow checkpoint (model.ckpt.index, model.ckpt.data-00000-of-00001); "
            "check the path, or give a size as '124M', which is downloaded."
        )
    chosen = folder / "model.ckpt.index"
    if chosen not in indexes:
        if len(indexes) > 1:
            raise CheckpointError(
                f"The folder '{folder}' has {len(indexes)} checkpoints ({indexes[0].name}, {indexes[1].name} …); leave "
                "the files of one in it."
            )
        chosen = indexes[0]
    return chosen.with_suffix("")


def _tensorflow():
    """The module, imported here and only here: it takes seconds and half a gigabyte."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its start would print a page about the processor
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # and that it may round differently; here it only reads
    try:
        import tensorflow
    except ImportError:
        raise CheckpointError(
            "OpenAI's checkpoints are TensorFlow's, and TensorFlow is not installed; run `pip install tensorflow`, or "
            'take the same weights from Hugging Face, with load_hf_gpt2("124M"), which needs none.'
        ) from None
    return tensorflow
