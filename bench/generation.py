"""GPT-2 124M writing, beside transformers and CTranslate2: tokens a second, and each as a share of the machine's limit.

    python bench/generation.py [--tokens 128 512] [--rounds 3] [--ctranslate2 FOLDER]

The same random weights for all, each in a process of its own, a prompt of 16 tokens, top-k 50; runs in turns, medians.
CTranslate2 takes part where it is installed, or in FOLDER (`pip install --target FOLDER ctranslate2`). The limit is
what the matmuls alone would take by the fastest kernel, without attention, sampling or Python.
"""

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from _processes import Process, in_turns
from _tables import save, table
from torch import Tensor

from gptlib import plots
from gptlib.checkpoints import load_checkpoint
from gptlib.datasets import create_dataloader
from gptlib.evaluation import evaluate_loss
from gptlib.generation import generate, generate_tokens
from gptlib.generation.quantization import PackedLinear, QuantizedLinear, with_precision
from gptlib.model import GPT2_CONFIGS, GPTModel
from gptlib.ops.backend import KERNELS, Backend, pin_kernel, use_backend
from gptlib.ops.benchmark import describe, machine
from gptlib.ops.linear import Linear
from gptlib.utils.folders import project_root
from gptlib.weights.export import export_to_huggingface

PROMPT = 16
TOP_K = 50
PRECISIONS = ("fp32", "bf16", "int8")


def ids_of(batch: int, n: int) -> Tensor:
    return torch.randint(50257, (batch, n), generator=torch.Generator().manual_seed(batch))


class Ours:
    """gptlib in three precisions."""

    def __init__(self):
        torch.manual_seed(0)
        model = GPTModel(GPT2_CONFIGS["124M"]).eval()
        self.models = {precision: with_precision(model, precision)[0] for precision in PRECISIONS}

    def export(self, folder: Path) -> None:
        export_to_huggingface(self.models["fp32"], folder)

    def writing(self, precision: str, batch: int, n: int) -> Callable[[], object]:
        return lambda: generate(self.models[precision], ids_of(batch, PROMPT), n, top_k=TOP_K)

    def reading(self, precision: str) -> Callable[[], object]:
        model, ids = self.models[precision], ids_of(1, 1024)

        @torch.no_grad()
        def read():
            model(ids, cache=model.new_cache(1), last_only=True)

        return read

    @torch.no_grad()
    def limit(self, precision: str, batch: int) -> tuple[float, int]:
        """Steps a second of the matmuls alone, by the fastest kernel, and the bytes they read."""
        kinds = {Linear: 4, PackedLinear: 2, QuantizedLinear: 1}  # bytes of a weight
        model = self.models[precision]
        layers = [layer for layer in model.modules() if type(layer) in kinds]
        sizes, dtype = {layer.in_features for layer in layers}, model.final_norm.weight.dtype
        inputs = {k: torch.randn(batch, 1, k, dtype=dtype) for k in sizes}

        def seconds(backend: Backend | None) -> float:
            with use_backend(model, backend):
                start = time.perf_counter()
                for layer in layers:
                    layer(inputs[layer.in_features])
                return time.perf_counter() - start

        backends = [pin_kernel(kernel) for kernel in KERNELS] if precision == "fp32" else [None]
        n_bytes = sum(layer.in_features * layer.out_features * kinds[type(layer)] for layer in layers)
        return 1 / min(statistics.median(seconds(backend) for _ in range(9)) for backend in backends), n_bytes

    def long_context(self, precision: str) -> dict[str, float]:
        """Milliseconds of a token at two places of one long text, and whether memory grows on the way."""
        process, seconds, memory = psutil.Process(), [], []
        start = time.perf_counter()
        for _ in generate_tokens(self.models[precision], ids_of(1, PROMPT), 940, top_k=TOP_K):
            now = time.perf_counter()
            seconds.append(now - start)
            memory.append(process.memory_info().rss)
            start = time.perf_counter()
        early, late = (1000 * statistics.median(seconds[k - PROMPT : k - PROMPT + 50]) for k in (50, 900))
        growth = (memory[-1] - memory[1]) / 1e6
        return {"ms at 50": early, "ms at 900": late, "late / early": late / early, "memory grows MB": growth}


class Transformers:
    """GPT2LMHeadModel.generate, with its own cache."""

    def __init__(self, folder: Path):
        from transformers import GPT2LMHeadModel, logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        load = GPT2LMHeadModel.from_pretrained
        dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
        self.models = {precision: load(folder, dtype=dtype).eval() for precision, dtype in dtypes.items()}

    def writing(self, precision: str, batch: int, n: int) -> Callable[[], object] | None:
        if precision not in self.models:
            return None
        ids = ids_of(batch, PROMPT)
        options = {"max_new_tokens": n, "do_sample": True, "top_k": TOP_K, "pad_token_id": 50256, "eos_token_id": None}
        return lambda: self.models[precision].generate(ids, attention_mask=torch.ones_like(ids), **options)

    def reading(self, precision: str) -> Callable[[], object] | None:
        if precision not in self.models:
            return None
        model, ids = self.models[precision], ids_of(1, 1024)

        @torch.no_grad()
        def read():
            model(ids, use_cache=True, logits_to_keep=1)

        return read


