"""How an instruction is written out as the text that a model goes on from.

After the answer comes the token <|endoftext|>, which is how the model says that it is done. The token is no part of
these texts: InstructionDataset adds it, and generation stops at it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gptlib.instructions.entries import Instruction


@dataclass(frozen=True)
class Template:
    """A preamble, then a turn for the instruction; `..._with_input` where the entry has an input.

    before_answer: what stands between prompt and answer. It is learned with the answer, so that no token lies across
    the border. between_turns: what stands between an answer and the next turn.
    """

    name: str
    turn: str
    turn_with_input: str
    preamble: str = ""
    preamble_with_input: str = ""
    before_answer: str = ""
    between_turns: str = "\n"

    def prompt(self, entry: Instruction) -> str:
        """What the model sees of an entry before it answers."""
        if entry.input:
            return self.preamble_with_input + self.turn_with_input.format(
                instruction=entry.instruction, input=entry.input
            )
        return self.preamble + self.turn.format(instruction=entry.instruction)

    def answer(self, output: str) -> str:
        """What the model is to write after the prompt, before <|endoftext|>."""
        return self.before_answer + output

    def conversation(self, history: Iterable[tuple[str, str]], user: str) -> str:
        """The prompt for what the user says now, after (user, assistant) pairs of what was said before.

        Without history it is the prompt of an entry without input.
        """
        turns = [self.turn.format(instruction=said) + self.answer(answer) for said, answer in history]
        return self.preamble + self.between_turns.join([*turns, self.turn.format(instruction=user)])


ALPACA = Template(
    name="alpaca",
    preamble="Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n",
    preamble_with_input="Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n",
    turn="### Instruction:\n{instruction}\n\n### Response:",
    turn_with_input="### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:",
    between_turns="\n\n",
)
"""The prompts of Taori et al., "Stanford Alpaca" (2023), to the letter; the answer follows at once, as in their code.

Without the entry they are 28 tokens in GPT-2's vocabulary, 43 with an input; in one of 2,048 they are 70 and 97. They
have one turn: that a conversation has several is our addition.
"""

CHAT = Template(
    name="chat",
    turn="User: {instruction}\nAssistant:",
    turn_with_input="User: {instruction} {input}\nAssistant:",
    before_answer=" ",
)
"""Ten tokens or so. An input follows its instruction on the same line, so that it reads as what a person would type.

The space before the answer is the model's, because the tokens of most words begin with one.
"""

TEMPLATES = {template.name: template for template in (ALPACA, CHAT)}


def find_template(template: str | Template) -> Template:
    """The template of that name, or the one given. Raises: ValueError for a name that isn't known."""
    if isinstance(template, Template):
        return template
    if not isinstance(template, str) or template not in TEMPLATES:
        raise ValueError(f"template={template!r} is not known; give {' or '.join(map(repr, TEMPLATES))}.")
    return TEMPLATES[template]
