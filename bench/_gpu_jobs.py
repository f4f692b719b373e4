"""The jobs of gpu.py: each gets a Place and its arguments, and returns rows of results.

A row with a "problem" says what went wrong, what can't be had here ("needs CUDA: …", "too large: …"), or what was found
to be wrong.
"""

import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gptlib.checkpoints import last_path, load_checkpoint
from gptlib.datasets import create_dataloader
from gptlib.generation import generate
from gptlib.generation.quantization import with_precision
from gptlib.model import GPT2_CONFIGS, GPTConfig, GPTModel
from gptlib.ops.devices import autocast, peak_flops, synchronize
from gptlib.training import TrainingConfig, TrainingError, train
from gptlib.training.resume import load_training_state

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a job runs, and whether at tiny size."""

    name: str
    toy: bool = False

    @property
    def device(self) -> torch.device:
        return torch.device(self.name)

    @property
    def config_124m(self) -> GPTConfig:
        """GPT-2 124M, without dropout; its vocabulary is a multiple of 64, as nanoGPT's is."""
        config = replace(GPT2_CONFIGS["124M"], vocab_size=50304, drop_rate=0.0)
        return self.tiny(config)

    def tiny(self, config: GPTConfig) -> GPTConfig:
        """The config, or a toy of its kind."""
        sizes = {"vocab_size": 256, "context_length": 32, "emb_dim": 32, "n_heads": 2, "n_layers": 2}
        return replace(config, **sizes) if self.toy else config

    def started(self) -> float:
        """The time, when the device has done all that was asked of it."""
        synchronize(self.device)
        return time.perf_counter()

    def peak_gb(self) -> float | None:
        """The most memory that the process has held on the GPU."""
        return torch.cuda.max_memory_allocated() / 1e9 if self.name == "cuda" else None


def training(place: Place, who: str, compiled: bool, batch: int, nanogpt: str = "") -> list[Row]:
    """Training 124M in bf16: tokens a second, share of the GPU's peak, memory."""
    if compiled and place.name == "cpu":
        return [{"problem": "needs CUDA: compiling takes half a minute on a CPU"}]
    measure = _train_gptlib if who == "gptlib" else _train_nanogpt
    config, batch, interval = place.config_124m, 2 if place.toy else batch, 2 if place.toy else 10
    n = batch * config.context_length
    tokens = np.random.default_rng(0).integers(0, min(config.vocab_size, 50257), 4 * interval * n + 1, dtype=np.uint16)
    start = time.perf_counter()
    try:
        row = measure(place, config, tokens, compiled, batch, interval, *([nanogpt] if nanogpt else []))
    except (torch.OutOfMemoryError, TrainingError) as error:
        return [{"problem": f"too large: {error}"}]
    peak = peak_flops(place.device, "bf16")
    mfu = 100 * row["tok/s"] * GPTModel(config).flops_per_token() / peak if peak else None
    return [row | {"MFU %": mfu, "peak GB": place.peak_gb(), "seconds in all": time.perf_counter() - start}]


def _train_gptlib(
    place: Place, config: GPTConfig, tokens: np.ndarray, compiled: bool, batch: int, interval: int
) -> Row:
    """By `train`, as `gptlib train` does it."""
    torch.manual_seed(0)
    loader = create_dataloader(tokens, batch_size=batch, context_length=config.context_length)
    options = TrainingConfig(
        max_steps=3 * interval,
        eval_interval=interval,
        eval_batches=1,
        sample_prompt=None,
        learning_rate=6e-4,
        warmup_steps=10,
        betas=(0.9, 0.95),
        precision="bf16",
        compile=compiled,
        device=place.name,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "torch.compile does not work")  # or the figure would be the plain model's
        rows = train(GPTModel(config), loader, config=options, verbose=False).rows
    first, last = rows[1], rows[-1]  # the first interval warms up
    speed = (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])
    return {"tok/s": speed, "first loss": rows[0]["train_loss"], "last loss": last["train_loss"]}


