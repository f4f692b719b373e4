"""Turn texts into token files: train.bin, val.bin, test.bin, with their tokenizer and a meta.json, in one folder."""

from gptlib.commands.options import add_shared
from gptlib.corpus import prepare_corpus

USAGE = "gptlib prepare TEXT... --tokenizer bpe --out DIR [OPTIONS]"


def add_arguments(parser) -> None:
    parser.add_argument(
        "texts", nargs="+", type=str, help="text files, folders of .txt, or a corpus: python-docs, tiny-shakespeare"
    )
    add_shared(parser, "--tokenizer")
    add_shared(parser, "--vocab-size")
    parser.add_argument("--out", required=True, help="the folder to make, as data/my_corpus")
    add_shared(parser, "--ratios")
    parser.add_argument("--strip-gutenberg", action="store_true", help="cut Project Gutenberg's header and footer off")


def run(options, parser) -> int:
    meta = prepare_corpus(
        options.texts,
        options.out,
        options.tokenizer,
        vocab_size=options.vocab_size,
        ratios=options.ratios,
        strip_gutenberg=options.strip_gutenberg,
    )
    counts = ", ".join(f"{part} {n:,}" for part, n in meta["tokens"].items())
    print(f"Wrote {options.out}: {counts} tokens of a vocabulary of {meta['vocab_size']:,}.")
    print(f"Train on it: gptlib train --data {options.out}")
    return 0
