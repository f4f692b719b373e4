"""Windows against a naive loop; the order of batches as a pure function; batches padded to one length."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, IterableDataset

from gptlib.datasets import (
    IGNORE_INDEX,
    BatchSampler,
    SlidingWindowDataset,
    batches_from,
    collate_padded,
    create_dataloader,
    loader_length,
    tokens_per_batch,
)
from gptlib.tokenizers import BPETokenizer, CharTokenizer

IDS = list(range(1000, 1100))


@st.composite
def windowings(draw):
    """(number of tokens, context_length, stride), at least one window."""
    context = draw(st.integers(1, 12))
    return draw(st.integers(context + 1, 80)), context, draw(st.integers(1, 20))


def naive_windows(tokens, context, stride):
    found = []
    start = 0
    while start + context + 1 <= len(tokens):
        found.append((tokens[start : start + context], tokens[start + 1 : start + context + 1]))
        start += stride
    return found


def same_batches(ours, theirs):
    ours, theirs = list(ours), list(theirs)
    return len(ours) == len(theirs) and all(
        torch.equal(a, b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True)
    )


# Windows


@given(windowing=windowings())
def test_windows_are_those_of_a_naive_loop(windowing):
    n, context, stride = windowing
    tokens = [7 * i % 1000 for i in range(n)]
    dataset = SlidingWindowDataset(tokens, context, stride)
    expected = naive_windows(tokens, context, stride)
    assert len(dataset) == len(expected)
    for i, (inputs, targets) in enumerate(expected):
        got = dataset[i]
        assert (got[0].tolist(), got[1].tolist()) == (inputs, targets)
        assert got[0].dtype == got[1].dtype == torch.int64
    with pytest.raises(IndexError):
        dataset[len(expected)]
    with pytest.raises(IndexError):
        dataset[-len(expected) - 1]


@given(n=st.integers(2, 300), context=st.integers(1, 40))
def test_touching_windows_make_every_token_a_target_once(n, context):
    if n <= context:
        n += context
    dataset = SlidingWindowDataset(range(n), context)
    targets = [t for _, window in dataset for t in window.tolist()]
    assert targets == list(range(1, len(targets) + 1))  # in order, none twice; only token 0 has nothing before it
    assert n - 1 - len(targets) < context


@given(windowing=windowings())
def test_overlapping_windows_skip_nothing(windowing):
    n, context, stride = windowing
    stride = min(stride, context)
    dataset = SlidingWindowDataset(np.arange(n), context, stride)
    targets = {t for _, window in dataset for t in window.tolist()}
    assert targets == set(range(1, max(targets) + 1))
    assert n - 1 - max(targets) < stride


@given(windowing=windowings(), data=st.data())
def test_windows_fetched_together_equal_one_by_one(windowing, data):
    n, context, stride = windowing
    dataset = SlidingWindowDataset(torch.arange(n), context, stride)
    index = data.draw(st.lists(st.integers(-len(dataset), len(dataset) - 1), min_size=1, max_size=9))
    for form in (index, np.array(index), torch.tensor(index)):
        inputs, targets = dataset[form]
        assert inputs.shape == targets.shape == (len(index), context)
        for row, i in enumerate(index):
            assert torch.equal(inputs[row], dataset[i][0])
            assert torch.equal(targets[row], dataset[i][1])
        assert inputs.is_contiguous()
        assert targets.is_contiguous()


def test_negative_numbers_count_from_the_end():
    dataset = SlidingWindowDataset(IDS, 7, 3)
    for i in range(1, len(dataset) + 1):
        assert torch.equal(dataset[-i][0], dataset[len(dataset) - i][0])


def test_the_windows_of_a_loop_end():
    assert len(list(SlidingWindowDataset(IDS, 10))) == 9  # __getitem__ raises IndexError where a for loop needs it


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32", "int64", "big-endian"])
def test_memory_mapped_tokens(tmp_path, dtype):
    dtype = np.dtype(">u2" if dtype == "big-endian" else dtype)
    largest = np.iinfo(dtype).max if dtype.itemsize == 2 else 70_000  # beyond what 15 or 16 bits hold
    tokens = np.linspace(0, largest, 500).astype(dtype)
    tokens.tofile(tmp_path / "train.bin")
    mapped = np.memmap(tmp_path / "train.bin", dtype=dtype, mode="r")
    dataset = SlidingWindowDataset(mapped, 16, 5)
    assert isinstance(dataset.token_ids, np.memmap)  # not read into memory
    expected = naive_windows(tokens.tolist(), 16, 5)
    inputs, targets = dataset[np.arange(len(dataset))]
    assert inputs.tolist() == [window for window, _ in expected]
    assert targets.tolist() == [window for _, window in expected]
    inputs[0, 0] = 5  # a batch is a copy: nobody writes into the file
    assert mapped[0] == 0


@pytest.mark.parametrize(
    "make", [list, tuple, np.array, torch.tensor, lambda ids: torch.tensor(ids, dtype=torch.int32)]
)
def test_any_row_of_integers_will_do(make):
    inputs, targets = SlidingWindowDataset(make(IDS), 4, 2)[3]
    assert (inputs.tolist(), targets.tolist()) == ([1006, 1007, 1008, 1009], [1007, 1008, 1009, 1010])
    assert inputs.dtype == targets.dtype == torch.int64


@pytest.mark.parametrize("tokens", [np.arange(50, dtype=np.uint16), torch.arange(50)])
def test_arrays_are_not_copied(tokens):
    shared = SlidingWindowDataset(tokens, 4).token_ids
    assert np.shares_memory(shared, tokens.numpy() if isinstance(tokens, torch.Tensor) else tokens)


def test_an_index_that_is_not_there_is_named():
    dataset = SlidingWindowDataset(IDS, 10)
    for index, culprit in ((9, "9"), (-10, "-10"), ([0, 77], "77"), ([-100, 2], "-100")):
        with pytest.raises(IndexError, match=rf"There are 9 windows, 0 to 8; window {culprit} was"):
            dataset[index]


# The order of batches


ORDERS = st.fixed_dictionaries(
    {"n_windows": st.integers(1, 60), "batch_size": st.integers(1, 9)},
    optional={"shuffle": st.booleans(), "drop_last": st.booleans(), "seed": st.integers(0, 2**40)},
).filter(lambda o: o["n_windows"] >= o["batch_size"])


def epoch_of(order):
    return [batch.tolist() for batch in order]


@given(options=ORDERS)
def test_within_an_epoch_each_window_comes_once(options):
    order = BatchSampler(**options)
    n, size = options["n_windows"], options["batch_size"]
    for _ in range(3):
        batches = epoch_of(order)
        assert len(batches) == len(order)
        assert all(batches)
        seen = [window for batch in batches for window in batch]
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(range(n))
        if options.get("drop_last", True):
            assert all(len(batch) == size for batch in batches)
            assert n - len(seen) < size
        else:
            assert all(len(batch) == size for batch in batches[:-1])
            assert len(seen) == n
        if not options.get("shuffle", True):
            assert seen == list(range(len(seen)))


@given(options=ORDERS, position=st.integers(0, 40))
def test_beginning_anywhere_is_going_on(options, position):
    uninterrupted, resumed, fresh = BatchSampler(**options), BatchSampler(**options), BatchSampler(**options)
    n = len(fresh)
    whole = [batch for _ in range(position // n + 3) for batch in epoch_of(uninterrupted)]
    list(islice(resumed, 1))  # a pass was begun before, and left
    resumed.set_position(position)
    rest = epoch_of(resumed) + epoch_of(resumed) + epoch_of(resumed)
    assert rest == whole[position : position + len(rest)]
    # and from a fresh one, in another process say
    fresh.set_position(position)
    assert epoch_of(fresh) == rest[: n - position % n]


def test_epochs_and_seeds_differ():
    orders = {
        (seed, epoch): tuple(BatchSampler(40, 4, seed=seed).windows(epoch)) for seed in (0, 1, 2) for epoch in range(4)
    }
    assert len(set(orders.values())) == 12
    assert tuple(range(40)) not in orders.values()


def test_every_order_is_as_likely_as_another():
    order = BatchSampler(4, 1, seed=3)
    counts = {}
    for epoch in range(2400):
        permutation = tuple(order.windows(epoch).tolist())
        counts[permutation] = counts.get(permutation, 0) + 1
    assert len(counts) == 24
    assert sum((n - 100) ** 2 / 100 for n in counts.values()) < 49.7  # chi-square with 23 degrees of freedom: 0.001


@given(
    n_windows=st.integers(8, 60),
    batch_size=st.integers(1, 4),
    world_size=st.integers(1, 4),
    drop_last=st.booleans(),
    position=st.integers(0, 20),
    shuffle=st.booleans(),
)
def test_the_slices_of_all_ranks_make_the_global_batch(n_windows, batch_size, world_size, drop_last, position, shuffle):
    together = batch_size * world_size
    if n_windows < together:
        n_windows += together
    options = {"shuffle": shuffle, "drop_last": drop_last, "seed": 5}
    alone = BatchSampler(n_windows, together, **options)
    ranks = [BatchSampler(n_windows, batch_size, rank=r, world_size=world_size, **options) for r in range(world_size)]
    for order in (alone, *ranks):
        assert len(order) == len(alone)
        order.set_position(position)
    for _ in range(2):
        for batch, *slices in zip(alone, *ranks, strict=True):
            assert sorted(np.concatenate(slices).tolist()) == sorted(batch.tolist())
            sizes = [len(part) for part in slices]
            assert max(sizes) - min(sizes) <= 1
            assert not drop_last or set(sizes) == {batch_size}


# Loaders


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"drop_last": False, "seed": 3}, {"stride": 2}])
def test_a_loaders_batches_are_the_datasets_windows(options):
    loader = create_dataloader(IDS, batch_size=4, context_length=5, **options)
    dataset = SlidingWindowDataset(IDS, 5, options.get("stride"))
    order_options = {name: value for name, value in options.items() if name != "stride"}
    order = BatchSampler(len(dataset), 4, **order_options)
    for _ in range(2):  # two epochs
        expected = [tuple(map(torch.stack, zip(*(dataset[int(i)] for i in batch), strict=True))) for batch in order]
        batches = list(loader)
        assert len(loader) == len(batches)
        assert same_batches(batches, expected)
        assert all(tensor.dtype == torch.int64 for batch in batches for tensor in batch)


def test_drop_last():
    options = {"batch_size": 4, "context_length": 5}  # 19 windows
    assert [len(inputs) for inputs, _ in create_dataloader(IDS, **options)] == [4, 4, 4, 4]
    assert [len(inputs) for inputs, _ in create_dataloader(IDS, drop_last=False, **options)] == [4, 4, 4, 4, 3]


def test_workers_change_nothing():
    options = {"batch_size": 3, "context_length": 4, "seed": 2, "drop_last": False}
    plain, helped = (create_dataloader(IDS, num_workers=n, **options) for n in (0, 2))
    for first in (0, 11):  # from the start, and from the second epoch on, over a border
        assert same_batches(islice(batches_from(plain, first), 10), islice(batches_from(helped, first), 10))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_reading_draws_no_random_number_of_others(num_workers):
    """Dropout depends on the global state: a batch more or less, or a worker, mustn't change it."""
    loader = create_dataloader(IDS, batch_size=4, context_length=5, num_workers=num_workers)
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(loader)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("tokenizer", [CharTokenizer("abc d"), BPETokenizer([(97, 98)])], ids=["char", "bpe"])
def test_a_text_is_its_ids(tokenizer):
    text = "abc abd " * 20
    options = {"batch_size": 2, "context_length": 6, "seed": 4}
    from_text = create_dataloader(text, tokenizer=tokenizer, **options)
    assert same_batches(from_text, create_dataloader(tokenizer.encode(text), **options))
    inputs, targets = from_text.dataset[0]
    assert text.startswith(tokenizer.decode([*inputs.tolist(), targets[-1].item()]))


