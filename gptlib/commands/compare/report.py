"""The results of a comparison: a row for each tokenizer, and the file that they are kept in."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from gptlib.commands.compare.budget import ComparisonConfig
from gptlib.corpus.reading import Source
from gptlib.evaluation.whole_text import n_bytes
from gptlib.ops.benchmark import processor
from gptlib.utils.files import read_json
from gptlib.utils.validation import is_number


@dataclass(frozen=True)
class ComparisonRow:
    """What came of one tokenizer."""

    tokenizer: str
    vocab_size: int
    emb_dim: int
    n_heads: int
    n_layers: int
    parameters: int
    embedding_share: float
    """Of the parameters, those that stand in no block: nearly all of them are the tokens' embeddings."""
    bytes_per_token: float
    """Of the held-out text."""
    context_bytes: float
    """The model's context in bytes of such text."""
    training_bytes: int
    """All that it has read, every pass counted."""
    training_steps: int
    training_seconds: float
    training_bytes_per_second: float
    bits_per_byte: float
    """Of the held-out text, with what is charged for lost bytes."""
    charged_bits_per_byte: float
    """8 bits for each byte that the tokens don't give back; 0 for a tokenizer that loses nothing."""
    bleu: float
    characters_per_second: float
    """Of the continuations, 16 written at a time. What outgrows the context is slow: nothing of it can be cached."""
    sample: str
    """The first continuation."""


def describe(sources: Sequence[Source], training_text: str, held_out: str, config: ComparisonConfig) -> dict[str, Any]:
    """What is compared, and on what: all of the report but its rows. Rows belong together if the settings are equal."""
    return {
        "gptlib": importlib.metadata.version("gptlib"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "settings": asdict(config)
        | {
            "texts": [source.name for source in sources],
            "text_sha256": hashlib.sha256((training_text + held_out).encode()).hexdigest(),
            "training_bytes": n_bytes(training_text),
            "held_out_bytes": n_bytes(held_out),
        },
    }


def finished_rows(path: str | Path, settings: dict[str, Any]) -> dict[str, ComparisonRow]:
    """The rows by tokenizer that an earlier run with the same settings has left; none if there is no such file."""
    if not Path(path).exists():
        return {}
    report, otherwise = read_json(path, "comparison"), "give another place for the results, or remove that file"
    try:
        found = report["settings"]
        rows = {row["tokenizer"]: _checked(ComparisonRow(**row)) for row in report["rows"]}
        other = [name for name in settings if found[name] != settings[name]]
    except (KeyError, TypeError):
        raise ValueError(f"'{path}' holds no comparison of this gptlib; {otherwise}.") from None
    if other:
        name = other[0]
        raise ValueError(
            f"'{path}' holds a comparison with {name}={found[name]}, and this one has {settings[name]}; {otherwise}."
        )
    return rows


def _checked(row: ComparisonRow) -> ComparisonRow:
    """The row; TypeError if a value in it is not of its field's type."""
    for field in fields(row):
        value = getattr(row, field.name)
        if not (is_number(value) if field.type is float else type(value) is field.type):
            raise TypeError(field.name)
    return row
