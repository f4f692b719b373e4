"""Talk with a model that `gptlib finetune` has taught to follow instructions.

/reset begins anew, /quit ends. Ctrl-C stops an answer, Ctrl-D (on Windows Ctrl-Z, then Enter) ends. What was said is
seen as far back as the model's context reaches.
"""

import sys
from collections.abc import Iterator
from typing import Any

from gptlib.checks import whole_number
from gptlib.commands.options import add_shared
from gptlib.commands.running import load_with_tokenizer
from gptlib.generation import check_sampling, stream
from gptlib.instructions import Template, find_template
from gptlib.model import GPTModel
from gptlib.tokenizers import Tokenizer

USAGE = "gptlib chat --load FILE [--template chat|alpaca] [OPTIONS]"

Turn = tuple[str, str]
"""What the person said, and what the model answered."""


def add_arguments(parser) -> None:
    add_shared(parser, "--load")
    parser.add_argument("--template", default="chat", help="the one that it was fine-tuned with: chat, or alpaca")
    parser.add_argument(
        "--turns",
        type=int | None,
        default=None,
        help="how many earlier questions and answers the model sees (default: all that its context has room for); 0 "
        "suits a small model that has learned single questions only",
    )
    add_shared(parser, "--max-new-tokens", help="how many tokens an answer has at most")
    add_shared(parser, "--temperature", default=0.0)
    add_shared(parser, "--top-k")
    add_shared(parser, "--top-p")
    parser.add_argument("--seed", type=int | None, default=None, help="the same seed gives the same answers")
    add_shared(parser, "--device")


def run(options, parser) -> int:
    settings = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    try:
        template = find_template(options.template)
        whole_number("max_new_tokens", options.max_new_tokens, 1)
        turns = None if options.turns is None else whole_number("turns", options.turns, 0)
        check_sampling(options.max_new_tokens, **settings)
    except ValueError as error:
        parser.error(str(error))
    loaded = load_with_tokenizer(options.load, options.device)
    settings |= {"max_new_tokens": options.max_new_tokens, "seed": options.seed}
    conversation = Conversation(loaded.model, loaded.tokenizer, template, settings, turns)
    print("/reset begins anew, /quit ends, Ctrl-C stops an answer.", file=sys.stderr)
    while (said := ask()) != "/quit":
        respond(conversation, said)
    return 0


def ask() -> str:
    """The next line of the person, without the space around it; "/quit" where there are no more."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return "/quit"
    except KeyboardInterrupt:  # perhaps meant for an answer that had just ended
        print("\n/quit ends.", file=sys.stderr)
        return ""


def respond(conversation: "Conversation", said: str) -> None:
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


class Conversation:
    """What was said so far, and the model that answers; `history` has as much of it as the model could see last.

    turns: how many turns it may see at most; None is as many as fit.
    """

    def __init__(
        self,
        model: GPTModel,
        tokenizer: Tokenizer,
        template: Template,
        settings: dict[str, Any],
        turns: int | None = None,
    ):
        self.model, self.tokenizer, self.template, self.settings = model, tokenizer, template, dict(settings)
        self.max_new_tokens = self.settings.pop("max_new_tokens")
        self.turns = turns
        self.history: list[Turn] = []

    def answer(self, said: str) -> Iterator[str]:
        """Yield the answer piece by piece. It is remembered, also where the reader stops in the middle.

        Raises ValueError where what was said does not leave room for an answer.
        """
        prompt, room = self.prompt(said)
        whole = ""
        try:
            for piece in stream(self.model, self.tokenizer, prompt, room, **self.settings):
                shown = piece if whole else piece.lstrip()  # the template's space before the answer
                whole += shown
                yield shown
        finally:
            if whole:
                self.history.append((said, whole.rstrip()))

    def prompt(self, said: str) -> tuple[str, int]:
        """The text that the model goes on from, and how many tokens it may add; the oldest turns are forgotten
        until an answer of max_new_tokens has room, or one of half the context."""
        context = self.model.config.context_length
        wanted = min(self.max_new_tokens, context // 2)
        if self.turns is not None:
            del self.history[: max(len(self.history) - self.turns, 0)]
        while True:
            prompt = self.template.conversation(self.history, said)
            room = context - len(self.tokenizer.encode(prompt))
            if room >= wanted or not self.history:
                break
            del self.history[0]
        if room < 1:
            raise ValueError(f"That is {context - room} tokens, and the model sees {context}; say it in fewer words.")
        return prompt, min(room, self.max_new_tokens)
