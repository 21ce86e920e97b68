"""Plans that a policy without search proposes: it acts, the world model imagines where that leads, and it acts again.

A search starts from the proposal beside its own warm start, so it can be better than the policy but hardly worse.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from agents.model_free import gcbc, inverse
from agents.model_free.offline import GoalPolicy, OfflineConfig
from agents.model_free.run_folder import read_run
from envs.registry import get_task, unknown_name
from world_models.base import Context, WorldModel, rollout
from world_models.batches import ActionScale

POLICIES: dict[str, type[GoalPolicy]] = {inverse.NAME: inverse.InversePolicy, gcbc.NAME: gcbc.CloningPolicy}


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
        """Returns plans [B, 1, H, A], in the model's units, from B contexts towards goals [B, *latent]."""
        now, actions = context.latents[:, -1], []
        for _ in range(horizon):
            decided = self.policy.decide(now.flatten(1), goal.flatten(1))
            action = self.scale.normalise(decided * self.policy.action_scale.std + self.policy.action_scale.mean)
            actions.append(action)
            context = Context(
                torch.cat([context.latents, rollout(model, context, action[:, None, None])[:, 0]], dim=1)[
                    :, -model.history :
                ],
                torch.cat([context.actions, action[:, None]], dim=1)[
                    :, max(0, context.actions.shape[1] + 2 - model.history) :
                ],
            )
            now = context.latents[:, -1]
        return torch.stack(actions, dim=1)[:, None]


def load_proposal(directory: Path, *, task_id: str, scale: ActionScale) -> PolicyProposal:
    """Returns the proposal of a policy that ``gcbc.train`` or ``inverse.train`` left in a folder, trained on latents.

    Raises:
        ValueError: no such policy, or one of another task or on other inputs.
        UnknownNameError: another algorithm.
    """
    content = read_run(Path(directory), task_id=get_task(task_id).id, on_latents=True)
    if content["algorithm"] not in POLICIES:
        raise unknown_name("policy to propose plans", content["algorithm"], POLICIES)
    now_size, goal_size, action_size = content["sizes"]
    policy = POLICIES[content["algorithm"]](now_size, goal_size, action_size, OfflineConfig(**content["config"]))  # pyright: ignore[reportCallIssue]
    policy.load_state_dict(load_file(Path(directory) / "policy.safetensors"))
    policy.eval().requires_grad_(False)
    return PolicyProposal(policy, scale)
