"""What check, hint and solution say, on toy exercises of every kind."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from learners import LETTER, LOSS, SCALE, SHAPE, learn, scale, scaled, wrong

from gptlib.exercises import check, hint, reset, solution
from gptlib.exercises.core import statement_of
from gptlib.exercises.markdown import plain


@pytest.fixture(autouse=True)
def toys(add_chapter):
    add_chapter(SCALE, SHAPE, LOSS, LETTER)


# Not attempted


@pytest.mark.parametrize(
    "body", ["...", "pass", "return ...", '"""Doc."""', '"""Doc."""\n...', "result = ...\nreturn result", "return None"]
)
def test_code_that_does_nothing_is_not_attempted(body, data_folder):
    verdict = scaled(body)
    assert verdict.outcome == "not attempted"
    assert "`...`" in verdict.message
    assert not data_folder.exists()  # reading a notebook leaves nothing behind


@pytest.mark.parametrize("name", ["scale", "shape", "loss", "letter"])
@pytest.mark.parametrize("answer", [..., None])
def test_an_open_variable_is_not_attempted(name, answer):
    assert check(name, answer).outcome == "not attempted"


def test_a_stub_that_would_fail_is_not_attempted(add_chapter):
    stub = "def scale(x, factor):\n    scaled = ...\n    return scaled.sum(factor) + 1"
    add_chapter(replace(SCALE, stub=stub))
    assert check("scale", learn(stub, "scale")).outcome == "not attempted"
    assert "AttributeError" in wrong(check("scale", learn(stub.replace("+ 1", "+ 2"), "scale")))


def test_arguments_that_are_handed_on_are_an_attempt():
    assert wrong(scaled("return x")).startswith("Not yet. You forget the factor.")


# Correct and incorrect


def test_the_right_answer(data_folder):
    verdict = scaled("return factor * x")
    assert verdict.outcome == "correct"
    assert str(verdict) == "Correct.\n\n1 of 4 exercises of this chapter are done."
    assert json.loads((data_folder / "progress.json").read_text())["exercises"] == {
        "scale": {"attempts": 1, "hints": 0, "done": True}
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return x + factor", "You add the factor."),
        ("factor + 1\nreturn x", "You forget the factor."),
        ("x *= factor\nreturn x", "You write into `x`."),
        ("return 0 * factor / x + x * factor", "You divide by zero."),
        ("return x if x.ndim == 1 else x.T + factor", "The result is 1 at [0], and 3 is right (2 of 2 differ)."),
    ],
)
def test_known_mistakes_have_their_own_message(body, message):
    assert scaled(body).message == message


def test_a_mistake_beside_another_one_is_found_where_it_shows():
    """Wrong as the mistake that writes in place, on every case, and wrong in another way in no case that matters."""
    body = "return x.clone() if x.abs().sum() else torch.ones(2, 1)"
    assert scaled(body).message == "You forget the factor."


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (
            "return (x * factor)[None]",
            ["The result has the shape (1, 2), and (2,) is right.", "[1.0, 2.0], factor = 3"],
        ),
        ("return (x * factor).tolist()", ["The result is a list, and a float32 tensor of shape (2,) is right."]),
        ("return (x * factor).numpy()", ["is a float32 NumPy array of shape (2,), and a float32 tensor of shape (2,)"]),
        ("return (x * factor).long()", ["holds whole numbers (int64), and floating-point numbers (float32) are right"]),
        ("return x * factor > 0", ["holds True and False (bool)"]),
        ("return x * factor * float('nan')", ["The result is nan at [0], and 3 is right (2 of 2 differ)."]),
        ("x * factor", ["scale returns nothing (None). Is there a return at its end?"]),
        ("return object()", ["The result is an object, and a float32 tensor"]),
        (
            "y = x * factor\ny[1] += 1\nreturn y",
            ["is 7 at [1], and 6 is right", "tensor([3., 6.])", "tensor([3., 7.])"],
        ),
        ("print('seen', x)\nreturn x * 2", ["Your code printed:\n\n    seen tensor([1., 2.])"]),
        ("import sys\nprint('seen', file=sys.stderr)", ["Your code printed:\n\n    seen\n"]),
        ("for i in range(99): print(i)", ["Your code printed:\n\n    0\n    1\n", "    9\n    ...\n\nhint"]),
    ],
)
def test_other_wrong_results_are_said_exactly(body, parts, capsys):
    text = wrong(scaled(body))
    for part in parts:
        assert part in text
    assert capsys.readouterr() == ("", "")


def test_a_learner_that_gives_results_it_changes_later_is_not_fooled_with(capsys):
    body = "scale.kept = getattr(scale, 'kept', torch.zeros(2))\nscale.kept[:] = 1\nreturn scale.kept"
    source = "def scale(x, factor):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    assert "is 1 at [0], and 3 is right" in wrong(check("scale", learn(source, "scale")))


def test_a_change_of_its_input_alone_is_wrong(add_chapter):
    add_chapter(replace(SCALE, mistakes=()))
    text = wrong(scaled("result = x * factor\nx += 1\nreturn result"))
    assert "scale is right in what it returns, but it changes x, which is the caller's" in text


def test_where_changing_inputs_is_the_task(add_chapter):
    add_chapter(replace(SCALE, may_change_inputs=True, reference=scale))
    assert scaled("x *= factor\nreturn x").outcome == "correct"


@pytest.mark.parametrize(("answer", "part"), [(3, "a whole number"), (torch.nn.ReLU, "a type"), ("scale", "a string")])
def test_something_else_than_a_function(answer, part):
    text = wrong(check("scale", answer))
    assert f'check got {part}; give it the function itself, without calling it: check("scale", scale).' in text


def test_a_lambda_a_partial_and_a_decorated_function_are_functions():
    import functools

    assert check("scale", lambda x, factor: x * factor).outcome == "correct"
    assert check("scale", functools.partial(lambda x, k, factor: k * x * factor, k=1)).outcome == "incorrect"
    assert check("scale", torch.no_grad()(lambda x, factor: x * factor)).outcome == "correct"
    assert check("scale", torch.mul).outcome == "correct"


# Predictions and choices


@pytest.mark.parametrize("answer", [(2, 3), [2, 3], torch.Size([2, 3]), (2.0, np.int64(3)), (torch.tensor(2), 3)])
def test_right_predictions(answer):
    assert check("shape", answer).outcome == "correct"


@pytest.mark.parametrize("answer", [10.825, 10.8, torch.tensor(10.82), np.float32(10.82)])
def test_right_numbers_are_near_enough(answer):
    assert check("loss", answer).outcome == "correct"


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("shape", (3, 2), "Rows come first."),
        ("shape", [3, 2], "Rows come first."),
        ("shape", (2, 3, 1), "It is not `(2, 3, 1)`."),
        ("shape", (True, 3), "It is not `(True, 3)`."),
        ("shape", 6, "Your answer is a whole number; what is asked for is a tuple of whole numbers, like (4, 5)."),
        ("shape", "(2, 3)", "Your answer is a string; what is asked for is a tuple of whole numbers, like (4, 5)."),
        ("shape", object(), "Your answer is an object; what is asked for is a tuple of whole numbers, like (4, 5)."),
        ("loss", 15.6, "That is in bits; the loss is in nats."),
        ("loss", 10.5, "It is not `10.5`."),
        ("loss", float("nan"), "It is not `nan`."),
        ("letter", "a", "The first is too early."),
        ("letter", "z", '`\'z\'` is none of the choices; give "a" or "b".'),
        ("letter", 2, '`2` is none of the choices; give "a" or "b".'),
        ("letter", ["b"], '`a list` is none of the choices; give "a" or "b".'),
    ],
)
def test_wrong_predictions_and_choices_say_why(name, answer, message):
    verdict = check(name, answer)
    assert verdict.outcome == "incorrect"
    assert verdict.message == message


@pytest.mark.parametrize("answer", ["b", "B", " b ", "(b)", "b)"])
def test_the_right_letter(answer):
    verdict = check("letter", answer)
    assert (verdict.outcome, verdict.message) == ("correct", "The second is just right.")


def test_accept_decides_where_being_equal_is_too_strict(add_chapter):
    add_chapter(replace(SHAPE, accept=lambda value: value[0] * value[1] == 6))
    assert check("shape", (6, 1)).outcome == "correct"
    assert check("shape", (3, 2)).outcome == "correct"
    assert check("shape", 7).outcome == "incorrect"  # accept itself fails on it


# Hints and solutions


def test_hints_come_one_after_the_other_and_are_remembered():
    firsts = [str(hint("scale")).split("\n")[0] for _ in range(4)]
    assert firsts == ["Hint 1 of 3. One.", "Hint 2 of 3. Two.", "Hint 3 of 3. Three.", "Hint 3 of 3. Three."]
    assert 'solution("scale")' in str(hint("scale"))
    assert str(hint("shape")) == "Hint 1 of 3. One."


def test_a_solution_is_offered_after_an_attempt_and_given_at_once_when_asked_for():
    assert "return x * factor" not in str(solution("scale"))
    assert 'solution("scale", now=True)' in str(solution("scale"))
    hint("scale")
    assert "return x * factor" not in str(solution("scale"))  # a hint is no attempt
    shown = str(solution("scale", now=True))
    assert '    def scale(x, factor):\n        """x times factor."""\n        return x * factor\n' in shown
    assert shown.endswith("It is so.")
    scaled("return x")
    assert str(solution("scale")) == shown


def test_solutions_of_predictions_and_choices():
    assert str(solution("shape", now=True)) == "The answer is (2, 3).\n\nIt is so."
    text = str(solution("letter", now=True))
    assert "The answer is b: second. The second is just right." in text
    assert "Not a: first – The first is too early." in text


def test_a_statement_says_all_that_the_learner_needs():
    assert plain(statement_of(LETTER)) == "Exercise: Toy\n\n★☆☆ · 2 minutes\n\nDo it.\n\n- a) first\n- b) second"


@pytest.mark.parametrize("function", [hint, solution, reset, lambda name: check(name, 1)])
def test_unknown_names_are_one_sentence(function):
    with pytest.raises(ValueError, match=r"^There is no exercise called 'scalee'; did you mean 'scale'\?$"):
        function("scalee")
    with pytest.raises(ValueError, match="There is no exercise called 'q'; `gptlib exercises` lists them all"):
        function("q")
    with pytest.raises(ValueError, match="named by a string, and a function came"):
        function(scaled)
