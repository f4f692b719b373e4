"""Chapter 8: honest solutions of other kinds than the reference pass, and the reference agrees with the library."""

import numpy as np
import pytest
import torch

from gptlib.exercises.finetuning import answer_targets, count_lora, fill_template, lora_forward, low_rank, merge_lora
from gptlib.exercises.judging import judge
from gptlib.exercises.registry import find
from gptlib.instructions import Instruction, InstructionDataset
from gptlib.lora import LoRAConfig, add_lora, lora_layers, trainable_parameters
from gptlib.tokenizers import BPETokenizer


def template_in_pieces(instruction, given, output):
    asked = " ".join([instruction, given] if given != "" else [instruction])
    return "User: " + asked + "\n" + "Assistant:", " " + output


def targets_in_a_loop(prompt, answer, eos_id):
    tokens = prompt + answer + [eos_id]
    inputs, targets = [], []
    for place in range(1, len(tokens)):
        inputs.append(tokens[place - 1])
        targets.append(-100 if place < len(prompt) else tokens[place])
    return inputs, targets


def pad_in_place(items, pad_id):
    shape = len(items), max(len(inputs) for inputs, _ in items)
    inputs, targets = torch.full(shape, pad_id), torch.full(shape, -100)
    for row, (one, other) in enumerate(items):
        inputs[row, : len(one)], targets[row, : len(other)] = torch.tensor(one), torch.tensor(other)
    return inputs, targets


def pad_by_pytorch(items, pad_id):
    from torch.nn.utils.rnn import pad_sequence

    inputs, targets = ([torch.tensor(ids) for ids in part] for part in zip(*items, strict=True))
    return pad_sequence(inputs, True, pad_id), pad_sequence(targets, True, -100)


def share_by_numpy(said, right):
    return np.mean([a.strip() == b for a, b in zip(said, right, strict=True)])


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


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("fill_template", template_in_pieces),
        ("answer_targets", targets_in_a_loop),
        ("pad_batch", pad_in_place),
        ("pad_batch", pad_by_pytorch),
        ("exact_share", share_by_numpy),
        ("count_lora", count_of_tensors),
        ("low_rank", low_rank_values_in_a),
        ("low_rank", low_rank_by_eigenvectors),
        ("lora_forward", forward_with_one_matrix),
        ("lora_forward", forward_with_einsum),
        ("merge_lora", merge_by_outer_products),
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
