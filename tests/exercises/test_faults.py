"""Whatever a learner's code does, the verdict comes, and what belongs to the notebook stays as it was."""

import random
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from learners import LETTER, LOSS, SCALE, SHAPE, learn, scale_forgotten, scaled, wrong

from gptlib.exercises import check
from gptlib.exercises.declaring import Mistake
from gptlib.exercises.observing import observe
from gptlib.exercises.registry import find
from gptlib.exercises.running import run_limited


@pytest.fixture(autouse=True)
def toys(add_chapter):
    add_chapter(SCALE, SHAPE, LOSS, LETTER)


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
