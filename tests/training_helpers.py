"""What the tests of training share: a tiny run, its comparison with another one, and processes that get killed."""

import multiprocessing
import os
import re
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset
from tqdm.auto import tqdm

from gptlib.checkpoints import last_path
from gptlib.datasets import create_dataloader
from gptlib.model import GPTModel
from gptlib.tokenizers import CharTokenizer
from gptlib.training import TrainingConfig, train
from gptlib.training.resume import load_training_state

VOCAB = 23
SHAPE = {"vocab_size": VOCAB, "context_length": 16, "emb_dim": 32, "n_heads": 2, "n_layers": 1, "drop_rate": 0.0}
CHARACTERS = CharTokenizer.train("abcdefghijklmnopqrstuv\n")  # 23 of them
MEASURED_TIME = ("tokens_per_second", "mfu", "seconds")
TYPES_OF_REMEDY = r"\b(use|update|train|give|check|choose|resume|start|free|make|pass|lower|encode)\b"


def tiny_model(seed=0, **changes):
    torch.manual_seed(seed)
    return GPTModel(SHAPE | changes)


def tokens(n=0, seed=0, windows=10):
    """Random walks, which a model can learn a little of; n tokens, or enough for that many windows."""
    steps = np.random.default_rng(seed).integers(-1, 3, n or windows * SHAPE["context_length"] + 1)
    return np.cumsum(steps) % VOCAB


def train_loader(windows=10, batch_size=2, seed=0, **options):
    return create_dataloader(tokens(windows=windows), batch_size=batch_size, context_length=16, seed=seed, **options)


def val_loader(windows=4):
    return create_dataloader(tokens(seed=7, windows=windows), batch_size=2, context_length=16, shuffle=False)


def batches(n, batch_size=2, seed=0, length=8):
    """A plain list as loader."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCAB, (n, batch_size, length + 1), generator=generator)
    return [(row[:, :-1].contiguous(), row[:, 1:].contiguous()) for row in ids]


class Unknowing(IterableDataset):
    """A stream that has no length."""

    def __iter__(self):
        return iter(batches(3))


class Passes:
    """Neither length nor anything else but passes; counts them."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        yield from batches(3)


def config(**changes):
    options = {"max_steps": 6, "learning_rate": 1e-2, "warmup_steps": 2, "eval_interval": 3, "eval_batches": 2}
    options |= {"precision": "fp32", "sample_prompt": None, "device": "cpu"}
    if "epochs" in changes:
        del options["max_steps"]
    return TrainingConfig(**options | changes)


def overfitting():
    """A run whose validation loss falls and then rises: a large step size, and validation on quite another text."""
    other = [(i.flip(1).contiguous(), t.flip(1).contiguous()) for i, t in batches(2, seed=5)]
    return batches(3), other, config(max_steps=12, eval_interval=2, learning_rate=0.02)


def never(*args):
    pytest.fail("a step was taken")


