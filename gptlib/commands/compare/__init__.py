"""Compare tokenizers: for each a model of the same size that reads the same text; one table, one figure.

Without options: a million parameters each, on the tales (data/input.txt) with python-docs, in a few minutes. A run
that was stopped goes on where it was when the same command is given again.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from gptlib.commands.compare.budget import ComparisonConfig
from gptlib.commands.compare.comparing import TOKENIZERS, compare_tokenizers
from gptlib.commands.compare.report import ComparisonRow
from gptlib.commands.options import add_short_forms
from gptlib.utils.folders import project_root

USAGE = "gptlib compare [TEXT...] [--vocab-size N] [--parameters N] [--epochs N] [--out FOLDER] [OPTIONS]"

NAME = "tokenizer_comparison"

FIXED = ("n_layers", "batch_size", "learning_rate", "temperature")  # of a comparison's settings, no options


def add_arguments(parser) -> None:
    parser.add_argument(
        "texts",
        nargs="*",
        type=str,
        help="text files, folders of .txt, python-docs or tiny-shakespeare; the last tenth of each is held out "
        "(default: data/input.txt python-docs)",
    )
    parser.add_argument("--tokenizers", default=",".join(TOKENIZERS), help="which of them, in this order")
    same_blocks = "spend all parameters on the blocks; embeddings come on top, and the models differ in size"
    parser.add_argument("--same-blocks", action="store_true", help=same_blocks)
    parser.add_class_arguments(ComparisonConfig, skip={"same_blocks", *FIXED})
    add_short_forms(parser, {"--vocab-size": "--vocab_size", "--context-length": "--context_length"})
    parser.add_argument("--out", type=str | None, help="folder for the results (default: model_weights/comparison)")


def run(options, parser) -> int:
    names = [field.name for field in fields(ComparisonConfig) if field.name not in FIXED]
    try:
        config = ComparisonConfig(**{name: options[name] for name in names})
    except ValueError as error:
        parser.error(str(error))
    folder = Path(options.out) if options.out else project_root() / "model_weights" / "comparison"
    texts = options.texts or [project_root() / "data" / "input.txt", "python-docs"]
    results, figure = folder / f"{NAME}.json", folder / f"{NAME}.png"
    rows = compare_tokenizers(texts, config, tokenizers=options.tokenizers.split(","), path=results)
    print("\n" + "\n".join(table(rows)))
    from gptlib import plots  # only here, because matplotlib takes a while to load

    plots.save_figure(plots.plot_tokenizers([asdict(row) for row in rows])[0], figure)
    print(f"\nResults: {results}\nFigure: {figure}")
    return 0


COLUMNS = {  # the heading in two lines, and what stands under it
    ("", "tokenizer"): lambda row: row.tokenizer + ("*" if row.charged_bits_per_byte else ""),
    ("", "tokens"): lambda row: f"{row.vocab_size:,}",
    ("bytes a", "token"): lambda row: f"{row.bytes_per_token:.2f}",
    ("context", "bytes"): lambda row: f"{row.context_bytes:,.0f}",
    ("", "layers"): lambda row: f"{row.n_layers} x {row.emb_dim}",
    ("", "parameters"): lambda row: f"{row.parameters:,}",
    ("in em-", "beddings"): lambda row: f"{row.embedding_share:.0%}",
    ("bits a", "byte"): lambda row: f"{row.bits_per_byte:.3f}",
    ("", "BLEU"): lambda row: f"{row.bleu:.2f}",
    ("training", "bytes/s"): lambda row: f"{row.training_bytes_per_second:,.0f}",
    ("writing", "chars/s"): lambda row: f"{row.characters_per_second:,.0f}",
}


def table(rows: Sequence[ComparisonRow]) -> list[str]:
    """The lines of the table, and what one has to know to read them."""
    columns = [[*heading, *map(cell, rows)] for heading, cell in COLUMNS.items()]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for cells in zip(*columns, strict=True):
        first, *others = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *others]))
    charged = [f"{row.charged_bits_per_byte:.3f} of {row.tokenizer}'s" for row in rows if row.charged_bits_per_byte]
    if charged:
        lines.append(f"* loses text: of the bits a byte, {', '.join(charged)} are the 8 charged for each lost byte")
    lines.append("writing slows down when a prompt with its continuation outgrows the context")
    return lines
