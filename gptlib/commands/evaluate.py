"""Say how good a model is: its loss on a text, its answers to questions, and what it writes beside what stands there.

Without options: model_weights/trained_gpt2.pth on the part of data/input.txt that training never saw.
"""

import importlib.metadata
import sys
from pathlib import Path
from typing import Any, Literal

import torch

from gptlib.checkpoints import Checkpoint
from gptlib.commands.options import add_shared
from gptlib.commands.running import load_to_write
from gptlib.commands.values import NonNegativeInt, PositiveInt
from gptlib.corpus import load_prepared, read_text, split_text
from gptlib.corpus.prepared import META_FILE
from gptlib.evaluation import Question, evaluate_continuations, read_questions, score_choices, standard_error, text_loss
from gptlib.generation.quantization import INFERENCE_PRECISIONS
from gptlib.utils.files import write_json
from gptlib.utils.folders import project_root

USAGE = "gptlib evaluate --load FILE [--data TEXT_OR_DIR] [--choices FILE.jsonl] [--continuations N] [OPTIONS]"


def add_arguments(parser) -> None:
    add_shared(parser, "--load")
    add_shared(parser, "--adapter")
    add_shared(parser, "--data")
    parser.add_argument(
        "--part",
        type=Literal["test", "val", "train", "all"],
        default="test",
        help="the part of it; `gptlib train --data` keeps test and val out of training",
    )
    add_shared(parser, "--ratios")
    parser.add_argument(
        "--stride",
        type=PositiveInt | None,
        help="tokens from one window to the next; fewer give each token more context (default: half the context)",
    )
    parser.add_argument("--choices", type=str | None, help="questions to answer: data/choices.jsonl")
    parser.add_argument(
        "--continuations", type=NonNegativeInt, default=0, help="continue the text from this many places, and compare"
    )
    add_shared(parser, "--temperature", default=0.8, help="of the continuations; 0 takes the most likely tokens")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of the continuations")
    parser.add_argument("--out", type=str | None, help="write the results here, as JSON")
    add_shared(parser, "--device")
    add_shared(
        parser,
        "--precision",
        type=Literal[INFERENCE_PRECISIONS],
        default="fp32",  # what was measured shall not hang on the machine
        help="of the weights: fp32 judges the model itself; int8 is for CPUs only, auto goes by model and machine",
    )


def run(options, parser) -> int:
    if options.out and Path(options.out).is_dir():
        parser.error(f"--out {options.out} is a folder; give the name of a file, as results.json")
    questions = read_questions(options.choices) if options.choices else []
    data = options.data or project_root() / "data" / "input.txt"
    text, training_text = read_part(data, options.part, options.ratios)
    checkpoint = load_to_write(options)

    results = measure(options, checkpoint, text, training_text, questions)
    report = describe(options, checkpoint, data) | {"results": results}
    print("\n".join(table(report)))
    if options.out:
        write_json(options.out, report)
        print(f"\nResults: {options.out}")
    return 0


def read_part(data: str | Path, part: str, ratios: tuple[float, float, float]) -> tuple[str, str | None]:
    """The text of a part, and that of the training part if that is another one.

    Raises ValueError if the part is empty, or a prepared folder's tokens don't give back the text they are from.
    """
    if (Path(data).expanduser() / META_FILE).is_file():
        corpus = load_prepared(data)
        arrays = {"train": corpus.train, "val": corpus.val, "test": corpus.test}
        wanted = list(arrays) if part == "all" else [part]
        text = "".join(corpus.tokenizer.decode(arrays[name]) for name in wanted)
        n_bytes = corpus.meta.get("bytes", {})
        if len(text.encode()) != sum(n_bytes.get(name, 0) for name in wanted):
            raise ValueError(f"The tokens in '{data}' don't give back the text they were made from; give that text.")
        training_text = corpus.tokenizer.decode(corpus.train) if part in ("val", "test") else None
    elif part == "all":
        text, training_text = read_text(data), None
    else:
        train, val, test = split_text(read_text(data), ratios)
        text = {"train": train, "val": val, "test": test}[part]
        training_text = train if part != "train" else None
    if not text:
        raise ValueError(f"The {part} part of '{Path(data).name}' is empty; give --part all, or other --ratios.")
    return text, training_text


