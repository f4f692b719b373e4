"""Fine-tuning is training: the same losses as by hand, resumed bit for bit, ended where validation says so."""

import warnings

import pytest
import torch
from training_helpers import (
    At,
    Died,
    assert_helpful,
    batches,
    config,
    die,
    identical,
    interrupt,
    quietly,
    tiny_model,
    train_loader,
    val_loader,
    weights,
    without_clock,
)

from gptlib.checkpoints import last_path, load_checkpoint
from gptlib.datasets import batches_from
from gptlib.evaluation import evaluate_loss
from gptlib.finetuning import answer, answers, exact_match, finetune
from gptlib.generation import generate_text
from gptlib.instructions import CHAT, Instruction, InstructionDataset, create_instruction_loader
from gptlib.lora import LoRAConfig
from gptlib.model import GPTModel
from gptlib.tokenizers import BPETokenizer

WORDS = "cat fox hen owl sea mill road ferry".split()
ENTRIES = [
    *(Instruction("First?", a, f"{a} {b}", "first") for a in WORDS for b in WORDS if a != b),
    *(Instruction("Again:", a, a, "again") for a in WORDS),
]
TRAINING, HELD_OUT = ENTRIES[::2], ENTRIES[1::2]
TOKENIZER = BPETokenizer.train("User: First? Assistant: Again: " + " ".join(WORDS) * 9, vocab_size=290)
CFG = {"batch_size": 4, "max_steps": 10, "eval_interval": 3, "gradient_accumulation_steps": 2}


pytestmark = pytest.mark.usefixtures("one_thread")


def small_model(seed=0, **changes):
    torch.manual_seed(seed)
    shape = {"vocab_size": TOKENIZER.vocab_size, "context_length": 32, "emb_dim": 32, "n_heads": 2, "n_layers": 1}
    return GPTModel(shape | {"drop_rate": 0.1} | changes)


def tuned(model, cfg=None, entries=TRAINING, held_out=HELD_OUT, **options):
    return finetune(model, TOKENIZER, entries, held_out, cfg or config(**CFG), verbose=False, **options)


def batch_by_hand(entries):
    """(inputs, targets), made character by character of the file format: what is known as -100 is not to be learned."""
    rows = []
    for entry in entries:
        prompt = TOKENIZER.encode(f"User: {entry.instruction} {entry.input}\nAssistant:")
        said = TOKENIZER.encode(f" {entry.output}")
        rows.append(([*prompt, *said], [-100] * (len(prompt) - 1) + [*said, TOKENIZER.eos_id]))
    longest = max(len(inputs) for inputs, _ in rows)
    inputs = [row + [0] * (longest - len(row)) for row, _ in rows]
    targets = [row + [-100] * (longest - len(row)) for _, row in rows]
    return torch.tensor(inputs), torch.tensor(targets)


@pytest.mark.parametrize("lora", [None, LoRAConfig(rank=2)])
def test_it_is_plain_training_on_batches_made_by_hand(lora):
    cfg = config(batch_size=len(TRAINING), seed=5)
    ours, theirs = small_model(drop_rate=0.0), small_model(drop_rate=0.0)
    found = tuned(ours, cfg, lora=lora)
    if lora is not None:
        from gptlib.lora import add_lora

        torch.manual_seed(5)
        add_lora(theirs, lora)
    expected = quietly(theirs, [batch_by_hand(TRAINING)], [batch_by_hand(HELD_OUT)], cfg)
    assert found.step_losses == pytest.approx(expected.step_losses, abs=1e-5)
    assert found["val_loss"] == pytest.approx(expected["val_loss"], abs=1e-4)
    for name, tensor in weights(theirs).items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("lora", [None, LoRAConfig(rank=2, dropout=0.2)])
@pytest.mark.parametrize("n", [5, 17])
def test_died_and_resumed_is_the_same_run(tmp_path, n, lora, packing):
    """Over several epochs with evaluations in them, which must not move the order of the data on."""
    whole = small_model()
    history = tuned(whole, lora=lora, packing=packing, out=tmp_path / "a.pth")
    assert history["epoch"][-1] > 1
    model = small_model()
    At(model, n, die)
    with pytest.raises(Died):
        tuned(model, lora=lora, packing=packing, out=tmp_path / "b.pth")
    last = last_path(tmp_path / "b.pth")
    resumed = load_checkpoint(last).model
    again = tuned(resumed, packing=packing, resume=last)
    assert without_clock(again.rows) == without_clock(history.rows)
    assert again.step_losses == history.step_losses
    assert identical(weights(resumed), weights(whole))


