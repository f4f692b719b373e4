"""One run, from its options to its history: `train`, for notebooks, command line and tests; new, or resumed."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gptlib.checkpoints import load_weights
from gptlib.datasets import loader_length
from gptlib.generation import check_tokenizer
from gptlib.loss import Batch
from gptlib.model import unwrap
from gptlib.ops.backend import Backend
from gptlib.tokenizers import Tokenizer
from gptlib.training.config import TrainingConfig
from gptlib.training.history import History
from gptlib.training.reporting import Console
from gptlib.training.resume import check_same_run, load_training_state
from gptlib.training.run_files import check_room, claim, out_beside
from gptlib.training.trainer import Trainer, TrainingError


def train(
    model: nn.Module,
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch] | None = None,
    config: TrainingConfig | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    notes: dict[str, Any] | None = None,
    on_evaluation: Callable[[History], None] | None = None,
    verbose: bool = True,
    backend: Backend | None = None,
) -> History:
    """Train the model in place and return the run's history.

    model: a GPTModel, or one inside `torch.compile` or `DistributedDataParallel`: training goes through the wrapper,
    and everything else through the model in it.
    train_loader, val_loader: from `create_dataloader`, or anything that yields (inputs, targets), both int64 (B, T), or
    dicts as `collate_padded` makes them. tokenizer: for the live samples, and to be stored with the model.
    out: NAME.pth for the best model by validation loss (the latest, without val_loader); beside it come NAME.last.pth,
    to resume from, and NAME.csv. Files that an earlier run left there are renamed, not overwritten.
    resume: a .last.pth; its weights, optimizer, random state and history replace those of `model`, and `out` is by
    default the file beside it. notes: plain data to keep in that file, such as the name of the text. on_evaluation:
    called with the history after each evaluation, to draw it, say.
    backend: the kernels to compute by on a CPU; by default the resumed run's, or `default_backend()`.
    verbose: progress bar, losses and samples. Ctrl-C ends the step, saves and returns; a second one stops at once.

    Raises ValueError for options that make no sense, CheckpointError if `resume` does not fit or `out` can't be
    written, TrainingError if the loss is no longer finite or a GPU's memory is full.
    """
    config, plain = config or TrainingConfig(), unwrap(model)
    content = None if resume is None else load_training_state(resume)
    if resume is not None:
        out = out_beside(resume, out)
    check_options(plain, config, tokenizer, val_loader is not None)
    trainer = Trainer(
        model,
        train_loader,
        val_loader,
        config,
        tokenizer=tokenizer,
        out=out,
        notes=notes,
        on_evaluation=on_evaluation,
        verbose=verbose,
        backend=backend,
    )
    if out is not None:
        check_room(out, plain)
    if content is None:
        torch.manual_seed(config.seed)
    else:
        check_same_run(resume, content, plain.config, loader_length(train_loader), tokenizer)
        load_weights(resume, plain, content["model"])
        trainer.load_state_dict(content["training"], resume)
    if out is not None:
        kept = claim(out, resume)
        Console(verbose).log(*(f"An earlier run's {Path(out).name} is kept as {path.name}." for path in kept[:1]))
    try:
        return trainer.fit()
    except torch.OutOfMemoryError:
        raise TrainingError(trainer.out_of_memory()) from None


def check_options(model: nn.Module, config: TrainingConfig, tokenizer: Tokenizer | None, validates: bool) -> None:
    """Raise ValueError for what no run can begin with."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("The model has no parameter to train: frozen or quantized for inference; load it again.")
    if config.patience is not None and not validates:
        raise ValueError(
            f"patience={config.patience} counts evaluations of a validation loss; pass val_loader, or leave it out."
        )
    if tokenizer is not None:
        check_tokenizer(model, tokenizer)
        if config.sample_prompt is not None:
            tokenizer.encode(config.sample_prompt)  # refused now, not at an evaluation
