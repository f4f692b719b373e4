"""Train a GPT on a text. Without --config, the recipe configs/quick.yaml: two minutes on a laptop's CPU."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from gptlib.checkpoints import Checkpoint, find_checkpoint, load_checkpoint
from gptlib.commands.options import add_shared, add_short_forms
from gptlib.commands.parsing import layered
from gptlib.commands.running import output_path, program, resumed_options, say_best, say_files
from gptlib.commands.values import NonNegativeInt, PositiveInt
from gptlib.corpus import Corpus, load_corpus
from gptlib.datasets import create_dataloader
from gptlib.generation import generate_text
from gptlib.loss import evaluate_loss, perplexity
from gptlib.model import GPT_CONFIG_SMALL, GPTConfig, GPTModel
from gptlib.tokenizers import Tokenizer
from gptlib.training import TrainingConfig, train
from gptlib.training.history import History
from gptlib.utils.folders import project_root
from gptlib.weights.loading import load_model

USAGE = "gptlib train [--config FILE.yaml] [--data TEXT_OR_DIR] [--out FILE.pth] [OPTIONS]"

SHORT = {
    "-B": "--training.batch_size",
    "-l": "--training.learning_rate",
    "-c": "--model.context_length",
    "-e": "--model.emb_dim",
    "-H": "--model.n_heads",
    "-b": "--model.n_layers",
    "-d": "--model.drop_rate",
}

KEPT = ("data", "ratios", "stride", "window")
"""Options that a run notes, for the one that resumes it."""


def add_arguments(parser) -> None:
    add_shared(parser, "--config")
    for name in ("--data", "--tokenizer", "--vocab-size", "--ratios"):
        add_shared(parser, name)
    parser.add_argument(
        "--stride",
        type=PositiveInt | None,
        help="tokens from one training window to the next (default: the window; 1 lets windows begin anywhere)",
    )
    parser.add_argument(
        "--window",
        type=PositiveInt | None,
        help="tokens of a training window (default: the model's context_length; fewer take less memory)",
    )
    parser.add_argument(
        "--init",
        type=str | None,
        help="start from the weights of this checkpoint, or of an official size: 124M, 355M, 774M, 1558M",
    )
    add_shared(parser, "--resume")
    parser.add_argument("--out", type=str | None, help="where the model goes (default: a name made from its shape)")
    add_shared(parser, "--no-save")
    parser.add_argument("-g", "--generate", type=NonNegativeInt, default=0, help="write this many samples when done")
    parser.add_class_arguments(GPTConfig, "model", skip={"vocab_size"})
    parser.add_class_arguments(TrainingConfig, "training")
    parser.set_defaults({f"model.{k}": v for k, v in GPT_CONFIG_SMALL.to_dict().items() if k != "vocab_size"})
    add_short_forms(parser, SHORT)


def defaults(given, parser) -> dict[str, Any]:
    """The options of the run to resume, then those of recipes; `quick` is the recipe of a new run that has none."""
    recipes = given.pop("config", [])
    quick = project_root() / "configs" / "quick.yaml"
    if not recipes and "resume" not in given and "init" not in given and quick.is_file():
        recipes = [quick]
    stored = resumed_options(given.get("resume"), KEPT)
    options = layered([stored, *map(parser.read_recipe, recipes), dict(given.items())])
    if "tokenizer" in given and "vocab_size" not in given:
        options["vocab_size"] = None  # a recipe's size is for the recipe's tokenizer
    if given.get("training.epochs") and "stride" not in given:
        options["stride"] = None  # an epoch is once over the text
    return options


def run(options, parser) -> int:
    """Read the text, make the model or load it, train it, and say how good it has become."""
    if options.init and options.resume:
        parser.error("--init starts a new run and --resume finishes an old one; give one of them")
    config = options.training
    resume = find_checkpoint(options.resume) if options.resume else None
    start = starting_point(resume, options.init)
    data = options.data or project_root() / "data" / "input.txt"
    corpus = read_corpus(data, options, start)
    torch.manual_seed(config.seed)
    model = start.model if start else GPTModel(replace(options.model, vocab_size=corpus.tokenizer.vocab_size))
    window = options.window or model.config.context_length
    if window > model.config.context_length:
        parser.error(f"--window {window} is more than the model sees; give 1 to {model.config.context_length}")
    train_loader, val_loader, test_loader = make_loaders(corpus, window, options.stride, config)

    out = output_path(options, resume, shape_name(model.config))
    notes = {"data": lasting_name(data), "ratios": list(options.ratios)}
    notes |= {"stride": options.stride, "window": options.window}
    history = train(
        model, train_loader, val_loader, config, tokenizer=corpus.tokenizer, out=out, resume=resume, notes=notes
    )
    if out:
        model = load_checkpoint(out, model.device).model  # the best one, which need not be the last
    report(history, model, test_loader, out)
    for text in samples(model, corpus.tokenizer, config.sample_prompt or "\n", options.generate):
        print(f"---\n{text.strip()}")
    return 130 if history.interrupted else 0


def starting_point(resume: Path | None, init: str | None) -> Checkpoint | None:
    """The run to resume, or the weights to start from; None for a new model."""
    if resume:
        return load_checkpoint(resume)
    return load_model(init, dtype="fp32") if init else None  # as 16 bits lose small steps


def read_corpus(data: str | Path, options, start: Checkpoint | None) -> Corpus:
    """The tokens of the data, made with the tokenizer of the model that is given, if one is."""
    if start and start.tokenizer:
        return load_corpus(data, start.tokenizer, ratios=options.ratios)
    return load_corpus(data, options.tokenizer, vocab_size=options.vocab_size, ratios=options.ratios)


def make_loaders(corpus: Corpus, window: int, stride: int | None, config: TrainingConfig) -> tuple:
    """Loaders of windows of that many tokens for train, validation and test; None for a part that is too short."""
    sizes = {"batch_size": config.batch_size, "context_length": window, "seed": config.seed}
    train_loader = create_dataloader(corpus.train, **sizes, stride=stride)
    others = []
    for name, part in (("validation", corpus.val), ("test", corpus.test)):
        enough = len(part) > window
        if not enough and len(part):
            print(f"The {name} part has {len(part)} tokens, too few for a window of {window}: it is left out.")
        others.append(create_dataloader(part, **sizes, shuffle=False, drop_last=False) if enough else None)
    return train_loader, *others


def shape_name(config: GPTConfig) -> str:
    """Example: "gpt.c256.e384.h6.b6" """
    return f"gpt.c{config.context_length}.e{config.emb_dim}.h{config.n_heads}.b{config.n_layers}"


def lasting_name(data: str | Path) -> str:
    """The data's path from anywhere, for the run that resumes this one; or its name, if it is no file."""
    return str(Path(data).resolve() if Path(data).exists() else data)


def report(history: History, model: GPTModel, test_loader: DataLoader | None, out: Path | None) -> None:
    """Say how good the best model is, draw the loss curve, and tell what to do next."""
    say_best(history)
    if test_loader is not None and not history.interrupted:
        loss = evaluate_loss(model, test_loader)
        print(f"On the test part, which it has never seen: {loss:.4f} (perplexity {perplexity(loss):.2f}).")
    if out is not None:
        say_files(history, out, "train")
        print(f'Let it write: {program()} generate --load {out} --prompt "..."')


def samples(model: GPTModel, tokenizer: Tokenizer, prompt: str, n: int) -> list[str]:
    """n texts that begin with the prompt."""
    if n == 0:
        return []
    length = min(200, model.config.context_length - 1)
    return generate_text(model, tokenizer, prompt, length, num_samples=n, temperature=0.8)
