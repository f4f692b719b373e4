"""Inference copies in 16 and 8 bits: near the original by a known bound, never saved, never trained, never stale."""

import pytest
import torch

from gptlib.checkpoints import load_checkpoint, save_checkpoint
from gptlib.datasets import create_dataloader
from gptlib.evaluation import evaluate_loss
from gptlib.generation import generate, quantization
from gptlib.generation.quantization import PackedLinear, QuantizedLinear, with_precision
from gptlib.ops.backend import Backend, pin_kernel, set_backend
from gptlib.training import TrainingConfig, train
from gptlib.utils.folders import project_root

IDS = torch.randint(61, (2, 9), generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request, make_model):
    return make_model(weight_tying=request.param, qkv_bias=True)


@pytest.fixture(params=[True, False], ids=["blocks", "plain"])
def packing(request, monkeypatch):
    """With oneDNN's blocks, and as where it has none."""
    if not request.param:
        monkeypatch.setattr(quantization, "can_pack", lambda: False)
    elif not quantization.can_pack():
        pytest.skip("this PyTorch has no blocks of oneDNN for bf16 on this processor")


@torch.no_grad()
def test_bf16_is_the_rounded_model(model, packing):
    rounded, choice = with_precision(model, "bf16")
    expected = model(IDS)
    error = (rounded(IDS).float() - expected).abs().max() / expected.abs().max()
    assert 0 < error < 0.03
    assert str(choice) == "bf16, as asked"
    torch.testing.assert_close(
        generate(rounded, IDS, 4, temperature=0, use_cache=True),
        generate(rounded, IDS, 4, temperature=0, use_cache=False),
    )


@torch.no_grad()
def test_int8_is_the_model_with_its_matrices_rounded_to_steps(model, make_model):
    smaller, _ = with_precision(model, "int8")
    twin = make_model(weight_tying=model.config.weight_tying, qkv_bias=True)
    for name, layer in smaller.named_modules():
        if isinstance(layer, QuantizedLinear):
            name = name.replace("token_embedding.head", "output_head")
            exact, steps = model.get_submodule(name).weight, layer.scale.float()[:, None]
            restored = layer.weight.float() * steps
            assert ((restored - exact).abs() <= 0.505 * steps + 1e-6).all()  # the largest may be clamped, by a hair
            assert (layer.weight.abs().amax(dim=1) >= 126).all()  # all 8 bits are used
            twin.get_submodule(name).weight.copy_(restored)
    expected = twin(IDS)
    assert (smaller(IDS).float() - expected).abs().max() < 0.03 * expected.abs().max()  # bf16's error, no more


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("k", [64, 24, 33])
def test_few_rows_and_many_are_the_same_product(bias, k):
    layer = QuantizedLinear(torch.randn(47, k), torch.randn(47) if bias else None)
    many = layer(x := torch.randn(quantization.FEW_ROWS + 5, k))
    few = torch.cat([layer(row) for row in x.split(1)])
    torch.testing.assert_close(many, few, atol=0.1, rtol=0.02)


def test_rows_of_zeros_stay_zeros():
    with torch.no_grad():
        layer = QuantizedLinear(torch.zeros(32, 32), None)
        assert (layer(torch.randn(3, 32)) == 0).all()


@torch.no_grad()
@pytest.mark.parametrize("compiled", [True, False])
def test_in_bf16_they_are_one_table_if_the_head_keeps_its_rows(make_model, monkeypatch, compiled):
    monkeypatch.setattr(Backend, "compiles", lambda self, count: compiled)
    exact = make_model(weight_tying=True)
    smaller, _ = with_precision(exact, "bf16")
    embedding, head = smaller.token_embedding.weight, smaller.output_head.weight
    in_blocks = head.layout == torch._mkldnn
    assert in_blocks == (quantization.can_pack() and not compiled)
    assert in_blocks or embedding.data_ptr() == head.data_ptr()
    assert torch.equal(embedding, exact.token_embedding.weight.to(torch.bfloat16))
    assert generate(smaller, IDS, 4, temperature=0).shape == (2, 13)


