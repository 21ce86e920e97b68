"""The card of an environment: the outcome of every check, success rates and speeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jepabench.envs.checks.scripted_rollouts import rates_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: Name of the check.
        passed: Whether the environment passed.
        message: What was found.
        advice: How to fix a failure; empty if the check passed.
    """

    name: str
    passed: bool
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvCard:
    """The results of ``check_env`` for one task.

    Attributes:
        task_id: Versioned id.
        checks: Outcomes, in the order in which the checks ran.
        rates: Share of test episodes in which success was held, 0 to 1, by policy and stratum.
        num_episodes: Number of episodes behind each rate.
        speeds: Rates by what was done [1/s].
        fingerprint: Hash of a fixed trace and its frames. It changes when physics or images
            change. Empty if the environment does not run.
    """

    task_id: str
    checks: tuple[Check, ...]
    rates: Mapping[str, Mapping[str, float]]
    num_episodes: int
    speeds: Mapping[str, float]
    fingerprint: str

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    def text(self) -> str:
        """Return the card as text of several lines."""
        width = max(len(check.name) for check in self.checks)
        verdict = "sound" if self.passed else "NOT SOUND"
        lines = [f"{self.task_id}  {verdict}  fingerprint {self.fingerprint or '-'}"]
        for check in self.checks:
            outcome = "ok  " if check.passed else "FAIL"
            lines.append(f"  {outcome}  {check.name:<{width}}  {check.message}")
            if not check.passed:
                lines.append(f"        {'':<{width}}  -> {check.advice}")
        lines += [f"  {name:<{width + 6}}  {value:,.0f}" for name, value in self.speeds.items()]
        if self.rates:
            title = f"success held in {self.num_episodes} test episodes"
            lines += ["", *(f"  {line}" for line in rates_text(self.rates, title=title))]
        return "\n".join(lines)
