"""The training loop: one `train` for notebooks, command line and tests; from scratch, from given weights, resumed.

A step is a pure function of the state before it, and the state is all in the checkpoint: interrupted and resumed, a
run ends in the same weights, bit for bit on one CPU, as if it had never stopped.
"""

import math
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from gptlib.checkpoints import best_path, last_path, save_checkpoint
from gptlib.datasets import IGNORE_INDEX, SlidingWindowDataset, batches_from, loader_length, tokens_per_batch
from gptlib.generation import check_tokenizer, generate_text
from gptlib.loss import Batch, batch_loss, evaluate_loss, inputs_and_targets, perplexity
from gptlib.model import GPTModel
from gptlib.ops.allocator import retain_freed_memory
from gptlib.ops.backend import Backend, default_backend, use_backend
from gptlib.ops.devices import autocast, peak_flops, pick_device, pick_precision, synchronize
from gptlib.tokenizers import Tokenizer
from gptlib.training.config import TrainingConfig
from gptlib.training.history import History, TensorBoardWriter, one_line
from gptlib.training.optim import create_optimizer
from gptlib.training.resume import load_training_state, restore, state_of, stored_backend
from gptlib.training.run_files import board_folder, check_room, claim
from gptlib.training.schedule import learning_rate_at
from gptlib.utils.errors import CheckpointError
from gptlib.utils.interrupts import interruptible


class TrainingError(RuntimeError):
    """Training can't go on; the message names the step, the learning rate and the last good checkpoint."""


