"""Continue a prompt with a trained model, token by token as they come."""

import sys
from pathlib import Path

from gptlib.devices import pick_device
from gptlib.generation import generate_text, stream
from gptlib.quantization import INFERENCE_PRECISIONS, with_precision
from gptlib.weights.loading import load_model

USAGE = 'gptlib generate [N] --load FILE --prompt "TEXT" [OPTIONS]'


def add_arguments(parser) -> None:
    parser.add_argument("n", nargs="?", type=int, default=1, help="how many samples to write")
    parser.add_argument(
        "--load",
        default="trained_gpt2.pth",
        help="a checkpoint file, a folder (its newest model, or one of Hugging Face's or OpenAI's kind), a name in "
        "model_weights/, or an official size: 124M, 355M, 774M, 1558M",
    )
    parser.add_argument("--prompt", default="\n", help="the text to continue")
    parser.add_argument("--max-new-tokens", type=int, default=200, help="how many tokens to write at most")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 always takes the likeliest; 1 draws freely")
    parser.add_argument("--top-k", type=int | None, default=None, help="draw from the k likeliest tokens only")
    parser.add_argument(
        "--top-p", type=float | None, default=None, help="draw from the likeliest that sum to p, as 0.9"
    )
    parser.add_argument("--seed", type=int | None, default=None, help="the same seed writes the same text")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
    parser.add_argument(
        "--precision",
        default="auto",
        help="of the weights: fp32, bf16 (half the memory), int8 (a quarter; CPU only), or auto, which tries and says",
    )


def run(options, parser) -> int:
    if options.n < 1:
        parser.error(f"N={options.n} samples can't be written; give 1 or more")
    if options.precision not in INFERENCE_PRECISIONS:
        parser.error(f"--precision {options.precision} is unknown; give one of {', '.join(INFERENCE_PRECISIONS)}")
    checkpoint = load_model(options.load, pick_device(options.device))
    if checkpoint.tokenizer is None:
        raise ValueError(
            f"'{Path(options.load).name}' holds no tokenizer that gptlib knows, so it can't read a prompt; use another "
            "model."
        )
    model, why = with_precision(checkpoint.model, options.precision)
    if "because" in why:
        print(f"{why}.", file=sys.stderr)
    settings = {
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "seed": options.seed,
    }
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
