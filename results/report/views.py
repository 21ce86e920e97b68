"""What the report's template shows, as plain values: rows of the table, notices, facts. Pure functions of the cells."""

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
    """Returns one row of the success table.

    Args:
        cell: the numbers.
        colour: of the agent.
        track: what the agent may use, in words.
        failures: why a run failed, by short task name and agent.
        num_seeds: training seeds that a trained agent should have; fewer are marked.
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
    runs = f"{cell.seeds:.0f}{f' of {num_seeds}' if few else ''} \N{MULTIPLICATION SIGN} {cell.episodes:.0f}"
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
    """Returns what a reader must know before believing a number."""
    said = []
    seeds, episodes = (
        _largest(cell.seeds for cell in _trained(cells)),
        _largest(cell.episodes for cell in cells),
    )
    if episodes <= QUICK_EPISODES:
        said.append(f"{episodes:.0f} episodes a stratum: a demonstration, not a ranking.")
    if seeds < ROW_SEEDS:
        said.append(
            f"{_plural(seeds, 'seed')}: intervals are over episodes only, not over training runs."
        )
    absent = sum(not cell.is_done for cell in cells)
    if absent:
        said.append(
            f"{absent} of {len(cells)} cells are missing or failed. They are marked, and count in no mean."
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
    """Returns the few numbers that say how large the run is."""
    tasks, agents = len({cell.task for cell in cells}), len({cell.agent for cell in cells})
    seeds = _range(cell.seeds for cell in _trained(cells))
    return [
        ("task" if tasks == 1 else "tasks", str(tasks)),
        ("agent" if agents == 1 else "agents", str(agents)),
        ("training seed" if seeds == "1" else "training seeds", seeds),
        ("episodes a stratum", _range(cell.episodes for cell in cells)),
        ("episodes played", f"{num_episodes:,}"),
    ]


def protocol(
    cells: Sequence[Cell], specs: Sequence[TaskSpec], *, suite: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Returns how it was measured, fact by fact."""
    episodes = _range(cell.episodes for cell in cells)
    said = [
        ("suite", f"{suite['name']}, version {suite['version']}; protocol {PROTOCOL_VERSION}"),
        (
            "episodes",
            f"{episodes} a task and stratum, split {suite.get('split', 'test')}. Start, goal and noise come from the "
            "episode's own seed: all agents meet the same ones.",
        ),
        ("training seeds", _seeds(cells)),
        (
            "held",
            f"The success rule holds at every control step of {HELD_BLOCKS} action blocks in a row. This is the headline.",
        ),
        (
            "ever, final",
            "The rule holds at any step within the budget; at its end. The world runs on after a success.",
        ),
        ("normalised", "0 is the random agent, 1 the oracle."),
        (
            "bold",
            "The best agent of a stratum and those that it can not be told apart from on the same episodes.",
        ),
        ("budget", "Twice the steps of a good solution, at least 50, at most the task's limit."),
        (
            "cost",
            "Milliseconds (median) and model steps are a control step; violations a hundred control steps.",
        ),
        ("grey rows", "Floors need no skill; ceilings look into the simulator."),
    ]
    said += [(short_name(spec.id), _task(spec)) for spec in specs]
    return said


def words(value: Any) -> str:
    """Returns a value of the machine's description as one line; a mapping as ``name value, name value``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(words(item) for item in value)
    return str(value)


def _task(spec: TaskSpec) -> str:
    return (
        f"{spec.success} Control every {spec.control_dt * 1000:g} ms; a model step is "
        f"{_plural(spec.action_block, 'control step')}; at most {spec.max_steps} steps; {spec.physics}."
    )


def _number(value: float, text: str) -> dict[str, Any]:
    known = math.isfinite(value) and text != "-"
    return {"value": value if known else None, "text": text if known else "-", "few": False}


def _trained(cells: Sequence[Cell]) -> Sequence[Cell]:
    return [cell for cell in cells if cell.transitions > 0] or cells


def _seeds(cells: Sequence[Cell]) -> str:
    seeds = _largest(cell.seeds for cell in _trained(cells))
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