def train(
    model: GPTModel,
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

    train_loader, val_loader: from `create_dataloader`, or anything that yields (inputs, targets), both int64 (B, T),
    or dicts as `collate_padded` makes them. tokenizer: for the live samples, and to be stored with the model.
    out: NAME.pth for the best model by validation loss (the latest, without val_loader); beside it come
    NAME.last.pth, to resume from, and NAME.csv. Files that an earlier run left there are renamed, not overwritten.
    resume: a .last.pth; its weights, optimizer, random state and history replace those of `model`, and `out` is by
    default the file beside it. notes: plain data to keep in that file, such as the name of the text.
    on_evaluation: called with the history after each evaluation, to draw it, say.
    backend: the kernels to compute by on a CPU; by default the resumed run's, or those of `default_backend`.
    verbose: progress bar, losses and samples. Ctrl-C ends the step, saves and returns; a second one stops at once.

    Raises ValueError for options that make no sense, CheckpointError where `resume` does not fit or `out` can't be
    written, TrainingError where the loss is no longer finite.
    """
    config = config or TrainingConfig()
    state = None if resume is None else load_training_state(resume)
    if resume is not None and out is None:
        out = best_path(resume)
    if resume is not None and Path(out) == Path(resume):
        raise CheckpointError(f"The best model would take the place of '{resume}'; give out, a name of its own.")
    if backend is None:
        backend = default_backend() if state is None else stored_backend(resume, state)
    run = Run(model, train_loader, val_loader, config, tokenizer, out, state, verbose, backend)
    run.notes, run.on_evaluation = notes, on_evaluation
    if state is None:
        torch.manual_seed(config.seed)
    else:
        restore(run, resume, state)
        run.saved = f"'{resume}' (step {run.step})"
    if run.out:
        kept = claim(run.out, resume)
        run.say(*(f"An earlier run's {run.out.name} is kept as {path.name}." for path in kept[:1]))
        if resume is not None:
            run.best_loss = run.best_loss if run.out.exists() else math.inf  # best of what there still is
            run.save_history()  # a run that was killed may lack its last row there
    return run.go()


class Run:
    """A run: its state, and its moves: step, evaluate, save."""

    def __init__(
        self,
        model: GPTModel,
        train_loader: Iterable[Batch],
        val_loader: Iterable[Batch] | None,
        config: TrainingConfig,
        tokenizer: Tokenizer | None,
        out: str | Path | None,
        state: dict[str, Any] | None,
        verbose: bool,
        backend: Backend,
    ):
        self.backend = backend
        self.config, self.tokenizer, self.verbose = config, tokenizer, verbose
        self.train_loader, self.val_loader = train_loader, val_loader
        model = getattr(model, "_orig_mod", model)  # of a compiled model, the one it was made from
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError("The model has no parameter to train: frozen or quantized for inference; load it anew.")
        if config.patience is not None and val_loader is None:
            raise ValueError(
                f"patience={config.patience} counts evaluations of a validation loss; pass val_loader, or leave it out."
            )
        self.device = pick_device(config.device)
        self.batches_per_epoch = loader_length(train_loader)
        self.total_steps = config.total_steps(self.batches_per_epoch)
        if tokenizer is not None:
            check_tokenizer(model, tokenizer)
            if config.sample_prompt is not None:
                tokenizer.encode(config.sample_prompt)  # a prompt it can't encode is refused now, not at an evaluation
        self.out = None if out is None else Path(out)
        if self.out is not None:
            check_room(self.out, model)
            if self.out.suffix != ".pth":
                raise ValueError(f"out='{out}' is no checkpoint's name; give one that ends in .pth.")

        self.model = model.to(self.device)
        tokens = tokens_per_batch(train_loader) or config.batch_size * model.config.context_length
        about = "" if isinstance(getattr(train_loader, "dataset", None), SlidingWindowDataset) else "about "
        # A resumed run keeps the precision it began with: measuring again could choose another.
        precision = config.precision
        if state is not None and precision == "auto":
            precision = state["training"]["precision"]
        choice = pick_precision(precision, self.device, model.config.emb_dim, tokens, backend)
        self.precision = choice.precision
        self.peak_flops = peak_flops(self.device, self.precision)
        self.optimizer = create_optimizer(
            model, config.learning_rate, config.weight_decay, config.betas, config.optimizer
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.step = self.tokens = 0
        self.seconds, self.best_loss = 0.0, math.inf
        self.history = History()
        self.saved = "none was written"  # the last good checkpoint
        self.since = (0, 0.0)  # tokens and seconds at the last evaluation
        self.say(
            f"{model.parameter_count():,} parameters on {self.device.type} ({choice}); {self.total_steps} steps of "
            f"{about}{tokens * config.gradient_accumulation_steps:,} tokens."
        )

    def save_history(self) -> None:
        path = self.out.with_suffix(".csv")
        try:
            self.history.save_csv(path)
        except OSError as error:
            raise CheckpointError(f"'{path}' could not be written ({error.strerror}); make room for it.") from error

    def say(self, *lines: str) -> None:
        """Print, without tearing the progress bar apart."""
        if self.verbose:
            for line in lines:
                tqdm.write(line)

    def go(self) -> History:
        """Train until the last step, or until Ctrl-C."""
        first = self.step * self.config.gradient_accumulation_steps
        batches = batches_from(self.train_loader, first, self.config.seed)
        self.forward = self.compiled() if self.config.compile else self.model
        self.model.recompute = self.config.recompute
        self.board = None
        if self.config.tensorboard:
            self.board = TensorBoardWriter(board_folder(self.out or Path("runs/gpt.pth")), self.history)
        with (
            use_backend(self.model, self.backend),
            interruptible() as stop,
            retain_freed_memory() as trim,
            self.progress() as bar,
        ):
            if not self.history.rows:
                self.evaluate_and_save()
            self.model.train()
            while not self.is_over() and not stop.is_set():
                self.timed_step(list(islice(batches, self.config.gradient_accumulation_steps)), bar)
                trim()
                if self.step % self.config.eval_interval == 0 or self.step == self.total_steps:
                    self.evaluate_and_save()
        if not self.is_over():
            self.end_early()
        elif self.step < self.total_steps:
            best = self.history.best
            self.say(f"No better validation loss since step {best['step']}: ended at step {self.step}.")
        if self.board:
            self.board.close()
        self.model.eval()
        return self.history

    def is_over(self) -> bool:
        """Whether the last step is done, or `patience` evaluations in a row have found no better validation loss."""
        if self.step >= self.total_steps:
            return True
        losses = [row["val_loss"] for row in self.history.rows if row["val_loss"] is not None]
        patience = self.config.patience
        return patience is not None and losses != [] and len(losses) - 1 - losses.index(min(losses)) >= patience

    def progress(self) -> tqdm:
        return tqdm(total=self.total_steps, initial=self.step, unit="step", disable=not self.verbose, smoothing=0.05)

    def timed_step(self, batches: list[Batch], bar: tqdm) -> None:
        """One step, with its loss and speed in the progress bar."""
        start = time.perf_counter()
        loss, tokens = self.training_step(batches)
        self.seconds += time.perf_counter() - start
        self.tokens += tokens
        self.history.step_losses.append(loss)
        bar.update()
        if self.verbose:
            bar.set_postfix_str(f"loss {loss:.3f}, {self.speed():,.0f} tokens/s", refresh=False)

    def training_step(self, batches: list[Batch]) -> tuple[float, int]:
        """Forward and backward through each batch, then one update; the mean loss and the number of tokens.

        Every target token weighs the same, however they are spread over the batches: the losses are summed and
        divided by the number of targets in all of them, so that accumulation equals one large batch.
        """
        learning_rate = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        batches = [inputs_and_targets(batch, self.device) for batch in batches]
        n_targets = sum((targets != IGNORE_INDEX).sum() for _, targets in batches).clamp(min=1)
        total = torch.zeros((), device=self.device)
        for inputs, targets in batches:
            with autocast(self.device, self.precision):
                loss = batch_loss(self.model, inputs, targets, self.forward) / n_targets
            self.scaler.scale(loss).backward()
            total += loss.detach()
        if not math.isfinite(loss := total.item()):
            self.optimizer.zero_grad()
            raise TrainingError(self.not_finite(f"The loss became {loss}"))
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip or math.inf)
        # fp16's scaler expects gradients to overflow now and then, and skips such a step.
        if not self.scaler.is_enabled() and not math.isfinite(norm):
            self.optimizer.zero_grad()
            raise TrainingError(self.not_finite(f"The gradient became {norm.item()}"))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.step += 1
        return loss, sum(inputs.numel() for inputs, _ in batches)

    def learning_rate(self) -> float:
        """That of the coming step."""
        c = self.config
        lowest = c.learning_rate / 10 if c.min_learning_rate is None else c.min_learning_rate
        return learning_rate_at(
            self.step,
            schedule=c.lr_schedule,
            peak=c.learning_rate,
            lowest=lowest,
            warmup_steps=c.warmup_steps,
            decay_steps=c.lr_decay_steps or self.total_steps,
        )

    def not_finite(self, what: str, step: int = 1) -> str:
        return (
            f"{what} at step {self.step + step}, with a learning rate of {self.learning_rate():.3g}; "
            f"last good checkpoint: {self.saved}. Lower learning_rate or raise warmup_steps, then start again."
        )

    def speed(self) -> float:
        """Tokens a second since the last evaluation, evaluations not counted."""
        tokens, seconds = self.since
        return (self.tokens - tokens) / max(self.seconds - seconds, 1e-9)

    def evaluate_and_save(self) -> None:
        """Measure both losses, print them with a sample, add a row to the history, write the checkpoints."""
        synchronize(self.device)
        n = self.config.eval_batches
        train_loss = evaluate_loss(self.model, self.train_loader, n, precision=self.precision)
        val_loss = None
        if self.val_loader is not None:
            val_loss = evaluate_loss(self.model, self.val_loader, n, precision=self.precision)
        for loss in (train_loss, val_loss):
            if loss is not None and not math.isfinite(loss):
                raise TrainingError(self.not_finite(f"The loss became {loss}", 0))
        speed = self.speed() if self.step else None
        row = {
            "step": self.step,
            "epoch": self.epoch(),
            "tokens": self.tokens,
            "learning_rate": self.learning_rate(),
            "train_loss": train_loss,
            "val_loss": val_loss,
            "perplexity": perplexity(train_loss if val_loss is None else val_loss),
            "tokens_per_second": speed,
            "mfu": speed * self.model.flops_per_token() / self.peak_flops if speed and self.peak_flops else None,
            "seconds": self.seconds,
        }
        self.history.rows.append(row)
        self.since = (self.tokens, self.seconds)
        self.say(one_line(row))
        self.sample()
        if self.board:
            self.board.add(row)
        if self.out:
            self.save(val_loss)
        if self.on_evaluation:
            self.on_evaluation(self.history)

    def epoch(self) -> float | None:
        n = self.batches_per_epoch
        return self.step * self.config.gradient_accumulation_steps / n if n else None

    def sample(self) -> None:
        """A live sample into the history, and onto the screen."""
        c = self.config
        if self.tokenizer is None or c.sample_prompt is None:
            return
        room = self.model.config.context_length - len(self.tokenizer.encode(c.sample_prompt))
        n = min(c.sample_tokens, max(room, 1))  # beyond its context the model would need a warning
        text = generate_text(self.model, self.tokenizer, c.sample_prompt, n, temperature=0.8, top_k=50, seed=c.seed)
        self.history.samples.append((self.step, text))
        self.say(*(f"  | {line}" for line in text.splitlines() if line.strip()))

    def save(self, val_loss: float | None, recorded: bool = True) -> None:
        """The best model, where this is it, then the latest state and the history."""
        better = val_loss is None or val_loss < self.best_loss
        if better:
            save_checkpoint(self.out, self.model, self.tokenizer)
            if val_loss is not None and recorded:
                self.best_loss = val_loss
        save_checkpoint(last_path(self.out), self.model, self.tokenizer, state_of(self))
        self.saved = f"'{last_path(self.out)}' (step {self.step})"
        self.save_history()

    def end_early(self) -> None:
        """After Ctrl-C: keep what there is. The history gets no row, so that a resumed run has each once."""
        self.history.interrupted = True
        if self.out is None:
            self.say(f"Stopped at step {self.step} of {self.total_steps}; nothing was written, as no file was named.")
            return
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise TrainingError(self.not_finite("A weight became inf or nan", 0))
        val_loss = None
        if self.val_loader is not None:
            val_loss = evaluate_loss(self.model, self.val_loader, self.config.eval_batches, precision=self.precision)
        self.save(val_loss, recorded=False)
        self.say(f"Stopped at step {self.step} of {self.total_steps}; resume with '{last_path(self.out)}'.")

    def compiled(self) -> Callable[[Tensor], Tensor]:
        """The model compiled, tried on one batch; or the plain one, with a message, where that fails."""
        try:
            forward = torch.compile(self.model)
            with torch.random.fork_rng(), autocast(self.device, self.precision):
                inputs, targets = inputs_and_targets(next(iter(self.train_loader)), self.device)
                batch_loss(self.model, inputs, targets, forward).backward()
        except Exception as error:  # whatever a missing or broken compiler raises
            self.say(f"torch.compile does not work here ({type(error).__name__}); training goes on without it.")
            forward = self.model
        self.optimizer.zero_grad()
        return forward
