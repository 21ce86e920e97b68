"""``jepabench``: finds the verb, imports only that one, and turns foreseeable mistakes into one sentence."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jepabench.cli.arguments import Parser

VERBS = {
    "run": "do everything a suite needs: data, models, policies, evaluation, report",
    "sweep": "the same on many workers, here or on a cluster; goes on where it was killed",
    "status": "what of a suite is done, running, failed or missing",
    "collect": "make a dataset of a task",
    "train": "train a world model on a dataset",
    "evaluate": "evaluate one agent of a suite",
    "compare": "two agents on the same episodes: difference, interval, which flipped; or `compare planners`",
    "power": "how many episodes a difference needs",
    "query": "ask all results in SQL",
    "scaling": "success against transitions, planners and policies on one axis",
    "tune": "search an agent's settings on one task, within a fixed number of recorded trials",
    "submit": "pack an agent's results on a suite, so that a stranger can check them",
    "verify": "check a submission: whole, true in the simulator, and re-run; runs none of its code unless asked to",
    "board": "build the static site of submissions, tasks and claims",
    "report": "build the report of a suite from what is done",
    "probe": "say which physical quantities can be read out of a world model's latents",
    "diagnose": "say whether a world model can be planned with: foresight, controllability, rank, plan against outcome",
    "imagine": "paint what a world model imagines above what really came, as a strip and a film",
    "surprise": "ask whether a world model notices the impossible, and does not mind the harmless",
    "generalize": "evaluate a world model's agent under one change of the world at a time",
    "list": "list tasks, suites, agents, world models",
    "new-env": "write the draft of a world of your own, which works",
    "check-env": "check that a world keeps its promises, and print its card",
    "doctor": "check this machine: versions, threads, renderer, disk, speed",
}

# Where in `jepabench.cli` a command's module is; a command that is not named here is directly in it.
_FOLDERS = {
    "benchmark": (
        "run",
        "sweep",
        "status",
        "report",
        "compare",
        "compare_planners",
        "scaling",
        "tune",
        "query",
        "power",
    ),
    "model": ("train", "evaluate", "diagnose", "probe", "imagine", "surprise", "generalize"),
    "world": ("collect", "check_env", "new_env"),
    "leaderboard": ("submit", "verify", "board"),
}

# Packages that the default installation lacks, and the extra that has them.
_EXTRAS = {
    "cmaes": "models",
    "stable_baselines3": "models",
    "tensorboard": "models",
    "torch": "models",
    "accelerate": "accelerate",
    "minari": "minari",
    "ogbench": "ogbench",
    "optuna": "tune",
    "ray": "ray",
    "sb3_contrib": "contrib",
    "submitit": "slurm",
}
# Commands that train or run learned models, so that they say at once what is missing.
_NEEDS_MODELS = frozenset(
    "run sweep train evaluate scaling tune probe diagnose imagine surprise generalize".split()
)


_RESUME = (
    "Interrupted. Run the same command again to resume: "
    "finished stages are kept, and the work goes on from there."
)


def get_module_name(verb: str) -> str:
    """Return the module of a command."""
    name = verb.replace("-", "_").replace(" ", "_")
    folder = next((folder for folder, names in _FOLDERS.items() if name in names), None)
    return ".".join(["jepabench.cli", *([folder] if folder else []), name])


@contextmanager
def _terminate_like_interrupt(received: list[int]) -> Iterator[None]:
    """Make SIGTERM (sent by schedulers and ``timeout``) clean up as Ctrl-C does; note the signal."""

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


def _missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return what to install, if a package of an extra is what could not be imported."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    return extra and (
        f"{error.name} is not installed. Install it with: pip install 'jepabench[{extra}]'"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code: 0 done, 1 something failed, 2 the command was wrong."""
    parser = Parser(
        prog="jepabench",
        description="Do joint-embedding world models that plan beat model-free RL? Same worlds, data and compute.",
        epilog="`jepabench VERB --help` says more. Start with `jepabench run suite=quick`.",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if "" not in sys.path:
        sys.path.append(
            ""
        )  # worlds and agents of the folder that one is in, as with `python -m jepabench`
    chosen = next((item for item in argv if item in VERBS), None)
    parsers = {
        verb: verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
        for verb, text in VERBS.items()
    }
    own = argv.index(chosen) + 1 if chosen else len(argv)
    options = parser.parse_args(argv[:own])
    if options.verb in _NEEDS_MODELS and not importlib.util.find_spec("torch"):
        print(f"error: {_missing_extra(ModuleNotFoundError(name='torch'))}", file=sys.stderr)
        return 2
    command, rest, own_parser = options.verb, argv[own:], parsers[options.verb]
    if command == "compare" and rest[:1] == ["planners"]:
        command, rest = "compare planners", rest[1:]
        own_parser.prog += " planners"
    module = importlib.import_module(get_module_name(command))  # one command: --help stays instant
    module.configure(own_parser)
    options = own_parser.parse_intermixed_args(rest, options)  # settings may follow options
    received: list[int] = []
    try:
        with _terminate_like_interrupt(received):
            return module.run(options)
    except KeyboardInterrupt:
        print(f"\n{_RESUME}", file=sys.stderr)
        return 128 + (received[0] if received else signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if options.debug:
            raise
        missing = _missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
        print(f"error: {missing or error}", file=sys.stderr)
        return 2 if isinstance(error, (ValueError, KeyError)) else 1


if __name__ == "__main__":
    sys.exit(main())
