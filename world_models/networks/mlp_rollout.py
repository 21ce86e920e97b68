"""Rollouts of residual MLPs in few operations, with a gradient of their own.

A small MLP spends more time on the overhead of operations than on arithmetic. Step by step, an
imagined step takes about 15 operations and twice as many in the backward pass. Here it takes 8 and
9. Weights are constants: there is no gradient with respect to them and no second derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_gelu_backward = torch.ops.aten.gelu_backward.default
_norm_backward = torch.ops.aten.native_layer_norm_backward.default


class Hidden(NamedTuple):
    """A hidden layer: linear with ``weight`` [W, I], LayerNorm, GELU."""

    weight: Tensor
    bias: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    eps: float


class Perceptron(NamedTuple):
    """The constants of an MLP: its hidden layers and its linear output layer [O, W]."""

    hidden: Sequence[Hidden]
    weight: Tensor
    bias: Tensor

    @property
    def trains(self) -> bool:
        """Whether a gradient with respect to the weights is being recorded."""
        return torch.is_grad_enabled() and any(
            layer.weight.requires_grad for layer in (self, *self.hidden)
        )


class Kept(NamedTuple):
    """What the backward pass of a hidden layer needs of its forward pass."""

    linear: Tensor
    mean: Tensor
    rstd: Tensor
    normal: Tensor


def read_perceptron(body: nn.Sequential) -> Perceptron:
    """Return the constants of (Linear, LayerNorm, GELU, Dropout or nothing) x depth, Linear."""
    linear = [part for part in body if isinstance(part, nn.Linear)]
    norms = [part for part in body if isinstance(part, nn.LayerNorm)]
    hidden = [
        Hidden(before.weight, before.bias, norm.weight, norm.bias, norm.eps)
        for before, norm in zip(linear, norms, strict=False)
    ]
    return Perceptron(hidden, linear[-1].weight, linear[-1].bias)


def run_forward(network: Perceptron, inputs: Tensor, kept: list[Kept] | None) -> Tensor:
    """Return outputs [N, O] for inputs [N, I], and append to ``kept`` what ``run_backward`` needs.

    Gives what the module gives in evaluation mode, up to rounding.
    """
    for weight, bias, norm_weight, norm_bias, eps in network.hidden:
        linear = functional.linear(inputs, weight, bias)
        normal, mean, rstd = torch.native_layer_norm(
            linear, norm_weight.shape, norm_weight, norm_bias, eps
        )
        inputs = _gelu(normal)
        if kept is not None:
            kept.append(Kept(linear, mean, rstd, normal))
    return functional.linear(inputs, network.weight, network.bias)


def run_backward(network: Perceptron, grad: Tensor, kept: list[Kept]) -> Tensor:
    """Return the gradient [N, I] of the inputs, given that of the outputs [N, O]."""
    grad = grad @ network.weight
    for layer, (linear, mean, rstd, normal) in zip(
        reversed(network.hidden), reversed(kept), strict=True
    ):
        weight, _, norm_weight, norm_bias, _ = layer
        grad = _gelu_backward(grad.t(), normal.t()).t()
        grad = _norm_backward(
            grad,
            linear,
            norm_weight.shape,
            mean,
            rstd,
            norm_weight,
            norm_bias,
            [True, False, False],
        )[0]
        grad = grad @ weight
    return grad


def _gelu(inputs: Tensor) -> Tensor:
    """Return GELU of inputs [N, W].

    The CPU kernel for rows in memory order has an overhead of 8 us a call (17 us backwards). A
    transposed view selects another kernel, which is faster for few rows.
    """
    return functional.gelu(inputs.t()).t() if inputs.shape[0] < 64 else functional.gelu(inputs)


def unroll_residual(network: Perceptron, latents: Tensor, actions: Tensor) -> Tensor:
    """Make H steps of z' = z + f(last K latents and actions).

    Args:
        network: f, from latents [N, K, D] and then actions [N, K, A], flattened, to changes [N, D].
        latents: [N, K, D].
        actions: [N, K - 1 + H, A].

    Returns:
        [N, H, D], differentiable in latents and actions.
    """
    network = _interleave(network, latents.shape[1], latents.shape[2])
    if torch.is_grad_enabled() and (latents.requires_grad or actions.requires_grad):
        return _DifferentiableRollout.apply(latents, actions, network)  # pyright: ignore[reportReturnType]
    return _roll_out(network, latents, actions, None)


def _roll_out(
    network: Perceptron, latents: Tensor, actions: Tensor, kept: list[list[Kept]] | None
) -> Tensor:
    """Return what ``unroll_residual`` does, and append to ``kept`` one list per step.

    Latents and actions lie side by side in one buffer of tokens [N, K + H, D + A], of which the
    inputs of each step are a view: rows of K tokens. ``network`` takes them in that order.
    """
    (rows, history, size), (_, steps, action_size) = latents.shape, actions.shape
    tokens = latents.new_empty(rows, steps + 1, size + action_size)
    tokens[:, :history, :size] = latents
    tokens[:, :-1, size:] = actions
    states, dtype = tokens[..., :size].unbind(1), network.weight.dtype
    for step, window in enumerate(_windows(tokens, history)):
        layers: list[Kept] | None = None
        if kept is not None:
            kept.append(layers := [])
        change = run_forward(network, window.to(dtype), layers)
        torch.add(states[step + history - 1], change, out=states[step + history])
    return tokens[:, history:, :size]


class _DifferentiableRollout(torch.autograd.Function):
    """``_roll_out`` with its gradient."""

    @staticmethod
    def forward(ctx: Any, latents: Tensor, actions: Tensor, network: Perceptron) -> Tensor:
        """Return [N, H, D] for latents [N, K, D] and actions [N, K - 1 + H, A]."""
        ctx.network, ctx.kept, ctx.history = network, [], latents.shape[1]
        return _roll_out(network, latents, actions, ctx.kept)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor, None]:
        """Return the gradients of latents and actions, given that of the output [N, H, D]."""
        network, history, (rows, horizon, size) = ctx.network, ctx.history, grads[0].shape
        token_size = network.hidden[0].weight.shape[1] // history
        tokens = grads[0].new_zeros(rows, history + horizon, token_size)
        tokens[:, history:, :size] = grads[0]
        states = tokens[..., :size].unbind(1)
        windows = _windows(tokens, history)
        for step in reversed(range(horizon)):
            grad = states[step + history]
            windows[step].add_(run_backward(network, grad.to(network.weight.dtype), ctx.kept[step]))
            states[step + history - 1].add_(grad)
        past = tokens[:, :history, :size] if ctx.needs_input_grad[0] else None
        return past, tokens[:, :-1, size:], None


def _windows(tokens: Tensor, history: int) -> tuple[Tensor, ...]:
    """Return the K tokens before each predicted one, as H views [N, K * E] of tokens [N, T, E]."""
    rows, length, size = tokens.shape
    shape = (length - history, rows, history * size)
    return tokens.as_strided(shape, (size, length * size, 1)).unbind(0)


def _interleave(network: Perceptron, history: int, size: int) -> Perceptron:
    """Reorder the inputs of an MLP from all latents, all actions to latent, action, latent, ..."""
    first = network.hidden[0]
    parts = first.weight.tensor_split([history * size], dim=1)
    weight = torch.cat([part.unflatten(1, (history, -1)) for part in parts], dim=2).flatten(1)
    return network._replace(hidden=[first._replace(weight=weight), *network.hidden[1:]])