@settings(max_examples=40)
@given(first=st.integers(0, 60), batch_size=st.integers(1, 6), shuffle=st.booleans(), drop_last=st.booleans())
def test_a_stream_begun_anywhere_equals_the_uninterrupted_one(first, batch_size, shuffle, drop_last):
    options = {"batch_size": batch_size, "context_length": 9, "shuffle": shuffle, "drop_last": drop_last}
    whole = islice(batches_from(create_dataloader(IDS, **options)), first, first + 15)
    loader = create_dataloader(IDS, **options)
    next(iter(loader))  # used before
    assert same_batches(islice(batches_from(loader, first), 15), whole)


class Numbers(IterableDataset):
    """A stream that doesn't tell its length."""

    def __iter__(self):
        return iter(range(5))


@pytest.mark.parametrize("loader", [[0, 1, 2, 3, 4], DataLoader(Numbers(), batch_size=None)], ids=["list", "no length"])
@pytest.mark.parametrize("first", [0, 2, 4, 5, 7, 13])
def test_any_loader_is_read_up_to_the_place(loader, first):
    stream = (int(batch) for batch in islice(batches_from(loader, first), 12))
    assert list(stream) == [(first + i) % 5 for i in range(12)]


class OnceOnly:
    """A loader that can be read once, like a generator, and counts how often that is tried."""

    def __init__(self, items):
        self.items, self.passes = iter(items), 0

    def __iter__(self):
        self.passes += 1
        assert self.passes < 5, "asked again and again, without end"
        return self.items


