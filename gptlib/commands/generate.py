"""Continue a prompt with a trained model, token by token as they come."""

import sys
from typing import Literal

from gptlib.commands.options import add_shared
from gptlib.commands.running import load_with_tokenizer
from gptlib.commands.values import NonNegativeInt, PositiveInt
from gptlib.generation import generate_text, stream
from gptlib.generation.quantization import INFERENCE_PRECISIONS, with_precision

USAGE = 'gptlib generate [N] --load FILE --prompt "TEXT" [OPTIONS]'


def add_arguments(parser) -> None:
    parser.add_argument("n", nargs="?", type=PositiveInt, default=1, help="how many samples to write")
    add_shared(parser, "--load")
    parser.add_argument("--prompt", default="\n", help="the text to continue")
    add_shared(parser, "--max-new-tokens", help="how many tokens to write at most")
    add_shared(parser, "--temperature", default=0.8)
    add_shared(parser, "--top-k")
    add_shared(parser, "--top-p")
    parser.add_argument("--seed", type=NonNegativeInt | None, help="the same seed writes the same text")
    add_shared(parser, "--device")
    parser.add_argument(
        "--precision",
        type=Literal[INFERENCE_PRECISIONS],
        default="auto",
        help="of the weights: bf16 has half the memory, int8 a quarter (CPU only), auto goes by the machine",
    )


def run(options, parser) -> int:
    checkpoint = load_with_tokenizer(options.load, options.device)
    model, choice = with_precision(checkpoint.model, options.precision)
    if choice.automatic:
        print(f"{choice}.", file=sys.stderr)
    settings = {name: options[name] for name in ("temperature", "top_k", "top_p", "seed")}
    arguments = (model, checkpoint.tokenizer, options.prompt, options.max_new_tokens)
    if options.n == 1:
        pieces = stream(*arguments, **settings)
        first = next(pieces, "")  # a bad option is refused before the prompt is echoed
        print(options.prompt.lstrip("\n"), first, sep="", end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print()
        return 0
    for i, text in enumerate(generate_text(*arguments, num_samples=options.n, **settings), start=1):
        print(f"--- {i} of {options.n} ---\n{text.strip()}\n")
    return 0
