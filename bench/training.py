"""GPT-2 124M training, beside nanoGPT's model and transformers': tokens a second, memory, and share of the machine.

    python bench/training.py [--nanogpt FOLDER] [--rounds 2] [--steps 2] [--losses 50] [--device cuda --compile]

Every run is a process of its own, in turns, with memory of its own: random weights, 2 x 1024 random tokens a
step, AdamW in one kernel for all. gptlib runs as its users run it, by `train`; the others in the plainest of loops.
nanoGPT takes part where FOLDER holds its model.py. --losses compares the losses of bf16 and fp32 on real text.
On a GPU: `python bench/training.py --device cuda --compile --batch 16 --steps 20 --nanogpt FOLDER`.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _tables import save, table

from gptlib import plots
from gptlib.datasets import batches_from, create_dataloader
from gptlib.model import GPT2_CONFIGS, GPTModel
from gptlib.ops.benchmark import describe, machine
from gptlib.ops.devices import autocast, peak_flops, pick_device, synchronize
from gptlib.tokenizers import load_tokenizer
from gptlib.training import TrainingConfig, train
from gptlib.utils.folders import project_root

CONTEXT = 1024
VOCABULARY = {"cpu": 50257, "cuda": 50304}  # a GPU's kernels like multiples of 64; nanoGPT always has the larger one


def config_of(device: str) -> dict:
    return GPT2_CONFIGS["124M"].to_dict() | {"drop_rate": 0.0, "vocab_size": VOCABULARY[device]}


def random_tokens(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 50257, n, dtype=np.uint16)


def ours(options, tokens: np.ndarray) -> dict:
    """The seconds and losses of each step of `train`."""
    torch.manual_seed(0)
    model = GPTModel(config_of(options.device))
    steps = options.steps + 1
    loader = create_dataloader(tokens, batch_size=options.batch, context_length=CONTEXT)
    config = TrainingConfig(
        max_steps=steps,
        eval_interval=1,
        eval_batches=1,
        sample_prompt=None,
        learning_rate=6e-4,
        warmup_steps=10,
        lr_schedule="constant",
        precision=options.precision,
        compile=options.compile,
        activation_checkpointing=options.activation_checkpointing,
        device=options.device,
    )
    history = train(model, loader, config=config, verbose=False)
    seconds = [options.batch * CONTEXT / row["tokens_per_second"] for row in history.rows[2:]]  # the first warms up
    return {"seconds": seconds, "losses": history.step_losses}


def theirs(options, tokens: np.ndarray) -> dict:
    """The same for another model: nanoGPT's or transformers'."""
    device = torch.device(options.device)
    if options.who == "nanoGPT":
        sys.path.insert(0, str(options.nanogpt))
        from model import GPT, GPTConfig

        model = GPT(GPTConfig(block_size=CONTEXT, vocab_size=50304, dropout=0.0, bias=True)).to(device)
        call = torch.compile(model) if options.compile else model

        def loss_of(x, y):
            return call(x, y)[1]
    else:
        from transformers import GPT2Config, GPT2LMHeadModel

        shape = {"vocab_size": VOCABULARY[options.device], "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        model = GPT2LMHeadModel(GPT2Config(**shape)).to(device)
        call = torch.compile(model) if options.compile else model

        def loss_of(x, y):
            logits = call(x).logits
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), y.flatten())

    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    seconds = []
    for k in range(options.steps + 1):
        at = k * options.batch * CONTEXT
        chunk = torch.from_numpy(tokens[at : at + options.batch * CONTEXT + 1].astype(np.int64)).to(device)
        x, y = chunk[:-1].view(options.batch, CONTEXT), chunk[1:].view(options.batch, CONTEXT)
        start = time.perf_counter()
        with autocast(device, options.precision):
            loss = loss_of(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[1:]}


def work(options) -> None:
    """What a process of its own does: one run, its figures as JSON on the last line."""
    if options.plain:
        from gptlib import loss as losses

        losses.MANY_LOGITS = math.inf
    tokens = random_tokens((options.steps + 2) * options.batch * CONTEXT + 1)
    if options.text:
        text = (project_root() / "data" / "input.txt").read_text(encoding="utf-8")
        tokens = np.array(load_tokenizer("gpt2").encode(text), dtype=np.uint16)
    figures = (ours if options.who == "gptlib" else theirs)(options, tokens)
    figures["GB"] = peak_memory(options.device)
    print(json.dumps(figures))


def peak_memory(device: str) -> float:
    """The most memory that this process, or the GPU for it, has held, in GB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    import resource  # Linux and Macs have it, Windows has not

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def run(options, who: str, precision: str, *extra: str, steps: int | None = None) -> dict:
    """The figures of one run in a process of its own."""
    command = [sys.executable, __file__, "--who", who, "--precision", precision, "--device", options.device]
    command += ["--batch", str(options.batch), "--steps", str(steps or options.steps), *extra]
    command += ["--compile"] * options.compile + (["--nanogpt", str(options.nanogpt)] if options.nanogpt else [])
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def steps(options, peers: list[str], found: dict) -> list[dict]:
    """Tokens a second and memory of all, by precision."""
    model = GPTModel(config_of(options.device))
    device, rows = pick_device(options.device), []
    for precision in ("bf16",) if options.device == "cuda" else ("fp32", "bf16"):
        runs = {who: [] for who in ("gptlib", *peers)}
        for _ in range(options.rounds):
            for who, results in runs.items():
                results.append(run(options, who, precision))
        tokens = options.batch * CONTEXT
        speed = {
            who: tokens / statistics.median(s for r in results for s in r["seconds"]) for who, results in runs.items()
        }
        peak = 1e9 * found[f"{precision}_GFLOP_s"] if options.device == "cpu" else peak_flops(device, precision)
        row = {
            "124M, a step": precision,
            "gptlib tok/s": speed["gptlib"],
            "gptlib GB": max(r["GB"] for r in runs["gptlib"]),
        }
        for who in peers:
            row |= {f"{who} tok/s": speed[who], f"x {who}": speed["gptlib"] / speed[who]}
            row |= {f"{who} GB": max(r["GB"] for r in runs[who])}
        rows.append(row | {"MFU %": 100 * speed["gptlib"] * model.flops_per_token() / peak if peak else None})
        print(table([row]), flush=True)
    return rows


