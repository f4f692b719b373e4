"""Exercises whose answer is a class of modules: the learner's gets the reference's weights, by their names."""

import pytest
import torch
from learners import TEXTS, learn
from torch import nn

from gptlib.exercises import check, solution
from gptlib.exercises.adapters import as_module
from gptlib.exercises.declaring import CodeExercise, Mistake


class Norm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(x * self.weight + self.bias)


class NoBias(Norm):
    def forward(self, x):
        return x * self.weight


STUB = '''
    class MyNorm(nn.Module):
        """x times weight plus bias, both (dim,)."""

        def __init__(self, dim):
            super().__init__()
            self.weight = ...
            self.bias = ...

        def forward(self, x):
            ...
'''


@pytest.fixture(autouse=True)
def toys(add_chapter):
    add_chapter(
        CodeExercise(
            name="norm",
            **TEXTS,
            stub=STUB,
            reference=Norm,
            run=as_module(Norm),
            cases=lambda rng: [({"dim": 3}, torch.randn(2, 3)), ({"dim": 1}, torch.randn(4, 1))],
            mistakes=(Mistake(NoBias, "You forget the bias."),),
        )
    )


RIGHT = """\
class MyNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(dim))
        self.weight = nn.Parameter(torch.randn(dim))
        self.register_buffer("unused", torch.ones(9))

    def forward(self, x):
        return x * self.weight + self.bias
"""


def test_the_stub_is_not_attempted():
    from inspect import cleandoc

    assert check("norm", learn(cleandoc(STUB), "MyNorm")).outcome == "not attempted"


def test_half_a_stub_is_attempted():
    source = RIGHT.replace("return x * self.weight + self.bias", "...")
    assert "`MyNorm` returns nothing (`None`)" in check("norm", learn(source, "MyNorm")).message


def test_the_right_class_is_correct_whatever_it_starts_from():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert check("norm", learn(RIGHT, "MyNorm")).outcome == "correct"
    assert torch.equal(torch.get_rng_state(), before)
    assert check("norm", Norm).outcome == "correct"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (" + self.bias", "", "You forget the bias."),
        (" + self.bias", " - self.bias", "The result is"),
        ("self.weight", "self.gain", "The module has no parameter `weight`; it has `gain` instead. Is everything made"),
        ("nn.Parameter(torch.randn(dim))", "torch.randn(dim)", "The module has no parameter `weight`."),
        ("randn(dim)", "randn(dim, 1)", "The parameter `weight` has the shape (3, 1), and (3,) is right."),
        ("super().__init__()\n", "super().__init__(); self.more = nn.Linear(1, 1)\n", "does not need: `more.weight`."),
        ("super().__init__()\n", "pass\n", "`MyNorm` raises `AttributeError: cannot assign parameters before"),
        ("(nn.Module)", "", "`MyNorm` raises `AttributeError: 'MyNorm' object has no attribute 'register_buffer'"),
        ("__init__(self, dim)", "__init__(self)", "`MyNorm` raises `TypeError: "),
        ("forward", "forwards", "`MyNorm` raises `NotImplementedError: "),
    ],
)
def test_wrong_classes_say_what_is_wrong(old, new, message):
    verdict = check("norm", learn(RIGHT.replace(old, new), "MyNorm"))
    assert verdict.outcome == "incorrect"
    assert message in verdict.message


def test_a_class_that_is_no_module():
    source = RIGHT.replace("(nn.Module)", "").replace("self.register", "# self.register")
    assert "inherits from `nn.Module`" in check("norm", learn(source, "MyNorm")).message


def test_the_line_is_found_through_pytorchs_own():
    source = RIGHT.replace("x * self.weight + self.bias", "x @ self.weight[None]")
    assert "It happens in line 9: return x @ self.weight[None]" in str(check("norm", learn(source, "MyNorm")))


def test_an_instance_is_not_the_class():
    assert "give it the class itself" in check("norm", learn(RIGHT, "MyNorm")(3)).message


def test_the_input_is_described_by_the_adapters_names():
    text = str(check("norm", learn(RIGHT.replace(" + self.bias", ""), "MyNorm")))
    assert "options = {'dim': 3}, x = a float32 tensor of shape (2, 3): [[" in text


def test_the_solution_is_the_class():
    assert "    class Norm(nn.Module):" in str(solution("norm", now=True))
