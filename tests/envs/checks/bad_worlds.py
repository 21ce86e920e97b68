"""Environments that each break one promise, for the tests of the checker.

They are registered when a test imports this module, and never in the suite.
"""

import bad_physics  # noqa: F401  (its worlds are subclasses of TinyWorld)
import numpy as np
from tiny_world import TinyWorld

from jepabench.envs.registry import register
from jepabench.envs.task import EpisodeDraw, TaskSpec
from jepabench.envs.variations.factors import Factor
from jepabench.envs.variations.moving_objects import MovingObject

counter = iter(range(10**9))


class Global(TinyWorld):
    def _draw_episode(self, rng, *, stratum, split):
        jump = next(counter) % 100 / 1000  # something that lives longer than an episode
        draw = super()._draw_episode(rng, stratum=stratum, split=split)
        return EpisodeDraw(draw.start * 0.9 + jump, draw.goal, draw.reference_steps)


class Hashed(TinyWorld):
    def _step_physics(self, action):
        super()._step_physics(action * (hash("another in each process") % 1000 / 1000))


class Forgetful(TinyWorld):
    speed = 0.0

    def _begin(self, draw):
        self.speed = np.zeros(2)
        super()._begin(draw)

    def _step_physics(self, action):
        self.speed = 0.9 * self.speed + 0.1 * action
        super()._step_physics(self.speed)


class Scalar(TinyWorld):
    def distance(self, achieved_goal, desired_goal):
        return np.sqrt(np.sum((np.asarray(achieved_goal) - desired_goal) ** 2))


class Solved(TinyWorld):
    def _step_physics(self, action):
        self._position = self._position + 0.5 * (self._desired_goal - self._position)


class Impossible(TinyWorld):
    def _step_physics(self, action):
        super()._step_physics(0.01 * action)


class Lenient(TinyWorld):
    def _checked(self, action):
        return np.nan_to_num(np.resize(action, (1, 2)))


class Unstable(TinyWorld):
    def _observation(self):
        return self._position * (np.nan if self._num_steps == 31 else 1.0)


class Blind(TinyWorld):
    def _frame(self, size):
        return np.zeros((size, size, 3), np.uint8)


class Leaky(TinyWorld):
    def _draw_episode(self, rng, *, stratum, split):
        draw = super()._draw_episode(rng, stratum=stratum, split=split)
        world = {"layout": rng.integers(2, size=1)}
        return EpisodeDraw(draw.start, draw.goal, draw.reference_steps, world)


class Broken(TinyWorld):
    def __init__(self, task, **kwargs):
        raise OSError("the mesh file is missing")


class Falls(TinyWorld):
    def _step_physics(self, action):
        raise ZeroDivisionError("the solver gave up")


# -- step, rewards and goals -----------------------------------------------------------------


class AddsReward(TinyWorld):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward + 10.0 * info["is_success"], terminated, truncated, info


class Terminates(TinyWorld):
    def step(self, action):
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, info["is_success"], truncated, info


class TruncatesEarly(TinyWorld):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated or info["is_success"], info


class ViolatesInStep(TinyWorld):
    def step(self, action):
        *result, info = super().step(action)
        return (*result, info | {"violation": True})


class SmoothsActions(TinyWorld):
    def step(self, action):
        return super().step(0.5 * np.asarray(action))


class ClipsInPlace(TinyWorld):
    def step(self, action):
        action *= 0.9
        return super().step(action)


class MutatesGoals(TinyWorld):
    def compute_reward(self, achieved_goal, desired_goal, info):
        reward = super().compute_reward(achieved_goal, desired_goal, info)
        achieved_goal -= desired_goal
        return reward


class RowsOnly(TinyWorld):
    def distance(self, achieved_goal, desired_goal):
        difference = np.asarray(achieved_goal) - desired_goal
        return np.hypot(difference[..., 0], difference[..., 1]).reshape(
            np.shape(achieved_goal)[:1] if np.ndim(achieved_goal) > 1 else ()
        )


class ImaginesWrongly(TinyWorld):
    def imagine_goals(self, actions):
        return np.zeros((*actions.shape[:2], 2))


# -- observations ----------------------------------------------------------------------------


class SeesGoal(TinyWorld):
    def _observation(self):
        return self._position - self._desired_goal


class DrawsGoal(TinyWorld):
    def _frame(self, size):
        frame = super()._frame(size)
        frame[:, int((self._desired_goal[0] + 1) / 2 * (size - 1))] = 128
        return frame


class MovesWhenSeen(TinyWorld):
    def _frame(self, size):
        self._position = self._position * 0.99
        return super()._frame(size)


class SingleFloats(TinyWorld):
    def _observation(self):
        return self._position.astype(np.float32)


class WrongSize(TinyWorld):
    def _observation(self):
        return np.append(self._position, 0.0)


class InPlace(TinyWorld):
    """Moves in place, as a simulator does; correct as long as it returns copies."""

    def _set_physics(self, physics):
        self._position[:] = physics

    def _step_physics(self, action):
        self._position[:] = np.clip(self._position + 0.1 * action, -1, 1)


class ViewOfObservation(InPlace):
    def _observation(self):
        return self._position


class ViewOfGoal(InPlace):
    def _achieved_goal(self):
        return self._position


