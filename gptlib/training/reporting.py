"""What a run tells people while it goes on: lines, a progress bar between them, and live samples."""

import warnings

from torch import nn
from tqdm.auto import tqdm

from gptlib.generation import generate_text
from gptlib.tokenizers import Tokenizer
from gptlib.training.config import TrainingConfig


class Console:
    """Lines and a progress bar that they do not tear apart; nothing at all unless `verbose`."""

    def __init__(self, verbose: bool):
        self.verbose = verbose
        self.bar: tqdm | None = None

    def log(self, *lines: str) -> None:
        """Print each line."""
        if self.verbose:
            for line in lines:
                tqdm.write(line)

    def warn(self, line: str) -> None:
        """Print the line; to a run that is quiet, it is a warning."""
        if self.verbose:
            self.log(line)
        else:
            warnings.warn(line, stacklevel=2)

    def progress(self, total_steps: int, step: int) -> tqdm:
        """The bar, at `step`; to be closed, or used in a `with`."""
        self.bar = tqdm(total=total_steps, initial=step, unit="step", smoothing=0.05, disable=not self.verbose)
        return self.bar

    def advance(self, loss: float, tokens_per_second: float) -> None:
        """One step more in the bar, if there is one, with its loss and speed."""
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix_str(f"loss {loss:.3f}, {tokens_per_second:,.0f} tokens/s", refresh=False)


def live_sample(model: nn.Module, tokenizer: Tokenizer, config: TrainingConfig) -> str:
    """What the model writes after `config.sample_prompt`, which comes first; always with the same seed."""
    room = model.config.context_length - len(tokenizer.encode(config.sample_prompt))
    n = min(config.sample_tokens, max(room, 1))  # beyond its context the model would need a warning
    return generate_text(model, tokenizer, config.sample_prompt, n, temperature=0.8, top_k=50, seed=config.seed)


def indented(text: str) -> list[str]:
    """The lines of a sample, set off from the others; empty ones left out."""
    return [f"  | {line}" for line in text.splitlines() if line.strip()]
