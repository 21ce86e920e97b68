"""The ``jepabench`` command. It imports only the module of the chosen command.

Expected errors are printed as one sentence without a traceback.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jepabench.cli.arguments import Parser

VERBS = {
    "run": "run a suite: collect data, train models and policies, evaluate them, write the report",
    "sweep": "run a suite on many workers, locally or on a cluster; run it again to resume",
    "status": "show which stages of a suite are done, running, failed or missing",
    "watch": "watch a sweep in the browser: progress, time left, training curves and failures",
    "collect": "collect a dataset from a task",
    "import": "import a dataset of Minari, LeRobot or stable-worldmodel",
    "export": "export a dataset for Minari, LeRobot or stable-worldmodel",
    "train": "train a world model on a dataset",
    "evaluate": "evaluate one agent of a suite",
    "compare": "compare two agents on the same episodes, or planners with `compare planners`",
    "power": "show how many episodes are needed to detect a difference",
    "push": "upload a checkpoint, a dataset or a submission to the Hugging Face Hub",
    "pull": "download a checkpoint, a dataset or a submission from the Hugging Face Hub",
    "query": "query all results with SQL",
    "scaling": "plot success against environment transitions for planners and policies",
    "tune": "search the settings of an agent on one task with a fixed number of trials",
    "submit": "package the results of an agent on a suite for verification",
    "verify": "check a submission: completeness, replay in the simulator, re-run in a sandbox",
    "board": "build the leaderboard website",
    "report": "build the report of a suite from its finished evaluations",
    "probe": "measure which physical quantities the latents of a world model encode",
    "diagnose": "measure whether a world model is suitable for planning",
    "demo": "watch a planner think in the browser: drag the goal, switch planner, budget and cost",
    "imagine": "draw predicted frames above real frames, as an image and a film",
    "surprise": "measure whether a world model is surprised by impossible events",
    "generalize": "evaluate an agent under one change of the world at a time",
    "list": "list tasks, suites, agents and world models",
    "new-env": "create a working template of a new environment",
    "check-env": "check an environment and print its properties",
    "doctor": "check this machine: versions, threads, renderer, disk, speed",
}

# Folders of `jepabench.cli` with the modules of commands. Other commands are directly in it.
_FOLDERS = {
    "benchmark": (
        "run",
        "sweep",
        "status",
        "watch",
        "report",
        "compare",
        "compare_planners",
        "scaling",
        "tune",
        "query",
        "power",
    ),
    "model": (
        "train",
        "evaluate",
        "diagnose",
        "probe",
        "demo",
        "imagine",
        "surprise",
        "generalize",
    ),
    "world": ("collect", "import_dataset", "export_dataset", "check_env", "new_env"),
    "leaderboard": ("submit", "verify", "board"),
}

# Modules of commands whose name is a keyword of Python, or too short for a module.
_MODULES = {"import": "import_dataset", "export": "export_dataset"}

# Optional packages and the extra that installs each of them.
_EXTRAS = {
    "cmaes": "models",
    "stable_baselines3": "models",
    "tensorboard": "models",
    "torch": "models",
    "accelerate": "accelerate",
    "argcomplete": "completion",
    "av": "video",
    "h5py": "hdf5",
    "huggingface_hub": "hub",
    "lance": "lance",
    "minari": "minari",
    "ogbench": "ogbench",
    "optuna": "tune",
    "ray": "ray",
    "sb3_contrib": "contrib",
    "submitit": "slurm",
}
# Commands that need torch. They fail early if it is not installed.
_NEEDS_MODELS = frozenset(
    "run sweep train evaluate scaling tune probe diagnose demo imagine surprise generalize".split()
)
# Commands that read presets.
_READS_PRESETS = frozenset(
    "run sweep status report compare scaling tune train evaluate submit verify board list".split()
)
# Commands that run agents, which may be pickles.
_RUNS_AGENTS = frozenset({"run", "sweep", "evaluate", "submit"})
# These commands judge the work of strangers, often in the folder of that work. Its files must not
# define what they judge by.
_IGNORES_WORKING_DIRECTORY = frozenset({"verify", "board"})

_DEBUG, _DEBUG_HELP = "--debug", "show the traceback of an error"

_RESUME = (
    "Interrupted. Run the same command again to resume: "
    "finished stages are kept, and the work goes on from there."
)


class _Import(argparse.Action):
    """Import the user's module at once, so that other arguments can name its tasks."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any
    ) -> None:
        from jepabench import envs  # noqa: F401  (registers the project's own tasks first)
        from jepabench.envs.registry import import_modules

        import_modules([values])


