"""All kinds of hostile submissions together."""

import hostile_actions  # noqa: F401
import hostile_checkpoints  # noqa: F401
import hostile_diagnostics  # noqa: F401
import hostile_manifests  # noqa: F401
import hostile_rows  # noqa: F401
import hostile_text  # noqa: F401
from hostile_kinds import KINDS

__all__ = ["KINDS"]
