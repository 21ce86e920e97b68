"""Plans that a policy without search proposes: it acts, the world model imagines where that leads,
and it acts again.

A search starts from the proposal beside its own warm start, so it can be better than the policy but
hardly worse.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from jepabench.agents.model_free.offline import (
    crl,
    gcbc,
    gciql,
    gcivl,
    hiql,
    inverse,
    td3bc,
    timed,
)
from jepabench.agents.model_free.offline.policy import GoalPolicy
from jepabench.agents.model_free.offline.training import load_policy
from jepabench.envs.registry import get_task
from jepabench.world_models.base import Context, WorldModel, rollout
from jepabench.world_models.training.batches import ActionScale

POLICIES: tuple[type[GoalPolicy], ...] = (
    inverse.InversePolicy,
    gcbc.CloningPolicy,
    gciql.GCIQLPolicy,
    gcivl.GCIVLPolicy,
    hiql.HIQLPolicy,
    crl.CRLPolicy,
    td3bc.TD3BCPolicy,
    timed.TimedPolicy,
)


class PolicyProposal:
    """Imagines what a policy on latents would do.

    Args:
        policy: gives normalised model-step actions, in its own scale, from latents now and of the
            goal.
        scale: of the world model's actions.
    """

    def __init__(self, policy: GoalPolicy, scale: ActionScale) -> None:
        self.policy, self.scale = policy, scale

    @torch.no_grad()
    def __call__(
        self, model: WorldModel, context: Context, goal: Tensor, *, horizon: int
    ) -> Tensor:
        """Return plans [B, P, H, A], in the model's units, from B contexts towards goals [B,
        *latent].

        P is the number of times of arrival that the policy can be told; each plan arrives at its
        own, or when it can.

        Raises:
            ValueError: the policy looks further back than the model.
        """
        if self.policy.history > model.history:
            raise ValueError(
                f"The policy looks at {self.policy.history} frames, the world model "
                f"remembers {model.history}. "
                f"Train the policy with history={model.history}."
            )
        num_plans, own = self.policy.num_arrivals, self.policy.action_scale
        context = Context(
            *(part.repeat_interleave(num_plans, 0) for part in (context.latents, context.actions))
        )
        arrivals, goal = (
            torch.arange(1, num_plans + 1).repeat(len(goal)),
            goal.repeat_interleave(num_plans, 0),
        )
        actions = []
        for step in range(horizon):
            left = (arrivals - step).clamp(min=1)
            recent = context.latents[:, -self.policy.history :].flatten(1)
            decided = self.policy.decide_in(recent, goal.flatten(1), left)
            action = self.scale.normalise(decided * own.std + own.mean)
            actions.append(action)
            after = rollout(model, context, action[:, None, None])[:, 0]
            known = max(0, context.actions.shape[1] + 2 - model.history)
            context = Context(
                torch.cat([context.latents, after], dim=1)[:, -model.history :],
                torch.cat([context.actions, action[:, None]], dim=1)[:, known:],
            )
        return torch.stack(actions, dim=1).unflatten(0, (-1, num_plans))


def load_proposal(
    directory: Path, *, task_id: str, world_model: Path, scale: ActionScale
) -> PolicyProposal:
    """Return the proposal of an offline policy that was trained on latents and left in a folder.

    Raises:
        ValueError: no such policy, another algorithm, or one of another task, on other inputs or on
            another model's latents.
    """
    policy = load_policy(
        Path(directory),
        POLICIES,
        task_id=get_task(task_id).id,
        inputs="latents",
        world_model=world_model,
    )
    return PolicyProposal(policy, scale)
