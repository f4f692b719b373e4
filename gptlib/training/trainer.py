"""The training loop: forward, backward, clip, step, log; and the state that it needs to go on.

A step is a pure function of the state before it, and that state is all in the checkpoint: the model's
weights and `Trainer.state_dict()`. Interrupted and resumed, a run ends in the same weights, bit for bit
on one CPU, as if it had never stopped.
"""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gptlib.checkpoints import last_path, save_checkpoint
from gptlib.datasets import (
    IGNORE_INDEX,
    SlidingWindowDataset,
    batches_from,
    begin_pass,
    loader_length,
    tokens_per_batch,
)
from gptlib.loss import Batch, batch_loss, evaluate_loss, inputs_and_targets
from gptlib.model import unwrap
from gptlib.ops.allocator import retain_freed_memory
from gptlib.ops.backend import Backend, default_backend, use_backend
from gptlib.ops.devices import (
    PrecisionChoice,
    autocast,
    grad_scaler,
    peak_flops,
    pick_device,
    pick_precision,
    synchronize,
)
from gptlib.tokenizers import Tokenizer
from gptlib.training.activation_checkpointing import activation_checkpointing
from gptlib.training.compiling import compiled
from gptlib.training.config import TrainingConfig
from gptlib.training.history import History, TensorBoardWriter, one_line
from gptlib.training.optim import create_optimizer, load_optimizer_state
from gptlib.training.reporting import Console, indented, live_sample
from gptlib.training.resume import backend_of, random_state, set_random_state
from gptlib.training.run_files import board_folder, csv_path
from gptlib.utils.errors import CheckpointError
from gptlib.utils.interrupts import interruptible


class TrainingError(RuntimeError):
    """Training can't go on; the message names the step, the last good checkpoint and what to change."""


