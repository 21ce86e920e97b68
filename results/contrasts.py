"""Answer claims from the episodes of several training seeds.

    python -m jepabench.results.contrasts [OUTPUT ...] [--tables FOLDER]

Adds the episodes of `SUITES` below each output folder to `tables/claim-episodes.csv`, one row per
suite, task, stratum, agent and training seed. Writes `tables/claims.csv` from them: each agent of a
claim beside the agent that it is compared with on the same episodes, and in the suite
`recombination` withheld beside seen combinations. Without an output folder only the second table is
written again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jepabench.envs.core import withheld
from jepabench.envs.data.files import write_atomically
from jepabench.envs.registry import get_task
from jepabench.evaluation.records import RecordError
from jepabench.evaluation.statistics.intervals import mean_over_cells
from jepabench.results import find_tables, make_parser
from jepabench.results.store import load_results

EPISODES, CLAIMS = "claim-episodes.csv", "claims.csv"
RECOMBINATION = "recombination"
# Suites of one task of `core`.
SINGLE_TASKS = ("two-room", "pointmaze-umaze", "reach", "push", "push-t")
SUITES = ("claims", *SINGLE_TASKS, "chance", RECOMBINATION)
_KEYS = ["suite", "task", "stratum", "agent", "seed"]
_REGULARISED = ("jepa-sigreg", "jepa-vicreg", "jepa-barlow", "jepa-mcr2", "jepa-mmcr")
_JEPAS = (*_REGULARISED, "jepa-ema")
_LEARNS = r"jepa|gcbc"


@dataclass(frozen=True, slots=True)
class Contrast:
    """A claim's comparison of agents with one reference agent.

    Attributes:
        claim: Id in `claims.yaml`.
        reference: Agent that the others are compared with.
        agents: The others.
        strata: Strata of the comparison; all if empty.
        suites: Suites of the comparison; all if empty.
    """

    claim: str
    reference: str
    agents: tuple[str, ...]
    strata: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()


def _trained_with(world_model: str) -> str:
    return f"jepa-cem+world_model={world_model}"


CONTRASTS = (
    Contrast("C1", _trained_with("autoencoder"), tuple(map(_trained_with, _JEPAS))),
    Contrast("C2", _trained_with("jepa-infonce"), tuple(map(_trained_with, _JEPAS))),
    Contrast("C2", _trained_with("jepa-ema"), tuple(map(_trained_with, _REGULARISED))),
    Contrast("C5", "jepa-cem", ("jepa-gradient", "jepa-hybrid")),
    Contrast("C6", "jepa-icem", ("jepa-adaptive", "jepa-cem")),
    Contrast("C9", "state-cem", ("state-variable-cem", "state-variable-risk")),
    Contrast("C12", "jepa-cem", ("jepa-quasimetric", "jepa-value")),
    Contrast("C12", "jepa-cem", ("jepa-quasimetric", "jepa-value"), ("far",)),
    *(
        Contrast("C18", reference, agents, (stratum,), (RECOMBINATION,))
        for stratum in withheld.STRATA
        for reference, agents in (
            ("jepa-reactive", ("jepa", "jepa-search", "jepa-cem", "gcbc-latent")),
            ("random", ("hold-still", "expert")),
        )
    ),
    Contrast("C19", "jepa-reactive", ("jepa", "jepa-search"), suites=("claims",)),
    Contrast("C19", "jepa-search", ("jepa",), suites=("claims",)),
    Contrast("C19", "jepa-reactive", ("jepa",), suites=SINGLE_TASKS),
)


def collect_episodes(output: Path) -> pd.DataFrame:
    """Return the test episodes of ``SUITES`` below a folder, one row per cell, agent and seed.

    ``held`` has one digit per episode, in the order of the episodes' numbers. ``violations`` and
    ``model_steps`` are means per episode.

    Raises:
        RecordError: There is no finished evaluation below ``output``.
    """
    episodes = load_results(output)
    wanted = episodes["suite"].isin(SUITES) & (episodes["split"] == "test")
    episodes = episodes.loc[wanted].sort_values("index", kind="stable")
    rows = []
    groups = ["suite", "task_id", "stratum", "agent", "training_seed"]
    for (suite, task, stratum, agent, seed), group in episodes.groupby(groups):  # pyright: ignore[reportGeneralTypeIssues]  (pandas: a tuple for a list of keys)
        rows.append(
            {
                "suite": suite,
                "task": task,
                "stratum": stratum,
                "agent": agent,
                "seed": seed,
                "held": "".join(str(int(held)) for held in group["success_held"]),
                "violations": group["violations"].mean(),
                "model_steps": group["model_steps"].mean(),
            }
        )
    return pd.DataFrame(rows, columns=[*_KEYS, "held", "violations", "model_steps"])


def compare_claims(episodes: pd.DataFrame) -> pd.DataFrame:
    """Return one row per claim, suite, task and agent whose episodes and reference are complete.

    Rates and differences are means over strata with 95 % intervals over training seeds and
    episodes.

    Args:
        episodes: Rows of ``collect_episodes``.
    """
    rows = []
    for contrast in CONTRASTS:
        for (suite, task), group in episodes.groupby(["suite", "task"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]  (pandas: a tuple for a list of keys)
            if contrast.suites and suite not in contrast.suites:
                continue
            given = set(group["stratum"])
            strata = contrast.strata or tuple(
                name for name in get_task(str(task)).strata if name in given
            )
            names = (contrast.reference, *contrast.agents)
            found = {name: _cells(group, name, strata) for name in names}
            cells = {name: own for name, own in found.items() if own is not None}
            reference = cells.get(contrast.reference)
            if reference is None or len(cells) < 2:
                continue
            where = {"claim": contrast.claim, "suite": suite, "task": task}
            rows += [
                where
                | {"strata": " ".join(strata)}
                | _compare(agent, own, contrast.reference, reference)
                for agent, own in cells.items()
            ]
    return pd.DataFrame(rows)


def compare_strata(episodes: pd.DataFrame) -> pd.DataFrame:
    """Return one row per learning agent of the suite ``recombination`` and stratum of seen motion.

    ``difference`` is that between the goals that the agent holds on withheld combinations and on
    the stratum in ``reference``, whose episodes are others with the same distances.

    Args:
        episodes: Rows of ``collect_episodes``.
    """
    rows = []
    ours = episodes.loc[(episodes["suite"] == RECOMBINATION) & episodes["agent"].str.match(_LEARNS)]
    for (task, agent), group in ours.groupby(["task", "agent"]):  # pyright: ignore[reportGeneralTypeIssues]  (as above)
        own = _cells(group, str(agent), (withheld.WITHHELD,))
        for stratum in (withheld.SEEN_STATE, withheld.SEEN_ACTION):
            other = _cells(group, str(agent), (stratum,))
            if own is None or other is None or own.held[0].shape != other.held[0].shape:
                continue
            where = {"claim": "C18", "suite": RECOMBINATION, "task": task}
            where["strata"] = withheld.WITHHELD
            rows.append(where | _compare(str(agent), own, f"{agent} on {stratum}", other))
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True)
class _Cells:
    held: list[NDArray[np.float64]]  # [S, E] for each stratum
    violations: float
    model_steps: float


def _cells(episodes: pd.DataFrame, agent: str, strata: Sequence[str]) -> _Cells | None:
    """Return an agent's episodes, or None unless every stratum has the same seeds and episodes."""
    rows = episodes.loc[(episodes["agent"] == agent) & episodes["stratum"].isin(strata)]
    held = [rows.loc[rows["stratum"] == name].sort_values("seed") for name in strata]
    seeds = {tuple(cell["seed"]) for cell in held}
    if (
        len(seeds) != 1
        or held[0].empty
        or any(cell["held"].str.len().nunique() > 1 for cell in held)
    ):
        return None
    return _Cells(
        [np.array([[float(digit) for digit in text] for text in cell["held"]]) for cell in held],
        float(rows["violations"].mean()),
        float(rows["model_steps"].mean()),
    )


