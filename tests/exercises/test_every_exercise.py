"""Every exercise keeps what exercises promise: the stub is open, the reference right, each mistake named."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib import import_module
from random import Random

import nbformat
import pytest
import torch
from learners import NAMES, learn

from gptlib.exercises import check, hint, solution
from gptlib.exercises.core import statement_of
from gptlib.exercises.declaring import Choice, CodeExercise, Exercise, Prediction
from gptlib.exercises.judging import judge
from gptlib.exercises.observing import cases_of, observe
from gptlib.exercises.registry import all_exercises, find

EVERY = [exercise for _, exercise in all_exercises()]
CODE = [exercise for exercise in EVERY if isinstance(exercise, CodeExercise)]
PREDICTIONS = [exercise for exercise in EVERY if isinstance(exercise, Prediction)]
CHOICES = [exercise for exercise in EVERY if isinstance(exercise, Choice)]


def each(exercises: list[Exercise]):
    return pytest.mark.parametrize("exercise", exercises, ids=lambda exercise: exercise.name)


def chapter_names(exercise: Exercise) -> dict:
    """What a cell of the exercise's chapter can be expected to have imported."""
    chapter, _ = find(exercise.name)
    return vars(import_module(f"workbook.exercises.{chapter.module}"))


def run_cell(source: str, exercise: Exercise):
    """What the exercise's variable is after `source` has run."""
    source = f"from __future__ import annotations\n{source}"
    return learn(source, exercise.variable, **(chapter_names(exercise) | NAMES))


def test_names_are_unique():
    assert [name for name, n in Counter(exercise.name for exercise in EVERY).items() if n > 1] == []
    assert [name for name, n in Counter(exercise.variable for exercise in EVERY).items() if n > 1] == []


@each(EVERY)
def test_it_is_declared_in_full(exercise):
    assert exercise.name.isidentifier()
    assert exercise.name == exercise.name.lower()
    assert exercise.title
    assert exercise.task
    assert isinstance(exercise.minutes, int)
    assert 1 <= exercise.minutes <= 60
    assert exercise.difficulty in (1, 2, 3)
    assert isinstance(exercise.hints, tuple)
    assert len(exercise.hints) >= 2
    assert all(text.strip() for text in exercise.hints)
    assert exercise.why or isinstance(exercise, Choice)


@each(EVERY)
def test_no_line_of_its_text_became_code_by_its_indentation(exercise):
    outside_code = "".join(f"{exercise.task}\n{exercise.why}".split("```")[::2])
    assert [line for line in outside_code.splitlines() if line.startswith("    ")] == []


def test_the_cells_are_formatted_as_notebooks_are():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(exercise.cell) for exercise in EVERY])
    for options in (["format", "--diff"], ["check", "--select=E501"]):
        command = [sys.executable, "-m", "ruff", *options, "--stdin-filename", "notebooks/all.ipynb", "-"]
        run = subprocess.run(command, input=nbformat.writes(notebook), capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr


@each(EVERY)
def test_its_stub_is_not_attempted(exercise):
    assert check(exercise.name, run_cell(exercise.stub_source, exercise)).outcome == "not attempted"


@each(EVERY)
def test_its_reference_is_correct(exercise):
    verdict = check(exercise.name, run_cell(exercise.solved_source, exercise))
    assert (verdict.outcome, verdict.details) == ("correct", ())


@each(EVERY)
def test_it_has_a_statement_hints_and_a_solution(exercise):
    assert exercise.title in statement_of(exercise)
    for text in exercise.hints:
        assert text in hint(exercise.name).markdown
    assert exercise.why in solution(exercise.name, now=True).markdown


@each(CODE)
def test_its_reference_does_the_same_each_time_and_raises_nothing_by_accident(exercise):
    cases, again = cases_of(exercise), cases_of(exercise)
    assert len(cases) == len(again) >= 3
    for case in cases:
        observation = observe(exercise, exercise.reference, case)
        # ValueError is what a reference may be asked to raise; anything else is an accident.
        assert observation.run.error is None or isinstance(observation.run.error, ValueError)
        assert not observation.run.timed_out
        assert observation.changed == ()
        assert observation.run.printed == ""


@each(CODE)
def test_its_cases_do_not_depend_on_what_was_random_before(exercise):
    torch.manual_seed(1)
    one = cases_of(exercise)
    torch.manual_seed(2)
    assert repr(one) == repr(cases_of(exercise))
    state = torch.get_rng_state()
    list(cases_of(exercise))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(exercise.cases(Random(1)))  # any seed gives cases


@each(CODE)
def test_each_of_its_mistakes_fails_with_its_own_message(exercise):
    assert len(exercise.mistakes) >= 2
    assert len({mistake.message for mistake in exercise.mistakes}) == len(exercise.mistakes)
    for mistake in exercise.mistakes:
        judgement = judge(exercise, mistake.implementation)
        assert (judgement.outcome, judgement.message) == ("incorrect", mistake.message)


@each(CODE)
def test_the_answer_to_the_visible_example_is_not_enough(exercise):
    first = cases_of(exercise)[0]
    answer = exercise.run(exercise.reference, *first)

    def learned_by_heart(candidate, *case):
        return exercise.run(candidate, *case) if candidate is exercise.reference else answer

    class Learner:
        """Something callable that is not the reference, of its kind."""

    candidate = Learner if isinstance(exercise.reference, type) else lambda *_: answer
    judgement = judge(replace(exercise, run=learned_by_heart), candidate)
    assert judgement.outcome == "incorrect"


@each(PREDICTIONS)
def test_each_diagnosis_of_a_prediction_is_shown(exercise):
    assert len(exercise.diagnoses) >= 2
    for wrong, message in exercise.diagnoses.items():
        verdict = check(exercise.name, wrong)
        assert (verdict.outcome, verdict.message) == ("incorrect", message)


@each(CHOICES)
def test_every_choice_is_explained(exercise):
    letters = "abcde"[: len(exercise.choices)]
    assert "".join(exercise.choices) == letters
    assert len(letters) >= 2
    assert exercise.answer in letters
    for letter, (text, explanation) in exercise.choices.items():
        assert text
        verdict = check(exercise.name, letter)
        assert verdict.outcome == ("correct" if letter == exercise.answer else "incorrect")
        assert verdict.message == explanation.strip() != ""
        assert explanation in solution(exercise.name, now=True).markdown
