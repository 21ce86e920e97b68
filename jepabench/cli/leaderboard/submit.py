"""``jepabench submit``: package an agent's results on a suite, so that anyone can verify them."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from jepabench.cli.pull_request import create_branch, find_clone, write_description
from jepabench.envs.errors import unknown_name
from jepabench.envs.task import short_name
from jepabench.pipeline.checkpoints import checkpoint_files
from jepabench.pipeline.config import ConfigError
from jepabench.pipeline.presets.plugins import find_package
from jepabench.pipeline.presets.variants import Variant
from jepabench.pipeline.terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from jepabench.evaluation.protocol import Suite
    from jepabench.pipeline.schema import AgentPreset, RunConfig
    from jepabench.pipeline.stages import Stage, SuitePlan

SETTINGS = {
    "name": "",
    "authors": "",
    "description": "",
    "link": "",
    "readme": "",
    "to": "submissions",
    "checkpoints": "no",
}
_PASSED_ON = ("suite", "output", "num_workers", "pixels", "launcher", "tracker")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "agent", help="name of a preset or of an installed package's agent, or package.module:Class"
    )
    parser.add_argument(
        "settings",
        nargs="*",
        default=[],
        help="suite=quick output=folder agent.KEY=VALUE name=my-agent authors='A; B' "
        "description='...' link=https://... readme=FILE to=folder checkpoints=yes; "
        "missing stages of the suite are run first",
    )
    parser.add_argument(
        "--pull-request",
        action="store_true",
        help="also commit the submission on a new branch of the clone and write the description of "
        "a pull request; nothing is pushed",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    settings, passed_on, changes = _settings(options.settings)
    console = make_console()
    folder = submit(
        options.agent, settings, passed_on, changes, console, pull_request=options.pull_request
    )
    console.print(
        f"Submission: {folder}   (check it with `jepabench verify {folder}`)",
        markup=False,
        soft_wrap=True,
    )
    return 0


def submit(
    agent: str,
    settings: Mapping[str, str],
    passed_on: list[str],
    changes: Mapping[str, Any],
    console: Console,
    *,
    pull_request: bool = False,
) -> Path:
    """Run the missing stages of an agent on a suite and write the submission.

    All arguments are checked before the first stage.

    Args:
        agent: Name of a preset or of another package's agent, or ``package.module:Class``.
        settings: Values of ``SETTINGS``.
        passed_on: Settings of the run, such as ``suite=quick``.
        changes: Changed arguments of the agent's class.
        console: Console on which progress is printed.
        pull_request: Whether to commit the submission on a branch of the clone in which the command
            runs.

    Returns:
        The folder of the submission.

    Raises:
        ConfigError: A setting is invalid, or the folder exists.
    """
    from jepabench.evaluation.submissions.submission import read_submission, write_submission
    from jepabench.execution.run_plan import run_plan
    from jepabench.pipeline.stages import SuitePlan
    from jepabench.pipeline.suites import find_suite

    config = _compose(agent, passed_on, changes)
    suite = find_suite(config.suite.name)
    plan = SuitePlan(config)
    folder = _check_settings(settings, plan.agents[agent], suite)
    clone = find_clone(folder.name) if pull_request else None
    run_plan(config, console)
    records, actions = _collect_episodes(plan, suite)
    manifest = _make_manifest(
        plan,
        agent,
        settings,
        [*passed_on, *(f"agent.{key}={value}" for key, value in changes.items())],
    )
    extra = _collect_files(plan, suite, settings, console)
    write_submission(
        folder,
        {**manifest, "name": folder.name},
        suite=suite,
        records=records,
        actions=actions,
        extra=extra,
    )
    read_submission(folder, find_suite)
    if clone:
        branch, text = create_branch(clone, folder), write_description(folder)
        _print_pull_request(console, folder, branch, text)
    return folder


def _print_pull_request(console: Console, folder: Path, branch: str, text: Path) -> None:
    """Print the commands that open the pull request of a submission."""
    console.print(
        f"Branch {branch} has the submission. Open the pull request with:\n"
        f"  git push -u origin {branch}\n"
        f"  gh pr create --head {branch} --title 'Add submission {folder.name}' "
        f"--body-file {text}",
        markup=False,
        soft_wrap=True,
    )


def _compose(agent: str, passed_on: list[str], changes: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of the run, with the changed arguments of the agent's class."""
    from jepabench.pipeline.run_config import compose_run

    if (variant := Variant.parse(agent)).settings:
        raise ConfigError(
            f"{agent} is a variant. Submit the agent with changed settings: "
            f"`jepabench submit {variant.base} agent.KEY=VALUE name=NAME`."
        )
    config = compose_run([*passed_on, f"agent={agent}"])
    if not changes:
        return config
    overrides = config.suite.overrides.with_changes("agent", agent, {"agent": changes})
    return config.with_suite(overrides=overrides)


