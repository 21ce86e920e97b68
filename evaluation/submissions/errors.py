"""The error of a refused submission."""

from __future__ import annotations

from jepabench.evaluation.submissions.text import escape_text


class SubmissionError(ValueError):
    """A submission that is refused. Parts of the reason may be foreign, so every line is escaped.

    Args:
        check: Which check refuses it: ``files``, ``manifest``, ``suite``, ``rows``, ``aggregates``,
            ``actions``, ``checkpoints``, ``diagnostics``, ``seeds``, ``replay`` or ``re-run``.
        lines: The reason, one line each.
    """

    def __init__(self, check: str, *lines: str) -> None:
        super().__init__("\n".join(escape_text(line) for line in lines))
        self.check = check
