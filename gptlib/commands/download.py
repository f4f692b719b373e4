"""Fetch the official weights of a GPT-2, so that everything works without a network afterwards.

After an interruption, the same command goes on where it stopped. If the hosts can't be reached,
GPTLIB_OPENAI_URL (for openai) or HF_ENDPOINT (for huggingface) names another one, HTTPS_PROXY a proxy.
"""

from pathlib import Path
from typing import Literal

USAGE = "gptlib download SIZE [--source openai|huggingface] [--out DIR]"


def add_arguments(parser) -> None:
    parser.add_argument("size", type=str, help="124M, 355M, 774M or 1558M")
    parser.add_argument(
        "--source",
        type=Literal["openai", "huggingface"],
        default="openai",
        help="openai: the original TensorFlow files; huggingface: the same numbers as safetensors, in its cache",
    )
    parser.add_argument("--out", type=str | None, help="where OpenAI's files go (default: model_weights/openai)")


def run(options, parser) -> int:
    from gptlib.weights.download import fetch_openai_files
    from gptlib.weights.hub import hub_folder
    from gptlib.weights.sizes import REPOSITORIES, check_size

    try:
        size = check_size(options.size)
    except ValueError as error:
        parser.error(str(error))
    if options.source == "huggingface":
        if options.out:
            parser.error("--out is for OpenAI's files; the variable HF_HOME sets the place of Hugging Face's cache")
        folder, function = hub_folder(REPOSITORIES[size]), "load_hf_gpt2"
    else:
        folder, function = fetch_openai_files(size, Path(options.out) if options.out else None), "load_openai_gpt2"
    print(f"The weights are in {folder}. In Python: gptlib.weights.{function}({size!r})")
    return 0
