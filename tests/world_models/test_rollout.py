import torch

from jepabench.world_models.base import Context, WorldModel, rollout


class Integrator:
    """z' = z_{-1} + a, seen only through the longest history that it asks for."""

    observation_key, action_size, window = "observation", 2, 4

    def __init__(self, history: int) -> None:
        self.history = history
        self.seen: list[int] = []

    def encode(self, observation):
        return observation

    def predict(self, latents, actions):
        self.seen.append(latents.shape[1])
        assert latents.shape[:2] == actions.shape[:2]
        return latents[:, -1] + actions[:, -1]

    def losses(self, batch, generator):
        return {}


def test_rollout_sums_actions_and_keeps_problems_and_candidates_apart():
    model = Integrator(history=3)
    assert isinstance(model, WorldModel)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 2, 2, generator=generator)
    actions = torch.randn(4, 5, 6, 2, generator=generator)
    imagined = rollout(model, Context(start, torch.zeros(4, 1, 2)), actions)
    expected = start[:, None, -1:] + actions.cumsum(2)
    torch.testing.assert_close(imagined, expected)
    assert model.seen == [2, 3, 3, 3, 3, 3]


def test_rollout_is_differentiable_in_the_actions():
    actions = torch.zeros(1, 1, 3, 2, requires_grad=True)
    imagined = rollout(
        Integrator(history=1), Context(torch.zeros(1, 1, 2), torch.zeros(1, 0, 2)), actions
    )
    imagined[:, :, -1].sum().backward()
    assert actions.grad is not None and bool((actions.grad == 1).all())
