"""Make the pictures of the README: ``python docs/media/generate.py``, about two minutes.

``worlds.webp`` shows scripted experts on eight tasks. ``plan.webp`` shows the reference model of
Push-T on its first successful test episode, with what it imagined beside what happened.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jepabench.envs import episode_specs, get_task, make, reset_to
from jepabench.envs.data.behaviour import make_behaviour
from jepabench.evaluation.records import frame_records, read_records
from jepabench.results.media.episode_media import show_episode
from jepabench.results.media.films import write_film

FOLDER = Path(__file__).parent
TASKS = ("TwoRoom", "PointMaze-Large", "AntMaze-UMaze", "PushT")
TASKS += ("Reach", "PickPlace", "Granular", "Navigation")
SIZE, COLUMNS, NUM_FRAMES, FPS = 160, 4, 48, 12


def film_expert(name: str) -> NDArray[np.uint8]:
    """Return ``NUM_FRAMES`` frames [F, size, size, 3] of the expert on the first medium episode."""
    task = get_task(f"jepabench/{name}-v1")
    stratum = task.strata[len(task.strata) // 2]
    (spec,) = episode_specs(task.id, "test", 1, strata=(stratum,))
    with closing(make(task.id, render_mode="rgb_array", render_size=SIZE)) as env:
        observation, info = reset_to(env, spec)
        expert = make_behaviour(task, "expert")
        expert.reset(env, np.random.default_rng(spec.planner_seed))
        frames = [env.render()]
        for _ in range(info["budget"]):
            observation, _, _, _, info = env.step(expert.act(observation))
            frames.append(env.render())
            if info["is_success"]:
                break
    chosen = np.linspace(0, len(frames) - 1, NUM_FRAMES).round().astype(int)
    return np.stack([frames[index] for index in chosen])


def tile(films: list[NDArray[np.uint8]], gap: int = 4) -> NDArray[np.uint8]:
    """Return films [F, size, size, 3] side by side in ``COLUMNS`` columns."""
    num_rows = -(-len(films) // COLUMNS)
    height, width = (count * (SIZE + gap) - gap for count in (num_rows, COLUMNS))
    canvas = np.full((NUM_FRAMES, height, width, 3), 255, np.uint8)
    for index, film in enumerate(films):
        top, left = (part * (SIZE + gap) for part in divmod(index, COLUMNS))
        canvas[:, top : top + SIZE, left : left + SIZE] = film
    return canvas


def film_plan() -> None:
    """Write ``plan.webp``: the first held goal of the reference model of Push-T, 50 steps away."""
    with tempfile.TemporaryDirectory() as folder:
        command = "evaluate checkpoint=push-t agent=jepa-contacts strata=steps50 episodes=4"
        command += f" agent.record_imagination=4 output={folder}"
        subprocess.run([sys.executable, "-m", "jepabench", *command.split()], check=True)
        records = frame_records(read_records(Path(folder) / "episodes.parquet"))
        held = next(record for record in records if record.success_held)
        shown = show_episode(Path(folder), held, Path(folder) / "media")
        if shown.film is None:
            raise RuntimeError(shown.problem)
        film = (Path(folder) / "media" / shown.film.path).read_bytes()
    (FOLDER / "plan.webp").write_bytes(film)


if __name__ == "__main__":
    write_film(FOLDER / "worlds.webp", tile([film_expert(name) for name in TASKS]), fps=FPS)
    film_plan()