def memory(options) -> list[dict]:
    """The peak of one step with and without what saves memory, in bf16."""
    kinds = {
        "all logits at once": ["--plain"],
        "loss in chunks": [],
        "chunks and activation checkpointing": ["--activation-checkpointing"],
    }
    rows = []
    for name, extra in kinds.items():
        figures = run(options, "gptlib", "bf16", *extra)
        rows.append({"gptlib, bf16": name, "GB": figures["GB"], "s a step": statistics.median(figures["seconds"])})
    return rows


def loading(rows: list[dict], options) -> list[dict]:
    """How long a step waits for its data."""
    loader = create_dataloader(random_tokens(2_000_000), batch_size=options.batch, context_length=CONTEXT)
    batches, n = batches_from(loader, 0, 0), 100
    next(batches)
    start = time.perf_counter()
    for _ in range(n):
        next(batches)
    fetch = (time.perf_counter() - start) / n
    step = options.batch * CONTEXT / max(row["gptlib tok/s"] for row in rows)
    return [{"data": "one batch, no workers", "ms": 1000 * fetch, "% of a step": 100 * fetch / step}]


def losses(options) -> list[dict]:
    """The losses of the same steps on real text in bf16 and in fp32."""
    found = {p: run(options, "gptlib", p, "--text", steps=options.losses - 1)["losses"] for p in ("fp32", "bf16")}
    pairs = list(zip(found["fp32"], found["bf16"], strict=True))
    return [
        {"step": k + 1, "fp32": a, "bf16": b, "off by %": 100 * (b / a - 1)}
        for k, (a, b) in enumerate(pairs)
        if k % 10 == 9 or k == 0
    ] + [{"step": "largest", "off by %": max(100 * abs(b / a - 1) for a, b in pairs)}]


def figure(rows: list[dict], peers: list[str]):
    bars = {who: [row[f"{who} tok/s"] for row in rows] for who in ("gptlib", *peers)}
    labels = [row["124M, a step"] for row in rows]
    return plots.plot_bar_groups(bars, labels, ylabel="tokens a second", title="GPT-2 124M, training")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--nanogpt", type=Path, default=os.environ.get("BENCH_NANOGPT"), help="a folder with nanoGPT's model.py"
    )
    parser.add_argument("--rounds", type=int, default=2, help="runs of each, in turns")
    parser.add_argument("--steps", type=int, default=2, help="steps of a run that count, after one to warm up")
    parser.add_argument("--losses", type=int, default=0, help="also compare the losses of so many steps (slow)")
    parser.add_argument("--batch", type=int, default=2, help="texts of 1024 tokens in a step")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--compile", action="store_true", help="all with torch.compile")
    for name in ("--who", "--precision"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--plain", "--activation-checkpointing", "--text"):
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.who:
        return work(options)
    found = machine()
    print(describe(found), "\n")
    peers = ["nanoGPT", "transformers"] if options.nanogpt else ["transformers"]
    tables = {"steps": steps(options, peers, found)}
    tables["memory"] = memory(options)
    tables["data"] = loading(tables["steps"], options)
    if options.losses:
        tables["losses"] = losses(options)
    print("\n", *(f"\n{table(rows)}\n" for rows in tables.values()), sep="")
    name = "training" + ("_gpu" if options.device == "cuda" else "") + ("_compiled" if options.compile else "")
    save(name, found, tables, figure(tables["steps"], peers))
    return None


if __name__ == "__main__":
    main()