def _compare(agent: str, own: _Cells, reference: str, other: _Cells) -> dict[str, Any]:
    """Return a row; the reference itself has a rate and no difference."""
    rate = mean_over_cells([own.held])
    row = {
        "agent": agent,
        "reference": "" if agent == reference else reference,
        "seeds": len(own.held[0]),
        "episodes": sum(cell.size for cell in own.held),
        "rate": rate.estimate,
        "rate_low": rate.low,
        "rate_high": rate.high,
        "violations": own.violations,
        "model_steps": own.model_steps,
    }
    if agent == reference:
        return row
    gap = mean_over_cells([own.held], [other.held])
    return row | {
        "difference": gap.estimate,
        "difference_low": gap.low,
        "difference_high": gap.high,
    }


def _read_episodes(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"held": str})


def main(arguments: Sequence[str] | None = None) -> int:
    """Add the episodes of output folders, write both tables and return the exit code."""
    parser = make_parser(
        "contrasts", "Compare the agents of claims with intervals over training seeds and episodes."
    )
    parser.add_argument("outputs", nargs="*", type=Path, help="output folders of jepabench sweep")
    options = parser.parse_args(arguments)
    try:
        tables = find_tables(options.tables)
        path = tables / EPISODES
        known = [_read_episodes(path)] if path.is_file() else []
        found = [*known, *map(collect_episodes, options.outputs)]
        if not found:
            raise RecordError(f"{tables} has no {EPISODES}; name an output folder.")
        episodes = pd.concat(found, ignore_index=True)
    except (RecordError, FileNotFoundError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    episodes = episodes.drop_duplicates(_KEYS, keep="last").sort_values(_KEYS, kind="stable")
    write_atomically(path, episodes.to_csv(index=False, float_format="%.5g"))
    episodes = _read_episodes(path)
    claims = pd.concat([compare_claims(episodes), compare_strata(episodes)])
    write_atomically(tables / CLAIMS, claims.to_csv(index=False, float_format="%.4f"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
