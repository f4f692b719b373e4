"""Windows over a long row of token ids, and the order in which training sees them.

Which windows make up batch number b of a run is a pure function of the seed and b: nothing but a step number is
needed to go on after an interruption, with any number of workers or processes.
"""

import signal
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

from gptlib.tokenizers import Tokenizer
from gptlib.utils.validation import whole_number

IGNORE_INDEX = -100
"""The target that cross-entropy leaves out (PyTorch's ignore_index): padding, or a prompt that is not to be learned."""


class SlidingWindowDataset(Dataset):
    """Windows of `context_length` tokens, each `stride` further than the last, with the next token of each as target.

    token_ids: any 1-D array of integers (a list, numpy, torch, memory-mapped); it is not copied.
    stride: defaults to context_length, so that windows touch and every token is a target once; smaller, they overlap.

    Item i is (inputs, targets), both int64 (context_length,); targets are the inputs' tokens moved by one. A list or
    array of numbers gives all those windows at once, (batch, context_length) each. A last window that would reach
    beyond the end is left out, so that fewer than `stride` tokens at the very end are nobody's target.

    Raises ValueError where the text is too short for one window, or a size makes no sense.

    Example, context_length 4, stride 4, tokens 0 1 2 3 4 5 6 7 8:  0 1 2 3 -> 1 2 3 4  and  4 5 6 7 -> 5 6 7 8
    """

    def __init__(self, token_ids: Sequence[int] | np.ndarray | Tensor, context_length: int, stride: int | None = None):
        self.context_length = whole_number("context_length", context_length, 1)
        self.stride = self.context_length if stride is None else whole_number("stride", stride, 1)
        self.token_ids = _one_dimensional(token_ids)
        if len(self.token_ids) <= self.context_length:
            raise ValueError(
                f"The text has {len(self.token_ids)} tokens, and one window of context_length={self.context_length} "
                f"with its targets needs {self.context_length + 1}; use a longer text or a smaller context_length."
            )

    def __len__(self) -> int:
        return (len(self.token_ids) - self.context_length - 1) // self.stride + 1

    @property
    def mean_length(self) -> float:
        """Tokens of an item."""
        return self.context_length

    def __getitem__(self, index: int | Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor]:
        index = np.asarray(index)
        n = len(self)
        outside = index[(index < -n) | (index >= n)]
        if outside.size:
            raise IndexError(f"There are {n} windows, 0 to {n - 1}; window {outside[0]} was asked for.")
        starts = (index % n) * self.stride
        positions = starts[..., None] + np.arange(self.context_length + 1)
        windows = torch.from_numpy(self.token_ids[positions].astype(np.int64))  # (..., context_length + 1)
        return windows[..., :-1].contiguous(), windows[..., 1:].contiguous()


