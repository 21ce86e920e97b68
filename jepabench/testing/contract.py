"""The error of a broken contract."""

from __future__ import annotations


class ContractError(AssertionError):
    """A part breaks its contract; the message says which clause, and what was found."""


def require(holds: bool, message: str) -> None:
    """Raise ``ContractError`` with ``message`` unless ``holds``."""
    if not holds:
        raise ContractError(message)
