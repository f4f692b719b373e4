"""The comparison itself: prepare all tokenizers, then train and judge their models, one after another."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from gptlib.commands.compare.budget import ComparisonConfig, block_parameters, shape_for
from gptlib.commands.compare.report import ComparisonRow, describe, finished_rows
from gptlib.corpus.reading import Source, Texts, find_sources, joined
from gptlib.corpus.splitting import split_text
from gptlib.datasets import create_dataloader
from gptlib.evaluation import cut_prompts, judge_continuations, text_loss, write_continuations
from gptlib.evaluation.texts import require_sacrebleu
from gptlib.evaluation.whole_text import n_bytes
from gptlib.model import GPTConfig, GPTModel
from gptlib.tokenizers import Tokenizer, train_tokenizer
from gptlib.training import TrainingConfig, train
from gptlib.training.history import History
from gptlib.utils.files import write_json

TOKENIZERS = ("char", "word", "sentencepiece", "bpe", "gpt2")
RATIOS = (0.9, 0.0, 0.1)  # nothing is chosen by a validation part, so there is none


@dataclass(frozen=True)
class Contender:
    """A tokenizer with the shape of its model and its training text in windows."""

    name: str
    tokenizer: Tokenizer
    shape: GPTConfig
    windows: DataLoader


def compare_tokenizers(
    texts: Texts,
    config: ComparisonConfig | None = None,
    *,
    tokenizers: Sequence[str] = TOKENIZERS,
    path: str | Path | None = None,
    verbose: bool = True,
) -> list[ComparisonRow]:
    """Train and judge a model for each tokenizer; their rows, in the order given.

    texts: as `read_text` takes them; of each, the last tenth is held out. path: a JSON file for the rows, written as
    they come; those that are there already are not measured again, so that an interrupted comparison goes on.
    verbose: a line for each tokenizer.

    Raises ValueError for an unknown tokenizer, too short a text, a budget that makes no model, or a file of another
    comparison, all before the first model is trained; KeyboardInterrupt if training was interrupted.
    """
    config = config or ComparisonConfig()
    if unknown := [name for name in tokenizers if name not in TOKENIZERS]:
        raise ValueError(f"{unknown[0]!r} is no tokenizer to compare; choose among {', '.join(TOKENIZERS)}.")
    require_sacrebleu()
    sources = find_sources(texts)
    training_text, held_out = split_each(sources)
    cut_prompts(held_out, config.continuations)  # says now whether the text is too short
    report = describe(sources, training_text, held_out, config)
    rows = {} if path is None else finished_rows(path, report["settings"])
    missing = [name for name in dict.fromkeys(tokenizers) if name not in rows]
    for contender in [prepare(name, training_text, held_out, config) for name in missing]:
        if verbose:
            print(f"{contender.name}: {contender.tokenizer.vocab_size:,} tokens, training … ", end="", flush=True)
        model, history = trained(contender, config)
        row = judged(contender, model, history, training_text, held_out, config)
        rows[contender.name] = row
        if path is not None:
            write_json(path, report | {"rows": [asdict(row) for row in rows.values()]})
        if verbose:
            print(f"{row.training_seconds:.0f} s, {row.bits_per_byte:.3f} bits per byte")
    return [rows[name] for name in tokenizers]


def split_each(sources: Sequence[Source]) -> tuple[str, str]:
    """What is trained on and what is held out: the same shares of each text, so that both are of the same kinds."""
    parts = [split_text("".join(joined([source])), RATIOS) for source in sources]
    return "".join(part[0] for part in parts), "".join(part[2] for part in parts)


def prepare(name: str, training_text: str, held_out: str, config: ComparisonConfig) -> Contender:
    """The tokenizer, trained on the training text (char on all of it, so that no character is unknown), and its model.

    Raises ValueError if the vocabulary or the model has no such size, or the text is shorter than a window.
    """
    size = config.vocab_size if name in ("word", "sentencepiece", "bpe") else None
    tokenizer = train_tokenizer(name, training_text + held_out if name == "char" else training_text, size)
    windows = create_dataloader(
        training_text,
        tokenizer=tokenizer,
        batch_size=config.batch_size,
        context_length=config.context_length,
        drop_last=False,  # all that is left out is what doesn't fill the very last window
        seed=config.seed,
    )
    return Contender(name, tokenizer, shape_for(tokenizer.vocab_size, config), windows)


def trained(contender: Contender, config: ComparisonConfig) -> tuple[GPTModel, History]:
    """A new model after all passes over the text. Raises KeyboardInterrupt if they were interrupted."""
    torch.manual_seed(config.seed)
    model = GPTModel(contender.shape)
    options = TrainingConfig(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        optimizer="muon",  # after one pass char needs 2.3 bits a byte, with AdamW (at 4e-3) 3.3
        precision="fp32",
        eval_interval=len(contender.windows) * config.epochs,
        eval_batches=1,
        sample_prompt=None,
        seed=config.seed,
        device="cpu",  # on which all of it can be had again, up to rounding
    )
    history = train(model, contender.windows, config=options, verbose=False)
    if history.interrupted:
        raise KeyboardInterrupt
    return model, history


def judged(
    contender: Contender,
    model: GPTModel,
    history: History,
    training_text: str,
    held_out: str,
    config: ComparisonConfig,
) -> ComparisonRow:
    """The row of a trained model."""
    tokenizer, shape, last = contender.tokenizer, contender.shape, history.rows[-1]
    loss, pieces = text_loss(model, tokenizer, held_out), cut_prompts(held_out, config.continuations)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The prompt of")  # the context is too short for some: part of the comparison
        written = write_continuations(model, tokenizer, pieces, temperature=config.temperature, seed=config.seed)
    writing_seconds = time.perf_counter() - start
    training_bytes = config.epochs * n_bytes(training_text)
    bytes_per_token = loss.n_bytes / loss.n_tokens
    return ComparisonRow(
        tokenizer=contender.name,
        vocab_size=shape.vocab_size,
        emb_dim=shape.emb_dim,
        n_heads=shape.n_heads,
        n_layers=shape.n_layers,
        parameters=model.parameter_count(),
        embedding_share=1 - block_parameters(model) / model.parameter_count(),
        bytes_per_token=bytes_per_token,
        context_bytes=shape.context_length * bytes_per_token,
        training_bytes=training_bytes,
        training_steps=last["step"],
        training_seconds=last["seconds"],
        training_bytes_per_second=training_bytes / last["seconds"],
        bits_per_byte=loss.bits_per_byte,
        charged_bits_per_byte=8 * loss.lost_bytes / loss.n_bytes,
        bleu=judge_continuations(written, [reference for _, reference in pieces])["bleu"],
        characters_per_second=sum(map(len, written)) / writing_seconds,
        sample=written[0],
    )
