"""Chapter 2: splits, windows and their targets, the order of batches, embeddings, padding."""

from random import Random

import numpy as np
import torch
from torch import Tensor, nn

from gptlib.datasets import IGNORE_INDEX, BatchSampler, SlidingWindowDataset, collate_padded
from gptlib.exercises.adapters import as_module
from gptlib.exercises.declaring import Choice, CodeExercise, Mistake, Prediction
from gptlib.model import GPTModel
from workbook.mistakes import datasets as wrong


def sliding_windows(token_ids: Tensor, context_length: int, stride: int) -> tuple[Tensor, Tensor]:
    """All windows of a 1-D tensor of ids -> inputs and targets, both (windows, context_length)."""
    dataset = SlidingWindowDataset(token_ids, context_length, stride)
    return dataset[range(len(dataset))]


def _window_cases(rng: Random) -> list[tuple]:
    ids = torch.randint(100, 999, (rng.randint(30, 40),))
    return [
        (torch.arange(10, 19), 4, 4),
        (torch.arange(10, 18), 4, 4),  # a second window would have inputs, but not its last target
        (torch.tensor([7, 7, 2, 9, 4, 1, 8]), 3, 1),
        (torch.arange(20, 33), 2, 5),  # gaps between windows
        (torch.tensor([5, 3, 8]), 2, 2),  # one window, and nothing left
        (ids, 5, 3),
        (ids, 8, rng.randint(1, 7)),
        (torch.tensor([5, 3, 8]), 3, 1),  # too short by one token
        (torch.tensor([5]), 4, 4),
    ]


def batch_of_step(n_windows: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """The window numbers of the batch at `step`, counted over all epochs, (batch_size,)."""
    order = BatchSampler(n_windows, batch_size, seed=seed)
    epoch, batch = divmod(step, len(order))
    return order.windows(epoch)[batch * batch_size : (batch + 1) * batch_size]


def _step_cases(rng: Random) -> list[tuple]:
    return [
        (10, 3, 0, 1),
        (10, 3, 0, 3),  # the first batch of the second epoch
        (10, 3, 0, 8),
        (10, 3, 0, 11),
        (12, 4, 5, 3),  # nothing is left over
        (5, 5, 1, 2),  # one batch an epoch
        (101, 8, rng.randint(1, 99), 47),
        (60, 7, rng.randint(1, 99), 8),
    ]


class InputEmbedding(nn.Module):
    """Token ids to the vectors that a model begins with: what the token is, plus where it stands."""

    def __init__(self, vocab_size: int, context_length: int, emb_dim: int):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, emb_dim)
        self.position_embedding = nn.Embedding(context_length, emb_dim)

    def forward(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)  # (T,)
        return self.token_embedding(ids) + self.position_embedding(positions)  # (B, T, C) + (T, C) -> (B, T, C)


def _embedding_cases(rng: Random) -> list[tuple]:
    def case(vocab_size: int, context_length: int, emb_dim: int, *shape: int) -> tuple:
        options = {"vocab_size": vocab_size, "context_length": context_length, "emb_dim": emb_dim}
        return options, torch.randint(vocab_size, shape)

    return [
        case(10, 4, 8, 2, 3),
        case(10, 4, 8, 2, 4),  # rows as long as the context
        case(6, 16, 5, 1, 1),
        case(9, 16, 4, 3, 3),  # as many rows as positions
        case(30, 12, 7, rng.randint(2, 5), rng.randint(6, 11)),
    ]


