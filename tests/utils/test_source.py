"""What `show_source` shows is what Python runs."""

import pytest

from gptlib.attention import MultiHeadAttention, attend
from gptlib.utils.source import show_source


def test_a_method_is_shown_without_its_indentation_and_runs():
    shown = repr(show_source(MultiHeadAttention.forward))
    assert shown.startswith("# gptlib.model.attention\ndef forward(\n    self,")
    compile(shown, "shown", "exec")


def test_several_objects_are_shown_in_their_order():
    shown = repr(show_source(attend, MultiHeadAttention))
    assert shown.index("def attend(") < shown.index("class MultiHeadAttention(")


def test_jupyter_gets_highlighted_python():
    source = show_source(attend)
    assert source._repr_markdown_() == f"```python\n{source!r}\n```"


@pytest.mark.parametrize("shown", [3, len, "attend", None])
def test_what_has_no_source(shown):
    with pytest.raises(TypeError, match="has no source to show; pass a function, a class or a method"):
        show_source(shown)