def _check_settings(settings: Mapping[str, str], agent: AgentPreset, suite: Suite) -> Path:
    """Check the settings that describe a submission, and return its folder.

    Raises:
        ConfigError: The folder exists, or the file ``readme`` does not.
    """
    from jepabench.evaluation.submissions.manifest import check_words

    if agent.num_episodes:
        raise ConfigError(
            f"Suite {suite.name} runs {agent.name} on {agent.num_episodes} episodes per stratum, "
            "as a reference. A submission needs all episodes of the suite."
        )
    name = settings["name"] or _derive_name(agent.name, suite)
    if not settings["to"].strip():
        raise ConfigError("to= needs a folder, got an empty path.")
    folder = Path(settings["to"]) / name
    if folder.exists():
        raise ConfigError(f"{folder} exists already. Choose another name=, or remove it first.")
    check_words(
        name=name,
        authors=_authors(settings),
        description=settings["description"],
        link=settings["link"],
    )
    if settings["readme"] and not Path(settings["readme"]).is_file():
        raise ConfigError(f"readme={settings['readme']}: there is no such file.")
    return folder


def _derive_name(agent: str, suite: Suite) -> str:
    name = f"{agent}-{suite.name}-v{suite.version}".lower()
    return name.replace("_", "-").replace(".", "-")


def _settings(items: list[str]) -> tuple[dict[str, str], list[str], dict[str, Any]]:

    settings, passed_on, changes = dict(SETTINGS), [], {}
    for item in items:
        key, separator, value = item.partition("=")
        if separator and key in settings:
            settings[key] = value
        elif separator and (key in _PASSED_ON or key.startswith("launcher.")):
            passed_on.append(item)
        elif separator and key.startswith("agent."):
            changes[key.removeprefix("agent.")] = yaml.safe_load(value)
        elif key.startswith("suite.") or key == "seed":
            raise ConfigError(
                f"{item}: a submission must use the suite unchanged, "
                "with all of its tasks, episodes and seeds."
            )
        else:
            raise unknown_name(
                "setting of a submission", key, [*settings, *_PASSED_ON, "agent.KEY"]
            )
    if settings["checkpoints"] not in ("yes", "no"):
        raise ConfigError(f"checkpoints must be yes or no, got {settings['checkpoints']!r}.")
    return settings, passed_on, changes


def _authors(settings: Mapping[str, str]) -> list[str]:
    return [item.strip() for item in settings["authors"].split(";") if item.strip()]


def _collect_episodes(
    plan: SuitePlan, suite: Suite
) -> tuple[list[Any], dict[tuple[str, int], Any]]:
    """Return the records of all evaluations, and their actions by task and seed.

    Both are in the order of a submission.
    """
    from jepabench.evaluation.traces import episode_name, load_evaluation

    records, actions = [], {}
    for stage in plan.evaluations:
        found = load_evaluation(stage.directory)
        task, seed = stage.config["task_id"], stage.config["seed"]
        by_name = {episode_name(record.stratum, record.index): record for record in found.records}
        names = [episode_name(spec.stratum, spec.index) for spec in suite.specs(task)]
        records += [by_name[name] for name in names]
        actions[task, seed] = np.concatenate([found.actions[name] for name in names]).astype(
            np.float32
        )
    return records, actions