def pad_rows(rows: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Rows of ids of any lengths -> inputs and targets, both (B, longest - 1), padded on the right."""
    batch = collate_padded([(row[:-1], row[1:]) for row in rows], pad_id)
    return batch["inputs"], batch["targets"]


def _row_cases(rng: Random) -> list[tuple]:
    rows = [[rng.randrange(1, 90) for _ in range(rng.randint(2, 9))] for _ in range(6)]
    return [
        ([[5, 6, 7, 8], [3, 4]], 0),
        ([[3, 4], [5, 6, 7, 8], [1, 2, 9]], 0),
        ([[4, 2, 9], [7, 1, 3]], 0),  # of one length already
        ([[8, 5, 6]], 99),
        ([[5, 6, 7, 50], [8, 50], [50, 4, 50]], 50),  # the id that pads is a token of the text too
        (rows, 0),
        ([[*row, 99] for row in rows], 99),
    ]


EXERCISES = (
    Prediction(
        name="count_windows",
        title="How many windows?",
        minutes=3,
        task="""
            A text has 23 tokens, numbered 0 to 22. How many windows has it with a context length of 5 and a stride of
            3? Every window needs all of its inputs and all of its targets. Do it on paper: write down where each
            window starts.
        """,
        answer=6,
        form="a whole number",
        diagnoses={
            7: "One too many. The inputs of a window that starts at 18 are tokens 18 to 22. What would its last target "
            "be?",
            5: "One too few. Did you count the window that starts at 0? And the last one may use token 22 as a target.",
            18: "That is the count for a stride of 1. Here the next window starts 3 tokens further on.",
            4: "That is the count where windows touch (stride 5). Here they start at 0, 3, 6 and so on.",
            8: "Windows could start at 0, 3, 6, ..., 21, but the last ones are not whole: they reach beyond token 22.",
        },
        hints=(
            "The windows start at 0, 3, 6, ... How far to the right does the window that starts at s reach, its "
            "targets included?",
            "A window that starts at s has its last target at s + 5, and there is no token beyond 22. Which is the "
            "largest s?",
        ),
        why="""
            The starts are 0, 3, 6, 9, 12 and 15: the last target of the window at 15 is token 20, and one at 18 would
            need token 23. In general the last start is at most `n - context_length - 1`, so there are
            `(n - context_length - 1) // stride + 1` windows.
        """,
    ),
    CodeExercise(
        name="sliding_windows",
        title="Cut a text into windows",
        minutes=15,
        difficulty=2,
        task="""
            Write the function that cuts a text into training examples. `token_ids` is a 1-D tensor of ids. Window
            number `w` starts at `w * stride`; its inputs are `context_length` tokens from there on, and its targets
            are the same tokens moved by one. Return two tensors, the inputs and the targets, both of the shape
            `(windows, context_length)`.

            A window counts only if its last target exists too. Where the text is too short for even one window, raise
            a `ValueError` that says so.
        """,
        stub='''
            def sliding_windows(token_ids, context_length, stride):
                """token_ids (n,) -> inputs and targets, both (windows, context_length).

                Example: [10, 11, 12, 13, 14, 15, 16, 17, 18] with context_length 4, stride 4 ->
                [[10, 11, 12, 13], [14, 15, 16, 17]] and [[11, 12, 13, 14], [15, 16, 17, 18]]
                """
                ...
        ''',
        reference=sliding_windows,
        cases=_window_cases,
        mistakes=(
            Mistake(
                wrong.windows_without_last_target,
                "You keep a last window whose inputs fit, but whose last target would lie beyond the end of the text. "
                "How far to the right does a window reach when its targets are counted?",
            ),
            Mistake(
                wrong.windows_without_the_last,
                "You leave out a last window that fits exactly, with its last target on the last token. Note that "
                "`range` excludes its end.",
            ),
            Mistake(
                wrong.windows_of_whole_strides,
                "You make `len(token_ids) // stride` windows, but the last of them may not be whole: how many tokens "
                "does the last start have to leave?",
            ),
            Mistake(
                wrong.windows_ragged,
                "Near the end your slices get shorter than `context_length`, and `torch.stack` can't stack them. The "
                "last start has to leave room for a whole window.",
            ),
            Mistake(
                wrong.windows_not_stacked,
                "`torch.tensor` makes a tensor of plain numbers; for a list of tensors there is `torch.stack`.",
            ),
            Mistake(
                wrong.windows_not_checked,
                "All windows are right. What is missing is the text that is too short for one: check for it first, and "
                "raise a `ValueError` with a sentence about it.",
            ),
            Mistake(
                wrong.windows_empty,
                "All windows are right. But where the text is too short you return empty tensors, and whoever trains "
                "on them would wonder why nothing is learned: raise a `ValueError` there.",
            ),
            Mistake(wrong.windows_same_targets, "Your targets are the inputs: the model would learn to copy."),
            Mistake(
                wrong.windows_one_target,
                "You give one target for each window. Every position has one: the target of each input is the token "
                "after it.",
            ),
            Mistake(
                wrong.windows_next_as_targets,
                "Your targets begin where the inputs end. They overlap: the first target is the second input.",
            ),
            Mistake(
                wrong.windows_touching,
                "Your windows start `context_length` apart. They should start `stride` apart, whatever the length is.",
            ),
            Mistake(wrong.windows_stride_one, "Your windows start at every token. They should start `stride` apart."),
        ),
        hints=(
            "First the starts: `range(0, ..., stride)`. The window that starts at `s` needs the tokens up to "
            "`s + context_length`, that one included, for its last target.",
            "The inputs of one window are `token_ids[s : s + context_length]`; its targets are the same slice, moved "
            "by one. `torch.stack` makes a tensor `(windows, context_length)` of a list of slices.",
            "The starts are `range(0, len(token_ids) - context_length, stride)`. If that has no element, raise "
            "`ValueError`.",
        ),
        why="""
            The library makes the positions of all windows at once: starts `(windows, 1)` plus `0 .. context_length`
            broadcast to `(windows, context_length + 1)`. One indexing fetches those tokens; all but the last column
            are the inputs, all but the first the targets. That is fast, and it reads from a file on disk only what is
            asked for.
        """,
        shows=(sliding_windows, SlidingWindowDataset),
    ),
    Choice(
        name="leaky_split",
        title="Too good to be true",
        minutes=2,
        task="""
            Somebody cuts a whole text into windows of 256 tokens with a stride of 1, shuffles the windows, and puts
            5 % of them aside for validation. The model does splendidly on them. On a new text by the same author it
            does badly. What went wrong?
        """,
        choices={
            "a": (
                "5 % is too little for validation.",
                "A small validation part gives a noisier number. It does not make it better than it should be.",
            ),
            "b": (
                "The windows should not have been shuffled: training needs the reading order.",
                "Shuffling training windows is good. What matters is that the parts were separated after the windows "
                "were cut, and not before.",
            ),
            "c": (
                "Nearly every validation window shares almost all its tokens with training windows, so the model had "
                "seen the answers.",
                "The neighbours of a validation window, one token to the left and to the right, were in training. Cut "
                "the text into parts first, and each part into windows afterwards.",
            ),
            "d": (
                "A stride of 1 makes too many windows.",
                "It makes many, and they are alike; that costs time. With parts cut apart first it would still have "
                "been an honest measure.",
            ),
        },
        answer="c",
        hints=(
            "Take one window that was put aside. Where are the windows that start one token before and after it?",
            "Ask of each validation token: was it a target in training too?",
        ),
    ),
    CodeExercise(
        name="batch_of_step",
        title="The batch at any step",
        minutes=10,
        difficulty=2,
        task="""
            Write the function that says which windows make up the batch at `step` of a run, without running the steps
            before it. Steps count from 0 over all epochs. An epoch has as many whole batches as its windows fill; the
            windows left over are not used in that epoch. The order of the windows in an epoch is

            `np.random.default_rng((seed, epoch)).permutation(n_windows)`

            Return the window numbers, an array of the shape `(batch_size,)`.
        """,
        stub='''
            def batch_of_step(n_windows, batch_size, seed, step):
                """The window numbers of the batch at `step`, (batch_size,).

                Example: 10 windows, batch_size 3, seed 0, step 1 -> items 3, 4 and 5 of the order of epoch 0
                """
                ...
        ''',
        reference=batch_of_step,
        cases=_step_cases,
        mistakes=(
            Mistake(
                wrong.step_with_partial_batch,
                "You count the windows left over as one more batch of the epoch. Only whole batches count: how many of "
                "them do `n_windows` windows fill?",
            ),
            Mistake(
                wrong.step_of_windows,
                "You divide the step by the number of windows. An epoch is over after as many steps as it has batches.",
            ),
            Mistake(
                wrong.step_without_epochs,
                "You stay in epoch 0 for ever, and run out of windows. When an epoch's batches are used up, the next "
                "epoch begins, with an order of its own.",
            ),
            Mistake(
                wrong.step_in_one_order,
                "Your epochs all have the same order. The epoch's number belongs into the seed of its permutation.",
            ),
            Mistake(
                wrong.step_not_wrapped,
                "Your epoch is right, but in it you take batch number `step`. In each epoch the batches count from 0 "
                "again.",
            ),
            Mistake(
                wrong.step_swapped,
                "You seed with `(epoch, seed)`. That is an order as well, but another one than asked for.",
            ),
            Mistake(
                wrong.step_divided,
                "An epoch has a whole number of batches. With `/` you count a part of one as well; which division "
                "leaves it out?",
            ),
            Mistake(
                wrong.step_as_window,
                "Your batch begins at window `step` of the order. The batches before it have taken `batch_size` windows"
                " each.",
            ),
        ),
        hints=(
            "Two questions: in which epoch is the step, and which batch of that epoch is it? With 10 windows and "
            "batches of 3 there are 3 batches an epoch, so step 8 is in epoch 2.",
            "`divmod(step, batches)` gives both at once, the whole part and the rest.",
            "Batch number `b` of an epoch is the slice of its order from `b * batch_size` to `(b + 1) * batch_size`.",
        ),
        why="""
            Nothing but the step has to be remembered to go on after an interruption. Had one generator run through the
            whole training, its state would have to be saved too, and would be lost with every other way of reading.
        """,
        shows=(batch_of_step, BatchSampler),
    ),
    Prediction(
        name="token_file_size",
        title="How large is the file?",
        minutes=2,
        task="""
            `prepare_corpus` turns a text of 3 million tokens into files, with GPT-2's tokenizer (50,257 tokens in its
            vocabulary) and 90 % of the text for training. How many bytes has `train.bin`?
        """,
        answer=5_400_000,
        form="a whole number, like 1_000_000",
        diagnoses={
            6_000_000: "That is all three files together; `train.bin` holds 90 % of the tokens.",
            2_700_000: "That is the number of tokens in it. One byte can only tell 256 ids apart.",
            3_000_000: "That is the number of tokens in all three files. How many are in this one, and of how many "
            "bytes?",
            10_800_000: "That is with four bytes a token. Do ids below 50,257 need so many?",
            21_600_000: "That is with eight bytes a token, as `int64` has. In the file they are smaller.",
        },
        hints=(
            "How many different numbers can two bytes hold, and is that enough for 50,257 ids?",
            "Tokens in the training part, times bytes a token.",
        ),
        why="2,700,000 tokens at two bytes each: `uint16` goes up to 65,535, and the largest id is 50,256.",
    ),
    CodeExercise(
        name="input_embedding",
        title="What a model begins with",
        minutes=10,
        difficulty=2,
        task="""
            Write the module that turns ids into the vectors a model begins with: for each position, the vector of its
            token plus the learned vector of its position in the row. Each table is an `nn.Embedding`; name them
            `token_embedding` and `position_embedding`. Rows may be shorter than `context_length`, and the first
            position is 0.
        """,
        stub='''
            class InputEmbedding(nn.Module):
                """Token embedding plus learned position embedding."""

                def __init__(self, vocab_size, context_length, emb_dim):
                    super().__init__()
                    ...

                def forward(self, ids):
                    """ids (B, T) -> vectors (B, T, C). Example: of ids (2, 3), and emb_dim 8, (2, 3, 8)"""
                    ...
        ''',
        reference=InputEmbedding,
        cases=_embedding_cases,
        run=as_module(InputEmbedding),
        mistakes=(
            Mistake(
                wrong.EmbeddingWithoutPositions,
                "These are the token vectors alone. The vector of each position is to be added.",
            ),
            Mistake(
                wrong.EmbeddingOfIdsAsPositions,
                "You look up the position vectors with the token ids. A position is where the token stands in its row: "
                "0, 1, 2, ...",
            ),
            Mistake(
                wrong.EmbeddingOfAllPositions,
                "You add the vectors of all `context_length` positions. A row of `T` tokens needs the first `T`.",
            ),
            Mistake(
                wrong.EmbeddingOfRows,
                "You count the rows (`ids.shape[0]`). Positions run along a row, over its `T` tokens.",
            ),
            Mistake(wrong.EmbeddingFromOne, "Your first position is number 1. Count from 0, as `torch.arange` does."),
            Mistake(
                wrong.EmbeddingConcatenated,
                "You put the two vectors side by side, which makes `2 C` channels. Add them instead.",
            ),
        ),
        hints=(
            "Two `nn.Embedding` tables in `__init__`: one with a row for each token, one with a row for each position.",
            "In `forward`, the positions are `torch.arange(T)`, where `T` is `ids.shape[1]`.",
            "`(B, T, C) + (T, C)` broadcasts: every row of the batch gets the same position vectors.",
        ),
        why="""
            Addition keeps the width: everything after this works on `C` channels. `GPTModel.embed` does the same, with
            the positions handed to it, since they do not always begin at 0 (left padding, and the cache of chapter 6).
        """,
        shows=(InputEmbedding, GPTModel.embed),
    ),
    Choice(
        name="padding_side",
        title="Left or right?",
        minutes=2,
        task="""
            Three prompts of different lengths stand in one batch. In each step the model writes the next token of
            every row, one new column at the right end of the batch. On which side do you pad?
        """,
        choices={
            "a": (
                "On the right, as in training.",
                "Then a short row has padding between its last real token and the new column, and its new token "
                "would stand behind a gap.",
            ),
            "b": (
                "On the left, with a mask that hides the padding.",
                "Every row then ends in a real token, and the new column continues all of them. The mask, and "
                "positions that count from the first real token, keep the padding out of the result.",
            ),
            "c": (
                "On the left, and no mask is needed, since nobody looks to the right.",
                "Left padding stands before the real tokens, which may look to the left: without a mask they would see "
                "it.",
            ),
            "d": (
                "On neither side: the longer prompts are cut to the shortest one.",
                "Then the rows are of one length, but the model would no longer see most of what was asked.",
            ),
        },
        answer="b",
        hints=(
            "Where does each row's last real token stand, if you pad on the right? And where does the new one go?",
            "Then ask of the side you chose: can a real token see the padding by looking to its left?",
        ),
    ),
    CodeExercise(
        name="pad_rows",
        title="Pad a batch and its targets",
        minutes=15,
        difficulty=3,
        task="""
            Turn rows of ids of different lengths into a batch for training. Each row gives inputs (all but its last
            token) and targets (all but its first). Pad both on the right to the length of the longest: the inputs with
            `pad_id`, the targets with -100, so that padding is nobody's target. Each row has two tokens or more.

            Mind that `pad_id` may be a token that also occurs in the rows: GPT-2 has no token for padding, and its end
            of text is often used.
        """,
        stub='''
            def pad_rows(rows, pad_id):
                """A list of lists of ids -> inputs and targets, both int64 (B, longest row - 1).

                Example: rows [[5, 6, 7, 8], [3, 4]] with pad_id 0 ->
                [[5, 6, 7], [3, 0, 0]] and [[6, 7, 8], [4, -100, -100]]
                """
                ...
        ''',
        reference=pad_rows,
        cases=_row_cases,
        mistakes=(
            Mistake(
                wrong.rows_ignoring_by_value,
                "You ignore every target that equals `pad_id`, the real ones too. Where `pad_id` is the end of text, "
                "the model would never learn to stop. Go by the row's length, not by the value.",
            ),
            Mistake(
                wrong.rows_padded_targets,
                "Your targets are padded with `pad_id`, so the model would be taught to write padding.",
            ),
            Mistake(wrong.rows_not_shifted, "Your targets are the inputs; each should be the token after its input."),
            Mistake(
                wrong.rows_padded_first,
                "You pad first and shift afterwards, so the last token of a shorter row stays among its inputs, with "
                "no target. Take `row[:-1]` and `row[1:]` first, then pad.",
            ),
            Mistake(
                wrong.rows_padded_first_by_value,
                "You pad first and then look for `pad_id`. So the last token of a shorter row stays among its inputs, "
                "and real targets that equal `pad_id` are ignored. Take `row[:-1]` and `row[1:]` first, and go by the "
                "row's length.",
            ),
            Mistake(
                wrong.rows_padded_first_with_pad,
                "Two things: you pad first and shift afterwards, so the last token of a shorter row stays among its "
                "inputs; and the padding of your targets is `pad_id`, which the model would be taught to write.",
            ),
            Mistake(wrong.rows_padded_left, "You pad on the left; here the padding goes behind the tokens."),
            Mistake(
                wrong.rows_ignored_inputs,
                f"Your inputs are padded with {IGNORE_INDEX} too. There is no token with that id, and no row for "
                "it in an embedding.",
            ),
            Mistake(
                wrong.rows_one_too_wide,
                "Your batch is one column too wide. The longest row has one input less than it has tokens.",
            ),
        ),
        hints=(
            "For one row: the inputs are `row[:-1]`, the targets `row[1:]`, and `longest - len(row)` places are "
            "missing at the right of both.",
            "Lists can be extended: `row[:-1] + [pad_id] * missing`. What is it for the targets?",
            "`torch.tensor` makes a `(B, T)` tensor of a list of lists, once all of them are of one length.",
        ),
        why="""
            Padding makes the rows one tensor, and -100 makes it harmless: the loss of chapter 5 leaves such targets
            out. What stands at the padded inputs does not matter then, as long as it is an id the model knows.
        """,
        shows=(pad_rows, collate_padded),
    ),
)
