"""Film episodes by replaying their actions, beside the frames that the model imagined.

An evaluation records only actions, because an ``EpisodeSpec`` determines everything else. Films are
animated WebP, which all browsers and GitHub show. A WebP has a third to a fifth of the bytes of a
GIF and no colour banding.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from jepabench.envs import EpisodeSpec, GoalEnv, get_task, make, reset_to
from jepabench.envs.data.files import write_atomically
from jepabench.evaluation.traces import Imagination

Frame = NDArray[np.uint8]
Colour = tuple[int, int, int]

# The surround is dark in both page themes. Green and red also differ in lightness and have labels.
_SURROUND: Colour = (22, 25, 29)
_EMPTY: Colour = (36, 40, 46)
_TEXT: Colour = (214, 218, 224)
_FAINT: Colour = (132, 139, 148)
_SUCCESS: Colour = (64, 201, 140)
_VIOLATION: Colour = (240, 98, 66)


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of a replayed episode.

    Attributes:
        step: Control steps taken so far.
        frame: The rendered state, uint8 [size, size, 3].
        is_success: The success rule holds now.
        violation: A keep-out rule was broken since the moment before.
    """

    step: int
    frame: Frame
    is_success: bool
    violation: bool


def imagined_at(imagination: Imagination, step: int, action_block: int) -> tuple[int, Frame] | None:
    """Return what the latest plan before control step ``step`` imagined for that step.

    Returns:
        The number of model steps ahead and the imagined frame. Within an action block it is the
        frame at the end of the block. None before the first plan and beyond the horizon of a plan.
    """
    plan = int(np.searchsorted(imagination.steps, step, side="left")) - 1
    if plan < 0:
        return None
    ahead = -(-(step - int(imagination.steps[plan])) // action_block)
    return (
        (ahead, imagination.frames[plan, ahead - 1])
        if ahead <= imagination.frames.shape[1]
        else None
    )


def watch(
    spec: EpisodeSpec, actions: NDArray[np.float32], *, size: int, every: int = 1
) -> Iterator[Moment]:
    """Replay control actions [steps, A]; yield the start, each ``every``-th and the last moment."""
    with closing(make(spec.task_id, render_mode="rgb_array", render_size=size)) as env:
        _, info = reset_to(env, spec)
        yield from _moments(env, info, actions, every)


def episode_film(
    spec: EpisodeSpec,
    actions: NDArray[np.float32],
    *,
    size: int = 192,
    every: int = 1,
    imagination: Imagination | None = None,
) -> Frame:
    """Film an episode: start, goal, the present state, and the imagined frame.

    The border of the panel ``now`` is green while the success rule holds and red after a violation.
    The timeline below shows both for the whole episode.

    Args:
        spec: The episode.
        actions: Its control actions [steps, A].
        size: Side of a panel in pixels.
        every: Control steps between two frames.
        imagination: Imagined frames of the agent; without them the film has three panels.

    Returns:
        Frames, uint8 [F, height, width, 3].
    """
    with closing(make(spec.task_id, render_mode="rgb_array", render_size=size)) as env:
        _, info = reset_to(env, spec)
        goal = env.goal_frame(size)
        moments = list(_moments(env, info, actions, every))
    block = get_task(spec.task_id).action_block
    screen = _Screen(size=size, num_panels=3 if imagination is None else 4, num_steps=len(actions))
    backdrop = screen.backdrop(moments[0].frame, goal)
    frames = []
    for number, moment in enumerate(moments, start=1):
        canvas = backdrop.copy()
        screen.draw_now(canvas, moment)
        screen.draw_timeline(canvas, moments[:number])
        if imagination is not None:
            screen.draw_imagined(canvas, imagined_at(imagination, moment.step, block))
        frames.append(np.asarray(canvas))
    return np.stack(frames)


def imagination_strip(
    real_frames: NDArray[np.uint8], imagined_frames: NDArray[np.uint8], *, size: int = 96
) -> NDArray[np.uint8]:
    """Draw one plan as a strip: imagined above real frames, one column per model step.

    Args:
        real_frames: Frames after each model step of the plan, uint8 [H, s, s, 3]; may be fewer.
        imagined_frames: Imagined frames, uint8 [H, s, s, 3].
        size: Side of a frame in the strip in pixels.

    Returns:
        A picture, uint8 [height, width, 3].
    """
    horizon, margin, gap, label = len(imagined_frames), 66, 8, 20
    canvas = Image.new(
        "RGB", (margin + horizon * (size + gap), label + 2 * (size + gap)), _SURROUND
    )
    draw, font = ImageDraw.Draw(canvas), _font(12)
    for row, (name, frames) in enumerate((("imagined", imagined_frames), ("real", real_frames))):
        top = label + row * (size + gap)
        draw.text((gap, top + size / 2), name, _TEXT, font, anchor="lm")
        for column in range(horizon):
            left = margin + column * (size + gap)
            if column < len(frames):
                canvas.paste(_resize(frames[column], size), (left, top))
            else:
                draw.rectangle((left, top, left + size - 1, top + size - 1), fill=_EMPTY)
    for column in range(horizon):
        draw.text(
            (margin + column * (size + gap), label / 2), f"+{column + 1}", _FAINT, font, anchor="lm"
        )
    return np.asarray(canvas)


def write_film(path: Path, frames: NDArray[np.uint8], *, fps: float, quality: int = 75) -> Path:
    """Write frames [F, height, width, 3] as a looping WebP; the last frame stays for a second."""
    first, *others = [Image.fromarray(frame) for frame in frames]
    durations = [round(1000 / fps)] * len(others) + [1000]
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        quality=quality,
        method=2,
    )
    return write_atomically(path, buffer.getvalue())


