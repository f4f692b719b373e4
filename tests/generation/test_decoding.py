"""Compiled decoding: the numbers of the model's own forward, or that forward itself if anything is not as written."""

import multiprocessing
import sys
import threading

import pytest
import torch
from torch import nn

from gptlib.generation import decoding, generate, generate_text, quantization
from gptlib.generation.decoding import decoder_for
from gptlib.generation.quantization import PackedLinear, with_precision
from gptlib.model.lora import add_lora
from gptlib.model.lora_config import LoRAConfig
from gptlib.ops.backend import Backend, set_backend
from gptlib.tokenizers import CharTokenizer

ALWAYS, NEVER = Backend(compiled_decoding=0), Backend()
PROMPT = torch.randint(61, (1, 5), generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def needs_numba():
    if decoding._kernels() is None:
        pytest.skip("Numba has no threads here that several callers may use: no OpenMP and no TBB")


def prepared(model, backend=ALWAYS):
    set_backend(model, backend)
    return model.eval()


def transposed(model):
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not model.output_head:
            module.weight.data = module.weight.data.t().contiguous().t()
    return model


def adapted(model):
    add_lora(model, LoRAConfig(rank=3, alpha=6, target_modules=["c_attn", "c_proj", "c_fc"]))
    for name, parameter in model.named_parameters():
        if ".adapters." in name:
            nn.init.normal_(parameter, std=0.2)
    return model


WAYS = {
    "rows": lambda model: model,
    "transposed": transposed,
    "bf16": lambda model: model.to(torch.bfloat16),
    "bf16 for inference": lambda model: with_precision(model, "bf16", ALWAYS)[0],
    "int8": lambda model: with_precision(model, "int8", ALWAYS)[0],
    "adapter": adapted,
    "adapter on bf16": lambda model: adapted(model.to(torch.bfloat16)),
}


@torch.no_grad()
@pytest.mark.parametrize("shape", [{"weight_tying": True, "qkv_bias": True}, {"positions": "sinusoidal", "n_heads": 4}])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("padding", [None, [0, 3]], ids=["one", "padded"])
def test_each_step_is_the_forward(make_model, way, shape, padding):
    if way == "transposed" and padding:
        pytest.skip("several texts on transposed weights are faster by PyTorch's kernels")
    model = prepared(WAYS[way](make_model(**shape)))
    ids = torch.randint(61, (1 if padding is None else 2, 14), generator=torch.Generator().manual_seed(5))
    pad_lengths = None if padding is None else torch.tensor(padding)
    caches = [model.new_cache(len(ids), 14) for _ in range(2)]
    for cache in caches:
        model(ids[:, :6], cache=cache, pad_lengths=pad_lengths)
    decoder = decoder_for(model, caches[0], pad_lengths)
    assert decoder is not None
    coarse = "bf16" in way or way == "int8"
    for t in range(6, 14):
        found = decoder(ids[:, t : t + 1])
        expected = model(ids[:, t : t + 1], cache=caches[1], pad_lengths=pad_lengths)[:, -1].float()
        error = (found - expected).abs().max() / expected.abs().max()
        assert error < (0.04 if coarse else 1e-5)
        assert caches[0].length == caches[1].length == t + 1


@torch.no_grad()
def test_in_bf16_it_is_nearer_to_the_exact_model_than_the_forward_is(make_model):
    exact = prepared(make_model().to(torch.bfloat16).float())
    half = prepared(make_model().to(torch.bfloat16))
    ids = torch.randint(61, (1, 14), generator=torch.Generator().manual_seed(5))
    cache = half.new_cache(1, 14)
    half(ids[:, :13], cache=cache)
    expected = exact(ids)[:, -1]
    found, rounded = decoder_for(half, cache)(ids[:, 13:]), half(ids)[:, -1].float()
    assert (found - expected).norm() < (rounded - expected).norm()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_greedy_texts_are_the_same_with_any_number_of_threads(make_model, threads):
    model, before = make_model(), torch.get_num_threads()
    expected = generate(prepared(model, NEVER), PROMPT, 11, temperature=0)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(generate(prepared(model), PROMPT, 11, temperature=0), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:The prompt of")
def test_beyond_the_context_it_goes_on_as_ever(make_model):
    model = make_model()
    expected = generate(prepared(model, NEVER), PROMPT, 20, temperature=0)
    assert torch.equal(generate(prepared(model), PROMPT, 20, temperature=0), expected)


def test_a_model_that_learns_writes_by_its_new_weights(make_model):
    model, twin = prepared(make_model()), prepared(make_model(), NEVER)
    generate(model, PROMPT, 5, temperature=0)
    with torch.no_grad():
        for m in (model, twin):
            for parameter in m.parameters():
                parameter.mul_(0.7).add_(0.05)
    assert torch.equal(generate(model, PROMPT, 9, temperature=0), generate(twin, PROMPT, 9, temperature=0))


def test_damaged_weights_are_an_error_and_no_text(make_model):
    model = prepared(make_model())
    generate(model, PROMPT, 2)
    model.blocks[1].feed_forward.c_fc.weight.data[3, 3] = torch.nan
    cache = model.new_cache(1)
    cache.length = 5
    assert decoder_for(model, cache)(PROMPT[:, :1]).isnan().all()
    with pytest.raises(ValueError, match="weights are damaged"):
        generate(model, PROMPT, 3)


class Plain(nn.Linear):
    pass


def _own_layer(model):
    model.blocks[0].feed_forward.c_fc = Plain(24, 96)


def _own_method(model):
    model.blocks[0].attention.forward = type(model.blocks[0].attention).forward.__get__(model.blocks[0].attention)


ODD = {
    "hook": lambda model: model.blocks[1].register_forward_hook(lambda *_: None),
    "hook before": lambda model: model.blocks[1].norm_2.register_forward_pre_hook(lambda *_: None),
    "own layer": _own_layer,
    "own method": _own_method,
    "own class": lambda model: setattr(model, "__class__", type("Own", (type(model),), {})),
    "activation": lambda model: setattr(model.blocks[0].feed_forward, "gelu", nn.ReLU()),
    "float64": lambda model: model.double(),
    "float16": lambda model: model.half(),
    "small": lambda model: set_backend(model, Backend(compiled_decoding=10**9)),
    "never": lambda model: set_backend(model, NEVER),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_not_as_written_is_computed_by_the_forward(make_model, what):
    model = prepared(make_model())
    assert decoder_for(model, model.new_cache(1)) is not None
    ODD[what](model)
    assert decoder_for(model, model.new_cache(1)) is None


def test_more_texts_than_two_are_left_to_pytorch(make_model):
    model = prepared(make_model())
    assert decoder_for(model, model.new_cache(decoding.ROWS)) is not None
    assert decoder_for(model, model.new_cache(decoding.ROWS + 1)) is None
    assert decoder_for(transposed(model), model.new_cache(2)) is None


def test_hooks_see_every_token(make_model):
    model, seen = prepared(make_model()), []
    handle = model.blocks[0].register_forward_hook(lambda module, args, out: seen.append(out.shape[1]))
    generate(model, PROMPT, 4)
    assert seen == [5, 1, 1, 1]
    handle.remove()
    generate(model, PROMPT, 4)
    assert len(seen) == 4


def test_without_numba_all_is_written_by_pytorch(make_model, monkeypatch):
    model = make_model()
    expected = generate(prepared(model, NEVER), PROMPT, 6, temperature=0)
    monkeypatch.setitem(sys.modules, "gptlib.ops.compiled", None)  # importing it fails
    assert torch.equal(generate(prepared(model), PROMPT, 6, temperature=0), expected)


def _in_a_fork(model, queue):
    torch.set_num_threads(1)
    queue.put(generate(model, PROMPT, 6, temperature=0).tolist())


@pytest.mark.skipif(sys.platform != "linux", reason="forks are Linux's way")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_of_a_process_that_has_decoded_decodes_too(make_model):
    model = prepared(make_model())
    expected = generate(model, PROMPT, 6, temperature=0).tolist()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_a_fork, args=(model, queue))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join()
    assert child.exitcode == 0


def test_several_threads_write_at_once(make_model):
    models = [prepared(make_model(seed)) for seed in range(3)]
    expected = [generate(model, PROMPT, 11, temperature=0) for model in models]
    found = {}

    def write(i):
        found[i] = [generate(models[i], PROMPT, 11, temperature=0) for _ in range(10)]

    threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(text, expected[i]) for i in range(3) for text in found[i])


def test_a_batch_in_bf16_is_decoded_from_blocks_that_are_made_for_it(make_model):
    if not quantization.can_pack():
        pytest.skip("this PyTorch has no blocks of oneDNN for bf16 on this processor")
    model = with_precision(make_model(), "bf16", ALWAYS)[0]
    layer = model.blocks[0].feed_forward.c_fc
    assert type(layer) is PackedLinear
    generate(model, PROMPT, 3)
    assert layer.packed is None  # one text: rows are all that is held
    many = generate(model, PROMPT.expand(4, -1), 6, temperature=0)
    assert layer.packed is not None
    assert torch.equal(many[:1].expand(4, -1), many)


def test_prompts_of_two_lengths_are_continued_as_each_alone(make_model):
    tokenizer = CharTokenizer.train("abcdefgh")
    model = prepared(make_model(vocab_size=tokenizer.vocab_size))
    prompts = ["ab", "bacab"]
    together = generate_text(model, tokenizer, prompts, 6, temperature=0)
    assert together == [generate_text(model, tokenizer, prompt, 6, temperature=0) for prompt in prompts]
