"""What several test modules share: small models with weights that matter, and their twins in `transformers`."""

import pytest
import torch
from corpus_helpers import TEXT
from hypothesis import settings

from gptlib.corpus import prepare_corpus
from gptlib.model import GPTConfig, GPTModel

settings.register_profile("gptlib", deadline=None)  # the machine is shared: a slow example is no failure
settings.load_profile("gptlib")

TINY = {"vocab_size": 61, "context_length": 16, "emb_dim": 24, "n_heads": 3, "n_layers": 2, "drop_rate": 0.0}


@pytest.fixture(autouse=True)
def seeded():
    """Each test begins with the same random state, alone or with others."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread():
    """For tests that compare bit for bit with a child process; and quicker, for sizes like these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def randomize(model, seed):
    """Weights and biases large enough that every part of the model shows in its logits, unlike freshly made ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm_weight = parameter.ndim == 1 and name.endswith("weight")
            noise = torch.randn(parameter.shape, generator=generator) * (0.3 if parameter.ndim == 2 else 0.2)
            parameter.copy_(1 + noise if is_norm_weight else noise)
    return model.eval()


@pytest.fixture(scope="session")
def make_model():
    """make_model(seed=0, **changes to TINY) -> a GPTModel in eval mode with random weights."""

    def make(seed=0, **changes):
        return randomize(GPTModel(TINY | changes), seed)

    return make


@pytest.fixture(scope="session")
def tiny_model(make_model):
    """One model for all tests that only read it."""
    return make_model()


@pytest.fixture(scope="session")
def make_twins():
    """make_twins(seed=0, **changes to TINY) -> (ours, transformers' GPT2LMHeadModel), with the same random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    def make(seed=0, **changes):
        config = GPTConfig.from_dict(TINY | changes)
        theirs = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=config.vocab_size,
                n_positions=config.context_length,
                n_embd=config.emb_dim,
                n_head=config.n_heads,
                n_layer=config.n_layers,
                tie_word_embeddings=config.weight_tying,
                attn_implementation="eager",  # the only one that gives the attention weights
                bos_token_id=None,
                eos_token_id=None,
            )
        )
        randomize(theirs, seed)
        t = theirs.transformer
        if not config.qkv_bias:
            for block in t.h:
                torch.nn.init.zeros_(block.attn.c_attn.bias)
        weights = {"token_embedding.weight": t.wte.weight, "position_embedding.weight": t.wpe.weight}
        weights |= {"final_norm.weight": t.ln_f.weight, "final_norm.bias": t.ln_f.bias}
        weights |= {"output_head.weight": theirs.lm_head.weight}
        for i, block in enumerate(t.h):
            for name, norm in {"norm_1": block.ln_1, "norm_2": block.ln_2}.items():
                weights |= {f"blocks.{i}.{name}.weight": norm.weight, f"blocks.{i}.{name}.bias": norm.bias}
            projections = {
                "attention.c_attn": block.attn.c_attn,
                "attention.c_proj": block.attn.c_proj,
                "feed_forward.c_fc": block.mlp.c_fc,
                "feed_forward.c_proj": block.mlp.c_proj,
            }
            for name, conv in projections.items():
                weights[f"blocks.{i}.{name}.weight"] = conv.weight.T  # transformers stores [in, out]
                if name != "attention.c_attn" or config.qkv_bias:
                    weights[f"blocks.{i}.{name}.bias"] = conv.bias
        ours = GPTModel(config).eval()
        ours.load_state_dict({name: weight.detach() for name, weight in weights.items()})
        return ours, theirs

    return make


@pytest.fixture
def text_file(tmp_path):
    """A file with a byte order mark and mixed line ends."""
    (tmp_path / "input.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    return tmp_path / "input.txt"


@pytest.fixture
def prepared(tmp_path, text_file):
    """The folder that `prepare_corpus` makes of it."""
    prepare_corpus(text_file, tmp_path / "out", "char", progress=False)
    return tmp_path / "out"
