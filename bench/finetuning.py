"""Fine-tuning GPT-2 124M: all weights against LoRA, ours and PEFT's, by peak memory and time of a step.

    python bench/finetuning.py [--batch 2] [--tokens 256] [--rank 8] [--layers 12] [--steps 6] [--rounds 2]

Random weights and tokens; a step is the forward pass, the backward pass, clipping and AdamW, as in training, in fp32
and in bf16 autocast. Each run is a process of its own, in turns; its memory is the most it ever held resident, which
PyTorch and the weights are part of. The first two steps warm up; medians of the others. PEFT takes part where it is
installed.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import torch
from _tables import save, table
from matplotlib import pyplot as plt
from torch import nn
from weights import peak_memory

from gptlib import plots
from gptlib.lora import TARGETS, LoRAConfig, add_lora, trainable_parameters
from gptlib.loss import batch_loss
from gptlib.model import GPT2_CONFIGS, GPTModel
from gptlib.ops.benchmark import describe, machine
from gptlib.ops.devices import autocast
from gptlib.training.optim import create_optimizer

WARM_UP = 2
PRECISIONS = ("fp32", "bf16")


def full(model: GPTModel, rank: int) -> nn.Module:
    return model


def lora(model: GPTModel, rank: int) -> nn.Module:
    return add_lora(model, LoRAConfig(rank=rank, alpha=2.0 * rank))


def peft_lora(model: GPTModel, rank: int) -> nn.Module:
    import peft

    return peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(TARGETS)))


WAYS = {"full": full, "LoRA": lora, "LoRA by PEFT": peft_lora}


def train_once(way: str, precision: str, options: argparse.Namespace) -> dict[str, float]:
    """In a process of its own: seconds of a step, peak memory in bytes, and how many parameters learn."""
    torch.manual_seed(0)
    model = WAYS[way](GPTModel(replace(GPT2_CONFIGS["124M"], n_layers=options.layers)), options.rank).train()
    learning = list(trainable_parameters(model).values())
    optimizer = create_optimizer(model, 1e-4, 0.1, (0.9, 0.95))
    ids = torch.randint(50257, (options.batch, options.tokens + 1))
    seconds = []
    for _ in range(WARM_UP + options.steps):
        start = time.perf_counter()
        with autocast(torch.device("cpu"), precision):
            loss = batch_loss(model, ids[:, :-1], ids[:, 1:]) / ids[:, 1:].numel()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    learn = sum(parameter.numel() for parameter in learning)
    return {"seconds": statistics.median(seconds[WARM_UP:]), "memory": peak_memory(), "learn": learn}


def compare(ways: list[str], options: argparse.Namespace) -> list[dict]:
    """A row for each way and precision, with what it takes as a share of full fine-tuning."""
    cases = [(way, precision) for precision in PRECISIONS for way in ways]
    found = {case: [] for case in cases}
    for _ in range(options.rounds):
        for case in cases:
            done = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--once", *case],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            found[case].append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        case: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for case, runs in found.items()
    }
    rows = []
    for (way, precision), took in medians.items():
        base = medians["full", precision]
        row = {"fine-tuning": way, "precision": precision, "parameters that learn": int(took["learn"])}
        row |= {"seconds a step": took["seconds"], "of full's time": took["seconds"] / base["seconds"]}
        row |= {"peak memory MB": took["memory"] / 1e6, "of full's memory": took["memory"] / base["memory"]}
        row["tokens a second"] = options.batch * options.tokens / took["seconds"]
        rows.append(row)
    return rows


def figure(rows: list[dict]):
    drawn, axes = plt.subplots(1, 2, figsize=(9.0, 2.9), layout="constrained")
    for ax, column in zip(axes, ("peak memory MB", "seconds a step"), strict=True):
        bars: dict[str, list[float]] = {}
        for row in rows:
            bars.setdefault(row["fine-tuning"], []).append(row[column])
        plots.plot_bar_groups(bars, PRECISIONS, ax, ylabel=column)
    drawn.suptitle("Fine-tuning GPT-2 124M")
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=2, help="rows of a batch")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of a row")
    parser.add_argument("--rank", type=int, default=8, help="LoRA's rank")
    parser.add_argument("--layers", type=int, default=12, help="blocks of the model; 124M has 12")
    parser.add_argument("--steps", type=int, default=6, help="steps of a run that are timed")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each, of which the median counts")
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        warnings.simplefilter("ignore")
        print(json.dumps(train_once(*options.once, options)))
        return
    found = machine()
    print(describe(found), "\n")
    ways = [way for way in WAYS if way != "LoRA by PEFT" or importlib.util.find_spec("peft")]
    rows = compare(ways, options)
    print(table(rows))
    setting = {name: value for name, value in vars(options).items() if name != "once"}
    save("finetuning", found, {"options": [setting], "training": rows}, figure(rows))


if __name__ == "__main__":
    main()
