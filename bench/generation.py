"""GPT-2 124M writing and reading, beside transformers, llama.cpp and CTranslate2, all from saved folders.

    python bench/generation.py                     about seven minutes
    python bench/generation.py --quick             one minute, prints only
    python bench/generation.py --tables writing places --tokens 512 --peers FOLDER

The same random weights for all, each peer in a process of its own, runs in turns, medians and spreads; ours come from a
folder that transformers has saved, by `load_hf_gpt2`. llama.cpp and CTranslate2 take part if they are installed, here
or in FOLDER: `pip install -r bench/requirements.txt`, with `--target FOLDER` to keep them apart.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _doors import Doors, Folders
from _llama_cpp import LlamaCpp
from _peers import LONG_PROMPT, PRECISIONS, CTranslate2, Ours, Transformers
from _processes import Measured, Process, in_turns
from _tables import save, table

from gptlib import plots
from gptlib.checkpoints import load_checkpoint
from gptlib.datasets import create_dataloader
from gptlib.evaluation import evaluate_loss
from gptlib.generation.quantization import with_precision
from gptlib.model import GPT2_CONFIGS, GPTConfig
from gptlib.ops.benchmark import describe, machine
from gptlib.utils.folders import project_root

CONFIGS = GPT2_CONFIGS | {"toy": replace(GPT2_CONFIGS["124M"], vocab_size=512, emb_dim=64, n_heads=2, n_layers=2)}
TABLES = ("writing", "reading", "places", "doors", "quality")
PLACES, AT_A_PLACE = (50, 900), 64  # positions in a text, and how many tokens are written from there on
BYTES = {"fp32": 4, "bf16": 2, "int8": 1, "int4": 0.5}

Row = dict[str, Any]
Peers = dict[str, Process]


def side_by_side(measured: dict[str, Measured | None]) -> Row:
    """The columns of a table: each peer's rate and spread, and ours as a multiple of it."""
    row: Row = {}
    ours = measured["gptlib"]
    for name, found in measured.items():
        row |= {f"{name} tok/s": found and found.median, f"{name} spread": found and found.spread}
        if name != "gptlib":
            row[f"x {name}"] = found and ours.median / found.median
    return row


def stored_as(peers: Peers, *job) -> Row:
    """Which of its kinds of weights llama.cpp took for a job."""
    return {"llama.cpp has": peers["llama.cpp"].call("kind", *job)} if "llama.cpp" in peers else {}


def writing(peers: Peers, config: GPTConfig, cases: Iterable[tuple[str, int, int]], rounds: int, reads: float):
    """Rows of new tokens a second; the last column says what part of the memory's rate reading the weights takes."""
    n_weights = 12 * config.n_layers * config.emb_dim**2 + config.vocab_size * config.emb_dim
    for precision, batch, n in cases:
        for peer in peers.values():
            peer.call("writing", precision, batch, min(n, 32))  # loads, and warms up
        measured = in_turns(peers, rounds, "writing", precision, batch, n)
        row = {"case": f"{precision}, batch {batch}", "new tokens": n} | side_by_side(measured)
        steps = measured["gptlib"].median / batch
        row |= stored_as(peers, precision, "writing", batch)
        yield row | {"share of memory's": steps * n_weights * BYTES[precision] / reads}


def reading(peers: Peers, rounds: int):
    """Rows of a long prompt's tokens a second."""
    for precision in PRECISIONS:
        for peer in peers.values():
            peer.call("reading", precision)
        row = {f"a prompt of {LONG_PROMPT:,}": precision} | side_by_side(in_turns(peers, rounds, "reading", precision))
        yield row | stored_as(peers, precision, "reading")


def places(peers: Peers, rounds: int):
    """Rows of the milliseconds of a token at two places of a text, each with its spread."""
    for precision in PRECISIONS:
        jobs = {place: ("writing", precision, 1, AT_A_PLACE, place) for place in PLACES}
        found = {place: in_turns(peers, rounds + 1, *job) for place, job in jobs.items()}
        for name in peers:
            if found[PLACES[0]][name] is None:
                continue
            row: Row = {"position": f"{precision}, {name}"}
            for place in PLACES:
                seconds = Measured(tuple(1000 / rate for rate in found[place][name].values[1:]))  # the first warms up
                row |= {f"ms at {place}": seconds.median, f"spread at {place}": seconds.spread}
            early, late = (row[f"ms at {place}"] for place in PLACES)
            yield row | {"late / early": late / early}


def doors(folder: Path, n: int, rounds: int):
    """Rows of new tokens a second through every door, as a share of the fastest one of that precision."""
    process = Process(Doors, folder)
    for precision in PRECISIONS:
        names = process.call("open", precision)
        for door in names:
            process.call("writing", door, min(n, 16))
        runs = [{door: process.call("writing", door, n) for door in names} for _ in range(rounds)]
        measured = {door: Measured(tuple(run[door] for run in runs)) for door in names}
        fastest = max(found.median for found in measured.values())
        for door, found in measured.items():
            row = {"door": door, "precision": precision, "gptlib tok/s": found.median, "gptlib spread": found.spread}
            yield row | {"of the fastest": found.median / fastest}
    process.end()


