"""The commands' parsers: jsonargparse's, but what is given wins in any order, and errors are one sentence."""

import re
from argparse import Action
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NoReturn, get_origin

from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from gptlib.commands.values import allowed
from gptlib.utils.folders import project_root
from gptlib.utils.text import shorten

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # a field's docstring is its help

LENGTHS = ("training.epochs", "training.max_steps")
"""The two units for the length of a run, of which one is given."""


class UsageError(Exception):
    """A wrong use of a command, in one sentence."""


class Help(DefaultHelpFormatter):
    """The help, with types in the words of error messages; any text needs none, and choices are shown anyway."""

    def _get_type_str(self, action: Action) -> str | None:
        kind = getattr(action, "_typehint", str)
        return None if kind in (str, str | None) or get_origin(kind) is Literal else allowed(kind)


class Parser(ArgumentParser):
    """A parser that raises UsageError."""

    def __init__(self, prog: str):
        super().__init__(prog, allow_abbrev=False, formatter_class=Help)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        message = in_words(message, self._actions)
        raise UsageError(f"{message} (`{self.prog} --help` lists the options)")


class Command(Parser):
    """The parser of one command, whose module is imported when it is called, and not before.

    The module has USAGE, a docstring for the help, `add_arguments(parser)` and `run(options, parser)`.
    It may have `defaults(given, parser)`: the options that follow from those given, such as a
    recipe's, by names like "training.max_steps".
    """

    module: ModuleType

    def __init__(self, name: str):
        super().__init__(f"gptlib {name}")
        self.name = name

    def parse_args(self, args: list[str] | None = None, *_: Any, **__: Any) -> Namespace:
        """The options: those given, else those that follow from these, else the declared defaults.

        What follows is the module's own `defaults`: `layered` puts a resumed run's options below a recipe's.
        """
        self.module = import_module(f"gptlib.commands.{self.name}")
        self.prog = f"gptlib {self.name}"  # which becoming a subcommand has changed
        self.usage, self.description = self.module.USAGE, self.module.__doc__
        self.module.add_arguments(self)
        if not hasattr(self.module, "defaults"):
            return super().parse_args(args)
        given = super().parse_args(args, defaults=False).clone(with_meta=False)
        return super().parse_args(args, Namespace(self.module.defaults(given, self)))

    def run(self, options: Namespace) -> int | None:
        """Carry the command out; its exit status. What a config refuses is wrong use, too."""
        try:
            self.validate(options)
            options = plain(self.instantiate(options))
        except (TypeError, KeyError, ValueError) as error:
            self.error(str(error))
        return self.module.run(options, self)

    def read_recipe(self, path: str | Path) -> dict[str, Any]:
        """The options in a YAML file, by names like "training.max_steps". Raises UsageError."""
        from gptlib.training.config import recipe_with_current_names  # only here, as it needs PyTorch

        try:
            text = recipe_with_current_names(Path(path).read_text(encoding="utf-8"))
            return dict(self.parse_string(text, path, defaults=False).clone(with_meta=False).items())
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} can't be read ({error}); give a YAML file") from None
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None


class Recipe(ActionConfigFile):
    """The action of --config: it finds the file, for `defaults` to read, and changes no other option."""

    def __call__(self, parser: Parser, options: Namespace, value: str, option_string: str | None = None) -> None:
        path, folder = Path(value).expanduser(), project_root() / "configs"
        named = folder / f"{path.stem}.yaml"
        found = next(filter(Path.is_file, (named, path) if value == path.stem else (path, named)), None)
        if found is None:
            recipes = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
            parser.error(f"there is no recipe {value!r}; give a YAML file, or a name in {folder}: {recipes}")
        options[self.dest] = [*(options.get(self.dest) or []), found]


def layered(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The options of all layers, each over the ones before; epochs replace steps, too, and steps epochs."""
    options: dict[str, Any] = {}
    for layer in layers:
        if any(layer.get(name) is not None for name in LENGTHS):
            options |= dict.fromkeys(LENGTHS)
        options |= layer
    return options


def plain(options: Namespace) -> Namespace:
    """The options with Python's own numbers for restricted ones, which no checkpoint takes."""
    for name, value in options.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            options[name] = int(value) if isinstance(value, int) else float(value)
    return options


VALUE = re.compile(
    r".*(?:Got value: |Given value: |Not of type \w+: (?:.*: ')?)(.*?)(?: does not conform.*|'?)\Z", re.DOTALL
)


def in_words(message: str, actions: Iterable[Action]) -> str:
    """jsonargparse's message in one sentence; of a bad value, it says which would be good."""
    key, value = re.match(r'Parser key "([\w.]+)"', message), VALUE.match(message)
    action = key and next((a for a in actions if a.dest == key[1]), None)
    if not action or not value or not hasattr(action, "_typehint"):
        return re.sub(r'Parser key "([\w.]+)":', r"--\1:", " ".join(message.split()).rstrip("."))
    option = f"{action.option_strings[-1]} " if action.option_strings else f"{action.dest.upper()}="
    return f"{option}{shorten(value[1])} is not possible; give {allowed(action._typehint)}"