def test_a_loader_that_is_used_up_is_told():
    stream = batches_from(OnceOnly([1, 2]))
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(ValueError, match="nothing left"):
        next(stream)


def test_what_a_loader_tells_of_itself():
    loader = create_dataloader(IDS, batch_size=4, context_length=5)
    assert (loader_length(loader), tokens_per_batch(loader)) == (4, 20)
    assert (loader_length([1, 2]), tokens_per_batch([1, 2])) == (2, None)
    assert loader_length(iter([1])) is None


# Padding

TOKEN_PAIRS = st.tuples(st.integers(0, 99), st.integers(0, 99))


@given(
    items=st.lists(st.lists(TOKEN_PAIRS, min_size=1, max_size=9), min_size=1, max_size=5),
    pad_id=st.integers(0, 99),
    max_length=st.none() | st.integers(1, 12),
)
def test_items_are_padded_on_the_right(items, pad_id, max_length):
    pairs = [tuple(map(list, zip(*item, strict=True))) for item in items]
    length = min(max(map(len, items)), max_length or 99)
    for convert in (list, np.array, torch.tensor):
        batch = collate_padded([(convert(x), convert(y)) for x, y in pairs], pad_id, max_length)
        for row, (inputs, targets) in enumerate(pairs):
            missing = max(length - len(inputs), 0)
            assert batch["inputs"][row].tolist() == inputs[:length] + [pad_id] * missing
            assert batch["targets"][row].tolist() == targets[:length] + [-100] * missing
            assert batch["attention_mask"][row].tolist() == [True] * (length - missing) + [False] * missing
        assert {name: t.dtype for name, t in batch.items()} == {
            "inputs": torch.int64,
            "targets": torch.int64,
            "attention_mask": torch.bool,
        }
    assert IGNORE_INDEX == -100


