"""From entries to batches: which tokens are learned, what is cut, what is padded, what is packed together."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptlib.datasets import IGNORE_INDEX
from gptlib.instructions import TEMPLATES, Instruction, InstructionDataset, create_instruction_loader
from gptlib.tokenizers import BPETokenizer, CharTokenizer, WordTokenizer, load_tokenizer
from gptlib.training import TrainingConfig, train

BPE = BPETokenizer.train("User: Say it. Assistant: the hen and the hat in the rain " * 3, 280)
EOS = BPE.eos_id
ENTRIES = [
    Instruction("Say it.", "the hen"),
    Instruction("Say it:", "the hat and the rain", "the hat"),
    Instruction("Say <|endoftext|>.", "<|endoftext|>"),
    Instruction("Say a\nlong one.", "hen\n" * 9),
]
SHORT = st.text("the n", min_size=1, max_size=30)
SOME = st.lists(st.builds(Instruction, SHORT, st.text("a hen", min_size=1), st.text("rain ", max_size=30)), min_size=1)


def slow_item(entry, template, context_length):
    """(inputs, targets) token by token: what is given, what is to come, and whether that is learned."""
    template = TEMPLATES[template]
    given_tokens, answer = BPE.encode(template.prompt(entry)), BPE.encode(template.answer(entry.output))
    marked = [(token, False) for token in given_tokens] + [(token, True) for token in [*answer, EOS]]
    pairs = [(token, following if learn else -100) for (token, _), (following, learn) in pairwise(marked)]
    return tuple(map(list, zip(*pairs[:context_length], strict=True)))


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("context_length", [1000, 200])
def test_masks_token_by_token(template, context_length):
    dataset = InstructionDataset(ENTRIES, BPE, context_length, template)
    for i, entry in enumerate(ENTRIES):
        inputs, targets = dataset[i]
        assert inputs.dtype == targets.dtype == torch.int64
        assert (inputs.tolist(), targets.tolist()) == slow_item(entry, template, context_length)


def test_the_prompt_is_given_and_the_answer_learned():
    inputs, targets = InstructionDataset(ENTRIES[:1], BPE, 64, "chat")[0]
    learned = [token for token in targets.tolist() if token != IGNORE_INDEX]
    assert BPE.decode(learned) == " the hen<|endoftext|>"
    assert BPE.decode(inputs.tolist()) == "User: Say it.\nAssistant: the hen"
    assert targets.tolist().count(IGNORE_INDEX) == len(BPE.encode("User: Say it.\nAssistant:")) - 1


def test_an_end_of_text_written_in_an_entry_is_plain_text():
    inputs, targets = InstructionDataset([ENTRIES[2]], BPE, 200, "chat")[0]
    assert EOS not in inputs
    assert (targets == EOS).nonzero().tolist() == [[len(targets) - 1]]


def test_of_the_padding_nothing_is_learned_but_of_each_answer_its_first_end():
    dataset = InstructionDataset(ENTRIES, BPE, 200, "chat")
    batch = dataset[[0, 3, 1]]
    lengths = [len(dataset[i][0]) for i in (0, 3, 1)]
    assert batch["inputs"].shape == batch["targets"].shape == (3, max(lengths))
    for row, n in enumerate(lengths):
        assert (batch["inputs"][row, n:] == EOS).all()
        assert (batch["targets"][row, n:] == IGNORE_INDEX).all()
        assert batch["attention_mask"][row].tolist() == [True] * n + [False] * (max(lengths) - n)
    assert (batch["targets"] == EOS).sum(dim=1).tolist() == [1, 1, 1]


@given(entries=SOME, context_length=st.integers(1, 60), template=st.sampled_from(list(TEMPLATES)))
def test_what_is_too_long_is_cut_or_skipped_and_told(entries, context_length, template):
    wholes = [slow_item(entry, template, 10**6) for entry in entries]
    n_prompts = [targets.count(IGNORE_INDEX) + 1 for _, targets in wholes]
    kept = [i for i, n in enumerate(n_prompts) if n <= context_length]
    if not kept:
        with pytest.raises(
            ValueError, match=rf"None of {len(entries)} entries .* context_length={context_length} tokens;"
        ):
            InstructionDataset(entries, BPE, context_length, template)
        return
    dataset = InstructionDataset(entries, BPE, context_length, template)
    assert len(dataset) == len(kept)
    assert dataset.skipped == [i for i in range(len(entries)) if i not in kept]
    assert dataset.cut == [i for i in kept if len(wholes[i][0]) > context_length]
    for item, i in enumerate(kept):
        inputs, targets = (tokens.tolist() for tokens in dataset[item])
        assert (inputs, targets) == tuple(tokens[:context_length] for tokens in wholes[i])
        assert any(target != IGNORE_INDEX for target in targets), "an item from which nothing is learned"
        assert (EOS in targets) == (i not in dataset.cut), "a cut answer does not end"
    notes = " ".join(dataset.notes())
    assert ("skipped" in notes) == bool(dataset.skipped)
    assert ("entries cut" in notes) == bool(dataset.cut)


def test_notes_name_the_entries_as_people_count_them():
    n = len(BPE.encode("User: Say it.\nAssistant:"))
    long = Instruction("Say it. " * 9, "hen")
    dataset = InstructionDataset([long, *ENTRIES[:1], *[long] * 11], BPE, n + 1, "chat")
    assert dataset.notes() == [
        f"12 of 13 entries skipped: the prompt leaves no room for an answer in {n + 1} tokens "
        "(number 1, 3, 4, 5, 6, 7, 8, 9, 10, 11 and others).",
        f"1 of 13 entries cut: the answer and its end do not fit in {n + 1} tokens (number 2).",
    ]


def test_answers_that_the_tokenizer_does_not_know_are_told():
    tokenizer = WordTokenizer.train("the hen said it,  and\nthen the hat")
    answers = ["the hen", "the fox said it", "The hen\n", "it,  and\nthe hat", "hat"]
    dataset = InstructionDataset([Instruction("Say it.", answer) for answer in answers], tokenizer, 30)
    assert dataset.with_unknown == [1, 2]
    assert dataset.notes() == [
        "2 of 5 entries with unknown words: the tokenizer does not know all words of the answer (number 2, 3)."
    ]
    assert InstructionDataset(ENTRIES, BPE, 200).with_unknown == []


@given(entries=SOME, context_length=st.integers(150, 300))
def test_packing_loses_nothing(entries, context_length):
    apart = InstructionDataset(entries, BPE, context_length, "chat")
    packed = InstructionDataset(entries, BPE, context_length, "chat", packing=True)
    assert (packed.cut, packed.skipped) == (apart.cut, apart.skipped)

    def learned(dataset):
        return [token for i in range(len(dataset)) for token in dataset[i][1].tolist() if token != IGNORE_INDEX]

    def tokens(dataset):  # of each window the inputs, and the last token, which is a target only
        return [t for i in range(len(dataset)) for t in [*dataset[i][0].tolist(), int(dataset[i][1][-1])]]

    assert learned(packed) == learned(apart)
    assert tokens(packed) == tokens(apart)
    lengths = [len(packed[i][0]) for i in range(len(packed))]
    assert max(lengths) <= context_length
    assert len(packed) <= len(apart)
    # No window could have taken the first entry of the next.
    first, firsts = 0, []
    for n in lengths:
        firsts.append(len(apart[first][0]))
        while n > 0:
            n -= len(apart[first][0]) + 1
            first += 1
    assert all(n + 1 + following > context_length for n, following in zip(lengths, firsts[1:], strict=False))


def test_a_packed_window_does_not_learn_the_next_prompt():
    window = InstructionDataset(ENTRIES[:2], BPE, 300, "chat", packing=True)
    assert len(window) == 1
    inputs, targets = window[0]
    first_end = inputs.tolist().index(EOS)
    second_prompt = len(BPE.encode("User: Say it: the hat\nAssistant:"))
    assert targets[first_end - 1] == EOS
    assert (targets[first_end : first_end + second_prompt] == IGNORE_INDEX).all()
    assert targets[first_end + second_prompt] == BPE.encode(" the hat")[0]


def test_an_epoch_is_every_entry_once_in_an_order_of_seed_and_epoch():
    entries = [Instruction("Say it.", "hen " * n) for n in range(1, 24)]
    dataset = InstructionDataset(entries, BPE, 200, "chat")

    def epochs(seed, **options):
        loader = create_instruction_loader(dataset, 4, seed=seed, **options)
        return [[batch["targets"].tolist() for batch in loader] for _ in range(2)]

    def answers(epoch):
        return sorted(sum(token != IGNORE_INDEX for token in row) for batch in epoch for row in batch)

    first, second = epochs(1, drop_last=False)
    assert answers(first) == answers(second) == sorted(len(BPE.encode(" " + e.output)) + 1 for e in entries)
    assert first != second
    assert epochs(1, drop_last=False) == [first, second] != epochs(2, drop_last=False)
    assert epochs(1, drop_last=False, num_workers=2) == [first, second]
    assert [len(batch) for batch in epochs(1)[0]] == [4] * 5
    in_order = epochs(1, shuffle=False, drop_last=False)
    assert in_order[0] == in_order[1]
    # As long as its own longest row, and no longer.
    assert all(len(batch[0]) == max(len(row) - row[::-1].index(EOS) for row in batch) for batch in first)


def test_a_model_learns_the_answers_with_the_loop_of_everything_else(make_model):
    model = make_model(vocab_size=BPE.vocab_size, context_length=32, emb_dim=32, n_heads=4)
    entries = [Instruction("Say it.", "the hen"), Instruction("Say:", "rain", "hat"), Instruction("A hat?", "and rain")]
    dataset = InstructionDataset(entries, BPE, 32, "chat")
    loader = create_instruction_loader(dataset, 3)
    train(model, loader, config=TrainingConfig(max_steps=120, learning_rate=0.01, warmup_steps=5), tokenizer=BPE)
    model.eval()
    for i in range(3):
        inputs, targets = dataset[i]
        likeliest = model(inputs[None])[0].argmax(dim=-1)
        assert likeliest[targets != IGNORE_INDEX].tolist() == targets[targets != IGNORE_INDEX].tolist()


def test_tokenizers_without_an_end_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"CharTokenizer has no <\|endoftext\|>.*use a tokenizer that has it: word"):
        InstructionDataset(ENTRIES, CharTokenizer("abc"), 64)


@pytest.mark.parametrize("tokenizer", [load_tokenizer("gpt2"), WordTokenizer.train("Say it . hen hat rain the")])
def test_other_tokenizers_serve_as_well(tokenizer):
    inputs, targets = InstructionDataset(ENTRIES[:1], tokenizer, 100, "alpaca")[0]
    assert targets[-1] == tokenizer.eos_id
    assert tokenizer.eos_id not in inputs


def test_an_entry_that_cannot_be_encoded_is_named():
    class Fussy(CharTokenizer):
        eos_id = 0

    with pytest.raises(ValueError, match=r"^Entry 2: ") as caught:
        InstructionDataset(
            [Instruction("a", "b"), Instruction("a", "Ω")], Fussy("".join(map(chr, range(10, 127)))), 500
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("context_length", [0, -1, 2.5, None, True])
def test_a_context_that_makes_no_sense(context_length):
    with pytest.raises(ValueError, match=re.escape(f"context_length={context_length!r} is out of range")):
        InstructionDataset(ENTRIES, BPE, context_length)


def test_places_out_of_range_end_a_loop_over_the_dataset():
    dataset = InstructionDataset(ENTRIES, BPE, 300, "chat")
    assert len(list(dataset)) == len(dataset) == 4
    assert dataset[np.array([1, 2])]["inputs"].shape[0] == 2
