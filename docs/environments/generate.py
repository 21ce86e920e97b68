"""Write the pages and pictures of the tasks into this folder.

``python docs/environments/generate.py [TASK ...]`` writes the pages of the named tasks, for example
``jepabench/TwoRoom-v1``, or of all tasks.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from jepabench.envs import list_tasks
from jepabench.envs.checks.task_pages import index, page, picture
from jepabench.envs.task import short_name
from jepabench.results.board.world_facts import recorded_rates

FOLDER = Path(__file__).parent


def main(task_ids: Sequence[str]) -> None:
    """Write the pages of these tasks (default: all) and the index of all existing pages."""
    known = {
        short_name(task.id): task.id for task in list_tasks() if task.id.startswith("jepabench/")
    }
    for task_id in task_ids or known.values():
        name = short_name(task_id)
        picture(task_id, FOLDER / f"{name}.png")
        rates, num_episodes = recorded_rates(task_id)
        text = page(task_id, picture=f"{name}.png", rates=rates, num_episodes=num_episodes)
        (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
    listed = [known[path.stem] for path in FOLDER.glob("*.md") if path.stem in known]
    (FOLDER / "README.md").write_text(index(listed), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
