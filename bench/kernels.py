"""Each kernel of matmuls on the shapes of models, and whether the one that the backend takes is the fastest.

    python bench/kernels.py [--threads 1]

A kernel's column says how many times as fast as PyTorch's own it is; the last one, what share of the fastest one's
speed the backend's has. The rule in gptlib/ops/backend.py was made from this table.
"""

import argparse
from itertools import product

import torch
from _tables import save, table

from gptlib.ops.backend import KERNELS, default_backend
from gptlib.ops.benchmark import describe, kernels_to_compare, machine, seconds_by_kernel

SHAPES = {"128 x 512": (128, 512), "768 x 768": (768, 768), "768 x 3072": (768, 3072), "1024 x 1024": (1024, 1024)}
SHAPES["768 x 50257"] = (768, 50257)
ROWS = (1, 2, 8, 256, 2048)
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def row_of(precision: str, layout: str, shape: str, rows: int) -> dict[str, str | int | float]:
    (k, n), transposed = SHAPES[shape], layout == "transposed"
    seconds = seconds_by_kernel(rows, k, n, TYPES[precision], transposed)
    taken = default_backend().kernel(TYPES[precision], rows, n * k, transposed)
    row = {"weights": f"{precision} {shape} {layout}", "rows": rows, "plain us": 1e6 * seconds["plain"]}
    row |= {f"x {name}": seconds["plain"] / seconds[name] for name in KERNELS[1:] if name in seconds}
    return row | {"taken": taken, "of the fastest": min(seconds.values()) / seconds[taken]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch")
    torch.set_num_threads(parser.parse_args().threads)
    found = machine()
    print(describe(found), "\n")
    rows = []
    for precision, layout, shape, n in product(TYPES, ("contiguous", "transposed"), SHAPES, ROWS):
        if len(kernels_to_compare(TYPES[precision], n)) > 1:
            rows.append(row_of(precision, layout, shape, n))
            print(table(rows[-1:]).splitlines()[1], flush=True)
    print(f"\n{table(rows)}")
    save("kernels", found, {"kernels": rows})


if __name__ == "__main__":
    main()
