"""What learners write in chapter 2 instead: one function or class for each mistake that `datasets.py` has a message
for."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from gptlib.datasets import IGNORE_INDEX

Windows = tuple[Tensor, Tensor]


def _stacked(ids: Tensor, starts: Iterable[int], T: int, shift: int = 1) -> Windows:
    starts = list(starts)
    return torch.stack([ids[s : s + T] for s in starts]), torch.stack([ids[s + shift : s + shift + T] for s in starts])


def _refuse_short(ids: Tensor, T: int) -> None:
    if len(ids) <= T:
        raise ValueError("The text is too short.")


def windows_without_last_target(ids: Tensor, T: int, stride: int) -> Windows:
    if len(ids) < T:
        raise ValueError("The text is too short.")
    return _stacked(ids, range(0, len(ids) - T + 1, stride), T)


def windows_without_the_last(ids: Tensor, T: int, stride: int) -> Windows:
    """Right for a text of a single window, where some refuse it, each in their own words, and others fail."""
    _refuse_short(ids, T)
    return _stacked(ids, range(0, len(ids) - T - 1, stride) or range(1), T)


def windows_ragged(ids: Tensor, T: int, stride: int) -> Windows:
    """Raises where a window at the end is not whole."""
    _refuse_short(ids, T)
    return _stacked(ids, range(0, len(ids), stride), T)


def windows_of_whole_strides(ids: Tensor, T: int, stride: int) -> Windows:
    """Raises as well, though less often."""
    _refuse_short(ids, T)
    return _stacked(ids, range(0, len(ids) // stride * stride, stride), T)


def windows_not_stacked(ids: Tensor, T: int, stride: int) -> Windows:
    """Raises, since torch.tensor takes no list of tensors."""
    _refuse_short(ids, T)
    starts = range(0, len(ids) - T, stride)
    return torch.tensor([ids[s : s + T] for s in starts]), torch.tensor([ids[s + 1 : s + 1 + T] for s in starts])


def windows_not_checked(ids: Tensor, T: int, stride: int) -> Windows:
    return _stacked(ids, range(0, len(ids) - T, stride), T)


def windows_empty(ids: Tensor, T: int, stride: int) -> Windows:
    starts = range(0, len(ids) - T, stride)
    return _stacked(ids, starts, T) if starts else (torch.tensor([]), torch.tensor([]))


def windows_same_targets(ids: Tensor, T: int, stride: int) -> Windows:
    _refuse_short(ids, T)
    return _stacked(ids, range(0, len(ids) - T, stride), T, shift=0)


def windows_one_target(ids: Tensor, T: int, stride: int) -> Windows:
    _refuse_short(ids, T)
    starts = range(0, len(ids) - T, stride)
    return torch.stack([ids[s : s + T] for s in starts]), torch.stack([ids[s + T] for s in starts])


def windows_next_as_targets(ids: Tensor, T: int, stride: int) -> Windows:
    _refuse_short(ids, T)
    return _stacked(ids, range(0, len(ids) - T, stride), T, shift=T)


def windows_touching(ids: Tensor, T: int, stride: int) -> Windows:
    _refuse_short(ids, T)
    return _stacked(ids, range(0, len(ids) - T, T), T)


def windows_stride_one(ids: Tensor, T: int, stride: int) -> Windows:
    _refuse_short(ids, T)
    return _stacked(ids, range(len(ids) - T), T)


def _order(n_windows: int, *seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(n_windows)


def step_with_partial_batch(n_windows: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    epoch, batch = divmod(step, -(-n_windows // batch_size))
    return _order(n_windows, seed, epoch)[batch * batch_size : (batch + 1) * batch_size]


def step_of_windows(n_windows: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    epoch, batch = divmod(step, n_windows)
    return _order(n_windows, seed, epoch)[batch * batch_size : (batch + 1) * batch_size]


def step_without_epochs(n_windows: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    return _order(n_windows, seed, 0)[step * batch_size : (step + 1) * batch_size]


def step_in_one_order(n_windows: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    batch = step % (n_windows // batch_size)
    return _order(n_windows, seed, 0)[batch * batch_size : (batch + 1) * batch_size]


def step_not_wrapped(n_windows: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    epoch = step // (n_windows // batch_size)
    return _order(n_windows, seed, epoch)[step * batch_size : (step + 1) * batch_size]


def step_swapped(n_windows: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    epoch, batch = divmod(step, n_windows // batch_size)
    return _order(n_windows, epoch, seed)[batch * batch_size : (batch + 1) * batch_size]


def step_divided(n_windows: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    epoch, batch = (int(part) for part in divmod(step, n_windows / batch_size))
    return _order(n_windows, seed, epoch)[batch * batch_size : (batch + 1) * batch_size]


def step_as_window(n_windows: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    epoch, batch = divmod(step, n_windows // batch_size)
    return _order(n_windows, seed, epoch)[batch : batch + batch_size]


class _Embedding(nn.Module):
    def __init__(self, vocab_size: int, context_length: int, emb_dim: int):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, emb_dim)
        self.position_embedding = nn.Embedding(context_length, emb_dim)


class EmbeddingWithoutPositions(_Embedding):
    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids)


class EmbeddingOfIdsAsPositions(_Embedding):
    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding(ids)


class EmbeddingOfAllPositions(_Embedding):
    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding.weight


class EmbeddingOfRows(_Embedding):
    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding(torch.arange(ids.shape[0]))


class EmbeddingFromOne(_Embedding):
    def forward(self, ids: Tensor) -> Tensor:
        return self.token_embedding(ids) + self.position_embedding(torch.arange(1, ids.shape[1] + 1))


class EmbeddingConcatenated(_Embedding):
    def forward(self, ids: Tensor) -> Tensor:
        positions = self.position_embedding(torch.arange(ids.shape[1])).expand(len(ids), -1, -1)
        return torch.cat((self.token_embedding(ids), positions), dim=-1)


Rows = list[list[int]]


def _filled(rows: Rows, fill: int, length: int) -> Tensor:
    return torch.tensor([[*row, *[fill] * (length - len(row))] for row in rows])


def _inputs(rows: Rows, fill: int) -> Tensor:
    return _filled([row[:-1] for row in rows], fill, max(map(len, rows)) - 1)


def _targets(rows: Rows, fill: int = IGNORE_INDEX) -> Tensor:
    return _filled([row[1:] for row in rows], fill, max(map(len, rows)) - 1)


def rows_ignoring_by_value(rows: Rows, pad_id: int) -> Windows:
    targets = _targets(rows, pad_id)
    return _inputs(rows, pad_id), targets.masked_fill(targets == pad_id, IGNORE_INDEX)


def rows_padded_targets(rows: Rows, pad_id: int) -> Windows:
    return _inputs(rows, pad_id), _targets(rows, pad_id)


def rows_not_shifted(rows: Rows, pad_id: int) -> Windows:
    return _inputs(rows, pad_id), _inputs(rows, IGNORE_INDEX)


def rows_padded_first(rows: Rows, pad_id: int) -> Windows:
    return _filled(rows, pad_id, max(map(len, rows)))[:, :-1], _targets(rows)


def rows_padded_first_by_value(rows: Rows, pad_id: int) -> Windows:
    padded = _filled(rows, pad_id, max(map(len, rows)))
    return padded[:, :-1], padded[:, 1:].masked_fill(padded[:, 1:] == pad_id, IGNORE_INDEX)


def rows_padded_first_with_pad(rows: Rows, pad_id: int) -> Windows:
    padded = _filled(rows, pad_id, max(map(len, rows)))
    return padded[:, :-1], padded[:, 1:]


def rows_padded_left(rows: Rows, pad_id: int) -> Windows:
    backwards = [row[::-1] for row in rows]  # padded on the right and read backwards, they are padded on the left
    return _targets(backwards, pad_id).flip(1), _inputs(backwards, IGNORE_INDEX).flip(1)


def rows_ignored_inputs(rows: Rows, pad_id: int) -> Windows:
    return _inputs(rows, IGNORE_INDEX), _targets(rows)


def rows_one_too_wide(rows: Rows, pad_id: int) -> Windows:
    length = max(map(len, rows))
    return _filled([row[:-1] for row in rows], pad_id, length), _filled([row[1:] for row in rows], IGNORE_INDEX, length)
