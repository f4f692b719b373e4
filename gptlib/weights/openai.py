"""OpenAI's own files: the TensorFlow checkpoints that were published in 2019, read variable by variable.

TensorFlow is needed the first time only. What was read is kept beside the files as `converted.pth`.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptlib.checkpoints import empty_model
from gptlib.checkpoints.building import assign_parameters
from gptlib.model import GPTModel
from gptlib.utils.files import read_json
from gptlib.utils.folders import project_root
from gptlib.weights.converted import fingerprint, keep_converted, load_converted
from gptlib.weights.download import fetch_openai_files
from gptlib.weights.inference import for_inference
from gptlib.weights.names import Name, names_of
from gptlib.weights.settings import checked_settings
from gptlib.weights.sizes import check_size, find_folder, find_size
from gptlib.weights.tensorflow import read_hparams, read_variables


def load_openai_gpt2(
    size: str | Path,
    models_dir: str | Path | None = None,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    *,
    precision: str | None = None,
) -> GPTModel:
    """OpenAI's GPT-2 as a GPTModel in eval mode: "124M", "gpt2-small (124M)" …, or a folder in OpenAI's layout.

    models_dir: where the folders of the sizes are or go, model_weights/openai by default. What is missing there is
    downloaded. dtype: by default float32, as stored; the model can be trained. precision: "auto", "fp32", "bf16" or
    "int8" for a model to write with, at the best speed of that precision; its `.precision` says what "auto" took, and
    why. The first time TensorFlow is needed, and the result is kept as `converted.pth` in the folder; afterwards it is
    read from there.

    Raises ValueError for a size or a setting that there is not, DownloadError if the files can't be had,
    FileNotFoundError if the folder lacks its files, CheckpointError if they are damaged or no GPT-2, or TensorFlow is
    missing.
    """
    dtype, device = checked_settings(dtype, device, precision)
    model = load_converted(_local_folder(size, models_dir))
    if model is None:
        folder = openai_folder(size, models_dir)
        made_from = fingerprint(folder)  # before reading: what changes meanwhile makes the copy stale
        model = _read_model(folder)
        keep_converted(folder, model, made_from)
    return for_inference(model.to(device=device, dtype=dtype or torch.float32).eval(), precision)


def download_and_load_gpt2(
    size: str | Path, models_dir: str | Path | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings, params): hparams.json as a dict, and OpenAI's variables as NumPy arrays in a tree.

    params["wte"] (V, C), params["wpe"] (context, C), params["g"] and params["b"] (C,) of the final LayerNorm, and for
    each block, as params["blocks"][i]["attn"]["c_attn"]["w"], the weights of its parts as they are stored: c_attn
    (C, 3C), c_proj (C, C), mlp's c_fc (C, 4C) and c_proj (4C, C), each with its "b"; ln_1 and ln_2 with "g" and "b".

    The arguments and errors are those of `load_openai_gpt2`.
    """
    folder = openai_folder(size, models_dir)
    config = read_hparams(folder)
    params: dict[str, Any] = {"blocks": [{} for _ in range(config.n_layers)]}
    for name, array in read_variables(folder, config):
        *path, last = name.tree_path()
        node: Any = params
        for part in path:
            node = node[part] if isinstance(part, int) else node.setdefault(part, {})
        node[last] = array[0] if name.is_conv1d else array
    return read_json(folder / "hparams.json", "hparams"), params


@torch.no_grad()
def load_weights_into_gpt(model: GPTModel, params: dict[str, Any]) -> GPTModel:
    """Copy the tree of `download_and_load_gpt2` into a model of the same shape, and return the model.

    A model whose head is not tied gets the token embedding's weights there too, in a copy. Raises ValueError, naming
    the parameter, if the model has no place for one, or has it in another shape.
    """
    config = model.config
    if not config.qkv_bias:
        raise ValueError(
            "The model has qkv_bias=False, and GPT-2's queries, keys and values have biases that would be lost; make "
            'it with qkv_bias=True, as GPTModel(GPT2_CONFIGS["124M"]).'
        )
    if config.positions != "learned":
        raise ValueError(
            f"The model has positions={config.positions!r}, and GPT-2's are learned; make it with positions='learned'."
        )
    blocks = params.get("blocks") if isinstance(params, dict) else None
    if not isinstance(blocks, list) or len(blocks) != config.n_layers:
        count = f"{len(blocks)} blocks" if isinstance(blocks, list) else "no blocks"
        raise ValueError(
            f"The params have {count} and the model has n_layers={config.n_layers}; make the model with the numbers "
            "of settings."
        )
    parameters = dict(model.named_parameters(remove_duplicate=False))
    pairs = [(name, _tensor_of(params, name)) for name in names_of(config).parameters(config) if name.openai]
    for name, tensor in pairs:  # all are looked at before the first is copied
        if tensor.shape != parameters[name.ours].shape:
            raise ValueError(
                f"The params have {name.openai} as {tuple(tensor.shape)}, and the model's {name.ours} is "
                f"{tuple(parameters[name.ours].shape)}; make the model with the numbers of settings."
            )
    for name, tensor in pairs:
        parameters[name.ours].copy_(tensor)
    if not config.weight_tying:
        parameters["output_head.weight"].copy_(parameters["token_embedding.weight"])
    return model


def _tensor_of(params: dict[str, Any], name: Name) -> Tensor:
    """The array of the tree as a tensor of our orientation, without a copy."""
    node: Any = params
    try:
        for part in name.tree_path():
            node = node[part]
        return name.transposed(torch.as_tensor(node))
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError):
        path = "".join(f"[{part!r}]" for part in name.tree_path())
        raise ValueError(f"The params have no array at params{path}; load them with download_and_load_gpt2.") from None


def openai_folder(size: str | Path, models_dir: str | Path | None = None) -> Path:
    """The folder with OpenAI's files: of a size, downloaded if need be, or the given one, which must have them."""
    if find_size(size) is None and (folder := find_folder(size)):
        return folder
    return fetch_openai_files(check_size(size), None if models_dir is None else Path(models_dir))


def _local_folder(size: str | Path, models_dir: str | Path | None) -> Path:
    """Where the folder of a size is, or would be; a given folder as it is."""
    if find_size(size) is None and (folder := find_folder(size)):
        return folder
    base = Path(models_dir) if models_dir is not None else project_root() / "model_weights" / "openai"
    return base / check_size(size)


def _read_model(folder: Path) -> GPTModel:
    """The checkpoint as a model in float32: one variable after another, so that no more than the weights is held."""
    model = empty_model(read_hparams(folder))
    variables = read_variables(folder, model.config)

    def read(expected: str) -> Tensor:
        name, array = next(variables)
        assert name.ours == expected
        tensor = torch.from_numpy(array)
        return name.transposed(tensor[0]).contiguous() if name.is_conv1d else tensor

    return assign_parameters(model, read, [name.ours for name in names_of(model.config).parameters(model.config)])