def _one_dimensional(token_ids: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
    """The ids as a numpy array that shares their memory where it can; a memory-mapped one stays so."""
    if isinstance(token_ids, Tensor):
        token_ids = token_ids.cpu().numpy()
    elif not isinstance(token_ids, np.ndarray):
        token_ids = np.asarray(token_ids, dtype=np.int64 if len(token_ids) == 0 else None)
    if token_ids.ndim != 1 or not np.issubdtype(token_ids.dtype, np.integer):
        raise ValueError(
            f"Token ids are a 1-D array of integers, not one of shape {token_ids.shape} and type {token_ids.dtype}; "
            "encode the text with a tokenizer first."
        )
    return token_ids


class BatchSampler(Sampler[np.ndarray]):
    """The windows of each batch, as a pure function of (seed, batch number).

    Within an epoch every window comes once, in the order of a permutation made from (seed, epoch), or in reading
    order without `shuffle`. With several processes (`world_size`), batch_size is what one of them takes, a batch of
    all is world_size times as large, and each takes its slice by `rank`.

    Each pass over it is one epoch; the next pass is the next epoch, unless `set_position` says otherwise.
    """

    def __init__(
        self,
        n_windows: int,
        batch_size: int,
        *,
        shuffle: bool = True,
        drop_last: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.n_windows, self.batch_size = n_windows, whole_number("batch_size", batch_size, 1)
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        self.rank, self.world_size = rank, whole_number("world_size", world_size, 1)
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank} is not among {world_size} processes; give 0 to {world_size - 1}.")
        if seed < 0:
            raise ValueError(f"seed={seed} is out of range; give a whole number, 0 or more.")
        self.epoch = self.first_batch = 0
        if len(self) == 0:
            raise ValueError(
                f"{n_windows} windows do not fill one batch of batch_size={batch_size * world_size}; "
                "use a smaller batch_size or stride, a longer text, or drop_last=False."
            )

    def __len__(self) -> int:
        """Batches in an epoch."""
        together = self.batch_size * self.world_size
        return self.n_windows // together if self.drop_last else -(-self.n_windows // together)

    def set_position(self, batch: int) -> None:
        """Let the next pass begin at batch number `batch` of the run, counted over all epochs."""
        self.epoch, self.first_batch = divmod(batch, len(self))

    def windows(self, epoch: int) -> np.ndarray:
        """All window numbers in the order of that epoch, (n_windows,)."""
        if not self.shuffle:
            return np.arange(self.n_windows)
        return np.random.default_rng((self.seed, epoch)).permutation(self.n_windows)

    def __iter__(self) -> Iterator[np.ndarray]:
        order, first = self.windows(self.epoch), self.first_batch
        self.epoch, self.first_batch = self.epoch + 1, 0
        together = self.batch_size * self.world_size
        for batch in range(first, len(self)):
            yield order[batch * together : (batch + 1) * together][self.rank :: self.world_size]


def create_dataloader(
    text_or_ids: str | Sequence[int] | np.ndarray | Tensor,
    *,
    tokenizer: Tokenizer | None = None,
    batch_size: int = 8,
    context_length: int = 256,
    stride: int | None = None,
    shuffle: bool = True,
    drop_last: bool = True,
    num_workers: int = 0,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """A DataLoader of (inputs, targets), both int64 (batch_size, context_length), over a text or its token ids.

    A text needs a tokenizer. drop_last: leave out the windows that do not fill a last batch. num_workers: processes
    that read ahead; they do not change the order. The other options are those of SlidingWindowDataset and BatchSampler.

    Raises ValueError, in one sentence, where a size makes no sense or the text is too short.
    """
    if isinstance(text_or_ids, str):
        if tokenizer is None:
            raise ValueError("A text needs a tokenizer; pass tokenizer=load_tokenizer('gpt2'), say, or token ids.")
        text_or_ids = tokenizer.encode(text_or_ids)
    dataset = SlidingWindowDataset(text_or_ids, context_length, stride)
    order = BatchSampler(
        len(dataset), batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed, rank=rank, world_size=world_size
    )
    # batch_size=None: the sampler's items are whole batches, and the dataset fetches each in one go. The loader has
    # a generator of its own, because it would draw from the global one, on which dropout depends.
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=order,
        num_workers=num_workers,
        worker_init_fn=ignore_interrupts,
        generator=torch.Generator().manual_seed(seed),
    )


def ignore_interrupts(worker: int) -> None:
    """Ctrl-C in a terminal reaches the workers too; it is for the process that trains to decide what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def loader_length(loader: Iterable) -> int | None:
    """Batches in an epoch; None where the loader does not know. Raises ValueError where there are none."""
    try:
        n = len(loader)
    except TypeError:
        return None
    if n == 0:
        raise ValueError("The loader has no batch; use a longer text or a smaller batch_size.")
    return n


def tokens_per_batch(loader: Iterable) -> int | None:
    """Tokens in a batch of one of our own loaders, on average; None for others, which aren't touched to find out."""
    if isinstance(getattr(loader, "sampler", None), BatchSampler):
        return round(loader.sampler.batch_size * loader.dataset.mean_length)
    return None


def batches_from(loader: Iterable, first: int = 0, seed: int = 0) -> Iterator:
    """The batches of a run from number `first` on, epoch after epoch, without end.

    A loader of `create_dataloader` begins there at once. Any other has to be read up to there, and gives the batches
    that the run would have seen only if each of its passes is in the same order.
    """
    number = skip = 0
    if isinstance(getattr(loader, "sampler", None), BatchSampler):
        loader.sampler.set_position(first)
    elif first:
        n = loader_length(loader)
        number, skip = divmod(first, n) if n else (0, first)
    while True:
        read = 0
        for read, batch in enumerate(begin_pass(loader, seed, number), start=1):
            if read > skip:
                yield batch
        if read == 0:
            raise ValueError("The loader has nothing left; pass one that can be read again, a list or a DataLoader.")
        skip, number = max(skip - read, 0), number + 1


def begin_pass(loader: Iterable, seed: int = 0, number: int = 0) -> Iterator:
    """A pass over the loader. What it draws from PyTorch's random state to begin, as any DataLoader does, is a
    function of (seed, number), and dropout does not notice it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed * 1_000_003 + number)
        batches = iter(loader)
        first = list(islice(batches, 1))
    return chain(first, batches)


def collate_padded(
    items: Sequence[tuple[Sequence[int], Sequence[int]]], pad_id: int = 0, max_length: int | None = None
) -> dict[str, Tensor]:
    """(inputs, targets) pairs of any lengths -> tensors of one length, padded on the right.

    Returns "inputs" (B, T) int64 filled up with pad_id, "targets" (B, T) int64 filled up with -100, which the loss
    ignores, and "attention_mask" (B, T) bool, True at real tokens. T is the longest item's length, at most max_length
    (what is longer is cut at the end). Causal attention never looks to the right, so training needs no mask for this
    padding. Raises ValueError where an item is empty or its inputs and targets differ in length.
    """
    if not items:
        raise ValueError("There is nothing to collate: the list of items is empty; pass at least one.")
    for i, (inputs, targets) in enumerate(items):
        if len(inputs) != len(targets) or len(inputs) == 0:
            raise ValueError(
                f"Item {i} has {len(inputs)} inputs and {len(targets)} targets; it needs as many of both, at least one."
            )
    length = max(len(inputs) for inputs, _ in items)
    length = length if max_length is None else min(length, whole_number("max_length", max_length, 1))
    inputs, targets = ([torch.as_tensor(row[:length]).long() for row in rows] for rows in zip(*items, strict=True))
    real = [torch.ones(len(row), dtype=torch.bool) for row in inputs]
    return {
        "inputs": pad_sequence(inputs, batch_first=True, padding_value=pad_id),
        "targets": pad_sequence(targets, batch_first=True, padding_value=IGNORE_INDEX),
        "attention_mask": pad_sequence(real, batch_first=True),
    }
