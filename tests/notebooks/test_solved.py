"""Every chapter with all of its exercises solved runs to its end, and its scoreboard is full."""

import pytest

from gptlib.exercises import records
from gptlib.exercises.registry import exercises_of, written_chapters
from tools.refresh_notebooks import make_home
from tools.solve_notebooks import ROOT, run_solved

CHAPTERS = [chapter for chapter in written_chapters() if (ROOT / "notebooks" / chapter.notebook).exists()]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.module)
def test_a_solved_chapter_fills_its_scoreboard(chapter, tmp_path, monkeypatch):
    for variable in ("GPTLIB_HOME", "GPTLIB_DATA"):
        monkeypatch.setenv(variable, "")  # make_home sets them; this takes them back afterwards
    make_home(tmp_path)
    said = run_solved(chapter)
    assert [line for line in said if not line.startswith("Correct.")] == []
    known, note = records.load()
    assert note == ""
    assert [e.name for e in exercises_of(chapter) if not known[e.name].done] == []
    assert len(said) == len(exercises_of(chapter))