def test_measuring_does_not_move_the_order_of_the_data_on():
    dataset = InstructionDataset(TRAINING, TOKENIZER, 32, "chat")
    plain, measured = (create_instruction_loader(dataset, 4, seed=3) for _ in range(2))
    seen, expected = batches_from(measured), batches_from(plain)
    for i in range(3 * len(measured)):
        if i % 2:
            evaluate_loss(small_model(), measured)
        assert torch.equal(next(seen)["inputs"], next(expected)["inputs"])


def test_the_first_line_says_how_many_tokens_a_step_has_about(capsys):
    """Without padding; entries differ in length, so that no step has just so many."""
    finetune(small_model(), TOKENIZER, TRAINING, (), config(max_steps=1, batch_size=len(TRAINING)))
    real = sum(len(inputs[0]) for inputs, _ in (batch_by_hand([entry]) for entry in TRAINING))
    assert f"1 steps of about {real:,} tokens." in capsys.readouterr().out


def test_another_seed_is_another_order():
    def losses(seed):
        return tuned(small_model(drop_rate=0.0), config(**CFG, seed=seed)).step_losses

    assert losses(1) == losses(1) != losses(2)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="no entry to learn from; give at least one"):
        tuned(small_model(), entries=[])


def test_what_does_not_fit_is_said(capsys):
    long = Instruction("First?", "cat", "fox " * 40)
    finetune(small_model(), TOKENIZER, [*TRAINING, long], (), config(max_steps=1, batch_size=4))
    assert f"1 of {len(TRAINING) + 1} entries skipped" in capsys.readouterr().out


def test_fewer_entries_than_a_batch_are_one_batch():
    history = tuned(small_model(), config(batch_size=1000, epochs=2))
    assert len(history.step_losses) == 2


# Early stopping.


def overfitting(**changes):
    """Options, and loaders of noise, so that the validation loss rises sooner or later."""
    cfg = config(max_steps=60, eval_interval=5, eval_batches=None, learning_rate=3e-2, **changes)
    return batches(3), batches(2, seed=9), cfg


def stop_by_hand(losses, patience):
    """Number of evaluations until `patience` in a row have not been better than the best before them."""
    best, waited = float("inf"), 0
    for n, loss in enumerate(losses, start=1):
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == patience:
            return n
    return len(losses)


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_the_run_ends_at_the_evaluation_at_which_patience_is_at_its_end(tmp_path, capsys, patience):
    never = quietly(tiny_model(), *overfitting())
    rows = stop_by_hand(never["val_loss"], patience)
    assert rows < len(never)  # else there were nothing to see
    history = quietly(tiny_model(), *overfitting(patience=patience), out=tmp_path / "a.pth")
    assert without_clock(history.rows) == without_clock(never.rows[:rows])
    assert not history.interrupted
    best = load_checkpoint(tmp_path / "a.pth").model
    assert history.best == history.rows[rows - 1 - patience]
    last = load_checkpoint(last_path(tmp_path / "a.pth"))
    assert last.training["step"] == history.rows[-1]["step"]
    assert not identical(weights(best), weights(last.model))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("action", [die, interrupt])
def test_a_resumed_run_stops_at_the_same_step(tmp_path, share, action):
    whole = tiny_model()
    history = quietly(whole, *overfitting(patience=3), out=tmp_path / "a.pth")
    model, n_steps = tiny_model(), len(history.step_losses)
    assert 10 < n_steps < 60
    At(model, round(share * n_steps), action)
    if action is die:
        with pytest.raises(Died):
            quietly(model, *overfitting(patience=3), out=tmp_path / "b.pth")
    else:
        quietly(model, *overfitting(patience=3), out=tmp_path / "b.pth")
    last = last_path(tmp_path / "b.pth")
    resumed = tiny_model(1)
    again = quietly(resumed, *overfitting(patience=3), resume=last)
    assert without_clock(again.rows) == without_clock(history.rows)
    assert identical(weights(resumed), weights(whole))


def test_a_run_that_ended_early_stays_ended_and_goes_on_with_more_patience(tmp_path):
    ended = quietly(tiny_model(), *overfitting(patience=1), out=tmp_path / "a.pth")
    last = last_path(tmp_path / "a.pth")
    again = quietly(tiny_model(), *overfitting(patience=1), resume=last)
    assert again.step_losses == ended.step_losses
    assert not again.interrupted
    longer = quietly(tiny_model(), *overfitting(patience=2), resume=last)
    whole = quietly(tiny_model(), *overfitting(patience=2))
    assert without_clock(longer.rows) == without_clock(whole.rows)


