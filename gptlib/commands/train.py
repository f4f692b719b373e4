"""Train a GPT on a text. Without --config, the recipe configs/quick.yaml: two minutes on a laptop's CPU.

Short forms: -B batch_size, -l learning_rate, -c context_length, -e emb_dim, -H n_heads, -b n_layers, -d drop_rate,
-g generate. Any other field: --model.FIELD VALUE or --training.FIELD VALUE.
"""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from gptlib.checkpoints import best_path, find_checkpoint, last_path, load_checkpoint
from gptlib.commands.options import add_shared
from gptlib.commands.running import (
    draw_losses,
    one_length,
    program,
    resumed_defaults,
    say_best,
    unset,
    value_of,
    with_recipe_found,
    written_out,
)
from gptlib.corpus import Corpus, load_corpus
from gptlib.datasets import create_dataloader
from gptlib.generation import generate_text
from gptlib.loss import evaluate_loss, perplexity
from gptlib.model import GPT_CONFIG_SMALL, GPTConfig, GPTModel
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
    "-g": "--generate",
}


def add_arguments(parser) -> None:
    parser.add_argument("--config", action="config", help="a recipe: a YAML file, or a name in configs/, as quick")
    add_shared(parser, "--data")
    add_shared(parser, "--tokenizer")
    add_shared(parser, "--vocab-size")
    add_shared(parser, "--ratios")
    parser.add_argument(
        "--stride",
        type=int | None,
        default=None,
        help="tokens from one training window to the next (default: the window; 1 lets windows begin anywhere)",
    )
    parser.add_argument(
        "--window",
        type=int | None,
        default=None,
        help="tokens of a training window (default: the model's context_length; fewer take less memory)",
    )
    parser.add_argument(
        "--init",
        type=str | None,
        default=None,
        help="start from the weights of this checkpoint, or of an official size: 124M, 355M, 774M, 1558M",
    )
    add_shared(parser, "--resume")
    parser.add_argument(
        "--out", type=str | None, default=None, help="where the model goes (default: a name made from its shape)"
    )
    add_shared(parser, "--no-save")
    parser.add_argument("--generate", type=int, default=0, help="write this many samples when done")
    parser.add_class_arguments(GPTConfig, "model", skip={"vocab_size"})
    parser.add_class_arguments(TrainingConfig, "training")
    parser.set_defaults({f"model.{k}": v for k, v in GPT_CONFIG_SMALL.to_dict().items() if k != "vocab_size"})


def expand(arguments: list[str], parser) -> list[str]:
    """Short forms written out, recipes found by name, and the options of a run to resume as the new defaults."""
    arguments = with_consequences([written_out(argument, SHORT) for argument in arguments])
    resumed = value_of("--resume", arguments)
    if resumed is not None:
        parser.set_defaults(resumed_defaults(resumed, ("data", "ratios", "stride", "window")))
    return with_recipe(arguments)


def with_consequences(arguments: list[str]) -> list[str]:
    """The arguments, with what of a recipe can't hold any longer beside them set back to nothing."""
    given = {name for name in ("--tokenizer", "--stride", "--vocab-size") if value_of(name, arguments)}
    if "--tokenizer" in given:
        arguments = unset("--vocab-size", arguments, given)  # the recipe's size is for another tokenizer
    if value_of("--training.epochs", arguments):
        arguments = unset("--stride", arguments, given)  # an epoch is once over the text
    return one_length(arguments)


def with_recipe(arguments: list[str]) -> list[str]:
    """The arguments, with the path of a recipe that is named, and with that of `quick` where a new run has none."""
    fresh = all(value_of(name, arguments) is None for name in ("--config", "--resume", "--init"))
    quick = project_root() / "configs" / "quick.yaml"
    return ["--config", str(quick), *arguments] if fresh and quick.is_file() else with_recipe_found(arguments)


def run(options, parser) -> int:
    if options.init and options.resume:
        parser.error("--init starts a new run and --resume finishes an old one; give one of them")
    if options.generate < 0:
        parser.error(f"--generate {options.generate} samples can't be written; give 0 or more")
    # Made here, because a value that makes no sense is wrong use of the command.
    try:
        config = TrainingConfig(**vars(options.training))
        shape = GPTConfig(**vars(options.model))
    except ValueError as error:
        parser.error(str(error))

    data = options.data or project_root() / "data" / "input.txt"
    stored = load_checkpoint(find_checkpoint(options.resume)) if options.resume else None
    if options.init:
        stored = load_model(options.init, dtype="fp32")  # as 16 bits lose small steps
    tokenizer = stored.tokenizer if stored else None
    vocab_size = None if tokenizer else options.vocab_size
    corpus = load_corpus(data, tokenizer or options.tokenizer, vocab_size=vocab_size, ratios=options.ratios)
    torch.manual_seed(config.seed)
    model = stored.model if stored else GPTModel(replace(shape, vocab_size=corpus.tokenizer.vocab_size))
    longest = model.config.context_length
    if options.window is not None and not 1 <= options.window <= longest:
        parser.error(f"--window {options.window} is not possible; give 1 to {longest}, the model's context_length")
    train_loader, val_loader, test_loader = loaders(corpus, options.window or longest, options.stride, config)

    out = None if options.no_save else output_path(options, model.config)
    where = Path(data).resolve() if Path(data).exists() else data
    history = train(
        model,
        train_loader,
        val_loader,
        config,
        tokenizer=corpus.tokenizer,
        out=out,
        resume=find_checkpoint(options.resume) if options.resume else None,
        notes={"data": str(where), "ratios": list(options.ratios), "stride": options.stride, "window": options.window},
    )
    if out:
        model = load_checkpoint(out, model.device).model  # the best one, which need not be the last
    report(history, model, test_loader, out)
    if options.generate:
        prompt = config.sample_prompt or "\n"
        n = min(200, model.config.context_length - 1)
        for text in generate_text(model, corpus.tokenizer, prompt, n, num_samples=options.generate, temperature=0.8):
            print(f"---\n{text.strip()}")
    return 130 if history.interrupted else 0


def report(history: History, model: GPTModel, test_loader: DataLoader | None, out: Path | None) -> None:
    """Say how good the best model is, draw the loss curve, and tell what to do next."""
    say_best(history)
    if test_loader is not None and not history.interrupted:
        loss = evaluate_loss(model, test_loader)
        print(f"On the test part, which it has never seen: {loss:.4f} (perplexity {perplexity(loss):.2f}).")
    if out is None:
        return
    draw_losses(history, out)
    if history.interrupted:
        print(f"Finish the run: {program()} train --resume {last_path(out)}")
    print(f'Let it write: {program()} generate --load {out} --prompt "..."')


def loaders(corpus: Corpus, window: int, stride: int | None, config: TrainingConfig) -> tuple:
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


def output_path(options, config: GPTConfig) -> Path:
    """The file asked for, that of the resumed run, or model_weights/gpt.c256.e384.h6.b6-2026.11.21_093000.pth."""
    if options.out or options.resume:
        return Path(options.out or best_path(find_checkpoint(options.resume)))
    c, date = config, datetime.now().strftime("%Y.%m.%d_%H%M%S")
    name = f"gpt.c{c.context_length}.e{c.emb_dim}.h{c.n_heads}.b{c.n_layers}-{date}.pth"
    return project_root() / "model_weights" / name