def _train_nanogpt(
    place: Place, config: GPTConfig, tokens: np.ndarray, compiled: bool, batch: int, interval: int, folder: str
) -> Row:
    """nanoGPT's model and optimizer, in the loop of its train.py without anything around it."""
    import sys

    sys.path.insert(0, folder)
    from model import GPT
    from model import GPTConfig as Shape

    torch.manual_seed(0)
    sizes = {"n_layer": config.n_layers, "n_head": config.n_heads, "n_embd": config.emb_dim}
    shape = Shape(block_size=config.context_length, vocab_size=config.vocab_size, dropout=0.0, bias=True, **sizes)
    model = GPT(shape).to(place.device)
    optimizer = model.configure_optimizers(0.1, 6e-4, (0.9, 0.95), place.name)
    forward, n = torch.compile(model) if compiled else model, batch * config.context_length

    def step(k: int) -> Tensor:
        ids = torch.from_numpy(tokens[k * n : (k + 1) * n + 1].astype(np.int64))
        ids = ids.pin_memory() if place.name == "cuda" else ids
        x, y = (t.view(batch, -1).to(place.device, non_blocking=True) for t in (ids[:-1], ids[1:]))
        with autocast(place.device, "bf16"):
            loss = forward(x, y)[1]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    losses = [step(k) for k in range(interval)]
    start = place.started()
    losses += [step(k) for k in range(interval, 3 * interval)]
    speed = 2 * interval * n / (place.started() - start)
    return {"tok/s": speed, "first loss": losses[0].item(), "last loss": losses[-1].item()}


def decoding(place: Place, who: str) -> list[Row]:
    """Greedy decoding of 124M in bf16 after a prompt of 32 tokens."""
    config, n_new = place.config_124m, 8 if place.toy else 256
    write = (_gptlib_writer if who == "gptlib" else _transformers_writer)(place, config, n_new)
    rows = []
    for batch in (1, 8) if place.toy else (1, 8, 64):
        ids = torch.randint(config.vocab_size, (batch, 16 if place.toy else 32)).to(place.device)
        start = place.started()
        for _ in range(2):  # compiles, captures and warms up
            write(ids)
        warm, seconds = place.started(), []
        for _ in range(3):
            start_of_run = place.started()
            assert write(ids).shape == (batch, ids.shape[1] + n_new)
            seconds.append(place.started() - start_of_run)
        best = sorted(seconds)[1]
        row = {"batch": batch, "tok/s": batch * n_new / best, "ms a token": 1000 * best / n_new}
        rows.append(row | {"seconds to warm up": warm - start, "peak GB": place.peak_gb()})
    return rows


def _gptlib_writer(place: Place, config: GPTConfig, n_new: int) -> Callable[[Tensor], Tensor]:
    model, _ = with_precision(GPTModel(config).to(place.device).eval(), "bf16")
    return lambda ids: generate(model, ids, n_new, temperature=0)


def _transformers_writer(place: Place, config: GPTConfig, n_new: int) -> Callable[[Tensor], Tensor]:
    """Its `generate` with the static cache, which it compiles the model for on a GPU."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": config.emb_dim, "n_head": config.n_heads, "n_layer": config.n_layers}
    shape = GPT2Config(vocab_size=config.vocab_size, n_positions=config.context_length, **sizes)
    model = GPT2LMHeadModel(shape).to(place.device, torch.bfloat16).eval()
    model.generation_config.eos_token_id = None  # no sequence ends before it has all its tokens
    options = {"max_new_tokens": n_new, "do_sample": False, "cache_implementation": "static", "pad_token_id": 0}
    return lambda ids: model.generate(ids, attention_mask=torch.ones_like(ids), **options)


def tokens(place: Place) -> list[Row]:
    """Whether greedy decoding in fp32 writes the same tokens as on the CPU, from prompts of several lengths."""
    torch.manual_seed(0)
    models = {"124M, random": GPTModel(place.config_124m).eval()}
    trained = ROOT / "model_weights" / "tales.pth"
    if trained.is_file():
        models["tales.pth"] = load_checkpoint(trained).model
    rows = []
    for name, model in models.items():
        n_new = 8 if place.toy else 64
        ids, pad_lengths = torch.randint(model.config.vocab_size, (3, 12)), torch.tensor([0, 5, 9])
        for pads in (None, pad_lengths):
            found = [
                generate(model.to(device), ids, n_new, temperature=0, pad_lengths=pads).cpu()
                for device in ("cpu", place.device)
            ]
            different = (found[0] != found[1]).nonzero()
            row = {"model": name, "prompts": "as long" if pads is None else "padded", "tokens": found[0].numel()}
            row |= {"other device": place.name, "the same": bool(different.numel() == 0)}
            if different.numel():
                row["problem"] = f"other tokens from row {different[0, 0]}, position {different[0, 1]} on"
            rows.append(row)
    return rows


def _bytes_of_the_text() -> np.ndarray:
    """The workbook's text, a token a byte: no tokenizer, and something to learn."""
    return np.frombuffer((ROOT / "data" / "input.txt").read_bytes(), dtype=np.uint8)


class StoppedError(Exception):
    """Stands for a killed run: nothing but its files is left."""


def _stop_at(step: int) -> Callable[[Any], None]:
    def stop(history: Any) -> None:
        if history.rows[-1]["step"] == step:
            raise StoppedError

    return stop


