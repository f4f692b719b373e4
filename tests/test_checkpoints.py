"""One file for config, weights and tokenizer: what comes back, and what is said of files that are none of ours."""

import os
import pickle
import zipfile
from dataclasses import asdict, dataclass
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_helpers import (
    CHARACTERS,
    SHAPE,
    answer_of,
    assert_helpful,
    files_in,
    identical,
    tiny_model,
    tokens,
    weights,
)

from gptlib.checkpoints import CheckpointError, best_path, find_checkpoint, last_path, load_checkpoint, save_checkpoint
from gptlib.generation import generate_text
from gptlib.model.architectures import ARCHITECTURES
from gptlib.tokenizers import BPETokenizer, CharTokenizer, GPT2Tokenizer, SentencePieceTokenizer, WordTokenizer
from gptlib.training.optim import create_optimizer
from gptlib.training.resume import load_training_state
from gptlib.training.run_files import check_room, run_files, set_aside

TEXT = "the owl and the fox sat by the old mill, and the mill stood still; " * 20


# What is written comes back.


def tokenizer_of(name):
    if name == "gpt2":
        return GPT2Tokenizer()
    if name == "sentencepiece":
        return SentencePieceTokenizer.train(TEXT, vocab_size=280)
    if name == "bpe":
        return BPETokenizer.train(TEXT, vocab_size=280)
    return {"word": WordTokenizer, "char": CharTokenizer}[name].train(TEXT)


@pytest.mark.parametrize("name", ["word", "char", "bpe", "sentencepiece", "gpt2"])
def test_a_model_comes_back_with_its_tokenizer_and_writes_the_same_text(tmp_path, name):
    tokenizer = tokenizer_of(name)
    model = tiny_model(vocab_size=tokenizer.vocab_size, emb_dim=16).eval()
    save_checkpoint(tmp_path / "gpt.pth", model, tokenizer)
    back = load_checkpoint(tmp_path / "gpt.pth")
    assert identical(weights(back.model), weights(model))
    assert back.tokenizer.encode(TEXT) == tokenizer.encode(TEXT)
    assert back.tokenizer.decode(tokenizer.encode(TEXT)) == tokenizer.decode(tokenizer.encode(TEXT))
    assert back.training is None
    written = [generate_text(m, t, "the", 8, seed=1) for m, t in ((model, tokenizer), (back.model, back.tokenizer))]
    assert written[0] == written[1]


