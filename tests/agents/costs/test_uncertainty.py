"""Test uncertainty terms with models whose disagreement is known."""

import pytest
import torch

from jepabench.agents.costs.energy import Energy, GoalDistance
from jepabench.agents.costs.uncertainty import Disagreement, OverFutures
from jepabench.world_models.base import Context

CONTEXT = Context(torch.zeros(1, 1, 1), torch.zeros(1, 0, 1))
GOAL = torch.zeros(1, 1)


class Line:
    """A place moved by the action.

    It is unsure of large actions, and chance adds a step up or down that grows with them.
    """

    observation_key, history, action_size, window = "observation", 1, 1, 2

    def encode(self, observation):
        return observation

    def predict(self, latents, actions):
        return latents[:, -1] + actions[:, -1]

    def losses(self, batch, generator):
        raise NotImplementedError

    def disagreement(self, context, actions):
        return actions.square().flatten(3).mean(3)

    def futures(self, context, actions, *, num_futures, generator):
        sign = torch.where(torch.rand(num_futures, 1, 1, generator=generator) < 0.5, -1.0, 1.0)
        place = context.latents[:, None, None, -1:] + actions.cumsum(2)[:, :, None]
        return place + sign * actions.abs().cumsum(2)[:, :, None]


def plans(*steps: list[float]) -> torch.Tensor:
    return torch.tensor(steps)[None, :, :, None]


def test_disagreement_is_counted_along_the_plan():
    actions = plans([1.0, 3.0], [0.0, 0.0])
    energy = Energy(terms=[Disagreement(weight=2.0)]).bind(Line(), CONTEXT)
    torch.testing.assert_close(
        energy(torch.zeros(1, 2, 2, 1), GOAL, actions), torch.tensor([[10.0, 0.0]])
    )
    discounted = Energy(terms=[Disagreement(gamma=0.5)]).bind(Line(), CONTEXT)
    torch.testing.assert_close(
        discounted(torch.zeros(1, 2, 2, 1), GOAL, actions)[0, 0], torch.tensor((1 + 4.5) / 1.5)
    )


def test_terms_without_a_model_can_be_combined_with_it():
    energy = Energy(terms=[GoalDistance(), Disagreement()]).bind(Line(), CONTEXT)
    report = energy.terms_report(torch.ones(1, 1, 2, 1), GOAL, plans([0.0, 0.0]))
    assert {name: float(value) for name, value in report.items()} == {
        "goal": 1.0,
        "disagreement": 0.0,
    }
    plain = Energy()
    assert plain.bind(Line(), CONTEXT) is plain


def test_risk_selects_mean_worst_or_best_future():
    # One step: 0.5 +- 0.5 is 0 or 1; standing still is 0 for sure, 0.4 away from the goal at 0.4.
    actions, goal = plans([0.5], [0.0]), torch.full((1, 1), 0.4)
    costs = {}
    for risk in ("mean", "worst", "best"):
        term = OverFutures(term=GoalDistance(kind="l1"), num_futures=64, risk=risk)
        costs[risk] = Energy(terms=[term]).bind(Line(), CONTEXT)(
            torch.zeros(1, 2, 1, 1), goal, actions
        )[0]
    torch.testing.assert_close(costs["worst"], torch.tensor([0.6, 0.4]))
    torch.testing.assert_close(costs["best"], torch.tensor([0.4, 0.4]))
    assert 0.4 < float(costs["mean"][0]) < 0.6


def test_the_draws_are_equal_in_every_iteration():
    bound = OverFutures(num_futures=4).bind(Line(), CONTEXT)
    actions = plans([0.5, 1.0])
    first, second = (bound(torch.zeros(1, 1, 2, 1), GOAL, actions) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("term", [Disagreement(), OverFutures()])
def test_a_model_without_the_needed_outputs_is_refused(term):
    class Sure(Line):
        disagreement = futures = None

    with pytest.raises(TypeError, match="Use a world model of kind"):
        term.bind(Sure(), CONTEXT)
    with pytest.raises(RuntimeError, match="bind"):
        Energy(terms=[term])(torch.zeros(1, 1, 1, 1), GOAL, plans([0.0]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Disagreement(gamma=0.0), "gamma"),
        (lambda: OverFutures(risk="worse"), "Did you mean 'worst'"),
        (lambda: OverFutures(num_futures=0), "num_futures"),
    ],
)
def test_a_wrong_setting_is_refused(make, message):
    with pytest.raises((KeyError, ValueError), match=message):
        make()