def fp16(place: Place) -> list[Row]:
    """fp16 with loss scaling: the loss falls, the scaler is saved, and a resumed run goes on with it."""
    shape = place.tiny(GPTConfig(vocab_size=256, context_length=256, emb_dim=384, n_heads=6, n_layers=6))
    steps = 40 if place.toy else 200
    options = TrainingConfig(
        max_steps=steps,
        eval_interval=steps // 2,
        eval_batches=2,
        sample_prompt=None,
        warmup_steps=10,
        precision="fp16",
        device=place.name,
    )
    loader = create_dataloader(
        _bytes_of_the_text(), batch_size=4 if place.toy else 32, context_length=shape.context_length
    )
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "gpt.pth"
        try:
            train(GPTModel(shape), loader, config=options, out=out, on_evaluation=_stop_at(steps // 2), verbose=False)
        except StoppedError:
            saved = load_training_state(last_path(out))["training"]["scaler"]
        history = train(GPTModel(shape), loader, config=options, resume=last_path(out), verbose=False)
        final = load_training_state(last_path(out))["training"]["scaler"]
    first, last = history.rows[0]["train_loss"], history.rows[-1]["train_loss"]
    grown = saved["_growth_tracker"] if final["scale"] == saved["scale"] else None
    row = {"first loss": first, "last loss": last, "scale, saved": saved["scale"], "scale, last": final["scale"]}
    row |= {"clean steps, saved": saved["_growth_tracker"], "clean steps, last": final["_growth_tracker"]}
    if last > 0.9 * first:
        row["problem"] = "the loss has not fallen by a tenth"
    elif grown is not None and final["_growth_tracker"] != grown + steps // 2:
        row["problem"] = "the resumed run has not gone on from the scaler that was saved"
    return [row]


def resuming(place: Place, compiled: bool) -> list[Row]:
    """A run of 20 steps in bf16 with dropout, twice, and stopped at 10 and resumed: are they equal to the last bit?

    Where PyTorch's own kernels add in an order of chance, two whole runs differ already; then it is tried again with
    its deterministic ones.
    """
    if compiled and place.name == "cpu":
        return [{"problem": "needs CUDA: compiling takes half a minute on a CPU"}]
    rows = [_resumed(place, compiled, deterministic=False)]
    if not rows[0]["whole, again"] or not rows[0]["resumed"]:
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            rows.append(_resumed(place, compiled, deterministic=True))
        finally:
            torch.use_deterministic_algorithms(False)
    if not any(row["resumed"] for row in rows):
        rows[-1]["problem"] = "not equal, even where each kernel is deterministic"
    return rows


def _resumed(place: Place, compiled: bool, deterministic: bool) -> Row:
    shape = GPTConfig(vocab_size=50304, emb_dim=384, n_heads=6, n_layers=6, drop_rate=0.1, weight_tying=True)
    shape = place.tiny(shape)
    steps = 6 if place.toy else 20
    options = TrainingConfig(
        max_steps=steps,
        eval_interval=steps // 2,
        eval_batches=1,
        sample_prompt=None,
        precision="bf16",
        compile=compiled,
        device=place.name,
    )
    loader = create_dataloader(_bytes_of_the_text(), batch_size=8, context_length=shape.context_length)

    def new() -> GPTModel:
        torch.manual_seed(1)
        return GPTModel(shape)

    found = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("error", "torch.compile does not work")
        for name in ("whole", "whole, again", "resumed"):
            model, out = new(), Path(folder) / "gpt.pth"
            if name == "resumed":
                stop = _stop_at(steps // 2)
                try:
                    train(new(), loader, config=options, out=out, on_evaluation=stop, verbose=False)
                except StoppedError:
                    options_now = {"resume": last_path(out)}
            else:
                options_now = {}
            history = train(model, loader, config=options, verbose=False, **options_now)
            found[name] = history.step_losses, {n: t.cpu() for n, t in model.state_dict().items()}
    return {"kernels": "deterministic" if deterministic else "as they are"} | _differences(found)


def _differences(found: dict[str, tuple[list[float], dict[str, Tensor]]]) -> Row:
    """Whether the weights and losses of each run are the first's, and if not, since which step and by how much."""
    losses, weights = found["whole"]
    row: Row = {}
    for name, (its_losses, its_weights) in list(found.items())[1:]:
        largest = max((its_weights[n] - t).abs().max().item() for n, t in weights.items())
        row[name] = its_losses == losses and largest == 0
        if not row[name]:
            steps = (k + 1 for k, (a, b) in enumerate(zip(losses, its_losses, strict=True)) if a != b)
            row[f"{name}: first other loss"] = next(steps, None)
            row[f"{name}: largest difference"] = f"{largest:.1e}"
    return row
