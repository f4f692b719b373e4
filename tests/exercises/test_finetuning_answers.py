"""Chapter 8: honest solutions of other kinds than the reference pass, and the reference agrees with the library."""

import numpy as np
import pytest
import torch

from gptlib.exercises.judging import judge
from gptlib.exercises.registry import find
from gptlib.instructions import Instruction, InstructionDataset
from gptlib.lora import LoRAConfig, add_lora, trainable_parameters
from gptlib.model.lora import lora_layers
from gptlib.tokenizers import BPETokenizer
from workbook.exercises.finetuning import (
    answer_targets,
    count_lora,
    fill_rows,
    fill_template,
    lora_forward,
    low_rank,
    merge_lora,
)


def template_in_pieces(instruction, given, output):
    asked = " ".join([instruction, given] if given != "" else [instruction])
    return "User: " + asked + "\n" + "Assistant:", " " + output


def template_with_an_if(instruction, given, output):
    prompt = "User: " + instruction
    if given:
        prompt += f" {given}"
    return [f"{prompt}\nAssistant:", f" {output}"]


def template_by_the_space(instruction, given, output):
    return f"User: {instruction}{' ' * bool(given)}{given}\nAssistant:", " " + output


def targets_in_a_loop(prompt, answer, eos_id):
    tokens = prompt + answer + [eos_id]
    inputs, targets = [], []
    for place in range(1, len(tokens)):
        inputs.append(tokens[place - 1])
        targets.append(-100 if place < len(prompt) else tokens[place])
    return inputs, targets


def targets_by_slices(prompt, answer, eos_id):
    inputs = list(prompt) + list(answer)
    targets = [*inputs[1:], eos_id]
    targets[: len(prompt) - 1] = [-100] * (len(prompt) - 1)
    return inputs, targets


def targets_as_tensors_in_the_middle(prompt, answer, eos_id):
    tokens = torch.tensor([*prompt, *answer, eos_id])
    targets = tokens.roll(-1)[:-1].masked_fill(torch.arange(len(tokens) - 1) < len(prompt) - 1, -100)
    return tokens[:-1].tolist(), targets.tolist()


def rows_one_by_one(lengths, room):
    rows, row = [], []
    for place, length in enumerate(lengths):
        if row and sum(lengths[i] for i in row) + length > room:
            rows.append(row)
            row = []
        row = [*row, place]
    return [*rows, row]


def rows_by_their_beginnings(lengths, room):
    beginnings = [0]
    for place in range(1, len(lengths)):
        if sum(lengths[beginnings[-1] : place + 1]) > room:
            beginnings.append(place)
    return [list(range(*pair)) for pair in zip(beginnings, [*beginnings[1:], len(lengths)], strict=True)]


def rows_with_what_is_left(lengths, room):
    rows, left, place = [[]], room, 0
    while place < len(lengths):
        if lengths[place] <= left:
            rows[-1].append(place)
            left -= lengths[place]
            place += 1
        else:
            rows, left = [*rows, []], room
    return rows


def share_by_numpy(said, right):
    return np.mean([a.strip() == b for a, b in zip(said, right, strict=True)])


def share_in_a_loop(said, right):
    n_right = 0
    for i in range(len(said)):
        if said[i].strip() == right[i].strip():
            n_right += 1
    return n_right / len(said)


def share_as_a_mean_of_booleans(said, right):
    return torch.tensor([a.strip() == b.strip() for a, b in zip(said, right, strict=True)]).float().mean()


def count_by_numpy(shapes, rank):
    return int(rank * np.sum(shapes))


def count_in_two_sums(shapes, rank):
    return rank * sum(n for n, _ in shapes) + rank * sum(k for _, k in shapes)


def count_of_tensors(shapes, rank):
    total = 0
    for n, k in shapes:
        total += torch.empty(n, rank).numel() + torch.empty(rank, k).numel()
    return total


def low_rank_values_in_a(update, rank):
    U, S, Vh = torch.linalg.svd(update.double())
    return U[:, :rank], torch.diag(S[:rank]) @ Vh[:rank]


def low_rank_by_eigenvectors(update, rank):
    _, vectors = torch.linalg.eigh(update.double().t() @ update.double())
    A = vectors.flip(1)[:, :rank].t()
    return update.double() @ A.t(), A


def low_rank_split_evenly(update, rank):
    U, S, V = torch.svd(update)
    root = S[:rank].sqrt()
    return U[:, :rank] @ torch.diag(root), (V[:, :rank] * root).t()


def forward_in_float64(x, weight, bias, A, B, alpha):
    x, weight, bias, A, B = (tensor.double() for tensor in (x, weight, bias, A, B))
    return (x @ weight.mT + bias + (x @ A.mT) @ (B.mT * alpha / A.size(0))).float()


def forward_with_one_matrix(x, weight, bias, A, B, alpha):
    return x @ (weight + alpha / B.shape[1] * B @ A).t() + bias


