"""The command `gptlib`: finds the command's file in gptlib/commands, and says every error in one sentence.

Only the file of the command that was called is imported, so that `gptlib --help` answers at once.
"""

import re
import sys
import warnings
from importlib import import_module
from typing import NoReturn

from jsonargparse import ArgumentParser, set_parsing_settings

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


class Parser(ArgumentParser):
    """A parser whose errors are one sentence; it exits with 2, as for every wrong use."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        fail(f"{plain(message)} (`{self.prog} --help` lists the options)", 2)


def plain(message: str) -> str:
    """jsonargparse's message in one line and in plain words."""
    message = re.sub(r"\s+", " ", message).strip().rstrip(".")
    message = re.sub(r'^Parser key "([\w.]+)":', r"--\1:", message)
    for technical, word in {"<class 'int'>": "whole number", "<class 'float'>": "number"}.items():
        message = message.replace(technical, word)
    return message


def fail(message: str, status: int) -> NoReturn:
    print(f"gptlib: {message}", file=sys.stderr)
    sys.exit(status)


def overview() -> str:
    lines = "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())
    return (
        f"usage: gptlib COMMAND [OPTIONS]\n\n{lines}\n\n`gptlib COMMAND --help` explains a command. "
        "Begin with `gptlib doctor`, then `gptlib train --generate 1`."
    )


def parser_for(command: str) -> tuple[Parser, object]:
    """The parser of a command, and the module that runs it."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    module = import_module(f"gptlib.commands.{command}")
    parser = Parser(
        prog=f"gptlib {command}", usage=module.USAGE, description=module.__doc__, allow_abbrev=False, exit_on_error=True
    )
    module.add_arguments(parser)
    return parser, module


def main(arguments: list[str] | None = None) -> int:
    """Run `gptlib` with these arguments (default: those of the process); the exit status, 0 where all went well."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows console may lack a character; a "?" is better than a crash
            stream.reconfigure(errors="replace")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        fail(f"there is no command {command!r}; the commands are {', '.join(COMMANDS)}", 2)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"note: {message}", file=sys.stderr)
            parser, module = parser_for(command)
            if hasattr(module, "expand"):
                rest = module.expand(rest, parser)
            return module.run(parser.parse_args(rest), parser) or 0
    except KeyboardInterrupt:
        fail("stopped", 130)
    except BrokenPipeError:
        return 0  # `gptlib generate | head` has seen enough
    except (ValueError, OverflowError, OSError, RuntimeError) as error:
        fail(sentence(error), 1)


def sentence(error: Exception) -> str:
    """What went wrong, in one line, with the system's words for its own errors."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.strerror}: '{error.filename}'"
    return re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
