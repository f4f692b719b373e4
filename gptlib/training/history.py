"""The record of a run: one row an evaluation, the loss of every step, the samples. It knows nothing of models."""

import csv
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gptlib.loss import perplexity
from gptlib.utils.errors import CheckpointError
from gptlib.utils.files import write_atomically

COLUMNS = (
    "step",
    "epoch",
    "tokens",
    "learning_rate",
    "train_loss",
    "val_loss",
    "perplexity",
    "tokens_per_second",
    "mfu",
    "seconds",
)


@dataclass
class History:
    """The record of a run. `history["val_loss"]` is a column of `rows` as a list, None if it wasn't measured."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """One dict an evaluation, with the keys COLUMNS; seconds are those of training, without evaluations."""
    step_losses: list[float] = field(default_factory=list)
    """The loss of every step on its own batch; that of step n at place n - 1."""
    samples: list[tuple[int, str]] = field(default_factory=list)
    """(step, text) of every live sample."""
    interrupted: bool = False
    """Whether the run was stopped before its last step."""

    def __getitem__(self, column: str) -> list:
        if column not in COLUMNS:
            raise KeyError(f"There is no column {column!r}; the columns are {', '.join(COLUMNS)}.")
        return [row[column] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def best(self) -> dict[str, Any] | None:
        """The row with the lowest validation loss (training loss, if nothing was held out)."""
        held_out = [row for row in self.rows if row["val_loss"] is not None]
        key = "val_loss" if held_out else "train_loss"
        return min(held_out or self.rows, key=lambda row: row[key], default=None)

    def add(self, *, flops_per_token: float, peak: float | None, **measured: Any) -> dict[str, Any]:
        """Add a row and return it. measured: the columns that do not follow from the others.

        flops_per_token, peak: what a token takes and the device can do (None: nobody knows), for the column "mfu".
        """
        val_loss, speed = measured["val_loss"], self.speed(measured["tokens"], measured["seconds"])
        follows = {
            "perplexity": perplexity(measured["train_loss"] if val_loss is None else val_loss),
            "tokens_per_second": speed,
            "mfu": speed * flops_per_token / peak if speed and peak else None,
        }
        row = measured | follows
        self.rows.append({column: row[column] for column in COLUMNS})
        return self.rows[-1]

    def speed(self, tokens: int, seconds: float) -> float | None:
        """Tokens a second since the last row, when the run has come so far; None before the first."""
        if not self.rows:
            return None
        last = self.rows[-1]
        return (tokens - last["tokens"]) / max(seconds - last["seconds"], 1e-9)

    @property
    def evaluations_since_best(self) -> int:
        """Evaluations in a row that found no lower validation loss; 0 if none was measured."""
        losses = [row["val_loss"] for row in self.rows if row["val_loss"] is not None]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "History":
        """The inverse of to_dict. Raises ValueError, KeyError or TypeError if it is no history."""
        if any(set(row) != set(COLUMNS) for row in data["rows"]):
            raise ValueError("its history has other columns")
        return cls(
            rows=[dict(row) for row in data["rows"]],
            step_losses=[float(loss) for loss in data["step_losses"]],
            samples=[(step, text) for step, text in data["samples"]],
        )

    def save_csv(self, path: str | Path) -> None:
        """Write the rows as CSV with a header, atomically; an empty field for what was not measured.

        Raises CheckpointError if the file can't be written.
        """
        try:
            with write_atomically(path, "w") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)
        except OSError as error:
            raise CheckpointError(f"'{path}' could not be written ({error.strerror}); make room for it.") from error


def one_line(row: dict[str, Any]) -> str:
    """A row for people: "step 200 | train 2.011 | val 2.104 | perplexity 8.20 | 12,345 tokens/s"."""
    parts = [f"step {row['step']}", f"train {row['train_loss']:.3f}"]
    if row["val_loss"] is not None:
        parts.append(f"val {row['val_loss']:.3f}")
    parts.append(f"perplexity {row['perplexity']:,.2f}")
    if row["tokens_per_second"] is not None:
        parts.append(f"{row['tokens_per_second']:,.0f} tokens/s")
    if row["mfu"] is not None:
        parts.append(f"{row['mfu']:.0%} of the device's peak")
    return " | ".join(parts)


class TensorBoardWriter:
    """Mirrors a history to a TensorBoard folder, every row once.

    The folder's earlier event files are replaced by the rows that the history has, since a killed run may have
    written rows there that its checkpoint does not know. Raises ValueError if TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path, history: History):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                "tensorboard=True needs the package TensorBoard; `pip install tensorboard`, or leave the option out."
            ) from None
        for old in Path(folder).glob("events.out.tfevents.*"):
            old.unlink()
        self.writer = SummaryWriter(str(folder))
        for row in history.rows:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """Write one row."""
        for column in COLUMNS[3:]:
            if row[column] is not None:
                self.writer.add_scalar(column, row[column], row["step"])

    def close(self) -> None:
        """Flush what is buffered."""
        self.writer.close()