def _make_manifest(
    plan: SuitePlan, agent: str, settings: Mapping[str, str], arguments: list[str]
) -> dict[str, Any]:
    from jepabench.evaluation.machine import describe_machine

    preset = plan.agents[agent]
    described = preset.as_config()
    per_task = {stage.config["task_id"]: stage.config["agent"] for stage in plan.evaluations}
    done = [
        json.loads((stage.directory / "done.json").read_text(encoding="utf-8"))
        for stage in plan.evaluations
    ]
    versions = done[0]["versions"]
    for other in done:
        if other["versions"] != versions:
            raise ConfigError(
                f"Some evaluations used {versions} and others {other['versions']}. A submission "
                "needs the same versions throughout. "
                f"Remove {plan.suite_directory / 'evaluations'} and submit again."
            )
    here = describe_machine()
    hidden = ("output", "num_workers", "tracker")
    shown = [item for item in arguments if item.partition("=")[0] not in hidden]
    return {
        "pixels": plan.config.pixels,
        "agent": {
            "name": preset.name,
            "learns": preset.is_seeded,
            "track": preset.track,
            "package": find_package(str(preset.agent["_target_"])),
            "config": described,
            "per_task": {task: config for task, config in per_task.items() if config != described},
        },
        "training_seeds": list(plan.suite.training_seeds) if preset.is_seeded else [0],
        "authors": _authors(settings),
        "description": settings["description"],
        "link": settings["link"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["jepabench submit", agent, *shown])[:300],
        "code": _code(),
        "versions": versions,
        "machine": {key: str(here[key]) for key in ("processor", "cores", "system")},
        "costs": [
            read_cost(stage, [plan.stages[key] for key in stage.needs])
            for stage in plan.evaluations
        ],
    }


def read_cost(stage: Stage, needed: Sequence[Stage]) -> dict[str, Any]:
    """Return the manifest's entry for the cost of a task and training seed.

    Args:
        stage: Finished evaluation.
        needed: Stages on which the evaluation depends.
    """
    spent = json.loads((stage.directory / "cost.json").read_text(encoding="utf-8"))
    prints = [_fingerprint(each) for each in needed]
    return {
        "task_id": stage.config["task_id"],
        "training_seed": stage.config["seed"],
        **{name: spent[name] for name in ("transitions", "train_seconds", "parameters")},
        "data_fingerprint": " ".join(dict.fromkeys(filter(None, prints))),
    }


def _fingerprint(stage: Stage) -> str:
    """Return the fingerprint of a stage's training data, empty if it has none."""
    for name in ("model.json", "training.json"):
        path = stage.directory / name
        if path.exists():
            content = json.loads(path.read_text(encoding="utf-8"))
            return str(content.get("metadata", content).get("dataset_fingerprint") or "")
    return ""


def _code() -> dict[str, Any]:
    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], capture_output=True, text=True, check=False, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": commit or "",
        "dirty": None if commit is None or changed is None else bool(changed),
    }


def _collect_files(
    plan: SuitePlan, suite: Suite, settings: Mapping[str, str], console: Console
) -> dict[str, bytes]:
    """Return the optional files of a submission: README, checkpoints and diagnostics."""
    files = {"README.md": Path(settings["readme"]).read_bytes()} if settings["readme"] else {}
    if settings["checkpoints"] == "yes":
        for stage in plan.evaluations:
            for key in stage.needs:
                kind, task, *_ = key.split("/")
                role = "world_model" if kind == "model" else kind
                folder = f"checkpoints/{task}/seed{stage.config['seed']}/{role}"
                home = plan.stages[key].directory
                files |= {
                    f"{folder}/{path.relative_to(home).as_posix()}": path.read_bytes()
                    for path in checkpoint_files(home)
                }
        files |= _diagnostics(plan, suite, console)
    return files


def _diagnostics(plan: SuitePlan, suite: Suite, console: Console) -> dict[str, bytes]:
    """Return the diagnostics of the world models of the first training seed.

    They include the imagined frames of the first episode of each stratum.
    """
    from jepabench.envs.data.episodes import EpisodeDataset
    from jepabench.evaluation.model_checks.model_report import world_report
    from jepabench.evaluation.submissions.diagnostics import diagnostics_files
    from jepabench.evaluation.traces import episode_name, load_evaluation

    reports, frames = [], {}
    for stage in plan.evaluations:
        models = [plan.stages[key] for key in stage.needs if key.startswith("model/")]
        if not models or stage.config["seed"] != plan.evaluations[0].config["seed"]:
            continue
        (model,) = models
        if not model.needs:  # a copied checkpoint, for which there are no held-out episodes
            continue
        task = short_name(stage.config["task_id"])
        console.print(f"measure the world model of {task}", markup=False)
        found = load_evaluation(stage.directory)
        first = [spec for spec in suite.specs(stage.config["task_id"]) if spec.index == 0]
        report, imagined = world_report(
            model.directory,
            EpisodeDataset.open(plan.stages[model.needs[1]].directory / "dataset"),
            [(spec, found.actions[episode_name(spec.stratum, 0)]) for spec in first],
            pixels=stage.config["pixels"],
            training_seed=stage.config["seed"],
        )
        reports.append(report)
        frames |= imagined
    return diagnostics_files(reports, frames)
