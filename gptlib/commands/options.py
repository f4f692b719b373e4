"""Options that several commands have, each said once. It imports no PyTorch, since not every command needs it."""

from argparse import Action
from collections.abc import Mapping
from typing import Any

from gptlib.commands.parsing import Recipe
from gptlib.commands.values import NonNegativeFloat, PositiveInt, Ratios, Share

MODELS = (
    "a checkpoint file, a folder (its newest model, or one of Hugging Face's or OpenAI's kind), a "
    "name in model_weights/, or an official size: 124M, 355M, 774M, 1558M"
)
DATA = (
    "a text, a folder of .txt, a folder of `gptlib prepare`, python-docs or tiny-shakespeare (default: data/input.txt)"
)
TOKENIZERS = "word, char, bpe, sentencepiece, gpt2, or a saved one's path"

SHARED: dict[str, dict[str, Any]] = {
    "--config": {
        "action": Recipe,
        "help": "a recipe: a YAML file, or a name in configs/; what else is given wins over it",
    },
    "--load": {"default": "trained_gpt2.pth", "help": MODELS},
    "--data": {"type": str | None, "help": DATA},
    "--tokenizer": {"default": "bpe", "help": TOKENIZERS},
    "--vocab-size": {"type": PositiveInt | None, "help": "size of the vocabulary to train"},
    "--ratios": {"type": Ratios, "default": Ratios((0.9, 0.05, 0.05)), "help": "shares of train, val and test"},
    "--resume": {"type": str | None, "help": "finish the run of this .last.pth"},
    "--no-save": {"action": "store_true", "help": "write no file at all"},
    "--max-new-tokens": {"type": PositiveInt, "default": 200},
    "--temperature": {
        "type": NonNegativeFloat,
        "help": "0 always takes the most likely token; 1 samples as the model predicts",
    },
    "--top-k": {"type": PositiveInt | None, "help": "sample from the k most likely tokens only"},
    "--top-p": {"type": Share | None, "help": "sample from the most likely tokens that add up to p, as 0.9"},
    "--device": {"default": "auto", "help": "auto, cpu, cuda, mps"},
    "--adapter": {
        "type": str | None,
        "help": "a folder with a LoRA adapter to use with it, of `gptlib finetune --lora` or PEFT",
    },
    "--precision": {
        "default": "auto",
        "help": "of the weights: bf16 has half the memory, int8 a quarter (CPU only), auto goes by model and machine",
    },
}


def add_shared(parser, name: str, **changes: Any) -> None:
    """Declare a shared option; `changes` are what is peculiar to the command, such as another default."""
    parser.add_argument(name, **SHARED[name] | changes)


def find_option(parser, name: str) -> Action:
    """The option of this name, for changes that add_class_arguments has no room for."""
    return parser._option_string_actions[name]


def add_short_forms(parser, letters: Mapping[str, str]) -> None:
    """Let options be called by a letter, too: {"-B": "--training.batch_size"}."""
    for letter, name in letters.items():
        option = find_option(parser, name)
        option.option_strings.insert(0, letter)
        parser._option_string_actions[letter] = option