def test_a_tied_head_and_its_embedding_are_one_table(make_model):
    smaller, _ = with_precision(make_model(weight_tying=True), "int8")
    assert smaller.token_embedding.weight is smaller.output_head.weight


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_the_original_stays_as_it_was_and_the_copy_is_for_inference_only(model, precision, tmp_path):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copied, _ = with_precision(model.train(), precision)
    assert model.training
    assert not copied.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    loader = create_dataloader(torch.arange(60), context_length=8, batch_size=2)
    with pytest.raises(ValueError, match="no parameter to train"):
        train(copied, loader, config=TrainingConfig(max_steps=1), verbose=False)
    with pytest.raises(ValueError, match="quantized for inference and can't be saved"):
        save_checkpoint(tmp_path / "copy.pth", copied)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="quantized before"):
        with_precision(copied, "int8")


@torch.no_grad()
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_copy_of_a_model_in_bf16_shares_nothing_with_it(model, precision, packing):
    model.to(torch.bfloat16)
    copied, _ = with_precision(model, precision)
    before = copied(IDS)
    for parameter in model.parameters():
        parameter.mul_(1.5).add_(0.1)
    assert torch.equal(copied(IDS), before)


@pytest.mark.parametrize("kernel", ["onednn", "sliced", "plain"])
def test_generate_train_generate_sees_the_new_weights(make_model, kernel):
    model, fresh = make_model(), make_model()
    for each in (model, fresh):
        set_backend(each, pin_kernel(kernel))
    generate(model, IDS, 5, temperature=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.3, fused=True)
    model(IDS).square().mean().backward()
    optimizer.step()
    after = generate(model, IDS, 5, temperature=0)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(after, generate(fresh, IDS, 5, temperature=0))


def test_a_weight_that_is_stored_transposed_is_packed_right():
    weight, x = torch.randn(64, 32), torch.randn(2, 32)
    transposed = weight.t().contiguous().t()
    for kind in (PackedLinear, QuantizedLinear):
        with torch.no_grad():
            assert torch.equal(kind(weight, None)(x), kind(transposed, None)(x))


@pytest.mark.parametrize(("precision", "most"), [("bf16", 1.001), ("int8", 1.01)])
def test_on_a_trained_model_perplexity_hardly_grows(precision, most):
    found = load_checkpoint(project_root() / "model_weights" / "tales.pth")
    text = (project_root() / "data" / "input.txt").read_text(encoding="utf-8")[-20_000:]
    loader = create_dataloader(text, tokenizer=found.tokenizer, context_length=64, shuffle=False)
    exact = evaluate_loss(found.model, loader)
    lower = evaluate_loss(with_precision(found.model, precision)[0], loader)
    assert torch.tensor(lower - exact).exp() < most


def test_small_models_and_models_in_other_types_stay_as_they_are(make_model):
    model = make_model()
    assert with_precision(model)[0] is model
    half = make_model().to(torch.bfloat16)
    same, choice = with_precision(half)
    assert next(same.parameters()).dtype == torch.bfloat16
    assert (str(choice), choice.automatic) == ("bf16, as stored", False)


@pytest.mark.parametrize("faster", [True, False])
def test_a_large_model_takes_bf16_if_the_backend_says_that_it_decodes_faster(make_model, monkeypatch, faster):
    monkeypatch.setattr(quantization, "LARGE", 100)
    model, choice = with_precision(make_model(), backend=Backend(bf16_decoding=faster))
    assert model.final_norm.weight.dtype == (torch.bfloat16 if faster else torch.float32)
    assert choice.precision == ("bf16" if faster else "fp32")
    assert choice.automatic
    assert str(choice).startswith(f"{choice.precision}, ")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_copy_computes_by_the_backend_that_it_is_given_and_the_model_by_its_own(model, precision):
    given = pin_kernel("vector")
    copied, _ = with_precision(model, precision, given)
    assert {m.backend for m in copied.modules() if hasattr(m, "backend")} == {given}
    assert {m.backend for m in model.modules() if hasattr(m, "backend")} == {None}
    if precision == "fp32":
        assert copied.output_head.weight is model.output_head.weight  # no memory is taken
        assert torch.allclose(copied(IDS), model(IDS), atol=1e-5)


def test_an_unknown_precision_is_refused(make_model):
    with pytest.raises(ValueError, match="precision='int4' is unknown; give one of auto, fp32, bf16, int8"):
        with_precision(make_model(), "int4")
