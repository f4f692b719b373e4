"""Teach a trained model to follow instructions, and say how many it follows before and after.

DATA has the entries to learn from: a .json or .jsonl file in Alpaca's format, a folder of them, or a folder saved by
Hugging Face's datasets. --lora trains an adapter and leaves the model's own weights alone, and so does any
--lora.FIELD VALUE, as --lora.rank 4.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from gptlib.checkpoints import Checkpoint, build_model, find_checkpoint, load_checkpoint
from gptlib.commands.options import MODELS, add_shared, add_short_forms, find_option
from gptlib.commands.parsing import layered
from gptlib.commands.running import load_with_tokenizer, output_path, program, resumed_options, say_best, say_files
from gptlib.instructions import TEMPLATES, Instruction, Reading, read_instructions, split_entries
from gptlib.model.lora import active_adapter, check_fits, lora_state
from gptlib.model.lora_config import LoRAConfig
from gptlib.training import TrainingConfig
from gptlib.training.finetuning import exact_match, finetune
from gptlib.training.run_files import adapter_folder
from gptlib.utils.folders import project_root
from gptlib.weights.adapters import save_adapter

USAGE = "gptlib finetune --load FILE [--data FILE.json] [--lora] [--config FILE.yaml] [--out FILE.pth] [OPTIONS]"

DEFAULT = "trained_gpt2.pth"

KEPT = ("data", "held_out", "ratio", "template", "bad", "packing")
"""Options that a run notes, for the one that resumes it."""


def add_arguments(parser) -> None:
    add_shared(parser, "--config")
    add_shared(parser, "--load", type=str | None, default=None, help=f"{MODELS} (default: {DEFAULT})")
    parser.add_argument("--data", type=str | None, help="the entries (default: data/instructions.json)")
    parser.add_argument(
        "--held-out",
        type=str | None,
        help="entries to test on (default: NAME_held_out.json beside NAME.json, if it exists; else the validation)",
    )
    parser.add_argument("--ratio", type=float, default=0.05, help="share of the entries for validation")
    parser.add_argument(
        "--bad", type=Literal["refuse", "skip"], default="refuse", help="what to do with an entry that can't be used"
    )
    parser.add_argument(
        "--template", type=Literal[*TEMPLATES], default="chat", help="how an entry is written out; alpaca is longer"
    )
    parser.add_argument("--packing", action="store_true", help="several short entries in one window: less padding")
    parser.add_argument("--use-lora", action="store_true", help="train an adapter (short: --lora)")
    parser.add_argument(
        "-d",
        "--drop-rate",
        type=float | None,
        help="dropout while it learns (default: the model's own; a small model with LoRA learns better with 0)",
    )
    add_shared(parser, "--resume")
    parser.add_argument(
        "--out", type=str | None, help="where the model goes (default: a name made from that of --load)"
    )
    add_shared(parser, "--no-save")
    parser.add_class_arguments(LoRAConfig, "lora")
    lora = find_option(parser, "--lora")  # which may have a value, a file with its fields
    lora.nargs, lora.const, lora.help = "?", {}, "train an adapter; its fields, in a file"
    parser.add_class_arguments(TrainingConfig, "training")
    parser.set_defaults({"training.learning_rate": 1e-4})  # with LoRA or without; from scratch it is 1e-3
    add_short_forms(parser, {"-B": "--training.batch_size", "-l": "--training.learning_rate"})


def defaults(given, parser) -> dict[str, Any]:
    """The options of the run to resume, then those of recipes; who names a field of LoRA's wants an adapter."""
    recipes = given.pop("config", [])
    stored = resumed_options(given.get("resume"), KEPT)
    options = layered([stored, *map(parser.read_recipe, recipes), dict(given.items())])
    if "lora" in given or any(name.startswith("lora.") for name in options):
        options.setdefault("use_lora", True)
    return options


