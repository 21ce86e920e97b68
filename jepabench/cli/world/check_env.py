"""``jepabench check-env``: check that an environment meets its contract."""

from __future__ import annotations

import argparse

from jepabench.cli.arguments import Number, Task, Whole


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "task",
        type=Task(),
        help="name of the task, such as TwoRoom, or package.module:Name-v0 for your own",
    )
    parser.add_argument(
        "--episodes", type=Whole(1), default=20, help="test episodes per policy and stratum (20)"
    )
    parser.add_argument(
        "--time-limit",
        type=Number(0),
        default=3600.0,
        metavar="S",
        help="stop the checks after S seconds (3600)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command; return 1 if a check failed."""
    from jepabench.envs.checks.checker import check_env
    from jepabench.envs.checks.scripted_rollouts import rates_text
    from jepabench.results.board.world_facts import recorded_rates

    card = check_env(
        options.task,
        num_episodes=options.episodes,
        time_limit=options.time_limit,
        progress=True,
    )
    print(card.text())
    rates, num_episodes = recorded_rates(card.task_id)
    if rates:
        lines = rates_text(rates, title=f"recorded, {num_episodes} test episodes")
        print("\n".join(["", *(f"  {line}" for line in lines)]))
    return 0 if card.passed else 1