def get_module_name(verb: str) -> str:
    """Return the module of a command."""
    name = _MODULES.get(verb, verb).replace("-", "_").replace(" ", "_")
    folder = next((folder for folder, names in _FOLDERS.items() if name in names), None)
    return ".".join(["jepabench.cli", *([folder] if folder else []), name])


@contextmanager
def _terminate_like_interrupt(received: list[int]) -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C, and append the signal to ``received``."""

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _configure(parser: argparse.ArgumentParser, command: str, verb: str) -> Any:
    """Add the arguments of a command to the parser of its verb; return the command's module."""
    module = importlib.import_module(get_module_name(command))
    module.configure(parser)
    parser.add_argument(_DEBUG, action="store_true", default=argparse.SUPPRESS, help=_DEBUG_HELP)
    parser.add_argument(
        "--import",
        action=_Import,
        dest=argparse.SUPPRESS,
        metavar="MODULE",
        help="import a module that registers your own tasks; may be repeated",
    )
    _add_source_options(parser, verb)
    return module


def _add_source_options(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options about presets and policies from outside."""
    if verb in _RUNS_AGENTS:
        parser.add_argument(
            "--trust",
            action="store_true",
            help="load the pickles of agent=sb3:FILE, which can run any code",
        )
    if verb in _READS_PRESETS:
        parser.add_argument(
            "--config-dir",
            action="append",
            default=[],
            metavar="DIR",
            help="folder with presets in agent/, world_model/, suite/ or launcher/, besides ./conf",
        )


def _use_source_options(options: argparse.Namespace) -> None:
    """Set where the command looks for presets, and whether it may load pickles."""
    if options.verb in _RUNS_AGENTS:
        from jepabench.agents.model_free.external.trust import set_trust

        set_trust(options.trust)
    if options.verb not in _READS_PRESETS:
        return
    from jepabench.pipeline.presets.search_path import make_search_path, set_search_path

    own = options.verb not in _IGNORES_WORKING_DIRECTORY
    folders = options.config_dir
    # Without options, the search follows the working directory.
    set_search_path(
        None if own and not folders else make_search_path(folders, working_directory=own)
    )


def _missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return what to install, if a package of an extra is what could not be imported."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    return extra and (
        f"{error.name} is not installed. Install it with: pip install 'jepabench[{extra}]'"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    The exit code is 0 for success, 1 for a failure and 2 for wrong arguments.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    received: list[int] = []
    try:
        with _terminate_like_interrupt(received):
            return _run(argv)
    except KeyboardInterrupt:
        print(f"\n{_RESUME}", file=sys.stderr)
        return 128 + (received[0] if received else signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _DEBUG in argv:
            raise
        missing = _missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
        print(f"error: {missing or error}", file=sys.stderr)
        return 2 if isinstance(error, (ValueError, KeyError)) else 1


def _run(argv: Sequence[str]) -> int:
    """Parse the arguments, import the module of the command and run it."""
    parser = Parser(
        prog="jepabench",
        description="Compare planning with JEPA world models and model-free RL.",
        epilog="See `jepabench VERB --help`. Start with `jepabench run suite=quick`.",
    )
    parser.add_argument(_DEBUG, action="store_true", help=_DEBUG_HELP)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    if "" not in sys.path:
        # Find environments and agents in the current folder, as `python -m jepabench` does.
        sys.path.append("")
    chosen = next((item for item in argv if item in VERBS), None)
    parsers = {
        verb: verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
        for verb, text in VERBS.items()
    }
    if "_ARGCOMPLETE" in os.environ:  # set by the shell while it completes
        from jepabench.cli.completion import complete

        try:
            complete(parser, parsers, lambda verb: _configure(parsers[verb], verb, verb))
        except ModuleNotFoundError as error:
            print(f"error: {_missing_extra(error) or error}", file=sys.stderr)
            return 2
    own = argv.index(chosen) + 1 if chosen else len(argv)
    options = parser.parse_args(argv[:own])
    if options.verb in _NEEDS_MODELS and not importlib.util.find_spec("torch"):
        print(f"error: {_missing_extra(ModuleNotFoundError(name='torch'))}", file=sys.stderr)
        return 2
    command, rest, own_parser = options.verb, argv[own:], parsers[options.verb]
    if command == "compare" and rest[:1] == ["planners"]:
        command, rest = "compare planners", rest[1:]
        own_parser.prog += " planners"
    module = _configure(own_parser, command, options.verb)
    options = own_parser.parse_intermixed_args(rest, options)  # settings may follow options
    _use_source_options(options)
    return module.run(options)


if __name__ == "__main__":
    sys.exit(main())
