"""A conversation: what was said so far, and the model that answers."""

from collections.abc import Iterator
from typing import Any, Protocol

from gptlib.generation.generate import stream
from gptlib.model import GPTModel
from gptlib.tokenizers import Tokenizer

Turn = tuple[str, str]
"""What the person said, and what the model answered."""


class ChatTemplate(Protocol):
    """How a conversation is written down for the model; `gptlib.instructions.Template` is one."""

    def conversation(self, history: list[Turn], said: str) -> str:
        """The text that the model continues with its answer to `said`."""


class Conversation:
    """What was said so far, and the model that answers; `history` has as much of it as the model could see last.

    turns: how many turns it may see at most; None is as many as fit.
    """

    def __init__(
        self,
        model: GPTModel,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        settings: dict[str, Any],
        turns: int | None = None,
    ):
        self.model, self.tokenizer, self.template, self.settings = model, tokenizer, template, dict(settings)
        self.max_new_tokens = self.settings.pop("max_new_tokens")
        self.turns = turns
        self.history: list[Turn] = []

    def answer(self, said: str) -> Iterator[str]:
        """Yield the answer piece by piece. It is remembered, also if the reader stops in the middle.

        Raises ValueError if what was said does not leave room for an answer.
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
