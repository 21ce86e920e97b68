"""A JEPA for stochastic worlds, with one latent variable per step.

In training, a posterior infers the variable from the true next state, and a prior learns to predict
it. A penalty limits the information in the variable. In planning, the variable is drawn from the
prior, or set to its most likely value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepabench.envs.errors import unknown_name
from jepabench.world_models.base import Context, TrajectoryBatch, rollout_with
from jepabench.world_models.kinds.jepa import JEPA, JEPAConfig
from jepabench.world_models.training import objectives

_UNIFORM_SHARE = 0.01  # share of uniform probability in a categorical: all codes keep a gradient


class VariableKind(Protocol):
    """A family of distributions over the variable u with parameters [..., P]."""

    @property
    def size(self) -> int:
        """Number U of entries of the variable."""
        ...

    @property
    def num_parameters(self) -> int:
        """Number P of parameters."""
        ...

    def mode(self, parameters: Tensor) -> Tensor:
        """Return the most likely variable [..., U]."""
        ...

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return noise [*shape, U], which does not depend on the parameters."""
        ...

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Return a variable [..., U] that is differentiable in its parameters."""
        ...

    def divergence(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """Return the KL divergence of the posterior from the prior [...], in nats."""
        ...


@dataclass(frozen=True, slots=True)
class Categorical:
    """A one-hot code out of U, with straight-through gradients (Jang et al., 2017).

    Attributes:
        size: Number of codes.
        temperature: Temperature of the softmax through which gradients flow.
    """

    size: int
    temperature: float = 1.0

    @property
    def num_parameters(self) -> int:
        """One logit per code."""
        return self.size

    def mode(self, parameters: Tensor) -> Tensor:
        """Return the most likely code [..., U]."""
        return functional.one_hot(parameters.argmax(-1), self.size).to(parameters)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return standard Gumbel noise."""
        uniform = torch.rand(*shape, self.size, generator=generator).clamp(1e-6, 1 - 1e-6)
        return -(-uniform.log()).log()

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Return a code [..., U]."""
        logits = self._log_probabilities(parameters) + noise
        soft = functional.softmax(logits / self.temperature, dim=-1)
        return self.mode(logits) + soft - soft.detach()

    def divergence(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """Return the KL divergence [...]."""
        log_posterior = self._log_probabilities(posterior)
        return (log_posterior.exp() * (log_posterior - self._log_probabilities(prior))).sum(-1)

    def _log_probabilities(self, parameters: Tensor) -> Tensor:
        share = (1 - _UNIFORM_SHARE) * functional.softmax(
            parameters, dim=-1
        ) + _UNIFORM_SHARE / self.size
        return share.log()


@dataclass(frozen=True, slots=True)
class Gaussian:
    """U independent normal entries. The parameters are means, then log standard deviations."""

    size: int

    @property
    def num_parameters(self) -> int:
        """A mean and a log standard deviation per entry."""
        return 2 * self.size

    def mode(self, parameters: Tensor) -> Tensor:
        """Return the mean [..., U]."""
        return self._split(parameters)[0]

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return standard normal noise."""
        return torch.randn(*shape, self.size, generator=generator)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Return a vector [..., U]."""
        mean, log_std = self._split(parameters)
        return mean + log_std.exp() * noise

    def divergence(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """Return the KL divergence [...]."""
        (mean, log_std), (other, log_other) = self._split(posterior), self._split(prior)
        ratio = (2 * (log_std - log_other)).exp()
        return 0.5 * (ratio + ((mean - other) / log_other.exp()).square() - 1 - ratio.log()).sum(-1)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = parameters.chunk(2, dim=-1)
        return mean, 3 * torch.tanh(log_std / 3)  # keeps the std between 1/20 and 20


VARIABLES: dict[str, type[Categorical] | type[Gaussian]] = {
    "categorical": Categorical,
    "gaussian": Gaussian,
}


@dataclass(frozen=True, kw_only=True)
class LatentVariableConfig(JEPAConfig):
    """Configuration of a JEPA with a latent variable.

    Attributes:
        variable: "categorical" (one of ``variable_size`` codes per step) or "gaussian"
            (``variable_size`` numbers per step).
        variable_size: Size U of the variable. A categorical holds at most log U nats.
        information_weight: Weight of the information about the true next state that the predictor
            receives through the variable, in units of the prediction error per nat. If it is too
            low, the variable explains effects of the action; if it is too high, it is not used.
        width: Width of the hidden layers of prior and posterior.
    """

    variable: str = "categorical"
    variable_size: int = 8
    information_weight: float = 0.01
    width: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variable not in VARIABLES:
            raise unknown_name("variable", self.variable, VARIABLES)
        if self.variable_size < 1 or self.information_weight < 0:
            raise ValueError(
                "variable_size must be at least 1 and information_weight at least 0, "
                f"got {self.variable_size} and {self.information_weight}."
            )


class LatentVariableJEPA(JEPA):
    """A JEPA whose predictor also takes the random outcome of a step: z' = f(z, a, u).

    This is a conditional variational autoencoder in latent space (Sohn et al., 2015) with a learned
    prior, as in RSSM models. The variable u is the latent variable of LeCun's 2022 proposal. Prior
    and posterior send no gradient to the latents. ``predict`` uses the most likely u of the prior;
    ``futures`` draws u from it.
    """

    config_class = LatentVariableConfig
    config: LatentVariableConfig

    def __init__(self, config: LatentVariableConfig) -> None:
        super().__init__(config)
        self.variable: VariableKind = VARIABLES[config.variable](config.variable_size)
        known = config.history * (config.latent_dim + config.action_size)
        self.prior = _mlp(known, config.width, self.variable.num_parameters)
        self.posterior = _mlp(known + config.latent_dim, config.width, self.variable.num_parameters)

    def predict(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Predict the most likely next latent [N, D] from latents [N, k, D], actions [N, k, A]."""
        return self._predict_with(
            latents, actions, self.variable.mode(self.prior(self._known(latents, actions)))
        )

    def futures(
        self, context: Context, actions: Tensor, *, num_futures: int, generator: torch.Generator
    ) -> Tensor:
        """Draw M = ``num_futures`` futures [B, S, M, H, D] of each candidate [B, S, H, A].

        All candidates of all problems use the same noise, so that differences between them come
        from their actions.
        """
        problems, samples, horizon, size = actions.shape
        noise = self.variable.noise((horizon, num_futures), generator)
        many = actions[:, :, None].expand(-1, -1, num_futures, -1, -1)
        steps = iter(noise)

        def predict(latents: Tensor, past: Tensor) -> Tensor:
            parameters = self.prior(self._known(latents, past))
            step_noise = next(steps).expand(problems * samples, -1, -1).flatten(0, 1)
            return self._predict_with(latents, past, self.variable.draw(parameters, step_noise))

        imagined = rollout_with(
            predict, self.history, context, many.reshape(problems, -1, horizon, size)
        )
        return imagined.view(problems, samples, num_futures, horizon, *imagined.shape[3:])

    @property
    def _action_size(self) -> int:
        return self.config.action_size + self.config.variable_size

    def _predict_with(self, latents: Tensor, actions: Tensor, variable: Tensor) -> Tensor:
        # Earlier outcomes are visible in the latents, so their variables are zero.
        variables = functional.pad(variable[:, None], (0, 0, latents.shape[1] - 1, 0))
        return self.predictor(latents, torch.cat([actions, variables], dim=-1))

    def _known(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Return the padded history of latents and actions as one vector [N, K * (D + A)]."""
        missing = self.history - latents.shape[1]
        if missing:
            latents = torch.cat([latents[:, :1].expand(-1, missing, -1), latents], dim=1)
            actions = functional.pad(actions, (0, 0, missing, 0))
        return torch.cat([latents.flatten(1), actions.flatten(1)], dim=1)

    def prediction_terms(
        self, latents: Tensor, batch: TrajectoryBatch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return ``prediction`` with variables inferred from true latents, and ``information``."""
        config, history = self.config, self.history
        num_steps = latents.shape[1] - history
        seen = (
            latents[:, :-1].unfold(1, history, 1)[:, :num_steps].transpose(2, 3).flatten(0, 1)
        )  # [B * H, K, D]
        done = batch.actions.unfold(1, history, 1)[:, :num_steps].transpose(2, 3).flatten(0, 1)
        known, target = self._known(seen.detach(), done), latents[:, history:]
        prior = self.prior(known)
        posterior = self.posterior(torch.cat([known, target.detach().flatten(0, 1)], dim=1))
        drawn = self.variable.draw(posterior, self.variable.noise((len(posterior),), generator))
        steps = iter(drawn.view(len(latents), num_steps, -1).unbind(1))
        imagined = rollout_with(
            lambda window, actions: self._predict_with(window, actions, next(steps)),
            history,
            Context(latents[:, :history], batch.actions[:, : history - 1]),
            batch.actions[:, None, history - 1 :],
        )[:, 0]
        information = self.variable.divergence(posterior, prior).mean()
        return {
            "prediction": objectives.prediction_error(
                imagined, target, stop_gradient=config.stop_gradient
            ),
            "information": config.information_weight * information,
        }


def _mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LayerNorm(width),
        nn.GELU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, outputs),
    )