def test_patience_needs_a_validation_loss():
    with pytest.raises(ValueError, match=r"patience") as error:
        quietly(tiny_model(), train_loader(), None, config(patience=2))
    assert_helpful(error, "patience=2", "val_loader")
    for patience in (0, -1, 1.5, True, "3"):
        with pytest.raises(ValueError, match=r"patience") as error:
            config(patience=patience)
        assert_helpful(error, f"patience={patience!r}")


def test_while_it_gets_better_patience_changes_nothing():
    cfg = {"max_steps": 8, "eval_interval": 2, "learning_rate": 1e-3}
    runs = [quietly(tiny_model(), train_loader(), val_loader(), config(**cfg, patience=p)) for p in (None, 1)]
    assert without_clock(runs[0].rows) == without_clock(runs[1].rows)


# Answers.


@pytest.fixture(scope="module")
def learned(one_thread):
    model = small_model(drop_rate=0.0)
    tuned(model, config(batch_size=16, max_steps=150, eval_interval=150, learning_rate=5e-3))
    return model.eval()


def test_a_model_learns_its_entries_and_the_score_says_so(learned):
    before, after = (exact_match(model, TOKENIZER, TRAINING) for model in (small_model(), learned))
    assert before == {"first": 0.0, "again": 0.0}
    assert min(after.values()) > 0.8
    assert answer(learned, TOKENIZER, TRAINING[0]) == TRAINING[0].output


def test_in_batches_each_is_answered_as_if_alone(learned):
    alone = [
        generate_text(learned, TOKENIZER, CHAT.prompt(entry), 5, temperature=0)[len(CHAT.prompt(entry)) :].strip()
        for entry in ENTRIES
    ]
    assert answers(learned, TOKENIZER, ENTRIES, max_new_tokens=5, batch_size=7) == alone
    assert answers(learned, TOKENIZER, ENTRIES[::-1], max_new_tokens=5, batch_size=50) == alone[::-1]
    assert answers(learned, TOKENIZER, []) == []


def test_the_score_is_counted_by_task_and_what_cannot_be_answered_is_wrong(learned, monkeypatch):
    said = answers(learned, TOKENIZER, HELD_OUT, max_new_tokens=8)
    for task in ("first", "again"):
        of_task = [text == entry.output for text, entry in zip(said, HELD_OUT, strict=True) if entry.task == task]
        assert exact_match(learned, TOKENIZER, HELD_OUT)[task] == sum(of_task) / len(of_task)
    right = TRAINING[0]
    endless = Instruction("First? " * 40, right.output, task=right.task)
    assert exact_match(learned, TOKENIZER, [right, endless]) == {"first": 0.5}
    assert exact_match(learned, TOKENIZER, [endless]) == {"first": 0.0}
    wrong = Instruction(right.instruction, right.output + " and", right.input)  # a part of the answer is not enough
    assert exact_match(learned, TOKENIZER, [wrong]) == {"": 0.0}


def test_an_answer_ends_where_the_context_does_whatever_else_is_asked(learned):
    """A prompt that leaves little room shortens no other's answer, and nothing slides out of sight."""
    untaught = small_model()  # it never ends by itself
    long = "First? cat cat cat cat cat cat"
    room = 32 - len(TOKENIZER.encode(CHAT.prompt(Instruction(long, ""))))
    assert 0 < room < 12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both = answers(untaught, TOKENIZER, [long, "Again: cat"], max_new_tokens=12)
        assert both == [answer(untaught, TOKENIZER, long, max_new_tokens=room), *both[1:]]
        assert both[1] == answer(untaught, TOKENIZER, "Again: cat", max_new_tokens=12)


def test_drawn_answers_are_those_of_the_seed(learned):
    hot = {"temperature": 5.0, "max_new_tokens": 6}
    said = [answer(learned, TOKENIZER, "Again: cat", seed=seed, **hot) for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]


def test_what_has_no_answer_is_refused():
    model = small_model()
    with pytest.raises(ValueError, match="Prompt 2") as error:
        answers(model, TOKENIZER, ["Again: cat", "Again: " * 30])
    assert_helpful(error, "32")
    with pytest.raises(ValueError, match="batch_size"):
        answers(model, TOKENIZER, ["Again: cat"], batch_size=0)
    with pytest.raises(ValueError, match="max_new_tokens"):
        answers(model, TOKENIZER, ["Again: cat"], max_new_tokens=-1)
    with pytest.raises(ValueError, match="template"):
        answer(model, TOKENIZER, "Again: cat", "none")
