"""The explorer of sampling: it shows next_token_probabilities' numbers, and draws from what it shows."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import any_text, numbers, parsed, texts, titles
from training_helpers import assert_helpful

from gptlib.generation import generate, next_token_probabilities
from gptlib.tokenizers import BPETokenizer, CharTokenizer, WordTokenizer
from gptlib.widgets import explore_sampling
from gptlib.widgets.drawing import token_label
from gptlib.widgets.sampling import ROWS, entropy

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ <&"  # 55, fewer than the model's 61
CHARACTERS = CharTokenizer.train(LETTERS)


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def explorer(model):
    return explore_sampling(model, CHARACTERS, "bad <cab")


def logits_of(model, text):
    with torch.no_grad():
        return model(torch.tensor([CHARACTERS.encode(text)[-16:]]))[:, -1, :55]  # (1, V)


def bars(picture):
    """{label: (before, now)} of what the mouse finds, as parts of 1."""
    found = {}
    for title in titles(picture):
        text, said = title.rsplit(": ", 1)
        before, now = numbers(said)
        found[text] = (before / 100, now / 100)
    return found


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, None, 1.0), (0.5, None, 1.0), (1.6, 8, 1.0), (1.0, None, 0.6), (0.0, 3, 0.5)],
)
def test_the_bars_are_the_distribution_before_and_after(explorer, model, temperature, top_k, top_p):
    explorer.temperature.value, explorer.top_k.value, explorer.top_p.value = temperature, top_k, top_p
    before = next_token_probabilities(logits_of(model, "bad <cab"))[0]
    after = next_token_probabilities(logits_of(model, "bad <cab"), temperature, top_k, top_p)[0]
    shown = bars(explorer.picture)
    assert list(shown) == [token_label(CHARACTERS.token_bytes(i)) for i in before.topk(ROWS).indices.tolist()]
    for text, (was, now) in shown.items():
        i = CHARACTERS.encode(text.replace("␣", " "))[0]
        assert was == pytest.approx(before[i].item(), abs=6e-5)
        assert now == pytest.approx(after[i].item(), abs=6e-5)
    torch.testing.assert_close(explorer.probabilities(), after)
    left, all_of_them, now, was = numbers(explorer.picture.words.split("top-p")[1])[1:5]
    assert (left, all_of_them) == (int((after > 0).sum()), 55)
    assert now == pytest.approx(-sum(p * math.log(p) for p in after.tolist() if p), abs=0.006)
    assert was == pytest.approx(entropy(before), abs=0.006)
    assert texts(explorer.picture).count("out") == sum(now == 0 for now in after[before.topk(ROWS).indices].tolist())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30).filter(lambda weights: sum(weights) > 1e-3))
def test_entropy_lies_between_certainty_and_equal_chances(weights):
    p = torch.tensor(weights, dtype=torch.float64)
    p /= p.sum()
    assert -1e-9 <= entropy(p) <= math.log(len(weights)) + 1e-9
    assert entropy(torch.full((8,), 1 / 8)) == pytest.approx(math.log(8))


def test_sample_draws_one_token_and_appends_it(explorer, model):
    explorer.sample.click()
    assert explorer.ids.shape == (1, 9)
    story = CHARACTERS.decode(explorer.ids[0])
    assert story.startswith("bad <cab")
    assert len(story) == 9
    torch.testing.assert_close(explorer.logits, logits_of(model, story))
    assert story in explorer.picture.words
    assert explorer.prompt.value == "bad <cab"


def test_greedy_writing_is_greedy_generation(explorer, model):
    explorer.temperature.value = 0
    explorer.write.click()
    with pytest.warns(UserWarning, match="context"):
        expected = generate(model, torch.tensor([CHARACTERS.encode("bad <cab")]), 20, temperature=0, vocab_size=55)
    assert explorer.ids.tolist() == expected.tolist()  # past the context of 16 as well


def test_what_is_left_out_is_never_drawn(explorer):
    explorer.top_k.value = 2
    for _ in range(30):
        left = explorer.probabilities().nonzero()[:, 0].tolist()
        explorer.sample.click()
        assert explorer.ids[0, -1].item() in left
        assert len(left) == 2


def test_drawing_follows_the_distribution(make_model):
    explorer = explore_sampling(make_model(), CHARACTERS, "a", temperature=1.5)
    p = explorer.probabilities()
    drawn = torch.zeros(55)
    for _ in range(400):
        explorer.draw_tokens(1)
        drawn[explorer.ids[0, 1]] += 1
        explorer.reset.click()
    assert (drawn / 400 - p).abs().max() < 0.1


def test_reset_and_a_new_prompt_forget_what_was_drawn(explorer):
    before = explorer.picture
    explorer.write.click()
    assert explorer.picture != before
    explorer.reset.click()
    assert explorer.picture == before
    explorer.write.click()
    explorer.prompt.value = "cab"
    assert explorer.ids.tolist() == [CHARACTERS.encode("cab")]


def test_moving_a_slider_does_not_run_the_model(explorer, monkeypatch):
    def forbidden(*arguments, **options):
        raise AssertionError("the model ran")

    monkeypatch.setattr(explorer.model, "forward", forbidden)
    for temperature in (0.0, 0.3, 2.0):
        explorer.temperature.value = temperature
    explorer.top_k.value, explorer.top_p.value = 5, 0.5
    assert "top-k 5, top-p 0.5" in explorer.picture.words


def test_the_text_ends_with_the_end_of_text_token(make_model):
    words = WordTokenizer.train("the cat sat")  # <|endoftext|> is the last of 5
    model = make_model(vocab_size=words.vocab_size)
    explorer = explore_sampling(model, words, "the cat")
    with torch.no_grad():
        model.output_head.weight[:] = 0
    explorer.logits = torch.tensor([[0.0, 0.0, 0.0, 0.0, 99.0]])
    explorer.write.click()
    assert explorer.ids[0, -1].item() == words.eos_id
    assert explorer.ids.shape == (1, 3)
    assert "(the text ends here)" in "".join(texts(explorer.picture))
    assert explorer.sample.disabled
    assert explorer.write.disabled
    explorer.sample.click()
    assert explorer.ids.shape == (1, 3)
    explorer.reset.click()
    assert not explorer.sample.disabled


def test_what_the_tokenizer_refuses_is_a_sentence_until_the_prompt_is_right(explorer):
    before = explorer.picture
    explorer.prompt.value = "12"
    assert "'1'" in explorer.picture.words
    explorer.sample.click()
    explorer.temperature.value = 0.5
    assert "'1'" in explorer.picture.words
    explorer.prompt.value, explorer.temperature.value = "bad <cab", 1.0
    assert explorer.picture == before


def test_a_first_prompt_may_be_refused_as_well(model):
    explorer = explore_sampling(model, CHARACTERS, "")
    assert "empty" in explorer.picture.words
    explorer.write.click()
    explorer.prompt.value = "cab"
    assert "Behind “cab”" in explorer.picture.words


def test_any_prompt_and_any_bytes_drawn_are_shown(make_model):
    explorer = explore_sampling(make_model(vocab_size=257), BPETokenizer([]), "start", temperature=2.0)

    @given(any_text)
    def drawn(prompt):
        explorer.prompt.value = prompt
        explorer.write.click()  # bytes at random, mostly no whole characters
        parsed(explorer.picture)
        assert explorer.ids.shape[1] <= explorer.n_prompt + 20

    drawn()


def test_a_long_story_is_shown_from_its_end(make_model):
    explorer = explore_sampling(make_model(), CHARACTERS, "abc " * 300 + "END")
    explorer.sample.click()
    story = "".join(text for text in texts(explorer.picture) if "abc" in text)
    assert "END" in story
    assert len(story) < 600


def test_a_model_may_know_more_tokens_than_its_tokenizer(explorer):
    assert explorer.model.config.vocab_size == 61
    assert explorer.logits.shape == (1, 55)


def test_dropout_is_off_and_the_model_is_left_in_its_mode(make_model):
    model = make_model(drop_rate=0.5).train()
    one, other = (explore_sampling(model, CHARACTERS, "cab").logits for _ in range(2))
    assert torch.equal(one, other)
    assert all(module.training for module in model.modules())
    assert not one.requires_grad


def test_the_settings_shown_first_may_be_chosen(model):
    explorer = explore_sampling(model, CHARACTERS, "cab", temperature=3, top_k=7, top_p=0.005)
    assert (explorer.temperature.value, explorer.top_k.value, explorer.top_p.value) == (3, 7, 0.005)
    assert explore_sampling(model, CHARACTERS, "cab", top_k=55).top_k.value is None  # all of them


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        ({"model": torch.nn.Linear(2, 2)}, ["model=Linear", "GPTModel"]),
        ({"tokenizer": "bpe"}, ["tokenizer='bpe'"]),
        ({"tokenizer": BPETokenizer([])}, ["257", "61"]),
        ({"prompt": None}, ["prompt=None"]),
        ({"temperature": -1}, ["temperature=-1"]),
        ({"top_k": 0}, ["top_k=0"]),
        ({"top_p": 1.5}, ["top_p=1.5"]),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(model, change, fragments):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        explore_sampling(**({"model": model, "tokenizer": CHARACTERS, "prompt": "cab"} | change))
    assert_helpful(caught.value, *fragments)
