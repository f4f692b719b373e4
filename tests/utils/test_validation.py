"""Numbers from configs, recipes and files: what no float and no tensor can hold is refused in a sentence, too."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_helpers import assert_helpful

from gptlib.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from gptlib.generation import check_sampling
from gptlib.lora import LoRAConfig
from gptlib.model import GPTConfig
from gptlib.training import TrainingConfig
from gptlib.utils.validation import LARGEST, is_number, whole_number

HUGE = pytest.param(10**400, id="beyond all floats")
BELOW = pytest.param(-(10**400), id="below all floats")
LONGER = pytest.param(10**5000, id="more digits than Python writes out")


@given(st.integers(-(2**1100), 2**1100) | st.floats())
def test_a_number_is_what_a_float_can_hold(value):
    try:
        finite = math.isfinite(float(value))
    except OverflowError:
        finite = False
    assert is_number(value) == finite


@pytest.mark.parametrize(
    "value", [True, None, "1", b"1", 1j, [1], np.ones(1), Fraction(1, 2), HUGE, BELOW, LONGER, math.nan, -math.inf]
)
def test_what_is_no_number(value):
    assert not is_number(value)


@pytest.mark.parametrize("value", [HUGE, BELOW, LARGEST + 1, 0, True, 2.0, "2", None, math.nan, np.float32(2)])
def test_what_is_no_whole_number_of_at_least_1(value):
    with pytest.raises(ValueError, match="n=") as error:
        whole_number("n", value, 1)
    assert_helpful(error)


@pytest.mark.parametrize("value", [1, LARGEST, np.int64(LARGEST), np.uint8(7)])
def test_what_is_one(value):
    found = whole_number("n", value, 1)
    assert (found, type(found)) == (value, int)


@pytest.mark.parametrize("value", [HUGE, BELOW])
@pytest.mark.parametrize(
    "make",
    [
        lambda value: GPTConfig(drop_rate=value),
        lambda value: GPTConfig(vocab_size=value),
        lambda value: TrainingConfig(learning_rate=value),
        lambda value: TrainingConfig(betas=[0.9, value]),
        lambda value: TrainingConfig(seed=value),
        lambda value: LoRAConfig(alpha=value),
        lambda value: LoRAConfig(rank=value),
        lambda value: check_sampling(1, value, None, None),
        lambda value: check_sampling(1, 1.0, value, None),
        lambda value: check_sampling(1, 1.0, None, value),
    ],
)
def test_every_config_says_it_in_a_sentence(make, value):
    with pytest.raises(ValueError, match=r"=.*0000") as error:
        make(value)
    assert_helpful(error)


@pytest.mark.parametrize("key", ["vocab_size", "n_layers", "drop_rate"])
@pytest.mark.parametrize("value", [HUGE, BELOW, LONGER])
def test_so_does_a_checkpoint(make_model, tmp_path, key, value):
    save_checkpoint(tmp_path / "a.pth", make_model())
    content = torch.load(tmp_path / "a.pth")
    content["config"][key] = value
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "a.pth")
    assert_helpful(error, "a.pth")
