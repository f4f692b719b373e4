"""Random GPT-2s of transformers, written as the files that people have: Hugging Face's folders, OpenAI's checkpoints.

The names of OpenAI's variables are written down here a second time, on purpose: what is tested is the table in gptlib.
"""

import json
import re
import struct
from pathlib import Path

import torch
from safetensors.torch import save_file

SHAPE = {"vocab_size": 97, "context_length": 64, "emb_dim": 24, "n_heads": 3, "n_layers": 2, "drop_rate": 0.0}
OFFICIAL = SHAPE | {"qkv_bias": True, "weight_tying": True}
IDS = torch.arange(0, 96, 3)[None] % 97


def relative_error(ours, theirs) -> float:
    """The largest difference as a share of the largest value."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@torch.no_grad()
def logits_of(theirs, ids=IDS):
    return theirs(ids).logits


def fifty_more(theirs):
    """The five first of IDS and the likeliest fifty behind them, by transformers."""
    prompt = IDS[:, :5]
    options = {"max_new_tokens": 50, "do_sample": False, "pad_token_id": 0}
    return theirs.generate(prompt, attention_mask=torch.ones_like(prompt), **options)


def save_folder(folder: Path, theirs, *, prefix=False, masks=False, head=False, shards=1, **config) -> Path:
    """The model as it lies on the Hub: by default without "transformer.", masks and the tied head."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, tensor in theirs.state_dict().items():
        if name == "lm_head.weight":
            if head:
                tensors[name] = tensor.clone()
            continue
        tensors[name if prefix else name.removeprefix("transformer.")] = tensor.contiguous().clone()
    if masks:
        for i in range(theirs.config.n_layer):
            n = theirs.config.n_positions
            place = f"{'transformer.' if prefix else ''}h.{i}.attn"
            tensors[f"{place}.bias"] = torch.ones(n, n).tril()[None, None]
            tensors[f"{place}.masked_bias"] = torch.tensor(-1e4)
    names = sorted(tensors)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        weight_map = {}
        for k in range(shards):
            file = f"model-{k + 1:05}-of-{shards:05}.safetensors"
            part = names[k::shards]
            save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(part, file)
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(theirs.config.to_dict() | config))
    return folder


def openai_variables(theirs) -> dict:
    """OpenAI's variables as NumPy arrays."""
    variables = {}
    for name, tensor in theirs.transformer.state_dict().items():
        name = re.sub(r"^h\.(\d+)\.", r"h\1/", name).replace(".", "/")
        if "ln_" in name:
            name = name.replace("weight", "g").replace("bias", "b")
        elif name in ("wte/weight", "wpe/weight"):
            name = name.removesuffix("/weight")
        else:
            tensor = tensor[None] if name.endswith("weight") else tensor  # a convolution's kernel of width 1
            name = name.replace("weight", "w").replace("bias", "b")
        variables[f"model/{name}"] = tensor.numpy()
    return variables


def write_openai(folder: Path, theirs, variables: dict | None = None, prefix="model.ckpt", **hparams) -> Path:
    """A folder in OpenAI's layout, the checkpoint written by TensorFlow's own Saver."""
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        kept = [
            tf.compat.v1.get_variable(name, initializer=tf.constant(array))
            for name, array in (variables if variables is not None else openai_variables(theirs)).items()
        ]
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(kept).save(session, str(folder / prefix))
    c = theirs.config
    numbers = {"n_vocab": c.vocab_size, "n_ctx": c.n_positions, "n_embd": c.n_embd, "n_head": c.n_head}
    (folder / "hparams.json").write_text(json.dumps(numbers | {"n_layer": c.n_layer} | hparams))
    return folder


def raw_safetensors(header: bytes | str, data: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header, true or not."""
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header) if length is None else length) + header + data
