"""Fine-tuning on instructions: loaders made of entries, the one training loop, and the share of answers that are right.

What an entry looks like as text and as tokens is in `gptlib.instructions`; how weights change is in `gptlib.training`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from gptlib.generation import generate_text
from gptlib.instructions import Instruction, InstructionDataset, Template, create_instruction_loader, find_template
from gptlib.model import GPTModel
from gptlib.model.lora import LoRAConfig, add_lora
from gptlib.tokenizers import Tokenizer
from gptlib.training.config import TrainingConfig
from gptlib.training.history import History
from gptlib.training.run import train
from gptlib.utils.validation import whole_number


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
    if not entries:
        raise ValueError("There is no entry to learn from; give at least one.")
    config = config or TrainingConfig()
    datasets = [
        InstructionDataset(part, tokenizer, model.config.context_length, template, packing=packing)
        for part in (entries, validation)
        if part
    ]
    orders = ({}, {"shuffle": False, "drop_last": False})  # to learn from, and to measure on
    loaders = [
        create_instruction_loader(dataset, min(config.batch_size, len(dataset)), seed=config.seed, **order)
        for dataset, order in zip(datasets, orders, strict=False)
    ]
    if verbose:
        for note in (note for dataset in datasets for note in dataset.notes()):
            print(note)
    if lora is not None:
        torch.manual_seed(config.seed)
        add_lora(model, lora)
    files = {"out": out, "resume": resume, "notes": notes}
    return train(
        model, *loaders, config=config, tokenizer=tokenizer, **files, on_evaluation=on_evaluation, verbose=verbose
    )


def answer(
    model: GPTModel,
    tokenizer: Tokenizer,
    prompt: str | Instruction,
    template: str | Template = "chat",
    max_new_tokens: int = 100,
    **options,
) -> str:
    """What the model says to an instruction, without the white space around it: `answers` for one of them."""
    return answers(model, tokenizer, [prompt], template, max_new_tokens, **options)[0]


def answers(
    model: GPTModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Instruction],
    template: str | Template = "chat",
    max_new_tokens: int = 100,
    *,
    batch_size: int = 64,
    **options,
) -> list[str]:
    """What the model says to each instruction, without the white space around it, in the order of the prompts.

    An answer ends at <|endoftext|>, after max_new_tokens, or when the model's context does. options: those of
    `generate`; without a temperature, each token is the likeliest.
    Raises ValueError for a prompt that leaves no room for an answer and for an option that makes no sense.
    """
    whole_number("batch_size", batch_size, 1)
    template, context = find_template(template), model.config.context_length
    texts = [template.prompt(Instruction(p, "") if isinstance(p, str) else p) for p in prompts]
    lengths = [len(tokenizer.encode(text)) for text in texts]
    if texts and max(lengths) >= context:
        place = lengths.index(max(lengths))
        raise ValueError(
            f"Prompt {place + 1} has {lengths[place]} tokens in its template, and the model sees {context}, so that no "
            "answer fits; give a shorter one, or leave it out."
        )
    said = {}
    for places in _batches(lengths, context - max_new_tokens, batch_size):
        room = min(max_new_tokens, context - max(lengths[i] for i in places))
        batch = [texts[i] for i in places]
        written = generate_text(model, tokenizer, batch, room, **{"temperature": 0.0} | options)
        said |= {i: whole[len(texts[i]) :].strip() for i, whole in zip(places, written, strict=True)}
    return [said[i] for i in range(len(texts))]


def _batches(lengths: list[int], longest: int, batch_size: int) -> list[list[int]]:
    """Places of prompts of about the same length; each that is over `longest` alone, as it has a room of its own."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    n = sum(length <= longest for length in lengths)
    return [order[i : min(i + batch_size, n)] for i in range(0, n, batch_size)] + [[i] for i in order[n:]]


def exact_match(
    model: GPTModel,
    tokenizer: Tokenizer,
    entries: Sequence[Instruction],
    template: str | Template = "chat",
    *,
    batch_size: int = 64,
) -> dict[str, float]:
    """For each task, the share of its entries that the model answers to the letter, white space around apart.

    Answers are greedy. An entry whose prompt leaves no room for an answer is not answered. Entries without a task are
    those of the task "".
    """
    template, context = find_template(template), model.config.context_length
    by_task: dict[str, list[Instruction]] = {}
    for entry in entries:
        by_task.setdefault(entry.task, []).append(entry)
    shares = {}
    for task, of_task in sorted(by_task.items()):
        asked = [entry for entry in of_task if len(tokenizer.encode(template.prompt(entry))) < context]
        longest = max((len(tokenizer.encode(template.answer(entry.output))) for entry in asked), default=0)
        said = answers(model, tokenizer, asked, template, longest + 1, batch_size=batch_size)
        right = [text == entry.output.strip() for text, entry in zip(said, asked, strict=True)]
        shares[task] = sum(right) / len(of_task)
    return shares
