"""Continue a prompt with a trained model, token by token as they come."""

from typing import Literal

from gptlib.commands.options import add_shared
from gptlib.commands.running import load_to_write
from gptlib.commands.values import NonNegativeInt, PositiveInt
from gptlib.generation import generate_text, stream
from gptlib.generation.quantization import INFERENCE_PRECISIONS

USAGE = 'gptlib generate [N] --load FILE --prompt "TEXT" [OPTIONS]'


def add_arguments(parser) -> None:
    parser.add_argument("n", nargs="?", type=PositiveInt, default=1, help="how many samples to write")
    add_shared(parser, "--load")
    add_shared(parser, "--adapter")
    parser.add_argument("--prompt", default="\n", help="the text to continue")
    add_shared(parser, "--max-new-tokens", help="how many tokens to write at most")
    add_shared(parser, "--temperature", default=0.8)
    add_shared(parser, "--top-k")
    add_shared(parser, "--top-p")
    parser.add_argument("--seed", type=NonNegativeInt | None, help="the same seed writes the same text")
    add_shared(parser, "--device")
    add_shared(parser, "--precision", type=Literal[INFERENCE_PRECISIONS])


def run(options, parser) -> int:
    checkpoint = load_to_write(options)
    settings = {name: options[name] for name in ("temperature", "top_k", "top_p", "seed")}
    arguments = (checkpoint.model, checkpoint.tokenizer, options.prompt, options.max_new_tokens)
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
