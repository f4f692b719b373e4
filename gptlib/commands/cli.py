"""The command `gptlib`: one parser with a subcommand for each file of gptlib/commands, and every error in one sentence.

Only the file of the command that is called is imported, so that `gptlib --help` answers at once.
"""

import re
import sys
import warnings
from typing import Any, NoReturn

from gptlib.commands.parsing import Command, Parser, UsageError

COMMANDS = {
    "prepare": "turn texts into token files, once, to train on them often",
    "train": "train a model on a text, from scratch or from given weights, or resume a run",
    "generate": "continue a prompt with a trained model",
    "evaluate": "say how good a model is: loss, bits per byte, questions, continuations",
    "compare": "compare tokenizers: models of one size on the same text, in one table",
    "finetune": "teach a trained model to follow instructions, whole or with LoRA",
    "chat": "talk with a model that follows instructions",
    "download": "fetch the official GPT-2 weights, from OpenAI or Hugging Face",
    "export": "turn a model into a folder that Hugging Face's transformers loads",
    "exercises": "list the book's exercises and what you have done",
    "doctor": "look at this machine and say what would stand in the way",
}


class Overview(Parser):
    """The parser of `gptlib` itself: its help lists the commands, each of which validates its own options."""

    def validate(self, *_: Any, **__: Any) -> None:
        pass

    def format_help(self, formatter=None) -> str:
        lines = "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())
        return (
            f"usage: gptlib COMMAND [OPTIONS]\n\n{lines}\n\n`gptlib COMMAND --help` explains a "
            "command. Begin with `gptlib doctor`, then `gptlib train --generate 1`.\n"
        )


def main(arguments: list[str] | None = None) -> int:
    """Run `gptlib` with these arguments (default: the process's own); the exit status, 0 if all went well."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A Windows console may lack a character; a "?" is better than a crash.
            stream.reconfigure(errors="replace")
    parser = Overview("gptlib")
    subcommands = parser.add_subcommands(dest="command")
    commands = {name: subcommands.add_subcommand(name, Command(name)) for name in COMMANDS}
    if not arguments or arguments[0] == "help":
        parser.print_help()
        return 0
    if not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        fail(f"there is no command {arguments[0]!r}; the commands are {', '.join(COMMANDS)}", 2)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"note: {message}", file=sys.stderr)
            options = parser.parse_args(arguments)
            return commands[options.command].run(options[options.command]) or 0
    except UsageError as error:
        fail(str(error), 2)
    except KeyboardInterrupt:
        fail("stopped", 130)
    except BrokenPipeError:
        return 0  # `gptlib generate | head` has seen enough
    except (ValueError, OverflowError, OSError, RuntimeError) as error:
        fail(sentence(error), 1)


def fail(message: str, status: int) -> NoReturn:
    print(f"gptlib: {message}", file=sys.stderr)
    sys.exit(status)


def sentence(error: Exception) -> str:
    """What went wrong, in one line, with the system's words for its own errors."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.strerror}: '{error.filename}'"
    return re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
