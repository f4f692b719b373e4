"""Markdown in Jupyter and text elsewhere; the scoreboard; the exercises in the terminal."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from learners import LETTER, LOSS, SCALE, SHAPE, scaled

from gptlib.commands.cli import main
from gptlib.exercises import check, hint, progress, reset
from gptlib.exercises.registry import find


@pytest.fixture(autouse=True)
def toys(add_chapter):
    add_chapter(SCALE, SHAPE, LOSS, LETTER)


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
