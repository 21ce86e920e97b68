"""Images have the requested size, show the goal, and do not change the environment."""

from __future__ import annotations

import numpy as np

from jepabench.envs.checks.fingerprint import TRACE_PIXELS, fixed_actions
from jepabench.envs.checks.subject import Subject, require
from jepabench.envs.splits import reset_to

_SIZES = (48, 96)
_RENDER_SIZE = 128


def check_images(subject: Subject) -> str:
    """Compare images of start and goal, in several sizes."""
    _check_sizes(subject)
    env = subject.make(pixels=TRACE_PIXELS)
    for stratum in subject.task.strata:
        observation, _ = reset_to(env, subject.specs(stratum)[0])
        start, goal = observation["pixels"], observation["goal_pixels"]
        require(not np.array_equal(start, goal), f"{stratum}: the goal looks like the start.")
        same = np.array_equal(env.goal_frame(TRACE_PIXELS), goal)
        require(same, "goal_frame() differs from goal_pixels.")
        now = env.advance(np.empty((0, *env.action_space.shape)))[0]["pixels"]
        require(np.array_equal(now, start), "drawing the goal changed the environment.")
    return "start and goal look different; frames have the requested sizes"


def _check_sizes(subject: Subject) -> None:
    env = subject.make(render_mode="rgb_array", render_size=_RENDER_SIZE)
    env.reset(seed=0)
    frames = {size: env.goal_frame(size) for size in _SIZES} | {_RENDER_SIZE: env.render()}
    advice = "Draw an image of the size that _frame is given, and return a new array each time."
    for size, frame in frames.items():
        found = f"{getattr(frame, 'dtype', type(frame).__name__)}{np.shape(frame)}"
        expected = f"uint8{(size, size, 3)}"
        require(found == expected, f"_frame({size}) returns {found}, expected {expected}.", advice)
    kept = {size: frame.copy() for size, frame in frames.items()}
    env.advance(fixed_actions(env))
    for size in _SIZES:
        env.goal_frame(size)
    env.render()
    for size, frame in frames.items():
        same = np.array_equal(frame, kept[size])
        require(same, f"a frame of size {size} changed when later frames were drawn.", advice)
