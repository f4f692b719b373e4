"""Instructions to learn from and others to be tested on, without one of the first among the second in other words."""

import unicodedata
from collections.abc import Sequence

import numpy as np

from gptlib.instructions.entries import Instruction
from gptlib.utils.validation import is_number, whole_number


def prompt_key(entry: Instruction) -> str:
    """The letters and digits of instruction and input, in lower case; entries with the same key ask the same.

    Example: "Upper case, please!" with the input "a cat" -> "uppercasepleaseacat"
    """
    asked = f"{entry.instruction} {entry.input}"
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", asked).casefold())
    return "".join(filter(str.isalnum, folded)) or "".join(asked.split())


def split_entries(
    entries: Sequence[Instruction], ratio: float = 0.1, seed: int = 0
) -> tuple[list[Instruction], list[Instruction]]:
    """(training, held out): about the share `ratio` of the entries is held out, at least one; both keep their order.

    Entries that ask the same up to case, white space and punctuation stay on one side, whatever they answer. Which
    are held out is a function of the entries and the seed.
    Raises: ValueError for a ratio that is not between 0 and 1, and where all entries ask the same.
    """
    whole_number("seed", seed, 0)
    if not is_number(ratio) or not 0 < ratio < 1:
        raise ValueError(f"ratio={ratio!r} is out of range; give the share to hold out, above 0 and below 1.")
    groups: dict[str, list[int]] = {}
    for i, entry in enumerate(entries):
        groups.setdefault(prompt_key(entry), []).append(i)
    if len(groups) < 2:
        raise ValueError(
            f"A split needs at least 2 entries that ask different things, and {len(groups)} of {len(entries)} do; add "
            "others."
        )
    shuffled = np.random.default_rng(seed).permutation(len(groups))[:-1]  # one group at least is for training
    members, held_out = list(groups.values()), set()
    for group in shuffled:
        if held_out and len(held_out) + len(members[group]) > ratio * len(entries):
            continue
        held_out.update(members[group])
    training = [entry for i, entry in enumerate(entries) if i not in held_out]
    return training, [entries[i] for i in sorted(held_out)]
