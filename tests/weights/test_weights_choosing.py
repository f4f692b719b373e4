"""What a notebook writes with: the chosen model, or the book's own, and a note that never claims too much."""

import copy
import shutil

import pytest
import torch

from gptlib.checkpoints import load_checkpoint, save_checkpoint
from gptlib.evaluation import next_token_loss
from gptlib.model import GPTModel
from gptlib.tokenizers import GPT2Tokenizer
from gptlib.utils.errors import DownloadError
from gptlib.utils.folders import project_root
from gptlib.weights import choosing
from gptlib.weights.choosing import choose, files_table, sizes_table
from gptlib.weights.hub import CONFIG
from gptlib.weights.inference import for_inference
from gptlib.weights.safetensors import SINGLE
from gptlib.weights.sizes import REPOSITORIES, SELECTIONS

SMALL = {"context_length": 64, "emb_dim": 16, "n_heads": 2, "n_layers": 1, "drop_rate": 0.0, "weight_tying": True}
TALES = project_root() / "model_weights" / "tales.pth"
NAME = "gpt2-small (124M)"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A workbook's folder with the small model alone, and no address from outside."""
    (tmp_path / "model_weights").mkdir()
    shutil.copy(TALES, tmp_path / "model_weights")
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    for variable in ("GPTLIB_OPENAI_URL", "HF_ENDPOINT", "TF_ENABLE_ONEDNN_OPTS"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def stranger():
    torch.manual_seed(0)
    return GPTModel(SMALL).eval()


@pytest.fixture(scope="module")
def reader():
    """A small model that has learned a little English, if only one sentence by heart."""
    torch.manual_seed(0)
    model, ids = GPTModel(SMALL), torch.tensor([GPT2Tokenizer().encode(choosing._PLAIN)])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(25):
        optimizer.zero_grad()
        next_token_loss(model(ids[:, :-1]), ids[:, 1:]).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture
def served(monkeypatch):
    """served(result): both sources have this model, or raise this error."""

    def serve(result):
        def load(size, dtype=None, device="cpu", precision=None):
            assert size == "124M"
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr(choosing, "_LOADERS", {"openai": load, "huggingface": load})

    return serve


def is_the_books_own(chosen):
    expected = load_checkpoint(TALES)
    ids = torch.arange(20)[None]
    return torch.allclose(chosen.model(ids), expected.model(ids)) and (
        chosen.tokenizer.encode("the baker") == expected.tokenizer.encode("the baker")
    )


def test_without_a_network_the_books_own_model_writes_and_the_note_says_what_to_do(monkeypatch):
    monkeypatch.setenv("GPTLIB_OPENAI_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GPTLIB_OPENAI_MIRROR", "")
    chosen = choose(NAME, "openai", device="cpu")
    assert is_the_books_own(chosen)
    first, second = chosen.note.splitlines()
    assert first.startswith("What follows is not by gpt2-small (124M), but by model_weights/tales.pth")
    assert f"{chosen.model.parameter_count():,} parameters" in first
    assert second.startswith("The reason: 'hparams.json' could not be fetched (127.0.0.1: refused the connection)")
    assert "GPTLIB_OPENAI_URL" in second
    assert chosen.name == "tales.pth, not gpt2-small (124M)"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DownloadError("No network; go online."), "The reason: No network; go online."),
        (PermissionError("the folder is locked"), "The reason: the folder is locked"),
        (MemoryError(), "not enough memory on cpu"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried …"), "choose a smaller one, or PRECISION = 'bf16'"),
    ],
)
@pytest.mark.parametrize("source", choosing.SOURCES)
def test_whatever_keeps_the_weights_away_is_a_sentence(served, error, said, source):
    served(error)
    chosen = choose(NAME, source, dtype="bf16", device="cpu")
    assert said in chosen.note
    assert next(chosen.model.parameters()).dtype == torch.bfloat16
    assert chosen.name == "tales.pth, not gpt2-small (124M)"


def test_a_programming_error_is_none_of_these(served):
    served(KeyError("a bug"))
    with pytest.raises(KeyError):
        choose(NAME, "openai", device="cpu")


@pytest.mark.parametrize(("source", "variable"), [("openai", "GPTLIB_OPENAI_URL"), ("huggingface", "HF_ENDPOINT")])
def test_random_stand_ins_are_called_so_with_their_host(served, stranger, monkeypatch, source, variable):
    served(stranger)
    monkeypatch.setenv(variable, "http://127.0.0.1:1234/models")
    chosen = choose("124M", source, device="cpu")
    assert chosen.model is stranger
    assert chosen.note == (
        f"These are not OpenAI's weights: {stranger.parameter_count():,} parameters instead of 124,439,808, random "
        "numbers, from a mirror at 127.0.0.1; the text below is noise."
    )
    assert chosen.name == "a random stand-in, not gpt2-small (124M)"


