"""Short trainings and episodes for the tests of the offline methods."""

import numpy as np

from jepabench.envs.data.episodes import Episode

TWO_ROOM = "jepabench/TwoRoom-v1"

QUICK = {"num_steps": 400, "batch_size": 128, "hidden_size": 64, "num_layers": 2, "progress": False}


def counting_episode(num_steps, first):
    """An episode whose states count its frames."""
    count = (first + np.arange(num_steps + 1, dtype=np.float64))[:, None].repeat(2, 1)
    return Episode(
        observations={"observation": count, "achieved_goal": count, "desired_goal": count},
        actions=np.ones((num_steps, 2), np.float32),
        rewards=np.zeros(num_steps, np.float32),
        violations=np.zeros(num_steps, bool),
        terminated=False,
        truncated=True,
        task_id=TWO_ROOM,
        seed=0,
    )


def train_on_latents(method, directory, *, dataset, world_model, **settings):
    """Train a policy of a method's module briefly on the latents of a world model."""
    method.train(
        task_id=TWO_ROOM,
        dataset=dataset,
        directory=directory,
        seed=0,
        world_model=world_model,
        **QUICK | settings,
    )
