"""The explorer of attention: what it shows are the model's own weights, and one can find them without a mouse."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from pictures import SVG, any_text, numbers, parsed, texts, titles
from training_helpers import assert_helpful

from gptlib.tokenizers import BPETokenizer, CharTokenizer
from gptlib.widgets import explore_attention
from gptlib.widgets.attention import MOST_TOKENS
from gptlib.widgets.heads import strength

CHARACTERS = CharTokenizer.train("abcdefghij <&")
TEXT = "bad <cab&"  # 9 tokens


@pytest.fixture
def model(make_model):
    return make_model()  # 2 layers, 3 heads, a context of 16


@pytest.fixture
def explorer(model):
    return explore_attention(model, CHARACTERS, TEXT)


def heat_map(picture):
    """{(query, key): weight} of the cells, from what the mouse finds."""
    cells = {}
    for cell in parsed(picture).iter(SVG + "rect"):
        title = cell.find(SVG + "title")
        if cell.get("class") == "gptlib-hover":
            query, key = (int(part.split(")")[0]) for part in title.text.split("(")[1:])
            cells[query, key] = float(title.text.rsplit(": ", 1)[1])
    return cells


@torch.no_grad()
def weights_of(model, text, layer, head):
    _, attention = model(torch.tensor([CHARACTERS.encode(text)]), return_attention=True)
    return attention[layer][0, head]  # (T, T)


def test_the_heat_map_shows_the_models_weights_of_the_chosen_head(explorer, model):
    for layer in range(2):
        for head in range(3):
            explorer.layer.value, explorer.head.value = layer, head
            weights = weights_of(model, TEXT, layer, head)
            cells = heat_map(explorer.picture)
            assert set(cells) == {(q, k) for q in range(9) for k in range(q + 1)}  # and nothing from the future
            for place, weight in cells.items():
                assert weight == pytest.approx(weights[place].item(), abs=0.0051)
            assert f"Layer {layer}, head {head}" in explorer.picture.words


def test_cells_stand_in_their_row_and_column_and_larger_weights_are_darker(explorer):
    cells = [c for c in parsed(explorer.picture).iter(SVG + "rect") if c.get("class") == "gptlib-hover"]
    places = dict(zip(heat_map(explorer.picture), cells, strict=True))
    size = float(places[1, 1].get("x")) - float(places[1, 0].get("x"))
    for (query, key), cell in places.items():
        assert float(cell.get("x")) == pytest.approx(float(places[0, 0].get("x")) + key * size, abs=0.2)
        assert float(cell.get("y")) == pytest.approx(float(places[0, 0].get("y")) + query * size, abs=0.2)
    weights = heat_map(explorer.picture)
    by_weight = sorted(places, key=weights.get)
    red = [int(places[place].get("fill")[1:3], 16) for place in by_weight]  # from 255, white, to 0
    assert all(next_ <= now + 3 for now, next_ in pairwise(red))  # the weights are rounded


def test_the_row_of_the_chosen_token_is_drawn_and_said_in_words(explorer, model):
    for query in (0, 4, 8):
        explorer.query.value = query
        row = weights_of(model, TEXT, 0, 0)[query]
        bars = [rect for rect in parsed(explorer.picture).iter(SVG + "rect") if rect.get("fill") == "#0072B2"]
        heights = torch.tensor([float(bar.get("height")) for bar in bars])
        assert len(bars) == query + 1
        torch.testing.assert_close(heights / heights.max(), row[: query + 1] / row.max(), atol=0.01, rtol=0)
        said = explorer.picture.words
        assert f"(position {query}) looks most at" in said
        best = int(row.argmax())
        assert f"(position {best}) {row[best]:.2f}" in said.split("looks most at")[1].split(",")[0]


def test_at_first_the_last_token_looks(explorer):
    assert explorer.query.value == 8
    assert [value for _, value in explorer.query.options] == list(range(9))


def test_the_numbers_stand_in_the_cells_where_there_is_room(explorer, model, make_model):
    first = weights_of(model, TEXT, 0, 0)[1, 0].item()
    assert f"{first:.2f}".removeprefix("0") in texts(explorer.picture)
    explorer = explore_attention(make_model(context_length=64), CHARACTERS, "bad cab " * 4)
    assert "weight" in texts(explorer.picture)  # the scale of colours instead


def test_typing_computes_anew(explorer, model):
    explorer.query.value = 3
    explorer.text.value = "fadegabjihj"
    assert (len(explorer.labels), explorer.query.value) == (11, 10)
    assert torch.equal(explorer.weights[1, 2], weights_of(model, "fadegabjihj", 1, 2))
    explorer.text.value = "a"
    assert heat_map(explorer.picture) == {(0, 0): 1.0}


def test_what_the_tokenizer_refuses_is_a_sentence_until_the_text_is_right(explorer):
    before = explorer.picture
    explorer.text.value = TEXT + "z"
    assert "'z'" in explorer.picture.words
    explorer.layer.value = 1
    assert "'z'" in explorer.picture.words
    explorer.text.value = ""
    assert "empty" in explorer.picture.words
    explorer.text.value, explorer.layer.value = TEXT, 0
    assert explorer.picture == before


def test_a_first_text_may_be_refused_as_well(model):
    explorer = explore_attention(model, CHARACTERS, "zzz")
    assert "'z'" in explorer.picture.words
    explorer.text.value = "cab"
    assert len(explorer.labels) == 3


def test_a_text_that_is_too_long_is_cut_and_a_sentence_says_so(explorer, make_model):
    explorer.text.value = "a" * 17
    assert len(explorer.labels) == 16
    assert "Only the first 16 tokens of the text are shown." in texts(explorer.picture)
    wide = explore_attention(make_model(context_length=64), CHARACTERS, "a" * 50)
    assert len(wide.labels) == MOST_TOKENS
    assert f"Only the first {MOST_TOKENS} tokens of the text are shown." in wide.picture.words


def test_dropout_is_off_and_the_model_is_left_in_its_mode(make_model):
    model = make_model(drop_rate=0.5).train()
    one, other = (explore_attention(model, CHARACTERS, TEXT).weights for _ in range(2))
    assert torch.equal(one, other)
    assert all(module.training for module in model.modules())
    assert not one.requires_grad


def test_any_text_is_drawn(make_model):
    explorer = explore_attention(make_model(vocab_size=257), BPETokenizer([]), "start")

    @given(any_text)
    def drawn(text):
        explorer.text.value = text
        explorer.query.value = 0
        assert any("looks at" in title for title in titles(explorer.picture)) or not text

    drawn()


def test_the_layer_and_head_shown_first_may_be_chosen(model):
    explorer = explore_attention(model, CHARACTERS, TEXT, layer=1, head=2)
    assert (explorer.layer.value, explorer.head.value) == (1, 2)
    assert numbers(explorer.picture.words)[:2] == [1, 2]
    assert explorer.head.description == "Head (0–2)"


def test_larger_weights_are_darker():
    drawn = [strength(weight / 100) for weight in range(101)]
    assert drawn == sorted(set(drawn))
    assert drawn[-1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        ({"model": None}, ["model=None", "GPTModel"]),
        ({"tokenizer": None}, ["tokenizer=None"]),
        ({"tokenizer": BPETokenizer([])}, ["257", "61"]),
        ({"text": 3}, ["text=3"]),
        ({"layer": 2}, ["layer=2", "at most 1"]),
        ({"head": -1}, ["head=-1"]),
        ({"head": 3}, ["head=3", "at most 2"]),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(model, change, fragments):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        explore_attention(**({"model": model, "tokenizer": CHARACTERS, "text": TEXT} | change))
    assert_helpful(caught.value, *fragments)
