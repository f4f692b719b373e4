"""Fine-tuning on instructions: loaders made of entries, the one training loop, and the share of answers that are right.

What an entry looks like as text and as tokens is in `gptlib.instructions`; how weights change is in `gptlib.training`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from gptlib.datasets import collate_padded
from gptlib.generation import generate_text
from gptlib.history import History
from gptlib.instructions import Instruction, InstructionDataset, Template, find_template
from gptlib.lora import LoRAConfig, add_lora
from gptlib.model import GPTModel
from gptlib.tokenizers import Tokenizer
from gptlib.training import TrainingConfig, train


def finetune(
    model: GPTModel,
    tokenizer: Tokenizer,
    entries: Sequence[Instruction],
    validation: Sequence[Instruction] = (),
    config: TrainingConfig | None = None,
    *,
    template: str | Template = "chat",
    lora: LoRAConfig | None = None,
    packing: bool = False,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    notes: dict[str, Any] | None = None,
    on_evaluation: Callable[[History], None] | None = None,
    verbose: bool = True,
) -> History:
    """Teach the model, in place, to answer as the entries do; the run's history.

    validation: entries that are not among the others, for the validation loss, which says what the best model is and,
    with `config.patience`, when to end. lora: train a new adapter of this shape, "default", in place of the weights.
    packing: see InstructionDataset. The other options are those of `train`. To resume, give the same entries and the
    model of that file, which has its adapter already, without `lora`.

    Raises what `InstructionDataset`, `add_lora` and `train` raise.
    """
    config = config or TrainingConfig()
    parts = [
        InstructionDataset(part, tokenizer, model.config.context_length, template, packing=packing)
        for part in (entries, validation)
        if part
    ]
    train_loader, val_loader, *_ = *(instruction_loader() for part in parts), None
    if verbose:
        print(*(note for part in parts for note in part.notes()), sep="\n")
    if lora is not None:
        torch.manual_seed(config.seed)
        add_lora(model, lora)
    options = {"tokenizer": tokenizer, "out": out, "resume": resume, "notes": notes}
    return train(model, train_loader, val_loader, config, **options, on_evaluation=on_evaluation, verbose=verbose)
