"""Execution of a plan with the launcher that its configuration names."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from rich.console import Console

from jepabench.agents.model_free.external.trust import is_trusted, require_trust, set_trust
from jepabench.execution.executor import run_stages
from jepabench.execution.speeds import SPEEDS_FILE, load_speeds
from jepabench.pipeline.presets.sb3_file import PREFIX
from jepabench.pipeline.presets.search_path import SearchPath, get_search_path, set_search_path
from jepabench.pipeline.stages import SuitePlan
from jepabench.world_models.training.tracking import check_tracker


def run_plan(root: dict, console: Console, *, kind: type[SuitePlan] = SuitePlan) -> None:
    """Run the missing stages of a suite, or of another ``kind`` of plan, with the launcher."""
    check_tracker(root.get("tracker", "none"))
    for name in root["suite"]["agents"]:
        if name.startswith(PREFIX):
            require_trust(name.removeprefix(PREFIX))
    # Workers may be started in another folder.
    elsewhere = {**root, "output": str(Path(root["output"]).resolve())}
    speeds = load_speeds(Path(root["output"]) / SPEEDS_FILE)
    own = {}
    if "folder" in root["launcher"] and not root["launcher"]["folder"]:
        own["folder"] = Path(elsewhere["output"]) / "submitit"
    run_stages(
        partial(make_plan, kind, elsewhere, get_search_path(), is_trusted()),
        launcher=instantiate(elsewhere["launcher"], **own),
        console=console,
        speeds=speeds,
    )


def make_plan(
    kind: type[SuitePlan], root: dict, path: SearchPath, trusted: bool = False
) -> SuitePlan:
    """Make a plan in a worker, which finds the presets and has the trust of the command."""
    if path != get_search_path():
        set_search_path(path)
    set_trust(trusted)
    return kind(root)