class CTranslate2:
    """CTranslate2's Generator on the same weights; int8 quantizes weights and activations."""

    def __init__(self, folder: Path, target: Path):
        import ctranslate2
        from ctranslate2.converters import TransformersConverter

        class Converter(TransformersConverter):
            def load_tokenizer(self, *_, **__):  # the folder has random weights and needs no words
                return _Words()

        self.generators = {}
        for precision, kind in (("fp32", "float32"), ("int8", "int8")):
            Converter(str(folder)).convert(str(target / kind), quantization=kind)
            threads = {"inter_threads": 1, "intra_threads": torch.get_num_threads()}
            self.generators[precision] = ctranslate2.Generator(str(target / kind), compute_type=kind, **threads)

    def writing(self, precision: str, batch: int, n: int) -> Callable[[], object] | None:
        if precision not in self.generators:
            return None
        prompts = [[f"t{i}" for i in row] for row in ids_of(batch, PROMPT).tolist()]
        options = {"max_length": n, "min_length": n, "sampling_topk": TOP_K, "end_token": []}
        return lambda: self.generators[precision].generate_batch(prompts, include_prompt_in_result=False, **options)


class _Words:
    bos_token = eos_token = unk_token = "<|endoftext|>"
    pad_token = None
    additional_special_tokens = ()

    def get_vocab(self) -> dict[str, int]:
        return {f"t{i}": i for i in range(50256)} | {"<|endoftext|>": 50256}


def writing(processes: dict[str, Process], n: int, cases: list, rounds: int, machine_reads: float) -> list[dict]:
    rows = []
    for precision, batch in cases:
        seconds = in_turns(processes, rounds, "writing", precision, batch, n)
        speeds = {name: s and batch * n / s for name, s in seconds.items()}
        steps, n_bytes = processes["gptlib"].call("limit", precision, batch)
        row = {"case": f"{precision}, batch {batch}", "new tokens": n, "gptlib tok/s": speeds["gptlib"]}
        for name, theirs in list(speeds.items())[1:]:
            row |= {f"{name} tok/s": theirs, f"x {name}": speeds["gptlib"] / theirs if theirs else None}
        row |= {"products alone": batch * steps, "share": speeds["gptlib"] / (batch * steps)}
        rows.append(row | {"share of memory's": speeds["gptlib"] * n_bytes / (batch * machine_reads)})
        print(table(rows[-1:]).splitlines()[1], flush=True)
    return rows


def reading(processes: dict[str, Process], rounds: int) -> list[dict]:
    """A prompt of 1024 tokens, up to the logits of the next."""
    rows = []
    both = {name: processes[name] for name in ("gptlib", "transformers")}
    for precision in ("fp32", "bf16"):
        ours, theirs = (1024 / s for s in in_turns(both, rounds, "reading", precision).values())
        row = {"prompt of 1024": precision, "gptlib tok/s": ours, "transformers tok/s": theirs}
        rows.append(row | {"x transformers": ours / theirs})
    return rows


def quality() -> list[dict]:
    """What rounding costs the small trained model, over the last tenth of its text."""
    found = load_checkpoint(project_root() / "model_weights" / "tales.pth")
    text = (project_root() / "data" / "input.txt").read_text(encoding="utf-8")
    loader = create_dataloader(text[-len(text) // 10 :], tokenizer=found.tokenizer, context_length=128, shuffle=False)
    exact, rows = evaluate_loss(found.model, loader), []
    for precision in ("bf16", "int8"):
        model, _ = with_precision(found.model, precision)
        with torch.no_grad():
            pairs = [(found.model(x).argmax(-1), model(x).argmax(-1)) for x, _ in loader]
        same = sum((a == b).sum().item() for a, b in pairs) / sum(a.numel() for a, _ in pairs)
        more = torch.tensor(evaluate_loss(model, loader) - exact).exp().item() - 1
        rows.append({"tales.pth in": precision, "perplexity %": 100 * more, "same likeliest token %": 100 * same})
    return rows


def figure(rows: list[dict], peers: list[str]):
    names = ["gptlib", *peers]
    found = [row for row in rows if row["case"].endswith("batch 1") and row["new tokens"] == rows[0]["new tokens"]]
    bars = {name: [row.get(f"{name} tok/s") or 0.0 for row in found] for name in names}
    bars["products alone"] = [row["products alone"] for row in found]
    labels = [row["case"].split(",")[0] for row in found]
    return plots.plot_bar_groups(bars, labels, ylabel="tokens a second", title="GPT-2 124M, one text at a time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 512], help="how many new tokens")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32], help="texts at once; 1 beyond the first")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which the median counts")
    parser.add_argument(
        "--ctranslate2",
        type=Path,
        default=os.environ.get("BENCH_CTRANSLATE2"),
        help="a folder in which CTranslate2 was installed",
    )
    options = parser.parse_args()
    if options.ctranslate2:
        sys.path.append(str(options.ctranslate2))
    warnings.simplefilter("ignore")
    found = machine()
    print(describe(found), "\n")
    with tempfile.TemporaryDirectory(prefix="gptlib-bench-") as name:
        folder = Path(name)
        ours = Process(Ours)
        ours.call("export", folder / "hf")
        processes = {"gptlib": ours, "transformers": Process(Transformers, folder / "hf")}
        if importlib.util.find_spec("ctranslate2"):
            processes["CTranslate2"] = Process(CTranslate2, folder / "hf", folder)
        rows = []
        for n in options.tokens:
            batches = options.batches if n == options.tokens[0] else [1]
            cases = [(precision, batch) for precision in PRECISIONS for batch in batches]
            rows += writing(processes, n, cases, options.rounds, found["read_GB_s"] * 1e9)
        tables = {
            "writing": rows,
            "reading": reading(processes, options.rounds),
            "long_context": [{"one text of 956": p} | ours.call("long_context", p) for p in PRECISIONS],
            "quality": quality(),
        }
        for process in processes.values():
            process.pool.shutdown()
    print("\n", *(f"\n{table(rows)}\n" for rows in tables.values()), sep="")
    save("generation", found, tables, figure(rows, list(processes)[1:]))


if __name__ == "__main__":
    main()
