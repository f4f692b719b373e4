"""Instructions and their answers, from files to batches. Start reading at entries.py."""

from gptlib.instructions.dataset import InstructionDataset, create_instruction_loader
from gptlib.instructions.entries import Instruction
from gptlib.instructions.reading import Reading, read_instructions
from gptlib.instructions.splitting import prompt_key, split_entries
from gptlib.instructions.templates import ALPACA, CHAT, TEMPLATES, Template, find_template

__all__ = [
    "ALPACA",
    "CHAT",
    "TEMPLATES",
    "Instruction",
    "InstructionDataset",
    "Reading",
    "Template",
    "create_instruction_loader",
    "find_template",
    "prompt_key",
    "read_instructions",
    "split_entries",
]
