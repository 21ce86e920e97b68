"""Plans that a policy without search proposes: it acts, the world model imagines where that leads, and it acts again.

A search starts from the proposal beside its own warm start, so it can be better than the policy but hardly worse.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from agents.model_free import crl, gcbc, gciql, gcivl, hiql, inverse, td3bc
from agents.model_free.offline import GoalPolicy, load_policy
from agents.model_free.timed import TimedPolicy
from envs.registry import get_task
from world_models.base import Context, WorldModel, rollout
from world_models.batches import ActionScale

POLICIES: tuple[type[GoalPolicy], ...] = (
    inverse.InversePolicy, gcbc.CloningPolicy, gciql.GCIQLPolicy, gcivl.GCIVLPolicy, hiql.HIQLPolicy, crl.CRLPolicy,
    td3bc.TD3BCPolicy, TimedPolicy,
)  # fmt: skip


class PolicyProposal:
    """Imagines what a policy on latents would do.

    Args:
        policy: gives normalised model-step actions, in its own scale, from latents now and of the goal.
        scale: of the world model's actions.
    """

    def __init__(self, policy: GoalPolicy, scale: ActionScale) -> None:
        self.policy, self.scale = policy, scale

    @torch.no_grad()
    def __call__(self, model: WorldModel, context: Context, goal: Tensor, *, horizon: int) -> Tensor:
        """Returns plans [B, P, H, A], in the model's units, from B contexts towards goals [B, *latent].

        P is 1, or the number of times of arrival for a policy that is told one.
        """
        times = torch.arange(1, self.policy.config.max_goal_steps + 1) if isinstance(self.policy, TimedPolicy) else None
        num_plans = 1 if times is None else len(times)
        context = Context(*(part.repeat_interleave(num_plans, 0) for part in (context.latents, context.actions)))
        goal, actions = goal.repeat_interleave(num_plans, 0), []
        for step in range(horizon):
            left = None if times is None else (times - step).clamp(min=1).repeat(len(goal) // num_plans)
            action = self._decided(context.latents[:, -1], goal, left)
            actions.append(action)
            after = rollout(model, context, action[:, None, None])[:, 0]
            known = max(0, context.actions.shape[1] + 2 - model.history)
            context = Context(
                torch.cat([context.latents, after], dim=1)[:, -model.history :],
                torch.cat([context.actions, action[:, None]], dim=1)[:, known:],
            )
        return torch.stack(actions, dim=1).unflatten(0, (-1, num_plans))

    def _decided(self, now: Tensor, goal: Tensor, left: Tensor | None) -> Tensor:
        pair = now.flatten(1), goal.flatten(1)
        own = self.policy.action_scale
        if left is not None and isinstance(self.policy, TimedPolicy):
            decided = self.policy.decide_in(*pair, left)
        else:
            decided = self.policy.decide(*pair)
        return self.scale.normalise(decided * own.std + own.mean)


def load_proposal(directory: Path, *, task_id: str, scale: ActionScale) -> PolicyProposal:
    """Returns the proposal of an offline policy that was trained on latents and left in a folder.

    Raises:
        ValueError: no such policy, another algorithm, or one of another task or on other inputs.
    """
    policy = load_policy(Path(directory), POLICIES, task_id=get_task(task_id).id, inputs="latents")
    return PolicyProposal(policy, scale)
