"""The texts that a model is shown: Alpaca's to the letter, a plain chat, and conversations."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptlib.instructions import ALPACA, CHAT, TEMPLATES, Instruction, find_template

TEXTS = st.text(min_size=1)


def test_the_alpaca_prompts_are_those_of_the_paper():
    # Stanford Alpaca, README, "Data Release", and train.py
    assert ALPACA.prompt(Instruction("Name a bird.", "Owl", "of the night")) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nName a bird.\n\n### Input:\nof the night\n\n### Response:"
    )
    assert ALPACA.prompt(Instruction("Name a bird.", "Owl")) == (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nName a bird.\n\n### Response:"
    )
    assert ALPACA.answer("Owl") == "Owl"


def test_the_chat_prompts_are_lines_of_two_speakers():
    assert CHAT.prompt(Instruction("Name a bird.", "Owl")) == "User: Name a bird.\nAssistant:"
    assert CHAT.prompt(Instruction("Name a bird:", "Owl", "night")) == "User: Name a bird: night\nAssistant:"
    assert CHAT.answer("Owl") == " Owl"
    assert CHAT.conversation([("Hi.", "Hello."), ("Who?", "Me.")], "Bye.") == (
        "User: Hi.\nAssistant: Hello.\nUser: Who?\nAssistant: Me.\nUser: Bye.\nAssistant:"
    )


def test_a_conversation_in_alpacas_words_has_its_preamble_once():
    text = ALPACA.conversation([("Hi.", "Hello.")], "Bye.")
    assert text.count("Below is an instruction") == 1
    assert text.endswith("### Instruction:\nHi.\n\n### Response:Hello.\n\n### Instruction:\nBye.\n\n### Response:")


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
@given(asked=TEXTS, given_too=st.text(), answer=TEXTS, later=TEXTS)
def test_whatever_a_text_holds_stands_in_the_prompt_as_it_is(template, asked, given_too, answer, later):
    """Braces and percent signs too."""
    prompt = template.prompt(Instruction(asked, answer, given_too))
    assert prompt.index(asked) <= prompt.rindex(given_too)
    first = template.conversation([], asked)
    assert first == template.prompt(Instruction(asked, answer))
    assert template.conversation([(asked, answer)], later).startswith(first + template.answer(answer))


def test_templates_are_found_by_name_and_do_not_change():
    assert find_template("chat") is find_template(CHAT) is CHAT
    for name in ("chatml", None, ["chat"]):
        with pytest.raises(ValueError, match=re.escape(f"template={name!r} is not known; give 'alpaca' or 'chat'")):
            find_template(name)
    with pytest.raises(AttributeError):
        CHAT.turn = ""
