"""The headline figure in Markdown, for the README and ``docs/claims.md``."""

from __future__ import annotations

from collections.abc import Sequence

from jepabench.results.figures.family_comparison import describe_comparison
from jepabench.results.figures.headline import has_seconds
from jepabench.results.figures.planning_vs_rl import Axis, Panel, Point

FILES: dict[Axis, str] = {
    "transitions": "planning-vs-rl.svg",
    "training_seconds": "planning-vs-rl-seconds.svg",
}
STATE_METHODS = ("sac-her", "td3-her", "tqc-her")
BEGIN, END = "<!-- planning-vs-rl begins -->", "<!-- planning-vs-rl ends -->"


def headline_caption(panels: Sequence[Panel]) -> str:
    """Return the caption of the figure as plain text."""
    points = [point for panel in panels for point in panel.points]
    seeds = sorted({point.seeds for point in points if point.family in ("planner", "rl")})
    return (
        "Goals held on test episodes, planners in blue and RL in red. Shaded: 95 % intervals over "
        f"training seeds and episodes; {_range(seeds)} training seed"
        f"{'' if seeds == [1] else 's'} per point.{_describe_references(points)}"
        f"{_describe_inputs(points)}"
    )


def _describe_references(points: Sequence[Point]) -> str:
    shown = any(point.family in ("floor", "ceiling") for point in points)
    return " Horizontal lines: floors and ceilings." if shown else ""


def _describe_inputs(points: Sequence[Point]) -> str:
    """Return a sentence on the methods that see the true state, which is easier than frames."""
    names = [name for name in STATE_METHODS if any(name == one.method for one in points)]
    if not names:
        return ""
    verb = "sees" if len(names) == 1 else "see"
    return f" {' and '.join(names)} {verb} the true state; the other methods see frames."


def headline_markdown(panels: Sequence[Panel], media: str) -> str:
    """Return the figure, its caption and its answer as Markdown; empty without panels.

    Args:
        panels: From ``make_panels``.
        media: Folder of the figures, relative to the page.
    """
    if not panels:
        return ""
    answer = describe_comparison(panels)
    lines = [
        f"![Planning against RL: goals held against transitions]({media}/{FILES['transitions']})",
        "",
        *([answer, ""] if answer else []),
        headline_caption(panels),
    ]
    if has_seconds(panels):
        lines[-1] += f" [Against training time]({media}/{FILES['training_seconds']})."
    return "\n".join(lines)


def replace_block(text: str, content: str) -> str:
    """Return a page with new content between the two comments that mark the figure.

    Raises:
        ValueError: The page lacks one of the comments.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page needs the comments {BEGIN} and {END}, in this order.")
    return f"{head}{BEGIN}\n{content}\n{END}{tail}" if content else f"{head}{BEGIN}\n{END}{tail}"


def _range(numbers: Sequence[int]) -> str:
    return " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))
