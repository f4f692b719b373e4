"""check, hint, solution, progress and reset, on toy exercises: whatever a learner's code does, the verdict comes."""

import json
import random
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from learners import LETTER, LOSS, SCALE, SHAPE, learn, scale, scale_forgotten

from gptlib.cli import main
from gptlib.exercises import check, hint, progress, reset, solution, statement
from gptlib.exercises.declaring import Mistake
from gptlib.exercises.observing import observe
from gptlib.exercises.registry import find
from gptlib.exercises.running import run_limited


@pytest.fixture(autouse=True)
def toys(add_chapter):
    add_chapter(SCALE, SHAPE, LOSS, LETTER)


def scaled(body: str, signature: str = "x, factor"):
    """The verdict on a learner's `scale` with this body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return check("scale", learn(f"def scale({signature}):\n{lines}\n", "scale"))


def wrong(verdict) -> str:
    """The whole text of a verdict that has to be "incorrect"."""
    assert verdict.outcome == "incorrect"
    return str(verdict)


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


# Errors, time, and what must stay as it was


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (
            "y = x @ x\nreturn y @ 3",
            ["raises TypeError: ", "It happens in line 3: return y @ 3", "x = a float32 tensor"],
        ),
        ("return torch.ones(3) @ torch.ones(4)", ["raises RuntimeError", "line 2: return torch.ones(3)"]),
        ("return scale(x, factor)", ["calls itself without end: RecursionError", "line 2: return scale(x, factor)"]),
        ("import sys\nsys.exit(3)", ["stops the program (SystemExit)", "line 3: sys.exit(3)"]),
        ("raise KeyboardInterrupt", ["stops the program (KeyboardInterrupt)"]),
        ("raise BaseException('no')", ["raises BaseException: no"]),
        ("raise GeneratorExit", ["raises GeneratorExit"]),
        ("class E(Exception):\n  def __str__(self): 1/0\nraise E", ["str() failed"]),
        ("return nowhere", ["NameError: name 'nowhere' is not defined"]),
        ("import json\nreturn json.loads('{')", ["JSONDecodeError", "line 3: return json.loads('{')"]),
        ("class T(list):\n  def __iter__(self): 1/0\nreturn T([1])", ["ZeroDivisionError", "line 3"]),
        ("raise ValueError('`a` ``b``')", ["ValueError: `a` ``b``"]),
    ],
)
def test_any_exception_is_shown_with_the_line(body, parts, capsys):
    text = wrong(scaled(body))
    for part in parts:
        assert part in text
    assert "Traceback" not in text
    assert capsys.readouterr() == ("", "")


def test_wrong_parameters_are_an_exception_as_any():
    assert "raises TypeError: scale() takes 1 positional argument but 2 were given." in wrong(scaled("return x", "x"))
    assert "It happens in" not in wrong(scaled("return x", "x"))  # no line of the learner's was reached


def test_an_error_is_no_mistake_only_because_it_is_of_the_same_type(add_chapter):
    add_chapter(replace(SCALE, mistakes=(Mistake(lambda x, factor: x @ torch.ones(5), "You multiply matrices."),)))
    assert wrong(scaled("return x @ torch.ones(5)")).startswith("Not yet. You multiply matrices.")
    assert "raises RuntimeError: my own" in wrong(scaled("raise RuntimeError('my own')"))


def test_the_innermost_line_of_the_cell_is_shown():
    source = "def helper(x):\n    return 1 / 0\n\ndef scale(x, factor):\n    return helper(x)\n"
    assert "It happens in line 2: return 1 / 0" in wrong(check("scale", learn(source, "scale")))


def test_a_line_of_another_cell_is_passed_over():
    helper = learn("def helper(x):\n\n    return 1 / 0\n", "helper")
    source = "def scale(x, factor):\n    return helper(x)\n"
    assert "line 2: return helper(x)" in wrong(check("scale", learn(source, "scale", helper=helper)))


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "while True: print('again')",
        "while True:\n    try: 1 / 0\n    except Exception: pass",
        "for _ in range(3):\n    try:\n        while True: int()\n    except: pass\nwhile True: pass",
        "import time\ntime.sleep(8)",
        "class T(list):\n  def __iter__(self):\n    while True: pass\nreturn T([1])",
    ],
)
def test_nothing_runs_longer_than_its_time(body, capsys):
    begin = time.monotonic()
    text = wrong(scaled(body))
    assert time.monotonic() - begin < 5
    assert "scale is not done after 0.4 s. Is there a loop that never ends?" in text
    assert len(text.splitlines()) < 25
    assert "x = a float32 tensor of shape (2,)" in text
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("catching", ["except Exception: pass", "except ValueError: pass", "finally: pass"])
def test_loops_are_really_stopped(catching):
    before = set(threading.enumerate())
    scaled(f"while True:\n    try:\n        while True: int()\n    {catching}")
    twice = f"try:\n    while True: int()\nexcept: pass\ntry:\n    while True: pass\n{catching}"
    scaled(twice)
    assert set(threading.enumerate()) <= before


def test_it_works_in_a_thread_as_well():
    outcomes = []
    bodies = ("return x * factor", "while True: pass")
    thread = threading.Thread(target=lambda: outcomes.extend(scaled(body).outcome for body in bodies))
    thread.start()
    thread.join()
    assert outcomes == ["correct", "incorrect"]


def test_slow_once_only_is_too_slow():
    """The time limit holds for a later case too, and no case is begun after one that took too long."""
    calls = []
    source = "def scale(x, factor):\n    calls.append(1)\n    while x.ndim > 1: pass\n    return x * factor\n"
    assert "not done after" in wrong(check("scale", learn(source, "scale", calls=calls)))
    assert len(calls) == 2


def test_an_interrupt_of_the_person_goes_through(monkeypatch):
    from gptlib.exercises import running

    def interrupted(*_):
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    monkeypatch.setattr(running, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scaled("while True: pass")
    assert sys.stdout is not None
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("body", ["return x * factor", "while True: pass", "return x @ x @ x"])
def test_what_belongs_to_the_notebook_stays_as_it_was(body):
    meddling = "import random, numpy\ntorch.manual_seed(9); random.seed(9); numpy.random.seed(9)\n"
    meddling += "torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)\n"
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    wanted = torch.rand(2), random.random(), np.random.rand()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    streams = sys.stdout, sys.stderr
    scaled(meddling + body)
    got = torch.rand(2), random.random(), np.random.rand()
    assert torch.equal(got[0], wanted[0])
    assert got[1:] == wanted[1:]
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert (sys.stdout, sys.stderr) == streams


def test_random_code_sees_the_same_numbers_as_the_reference(add_chapter):
    def noisy(x, factor):
        return x * factor + torch.randn(x.shape)

    add_chapter(replace(SCALE, reference=noisy))
    with torch.no_grad():
        assert scaled("return torch.randn(x.shape) + x * factor").outcome == "correct"
    assert scaled("return x * factor + torch.rand(x.shape)").outcome == "incorrect"


def test_a_verdict_does_not_depend_on_what_was_random_before():
    texts = []
    for seed in (1, 2):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        body = "import random, numpy as np\nprint(random.random(), np.random.rand())\nreturn torch.randn(2)"
        texts.append(wrong(scaled(body)))
    assert texts[0] == texts[1]


def test_arguments_that_are_no_data_may_be_anything(add_chapter):
    """A model in a list is copied for each run; whether it was changed, nobody can tell."""
    add_chapter(replace(SCALE, cases=lambda rng: [([torch.nn.Linear(1, 1)], 2)], reference=lambda x, factor: factor))
    assert scaled("return factor").outcome == "correct"
    assert observe(find("scale")[1], scale_forgotten, ([torch.nn.Linear(1, 1)], 2)).changed == ()
    assert "x = [a Linear], factor = 2" in wrong(scaled("return x"))


def test_what_is_printed_is_kept_only_in_part():
    assert len(run_limited(lambda: print("x" * 10**6), 5).printed) < 5000


def test_errors_that_the_reference_raises_are_asked_for(add_chapter):
    def careful(x, factor):
        if x.ndim > 1:
            raise ValueError("one dimension only")
        return x * factor

    add_chapter(replace(SCALE, reference=careful, mistakes=()))
    assert "ValueError is to be raised, and nothing was." in wrong(scaled("return x * factor"))
    assert "TypeError" in wrong(scaled("if x.ndim > 1: raise TypeError\nreturn x * factor"))
    assert scaled("if x.ndim > 1: raise ValueError('other words')\nreturn x * factor").outcome == "correct"


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
    assert str(statement("letter")) == "Exercise: Toy\n\n★☆☆ · 2 minutes\n\nDo it.\n\n- a) first\n- b) second"


@pytest.mark.parametrize("function", [hint, solution, statement, reset, lambda name: check(name, 1)])
def test_unknown_names_are_one_sentence(function):
    with pytest.raises(ValueError, match=r"^There is no exercise called 'scalee'; did you mean 'scale'\?$"):
        function("scalee")
    with pytest.raises(ValueError, match="There is no exercise called 'q'; `gptlib exercises` lists them all"):
        function("q")
    with pytest.raises(ValueError, match="named by a string, and a function came"):
        function(scaled)


# Rendering


@pytest.fixture
def shell():
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("make", [lambda: check("letter", "a"), lambda: hint("scale"), progress, lambda: progress(90)])
def test_jupyter_gets_markdown_and_everybody_else_text(make, shell):
    reply = make()
    data, _ = shell.display_formatter.format(reply)
    assert set(data) == {"text/markdown", "text/plain"}
    assert data["text/markdown"] == reply.markdown
    assert data["text/plain"] == str(reply) == repr(reply)
    assert "**" in reply.markdown or "| --" in reply.markdown
    assert not set("*`|✗✓○●") & set(str(reply)) - set("*" if "Difficulty" in str(reply) else "")


def test_a_notebook_left_as_it_is_runs_clean(shell, capsys):
    for name in ("scale", "shape", "letter"):
        cell = find(name)[1].cell
        result = shell.run_cell(f"from gptlib.exercises import check\n{cell}")
        result.raise_error()
        assert result.result.outcome == "not attempted"


def test_a_cell_solved_with_the_reference_is_correct(shell):
    for name in ("scale", "shape", "loss", "letter"):
        result = shell.run_cell(f"from gptlib.exercises import check\n{find(name)[1].solved_cell}")
        result.raise_error()
        assert result.result.outcome == "correct"


def test_the_line_in_a_cell_is_the_one_that_jupyter_numbers(shell):
    cell = 'from gptlib.exercises import check\n\ndef scale(x, factor):\n    return x @ 3\ncheck("scale", scale)'
    assert "line 4: return x @ 3" in str(shell.run_cell(cell).result)


def test_code_of_a_learner_cannot_break_the_markdown():
    markdown = scaled("print('```')\nreturn 'a`b' if factor else '``'").markdown
    assert "````\n```\n````" in markdown


# The scoreboard


def test_progress_counts_done_tried_open_hints_and_minutes():
    assert "Toys  ....     0      0     4           0        8" in str(progress())
    scaled("return x * factor"), scaled("return x"), check("letter", "a"), hint("loss"), hint("loss")
    lines = str(progress()).splitlines()
    assert lines[1] == "90 Toys  x../     1      1     2           2        8"
    assert lines[2].split() == ["All", "1", "1", "2", "2", "8"]  # done stays done
    assert "| 90 Toys | ●○○◐ | 1 | 1 | 2 | 2 | 8 |" in progress().markdown
    assert "| ◐ | Toy | `letter` | ★☆☆ | 2 | tried | 1 | 0 of 3 |" in progress(90).markdown


@pytest.mark.parametrize("number", [3, "90", True, None.__class__])
def test_a_chapter_without_exercises_is_one_sentence(number):
    with pytest.raises(ValueError, match="has no exercises; the chapters that have are 90"):
        progress(number)


def test_reset_forgets_one_or_all():
    for name in ("letter", "shape"):
        check(name, "b")
    reset("letter")
    assert [state for state in str(progress(90)).split() if state in ("done", "tried")] == ["tried"]
    assert str(reset()) == "All exercises are open again."
    assert "tried" not in str(progress(90))


def test_the_terminal_lists_and_resets(capsys):
    check("letter", "b")
    assert main(["exercises"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("90 Toys\n")
    assert "x  Toy       letter  *                 2  done          1      0 of 3" in out
    assert main(["exercises", "--chapter", "90"]) == 0
    assert "letter" in capsys.readouterr().out
    assert main(["exercises", "--reset", "letter"]) == 0
    assert capsys.readouterr().out == "letter is open again.\n"
    assert main(["exercises", "--reset"]) == 0
    assert capsys.readouterr().out == "All exercises are open again.\n"


@pytest.mark.parametrize(
    ("arguments", "value", "remedy"),
    [
        ("--chapter 5", "Chapter 5", "90"),
        ("--chapter five", "five", "--help"),
        ("--reset scalee", "scalee", "did you mean 'scale'"),
        ("--reset scale --chapter 90", "--chapter 90", "can't go together"),
    ],
)
def test_wrong_use_of_the_terminal_is_one_sentence(arguments, value, remedy, capsys):
    with pytest.raises(SystemExit):
        main(["exercises", *arguments.split()])
    (line,) = capsys.readouterr().err.splitlines()
    assert value in line
    assert remedy in line
