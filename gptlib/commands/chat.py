"""Talk with a model that `gptlib finetune` has taught to follow instructions.

/reset starts over, /quit ends. Ctrl-C stops an answer, Ctrl-D (on Windows Ctrl-Z, then Enter) ends. The model
sees as much of the conversation as its context has room for.
"""

import sys
from typing import Literal

from gptlib.commands.options import add_shared
from gptlib.commands.running import load_to_write
from gptlib.commands.values import NonNegativeInt
from gptlib.generation import check_sampling
from gptlib.generation.chat import Conversation
from gptlib.generation.quantization import INFERENCE_PRECISIONS
from gptlib.instructions import TEMPLATES

USAGE = "gptlib chat --load FILE [--template chat|alpaca] [OPTIONS]"


def add_arguments(parser) -> None:
    add_shared(parser, "--load")
    add_shared(parser, "--adapter")
    parser.add_argument(
        "--template", type=Literal[*TEMPLATES], default="chat", help="the one that it was fine-tuned with"
    )
    parser.add_argument(
        "--turns",
        type=NonNegativeInt | None,
        help="how many earlier questions and answers the model sees (default: all that its context has room for); 0 "
        "suits a small model that has learned single questions only",
    )
    add_shared(parser, "--max-new-tokens", help="how many tokens an answer has at most")
    add_shared(parser, "--temperature", default=0.0)
    add_shared(parser, "--top-k")
    add_shared(parser, "--top-p")
    parser.add_argument("--seed", type=NonNegativeInt | None, help="the same seed gives the same answers")
    add_shared(parser, "--device")
    add_shared(parser, "--precision", type=Literal[INFERENCE_PRECISIONS])


def run(options, parser) -> int:
    settings = {name: options[name] for name in ("max_new_tokens", "temperature", "top_k", "top_p")}
    check_sampling(**settings)
    loaded, template = load_to_write(options), TEMPLATES[options.template]
    settings["seed"] = options.seed
    conversation = Conversation(loaded.model, loaded.tokenizer, template, settings, options.turns)
    print("/reset starts over, /quit ends, Ctrl-C stops an answer.", file=sys.stderr)
    while (said := ask()) != "/quit":
        respond(conversation, said)
    return 0


def ask() -> str:
    """The next line of the person, without the space around it; "/quit" if there are no more."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return "/quit"
    except KeyboardInterrupt:  # perhaps meant for an answer that had just ended
        print("\n/quit ends.", file=sys.stderr)
        return ""


def respond(conversation: Conversation, said: str) -> None:
    """Carry out a command, or print the answer as it comes; Ctrl-C stops it."""
    if said == "/reset":
        conversation.history.clear()
        print("A new conversation.", file=sys.stderr)
    elif said.startswith("/"):
        print(f"There is no command {said.split()[0]!r}; there are /reset and /quit.", file=sys.stderr)
    elif said:
        try:
            for piece in conversation.answer(said):
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            print(" ...", end="")
        except ValueError as error:  # what the tokenizer doesn't know, or what is too long
            print(error, file=sys.stderr)
            return
        print()
