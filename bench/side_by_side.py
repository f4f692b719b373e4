"""What the benchmarks share: runs in turns, the machine and its limits, tables, pictures and JSON files."""

import json
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import torch

from gptlib import plots
from gptlib.files import write_json

RESULTS = Path(__file__).parent / "results"


def alternate(jobs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median seconds of each job; all run once to warm up, then in turns, so that they see the same machine."""
    for job in jobs.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def machine() -> dict[str, Any]:
    """Processor, cores, threads, versions and how busy the machine was before the benchmark began."""
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": psutil.cpu_count(logical=False),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": round(psutil.getloadavg()[0], 2),
        "read_GB_s": round(read_rate() / 1e9, 1),
        "fp32_GFLOP_s": round(product_rate(torch.float32) / 1e9),
        "bf16_GFLOP_s": round(product_rate(torch.bfloat16) / 1e9),
    }


def processor() -> str:
    """Its name, with what of AMX and avx512_bf16 it has, where the system says so."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine()
    text = info.read_text()
    name = re.search(r"model name\s*:\s*(.*)", text)
    extras = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512_vnni") if flag in text]
    return " ".join([name[1] if name else platform.machine(), *extras])


def read_rate(n_bytes: int = 500_000_000) -> float:
    """Bytes a second at which the processor sums an array that no cache holds: the most that decoding can read."""
    array = torch.ones(n_bytes // 4)
    return n_bytes / min(_seconds(array.sum) for _ in range(7))


def product_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """Operations a second of a large matrix product, by the fastest way that gptlib knows."""
    from gptlib.linear import linear

    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2 * size**3 / min(_seconds(lambda: linear(a, b)) for _ in range(7))


def _seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def describe(found: Mapping[str, Any]) -> str:
    """One line on the machine."""
    return (
        f"{found['processor']}, {found['threads']} threads, torch {found['torch']}, {found['date']}; load before "
        f"{found['load']}\nreads {found['read_GB_s']} GB/s, multiplies {found['fp32_GFLOP_s']} GFLOP/s in fp32, "
        f"{found['bf16_GFLOP_s']} in bf16"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a plain table: numbers to the right, with as many digits as matter."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(names))]
    left = {0} | {k for k, name in enumerate(names) if any(isinstance(row.get(name), str) for row in rows)}
    lines = [
        "  ".join(cell.ljust(widths[k]) if k in left else cell.rjust(widths[k]) for k, cell in enumerate(line))
        for line in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def save(name: str, found: Mapping[str, Any], tables: Mapping[str, list[dict[str, Any]]], figure=None) -> None:
    """bench/results/NAME.json, and NAME.png where there is a figure."""
    write_json(RESULTS / f"{name}.json", {"machine": dict(found), **tables})
    if figure is not None:
        plots.save_figure(figure, RESULTS / f"{name}.png")
    print(f"\nwritten: {RESULTS / name}.json" + (" and .png" if figure is not None else ""))


def load(name: str) -> dict[str, Any]:
    """What `save` has written."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
