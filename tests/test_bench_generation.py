"""bench/generation.py at toy size, its goals, and the GGUF files that it writes for llama.cpp."""

from pathlib import Path

import pytest
import torch

from gptlib.generation import generate

BENCH = Path(__file__).resolve().parents[1] / "bench"
SHAPE = {"vocab_size": 96, "context_length": 64, "emb_dim": 64, "n_heads": 2, "qkv_bias": True, "weight_tying": True}


class Here:
    """Stands for a process of its own."""

    def __init__(self, kind, *arguments):
        self.peer = kind(*arguments)

    def call(self, name, *arguments):
        return getattr(self.peer, name)(*arguments)

    def end(self):
        pass


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    import generation

    return generation


@pytest.fixture
def llama_cpp(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    import _llama_cpp

    return _llama_cpp


def test_it_runs_at_toy_size_without_the_peers_that_may_be_missing(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench, "Process", Here)
    monkeypatch.setattr(bench, "installed", lambda *_: False)
    monkeypatch.setattr(bench, "machine", lambda: {"read_GB_s": 10.0})
    monkeypatch.setattr(bench, "describe", lambda _: "some machine")
    tables, measure = {}, bench.measure
    monkeypatch.setattr(bench, "measure", lambda *arguments: tables.update(measure(*arguments)) or tables)
    bench.main("--size toy --tokens 4 --batches 1 2 --rounds 2 --tables writing reading places doors".split())

    assert [row["case"] for row in tables["writing"]] == [
        f"{precision}, batch {batch}" for batch in (1, 2) for precision in bench.PRECISIONS
    ]
    for row in tables["writing"] + tables["reading"]:
        assert row["gptlib tok/s"] > 0
        assert (row["x transformers"] is None) == ("int8" in str(row))  # which transformers has no way to
    assert [row["position"] for row in tables["places"]] == [
        "fp32, gptlib", "fp32, transformers", "bf16, gptlib", "bf16, transformers", "int8, gptlib"
    ]  # fmt: skip
    doors = {precision: [r for r in tables["doors"] if r["precision"] == precision] for precision in bench.PRECISIONS}
    assert [len(rows) for rows in doors.values()] == [9, 8, 8]  # an adapter is merged in all but fp32
    assert all(max(row["of the fastest"] for row in rows) == 1 for rows in doors.values())
    printed = capsys.readouterr().out
    assert "llama.cpp is not installed and takes no part" in printed
    assert "fp32, batch 1, 4 new tokens: x transformers" in printed
    assert "Not stored" in printed


def test_goals_are_met_or_not_and_what_was_not_measured_is_left_out(bench):
    tables = {
        "writing": [
            {"case": "fp32, batch 1", "new tokens": 128, "x transformers": 2.1, "x llama.cpp": 0.9},
            {"case": "int8, batch 8", "new tokens": 128, "x transformers": None, "x llama.cpp": 1.2},
            {"case": "bf16, batch 1", "new tokens": 128, "x transformers": 1.0},
        ],
        "places": [{"position": "fp32, gptlib", "late / early": 1.1}, {"position": "fp32, llama.cpp"}],
        "doors": [{"door": "slow", "precision": "bf16", "of the fastest": 0.5}],
    }
    assert [(row["goal"], row["met"]) for row in bench.goals(tables)] == [
        ("fp32, batch 1, 128 new tokens: x transformers", "yes"),
        ("fp32, batch 1, 128 new tokens: x llama.cpp", "no"),
        ("int8, batch 8, 128 new tokens: x llama.cpp", "yes"),
        ("fp32, gptlib: position 900 / 50", "yes"),
        ("bf16, the slowest door (slow): of the fastest", "no"),
    ]


def test_the_names_for_llama_cpp_cover_every_weight_once(llama_cpp, make_model):
    for tied in (True, False):
        model = make_model(**SHAPE | {"weight_tying": tied})
        tensors = llama_cpp.named_tensors(model)
        assert sorted(t.data_ptr() for t in tensors.values()) == sorted(p.data_ptr() for p in model.parameters())
        assert ("output.weight" in tensors) != tied


@pytest.mark.parametrize(("kind", "error"), [("F32", 0), ("F16", 2**-11), ("BF16", 2**-8), ("Q8_0", 1 / 127)])
def test_the_gguf_file_holds_the_same_numbers(llama_cpp, make_model, tmp_path, kind, error):
    gguf = pytest.importorskip("gguf", reason="gguf is for the benchmarks only: pip install -r bench/requirements.txt")
    model = make_model(**SHAPE)
    found = gguf.GGUFReader(llama_cpp.write_gguf(model, tmp_path / "model.gguf", kind))
    assert found.fields["gpt2.context_length"].contents() == 64
    tensors = llama_cpp.named_tensors(model)
    assert {tensor.name for tensor in found.tensors} == tensors.keys()
    for tensor in found.tensors:
        wanted = tensors[tensor.name]
        got = torch.tensor(gguf.dequantize(tensor.data, tensor.tensor_type)).view_as(wanted)
        exact = wanted.ndim == 1 or tensor.name == "position_embd.weight"
        torch.testing.assert_close(got, wanted, rtol=0, atol=0 if exact else error * wanted.abs().max().item())


def test_llama_cpp_writes_the_same_tokens(llama_cpp, make_model, tmp_path):
    pytest.importorskip("gguf", reason="gguf is for the benchmarks only: pip install -r bench/requirements.txt")
    pytest.importorskip("xllamacpp", reason="llama.cpp is for the benchmarks only, likewise")
    from gptlib.weights.export import export_to_huggingface

    model = make_model(**SHAPE)
    with pytest.warns(UserWarning, match="tokenizer"):
        export_to_huggingface(model, tmp_path / "hf")
    prompt = [5, 17, 3, 90, 41]
    words = SHAPE["vocab_size"] - 1  # the last id ends a text, which the server was told not to do
    ours = generate(model, torch.tensor([prompt]), 24, temperature=0, vocab_size=words)[0, len(prompt) :].tolist()
    peer = llama_cpp.LlamaCpp(tmp_path / "hf", tmp_path)
    peer.start("F32", 1)
    text = peer.complete(prompt, 24, temperature=0.0)["choices"][0]["text"]
    assert text == "".join(f"t{i}" for i in ours)
    assert peer.writing("bf16", 2, 8) > 0
    assert peer.kind("bf16", "writing", 2) in ("F16", "BF16")
    assert peer.writing("fp16", 1, 8) is None
