"""Plain values for the template of the report: rows of the table, notices and facts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jepabench.envs import TaskSpec
from jepabench.envs.task import HELD_BLOCKS, short_name
from jepabench.evaluation.protocol import PROTOCOL_VERSION, QUICK_EPISODES, ROW_SEEDS
from jepabench.results.report.success_table import Cell, count, duration, milliseconds, percent

Failures = Mapping[tuple[str, str], str]


def table_row(
    cell: Cell, *, colour: str, track: str, failures: Failures, num_seeds: int
) -> dict[str, Any]:
    """Return one row of the success table.

    Args:
        cell: The numbers of the row.
        colour: Colour of the agent.
        track: What the agent may use, in words.
        failures: Reasons of failed runs, by short task name and agent.
        num_seeds: Expected number of training seeds; trained agents with fewer are marked.
    """
    tied = cell.is_done and cell.kind == "learned" and cell.tied_with_best == 1
    row: dict[str, Any] = {
        "cell": cell,
        "colour": colour,
        "track": track,
        "status": cell.status,
        "tied": tied,
    }
    reason = failures.get((short_name(cell.task), cell.agent))
    if not cell.is_done:
        return row | ({"status": f"failed: {reason}"} if reason else {})
    few = cell.transitions > 0 and cell.seeds < num_seeds
    seeds = f"{cell.seeds:.0f}{f' of {num_seeds}' if few else ''}"
    runs = f"{seeds} \N{MULTIPLICATION SIGN} {cell.episodes:.0f}"
    bounded = math.isfinite(cell.held_low) and math.isfinite(cell.held_high)
    return row | {
        "held": percent(cell.success_held),
        "point": f"{100 * cell.success_held:.1f}",
        "interval": f"{percent(cell.held_low)}\N{EN DASH}{percent(cell.held_high)}"
        if bounded
        else "",
        "low": f"{100 * cell.held_low:.1f}",
        "width": f"{100 * (cell.held_high - cell.held_low):.1f}",
        "numbers": [
            _number(cell.normalised, f"{cell.normalised:.2f}"),
            _number(cell.success_ever, percent(cell.success_ever)),
            _number(cell.success_final, percent(cell.success_final)),
            _number(cell.seeds * cell.episodes, runs) | {"few": few},
            _number(cell.violation_rate, f"{100 * cell.violation_rate:.1f}"),
            _number(cell.ms_per_step, milliseconds(cell.ms_per_step)),
            _number(cell.model_steps, count(cell.model_steps)),
            _number(cell.transitions, count(cell.transitions)),
            _number(cell.train_seconds, duration(cell.train_seconds)),
            _number(cell.parameters, count(cell.parameters)),
        ],
    }


def notices(cells: Sequence[Cell], failures: Failures) -> list[str]:
    """Return the limits of the results, such as few seeds or missing cells."""
    said = []
    seeds, episodes = (
        _largest(cell.seeds for cell in _select_trained(cells)),
        _largest(cell.episodes for cell in cells),
    )
    if episodes <= QUICK_EPISODES:
        said.append(f"{episodes:.0f} episodes per stratum: a demonstration, not a ranking.")
    if seeds < ROW_SEEDS:
        said.append(
            f"{_plural(seeds, 'seed')}: intervals are over episodes only, not over training runs."
        )
    absent = sum(not cell.is_done for cell in cells)
    if absent:
        said.append(
            f"{absent} of {len(cells)} cells are missing or failed. "
            "They are marked and do not enter any mean."
        )
    if failures:
        said.append(
            "Failed runs: "
            + "; ".join(
                f"{agent} on {task}: {reason}" for (task, agent), reason in failures.items()
            )
        )
    return said


def facts(cells: Sequence[Cell], *, num_episodes: int) -> list[tuple[str, str]]:
    """Return the size of the run: tasks, agents, seeds and episodes."""
    tasks, agents = len({cell.task for cell in cells}), len({cell.agent for cell in cells})
    seeds = _range(cell.seeds for cell in _select_trained(cells))
    return [
        ("task" if tasks == 1 else "tasks", str(tasks)),
        ("agent" if agents == 1 else "agents", str(agents)),
        ("training seed" if seeds == "1" else "training seeds", seeds),
        ("episodes per stratum", _range(cell.episodes for cell in cells)),
        ("episodes played", f"{num_episodes:,}"),
    ]


def protocol(
    cells: Sequence[Cell], specs: Sequence[TaskSpec], *, suite: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Return how the results were measured, as pairs of a term and its description."""
    episodes = _range(cell.episodes for cell in cells)
    said = [
        ("suite", f"{suite['name']}, version {suite['version']}; protocol {PROTOCOL_VERSION}"),
        (
            "episodes",
            f"{episodes} per task and stratum, split {suite.get('split', 'test')}. "
            "The seed of an episode determines start, goal and noise: the same for all agents.",
        ),
        ("training seeds", _seeds(cells)),
        (
            "held",
            f"The success rule holds at every control step of {HELD_BLOCKS} consecutive action "
            "blocks. This is the main metric.",
        ),
        (
            "ever, final",
            "Ever: the success rule holds at any step within the budget. Final: it holds at the "
            "last step. An episode continues after a success.",
        ),
        ("normalised", "0 is the random agent, 1 is the oracle."),
        (
            "bold",
            "The best agent of a stratum and all agents that do not differ significantly from it "
            "on the same episodes.",
        ),
        ("budget", "Twice the steps of a good solution, at least 50, at most the task's limit."),
        (
            "cost",
            "Milliseconds (median) and model steps are per control step, violations per hundred "
            "control steps.",
        ),
        ("grey rows", "Floors need no skill; ceilings use the state of the simulator."),
    ]
    said += [(short_name(spec.id), _task(spec)) for spec in specs]
    return said


def words(value: Any) -> str:
    """Return a value as one line of text; a mapping becomes ``name value, name value``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(words(item) for item in value)
    return str(value)


def _task(spec: TaskSpec) -> str:
    return (
        f"{spec.success} Control every {spec.control_dt * 1000:g} ms; a model step is "
        f"{_plural(spec.action_block, 'control step')}; at most {spec.max_steps} steps; "
        f"{spec.physics}."
    )


def _number(value: float, text: str) -> dict[str, Any]:
    known = math.isfinite(value) and text != "-"
    return {"value": value if known else None, "text": text if known else "-", "few": False}


def _select_trained(cells: Sequence[Cell]) -> Sequence[Cell]:
    return [cell for cell in cells if cell.transitions > 0] or cells


def _seeds(cells: Sequence[Cell]) -> str:
    seeds = _largest(cell.seeds for cell in _select_trained(cells))
    if not math.isfinite(seeds):
        return "None has finished."
    if seeds < ROW_SEEDS:
        return f"{_plural(seeds, 'seed')}: interval over episodes only."
    return f"{seeds:.0f}; 95 % intervals count training seeds and episodes."


def _largest(values: Iterable[float]) -> float:
    return max((value for value in values if math.isfinite(value)), default=math.nan)


def _range(values: Iterable[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "-"
    return (
        f"{max(known):.0f}" if min(known) == max(known) else f"{min(known):.0f} to {max(known):.0f}"
    )


def _plural(number: float, noun: str) -> str:
    return f"{number:.0f} {noun}{'' if number == 1 else 's'}"
