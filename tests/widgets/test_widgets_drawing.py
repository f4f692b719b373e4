"""The parts of every picture: escaped, readable, with words; and what an explorer gives to Jupyter."""

import builtins
import re
import sys
import xml.etree.ElementTree as ET
from base64 import b64decode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pictures import HOSTILE, any_text, parsed, texts

from gptlib.tokenizers import CharTokenizer
from gptlib.widgets import explore_tokens
from gptlib.widgets.drawing import (
    WIDTH,
    drawing,
    element,
    label,
    lines_of,
    mono_width,
    n_cells,
    printable,
    sentence,
    tint,
    token_label,
    visible,
    wrapped,
)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (" the", "␣the"),
        ("a\n\t\r", "a\\n\\t\\r"),
        ("\\n", "\\\\n"),
        ("\x00\x7f\xa0", "\\x00\\x7f\\xa0"),
        ("\u200b\u202e\u2028", "\\u200b\\u202e\\u2028"),
        ("\U000e0001", "\\U000e0001"),
        ("é日😀", "é日😀"),
    ],
)
def test_what_has_no_shape_gets_one(text, seen):
    assert visible(text) == seen


@given(st.text(st.characters(), max_size=30), st.text(st.characters(), max_size=30))
def test_different_texts_look_different(one, other):
    """Only the mark for a space is ambiguous: a text may hold the mark itself."""
    assert (visible(one) == visible(other)) == (one.replace("␣", " ") == other.replace("␣", " "))
    assert visible(one).isprintable()


@pytest.mark.parametrize(
    ("token", "seen"),
    [
        (b" the", "␣the"),
        ("日".encode()[:2], "<E6 97>"),
        (b" " + "日".encode()[:1], "␣<E6>"),
        (b"\x97a\xff", "<97>a<FF>"),
        ("\u0301".encode(), "◌\u0301"),
        (b"", "(empty)"),
    ],
)
def test_tokens_that_are_no_whole_character_are_shown_in_hexadecimal(token, seen):
    assert token_label(token) == seen


@given(st.binary(max_size=80), st.integers(2, 30))
@example("e\u0301".encode() * 100, 5)
@example(("e" + "\u0301" * 300).encode(), 24)
def test_a_token_of_any_bytes_has_a_label_of_bounded_length(token, longest):
    text = token_label(token, longest)
    assert 0 < n_cells(text) <= longest
    assert len(text) <= 3 * longest
    assert text.isprintable()


@given(any_text)
def test_any_text_gives_well_formed_xml_that_says_it(text):
    written = element("g", label(1, 1, text), label(1, 1, text, mono=True), element("a", title=text))
    root = ET.fromstring(written)
    assert [child.text or "" for child in root][:2] == [printable(text)] * 2
    assert root[2].get("title") == printable(text)


@given(any_text)
@example("")
def test_a_sentence_is_drawn_whole(text):
    picture = sentence(text or "empty")
    drawn = "".join(texts(picture)[1:])
    assert drawn.replace(" ", "") == picture.words.replace(" ", "")


def test_widths_count_columns():
    assert n_cells("abc") == 3
    assert n_cells("日本") == 4
    assert n_cells("e\u0301") == 1
    assert mono_width("ab", 10) < mono_width("abc", 10)


@given(st.lists(st.floats(1, 900), max_size=40))
def test_lines_hold_every_box_once_and_none_sticks_out(widths):
    lines = lines_of(widths, 3)
    assert [i for line in lines for i, _ in line] == list(range(len(widths)))
    for line in lines:
        for i, x in line:
            assert x + widths[i] <= WIDTH or len(line) == 1


def test_wrapped_prose_says_where_it_ends():
    drawn, y = wrapped(0, 20, "word " * 60, 13, 50)
    assert drawn.count("<text") == 6
    assert y == 20 + 6 * 18


def test_tint():
    assert tint("#000000", 0.5) == "#808080"
    assert tint("#0072B2", 1) == "#0072b2"
    assert tint("#0072B2", 0) == "#ffffff"


def test_text_is_dark_on_the_pictures_own_light_background():
    root = parsed(drawing(50, "nothing", []))
    assert root.get("fill") == "#222222"
    assert root.find("{*}rect").get("fill") == "#FBFAF6"


def still(explorer):
    return explorer._repr_mimebundle_()


def test_an_explorer_is_live_in_jupyter_and_a_picture_with_words_elsewhere():
    explorer = explore_tokens("ab", {"char": CharTokenizer.train("ab")})
    bundle = still(explorer)
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.box.model_id
    assert bundle["image/svg+xml"] == explorer.picture.svg
    assert bundle["text/plain"] == explorer.picture.words == repr(explorer)
    # The picture once more as an image in HTML, which JupyterLab shows of a notebook that it doesn't trust.
    image = ET.fromstring(bundle["text/html"])
    kind, data = image.get("src").split(",")
    assert kind == "data:image/svg+xml;base64"
    assert b64decode(data).decode() == explorer.picture.svg
    assert image.get("alt") == explorer.picture.words
    assert explorer.picture.svg in explorer.screen.value


def test_the_picture_asks_for_nothing_from_anywhere():
    svg = explore_tokens("ab", {"char": CharTokenizer.train("ab")}).picture.svg
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]  # the name of the language
    assert "url(" not in svg


def test_the_bundle_follows_the_controls():
    explorer = explore_tokens("ab", {"char": CharTokenizer.train("ab")})
    before = still(explorer)
    explorer.text.value = "abba"
    assert still(explorer)["image/svg+xml"] != before["image/svg+xml"]
    assert "4 tokens" in still(explorer)["text/plain"]


def test_without_ipywidgets_one_sentence_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "ipywidgets":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "ipywidgets")
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"^The explorers need .*`pip install ipywidgets") as caught:
        explore_tokens("ab", {"char": CharTokenizer.train("ab")})
    assert caught.value.__cause__ is None


def test_every_control_has_a_description():
    explorer = explore_tokens(HOSTILE[0], {"char": CharTokenizer.train(HOSTILE[0])})
    assert explorer.text.description == "Text"
    assert explorer.tokenizer.description == "Tokenizer"