def quality():
    """Rows of what rounding costs the small trained model, over the last tenth of its text."""
    found = load_checkpoint(project_root() / "model_weights" / "tales.pth")
    text = (project_root() / "data" / "input.txt").read_text(encoding="utf-8")
    loader = create_dataloader(text[-len(text) // 10 :], tokenizer=found.tokenizer, context_length=128, shuffle=False)
    exact = evaluate_loss(found.model, loader)
    for precision in PRECISIONS[1:]:
        model, _ = with_precision(found.model, precision)
        with torch.no_grad():
            pairs = [(found.model(x).argmax(-1), model(x).argmax(-1)) for x, _ in loader]
        same = sum((a == b).sum().item() for a, b in pairs) / sum(a.numel() for a, _ in pairs)
        more = torch.tensor(evaluate_loss(model, loader) - exact).exp().item() - 1
        yield {"tales.pth in": precision, "perplexity %": 100 * more, "same likeliest token %": 100 * same}


def goals(tables: dict[str, list[Row]]) -> list[Row]:
    """What was aimed at, and what came of it; what was not measured is left out."""
    rows: list[Row] = []

    def add(goal: str, figure: float | None, bound: float, at_most: bool = False) -> None:
        if figure is not None:
            met = figure <= bound if at_most else figure >= bound
            sign = "at most" if at_most else "at least"
            rows.append({"goal": goal, "figure": figure, "wanted": f"{sign} {bound}", "met": "yes" if met else "no"})

    for row in tables.get("writing", []):
        precision, batch = row["case"].split(", batch ")
        case = f"{row['case']}, {row['new tokens']} new tokens"
        if precision == "fp32" and batch == "1":
            add(f"{case}: x transformers", row.get("x transformers"), 2.0)
            add(f"{case}: x llama.cpp", row.get("x llama.cpp"), 0.95)
        elif precision != "fp32" and batch in ("1", "8"):
            add(f"{case}: x llama.cpp", row.get("x llama.cpp"), 1.1)
    for row in tables.get("reading", []):
        name, precision = next(iter(row.items()))
        add(f"{name}, {precision}: x llama.cpp", row.get("x llama.cpp"), 1.1)
    for row in tables.get("places", []):
        if row["position"].endswith("gptlib"):
            add(f"{row['position']}: position {PLACES[1]} / {PLACES[0]}", row["late / early"], 1.15, at_most=True)
    for precision in PRECISIONS:
        shares = {r["door"]: r["of the fastest"] for r in tables.get("doors", []) if r["precision"] == precision}
        if shares:
            slowest = min(shares, key=shares.get)
            add(f"{precision}, the slowest door ({slowest}): of the fastest", shares[slowest], 0.9)
    return rows


def figure(rows: list[Row]):
    found = [row for row in rows if row["case"].endswith("batch 1") and row["new tokens"] == rows[0]["new tokens"]]
    return plots.plot_rates(found, title="GPT-2 124M, one text at a time").figure


def told(rows: Iterable[Row]) -> list[Row]:
    """The rows as a list; each is printed when it is there."""
    found = []
    for row in rows:
        found.append(row)
        print(table([row]).splitlines()[1], flush=True)
    return found


def installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) for package in packages)


def start_peers(folder: Path) -> Peers:
    """Ours and transformers, and those that are installed."""
    peers = {"gptlib": Process(Ours, folder / "hf"), "transformers": Process(Transformers, folder / "hf")}
    if installed("xllamacpp", "gguf"):
        peers["llama.cpp"] = Process(LlamaCpp, folder / "hf", folder)
    if installed("ctranslate2"):
        peers["CTranslate2"] = Process(CTranslate2, folder / "hf", folder)
    for name in {"llama.cpp", "CTranslate2"} - peers.keys():
        print(f"{name} is not installed and takes no part: pip install -r bench/requirements.txt")
    return peers


def measure(options: argparse.Namespace, folder: Path, reads: float) -> dict[str, list[Row]]:
    """All tables that are wanted, by their names."""
    config, tables = CONFIGS[options.size], {}
    writer = Process(Folders)
    writer.call("write", config, folder)
    writer.end()
    peers = start_peers(folder)
    cases = [(precision, 1, n) for n in options.tokens for precision in PRECISIONS]
    cases += [(precision, b, options.tokens[0]) for b in options.batches if b > 1 for precision in PRECISIONS]
    jobs = {
        "writing": lambda: writing(peers, config, cases, options.rounds, reads),
        "reading": lambda: reading(peers, options.rounds),
        "places": lambda: places(peers, options.rounds),
        "doors": lambda: doors(folder, options.tokens[0], options.rounds),
        "quality": quality,
    }
    for name in options.tables:
        if name == "doors":  # has models of its own
            for peer in peers.values():
                peer.end()
        tables[name] = told(jobs[name]())
    for peer in peers.values():
        peer.end()
    return tables


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of one text of 128 tokens, no other table")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, help="which tables to make")
    parser.add_argument("--size", choices=CONFIGS, default="124M", help="of the model; toy only tries the script out")
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 512], help="how many new tokens")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="texts at once, beside one")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which the median counts")
    parser.add_argument(
        "--peers", type=Path, default=os.environ.get("BENCH_PEERS"), help="a folder in which peers were installed"
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.tables, options.tokens, options.batches, options.rounds = ["writing"], [128], [1], 1
    options.tables = [name for name in TABLES if name in options.tables]  # in this order
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    if options.peers:
        sys.path.append(str(options.peers))
    warnings.simplefilter("ignore")
    found = machine()
    print(describe(found), "\n")
    with tempfile.TemporaryDirectory(prefix="gptlib-bench-") as name:
        tables = measure(options, Path(name), found["read_GB_s"] * 1e9)
    tables = {"goals": goals(tables)} | tables
    print("\n", *(f"\n{table(rows)}\n" for rows in tables.values() if rows), sep="")
    if options.size == "124M" and set(options.tables) == set(TABLES):
        save("generation", found, tables, figure(tables["writing"]))
    else:
        print("Not stored: a whole run of 124M is.")


if __name__ == "__main__":
    main()
