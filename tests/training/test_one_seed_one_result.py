"""Ten processes train from one seed, half of them beside a busy process: they all end in the same weights.

The width is one at which trials of kernels and precisions, timed in each process, came to different ends.
"""

import os
import subprocess
import sys

import pytest

TRAIN = """
import hashlib, os, sys
import torch
from gptlib.datasets import create_dataloader
from gptlib.model import GPTModel
from gptlib.training import TrainingConfig, train

os.sched_setaffinity(0, {int(sys.argv[1])})
torch.set_num_threads(1)

def weights():
    torch.manual_seed(0)
    shape = {"vocab_size": 64, "context_length": 64, "emb_dim": 128, "n_heads": 2, "n_layers": 1, "drop_rate": 0.1}
    model = GPTModel(shape)
    ids = torch.randint(64, (4097,), generator=torch.Generator().manual_seed(1))
    options = {"max_steps": 3, "eval_interval": 3, "eval_batches": 1, "precision": "auto", "sample_prompt": None}
    loader = create_dataloader(ids, batch_size=16, context_length=64)
    train(model, loader, config=TrainingConfig(device="cpu", **options), verbose=False)
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())

for _ in range(5):  # each a process of its own, with nothing decided yet
    if (child := os.fork()) == 0:
        print(hashlib.sha256(weights()).hexdigest(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
BUSY = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


def five(core):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    code = [sys.executable, "-c", TRAIN, str(core)]
    done = subprocess.run(code, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are put on one core, as Linux can")
def test_one_seed_is_one_result_however_busy_the_machine_is():
    core = max(os.sched_getaffinity(0))
    alone = five(core)
    with subprocess.Popen([sys.executable, "-c", BUSY, str(core)]) as busy:
        try:
            disturbed = five(core)
        finally:
            busy.kill()
    assert len(alone) == len(disturbed) == 5
    assert len({*alone, *disturbed}) == 1
