"""Made-up episodes for the tests of datasets."""

import numpy as np

from jepabench.envs.data.episodes import Episode
from jepabench.envs.data.manifest import Provenance

PROVENANCE = Provenance(
    task_id="made-up/Point-v0",
    split="train",
    behaviour="made up",
    strata=("near", "far"),
    versions={"numpy": "any"},
)


def make_episode(num_steps, *, seed=0, pixels=16, **changes):
    rng = np.random.default_rng(seed)
    observations = {
        name: rng.normal(size=(num_steps + 1, 2))
        for name in ("observation", "achieved_goal", "desired_goal")
    }
    if pixels:
        observations["pixels"] = rng.integers(
            0, 256, (num_steps + 1, pixels, pixels, 3), dtype=np.uint8
        )
    values = {
        "observations": observations,
        "actions": rng.uniform(-1, 1, (num_steps, 4)).astype(np.float32),
        "rewards": rng.integers(-1, 1, num_steps).astype(np.float32),
        "violations": rng.random(num_steps) < 0.5,
        "terminated": False,
        "truncated": True,
        "task_id": "made-up/Point-v0",
        "seed": seed,
    }
    return Episode(**(values | changes))
