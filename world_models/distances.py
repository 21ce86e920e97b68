"""Learned distances between frozen latents, in model steps.

Two places may look alike although the path between them is long, for instance on the two sides of a
wall. The squared difference of latents is then a poor estimate of the distance. Each head in this
module learns a better one from state-action-next-state data, without a reward. It maps pairs of
latents [N, D] to distances [N], in model steps or increasing with them.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.envs.errors import unknown_name
from jepabench.world_models.networks.heads import make_perceptron
from jepabench.world_models.settings import require_at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceConfig:
    """Configuration of a head and of its training.

    Attributes:
        kind: Name in ``HEADS``.
        width: Width of the hidden layers.
        depth: Number of hidden layers.
        num_steps: Number of gradient steps.
        batch_size: Number of pairs per gradient step.
        learning_rate: Initial learning rate of Adam, which falls linearly to 0.
        max_steps: Largest number of model steps between a frame and its hindsight goal.
        expectile: ``temporal`` regresses this low expectile of the times in the data, because the
            data takes detours. ``value`` regresses the expectile 1 - ``expectile`` over the next
            states, because the best of them counts.
        reach_steps: Number of model steps within which ``reachability`` predicts an arrival.
        gamma: Discount factor of ``value`` per model step, between 0 and 1.
        radius: Distance from the goal within which ``calibrated-value`` adds the squared difference
            of the latents, and ``whitened-value`` their whitened distance [model steps].
        ridge: Variance that whitening adds in every direction, in units of the mean variance. With
            a larger one, directions that change rarely count less.
    """

    kind: str = "quasimetric"
    width: int = 256
    depth: int = 2
    num_steps: int = 4000
    batch_size: int = 256
    learning_rate: float = 1e-3
    max_steps: int = 16
    expectile: float = 0.1
    reach_steps: int = 5
    gamma: float = 0.98
    radius: float = 1.0
    ridge: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in HEADS:
            raise unknown_name("kind of learned distance", self.kind, HEADS)
        require_at_least(1, width=self.width, depth=self.depth, num_steps=self.num_steps)
        require_at_least(1, batch_size=self.batch_size, max_steps=self.max_steps)
        require_at_least(1, reach_steps=self.reach_steps)
        for name in ("radius", "ridge"):
            if not (value := getattr(self, name)) > 0:
                raise ValueError(f"{name} must be above 0, got {value}.")
        if not (0 < self.expectile <= 0.5 and 0 < self.gamma < 1 and self.learning_rate > 0):
            raise ValueError(
                "expectile must be above 0 and at most 0.5, gamma between 0 and 1, and "
                "learning_rate above 0; "
                f"got {self.expectile}, {self.gamma} and {self.learning_rate}."
            )


@dataclass(frozen=True, slots=True)
class Pairs:
    """A training batch of the heads.

    Attributes:
        now: Latents of frames [N, D].
        after: Latents of the frames one model step later [N, D].
        reached: Goals that are reached at ``after`` [N, D]: ``after`` itself for pixels, and its
            goal entries for a state twin.
        later: Goals that are reached ``steps`` model steps after ``now`` [N, D].
        steps: Number of model steps from ``now`` to ``later``, 1 to ``max_steps``, float [N].
        other: Goals that are reached at random frames of the dataset [N, D].
    """

    now: Tensor
    after: Tensor
    reached: Tensor
    later: Tensor
    steps: Tensor
    other: Tensor


class DistanceHead(nn.Module):
    """Base class of learned distances. It standardises the inputs.

    Args:
        latent_size: Size D of a latent.
        config: Configuration of the head.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, latent_size: int, config: DistanceConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(latent_size))
        self.register_buffer("std", torch.ones(latent_size))

    def fit_scale(self, latents: Tensor, changes: Tensor) -> None:
        """Compute the statistics of latents [N, D] and of their changes per model step [M, D]."""
        del changes
        self.mean.copy_(latents.mean(0))
        self.std.copy_(latents.std(0).clamp(min=1e-6))

    def forward(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return distances [...] of latents [..., D] to goals [..., D]; leading axes broadcast."""
        now, goal = torch.broadcast_tensors(self._scale(now), self._scale(goal))
        return self._between(now, goal)

    def loss(self, pairs: Pairs) -> Tensor:
        """Return the loss of a batch, a scalar."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Update the head after a gradient step. Does nothing by default."""

    def _scale(self, latents: Tensor) -> Tensor:
        return (latents - self.mean) / self.std

    def _between(self, now: Tensor, goal: Tensor) -> Tensor:
        raise NotImplementedError


class PairNetwork(nn.Module):
    """A multilayer perceptron from two latents and their difference to one number."""

    def __init__(self, latent_size: int, config: DistanceConfig) -> None:
        super().__init__()
        self.body = _perceptron(3 * latent_size, 1, config)

    def forward(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return numbers [...] for latents [..., D] and [..., D]."""
        return self.body(torch.cat([now, goal, goal - now], dim=-1)).squeeze(-1)


class TemporalDistance(DistanceHead):
    """Regression of the steps between frames of an episode, at a low expectile.

    The distance saturates at ``max_steps``. It suits short plans and the edges of a graph.
    """

    def __init__(self, latent_size: int, config: DistanceConfig) -> None:
        super().__init__(latent_size, config)
        self.network = PairNetwork(latent_size, config)

    def loss(self, pairs: Pairs) -> Tensor:
        """Return the expectile loss, in units of ``max_steps``."""
        now = torch.cat([pairs.now, pairs.now])
        goal = torch.cat([pairs.later, pairs.other])
        steps = torch.cat([pairs.steps, torch.full_like(pairs.steps, self.config.max_steps)])
        error = (steps - self(now, goal)) / self.config.max_steps
        return expectile_loss(error, self.config.expectile)

    def _between(self, now: Tensor, goal: Tensor) -> Tensor:
        return functional.softplus(self.network(now, goal))


class QuasimetricDistance(DistanceHead):
    """The length of the shortest path (QRL, Wang et al., 2023, arXiv 2304.01203).

    Training maximises the distances between random frames, subject to a length of at most 1 for
    each step of the data. The network is a metric residual network (MRN, Liu et al., 2023, arXiv
    2208.08133), the mean over components of a Euclidean and an asymmetric part. It satisfies the
    triangle inequality, so that paths of different episodes can be combined. QRL's own network
    (IQE) sorts intervals and takes twenty times as long in planning. Unlike QRL, ours has no latent
    dynamics model.
    """

    components, size = 16, 16
    tolerance = 0.25  # allowed root mean square excess of the length of data steps over 1
    reach = 60.0  # distance beyond which pairs are hardly pushed apart any further [model steps]

    def __init__(self, latent_size: int, config: DistanceConfig) -> None:
        super().__init__(latent_size, config)
        self.embed = _perceptron(latent_size, self.components * self.size, config)
        # A tenth of the logarithm, so that the multiplier can change a lot at the learning rate of
        # the weights.
        self.log_multiplier = nn.Parameter(torch.tensor(0.1))

    def loss(self, pairs: Pairs) -> Tensor:
        """Return minus the (saturating) distance of random frames, plus a penalty on long steps."""
        far = functional.softplus(self.reach - self(pairs.now, pairs.other), beta=0.1).mean()
        excess = (self(pairs.now, pairs.after) - 1).relu().square().mean() - self.tolerance**2
        if not torch.equal(pairs.after, pairs.reached):
            # A goal may describe only part of the state. The state is then at distance 0 from it.
            excess = excess + self(pairs.after, pairs.reached).square().mean()
        multiplier = (10 * self.log_multiplier).exp()
        # The multiplier rises while the constraint is violated: its own gradient has the opposite
        # sign.
        return far + multiplier.detach() * excess - multiplier * excess.detach()

    def forward(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the distances. Each side is embedded before it is broadcast."""
        return self._between(self._scale(now), self._scale(goal))

    def _between(self, now: Tensor, goal: Tensor) -> Tensor:
        start, end = (
            self.embed(part).unflatten(-1, (self.components, 2, -1)) for part in (now, goal)
        )
        apart = start - end
        one_sided = apart[..., 0, :].relu().amax(-1)
        # 1e-10 keeps the gradient of the square root finite at 0.
        euclidean = apart[..., 1, :].square().sum(-1).add(1e-10).sqrt()
        return (one_sided + euclidean).mean(-1)


class WhitenedHead(DistanceHead):
    """Base class of heads that measure differences in units of the change per model step.

    Directions that change a lot in every step, such as the position of the gripper, have a small
    weight. Directions that change rarely, such as the position of an object, have a large one. In
    plain squared differences of latents, the gripper outweighs the object.
    """

    whiten: Tensor

    def __init__(self, latent_size: int, config: DistanceConfig) -> None:
        super().__init__(latent_size, config)
        self.register_buffer("whiten", torch.eye(latent_size))

    def fit_scale(self, latents: Tensor, changes: Tensor) -> None:
        """Compute also the scale of differences from changes [M, D] per model step."""
        super().fit_scale(latents, changes)
        scaled = (changes / self.std).double()
        variances, directions = torch.linalg.eigh(scaled.T @ scaled / len(scaled))
        self.whiten.copy_(directions / (variances + self.config.ridge * variances.mean()).sqrt())

    def _square(self, difference: Tensor) -> Tensor:
        """Return squared lengths [...] of differences [..., D] of standardised latents."""
        return (difference @ self.whiten).square().mean(-1)


class MahalanobisDistance(WhitenedHead):
    """The squared difference in units of the change per model step (Mahalanobis, 1936)."""

    def _between(self, now: Tensor, goal: Tensor) -> Tensor:
        return self._square(now - goal)


class Reachability(DistanceHead):
    """Minus the log-probability of reaching the goal within ``reach_steps``."""

    def __init__(self, latent_size: int, config: DistanceConfig) -> None:
        super().__init__(latent_size, config)
        self.network = PairNetwork(latent_size, config)

    def loss(self, pairs: Pairs) -> Tensor:
        """Return the binary cross-entropy."""
        now, goal = torch.cat([pairs.now, pairs.now]), torch.cat([pairs.later, pairs.other])
        within = torch.cat(
            [(pairs.steps <= self.config.reach_steps).to(now), torch.zeros_like(pairs.steps)]
        )
        logits = self.network(self._scale(now), self._scale(goal))
        return functional.binary_cross_entropy_with_logits(logits, within)

    def _between(self, now: Tensor, goal: Tensor) -> Tensor:
        return functional.softplus(-self.network(now, goal))


class ValueDistance(DistanceHead):
    """Minus a goal-conditioned value, by implicit V-learning (GCIVL, Park et al., 2024).

    The reward is -1 per model step until the goal. Half of the goals are later frames of the
    episode, one in eight is the next frame, and the others are random frames. The distance is the
    discounted number of steps, at most 1 / (1 - gamma).
    """

    tau = 0.01  # Polyak rate of the target network

    def __init__(self, latent_size: int, config: DistanceConfig) -> None:
        super().__init__(latent_size, config)
        self.network = PairNetwork(latent_size, config)
        self.target = copy.deepcopy(self.network).requires_grad_(False)

    def loss(self, pairs: Pairs) -> Tensor:
        """Return the expectile loss of the temporal difference, over the largest distance."""
        count = len(pairs.now)
        goal = torch.cat([pairs.later[: count // 2], pairs.other[count // 2 :]])
        goal[: count // 8] = pairs.reached[: count // 8]
        arrived = (pairs.steps == 1) & (torch.arange(count) < count // 2) | (
            torch.arange(count) < count // 8
        )
        with torch.no_grad():
            rest = self._steps(self.target(self._scale(pairs.after), self._scale(goal)))
            target = 1 + self.config.gamma * torch.where(arrived, 0.0, rest)
        # Not ``self(...)``: subclasses add to the value when they plan.
        predicted = self._between(self._scale(pairs.now), self._scale(goal))
        error = (target - predicted) * (1 - self.config.gamma)
        return expectile_loss(error, self.config.expectile)

    @torch.no_grad()
    def after_step(self) -> None:
        """Update the target network."""
        for target, source in zip(self.target.parameters(), self.network.parameters(), strict=True):
            target.lerp_(source, self.tau)

    def _steps(self, raw: Tensor) -> Tensor:
        return raw.sigmoid() / (1 - self.config.gamma)

    def _between(self, now: Tensor, goal: Tensor) -> Tensor:
        return self._steps(self.network(now, goal))


class CalibratedValue(ValueDistance):
    """``ValueDistance`` plus the squared difference of the latents, near the goal only.

    A value leads around obstacles but is imprecise within a step of the goal, where the squared
    difference is precise. The difference is measured in units of ``radius`` model steps of the data
    (root mean square). Its square is clipped at 1, so that it does not depend on goals that are
    farther away.
    """

    step_change: Tensor

    def __init__(self, latent_size: int, config: DistanceConfig) -> None:
        super().__init__(latent_size, config)
        self.register_buffer("step_change", torch.ones(()))

    def fit_scale(self, latents: Tensor, changes: Tensor) -> None:
        """Compute also the mean squared change per model step from changes [M, D]."""
        super().fit_scale(latents, changes)
        self.step_change.copy_(changes.square().mean().clamp(min=1e-12))

    def forward(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the distances [...] in model steps."""
        near = (now - goal).square().mean(-1) / (self.config.radius**2 * self.step_change)
        return super().forward(now, goal) + near.clamp(max=1)


class WhitenedValue(WhitenedHead, ValueDistance):
    """``ValueDistance`` plus the root of ``MahalanobisDistance``, near the goal only.

    The root is clipped at ``radius``, so that beyond it the value leads around obstacles. Unlike a
    square, it still distinguishes plans that end a fraction of a step from the goal.
    """

    weight = 2.0  # near the goal, a step of whitened distance costs as much as this many steps

    def forward(self, now: Tensor, goal: Tensor) -> Tensor:
        """Return the distances [...] in model steps."""
        # The gradient of the root is finite at the goal.
        near = self._square((now - goal) / self.std).add(1e-9).sqrt()
        return super().forward(now, goal) + self.weight * near.clamp(max=self.config.radius)


HEADS: dict[str, type[DistanceHead]] = {
    "calibrated-value": CalibratedValue,
    "mahalanobis": MahalanobisDistance,
    "quasimetric": QuasimetricDistance,
    "reachability": Reachability,
    "temporal": TemporalDistance,
    "value": ValueDistance,
    "whitened-value": WhitenedValue,
}


def make_head(latent_size: int, config: DistanceConfig) -> DistanceHead:
    """Make an untrained head."""
    return HEADS[config.kind](latent_size, config)


def expectile_loss(error: Tensor, expectile: float) -> Tensor:
    """Return the mean squared error, weighted ``expectile`` above 0 and 1 - ``expectile`` below."""
    return (torch.where(error > 0, expectile, 1 - expectile) * error.square()).mean()


def _perceptron(input_size: int, output_size: int, config: DistanceConfig) -> nn.Sequential:
    network = make_perceptron(input_size, output_size, width=config.width, depth=config.depth)
    last = network[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight, std=1 / math.sqrt(last.in_features))
    return network
