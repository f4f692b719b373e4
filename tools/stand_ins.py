"""Small random GPT-2s in the layout and under the names of the official ones, and a mirror that serves them.

`python -m tools.stand_ins FOLDER` writes them: FOLDER/124M/hparams.json ... as TensorFlow writes a checkpoint,
and FOLDER/openai-community/gpt2/config.json, model.safetensors as the Hub has them. Both sources have the same numbers.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.mirror import Mirror

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {"124M": (48, 4, 3), "355M": (64, 4, 4), "774M": (80, 5, 5), "1558M": (100, 5, 6)}
"""Width, heads and blocks: each a little larger than the one before, as the official ones are."""
REPOSITORIES = {"124M": "gpt2", "355M": "gpt2-medium", "774M": "gpt2-large", "1558M": "gpt2-xl"}
VOCAB, CONTEXT = 50257, 1024  # as the official ones, so that the tokenizer and prompts of a notebook fit

NOTEBOOKS = {"inference.ipynb", "inference_hf.ipynb", "07_pretrained_weights.ipynb"}
"""Those that download weights, or look for them."""


@contextlib.contextmanager
def served_to(home: Path, notebooks: list[str]) -> Iterator[None]:
    """While it lasts, and if one of the notebooks downloads weights, it gets stand-ins from a mirror on this machine.

    What is downloaded goes below `home`, Hugging Face's cache included, so that no stand-in is ever taken for the
    real one later. Nothing is imported by whoever calls this: TensorFlow is in a process of its own.
    """
    if not NOTEBOOKS & set(notebooks):
        yield
        return
    folder = home.resolve() / "stand_ins"
    command = [sys.executable, "-m", "tools.stand_ins", str(folder)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(f"The stand-ins for the official weights could not be made: {made.stderr[-2000:]}")
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    with Mirror(files) as mirror, _environment(variables_for(mirror.url, home)):
        yield
    shutil.rmtree(folder)


def variables_for(url: str, home: Path) -> dict[str, str]:
    """The environment in which both sources ask the mirror, and only it."""
    without_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1"]))
    return {
        "GPTLIB_OPENAI_URL": url,
        "GPTLIB_OPENAI_MIRROR": "",
        "HF_ENDPOINT": url,
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": without_proxy,
        "no_proxy": without_proxy,
    }


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


# What the child process does.


def random_weights(size: str) -> dict:
    """OpenAI's variables by their names, spread about as in a freshly made GPT-2, with biases that show."""
    import numpy as np

    width, _, blocks = SHAPES[size]
    rng = np.random.default_rng(int(size[:-1]))

    def normal(*shape, spread=0.02):
        return rng.normal(0, spread, shape).astype(np.float32)

    weights = {"wte": normal(VOCAB, width, spread=0.1), "wpe": normal(CONTEXT, width)}
    for prefix in (*(f"h{i}/{norm}/" for i in range(blocks) for norm in ("ln_1", "ln_2")), "ln_f/"):
        weights |= {f"{prefix}g": 1 + normal(width), f"{prefix}b": normal(width)}
    layers = {"attn/c_attn": (1, 3), "attn/c_proj": (1, 1), "mlp/c_fc": (1, 4), "mlp/c_proj": (4, 1)}
    for i in range(blocks):
        for name, (n_in, n_out) in layers.items():
            weights[f"h{i}/{name}/w"] = normal(1, n_in * width, n_out * width, spread=0.1)
            weights[f"h{i}/{name}/b"] = normal(n_out * width)
    return weights


def write_openai(folder: Path, size: str, weights: dict) -> None:
    """The seven files, the checkpoint by TensorFlow's own Saver."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow.compat.v1 as tf

    width, heads, blocks = SHAPES[size]
    folder.mkdir(parents=True)
    hparams = {"n_vocab": VOCAB, "n_ctx": CONTEXT, "n_embd": width, "n_head": heads, "n_layer": blocks}
    (folder / "hparams.json").write_text(json.dumps(hparams))
    (folder / "encoder.json").write_text('{"a stand-in": 0}')
    (folder / "vocab.bpe").write_text("#version: 0.2, a stand-in\n")
    with tf.Graph().as_default(), tf.Session() as session:
        for name, array in weights.items():  # loaded, and not initial values, which would be in the .meta again
            tf.Variable(tf.zeros(array.shape), name=f"model/{name}").load(array, session)
        tf.train.Saver().save(session, str(folder / "model.ckpt"))


def write_huggingface(folder: Path, size: str, weights: dict) -> None:
    """config.json and model.safetensors as on the Hub: no prefix "transformer.", and the masks h.0.attn.bias."""
    import numpy as np
    from safetensors.numpy import save_file

    width, heads, blocks = SHAPES[size]
    folder.mkdir(parents=True)
    tensors = {"wte.weight": weights["wte"], "wpe.weight": weights["wpe"]}
    for name, array in weights.items():
        if "/" not in name:
            continue
        path, kind = name.rsplit("/", 1)
        path = path.replace("/", ".").replace("h", "h.", 1) if path.startswith("h") else path
        tensors[f"{path}.{'bias' if kind == 'b' else 'weight'}"] = array[0] if kind == "w" else array
    mask = np.tril(np.ones((1, 1, CONTEXT, CONTEXT), np.float32))
    tensors |= {f"h.{i}.attn.bias": mask for i in range(blocks)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "vocab_size": VOCAB,
        "n_ctx": CONTEXT,
        "n_positions": CONTEXT,
        "n_embd": width,
        "n_head": heads,
        "n_layer": blocks,
        "layer_norm_epsilon": 1e-05,
        "initializer_range": 0.02,
        "attn_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "resid_pdrop": 0.1,
        "bos_token_id": VOCAB - 1,
        "eos_token_id": VOCAB - 1,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def main(folder: Path) -> None:
    for size, repository in REPOSITORIES.items():
        weights = random_weights(size)
        write_openai(folder / size, size, weights)
        write_huggingface(folder / "openai-community" / repository, size, weights)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
