"""Talking in the terminal, from a script: what is remembered, what is cut, how it is stopped."""

import signal
import subprocess
import sys
import warnings

import pytest
import torch
from training_helpers import assert_helpful

import gptlib.generation.chat as chat
from gptlib.checkpoints import save_checkpoint
from gptlib.commands.cli import main
from gptlib.generation import generate_text
from gptlib.generation.chat import Conversation
from gptlib.instructions import CHAT, TEMPLATES
from gptlib.model import GPTModel
from gptlib.tokenizers import BPETokenizer

TOKENIZER = BPETokenizer.train("User: hello there\nAssistant: good day " * 9, vocab_size=280)


def small_model(context_length=64):
    torch.manual_seed(0)
    shape = {"vocab_size": TOKENIZER.vocab_size, "context_length": context_length, "emb_dim": 16, "n_heads": 2}
    return GPTModel(shape | {"n_layers": 1, "drop_rate": 0.0}).eval()


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint("a.pth", small_model(), TOKENIZER)
    return tmp_path


def say(monkeypatch, *lines):
    """Let these lines come from the person; an exception among them is raised."""
    script = iter(lines)

    def read(prompt):
        line = next(script, EOFError)
        if not isinstance(line, str):
            raise line
        return line

    monkeypatch.setattr("builtins.input", read)


def conversation(template=CHAT, context_length=64, max_new_tokens=8):
    return Conversation(
        small_model(context_length), TOKENIZER, template, {"max_new_tokens": max_new_tokens, "temperature": 0}
    )


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_an_answer_is_what_generation_gives_behind_the_conversation_so_far(template):
    talk = conversation(template, context_length=300)
    for said in ("hello", "good day", "hello there"):
        prompt = template.conversation(talk.history, said)
        expected = generate_text(talk.model, TOKENIZER, prompt, 8, temperature=0)[len(prompt) :]
        assert "".join(talk.answer(said)) == expected.lstrip()
    assert [said for said, _ in talk.history] == ["hello", "good day", "hello there"]


def test_the_oldest_turns_go_first_and_only_as_many_as_must():
    talk, said_so_far = conversation(), []
    for n in range(12):
        said = f"hello {n}"
        prompt, room = talk.prompt(said)
        kept = len(talk.history)
        assert prompt == CHAT.conversation(said_so_far[len(said_so_far) - kept :], said)
        assert room == 8
        assert len(TOKENIZER.encode(prompt)) <= 64 - 8
        if kept < len(said_so_far):
            longer = CHAT.conversation(said_so_far[len(said_so_far) - kept - 1 :], said)
            assert len(TOKENIZER.encode(longer)) > 64 - 8
        said_so_far.append((said, "".join(talk.answer(said)).rstrip()))
    assert 0 < len(talk.history) < 12


def test_a_long_answer_may_take_half_the_context_and_a_long_question_what_is_left():
    talk = conversation(max_new_tokens=1000)
    "".join(talk.answer("hello"))
    _, room = talk.prompt("hello")
    assert room >= 32
    long = "hello there " * 10
    prompt, room = talk.prompt(long)
    assert talk.history == []
    assert room == 64 - len(TOKENIZER.encode(prompt)) < 32
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as generation warns where it goes beyond the context
        "".join(talk.answer(long))
    with pytest.raises(ValueError, match="the model sees 64") as error:
        list(talk.answer("hello there " * 60))
    assert_helpful(str(error.value).replace("say it", "give it"))


def test_what_was_said_of_a_stopped_answer_is_remembered():
    talk = conversation()
    pieces = talk.answer("hello")
    said = next(pieces) + next(pieces)
    pieces.close()
    assert talk.history == [("hello", said.rstrip())]


def test_from_the_terminal(saved, monkeypatch, capsys):
    say(monkeypatch, "hello", "", "   ", "/reset", "hello", "/what now", "/quit", "never read")
    assert main("chat --load a.pth --max-new-tokens 6".split()) == 0
    out, err = capsys.readouterr()
    first, second = out.splitlines() if out.count("\n") == 2 else (out[: len(out) // 2], out[len(out) // 2 :])
    assert first == second  # what was said before /reset is forgotten
    assert "A new conversation." in err
    assert "no command '/what'" in err


@pytest.mark.parametrize(
    ("options", "turns"), [("", [1, 2, 1, 2, 3]), ("--turns 0", [1] * 5), ("--turns 1", [1, 2, 1, 2, 2])]
)
def test_the_model_sees_all_turns_since_a_reset_or_as_many_as_asked_for(saved, monkeypatch, options, turns):
    seen = []
    stream = chat.stream
    monkeypatch.setattr(
        chat, "stream", lambda m, t, prompt, n, **o: seen.append(prompt) or stream(m, t, prompt, n, **o)
    )
    say(monkeypatch, "hello", "good day", "/reset", "there", "hello", "good day")
    assert main(f"chat --load a.pth --max-new-tokens 4 {options}".split()) == 0
    assert [prompt.count("User:") for prompt in seen] == turns
    assert turns[1] == 1 or seen[1].startswith(seen[0])


def test_ctrl_c_stops_the_answer_and_not_the_conversation(saved, monkeypatch, capsys):
    stream = chat.stream

    def stopped(model, tokenizer, prompt, n, **options):
        for i, piece in enumerate(stream(model, tokenizer, prompt, n, **options)):
            if i == 2 and prompt.count("User:") == 1:
                signal.raise_signal(signal.SIGINT)
            yield piece

    monkeypatch.setattr(chat, "stream", stopped)
    say(monkeypatch, "hello", KeyboardInterrupt, "good day")
    assert main("chat --load a.pth --max-new-tokens 6 --seed 1".split()) == 0
    out, err = capsys.readouterr()
    assert " ...\n" in out
    assert not out.endswith(" ...\n")  # the second was answered to its end
    assert "/quit ends." in err


def test_what_cannot_be_answered_is_said_and_the_conversation_goes_on(saved, monkeypatch, capsys):
    say(monkeypatch, "hello there " * 60, "hello")
    assert main("chat --load a.pth --max-new-tokens 4".split()) == 0
    out, err = capsys.readouterr()
    assert "the model sees 64" in err
    assert out.strip()


def test_with_piped_input_only_answers_are_written(saved):
    run = subprocess.run(
        [sys.executable, "-m", "gptlib", "chat", "--load", "a.pth", "--max-new-tokens", "4"],
        input=b"hello\n/reset\nhello",
        capture_output=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    talk = conversation(max_new_tokens=4)
    expected = "".join(talk.answer("hello"))
    assert run.stdout.decode().replace("\r\n", "\n") == f"{expected}\n{expected}\n"
    assert b"Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("options", "status", "fragment"),
    [
        ("--template none", 2, "--template none"),
        ("--max-new-tokens 0", 2, "--max-new-tokens 0"),
        ("--temperature -1", 2, "--temperature -1"),
        ("--turns -1", 2, "--turns -1"),
        ("--top-p 2", 2, "--top-p 2"),
        ("--temperature inf", 1, "temperature=inf"),
        ("--load missing.pth", 1, "missing.pth"),
        ("--load bare.pth", 1, "no tokenizer"),
    ],
)
def test_wrong_use_is_one_sentence(saved, capsys, options, status, fragment):
    save_checkpoint("bare.pth", small_model())
    with pytest.raises(SystemExit) as stop:
        main(["chat", *("--load a.pth".split() if "--load" not in options else []), *options.split()])
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == status
    assert message.startswith("gptlib: ")
    assert fragment in message
