"""Kernels are chosen by what the machine is, or what was stored for it; they can be overruled, and never leak."""

import copy
import json
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptlib.lora import LoRAConfig, add_lora
from gptlib.ops import backend as module
from gptlib.ops.backend import (
    KERNELS,
    LARGE,
    Backend,
    Processor,
    default_backend,
    pin_kernel,
    rule,
    set_backend,
    store_backend,
    stored_backend,
    supported,
    this_processor,
    tuning_file,
    use_backend,
)

OTHER = Backend(fp32="sliced", small_weight=7, blockwise_attention=True, bf16_training_width=96)


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    """A user who has measured nothing."""
    monkeypatch.setenv("GPTLIB_DATA", str(tmp_path))
    module._default.cache_clear()
    yield tmp_path
    module._default.cache_clear()


# the rule

PLAIN = Backend()
AVX2 = Backend(compiled_decoding=LARGE)
FP32_ON_AMD = replace(AVX2, fp32="onednn", fp32_transposed="onednn", fp32_few_rows="sliced")
BF16_BY_AVX = {
    "blockwise_attention": True,
    "decode_attention": True,
    "bf16_training_width": 128,
    "bf16_decoding": True,
}
BF16_BY_AMX = {"bf16_few_rows": "vector", "bf16_training_width": 384, "bf16_decoding": True}


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        ("AuthenticAMD", "avx2", AVX2),  # Zen 3
        ("AuthenticAMD", "avx2 avx512f", FP32_ON_AMD),
        ("AuthenticAMD", "avx2 avx512f avx512_bf16", replace(FP32_ON_AMD, **BF16_BY_AVX)),  # Zen 4 and 5
        ("GenuineIntel", "avx2", AVX2),
        ("GenuineIntel", "avx2 avx512f", AVX2),  # Skylake, Ice Lake
        ("GenuineIntel", "avx2 avx512f avx512_bf16", replace(AVX2, **BF16_BY_AVX)),  # Cooper Lake
        ("GenuineIntel", "avx2 avx512f avx512_bf16 amx_bf16", replace(AVX2, **BF16_BY_AMX)),  # Sapphire Rapids
        ("", "", PLAIN),  # a Mac, Windows
        ("", "asimd bf16", PLAIN),  # ARM
        ("HygonGenuine", "avx2", AVX2),
    ],
)
def test_the_rule_is_a_function_of_vendor_and_instruction_sets(vendor, flags, expected):
    for name in ("one", "another"):
        assert rule(Processor(name, vendor, frozenset(flags.split()))) == expected


def test_without_onednn_and_numba_everything_is_left_to_pytorch():
    amd = Processor("", "AuthenticAMD", frozenset(["avx2", "avx512f", "avx512_bf16", "amx_bf16"]))
    assert rule(amd, onednn=False, numba=False) == PLAIN
    assert rule(amd, onednn=False) == AVX2


def test_the_processor_is_read_from_the_system(monkeypatch):
    if not this_processor().flags:
        pytest.skip("this system does not tell")
    assert this_processor().name
    assert this_processor().vendor or "asimd" in this_processor().flags


def test_a_system_that_does_not_tell_has_a_processor_without_flags(monkeypatch):
    monkeypatch.setattr(module.Path, "is_file", lambda path: False)
    this_processor.cache_clear()
    try:
        assert this_processor().flags == frozenset()
        assert rule(this_processor()) == PLAIN
    finally:
        this_processor.cache_clear()


