"""Loading GPT-2's official shapes at every door, beside transformers: seconds, peak memory, and equal results.

    python bench/weights.py [SIZE ...]        default: 124M; 1558M takes 20 GB of disk and of memory for a while

The weights are random, in the true layout: a TensorFlow checkpoint, model.safetensors and a checkpoint of ours. Each
load is a process of its own; its memory is the most it ever held resident, mapped files counted, less what it held
before loading; "of the weights" compares it with what the model's numbers take in that precision. "logits" is the
largest difference from those of transformers in fp32, as a share of the largest of them.
"""

import json
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import psutil
import torch

from gptlib.checkpoints import save_checkpoint
from gptlib.generation import generate
from gptlib.model import GPT2_CONFIGS, GPTModel
from gptlib.weights import load_hf_gpt2, load_model, load_openai_gpt2
from gptlib.weights.export import export_to_huggingface
from gptlib.weights.names import names_of
from gptlib.weights.tensorflow import NUMBERS

IDS = torch.arange(0, 50000, 781)[None]  # (1, 65)
PROMPT = IDS[:, 10:20]


def load_transformers(folder: Path, **options):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, **options)


PRECISIONS = ("fp32", "bf16", "int8")
BYTES = {"fp32": 4, "bf16": 2, "int8": 1}
DOORS = {
    "Hugging Face": lambda folders, **options: load_hf_gpt2(folders / "hf", **options),
    "OpenAI": lambda folders, **options: load_openai_gpt2(folders / "openai", **options),
    "checkpoint": lambda folders, **options: load_model(folders / "model.pth", **options).model,
}
SOURCES = {
    "transformers": ("fp32", lambda folders: load_transformers(folders / "hf")),
    "transformers, dtype bf16": ("bf16", lambda folders: load_transformers(folders / "hf", dtype=torch.bfloat16)),
    "OpenAI, first time": ("fp32", lambda folders: load_openai_gpt2(folders / "openai")),
    **{f"{name}, as stored": ("fp32", door) for name, door in DOORS.items()},
    "Hugging Face, dtype bf16": ("bf16", lambda folders: load_hf_gpt2(folders / "hf", dtype="bf16")),
    **{
        f"{name}, {precision}": (precision, partial(door, precision=precision))
        for name, door in DOORS.items()
        for precision in PRECISIONS
    },
}
"""What is loaded: in which precision, and how."""


@torch.no_grad()
def load_once(source: str, folders: Path) -> None:
    """In a process of its own: load, compute the first logits, and print what it took."""
    if source.startswith("transformers"):
        import transformers

        transformers.AutoModelForCausalLM, transformers.GPT2LMHeadModel  # noqa: B018 - they are imported on first use
        transformers.utils.logging.disable_progress_bar()
    if source == "OpenAI, first time":
        import tensorflow as tf

        tf.train.load_checkpoint  # noqa: B018 - likewise; what TensorFlow itself takes is not counted
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    model = SOURCES[source][1](folders)
    loaded = time.perf_counter() - start
    logits = model(IDS)
    took = {"load": loaded, "first": time.perf_counter() - start, "memory": peak_memory() - before}
    if source.startswith("transformers"):
        mask = torch.ones_like(PROMPT)
        tokens = model.generate(PROMPT, attention_mask=mask, max_new_tokens=50, do_sample=False, eos_token_id=None)
        logits = logits.logits
    else:
        tokens = generate(model, PROMPT, 50, temperature=0)
    torch.save({"logits": logits.float(), "tokens": tokens}, folders / "result.pt")
    print(json.dumps(took))


def peak_memory() -> int:
    """The most bytes that this process has held resident."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def make_folders(size: str, folders: Path) -> int:
    """Write the same random model for transformers, as OpenAI and as we do; the number of its weights."""
    torch.manual_seed(0)
    model = GPTModel(GPT2_CONFIGS[size])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the model has no tokenizer
        export_to_huggingface(model, folders / "hf")
    (folders / "openai").mkdir()
    save_checkpoint(folders / "model.pth", model)
    hparams = {theirs: model.config[ours] for ours, theirs in NUMBERS.items()}
    (folders / "openai" / "hparams.json").write_text(json.dumps(hparams))
    write_checkpoint(model, folders / "openai" / "model.ckpt")
    return model.parameter_count()


def write_checkpoint(model: GPTModel, prefix: Path) -> None:
    """As tf.compat.v1.train.Saver does, but in parts that are merged: a graph of all the weights would be too large."""
    import tensorflow as tf

    parameters, names = dict(model.named_parameters()), names_of(model.config).parameters(model.config)
    parts = []
    for start in range(0, len(names), 48):
        part = names[start : start + 48]
        arrays = [parameters[name.ours].detach() for name in part]
        arrays = [a.t()[None] if name.is_conv1d else a for name, a in zip(part, arrays, strict=True)]
        parts.append(f"{prefix}_part{start}")
        texts = [name.openai for name in part]
        tf.raw_ops.SaveV2(
            prefix=parts[-1],
            tensor_names=texts,
            shape_and_slices=[""] * len(part),
            tensors=[tf.constant(a.contiguous().numpy()) for a in arrays],
        )
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(prefix), delete_old_dirs=False)


def compare(size: str) -> None:
    with tempfile.TemporaryDirectory(prefix="gptlib-bench-") as folder:
        folders = Path(folder)
        # A process of its own: TensorFlow and the model would stay in memory, and crowd the files out of its cache.
        count = int(run_self("--make", size, folder))
        print(f"\n{size}: {4 * count / 1e9:.2f} GB in fp32; load average {psutil.getloadavg()[0]:.1f}")
        print(f"{'':<26}     load   + first logits   peak memory   of the weights    logits  50 tokens")
        reference = None
        for source, (precision, _) in SOURCES.items():
            took = json.loads(run_self("--load", source, folder))
            result = torch.load(folders / "result.pt")
            reference = result if reference is None else reference
            logits, expected = result["logits"], reference["logits"]
            off = ((logits - expected).abs().max() / expected.abs().max()).item()
            same = "same" if torch.equal(result["tokens"], reference["tokens"]) else "other"
            share = took["memory"] / (count * BYTES[precision])
            print(
                f"{source:<26}{took['load']:>7.2f} s{took['first']:>15.2f} s{took['memory'] / 1e9:>11.2f} GB"
                f"{share:>16.2f}x{off:>10.1e}{same:>11}"
            )


def run_self(*arguments: str) -> str:
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--make", size, folder]:
            print(make_folders(size, Path(folder)))
        case ["--load", source, folder]:
            load_once(source, Path(folder))
        case sizes:
            for size in sizes or ["124M"]:
                compare(size)
