"""``jepabench check-env``: does a world keep its promises?"""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("task", help="task id, also package.module:Name-v0 for a world of your own")
    parser.add_argument(
        "--episodes", type=int, default=20, help="episodes a stratum for the expert and the floors"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the verb; exit code 1 if a check failed."""
    from jepabench import envs  # noqa: F401  (registers the tasks)
    from jepabench.envs.checks.checker import check_env
    from jepabench.envs.checks.scripted_rollouts import rates_text
    from jepabench.results.board.world_facts import recorded_rates

    card = check_env(options.task, num_episodes=options.episodes)
    print(card.text())
    rates, num_episodes = recorded_rates(card.task_id)
    if rates:
        lines = rates_text(rates, title=f"on record, {num_episodes} test episodes")
        print("\n".join(["", *(f"  {line}" for line in lines)]))
    return 0 if card.passed else 1
