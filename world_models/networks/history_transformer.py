"""A causal transformer over the history, conditioned on actions (LeWM), with a fast rollout."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.world_models.networks.patches import make_modulation


class AdaLNBlock(nn.Module):
    """A pre-norm transformer block that is modulated by the action (AdaLN-zero).

    Args:
        width: Width W of a token.
        num_heads: Number of attention heads.
        dropout: Dropout probability.
        causal: Whether tokens are time steps, which attend to themselves and earlier ones. If not,
            they are positions, which all attend to each other.
        head_size: Size of an attention head; 0 for ``width / num_heads``.
        mlp_width: Width of the hidden layer of the MLP; 0 for ``4 * width``.
    """

    heads: Tensor

    def __init__(
        self,
        width: int,
        num_heads: int,
        dropout: float,
        *,
        causal: bool = True,
        head_size: int = 0,
        mlp_width: int = 0,
    ) -> None:
        super().__init__()
        head_size, mlp_width = head_size or width // num_heads, mlp_width or 4 * width
        self.num_heads, self.dropout, self.causal = num_heads, dropout, causal
        self.register_buffer(
            "heads", torch.eye(num_heads).repeat_interleave(head_size, 0), persistent=False
        )
        self.norms = nn.ModuleList(
            [nn.LayerNorm(width, elementwise_affine=False) for _ in range(2)]
        )
        self.qkv = nn.Linear(width, 3 * num_heads * head_size)
        self.out = nn.Linear(num_heads * head_size, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_width), nn.GELU(), nn.Dropout(dropout), nn.Linear(mlp_width, width)
        )
        self.modulation = make_modulation(width)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Map tokens [N, K, W] under a condition [N, K, W] (or [N, 1, W])."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(condition).chunk(
            6, dim=-1
        )
        tokens = tokens + gate_a * self._attend(self.norms[0](tokens) * (1 + scale_a) + shift_a)
        return tokens + gate_m * self.mlp(self.norms[1](tokens) * (1 + scale_m) + shift_m)

    def _attend(self, tokens: Tensor) -> Tensor:
        q, k, v = self._split_heads(tokens).permute(2, 0, 3, 1, 4)  # [N, heads, K, head size]
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            q, k, v, is_causal=self.causal, dropout_p=dropout
        )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split_heads(self, tokens: Tensor) -> Tensor:
        """Return queries, keys and values [N, K, 3, heads, head size]."""
        return self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))

    def extend(
        self,
        tokens: Tensor,
        modulation: Tensor,
        cache: tuple[Tensor, Tensor] | None,
        *,
        last_only: bool,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map the newest tokens, given the cache of earlier ones; causal, without dropout.

        Args:
            tokens: Newest tokens [N, k, W].
            modulation: Shifts, scales and gates of these tokens [N, k, 6 W].
            cache: Keys and values [N, k', heads, head size] of earlier tokens, or None if there are
                none.
            last_only: Whether to return only the last token [N, 1, W]. For the others, only keys
                and values are computed.

        Returns:
            The mapped tokens, and the keys and values of all tokens so far.
        """
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation.chunk(6, dim=-1)
        q, k, v = self._split_heads(
            torch.addcmul(shift_a, self.norms[0](tokens), 1 + scale_a)
        ).unbind(2)
        if cache is not None:
            k, v = torch.cat([cache[0], k], dim=1), torch.cat([cache[1], v], dim=1)
        if last_only and tokens.shape[1] > 1:
            tokens, q, gate_a = tokens[:, -1:], q[:, -1:], gate_a[:, -1:]
            shift_m, scale_m, gate_m = shift_m[:, -1:], scale_m[:, -1:], gate_m[:, -1:]
        tokens = torch.addcmul(tokens, gate_a, self.out(self._attend_pairwise(q, k, v)))
        hidden = self.mlp(torch.addcmul(shift_m, self.norms[1](tokens), 1 + scale_m))
        return torch.addcmul(tokens, gate_m, hidden), (k, v)

    def _attend_pairwise(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return causal attention [N, k, heads * head size], pair by pair of tokens.

        A history has few tokens, for which the overhead of PyTorch's attention kernels dominates.
        Here, a product with a 0-1 matrix [heads * head size, heads] sums over the entries of each
        head.
        """
        heads = self.heads.to(v.dtype)  # [heads * head size, heads]
        queries, keys, values = (part.flatten(2).unbind(1) for part in (q, k, v))
        mixed, earlier = [], len(keys) - len(queries)
        for index, query in enumerate(queries):
            seen = earlier + index + 1
            scores = torch.stack([(query * key) @ heads for key in keys[:seen]]).float()
            weights = (scores * q.shape[-1] ** -0.5).softmax(0).to(
                v.dtype
            ) @ heads.T  # [seen, N, heads * head size]
            total = weights[0] * values[0]
            for weight, value in zip(weights[1:], values[1:seen], strict=True):
                total = torch.addcmul(total, weight, value)
            mixed.append(total)
        return torch.stack(mixed, dim=1)


class AdaLNPredictor(nn.Module):
    """A causal transformer over the history with AdaLN-zero (LeWM, arXiv 2603.19312).

    The default size is small; ``world_model=lewm`` has the published size. Unlike LeWM, the output
    is added to the present latent.

    Args:
        latent_dim: Size D of a latent.
        action_size: Size A of an action.
        history: Largest number K of tokens.
        width: Width W of a token.
        depth: Number of transformer blocks.
        num_heads: Number of attention heads.
        head_size, mlp_width: See ``AdaLNBlock``.
        out_width: Width of a hidden layer before the output; 0 for none.
        dropout: Dropout probability.
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        action_size: int,
        history: int = 3,
        width: int = 128,
        depth: int = 3,
        num_heads: int = 4,
        head_size: int = 0,
        mlp_width: int = 0,
        out_width: int = 0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.history = history
        self.embed = nn.Linear(latent_dim, width)
        self.embed_action = nn.Sequential(
            nn.Linear(action_size, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.positions = nn.Parameter(torch.randn(1, history, width) * 0.02)
        self.blocks = nn.ModuleList(
            [
                AdaLNBlock(width, num_heads, dropout, head_size=head_size, mlp_width=mlp_width)
                for _ in range(depth)
            ]
        )
        hidden = [nn.Linear(width, out_width), nn.GELU()] if out_width else []
        self.out = nn.Sequential(
            nn.LayerNorm(width), *hidden, nn.Linear(out_width or width, latent_dim)
        )

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict [N, D] from latents [N, k, D] and actions [N, k, A] with k <= K."""
        # The type of the weights may be narrower than that of the latents, which keep theirs.
        dtype = self.embed.weight.dtype
        tokens = self.embed(latents.to(dtype)) + self.positions[:, : latents.shape[1]]
        condition = self.embed_action(actions.to(dtype))
        for block in self.blocks:
            tokens = block(tokens, condition)
        return latents[:, -1] + self.out(tokens[:, -1]).to(latents.dtype)

    def unroll(
        self, latents: Tensor, actions: Tensor, *, place: Callable[[Tensor], Tensor] | None
    ) -> Tensor:
        """Predict H latents [N, H, D] in sequence, faster than H calls of ``forward``.

        Everything that depends only on actions is computed for all steps at once. While the history
        grows, keys and values of earlier tokens are cached. Once it is full, the window moves, and
        every token changes its position. All tokens are then recomputed, except for the outputs of
        the last block that are not needed.

        Args:
            latents: Latents of the context [N, k, D], k <= K.
            actions: Actions of the context and of the plan [N, k - 1 + H, A].
            place: Function that is applied to each predicted latent before it enters the history,
                or None.
        """
        dtype = self.embed.weight.dtype
        blocks = [block for block in self.blocks if isinstance(block, AdaLNBlock)]
        depth, known = len(blocks), latents.shape[1]
        modulations = self._modulations(actions.to(dtype))  # [depth][N, T, 6 W]
        window = list(latents.unbind(1))
        caches: list[tuple[Tensor, Tensor] | None] = [None] * depth
        for last in range(known, actions.shape[1] + 1):
            first = max(0, last - self.history)
            grown = first == 0 and last > known
            new = last - 1 if grown else first  # the first token that is not in the caches
            positions = self.positions[:, new - first : last - first]
            tokens = self.embed(torch.stack(window[new:last], dim=1).to(dtype)) + positions
            for index, block in enumerate(blocks):
                tokens, caches[index] = block.extend(
                    tokens,
                    modulations[index][:, new:last],
                    caches[index] if grown else None,
                    last_only=index == depth - 1,
                )
            latent = window[-1] + self.out(tokens[:, -1]).to(latents.dtype)
            window.append(latent if place is None else place(latent))
        return torch.stack(window[known:], dim=1)

    def _modulations(self, actions: Tensor) -> list[Tensor]:
        condition = functional.silu(self.embed_action(actions))
        return [block.modulation[1](condition) for block in self.blocks]  # pyright: ignore[reportIndexIssue, reportCallIssue]