def forward_with_einsum(x, weight, bias, A, B, alpha):
    narrow = torch.einsum("...k,rk->...r", x, A) * (alpha / A.shape[0])
    return torch.nn.functional.linear(x, weight, bias) + torch.einsum("...r,nr->...n", narrow, B)


def merge_by_outer_products(weight, A, B, alpha):
    merged = weight.clone()
    for i in range(len(A)):
        merged += alpha / len(A) * torch.outer(B[:, i], A[i])
    return merged


def merge_transposed(weight, A, B, alpha):
    return (weight.T + (A.T @ B.T).mul(alpha).div(B.shape[1])).T


def merge_by_einsum_in_a_copy(weight, A, B, alpha):
    merged = weight.detach().clone()
    merged += torch.einsum("nr,rk->nk", B, A) * (alpha / A.shape[0])
    return merged


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("fill_template", template_in_pieces),
        ("fill_template", template_with_an_if),
        ("fill_template", template_by_the_space),
        ("answer_targets", targets_in_a_loop),
        ("answer_targets", targets_by_slices),
        ("answer_targets", targets_as_tensors_in_the_middle),
        ("fill_rows", rows_one_by_one),
        ("fill_rows", rows_by_their_beginnings),
        ("fill_rows", rows_with_what_is_left),
        ("exact_share", share_by_numpy),
        ("exact_share", share_in_a_loop),
        ("exact_share", share_as_a_mean_of_booleans),
        ("count_lora", count_by_numpy),
        ("count_lora", count_in_two_sums),
        ("count_lora", count_of_tensors),
        ("low_rank", low_rank_values_in_a),
        ("low_rank", low_rank_by_eigenvectors),
        ("low_rank", low_rank_split_evenly),
        ("lora_forward", forward_in_float64),
        ("lora_forward", forward_with_one_matrix),
        ("lora_forward", forward_with_einsum),
        ("merge_lora", merge_by_outer_products),
        ("merge_lora", merge_transposed),
        ("merge_lora", merge_by_einsum_in_a_copy),
    ],
)
def test_an_honest_solution_passes(name, answer):
    judgement = judge(find(name)[1], answer)
    assert judgement.outcome == "correct", judgement


def test_template_and_targets_are_those_of_the_librarys_dataset():
    tokenizer = BPETokenizer.train("User: Which word comes first? green ferry\nAssistant: green" * 3, vocab_size=280)
    entry = Instruction("Which word comes first?", "green", input="green ferry")
    prompt, answer = (tokenizer.encode(text) for text in fill_template(entry.instruction, entry.input, entry.output))
    inputs, targets = InstructionDataset([entry], tokenizer, 256, "chat")[0]
    assert (inputs.tolist(), targets.tolist()) == answer_targets(prompt, answer, tokenizer.eos_id)


def test_rows_are_filled_as_the_librarys_packing_fills_them():
    entries = [Instruction("Say it.", "ho " * n) for n in (1, 9, 3, 3, 3, 12, 1, 1, 6, 2)]
    tokenizer = BPETokenizer.train("User: Say it.\nAssistant: ho ho" * 3, vocab_size=280)
    alone, packed = (InstructionDataset(entries, tokenizer, 40, "chat", packing=packing) for packing in (False, True))
    lengths = [len(inputs) + 1 for inputs, _ in alone]
    rows = fill_rows(lengths, 41)
    assert [len(inputs) + 1 for inputs, _ in packed] == [sum(lengths[i] for i in row) for row in rows]
    assert 2 <= len(rows) < len(entries)


def test_count_forward_and_merge_are_those_of_the_librarys_adapters(make_model):
    model = add_lora(make_model(), LoRAConfig(rank=3, alpha=5.0))
    layers = [layer for _, layer in lora_layers(model)]
    shapes = [tuple(layer.base_layer.weight.shape) for layer in layers]
    assert count_lora(shapes, 3) == sum(p.numel() for p in trainable_parameters(model).values())
    for layer in layers:
        adapter, base = layer.adapters["default"], layer.base_layer
        torch.nn.init.normal_(adapter.B)
        x = torch.randn(2, base.in_features)
        got = lora_forward(x, base.weight, base.bias, adapter.A, adapter.B, 5.0)
        torch.testing.assert_close(got, layer(x), rtol=1e-4, atol=1e-4)
        merged = merge_lora(base.weight, adapter.A, adapter.B, 5.0)
        torch.testing.assert_close(merged, layer.as_linear().weight, rtol=1e-4, atol=1e-4)


def test_what_a_low_rank_loses_are_the_singular_values_left_out():
    update = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    for rank in range(1, 6):
        B, A = low_rank(update, rank)
        lost = torch.linalg.svdvals(update)[rank:].square().sum()
        torch.testing.assert_close((update - B @ A).square().sum(), lost, rtol=1e-4, atol=1e-4)
