"""``jepabench power``: number of episodes that are needed to distinguish two success rates."""

from __future__ import annotations

import argparse

from rich.table import Table

from jepabench.cli.arguments import Rate
from jepabench.pipeline.terminal import make_console

# Positions between the smallest share of discordant episodes and that of independent agents.
SHARES = (0.25, 0.5, 1.0)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "first", type=Rate(), nargs="?", default=0.8, help="success rate, such as 0.8 or 80%%"
    )
    parser.add_argument(
        "second", type=Rate(), nargs="?", default=0.9, help="success rate of the other agent"
    )
    parser.add_argument(
        "--power",
        type=Rate(),
        default=0.8,
        help="probability of detecting the difference if it exists",
    )
    parser.add_argument(
        "--alpha",
        type=Rate(),
        default=0.05,
        help="probability of detecting a difference if none exists (two-sided)",
    )
    parser.add_argument(
        "--discordant",
        type=Rate(),
        help="share of episodes that exactly one of the two agents solves, from "
        "`jepabench compare`",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from jepabench.evaluation.statistics.power import episodes_needed

    first, second = options.first, options.second
    table = Table("design", "episodes of each agent", box=None)
    table.title = (
        f"{100 * first:g} % against {100 * second:g} %, "
        f"power {100 * options.power:g} %, alpha {100 * options.alpha:g} %"
    )
    table.title_justify = "left"
    settings = {"power": options.power, "alpha": options.alpha}
    table.add_row("other episodes for each agent", str(episodes_needed(first, second, **settings)))
    shares = (
        typical_discordance(first, second) if options.discordant is None else [options.discordant]
    )
    for share in shares:
        needed = episodes_needed(first, second, discordant=share, **settings)
        table.add_row(
            f"the same episodes, {100 * share:.0f} % of them solved by exactly one", str(needed)
        )
    console = make_console()
    console.print(table)
    console.print(
        "[dim]For one training seed per agent. Differences between training seeds increase the "
        "number (docs/statistics.md).[/]"
    )
    return 0


def typical_discordance(first: float, second: float) -> list[float]:
    """Return shares of discordant episodes, from similar agents to independent ones."""
    fewest, unrelated = abs(first - second), first * (1 - second) + second * (1 - first)
    return [fewest + share * (unrelated - fewest) for share in SHARES]
