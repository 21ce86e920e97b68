"""Number of episodes that a comparison of two success rates needs."""

from __future__ import annotations

from scipy import special

from jepabench.evaluation.statistics.intervals import StatisticsError


def episodes_needed(
    first: float,
    second: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    discordant: float | None = None,
) -> int:
    """Return how many episodes a two-sided test needs to tell two success rates apart.

    Args:
        first, second: The two success rates.
        power: Probability of finding the difference.
        alpha: Probability of finding one where there is none.
        discordant: Share of episodes that exactly one of the two agents solves. If given, both run
            the same episodes and the test is McNemar's (Connor 1987); otherwise they run separate
            episodes and the test is that of two proportions (Fleiss 1981).

    Returns:
        Episodes of each agent, by the normal approximation, which is not exact to one episode.

    Raises:
        StatisticsError: Rates outside 0 to 1 or equal, or a ``discordant`` that the rates exclude.
    """
    gap = abs(first - second)
    if not (0 <= first <= 1 and 0 <= second <= 1) or gap == 0:
        raise StatisticsError(
            f"first and second must be different rates within 0 and 1, got {first} and {second}."
        )
    if not (0 < alpha < 1 and 0 < power < 1):
        raise StatisticsError(f"power and alpha must be between 0 and 1, got {power} and {alpha}.")
    level, reach = special.ndtri(1 - alpha / 2), special.ndtri(power)
    if discordant is None:
        both = (first + second) / 2
        null, alternative = 2 * both * (1 - both), first * (1 - first) + second * (1 - second)
    else:
        # The largest share: the successes (or the failures) of the two agents never coincide.
        most = min(first + second, 2 - first - second)
        if not gap <= discordant <= most + 1e-12:
            raise StatisticsError(
                f"With these rates discordant is from {gap:.3g} to {most:.3g}, got {discordant}."
            )
        null, alternative = discordant, discordant - gap**2
    return max(1, round(float((level * null**0.5 + reach * alternative**0.5) ** 2 / gap**2)))