def measure(
    options, checkpoint: Checkpoint, text: str, training_text: str | None, questions: list[Question]
) -> dict[str, Any]:
    """The numbers of the report: those on the text, and those on questions and on continuations, if asked for."""
    model, tokenizer, progress = checkpoint.model, checkpoint.tokenizer, sys.stderr.isatty()
    loss = text_loss(model, tokenizer, text, stride=options.stride, progress=progress)
    results: dict[str, Any] = {
        "text": {
            "loss": loss.loss,
            "perplexity": loss.perplexity,
            "bits_per_byte": loss.bits_per_byte,
            "tokens": loss.n_tokens,
            "bytes": loss.n_bytes,
            "lost_bytes": loss.lost_bytes,
        }
    }
    if questions:
        scores, n = score_choices(model, tokenizer, questions, progress=progress), len(questions)
        results["choices"] = {
            "acc": scores.acc,
            "acc_stderr": standard_error(scores.acc, n),
            "acc_norm": scores.acc_norm,
            "acc_norm_stderr": standard_error(scores.acc_norm, n),
            "chance": scores.chance,
            "questions": n,
        }
    if options.continuations:
        results["continuations"] = evaluate_continuations(
            model,
            tokenizer,
            text,
            options.continuations,
            training_text=training_text,
            temperature=options.temperature,
            seed=options.seed,
            progress=progress,
        )
    return results


def describe(options, checkpoint: Checkpoint, data: str | Path) -> dict[str, Any]:
    """What was evaluated, and how: enough to do it again."""
    config, path = checkpoint.model.config, Path(options.load)
    return {
        "gptlib": importlib.metadata.version("gptlib"),
        "torch": torch.__version__,
        "model": {
            "name": path.resolve().name if path.exists() else options.load,
            **{size: config[size] for size in ("context_length", "vocab_size", "emb_dim", "n_heads", "n_layers")},
            "tokenizer": getattr(checkpoint.tokenizer, "type", type(checkpoint.tokenizer).__name__),
            "precision": checkpoint.model.precision.precision,
        },
        "settings": {
            "data": Path(data).name,
            "part": options.part,
            "ratios": list(options.ratios),
            "stride": options.stride or (config.context_length + 1) // 2,
            "choices": Path(options.choices).name if options.choices else None,
            "continuations": options.continuations,
            "temperature": options.temperature,
            "seed": options.seed,
        },
    }


def table(report: dict[str, Any]) -> list[str]:
    """The lines of the report on the screen."""
    model, settings, results = report["model"], report["settings"], report["results"]
    text = results["text"]
    where = settings["data"] if settings["part"] == "all" else f"the {settings['part']} part of {settings['data']}"
    lines = [
        f"{model['name']} ({model['tokenizer']}, {model['precision']}) on {where}: {text['tokens']:,} tokens, "
        f"{text['bytes']:,} bytes, windows of {model['context_length']} tokens, {settings['stride']} apart",
        row("loss", f"{text['loss']:.4f}", "nats a token"),
        row("perplexity", f"{text['perplexity']:.2f}"),
        row("bits per byte", f"{text['bits_per_byte']:.4f}"),
    ]
    if text["lost_bytes"]:
        lines.append(row("lost", f"{text['lost_bytes']:,}", "bytes that the tokenizer loses, charged 8 bits each"))
    if choices := results.get("choices"):
        lines += ["", f"{settings['choices']}: {choices['questions']} questions, {choices['chance']:.3f} by chance"]
        for name in ("acc", "acc_norm"):
            lines.append(row(name, f"{choices[name]:.4f}", f"standard error {choices[f'{name}_stderr']:.4f}"))
    if written := results.get("continuations"):
        lines += ["", f"{settings['continuations']} continuations, at temperature {settings['temperature']}"]
        lines += continuation_rows(written)
    return lines


def continuation_rows(results: dict[str, Any]) -> list[str]:
    names = {
        "distinct_1": "distinct-1",
        "distinct_2": "distinct-2",
        "rep_4": "rep-4",
        "copied_5": "5 words copied",
        "longest_copy": "longest copy",
    }
    lines = [row("BLEU", f"{results['bleu']:.2f}", "of 100"), row("", "written", "the text itself")]
    for name, label in names.items():
        if name in results["written"]:
            shown = [f"{results[side][name]:.4g}" for side in ("written", "held_out")]
            lines.append(row(label, *shown))
    return lines


def row(label: str, value: str, note: str = "") -> str:
    return f"  {label:<15} {value:>10}  {note}".rstrip()