def test_a_small_model_that_has_learned_is_no_noise_and_not_openais_either(served, reader):
    served(reader)
    chosen = choose(NAME, "openai", device="cpu")
    assert chosen.note == (
        f"These are not OpenAI's weights: {reader.parameter_count():,} parameters instead of 124,439,808."
    )
    assert chosen.name == "a stand-in, not gpt2-small (124M)"


def test_the_official_shape_counts_only_with_what_was_learned(served, reader, stranger, monkeypatch):
    count = reader.parameter_count()
    monkeypatch.setattr(choosing, "_official_count", lambda size: count)
    served(reader)
    chosen = choose(NAME, "openai", device="cpu")
    assert (chosen.note, chosen.name) == (f"{NAME}: {count:,} parameters, on cpu.", NAME)
    served(stranger)
    note = f"These are not OpenAI's weights: {count:,} parameters, random numbers; the text below is noise."
    assert choose(NAME, "openai", device="cpu").note == note


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_note_says_in_which_precision(home, reader, monkeypatch, precision):
    count = reader.parameter_count()
    monkeypatch.setattr(choosing, "_official_count", lambda size: count)
    ready = for_inference(copy.deepcopy(reader), precision)
    monkeypatch.setitem(choosing._LOADERS, "openai", lambda size, dtype, device, precision: ready)
    chosen = choose(NAME, "openai", device="cpu", precision=precision)
    assert chosen.note == f"{NAME}: {count:,} parameters, on cpu, in {precision}, as asked."
    own = load_checkpoint(TALES).model.parameter_count()
    assert choose("custom", "openai", device="cpu", precision=precision).model.precision.precision == precision
    shutil.copy(TALES, home / "model_weights" / "trained_gpt2.pth")
    chosen = choose("custom", "openai", device="cpu", precision=precision)
    assert chosen.note == (
        f"model_weights/trained_gpt2.pth: a model of your own, {own:,} parameters, on cpu, in {precision}, as asked."
    )


def test_two_words_for_one_thing_are_refused():
    with pytest.raises(ValueError, match="dtype='bf16' and precision='int8' both say"):
        choose(NAME, "openai", dtype="bf16", precision="int8")


def test_custom_is_what_was_trained_here(home):
    shutil.copy(TALES, home / "model_weights" / "trained_gpt2.pth")
    chosen = choose("custom", "huggingface", device="cpu")
    assert is_the_books_own(chosen)
    assert chosen.note.startswith("model_weights/trained_gpt2.pth: a model of your own, ")
    assert chosen.name == "trained_gpt2.pth"
    assert files_table("custom", "openai").startswith("trained_gpt2.pth ")


def test_custom_before_training_says_how_to_train():
    chosen = choose("custom", "openai", device="cpu")
    assert is_the_books_own(chosen)
    assert chosen.note.startswith("What follows is not by model_weights/trained_gpt2.pth, but by model_weights/tales")
    assert (
        "There is no model_weights/trained_gpt2.pth yet; run the notebook train.ipynb, or `make train`" in chosen.note
    )
    assert chosen.name == "tales.pth, not trained_gpt2.pth"


def test_custom_that_is_damaged_or_mute_is_replaced(home, stranger):
    path = home / "model_weights" / "trained_gpt2.pth"
    path.write_bytes(TALES.read_bytes()[:10_000])
    assert "can't be read as a checkpoint" in choose("custom", "openai", device="cpu").note
    save_checkpoint(path, stranger)
    assert "has no tokenizer" in choose("custom", "openai", device="cpu").note


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"selection": "gpt3"}, "'gpt3' can't be chosen"),
        ({"source": "github"}, "source='github'"),
        ({"dtype": "int3"}, "dtype='int3'"),
        ({"device": "abacus"}, "device='abacus'"),
    ],
)
def test_a_setting_that_is_none_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        choose(**{"selection": NAME, "source": "openai", "device": "cpu"} | arguments)


def test_sizes_are_those_of_the_official_models():
    rows = {line[:20].strip(): line[20:].split() for line in sizes_table("huggingface").splitlines()[1:]}
    assert list(rows) == list(SELECTIONS)
    assert rows[NAME] == ["124,439,808", "0.55", "GB", "0.50", "GB", "0.25", "GB"]  # the file has 548,105,171 bytes
    assert "6.23 GB" in sizes_table("openai").splitlines()[-1]


def test_files_of_both_sources_are_listed_without_fetching(home, monkeypatch):
    for source in choosing.SOURCES:
        monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repository, file: None)
        assert files_table(NAME, source) == "No files of it are here yet."
    folder = home / "model_weights" / "openai" / "124M"
    folder.mkdir(parents=True)
    (folder / "hparams.json").write_text("{}")
    (folder / ".fetching.lock").touch()
    assert files_table(NAME, "openai").split() == ["hparams.json", "2", "bytes"]
    for file in (CONFIG, SINGLE):
        (home / file).write_text("four")
    found = {(REPOSITORIES["124M"], file): str(home / file) for file in (CONFIG, SINGLE)}
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *asked: found[asked])
    assert files_table(NAME, "huggingface").split() == [CONFIG, "4", "bytes", SINGLE, "4", "bytes"]