VARIANTS = {
    "plain": {},
    "tied": {"weight_tying": True},
    "sinusoidal": {"positions": "sinusoidal"},
    "tied, sinusoidal, bias": {"weight_tying": True, "positions": "sinusoidal", "qkv_bias": True, "n_layers": 3},
    "dropout": {"drop_rate": 0.3},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_kind_of_weights_comes_back_bit_for_bit(tmp_path, changes, dtype):
    model = tiny_model(**changes).to(dtype).eval()
    save_checkpoint(tmp_path / "gpt.pth", model)
    back = load_checkpoint(tmp_path / "gpt.pth").model
    assert back.config == model.config
    assert not back.training
    assert all(p.requires_grad and p.dtype == dtype and p.is_leaf for p in back.parameters())
    assert identical(weights(back), weights(model))
    ids = torch.tensor(tokens(16))[None]
    assert torch.equal(back(ids), model(ids))


def test_tied_weights_are_one_parameter_after_loading_and_one_matrix_in_the_file(tmp_path):
    sizes = {}
    for tied in (True, False):
        save_checkpoint(tmp_path / "gpt.pth", tiny_model(vocab_size=2000, weight_tying=tied))
        sizes[tied] = (tmp_path / "gpt.pth").stat().st_size
        model = load_checkpoint(tmp_path / "gpt.pth").model
        assert (model.output_head.weight is model.token_embedding.weight) == tied
        optimizer = create_optimizer(model, 1e-3, 0.1, (0.9, 0.95))
        assert sum(p.numel() for g in optimizer.param_groups for p in g["params"]) == model.parameter_count()
    matrix = 2000 * SHAPE["emb_dim"] * 4
    assert sizes[False] - sizes[True] == pytest.approx(matrix, rel=0.02)


def test_a_tied_file_that_spells_the_head_out_is_read_too(saved, tmp_path):
    model = tiny_model(weight_tying=True)
    path = tmp_path / "gpt.pth"
    torch.save({"format": 1, "config": model.config.to_dict(), "model": model.state_dict(), "tokenizer": None}, path)
    back = load_checkpoint(path).model
    assert back.output_head.weight is back.token_embedding.weight


def test_a_compiled_model_is_saved_as_the_plain_one(tmp_path):
    """nanoGPT #325: names that began with _orig_mod."""
    model = tiny_model()
    save_checkpoint(tmp_path / "gpt.pth", torch.compile(model, backend="eager"), CHARACTERS)
    assert not any("_orig_mod" in name for name in torch.load(tmp_path / "gpt.pth", weights_only=True)["model"])
    assert identical(weights(load_checkpoint(tmp_path / "gpt.pth").model), weights(model))


def test_a_loaded_model_is_trained_in_place_parameter_by_parameter(tmp_path):
    """Nothing of it shares memory with anything else of it, so that a step changes each parameter once."""
    model = tiny_model()
    content = {"format": 1, "config": model.config.to_dict(), "tokenizer": None}
    state = model.state_dict()
    state["output_head.weight"] = state["token_embedding.weight"]  # one storage in the file, two parameters here
    state["final_norm.weight"] = torch.ones(500)[:1].expand(SHAPE["emb_dim"])  # all elements are one
    torch.save(content | {"model": state}, tmp_path / "gpt.pth")
    back = load_checkpoint(tmp_path / "gpt.pth").model
    assert back.output_head.weight.data_ptr() != back.token_embedding.weight.data_ptr()
    with torch.no_grad():
        back.final_norm.weight[0] = 7.0
    assert back.final_norm.weight[1] == 1.0
    with torch.no_grad():
        for parameter in back.parameters():
            parameter.add_(1.0)


def test_what_is_loaded_does_not_hang_on_the_file(tmp_path):
    """It may be replaced or deleted while the model lives."""
    path, model = tmp_path / "gpt.pth", tiny_model()
    save_checkpoint(path, model)
    back = load_checkpoint(path).model
    path.write_bytes(bytes(path.stat().st_size))
    path.unlink()
    assert identical(weights(back), weights(model))


# Files that are damaged, foreign or hostile. One line each, which names the file and what to do.


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A good file, as bytes."""
    path = tmp_path_factory.mktemp("saved") / "gpt.pth"
    save_checkpoint(path, tiny_model(), CHARACTERS)
    return path.read_bytes()


def assert_refused(path, *fragments):
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert_helpful(error, path, *fragments)


@pytest.mark.parametrize("percent", range(0, 100, 5))
def test_a_truncated_file_is_refused_wherever_it_breaks_off(saved, tmp_path, percent):
    path = tmp_path / "gpt.pth"
    path.write_bytes(saved[: len(saved) * percent // 100])
    assert_refused(path, "truncated")


@pytest.mark.parametrize("cut", [1, 2, 21, 22, 23, 100])
def test_a_file_that_lacks_its_last_bytes_is_refused(saved, tmp_path, cut):
    path = tmp_path / "gpt.pth"
    path.write_bytes(saved[:-cut])
    assert_refused(path)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_harmless_never_another_model(saved, tmp_path_factory, place, bit):
    """A zip's padding may change; its weights may not, not even by one bit."""
    path = tmp_path_factory.getbasetemp() / "flipped.pth"
    damaged = bytearray(saved)
    damaged[int(place * len(saved))] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        back = load_checkpoint(path)
    except CheckpointError as error:
        assert_helpful(error, path)
        return
    assert identical(weights(back.model), weights(tiny_model()))
    assert back.tokenizer.to_dict() == CHARACTERS.to_dict()


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def foreign(path, kind):
    """Write a file of another kind to `path`."""
    bomb = Bomb(path.with_name("executed"))
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    elif kind == "bomb among the weights":
        torch.save({"format": 1, "config": SHAPE, "model": {"x": bomb}, "tokenizer": None}, path)
    elif kind == "bomb, old torch format":
        torch.save({"format": 1, "config": SHAPE, "model": bomb}, path, _use_new_zipfile_serialization=False)
    elif kind == "whole module":
        torch.save(tiny_model(), path)
    elif kind == "bare weights":
        torch.save(tiny_model().state_dict(), path)
    elif kind == "a tensor":
        torch.save(torch.zeros(3), path)
    elif kind == "TorchScript":
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    else:
        path.write_bytes(kind)


FOREIGN = {
    "empty": (b"", "truncated, damaged or of another program"),
    "text": ("Es war einmal … ".encode() * 100, "truncated, damaged or of another program"),
    "zeros": (bytes(5000), "truncated, damaged or of another program"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(100), "truncated, damaged or of another program"),
    "zip": ("zip", "truncated, damaged or of another program"),
    "pickle": ("pickle", "never loaded because they could run code"),
    "bomb among the weights": ("bomb among the weights", "never loaded because they could run code"),
    "bomb, old torch format": ("bomb, old torch format", "never loaded because they could run code"),
    "whole module": ("whole module", "never loaded because they could run code"),
    "bare weights": ("bare weights", "has no 'format'"),
    "a tensor": ("a tensor", "not a checkpoint of gptlib"),
    "TorchScript": ("TorchScript", "truncated, damaged or of another program"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize(("kind", "fragment"), FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_another_kind_is_refused_and_never_executed(tmp_path, kind, fragment):
    path = tmp_path / "gpt.pth"
    foreign(path, kind)
    for load in (load_checkpoint, load_training_state):
        with pytest.raises(CheckpointError) as error:
            load(path)
        assert_helpful(error, path, fragment)
    assert files_in(tmp_path) == ["gpt.pth"]


HEAD = "output_head.weight"


def with_head(change):
    return lambda content: content["model"].update({HEAD: change(content["model"][HEAD])})


def with_config(**changes):
    return lambda content: content["config"].update(changes)


def with_tokenizer(tokenizer):
    return lambda content: content.update(tokenizer=tokenizer)


BPE = {"format": 1, "type": "bpe", "byte_order": "plain"}
HOSTILE = {
    # the outer form
    "format 2": (lambda c: c.update(format=2), "format 2", "update gptlib"),
    "format of text": (lambda c: c.update(format="one\ntwo"), "one", "update gptlib"),
    "format a tensor": (lambda c: c.update(format=torch.ones(3)), "format"),
    "no config": (lambda c: c.pop("config"), "lacks its 'config'"),
    "no model": (lambda c: c.pop("model"), "'model'"),
    "model a list": (lambda c: c.update(model=[1, 2]), "'model'"),
    "config a list": (lambda c: c.update(config=[1, 2]), "'config'"),
    # the architecture
    "architecture of the future": (lambda c: c.update(architecture="llama"), "architecture 'llama'", "knows 'gpt2'"),
    "architecture a list": (lambda c: c.update(architecture=["gpt2"]), "architecture ['gpt2']", "update gptlib"),
    "architecture None": (lambda c: c.update(architecture=None), "architecture None"),
    # the config
    "10**9 layers": (with_config(n_layers=10**9), "1 blocks", "1000000000"),
    "10**12 wide, 10**12 tokens": (with_config(emb_dim=10**12, vocab_size=10**12), "10000"),
    "more than 64 bits": (with_config(vocab_size=10**30), "10000"),
    "context of more than 64 bits": (with_config(context_length=10**30), "10000"),
    "10**9 heads": (with_config(n_heads=10**9), "n_heads=1000000000"),
    "another width": (with_config(emb_dim=64), "(23, 64)"),
    "no layers": (with_config(n_layers=0), "n_layers=0"),
    "negative": (with_config(vocab_size=-5), "vocab_size=-5"),
    "text for a number": (with_config(emb_dim="32"), "emb_dim='32'"),
    "a tensor for a number": (with_config(emb_dim=torch.ones(9, 9)), "emb_dim="),
    "a long text": (with_config(positions="x" * 10**6), "positions="),
    "dropout NaN": (with_config(drop_rate=float("nan")), "drop_rate=nan"),
    "unknown key": (with_config(n_experts=8), "'n_experts'", "vocab_size"),
    "key no text": (lambda c: c["config"].update({7: 8}), "'7'"),
    # the weights
    "missing": (lambda c: c["model"].pop("final_norm.bias"), "final_norm.bias"),
    "surplus": (lambda c: c["model"].update(extra=torch.zeros(2)), "'extra'"),
    "name of two lines": (lambda c: c["model"].update({"two\nlines": torch.zeros(2)}), "two"),
    "wrong shape": (with_head(lambda t: t[:-1].clone()), HEAD, "(22, 32)", "(23, 32)"),
    "transposed": (with_head(lambda t: t.T.clone()), HEAD, "(32, 23)"),
    "integers": (with_head(lambda t: t.long()), HEAD),
    "complex": (with_head(lambda t: t.to(torch.complex64)), HEAD),
    "8-bit floats": (with_head(lambda t: t.to(torch.float8_e4m3fn)), HEAD),
    "of two types": (with_head(lambda t: t.half()), HEAD),
    "sparse": (with_head(lambda t: t.to_sparse()), HEAD),
    "no data": (with_head(lambda t: t.to("meta")), HEAD),
    "nested": (with_head(lambda t: torch.nested.nested_tensor([t[0], t[1]])), HEAD),
    "one row for all": (with_head(lambda t: t[:1].clone().expand(23, 32)), HEAD),
    "one number for all": (with_head(lambda t: torch.zeros(1, 1).expand(23, 32)), HEAD),
    "not a tensor": (with_head(lambda t: [1.0]), HEAD),
    "nothing": (with_head(lambda t: None), HEAD),
    # the tokenizer
    "tokenizer a list": (with_tokenizer([1]), "tokenizer"),
    "tokenizer without type": (with_tokenizer({"format": 1}), "tokenizer"),
    "tokenizer of unknown type": (with_tokenizer({"format": 1, "type": "morse"}), "morse"),
    "tokenizer of the future": (with_tokenizer({"format": 9, "type": "char", "characters": "ab"}), "9"),
    "tokenizer with a tensor": (
        with_tokenizer({"format": torch.ones(2), "type": "char", "characters": "a"}),
        "tokenizer",
    ),
    "no characters": (with_tokenizer({"format": 1, "type": "char", "characters": torch.ones(2, 2)}), "characters"),
    "merge of what is not there": (with_tokenizer(BPE | {"merges": ["400 500"]}), "400"),
    "merges no text": (with_tokenizer(BPE | {"merges": [[1, 2], None]}), "tokenizer"),
    "exploding merges": (with_tokenizer(BPE | {"merges": [f"{i} {i}" for i in (97, *range(256, 330))]}), "tokenizer"),
    "broken sentencepiece": (with_tokenizer({"format": 1, "type": "sentencepiece", "model": "AAAA"}), "tokenizer"),
    "too large a tokenizer": (with_tokenizer(GPT2Tokenizer().to_dict()), "50257", "23"),
}


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_contradicts_itself_is_refused_by_name(saved, tmp_path, case):
    change, *fragments = case
    path = tmp_path / "gpt.pth"
    path.write_bytes(saved)
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    assert_refused(path, *fragments)


def test_a_file_says_its_architecture_and_earlier_ones_that_do_not_are_gpt2(saved, tmp_path):
    path = tmp_path / "gpt.pth"
    path.write_bytes(saved)
    content = torch.load(path, weights_only=True)
    assert content.pop("architecture") == "gpt2"
    torch.save(content, path)
    assert identical(weights(load_checkpoint(path).model), weights(tiny_model()))


def test_a_run_of_an_unknown_architecture_is_not_resumed(tmp_path):
    path = tmp_path / "gpt.last.pth"
    torch.save({"format": 1, "architecture": "llama", "config": {}, "model": {}, "training": {}}, path)
    with pytest.raises(CheckpointError) as error:
        load_training_state(path)
    assert_helpful(error, path, "'llama'", "'gpt2'")


@dataclass(frozen=True)
class ToyConfig:
    """The shape of another architecture."""

    vocab_size: int = 23
    n_layers: int = 3
    architecture: ClassVar[str] = "toy"

    @classmethod
    def from_dict(cls, config):
        return cls(**config)

    def to_dict(self):
        return asdict(self)


class ToyModel(torch.nn.Module):
    """A block has one tensor, of a shape that no GPT-2 has."""

    config_class = ToyConfig

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.blocks = torch.nn.ModuleList(torch.nn.Conv2d(2, 3, 4, bias=False) for _ in range(config.n_layers))
        self.table = torch.nn.Embedding(config.vocab_size, 2)

    def tie_weights(self):
        pass


def test_another_architecture_may_have_other_blocks(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "toy", ToyModel)
    path, model = tmp_path / "toy.pth", ToyModel(ToyConfig())
    save_checkpoint(path, model)
    back = load_checkpoint(path).model
    assert isinstance(back, ToyModel)
    assert identical(weights(back), weights(model))
    content = torch.load(path, weights_only=True)
    del content["model"]["blocks.1.weight"]
    torch.save(content, path)
    assert_refused(path, "2 blocks", "3 blocks")


def test_names_without_tensors_make_no_model(tmp_path, monkeypatch):
    """A name is cheap to write and a block is dear to make: nothing is built for blocks that aren't there."""
    import gptlib.model

    path, built = tmp_path / "gpt.pth", []
    make = gptlib.model.TransformerBlock.__init__
    monkeypatch.setattr(gptlib.model.TransformerBlock, "__init__", lambda *args: built.append(1) or make(*args))
    names = {f"blocks.{i}.x": torch.zeros(0) for i in range(500)}
    torch.save({"format": 1, "config": SHAPE | {"n_layers": 500}, "model": names, "tokenizer": None}, path)
    assert_refused(path)
    assert len(built) < 500


@pytest.mark.parametrize("load", [load_checkpoint, load_training_state])
@pytest.mark.parametrize("make", ["missing.pth", "."])
def test_where_no_file_is_it_says_what_makes_one(tmp_path, load, make):
    with pytest.raises(FileNotFoundError) as error:
        load(tmp_path / make)
    assert_helpful(error, tmp_path / make, "gptlib train")


def test_a_model_for_inference_is_not_resumed_from_and_the_other_file_is_named(saved, tmp_path):
    path = tmp_path / "gpt.pth"
    path.write_bytes(saved)
    with pytest.raises(CheckpointError) as error:
        load_training_state(path)
    assert_helpful(error, path, "gpt.last.pth", "--init")


# Writing.


def save_with_small_files_only(connection, path, limit):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        save_checkpoint(path, tiny_model(1), CHARACTERS)
    except CheckpointError as error:
        connection.send(str(error))
    else:
        connection.send("it was written")


@pytest.mark.parametrize("limit", [0, 100, 4096, 20_000, 60_000])
def test_a_full_disk_costs_no_earlier_checkpoint_and_leaves_nothing_behind(saved, tmp_path, limit):
    path = tmp_path / "gpt.pth"
    path.write_bytes(saved)
    assert len(saved) > limit
    message = answer_of(save_with_small_files_only, str(path), limit)
    assert_helpful(message, path, "could not be written", "free some space")
    assert path.read_bytes() == saved
    assert files_in(tmp_path) == ["gpt.pth"]


def file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("x")
    return tmp_path / "file" / "gpt.pth"


def folder_in_the_way(tmp_path):
    (tmp_path / "gpt.pth").mkdir()
    return tmp_path / "gpt.pth"


@pytest.mark.parametrize("make", [file_in_the_way, folder_in_the_way])
def test_a_place_where_nothing_can_be_written_is_told_before_and_while_writing(tmp_path, make):
    path = make(tmp_path)
    with pytest.raises(CheckpointError) as error:
        save_checkpoint(path, tiny_model())
    assert_helpful(error, path)
    with pytest.raises(CheckpointError) as error:
        check_room(path, tiny_model())
    assert_helpful(error, path.parent)


def test_what_cannot_be_stored_safely_is_not_written(tmp_path):
    """A file that the loader would refuse, for the Python objects in it, had better not be written."""
    path = tmp_path / "gpt.pth"
    save_checkpoint(path, tiny_model())
    before = path.read_bytes()
    with pytest.raises((CheckpointError, ValueError, TypeError)):
        save_checkpoint(path, tiny_model(), training={"notes": {"path": tmp_path}})
    assert path.read_bytes() == before


def test_room_is_needed_for_the_best_and_twice_for_the_latest(tmp_path, monkeypatch):
    """The best model is the weights; the latest state has AdamW's two averages too, and the old one stays meanwhile."""
    import shutil
    from types import SimpleNamespace

    model = tiny_model()
    weights_size = 4 * model.parameter_count()
    for free, enough in ((weights_size * (1 + 3 + 3) + 10**6, True), (weights_size * (1 + 3 + 3) - 1000, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        if enough:
            check_room(tmp_path / "gpt.pth", model)
        else:
            with pytest.raises(CheckpointError) as error:
                check_room(tmp_path / "gpt.pth", model)
            assert_helpful(error, tmp_path, "GB free", "free some space")
    assert files_in(tmp_path) == []


# Names.


@pytest.mark.parametrize(
    ("best", "last"),
    [
        ("gpt.pth", "gpt.last.pth"),
        ("runs/gpt.c64.e32-2026.11.21_093000.pth", "runs/gpt.c64.e32-2026.11.21_093000.last.pth"),
        ("a.b.pt", "a.b.last.pt"),
    ],
)
def test_best_and_last_lead_to_each_other(tmp_path, best, last):
    assert last_path(tmp_path / best) == tmp_path / last
    assert best_path(tmp_path / last) == tmp_path / best
    files = run_files(tmp_path / best)
    assert len(set(files)) == len(files)


def test_what_an_earlier_run_left_is_renamed_together(tmp_path):
    path = tmp_path / "gpt.pth"
    kept = []
    for run in range(3):  # all within one second: the names still differ
        for file in run_files(path):
            file.write_text(f"run {run}")
        (tmp_path / ".gpt.pth.0123abcd.tmp").write_text("of a killed run")
        kept.append(set_aside(path))
        assert not any(file.exists() for file in run_files(path))
    assert set_aside(path) == []
    assert len(files_in(tmp_path)) == 3 * len(run_files(path))
    for run, names in enumerate(kept):
        assert {name.read_text() for name in names} == {f"run {run}"}
        assert last_path(names[0]) in names
        assert names[0].name.startswith("gpt-20")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A current folder and a workbook elsewhere, with checkpoints of different ages."""
    here, home = tmp_path / "here", tmp_path / "home"
    monkeypatch.setenv("GPTLIB_HOME", str(home))
    files = ["here/mine.pth", "here/runs/old.pth", "here/runs/new.pth", "here/runs/new.last.pth", "here/runs/x.csv"]
    files += ["home/model_weights/gpt.pth", "home/model_weights/gpt.c64.pth", "home/model_weights/set/a.pth"]
    files += ["here/only_last/a.last.pth", "home/model_weights/mine.pth"]
    for age, name in enumerate(files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1e9 + age, 1e9 + age))
    monkeypatch.chdir(here)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mine.pth", "here/mine.pth"),
        ("mine", "here/mine.pth"),
        (".", "here/mine.pth"),
        ("./runs", "here/runs/new.pth"),
        ("runs", "here/runs/new.pth"),
        ("runs/", "here/runs/new.pth"),
        ("runs/old", "here/runs/old.pth"),
        ("runs/new.last.pth", "here/runs/new.last.pth"),
        ("../here/runs", "here/runs/new.pth"),
        ("gpt", "home/model_weights/gpt.pth"),
        ("gpt.pth", "home/model_weights/gpt.pth"),
        ("gpt.c64", "home/model_weights/gpt.c64.pth"),
        ("set", "home/model_weights/set/a.pth"),
    ],
)
def test_a_checkpoint_is_found_by_file_folder_or_bare_name(places, name, found):
    assert find_checkpoint(name).resolve() == (places / found).resolve()
    if not name.startswith("."):
        return
    assert find_checkpoint(places / "here" / name).resolve() == (places / found).resolve()


@pytest.mark.parametrize("name", ["nowhere", "runs/gpt", "only_last", "only_last/b", "/", "nowhere/", "a\0b"])
def test_a_name_that_leads_nowhere_is_told_in_one_sentence(places, name):
    with pytest.raises(FileNotFoundError) as error:
        find_checkpoint(name)
    text = str(error.value)
    assert "There is no checkpoint" in text
    assert "gptlib train" in text
    assert "\n" not in text
