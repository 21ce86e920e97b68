"""Draw imagined frames above real frames, as a strip and as a film.

A decoder draws the imagined frames. It does not influence the training of the model.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Frames = NDArray[np.uint8]

_SURROUND, _TEXT, _FAINT = (22, 25, 29), (214, 218, 224), (132, 139, 148)
_MARGIN, _LABEL, _GAP = 66, 18, 3
_MILLISECONDS, _LAST_MILLISECONDS = 350, 1200


def imagined_strip(real: Frames, imagined: Frames, *, size: int = 72) -> Frames:
    """Draw E futures as a strip: imagined above real frames, one column per model step.

    The first column is the last frame that the model observed.

    Args:
        real: The last observed frame and the H frames after it [E, 1+H, s, s, 3].
        imagined: The decoded present and the H imagined frames [E, 1+H, s, s, 3].
        size: Side of a frame in the strip in pixels.

    Returns:
        A picture, uint8 [height, width, 3].
    """
    episodes, steps = real.shape[:2]
    pair = 2 * (size + _GAP) + 3 * _GAP
    canvas = Image.new(
        "RGB", (_MARGIN + steps * (size + _GAP), _LABEL + episodes * pair), _SURROUND
    )
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    for step in range(steps):
        text = "now" if step == 0 else f"+{step}"
        draw.text(
            (_MARGIN + step * (size + _GAP) + size / 2, _LABEL / 2), text, _FAINT, font, anchor="mm"
        )
    for episode in range(episodes):
        for row, (name, frames) in enumerate((("imagined", imagined), ("real", real))):
            top = _LABEL + episode * pair + row * (size + _GAP)
            draw.text((6, top + size / 2), name, _TEXT, font, anchor="lm")
            for step in range(steps):
                canvas.paste(
                    _resize(frames[episode, step], size), (_MARGIN + step * (size + _GAP), top)
                )
    return np.asarray(canvas)


def imagined_film(real: Frames, imagined: Frames, *, size: int = 128) -> bytes:
    """Return E futures side by side as a GIF; see ``imagined_strip`` for the arguments."""
    episodes, steps = real.shape[:2]
    frames = []
    for step in range(steps):
        canvas = Image.new(
            "RGB", (_MARGIN + episodes * (size + _GAP), _LABEL + 2 * (size + _GAP)), _SURROUND
        )
        draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
        text = "last observed frame" if step == 0 else f"{step} model steps ahead"
        draw.text((_MARGIN, _LABEL / 2), text, _FAINT, font, anchor="lm")
        for row, (name, film) in enumerate((("imagined", imagined), ("real", real))):
            top = _LABEL + row * (size + _GAP)
            draw.text((6, top + size / 2), name, _TEXT, font, anchor="lm")
            for episode in range(episodes):
                canvas.paste(
                    _resize(film[episode, step], size), (_MARGIN + episode * (size + _GAP), top)
                )
        frames.append(canvas)
    buffer = io.BytesIO()
    durations = [_MILLISECONDS] * (steps - 1) + [_LAST_MILLISECONDS]
    frames[0].save(
        buffer, "gif", save_all=True, append_images=frames[1:], duration=durations, loop=0
    )
    return buffer.getvalue()


def as_png(picture: Frames) -> bytes:
    """Return a picture uint8 [height, width, 3] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    return buffer.getvalue()


def _resize(frame: Frames, size: int) -> Image.Image:
    return Image.fromarray(frame).resize(
        (size, size), Image.Resampling.LANCZOS if len(frame) > size else Image.Resampling.NEAREST
    )
