"""Where to compute, and in which precision: what is chosen, what it is measured by, and what is refused."""

import time

import pytest
import torch
from training_helpers import assert_helpful

from gptlib.ops.backend import Backend
from gptlib.ops.devices import autocast, peak_flops, pick_device, pick_precision

CPU = torch.device("cpu")


def pretend(monkeypatch, cuda=0, mps=False):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(0, False, "cpu"), (0, True, "mps"), (1, False, "cuda"), (2, True, "cuda")]
)
def test_auto_takes_the_fastest_there_is(monkeypatch, cuda, mps, chosen):
    pretend(monkeypatch, cuda, mps)
    assert pick_device().type == chosen


def test_a_name_is_taken_at_its_word(monkeypatch):
    pretend(monkeypatch, cuda=2, mps=True)
    assert pick_device("cpu") == CPU
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    assert pick_device("mps").type == "mps"


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "meta", "xpu", "gpu", "", "CPU!", "cuda:x", "tpu:0"])
def test_a_device_that_is_not_there_is_refused_with_one_that_is(monkeypatch, name):
    pretend(monkeypatch)
    with pytest.raises(ValueError, match="give 'auto'") as error:
        pick_device(name)
    assert_helpful(error, repr(name), "'cpu'")


def test_a_gpu_of_too_high_a_number_is_refused(monkeypatch):
    pretend(monkeypatch, cuda=2)
    with pytest.raises(ValueError, match="cuda:2") as error:
        pick_device("cuda:2")
    assert_helpful(error, "not on this machine", "give 'auto'")


@pytest.mark.parametrize("precision", ["fp8", "float32", "", "BF16", None, 16])
def test_an_unknown_precision_is_refused_with_those_there_are(precision):
    with pytest.raises(ValueError, match="is unknown") as error:
        pick_precision(precision, CPU, 64, 64)
    assert_helpful(error, repr(precision), "give one of auto, fp32, bf16, fp16")


def test_what_was_asked_is_taken():
    for precision in ("fp32", "bf16", "fp16"):
        choice = pick_precision(precision, CPU, 64, 64)
        assert (choice.precision, str(choice), choice.automatic) == (precision, f"{precision}, as asked", False)


@pytest.mark.parametrize(
    ("width", "emb_dim", "tokens", "precision"),
    [
        (None, 768, 4096, "fp32"),
        (128, 768, 4096, "bf16"),
        (128, 128, 512, "bf16"),
        (128, 127, 4096, "fp32"),
        (384, 256, 4096, "fp32"),
        (128, 768, 511, "fp32"),
    ],
)
def test_auto_on_a_cpu_goes_by_the_backend_and_the_size(width, emb_dim, tokens, precision):
    choice = pick_precision("auto", CPU, emb_dim, tokens, Backend(bf16_training_width=width))
    assert choice.precision == precision
    assert choice.automatic
    assert str(choice).startswith(f"{precision}, ")


def test_auto_times_nothing(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", lambda: pytest.fail("measured"))
    assert pick_precision("auto", CPU, 768, 4096).precision in ("fp32", "bf16")


@pytest.mark.parametrize(("has_bf16", "chosen"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_a_gpu_goes_by_what_it_computes_in(monkeypatch, has_bf16, chosen):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16 or including_emulation
    )
    assert pick_precision("auto", torch.device("cuda"), 64, 64).precision == chosen


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_autocast_multiplies_in_the_precision_and_is_off_afterwards(precision, dtype):
    a = torch.ones(4, 4)
    with autocast(CPU, precision):
        assert (a @ a).dtype == dtype
        assert torch.nn.functional.layer_norm(a, (4,)).dtype == torch.float32 or precision != "fp32"
    assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "bf16", "fp32"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12, 19.5e12),
        ("NVIDIA H100 80GB HBM3", 989e12, 67e12),
        ("NVIDIA H200", 989e12, 67e12),
        ("NVIDIA L4", 121e12, 30.3e12),
        ("NVIDIA L40S", 362e12, 91.6e12),
        ("Tesla T4", 65e12, 8.1e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12, 82.6e12),
    ],
)
def test_the_peak_is_that_of_the_gpu_at_hand(monkeypatch, name, bf16, fp32):
    """nanoGPT reckoned its MFU with an A100's peak on every GPU (issue 464)."""
    peak_flops.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(torch.device("cuda"), "bf16") == pytest.approx(bf16)
    assert peak_flops(torch.device("cuda"), "fp32") == pytest.approx(fp32)
    peak_flops.cache_clear()


@pytest.mark.parametrize("name", ["NVIDIA GeForce GTX 1080", "NVIDIA RTX A1000", "NVIDIA L40", "NVIDIA T400 4GB"])
def test_a_gpu_that_nobody_has_looked_up_has_no_peak_rather_than_anothers(monkeypatch, name):
    peak_flops.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(torch.device("cuda"), "bf16") is None
    peak_flops.cache_clear()


def test_the_cpus_peak_is_measured():
    assert 1e6 < peak_flops(CPU, "fp32") < 1e16