def test_padding_on_the_right_changes_no_real_logit(tiny_model):
    items = [(list(range(n)), list(range(1, n + 1))) for n in (2, 7, 5)]
    batch = collate_padded(items, pad_id=9)
    with torch.no_grad():
        logits = tiny_model(batch["inputs"])
        for row, (inputs, _) in enumerate(items):
            alone = tiny_model(torch.tensor([inputs]))[0]
            torch.testing.assert_close(logits[row, : len(inputs)], alone, rtol=1e-4, atol=1e-5)


# Bad inputs


def load(*args, **options):
    return lambda: create_dataloader(*args, **options)


def windows(*args):
    return lambda: SlidingWindowDataset(*args)


BAD_INPUTS = {  # what is done: a part of the message with the value, and one with the remedy
    "short text": (windows(IDS[:8], 8), "has 8 tokens", "needs 9; use a longer text or a smaller context_length"),
    "empty text": (windows([], 8), "has 0 tokens", "use a longer text or a smaller context_length"),
    "empty text, with tokenizer": (load("", tokenizer=CharTokenizer("a")), "has 0 tokens", "use a longer text"),
    "no context": (windows(IDS, 0), "context_length=0", "a whole number of at least 1"),
    "half a token of context": (windows(IDS, 2.5), "context_length=2.5", "a whole number of at least 1"),
    "context as text": (windows(IDS, "8"), "context_length='8'", "a whole number of at least 1"),
    "no stride": (windows(IDS, 8, 0), "stride=0", "a whole number of at least 1"),
    "stride backwards": (windows(IDS, 8, -8), "stride=-8", "a whole number of at least 1"),
    "True is no stride": (windows(IDS, 8, True), "stride=True", "a whole number of at least 1"),
    "a batch of ids": (windows(torch.zeros(2, 9, dtype=torch.long), 4), "shape (2, 9)", "a 1-D array of integers"),
    "floats": (windows(np.zeros(20), 4), "type float64", "encode the text with a tokenizer first"),
    "a text without tokenizer": (windows("a text, a text", 4), "type <U14", "encode the text with a tokenizer first"),
    "loader without tokenizer": (load("a text"), "A text needs a tokenizer", "tokenizer=load_tokenizer('gpt2')"),
    "unknown character": (load("xyz", tokenizer=CharTokenizer("ab")), "'x'", "train on a text that has it"),
    "no batch": (load(IDS, context_length=4, batch_size=0), "batch_size=0", "a whole number of at least 1"),
    "batch of 1.5": (load(IDS, context_length=4, batch_size=1.5), "batch_size=1.5", "a whole number of at least 1"),
    "too few for a batch": (load(IDS, context_length=50, batch_size=2), "1 windows do not fill", "batch_size=2; use a"),
    "too few for all processes": (
        load(IDS, context_length=10, batch_size=4, world_size=3),
        "9 windows do not fill one batch of batch_size=12",
        "drop_last=False",
    ),
    "negative seed": (load(IDS, context_length=4, seed=-1), "seed=-1", "a whole number, 0 or more"),
    "rank too high": (load(IDS, context_length=4, rank=2, world_size=2), "rank=2", "give 0 to 1"),
    "no processes": (load(IDS, context_length=4, world_size=0), "world_size=0", "a whole number of at least 1"),
    "nothing may stay": (lambda: collate_padded([([1], [2])], max_length=0), "max_length=0", "at least 1"),
    "less than nothing": (lambda: collate_padded([([1], [2])], max_length=-2), "max_length=-2", "at least 1"),
    "collating nothing": (lambda: collate_padded([]), "list of items is empty", "pass at least one"),
    "an empty item": (lambda: collate_padded([([1], [2]), ([], [])]), "Item 1 has 0 inputs", "at least one"),
    "unequal lengths": (lambda: collate_padded([([1, 2], [2])]), "2 inputs and 1 targets", "as many of both"),
    "a loader of nothing": (lambda: loader_length([]), "has no batch", "a longer text or a smaller batch_size"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_are_named_with_the_remedy(case):
    action, value, remedy = BAD_INPUTS[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is looked at below)
        action()
    assert value in str(error.value)
    assert remedy in str(error.value)
