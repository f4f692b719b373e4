"""The draft of a model card: what a run knows of itself, and what only its author can say."""

import csv
import hashlib
import os
import re
from pathlib import Path
from typing import Any

import torch

from gptlib.checkpoints import find_checkpoint, last_path
from gptlib.model import GPT2_CONFIGS, GPTConfig, GPTModel
from gptlib.weights.sizes import find_size

_MARK = re.compile(r"<!-- draft ([0-9a-f]{16}) by gptlib export:[^\n]*-->\n")
_HEAD = "---\nlibrary_name: transformers\npipeline_tag: text-generation\nlicense: unknown\n---\n"
_BODY = """\
# {name}

{origin} (Say in a sentence what it is for.)

The files in this folder were written by `gptlib export`.

## Training

{training}

## Configuration

| | |
| --- | --- |
{configuration}

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/of/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/of/this/folder")
```

## Limits

(What it can't do, what its texts lack or are biased to, what nobody should use it for.)

## Licence

(Choose one that the texts allow, and name it at the top too, in place of `unknown`.)
"""


def known_of(source: str | Path, model: GPTModel) -> dict[str, Any]:
    """What the card may say of a model that `load_model(source)` has given: where it is from, how it was trained.

    Empty if nobody has told: a folder of Hugging Face's or OpenAI's kind may hold anybody's weights, and so may
    the mirror of a school.
    """
    path, size = Path(source), find_size(source)
    if size is not None and not path.is_file():
        official = model.config.to_dict() | {"drop_rate": 0} == GPT2_CONFIGS[size].to_dict() | {"drop_rate": 0}
        mirrored = any(os.environ.get(name) for name in ("GPTLIB_OPENAI_URL", "HF_ENDPOINT"))
        origin = f"OpenAI's GPT-2 of the size {size}, the weights as gptlib loads them by that name."
        corpus = "WebText, web pages that OpenAI collected and did not publish"
        return {"origin": origin, "corpus": corpus} if official and not mirrored else {}
    if any((path / name).is_file() for name in ("config.json", "hparams.json")):
        return {}
    return run_facts(find_checkpoint(path))


def run_facts(checkpoint: Path) -> dict[str, Any]:
    """What is known of the run that made a checkpoint: "origin", "corpus", "step", "tokens", "val_loss" …

    From NAME.last.pth beside NAME.pth, where the training state is, and from NAME.csv; empty if there are none.
    """
    facts: dict[str, Any] = {}
    try:
        with checkpoint.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        facts = best_row(rows)
    except (OSError, ValueError, KeyError, csv.Error):
        pass
    for path in (checkpoint, last_path(checkpoint)):
        try:
            # Mapped: of a file of gigabytes, a few lines of text are wanted.
            training = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["training"]
            facts |= best_row(training["history"]["rows"])
            facts["corpus"] = Path(str(training["notes"]["data"])).name  # not where it lies on this machine
        except Exception:  # no state, or not one of ours: then the card says less
            continue
    return {"origin": "A GPT-2 trained with gptlib."} | facts if facts else {}


def best_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of a history with the lowest validation loss (training loss, if nothing was held out), as numbers."""
    numbers = [{k: float(v) for k, v in row.items() if v not in (None, "")} for row in rows]
    if not numbers:
        return {}
    key = "val_loss" if any("val_loss" in row for row in numbers) else "train_loss"
    return min((row for row in numbers if key in row), key=lambda row: row[key])


def model_card(name: str, config: GPTConfig, facts: dict[str, Any], tokenizer: str) -> str:
    """The card as Markdown, with a mark by which `is_edited` knows whether it still is the draft."""
    corpus = facts.get("corpus", "(name the texts, where they are from, and what one may do with them)")
    lines = [f"- Corpus: {corpus}", f"- Tokenizer: {tokenizer}"]
    if "step" in facts:
        lines.append(f"- Steps: {facts['step']:,.0f}, on {facts.get('tokens', 0):,.0f} tokens")
    measures = {"train_loss": "Training loss: {:.4f} nats a token", "val_loss": "Validation loss: {:.4f} nats a token"}
    measures["perplexity"] = "Perplexity: {:.2f}"
    lines += [f"- {words.format(facts[key])}" for key, words in measures.items() if key in facts]
    table = "\n".join(f"| {key} | {value} |" for key, value in config.to_dict().items())
    origin = facts.get("origin", "A GPT-2. (Say who trained it.)")
    body = _BODY.format(name=name, origin=origin, training="\n".join(lines), configuration=table)
    return f"{_HEAD}<!-- draft {_sum(_HEAD + body)} by gptlib export: once edited, this file is kept -->\n{body}"


def is_edited(card: str) -> bool:
    """Whether a person has changed the card since it was written."""
    card = card.replace("\r\n", "\n")
    mark = _MARK.search(card)
    return mark is None or mark[1] != _sum(_MARK.sub("", card))


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