class Trainer:
    """A run: a model, what it learns from, and how far it has come. Options are those of `train`."""

    def __init__(
        self,
        model: nn.Module,
        train_loader: Iterable[Batch],
        val_loader: Iterable[Batch] | None = None,
        config: TrainingConfig | None = None,
        *,
        tokenizer: Tokenizer | None = None,
        out: str | Path | None = None,
        notes: dict[str, Any] | None = None,
        on_evaluation: Callable[[History], None] | None = None,
        verbose: bool = True,
        backend: Backend | None = None,
    ):
        self.model = unwrap(model)
        self.forward = model  # wrapper and all: it has its part in training, and in nothing else
        self.config = c = config or TrainingConfig()
        self.train_loader, self.val_loader, self.tokenizer = train_loader, val_loader, tokenizer
        self.out, self.notes = None if out is None else Path(out), notes
        self.on_evaluation, self.console = on_evaluation, Console(verbose)
        self.given_backend, self.backend = backend, backend or default_backend()
        self.device = pick_device(c.device)
        self.batches_per_epoch = loader_length(train_loader)
        self.total_steps = c.total_steps(self.batches_per_epoch)
        self.model.to(self.device)

        width, context_length = self.model.config.emb_dim, self.model.config.context_length
        tokens = tokens_per_batch(train_loader) or c.batch_size * context_length
        self.tokens_per_step = tokens * c.gradient_accumulation_steps
        self.choice = pick_precision(c.precision, self.device, width, tokens, self.backend)
        self.precision = self.choice.precision
        self.scaler = grad_scaler(self.device, self.precision)
        self.optimizer = create_optimizer(self.model, c.learning_rate, c.weight_decay, c.betas, c.optimizer)
        self.step = self.tokens = 0
        self.seconds, self.best_loss = 0.0, math.inf
        self.history = History()
        self.board: TensorBoardWriter | None = None
        self.last_good = "none was written"  # the last good checkpoint

    def fit(self) -> History:
        """Train until the last step, or until Ctrl-C, and return the history."""
        c = self.config
        batches = batches_from(self.train_loader, self.step * c.gradient_accumulation_steps, c.seed)
        recomputed = self.model.blocks if c.activation_checkpointing else ()
        self.console.log(self.summary())
        with (
            interruptible() as stop,
            retain_freed_memory() as trim,
            use_backend(self.model, self.backend),
            activation_checkpointing(recomputed),
            self.console.progress(self.total_steps, self.step),
            ExitStack() as at_the_end,
        ):
            at_the_end.callback(self.model.eval)
            if c.tensorboard:
                folder = board_folder(self.out or Path("runs/gpt.pth"))
                self.board = TensorBoardWriter(folder, self.history)
                at_the_end.enter_context(closing(self.board))
            self.model.train()
            if c.compile:  # in the mode that it will be in: a loaded model comes in the other
                some = begin_pass(self.train_loader, c.seed)
                self.forward = compiled(self.forward, some, self.device, self.precision, self.console.warn)
            if not self.history.rows:
                self.evaluate()
            elif self.out:  # a killed run may lack its last row there
                self.history.save_csv(csv_path(self.out))
            while not self.is_over() and not stop.is_set():
                self.training_step(list(islice(batches, c.gradient_accumulation_steps)))
                trim()
                if self.step % c.eval_interval == 0 or self.step == self.total_steps:
                    self.evaluate()
            self.finish()
        return self.history

    def training_step(self, batches: list[Batch]) -> None:
        """One update: forward and backward through each batch, clip, step, log.

        Every target token weighs the same, however they are spread over the batches: the losses are summed and divided
        by the number of targets in all of them, so that accumulation equals one large batch.
        """
        start = time.perf_counter()
        batches = [inputs_and_targets(batch, self.device) for batch in batches]
        n_targets = sum((targets != IGNORE_INDEX).sum() for _, targets in batches).clamp(min=1)
        total = torch.zeros((), device=self.device)
        for inputs, targets in batches:
            with autocast(self.device, self.precision):
                loss = batch_loss(self.forward, inputs, targets) / n_targets
            self.scaler.scale(loss).backward()
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        max_norm = self.config.grad_clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), max_norm)
        loss, norm = torch.stack((total, norm.to(total))).tolist()  # the one wait for the device in a step
        self.finite("The loss", loss)
        if not self.scaler.is_enabled():  # fp16's scaler skips a step whose gradients overflow
            self.finite("The gradient", norm)

        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

        self.step += 1
        self.tokens += sum(inputs.numel() for inputs, _ in batches)
        self.seconds += time.perf_counter() - start
        self.history.step_losses.append(loss)
        self.console.advance(loss, self.history.speed(self.tokens, self.seconds))

    def evaluate(self) -> None:
        """Measure both losses, log them with a sample as a row of the history, save."""
        start = time.perf_counter()
        synchronize(self.device)  # a GPU may still be at the last update, whose time is training's
        self.seconds += time.perf_counter() - start
        train_loss, val_loss = self.loss_of(self.train_loader), self.loss_of(self.val_loader)
        n, taken = self.batches_per_epoch, self.step * self.config.gradient_accumulation_steps
        row = self.history.add(
            step=self.step,
            epoch=taken / n if n else None,
            tokens=self.tokens,
            seconds=self.seconds,
            learning_rate=self.learning_rate(),
            train_loss=train_loss,
            val_loss=val_loss,
            flops_per_token=self.model.flops_per_token(),
            peak=peak_flops(self.device, self.precision),
        )
        self.console.log(one_line(row))
        if self.tokenizer is not None and self.config.sample_prompt is not None:
            text = live_sample(self.model, self.tokenizer, self.config)
            self.history.samples.append((self.step, text))
            self.console.log(*indented(text))
        if self.board:
            self.board.add(row)
        if self.out:
            self.save(val_loss)
        if self.on_evaluation:
            self.on_evaluation(self.history)

    def save(self, val_loss: float | None, recorded: bool = True) -> None:
        """The model, if it is the best, then the latest state and the history."""
        if not self.out.exists():
            self.best_loss = math.inf  # the best of what there still is
        if val_loss is None or val_loss < self.best_loss:
            save_checkpoint(self.out, self.model, self.tokenizer)
            if val_loss is not None and recorded:
                self.best_loss = val_loss
        last = last_path(self.out)
        save_checkpoint(last, self.model, self.tokenizer, self.state_dict())
        self.last_good = f"'{last}' (step {self.step})"
        self.history.save_csv(csv_path(self.out))

    def finish(self) -> None:
        """Say why the run ended before its last step, if it did; after Ctrl-C, save what there is.

        The history gets no row then, so that a resumed run has each once.
        """
        at = f"at step {self.step} of {self.total_steps}"
        if self.is_over():
            if self.step < self.total_steps:
                best = self.history.best["step"]
                self.console.log(f"No better validation loss since step {best}: ended {at}.")
            return
        self.history.interrupted = True
        if self.out is None:
            self.console.log(f"Stopped {at}; nothing was written, as no file was named.")
            return
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise TrainingError(self.trouble("A weight became inf or nan", self.step))
        self.save(self.loss_of(self.val_loader), recorded=False)
        self.console.log(f"Stopped {at}; resume with '{last_path(self.out)}'.")

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, beside the model's weights, as tensors and plain data.

        The order of the data follows from the step.
        """
        return {
            "config": self.config.to_dict(),
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "best_loss": self.best_loss,
            "batches_per_epoch": self.batches_per_epoch,
            "precision": self.precision,
            "backend": self.backend.to_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": random_state(self.device),
            "history": self.history.to_dict(),
            "notes": self.notes,
        }

    def load_state_dict(self, state: dict[str, Any], source: str | Path = "the state") -> None:
        """Go on from a `state_dict()`; the model's weights are loaded apart. source: its file.

        Options are those of this run, and what has changed is said. Raises CheckpointError if the
        state contradicts itself or the model.
        """
        if self.config.precision == "auto":
            self.choice = PrecisionChoice(state["precision"], "as the run began")
            self.precision = self.choice.precision
            self.scaler = grad_scaler(self.device, self.precision)
        try:
            self.backend = self.given_backend or backend_of(state)
            load_optimizer_state(self.optimizer, state["optimizer"])
            if state["scaler"] != {}:  # as a run that was not in fp16 leaves it
                self.scaler.load_state_dict(state["scaler"])
            self.history = History.from_dict(state["history"])
            set_random_state(self.device, state["rng"])
            self.step, self.tokens = int(state["step"]), int(state["tokens"])
            self.seconds, self.best_loss = float(state["seconds"]), float(state["best_loss"])
            if self.step < 0 or len(self.history.step_losses) != self.step:
                raise ValueError(f"{len(self.history.step_losses)} losses of {self.step} steps")
        except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise CheckpointError(
                f"'{source}' holds a training state that can't be used ({error}); use another."
            ) from None
        self.notes = state.get("notes") if self.notes is None else self.notes
        self.last_good = f"'{source}' (step {self.step})"
        self.console.log(f"Resumed '{source}' at step {self.step} of {self.total_steps}.")
        self.console.log(*self.config.changes_since(state["config"]))

    def is_over(self) -> bool:
        """Whether the last step is done, or `patience` evaluations have found no better model."""
        patience = self.config.patience
        gave_up = patience is not None and self.history.evaluations_since_best >= patience
        return self.step >= self.total_steps or gave_up

    def learning_rate(self) -> float:
        """That of the coming step."""
        return self.config.learning_rate_at(self.step, self.total_steps)

    def loss_of(self, loader: Iterable[Batch] | None) -> float | None:
        """The loss of the model on some batches of a loader, the same at each call; None without one."""
        if loader is None:
            return None
        loss = evaluate_loss(self.model, loader, self.config.eval_batches, precision=self.precision)
        return self.finite("The loss", loss, self.step)

    def summary(self) -> str:
        """What will be trained, in a line."""
        ours = isinstance(getattr(self.train_loader, "dataset", None), SlidingWindowDataset)
        tokens = f"{'' if ours else 'about '}{self.tokens_per_step:,} tokens"
        parameters = f"{self.model.parameter_count():,} parameters on {self.device.type}"
        return f"{parameters} ({self.choice}); {self.total_steps} steps of {tokens}."

    def finite(self, what: str, value: float | Tensor, step: int | None = None) -> float:
        """The value as a number. Raises TrainingError if it isn't one; the gradients are dropped."""
        value = float(value)
        if not math.isfinite(value):
            self.optimizer.zero_grad()
            raise TrainingError(self.trouble(f"{what} became {value}", step))
        return value

    def trouble(self, what: str, step: int | None = None) -> str:
        """A message on what went wrong at a step, by default the coming one."""
        return (
            f"{what} at step {self.step + 1 if step is None else step}, with a learning rate of "
            f"{self.learning_rate():.3g}; last good checkpoint: {self.last_good}. Lower "
            "learning_rate or raise warmup_steps, then start again."
        )

    def out_of_memory(self) -> str:
        """A message for a GPU that is too small for the coming step."""
        return (
            f"The GPU has too little memory for step {self.step + 1} with batch_size={self.config.batch_size}; last "
            f"good checkpoint: {self.last_good}. Lower batch_size and raise gradient_accumulation_steps as much, or "
            "set activation_checkpointing, then start again."
        )