def write_picture(path: Path, frame: NDArray[np.uint8]) -> Path:
    """Write one picture [height, width, 3] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", optimize=True)
    return write_atomically(path, buffer.getvalue())


def _moments(
    env: GoalEnv, info: Mapping[str, Any], actions: NDArray[np.float32], every: int
) -> Iterator[Moment]:
    if every < 1:
        raise ValueError(f"every must be at least 1 control step, got {every}.")
    yield Moment(0, env.render(), bool(info["is_success"]), bool(info["violation"]))
    violation = False
    for step, action in enumerate(actions, start=1):
        *_, info = env.step(action)
        violation |= bool(info["violation"])
        if step % every == 0 or step == len(actions):
            yield Moment(step, env.render(), bool(info["is_success"]), violation)
            violation = False


class _Screen:
    """The layout of a film, which scales with the size of the panels.

    Args:
        size: Side of a panel in pixels.
        num_panels: 3, or 4 with imagination.
        num_steps: Control steps of the episode.
    """

    def __init__(self, *, size: int, num_panels: int, num_steps: int) -> None:
        self.size, self.num_steps = size, num_steps
        self.gap, self.label, self.border, self.timeline = (
            max(1, round(size * share)) for share in (0.056, 0.14, 0.02, 0.03)
        )
        self.font = _font(max(8, round(size * 0.085)))
        self.panels = [self.gap + panel * (size + self.gap) for panel in range(num_panels)]
        self.width = self.gap + num_panels * (size + self.gap)
        self.height = self.label + size + self.gap + self.timeline + self.gap

    def backdrop(self, start: Frame, goal: Frame) -> Image.Image:
        """Return the constant part of a film: start, goal and the names of the panels."""
        canvas = Image.new("RGB", (self.width, self.height), _SURROUND)
        draw = ImageDraw.Draw(canvas)
        for left, name in zip(self.panels, ("start", "goal", "now", "imagined"), strict=False):
            draw.text((left, self.label / 2), name, _TEXT, self.font, anchor="lm")
        canvas.paste(Image.fromarray(start), (self.panels[0], self.label))
        canvas.paste(Image.fromarray(goal), (self.panels[1], self.label))
        return canvas

    def draw_now(self, canvas: Image.Image, moment: Moment) -> None:
        """Draw the present frame, the step, and a border for success or violation."""
        left, top, size, draw = self.panels[2], self.label, self.size, ImageDraw.Draw(canvas)
        colour = _state_colour(moment)
        if colour is not None:
            near, far = self.border, size - 1 + self.border
            draw.rectangle((left - near, top - near, left + far, top + far), fill=colour)
            word = "violation" if moment.violation else "success"
            draw.text((left + size * 0.22, top / 2), word, colour, self.font, anchor="lm")
        canvas.paste(Image.fromarray(moment.frame), (left, top))
        draw.text(
            (left + size, top / 2),
            f"{moment.step}/{self.num_steps}",
            _FAINT,
            self.font,
            anchor="rm",
        )

    def draw_imagined(self, canvas: Image.Image, imagined: tuple[int, Frame] | None) -> None:
        """Draw the imagined frame and how many model steps ahead of its plan it is."""
        left, top, size, draw = self.panels[3], self.label, self.size, ImageDraw.Draw(canvas)
        if imagined is None:
            draw.rectangle((left, top, left + size - 1, top + size - 1), fill=_EMPTY)
            return
        ahead, frame = imagined
        canvas.paste(_resize(frame, size), (left, top))
        draw.text((left + size, top / 2), f"+{ahead}", _FAINT, self.font, anchor="rm")

    def draw_timeline(self, canvas: Image.Image, moments: Sequence[Moment]) -> None:
        """Draw the episode so far as a line in the colours of its moments."""
        draw, length = ImageDraw.Draw(canvas), self.width - 2 * self.gap
        bottom = self.height - self.gap - 1
        top = bottom - self.timeline + 1
        draw.rectangle((self.gap, top, self.gap + length - 1, bottom), fill=_EMPTY)
        for before, moment in pairwise(moments):
            left, right = (
                self.gap + round(length * step / self.num_steps)
                for step in (before.step, moment.step)
            )
            draw.rectangle(
                (left, top, max(right - 1, left), bottom), fill=_state_colour(moment) or _FAINT
            )


def _state_colour(moment: Moment) -> Colour | None:
    if moment.violation:
        return _VIOLATION
    return _SUCCESS if moment.is_success else None


def _resize(frame: Frame, size: int) -> Image.Image:
    """Resize a frame without smoothing, so that the pixels of an imagined frame stay visible."""
    return Image.fromarray(frame).resize((size, size), Image.Resampling.NEAREST)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
