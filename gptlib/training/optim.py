"""AdamW with GPT-2's decay groups, Muon for the matrices, and both as one."""

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

OPTIMIZERS = ("adamw", "muon")


def create_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float, betas: tuple[float, float], name: str = "adamw"
) -> "torch.optim.AdamW | CombinedOptimizer":
    """AdamW (Loshchilov & Hutter 2019), fused into one kernel if the device has that, for all or what Muon leaves.

    name: "adamw", or "muon", which takes the matrices inside the blocks. Matrices decay; biases, LayerNorm's scales and
    shifts do not, since a penalty on them only biases the model.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    inner = []
    if name == "muon":
        inner = [p for n, p in model.named_parameters() if p.requires_grad and p.ndim == 2 and n.startswith("blocks.")]
        chosen = {id(p) for p in inner}
        parameters = [p for p in parameters if id(p) not in chosen]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda", "mps") and p.is_floating_point() for p in parameters)
    adamw = torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=fused)
    return CombinedOptimizer(Muon(inner, learning_rate, weight_decay), adamw) if inner else adamw


class Muon(torch.optim.Optimizer):
    """Momentum, each step of a matrix made orthogonal: all directions change by as much (Jordan et al. 2024).

    The step of an (m, n) matrix is scaled by 0.2 sqrt(max(m, n)), so that its entries are as large as AdamW's and one
    learning rate serves both (Liu et al. 2025, section 2.2).

    Ours, since `torch.optim.Muon` takes one matrix after the other: here those of one shape are a batch, which for the
    many small matrices of a small model has been up to three times as fast.
    """

    def __init__(self, params, lr: float, weight_decay: float, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update from the gradients that are there."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            by_size: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for p, step in zip(parameters, self._directions(parameters, group["momentum"]), strict=True):
                wide = p.shape[0] <= p.shape[1]
                by_size[min(p.shape), max(p.shape)].append((p, step) if wide else (p.mT, step.mT))
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            for (_, longer), members in by_size.items():
                matrices, steps = zip(*members, strict=True)
                updates = orthogonalized(torch.stack(steps)).to(matrices[0].dtype)
                torch._foreach_add_(matrices, list(updates), alpha=-group["lr"] * 0.2 * math.sqrt(longer))

    def _directions(self, parameters: list[Tensor], momentum: float) -> list[Tensor]:
        """The gradients averaged over the steps, with the newest weighing more (Nesterov)."""
        for p in parameters:
            if "average" not in self.state[p]:
                self.state[p]["average"] = torch.zeros_like(p)
        gradients, averages = [p.grad for p in parameters], [self.state[p]["average"] for p in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        return list(torch._foreach_lerp(gradients, averages, momentum))


# A quintic that pulls singular values between 0 and 1 towards 1 (to 0.7 ... 1.2, which is near enough), and fast.
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalized(matrices: Tensor, steps: int = 5) -> Tensor:
    """The orthogonal matrices nearest to (k, m, n) matrices, roughly, by Newton-Schulz iteration in bf16.

    With the singular value decomposition U S V^T of a matrix, this is U V^T, its singular values between 0.7 and 1.2.
    """
    x = matrices.to(torch.bfloat16)
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)  # all singular values are now at most 1
    for _ in range(steps):
        square = x @ x.mT
        factor = torch.baddbmm(square, square, square, beta=_B, alpha=_C)  # B S + C S^2
        x = torch.baddbmm(x, factor, x, beta=_A)  # A X + factor X
    return x if wide else x.mT


class CombinedOptimizer:
    """Several optimizers as one, each for parameters of its own."""

    def __init__(self, *optimizers: torch.optim.Optimizer):
        self.optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        """One update by each."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """The states of all, in order."""
        return {"combined": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse. Raises ValueError if the state is of other optimizers."""
        states = state.get("combined", state.get("together", ()))  # "together": as earlier versions wrote it
        if len(states) != len(self.optimizers):
            raise ValueError("The state is not one of these optimizers.")
        for optimizer, its_state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(its_state)


def load_optimizer_state(optimizer: torch.optim.Optimizer | CombinedOptimizer, state: dict[str, Any]) -> None:
    """Take over the averages; betas, weight_decay and so on are those of this run. ValueError if they don't fit."""
    options = [{name: value for name, value in g.items() if name != "params"} for g in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, option in zip(optimizer.param_groups, options, strict=True):
        group.update(option)
    for part in getattr(optimizer, "optimizers", (optimizer,)):
        names = ("average",) if isinstance(part, Muon) else ("exp_avg", "exp_avg_sq")
        for parameter, averages in part.state.items():
            for name in names:
                average = averages[name]
                if not isinstance(average, Tensor) or average.shape != parameter.shape:
                    raise ValueError(f"{name} does not fit its parameter")