def test_nothing_is_timed_and_no_environment_is_read_when_the_library_is_imported():
    code = """
import os, sys, time
import torch, numpy, psutil, platformdirs  # theirs may
class Watched(dict):
    def __getattribute__(self, name):
        raise AssertionError("the environment was read")
def clock():
    raise AssertionError("the clock was read")
os.environ, os.getenv, time.perf_counter = Watched(), None, clock
import gptlib.ops.linear, gptlib.ops.attention, gptlib.ops.backend, gptlib.ops.benchmark, gptlib.ops.devices
import gptlib.ops.allocator, gptlib.ops.cross_entropy, gptlib.ops.tuning
from gptlib.ops.backend import rule, this_processor
rule(this_processor())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# the object


def test_a_backend_from_before_compiled_decoding_is_one_without_it():
    content = OTHER.to_dict()
    del content["compiled_decoding"]
    assert Backend.from_dict(content) == OTHER


def test_a_backend_survives_json_pickling_and_copying():
    assert Backend.from_dict(json.loads(json.dumps(OTHER.to_dict()))) == OTHER
    assert pickle.loads(pickle.dumps(OTHER)) == OTHER == copy.deepcopy(OTHER)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"fp32": "plain"},
        PLAIN.to_dict() | {"fp32": "magic"},
        PLAIN.to_dict() | {"fp32": 3},
        PLAIN.to_dict() | {"small_weight": "many"},
        PLAIN.to_dict() | {"bf16_decoding": None},
        PLAIN.to_dict() | {"one_more": 1},
    ],
    ids=str,
)
def test_what_is_no_backend_is_refused(content):
    with pytest.raises(ValueError, match=r"."):
        Backend.from_dict(content)


def test_an_unknown_kernel_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"fp32='magic'.*plain, onednn, sliced, vector"):
        Backend(fp32="magic")
    with pytest.raises(ValueError, match=r"magic"):
        pin_kernel("magic")


@given(
    kernel=st.sampled_from(KERNELS),
    rows=st.integers(1, 5000),
    n_weights=st.integers(1, 10**8),
    transposed=st.booleans(),
)
def test_a_pinned_kernel_multiplies_all_of_float32(kernel, rows, n_weights, transposed):
    assert pin_kernel(kernel).kernel(torch.float32, rows, n_weights, transposed) == kernel
    assert pin_kernel(kernel).kernel(torch.float64, rows, n_weights, transposed) == "plain"


@pytest.mark.parametrize(
    ("dtype", "rows", "n_weights", "transposed", "kernel"),
    [
        (torch.float32, 256, 768 * 768, False, "onednn"),
        (torch.float32, 256, 768 * 768, True, "onednn"),
        (torch.float32, 1, 768 * 768, False, "sliced"),
        (torch.float32, 1, 768 * 768, True, "plain"),  # where the two others take 2 and 16 times as long
        (torch.float32, 2, 768 * 768, False, "sliced"),
        (torch.float32, 2, 768 * 768, True, "onednn"),
        (torch.float32, 3, 768 * 768, False, "onednn"),
        (torch.float32, 1, 128 * 512, False, "plain"),  # small: what starts fastest is fastest
        (torch.float32, 8, 128 * 512, False, "plain"),
        (torch.float32, 32, 128 * 512, False, "onednn"),
        (torch.bfloat16, 1, 768 * 768, False, "plain"),
        (torch.bfloat16, 256, 768 * 768, False, "plain"),
    ],
)
def test_the_kernel_goes_by_rows_size_and_layout(dtype, rows, n_weights, transposed, kernel):
    zen_5 = rule(Processor("", "AuthenticAMD", frozenset(["avx512f", "avx512_bf16"])))
    assert zen_5.kernel(dtype, rows, n_weights, transposed) == kernel


def test_a_kernel_that_this_pytorch_lacks_is_replaced(monkeypatch):
    backend = Backend(fp32="onednn", fp32_few_rows="sliced")
    monkeypatch.setattr(module, "has_onednn", lambda: True)
    assert supported(backend) == backend
    monkeypatch.setattr(module, "has_onednn", lambda: False)
    assert supported(backend) == Backend(fp32_few_rows="sliced")


# what is stored


def test_without_a_measurement_the_rule_holds():
    assert default_backend() == rule(this_processor(), module.has_onednn())


def test_a_measurement_is_used_with_its_number_of_threads_only():
    threads = torch.get_num_threads()
    store_backend(OTHER)
    assert default_backend() == OTHER
    try:
        torch.set_num_threads(threads + 1)
        assert default_backend() == rule(this_processor(), module.has_onednn())
        store_backend(PLAIN)
        assert default_backend() == PLAIN
    finally:
        torch.set_num_threads(threads)
    assert default_backend() == OTHER  # the other entry is still there
    assert len(json.loads(tuning_file().read_text())) == 2
    store_backend(PLAIN)
    assert default_backend() == PLAIN
    assert len(json.loads(tuning_file().read_text())) == 2


@pytest.mark.parametrize("changed", [{"processor": "Abacus"}, {"torch": "1.0"}, {"threads": 10**6}], ids=str)
def test_a_measurement_of_another_machine_or_version_is_left_alone(changed):
    store_backend(OTHER)
    entries = json.loads(tuning_file().read_text())
    tuning_file().write_text(json.dumps([entries[0] | changed]))
    module._default.cache_clear()
    assert stored_backend(torch.get_num_threads()) is None
    assert default_backend() == rule(this_processor(), module.has_onednn())


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"{}", b"[1]", b'["backend"]', b"[{}]"])
def test_a_damaged_measurement_is_as_good_as_none_and_the_next_one_replaces_it(content):
    tuning_file().write_bytes(content)
    assert default_backend() == rule(this_processor(), module.has_onednn())
    with pytest.raises(ValueError, match="tuning"):
        stored_backend(1)
    store_backend(OTHER)
    assert default_backend() == OTHER


def test_a_stored_backend_with_an_unknown_field_is_as_good_as_none():
    store_backend(OTHER)
    entries = json.loads(tuning_file().read_text())
    entries[0]["backend"]["warp"] = 9
    tuning_file().write_text(json.dumps(entries))
    module._default.cache_clear()
    assert default_backend() == rule(this_processor(), module.has_onednn())


# on a model


def backends(model):
    return [m.backend for m in model.modules() if hasattr(m, "backend")]


def test_a_model_uses_a_backend_for_a_while_and_another_model_never(make_model):
    model, other = make_model(), make_model()
    add_lora(model, LoRAConfig(target_modules=("c_attn",)))
    assert len(backends(model)) == 2 * (4 + 1 + 1) + 1  # layers, attention and an adapter a block; the head
    set_backend(model, PLAIN)
    with use_backend(model, OTHER):
        assert set(backends(model)) == {OTHER}
        assert set(backends(copy.deepcopy(model))) == {OTHER}
        assert set(backends(other)) == {None}
    assert set(backends(model)) == {PLAIN}
    with pytest.raises(KeyError), use_backend(model, OTHER):
        raise KeyError
    assert set(backends(model)) == {PLAIN}


def test_the_backend_of_a_model_decides(make_model, monkeypatch):
    from gptlib.ops import linear

    used = []
    watched = {name: lambda *a, k=k, name=name: used.append(name) or k(*a) for name, k in linear.MATMULS.items()}
    monkeypatch.setattr(linear, "MATMULS", watched)
    model, ids = make_model(), torch.zeros(1, 4, dtype=torch.long)
    with torch.no_grad():
        expected = model(ids)
        set_backend(model, pin_kernel("sliced"))
        torch.testing.assert_close(model(ids), expected)
        assert used == ["sliced"] * 9
        set_backend(model, None)
        model(ids)
    assert len(used) == 9  # of so small a model all else is plain