def quietly(model, loader=None, val=None, cfg=None, **options):
    """train() without its progress bar, on the tiny text where no other is given."""
    loader = train_loader() if loader is None else loader
    return train(model, loader, val, cfg or config(), verbose=False, **options)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def identical(a, b):
    """Whether two state dicts hold the same bits."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def without_clock(rows):
    """The rows of a history, without the columns that no two runs have in common."""
    return [{key: value for key, value in row.items() if key not in MEASURED_TIME} for row in rows]


def files_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def temporary_files(folder):
    return [path for path in Path(folder).rglob("*") if path.name.endswith(".tmp")]


def assert_helpful(error, *fragments):
    """One line that reads like a sentence, holds every fragment and says what to do."""
    text = str(error.value if hasattr(error, "value") else error)
    assert "\n" not in text, text
    assert len(text) < 700, f"{len(text)} characters: {text[:200]} ..."
    assert text.endswith("."), text
    for fragment in fragments:
        assert str(fragment) in text, f"{fragment!r} is not in: {text}"
    assert re.search(TYPES_OF_REMEDY, text, re.IGNORECASE), f"no remedy in: {text}"


class At:
    """A forward hook that does something in the n-th training forward pass of a model, at the very middle of a step."""

    def __init__(self, model, n, action):
        self.n, self.action, self.seen = n, action, 0
        self.handle = model.register_forward_hook(self)

    def __call__(self, model, inputs, outputs):
        if model.training:
            self.seen += 1
            if self.seen == self.n:
                self.action()


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


class Died(BaseException):
    """Stands for the end of the process in tests that stay in one: nothing but the files is left."""


def die():
    raise Died


# Child processes. A fork server imports PyTorch once, so that a child starts in no time.


def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gptlib.training", "torch._dynamo", "training_helpers"])  # AdamW needs _dynamo
    return context


@contextmanager
def child(target, *arguments):
    """A process that runs target(connection, *arguments), and the other end of the connection; dead when it ends."""
    context = processes()
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        if process.is_alive():
            process.kill()
        process.join()
        ours.close()


def answer_of(target, *arguments, timeout=60):
    """What target(connection, *arguments) sends from a process of its own."""
    with child(target, *arguments) as (process, connection):
        assert connection.poll(timeout), "the child process does not answer"
        answer = connection.recv()
        process.join(timeout)
        assert process.exitcode == 0
        return answer


# Runs that get killed.

RUN = {"max_steps": 20, "gradient_accumulation_steps": 2, "eval_interval": 4, "learning_rate": 5e-3}


def killable_run(connection, folder, seed, at=None, emb_dim=32, hold=None):
    """Start the run of `folder`, or resume it where it was killed, and report each step; die inside a write if asked.

    at: (n, position, suffix): in the n-th writing of a file whose name ends so, after so many bytes, or at "fsync",
    "replace" or "renamed". hold: the step at which to wait for the end, at the latest behind the last one.
    """
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own is shared between processes, and a killed one never gives it back
    import gptlib.training.trainer as training

    out = Path(folder) / "gpt.pth"
    last = last_path(out)
    step = training.Trainer.training_step

    def reporting_step(run, batches):
        connection.send(("step", run.step))
        if run.step == hold:
            connection.recv()
        return step(run, batches)

    training.Trainer.training_step = reporting_step
    if at is not None:
        die_inside_a_write(connection, *at)
    model = tiny_model(seed, drop_rate=0.2, emb_dim=emb_dim)
    loader = train_loader(windows=15, batch_size=2, seed=seed)  # 7 batches an epoch: steps lie across its end
    resume = last if last.exists() else None
    connection.send(("resumed from", load_training_state(last)["training"]["step"] if resume else None))
    quietly(model, loader, val_loader(), config(seed=seed, **RUN), out=out, resume=resume)
    if hold is not None:
        connection.recv()
    connection.send(("finished", None))
    connection.close()


def die_inside_a_write(connection, nth, position, suffix=""):
    """Let the nth file with that suffix that this process writes be its last: SIGKILL there."""
    import gptlib.checkpoints.file
    import gptlib.training.history
    import gptlib.utils.files

    state = {"files": 0, "name": "", "counts": False}
    write_atomically, fsync, replace = gptlib.utils.files.write_atomically, os.fsync, Path.replace

    def end(where):
        connection.send(("inside", f"{state['name']} {where}"))
        os.kill(os.getpid(), signal.SIGKILL)

    def chosen():
        return state["counts"] and state["files"] == nth + 1

    class Breaking:
        """The file, until so many bytes are written."""

        def __init__(self, file):
            self.file, self.written = file, 0

        def write(self, data):
            size = len(data.encode()) if isinstance(data, str) else memoryview(data).nbytes
            if chosen() and isinstance(position, int) and self.written + size > position:
                part = (
                    data[: position - self.written] if isinstance(data, str) else bytes(data)[: position - self.written]
                )
                self.file.write(part)
                self.file.flush()
                end(f"after {position} bytes")
            self.written += size
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    @contextmanager
    def breaking(path, *mode):
        counts = Path(path).name.endswith(suffix)
        state.update(files=state["files"] + counts, name=Path(path).name, counts=counts)
        with write_atomically(path, *mode) as file:
            yield Breaking(file)

    def breaking_fsync(descriptor):
        if chosen() and (position == "fsync" or isinstance(position, int)):  # the file had fewer bytes
            end("at fsync")
        fsync(descriptor)

    def breaking_replace(path, target):
        if chosen() and position == "replace":
            end("before the renaming")
        result = replace(path, target)
        if chosen() and position == "renamed":
            end("after the renaming")
        return result

    gptlib.checkpoints.file.write_atomically = gptlib.training.history.write_atomically = breaking
    os.fsync, Path.replace = breaking_fsync, breaking_replace


def run_and_kill(folder, seed, rng, inside, emb_dim=32, early=False):
    """Kill one child with SIGKILL: inside the writing of a checkpoint, or at any moment of any step; what happened.

    "finished" is among the keys where the run was over before the blow fell, which it never is with `early`.
    """
    at = None
    if inside:
        position = rng.choice(["bytes"] * 5 + ["fsync", "replace", "renamed"])
        position = rng.randrange(60_000 * (emb_dim // 32) ** 2) if position == "bytes" else position
        at = (rng.randrange(2 if early else 8), position, ".pth")
    kill_step, seen = rng.randrange(6 if early else RUN["max_steps"]), {"inside": ""}
    with child(killable_run, str(folder), seed, at, emb_dim, None if inside else kill_step + 2) as (
        process,
        connection,
    ):
        while True:
            try:
                what, value = connection.recv()
            except EOFError:  # it is dead, or done
                break
            seen[what] = value
            if what == "step" and not inside and value >= kill_step:
                connection.poll(rng.random() * 0.02)  # somewhere in the step, or in the evaluation behind it
                process.kill()
        process.join()
    seen["exit code"] = process.exitcode
    return seen


def finish(folder, seed, emb_dim=32):
    """Resume (or start) the run of the folder and let it end."""
    with child(killable_run, str(folder), seed, None, emb_dim) as (process, connection):
        seen = {}
        while "finished" not in seen:
            what, value = connection.recv()
            seen[what] = value
        process.join()
    return seen


def outcome(folder):
    """All that a finished run has left, but for the clock: weights, best weights, optimizer, random state, history."""
    content = torch.load(Path(folder) / "gpt.last.pth", weights_only=True)
    state = content["training"]
    csv = (Path(folder) / "gpt.csv").read_text().splitlines()
    return {
        "weights": content["model"],
        "best": torch.load(Path(folder) / "gpt.pth", weights_only=True)["model"],
        "optimizer": state["optimizer"]["state"],
        "rng": state["rng"]["cpu"],
        "step": state["step"],
        "step losses": state["history"]["step_losses"],
        "rows": without_clock(state["history"]["rows"]),
        "csv": [line.split(",")[:7] for line in csv],
    }


def differences(a, b):
    """The names of what is not the same, bit for bit, in two outcomes."""
    return [name for name in a if not _same(a[name], b[name])]


def _same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return a == b
