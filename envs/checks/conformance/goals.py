"""Rewards, success and termination follow from the goals, in every method that states them."""

from __future__ import annotations

import numpy as np

from jepabench.envs.checks.fingerprint import digest, fixed_actions
from jepabench.envs.checks.subject import CheckFailed, Subject, require
from jepabench.envs.core.goal_env import REWARDS, GoalEnv
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.envs.splits import reset_to

_NUM_CANDIDATES, _NUM_MODEL_STEPS = 2, 2
_COMPARED_STEPS = 5


def check_rewards(subject: Subject) -> str:
    """Compare ``step``, ``compute_reward``, ``is_success`` and ``distance`` on random steps."""
    for reward in REWARDS:
        env = subject.make(reward=reward)
        env.reset(seed=0)
        steps = [env.step(action) for action in fixed_actions(env)]
        achieved, desired = (
            np.stack([step[0][key] for step in steps]) for key in ("achieved_goal", "desired_goal")
        )
        rewards = np.array([step[1] for step in steps])
        given = achieved.copy(), desired.copy()
        computed = env.compute_reward(*given, {})
        unchanged = np.array_equal(given[0], achieved) and np.array_equal(given[1], desired)
        require(unchanged, f"{reward}: compute_reward changes the goals that it is given.")
        require(
            np.array_equal(computed, rewards),
            f"{reward}: compute_reward over rows differs from the rewards of step().",
        )
        successes = env.is_success(achieved, desired)
        found = [step[4]["is_success"] for step in steps]
        require(np.array_equal(successes, found), "is_success and info['is_success'] differ.")
        require(bool((rewards <= 0).all()), f"{reward}: a reward is above 0: {rewards.max()}.")
        solved = env.compute_reward(desired, desired, {})
        require(
            bool((solved == 0).all()),
            f"{reward}: the reward at the goal must be 0, got {solved.min()}.",
        )
        _check_axes(env, achieved, desired)
    return "equal to compute_reward, row by row; 0 at the goal"


def _check_axes(env: GoalEnv, achieved: np.ndarray, desired: np.ndarray) -> None:
    """Require that goals [2, 3, G] and one goal [G] give results [2, 3]."""
    block = achieved[:6].reshape(2, 3, -1)
    for name, function in (("distance", env.distance), ("is_success", env.is_success)):
        rows = np.asarray(function(achieved[:6], desired[:6]))
        try:
            found = np.asarray(function(block, desired[0]))
        except Exception as error:
            raise CheckFailed(
                f"{name} fails for goals {list(block.shape)} and [{block.shape[-1]}]: {error}"
            ) from error
        require(
            found.shape == (2, 3) and np.array_equal(found.ravel(), rows),
            f"{name} of goals {list(block.shape)} and [{block.shape[-1]}] must be the same as row "
            f"by row, with shape [2, 3]; got shape {list(found.shape)}.",
        )


def check_step(subject: Subject) -> str:
    """Drive the best behaviour through ``step`` to the end of the budget, and check each result."""
    num_successes = 0
    for reward in REWARDS:
        env = subject.make(reward=reward)
        spec = subject.specs(subject.task.strata[0])[0]
        observation, info = reset_to(env, spec)
        behaviour = make_behaviour(subject.task, subject.best_behaviour)
        behaviour.reset(env, np.random.default_rng(spec.planner_seed))
        budget = info["budget"]
        for number in range(1, budget + 1):
            action = np.array(behaviour.act(observation))
            given = action.copy()
            result = env.step(given)
            require(np.array_equal(given, action), "step() changes the action that it is given.")
            _check_result(env, result, is_last=number == budget, when=f"{reward}, step {number}")
            observation = result[0]
            num_successes += result[4]["is_success"]
        _compare_with_advance(env, np.array(behaviour.act(observation)))
    return f"rewards and ends are right in {num_successes} success states"


def _check_result(env: GoalEnv, result: tuple, *, is_last: bool, when: str) -> None:
    observation, reward, terminated, truncated, info = result
    goals = observation["achieved_goal"], observation["desired_goal"]
    expected = float(env.compute_reward(*goals, info))
    where = " in a success state" if info["is_success"] else ""
    require(
        reward == expected,
        f"{when}: step() returns reward {reward}{where}, compute_reward {expected}.",
        "Remove the reward from step(). Rewards follow from distance and is_success, so that "
        "hindsight relabelling can compute them.",
    )
    require(
        not terminated,
        f"{when}: step() ends the episode{where} (terminated=True).",
        "Never terminate: success must be held, and the environment runs on after a success.",
    )
    require(
        bool(truncated) == is_last,
        f"{when}: truncated is {bool(truncated)}, but the budget is {env.budget} control steps.",
        "Leave truncation to GoalEnv, which counts the control steps of the budget.",
    )
    require(
        bool(info["violation"]) == bool(env._violated()),
        f"{when}: info['violation'] is {info['violation']}, _violated() returns {env._violated()}.",
        "Implement rules in _violated. Replays of actions do not call step().",
    )
    for name, value in (("is_success", env.is_success), ("distance", env.distance)):
        require(
            float(value(*goals)) == float(info[name]),
            f"{when}: info[{name!r}] is {info[name]}, {name}() returns {value(*goals)}.",
        )


def _compare_with_advance(env: GoalEnv, action: np.ndarray) -> None:
    state = env.snapshot()
    stepped = digest(env.step(action)[0] for _ in range(_COMPARED_STEPS))
    env.restore(state)
    advanced = digest(env.advance(action[None])[0] for _ in range(_COMPARED_STEPS))
    require(stepped == advanced, "step() and advance() lead to different observations.")


def check_imagined_goals(subject: Subject) -> str:
    """Compare ``imagine_goals`` with taking the same steps."""
    env = subject.make()
    env.reset(seed=0)
    block = subject.task.action_block
    count = _NUM_CANDIDATES * _NUM_MODEL_STEPS * block
    actions = np.resize(fixed_actions(env), (count, *env.action_space.shape))
    plans = actions.reshape(_NUM_CANDIDATES, _NUM_MODEL_STEPS, block, -1)
    state = env.snapshot()
    before = digest([env.advance(actions[:0])[0]])
    imagined = env.imagine_goals(plans)
    require(
        digest([env.advance(actions[:0])[0]]) == before,
        "imagine_goals changes the environment.",
    )
    for candidate, plan in enumerate(plans):
        env.restore(state)
        goals = np.stack([env.advance(part)[0]["achieved_goal"] for part in plan])
        require(
            np.allclose(imagined[candidate], goals, rtol=0.0, atol=1e-9),
            f"imagine_goals differs from stepping by {np.abs(imagined[candidate] - goals).max()}.",
        )
    return "imagine_goals agrees with stepping"