def run(options, parser) -> int:
    if options.resume and (options.load or options.use_lora):
        parser.error("--resume finishes an old run with the model it has; leave --load and --lora out")
    config, template = options.training, TEMPLATES[options.template]
    lora = options.lora if options.use_lora else None
    resume = find_checkpoint(options.resume) if options.resume else None
    out = output_path(options, resume, f"{Path(options.load or DEFAULT).stem}-{'lora' if lora else 'instructions'}")
    data = Path(options.data or project_root() / "data" / "instructions.json").expanduser()
    training, validation, held_out = read_entries(data, options)
    loaded = load(resume or options.load or DEFAULT, config.device, options.drop_rate)
    if lora is not None:
        check_fits(loaded.model, lora)  # now, and not after the scores, which take a while
    before = scores_before(options, loaded, held_out)
    if config.sample_prompt == TrainingConfig.sample_prompt:
        config = replace(config, sample_prompt=template.prompt(validation[0]))
    history = finetune(
        loaded.model,
        loaded.tokenizer,
        training,
        validation,
        config,
        template=template,
        lora=lora,
        packing=options.packing,
        out=out,
        resume=resume,
        notes={name: vars(options)[name] for name in KEPT} | {"data": str(data.resolve()), "before": before},
    )
    best = load_checkpoint(out, loaded.model.device).model if out else loaded.model  # it need not be the last
    say_best(history)
    if before and not history.interrupted:
        after = exact_match(best, loaded.tokenizer, held_out, template)
        print("\n".join(table(before, after, Counter(entry.task for entry in held_out))))
    if out:
        say_files(history, out, "finetune")
        if active_adapter(best):
            print(f"Adapter: {save_adapter(best, adapter_folder(out))}")
        print(f"Talk to it: {program()} chat --load {out} --template {template.name}")
    return 130 if history.interrupted else 0


def read_entries(data: Path, options) -> tuple[list[Instruction], list[Instruction], list[Instruction]]:
    """(to learn from, for validation, to test on), and a word on how many they are and what was skipped."""
    reading = read_instructions(data, options.bad)
    training, validation = split_entries(reading.entries, options.ratio)
    beside = data.with_name(f"{data.stem}_held_out{data.suffix}")
    test = options.held_out or (beside if beside.is_file() else None)
    tested = read_instructions(test, options.bad) if test else Reading(validation, [])
    for skipped in filter(None, (reading.report(), tested.report())):
        print(skipped)
    print(
        f"{len(reading.entries):,} entries of {data.name}: {len(training):,} to learn from, {len(validation):,} for "
        f"validation; to test on, {len(tested.entries):,} of {Path(test).name if test else 'validation, too'}."
    )
    return training, validation, tested.entries


def load(name: str | Path, device: str, drop_rate: float | None) -> Checkpoint:
    """The model to train, with its tokenizer, on that device; in 32 bits, as 16 lose small steps."""
    loaded = load_with_tokenizer(name, device, dtype="fp32")
    model = loaded.model
    if drop_rate is not None:
        config = replace(model.config, drop_rate=drop_rate)
        loaded.model = build_model(name, config, model.state_dict(), lora_state(model)).to(model.device).eval()
    return loaded


def scores_before(options, loaded: Checkpoint, held_out: list[Instruction]) -> dict[str, float]:
    """Exact match per task before the first step; empty if the entries name no tasks."""
    if options.resume:
        return ((loaded.training or {}).get("notes") or {}).get("before") or {}
    if not any(entry.task for entry in held_out):
        return {}
    return exact_match(loaded.model, loaded.tokenizer, held_out, options.template)


def table(before: dict[str, float], after: dict[str, float], counts: dict[str, int]) -> list[str]:
    """Lines with the exact match of each task in percent, before and after."""
    lines = ["Exact match, in percent", f"  {'task':<16} {'before':>7} {'after':>7}  entries"]
    for task, share in after.items():
        name = task or "(no task)"
        lines.append(f"  {name:<16} {100 * before.get(task, 0):>7.1f} {100 * share:>7.1f}  {counts[task]:>7,}")
    return lines
