"""Instructions as token ids: the prompt is given, the answer and its end are learned.

Of "prompt answer <|endoftext|>" the inputs are all tokens but the last, the targets all but the first, with -100 where
the next token is one of the prompt: the loss leaves those out.

    tokens    User : Hi \\n Assistant :  Hello <|endoftext|>
    inputs    User : Hi \\n Assistant :  Hello
    targets   -100 -100 -100 -100 -100 Hello <|endoftext|>
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gptlib.datasets import IGNORE_INDEX, BatchSampler, collate_padded, ignore_interrupts
from gptlib.instructions.entries import Instruction
from gptlib.instructions.templates import Template, find_template
from gptlib.tokenizers import Tokenizer
from gptlib.utils.validation import whole_number

Example = tuple[np.ndarray, int]
"""The tokens of an entry, and how many of them are its prompt."""


class InstructionDataset(Dataset):
    """The entries, encoded; item i is (inputs, targets), both int64 (T_i,), T_i at most context_length.

    A list or array of numbers gives a batch of those items, as `collate_padded` makes it: as long as its longest, the
    inputs filled up with <|endoftext|> and the targets with -100, so that the first <|endoftext|> only is learned.

    Nothing is lost unseen; three lists have the places of entries that are not learned as they are:
    - `cut`: the answer does not fit in context_length, and then ends without <|endoftext|>;
    - `skipped`: the prompt leaves no room for one token of the answer;
    - `with_unknown`: the answer has words that the tokenizer does not know, and that are learned as <|unk|>.
    `notes()` says this in words. A "<|endoftext|>" written in a text is plain text.

    packing: put entries that follow each other into one window as long as they fit, which saves the padding. Nothing
    is masked between them: as with the documents that GPT-2 was trained on, a token also attends to what stands
    before it in its window, and to the right of <|endoftext|> the model has to learn that something new begins.

    Raises ValueError where the tokenizer has no <|endoftext|>, where it cannot encode an entry, and where nothing
    is left.
    """

    def __init__(
        self,
        entries: Sequence[Instruction],
        tokenizer: Tokenizer,
        context_length: int,
        template: str | Template = "chat",
        *,
        packing: bool = False,
    ):
        if tokenizer.eos_id is None:
            raise ValueError(
                f"{type(tokenizer).__name__} has no <|endoftext|>, and without it no answer would ever end; "
                "use a tokenizer that has it: word, bpe, sentencepiece or gpt2."
            )
        self.context_length = context_length = whole_number("context_length", context_length, 1)
        self.pad_id, self.n_entries = tokenizer.eos_id, len(entries)
        self.cut: list[int] = []
        self.skipped: list[int] = []
        self.with_unknown: list[int] = []
        template = find_template(template)
        examples = []
        for place, entry in enumerate(entries):
            tokens, n_prompt = _encoded(place, entry, tokenizer, template)
            if n_prompt > context_length:
                self.skipped.append(place)
                continue
            if len(tokens) > context_length + 1:
                self.cut.append(place)
            if _letters(tokenizer.decode(tokens[n_prompt:-1].tolist())) != _letters(entry.output):
                self.with_unknown.append(place)
            examples.append((tokens[: context_length + 1], n_prompt))
        if not examples:
            raise ValueError(
                f"None of {len(entries)} entries has a prompt that leaves room for an answer in "
                f"context_length={context_length} tokens; give shorter ones, a longer context, or another template."
            )
        self._windows = _packed(examples, context_length + 1) if packing else [[example] for example in examples]

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def mean_length(self) -> float:
        """Tokens of an item, on average, without padding."""
        return sum(len(tokens) for window in self._windows for tokens, _ in window) / len(self) - 1

    def __getitem__(self, index: int | Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor] | dict[str, Tensor]:
        if np.ndim(index):
            return collate_padded([self[i] for i in index], self.pad_id)
        window = self._windows[index]
        tokens = np.concatenate([tokens for tokens, _ in window]).astype(np.int64)
        learned = np.concatenate([np.arange(len(tokens)) >= n_prompt for tokens, n_prompt in window])
        targets = np.where(learned[1:], tokens[1:], IGNORE_INDEX)
        return torch.from_numpy(tokens[:-1]), torch.from_numpy(targets)

    def notes(self) -> list[str]:
        """A sentence each for what was skipped, what was cut and what has unknown words; none if all is well."""
        kinds = (
            (self.skipped, f"skipped: the prompt leaves no room for an answer in {self.context_length} tokens"),
            (self.cut, f"cut: the answer and its end do not fit in {self.context_length} tokens"),
            (self.with_unknown, "with unknown words: the tokenizer does not know all words of the answer"),
        )
        return [
            f"{len(places):,} of {self.n_entries:,} entries {what} (number {_listed(places)})."
            for places, what in kinds
            if places
        ]


def create_instruction_loader(
    dataset: InstructionDataset,
    batch_size: int = 8,
    *,
    shuffle: bool = True,
    drop_last: bool = True,
    num_workers: int = 0,
    seed: int = 0,
) -> DataLoader:
    """A DataLoader of padded batches: dicts with "inputs", "targets" and "attention_mask", (batch_size, T) each.

    T is the longest of that batch. Which entries make it up is a function of (seed, epoch), see BatchSampler; to
    measure a loss on all entries, turn shuffle and drop_last off. Raises ValueError where a size makes no sense.
    """
    return DataLoader(
        dataset,
        batch_size=None,  # the sampler's items are whole batches
        sampler=BatchSampler(len(dataset), batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed),
        num_workers=num_workers,
        worker_init_fn=ignore_interrupts,
        generator=torch.Generator().manual_seed(seed),  # the global one is dropout's
    )


def _encoded(place: int, entry: Instruction, tokenizer: Tokenizer, template: Template) -> Example:
    try:
        prompt = tokenizer.encode(template.prompt(entry))
        # Apart from the prompt, which generation has to encode without knowing the answer.
        answer = tokenizer.encode(template.answer(entry.output))
    except ValueError as error:
        raise ValueError(f"Entry {place + 1}: {error}") from None
    return np.array([*prompt, *answer, tokenizer.eos_id], dtype=np.int32), len(prompt)


def _letters(text: str) -> str:
    """The text without its white space, which a word tokenizer may move."""
    return "".join(text.split())


def _packed(examples: list[Example], room: int) -> list[list[Example]]:
    """The examples in their order, in windows of at most `room` tokens, each window begun when the last is full."""
    windows: list[list[Example]] = []
    used = room
    for example in examples:
        n = len(example[0])
        if used + n > room:
            windows.append([])
            used = 0
        windows[-1].append(example)
        used += n
    return windows


def _listed(places: list[int], most: int = 10) -> str:
    """Example: [0, 4] -> "1, 5"; people count entries from 1."""
    return ", ".join(str(place + 1) for place in places[:most]) + (" and others" if len(places) > most else "")
