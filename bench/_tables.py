"""What the benchmarks share: tables, pictures and JSON files; gptlib.ops.benchmark measures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptlib.utils.files import write_json

RESULTS = Path(__file__).parent / "results"


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
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def save(name: str, found: Mapping[str, Any], tables: Mapping[str, list[dict[str, Any]]], figure=None) -> None:
    """bench/results/NAME.json, and NAME.png where there is a figure."""
    write_json(RESULTS / f"{name}.json", {"machine": dict(found), **tables})
    if figure is not None:
        from gptlib import plots  # here, because a machine without a screen may lack matplotlib

        plots.save_figure(figure, RESULTS / f"{name}.png")
    print(f"\nwritten: {RESULTS / name}.json" + (" and .png" if figure is not None else ""))


def load(name: str) -> dict[str, Any]:
    """What `save` has written."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
