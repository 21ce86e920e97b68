"""Plans that a policy proposes to a planner.

The policy acts, the world model predicts the next latent, and the policy acts again. The planner
starts from these plans and from its last plan.
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
    """Plans of a policy on latents, rolled out in a world model.

    Args:
        policy: Policy from the present latent and the latent of the goal to actions of model steps,
            which it normalises with its own scale.
        scale: Scale of the world model's actions.
    """

    def __init__(self, policy: GoalPolicy, scale: ActionScale) -> None:
        self.policy, self.scale = policy, scale

    def to(self, device: torch.device) -> PolicyProposal:
        """Move the policy and the scale of its actions to a device."""
        self.policy.to(device)
        self.scale = ActionScale(self.scale.mean.to(device), self.scale.std.to(device))
        return self

    @torch.no_grad()
    def __call__(
        self, model: WorldModel, context: Context, goal: Tensor, *, horizon: int
    ) -> Tensor:
        """Return plans [B, P, H, A] from B contexts to goals [B, *latent].

        Actions are in the units of the model. P is the number of arrival times on which the policy
        can be conditioned; each plan has its own.

        Raises:
            ValueError: The policy needs a longer history than the model has.
        """
        if self.policy.history > model.history:
            raise ValueError(
                f"The policy needs {self.policy.history} frames, but the world model remembers "
                f"{model.history}. Train the policy with history={model.history}."
            )
        num_plans, own = self.policy.num_arrivals, self.policy.action_scale
        context = Context(
            *(part.repeat_interleave(num_plans, 0) for part in (context.latents, context.actions))
        )
        arrivals = torch.arange(1, num_plans + 1, device=goal.device).repeat(len(goal))
        goal = goal.repeat_interleave(num_plans, 0)
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
    """Load an offline policy that was trained on latents, and return its proposal.

    Raises:
        ValueError: The folder has no such policy, or the policy was trained with another
            algorithm, task or input, or on the latents of another model.
    """
    policy = load_policy(
        Path(directory),
        POLICIES,
        task_id=get_task(task_id).id,
        inputs="latents",
        world_model=world_model,
    )
    return PolicyProposal(policy, scale)