class ReturnsInternal(TinyWorld):
    def _observation(self):
        return self._position  # never changed in place by the world, but by whoever receives it


class AliasedDraw(InPlace):
    def _draw_episode(self, rng, *, stratum, split):
        draw = super()._draw_episode(rng, stratum=stratum, split=split)
        self._position[:] = draw.start
        return EpisodeDraw(self._position, draw.goal, draw.reference_steps)

    def _begin(self, draw):
        super()._begin(EpisodeDraw(draw.start.copy(), draw.goal, draw.reference_steps))
        self._draw = draw


# -- state that lives too long, or that snapshots lack ---------------------------------------


class WearsOut(TinyWorld):
    num_episodes = 0

    def reset(self, *, seed=None, options=None):
        self.num_episodes += 1
        return super().reset(seed=seed, options=options)

    def _step_physics(self, action):
        super()._step_physics(action * (0.9 if self.num_episodes > 20 else 1.0))


class SharedState(TinyWorld):
    places = [np.zeros(2)]

    def _set_physics(self, physics):
        self.places[0] = self._position = np.array(physics)

    def _step_physics(self, action):
        self._position = self.places[0]
        super()._step_physics(action)
        self.places[0] = self._position


class ForgetsSuccess(TinyWorld):
    num_solved = 0

    def _set_physics(self, physics):
        super()._set_physics(physics)
        self.num_solved = 0

    def _step_physics(self, action):
        self.num_solved += self._is_success_now()
        super()._step_physics(action / (1 + self.num_solved))


class AlwaysSeeds(TinyWorld):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed or 0, options=options)


# -- episodes --------------------------------------------------------------------------------


class IgnoresStratum(TinyWorld):
    def _draw_episode(self, rng, *, stratum, split):
        return super()._draw_episode(rng, stratum="far", split=split)


class NoReference(TinyWorld):
    def _draw_episode(self, rng, *, stratum, split):
        draw = super()._draw_episode(rng, stratum=stratum, split=split)
        return EpisodeDraw(draw.start, draw.goal, 10.0)


class StartsInZone(TinyWorld):
    def _violated(self):
        return bool(self._position[0] > 0)


class NeverFinds(TinyWorld):
    def _draw_episode(self, rng, *, stratum, split):
        draw = super()._draw_episode(rng, stratum=stratum, split=split)
        while stratum == "far" and np.linalg.norm(draw.goal - draw.start) < 9.0:
            draw = super()._draw_episode(rng, stratum=stratum, split=split)
        return draw


class AssertsBarely(TinyWorld):
    def _frame(self, size):
        assert size == 64
        return super()._frame(size)


# -- images, variations and events -----------------------------------------------------------


class FixedFrame(TinyWorld):
    def _frame(self, size):
        return super()._frame(64)


class SharedFrame(TinyWorld):
    buffers = {}

    def _frame(self, size):
        buffer = self.buffers.setdefault(size, np.zeros((size, size, 3), np.uint8))
        buffer[:] = super()._frame(size)
        return buffer


class Colourful(TinyWorld):
    """Correct: has a factor of variation, and something that events can happen to."""

    shade = 255

    def _frame(self, size):
        return np.minimum(super()._frame(size), np.uint8(self.shade))

    def _factors(self):
        return (
            Factor(
                name="shade",
                description="brightness of the point",
                default=255,
                apply=self.set_shade,
                allowed=(1, 255),
                hard=(50, 100),
                whole=True,
            ),
        )

    def set_shade(self, value):
        self.shade = int(value[0])

    def _moving_objects(self):
        return (
            MovingObject(
                name="point",
                get_motion=lambda: self._position.copy(),
                set_motion=self.set_motion,
                sample=lambda rng: rng.uniform(-1, 1, (8, 2)),
                extent=2.0,
            ),
        )

    def set_motion(self, motion):
        self._position = motion.copy()


class KeepsVariation(Colourful):
    def set_shade(self, value):
        self.shade = min(self.shade, int(value[0]))


class KeepsEvent(Colourful):
    def set_motion(self, motion):
        super().set_motion(motion)
        self.shade = 120


def find_subclasses(cls):
    return [cls, *(found for child in cls.__subclasses__() for found in find_subclasses(child))]


WORLDS = {world.__name__: world for world in find_subclasses(TinyWorld)}
BEHAVIOURS = ("GlobalRandom", "HashRandom", "Meddler", "Rememberer", "Rude", "Winner", "Absent")


def register_bad(name, world, *, behaviour="tiny_world:Random"):
    register(
        TaskSpec(
            id=name,
            family="bad",
            entry_point=f"{WORLDS[world].__module__}:{world}",
            control_dt=0.1,
            max_steps=60,
            strata=("near", "far"),
            success="the point is within 0.2 of the goal",
            behaviours={"random": behaviour, "expert": "tiny_world:Expert"},
            physics="none",
        )
    )


for name in WORLDS:
    register_bad(f"bad/{name}-v0", name)
for name in BEHAVIOURS:
    register_bad(f"bad/TinyWorld-{name}-v0", "TinyWorld", behaviour=f"bad_behaviours:{name}")
register_bad("bad/Unversioned", "TinyWorld")
