"""Episodes depend on stratum and split, and no episode or layout occurs in two splits."""

from __future__ import annotations

import numpy as np

from jepabench.envs.checks.fingerprint import digest
from jepabench.envs.checks.subject import Subject, require
from jepabench.envs.splits import reset_to
from jepabench.envs.task import SPLITS

_NUM_SEEDS = 5


def check_draws(subject: Subject) -> str:
    """Check reference steps and violations at the start, and that strata differ."""
    env, task = subject.make(), subject.task
    draws: dict[str, list[bytes]] = {}
    for stratum in task.strata:
        for seed in range(_NUM_SEEDS):
            _, info = env.reset(seed=seed, options={"stratum": stratum})
            draw, steps = env.draw, env.draw.reference_steps
            draws.setdefault(stratum, []).append(draw.start.tobytes() + draw.goal.tobytes())
            require(
                isinstance(steps, (int, np.integer)) and steps >= 1,
                f"{stratum}: reference_steps must be an integer of at least 1, got {steps!r}.",
                "reference_steps is the number of control steps that a good solution takes.",
            )
            require(
                not info["violation"],
                f"{stratum}: the episode of seed {seed} starts in a violation.",
                "Draw starts at which _violated is False.",
            )
    require(
        len(task.strata) == 1 or any(found != draws[task.strata[0]] for found in draws.values()),
        f"the strata {', '.join(task.strata)} give the same episodes.",
        "Use `stratum` in _draw_episode, or declare one stratum.",
    )
    return "strata differ; reference steps and starts are valid"


def check_splits(subject: Subject) -> str:
    """Compare the episodes and the layouts of all splits."""
    env, starts, layouts = subject.make(), {}, {}
    for split in SPLITS:
        for stratum in subject.task.strata:
            for spec in subject.specs(stratum, split=split):
                reset_to(env, spec)
                episode = env.draw.start.tobytes(), env.draw.goal.tobytes()
                starts.setdefault(episode, set()).add(split)
                layouts.setdefault(digest([dict(env.draw.world)]), set()).add(split == "train")
    require(all(len(splits) == 1 for splits in starts.values()), "two splits share an episode.")
    shared = len(layouts) > 1 and any(len(sides) > 1 for sides in layouts.values())
    require(not shared, "a layout of the training split occurs in another split.")
    noun = "layouts" if len(layouts) > 1 else "layout"
    return f"{len(starts)} episodes are all different; {len(layouts)} {noun}"
