"""Run the code in the documentation, and check its links and quoted scripts."""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from jepabench import main
from jepabench.pipeline.presets.search_path import list_presets

HOME = Path(__file__).parents[2]
PAGES = [HOME / "README.md", *sorted((HOME / "docs").rglob("*.md"))]
QUOTING = [
    *PAGES,
    HOME / "CONTRIBUTING.md",
    *sorted((HOME / "results").glob("*/README.md")),
    HOME / "results" / "claims.yaml",
]
BENCHMARKS = [
    path
    for path in sorted((HOME / "benchmarks").rglob("*.py"))
    if "__main__" in path.read_text(encoding="utf-8")
]


def commands(page: Path) -> list[list[str]]:
    """Commands of a page, from top to bottom; a code block with a name is a file to save."""
    found = []
    for language, name, code in re.findall(
        r"```(bash|python)(?: (\S+))?\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
    ):
        if name:
            save = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
            found.append([sys.executable, "-c", save, name, code])
            continue
        if language == "python":
            found.append([sys.executable, "-c", code])
            continue
        for words in map(shlex.split, filter(None, code.splitlines())):
            assert words[0] == "jepabench"
            found.append([sys.executable, "-m", *words])
    return found


@pytest.mark.parametrize(
    "page",
    [
        # A how-to trains something.
        pytest.param(
            page,
            id=str(page.relative_to(HOME)),
            marks=[pytest.mark.slow] if "how-to" in page.parts else [],
        )
        for page in PAGES
        if commands(page)
    ],
)
def test_a_page_runs_from_top_to_bottom(page, tmp_path):
    for command in commands(page):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOME)))
def test_links_exist(page):
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link


@pytest.fixture(scope="module")
def parsers():
    """The parser of each command, by its words."""
    found = {}
    for command in (*main.VERBS, "compare planners"):
        found[command] = argparse.ArgumentParser(prog=command)
        main._configure(found[command], command, command.split()[0])
    return found


@pytest.mark.parametrize("page", QUOTING, ids=lambda page: page.relative_to(HOME).as_posix())
def test_quoted_commands_exist(page, parsers):
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    # Commands in code spans, and lines of code blocks up to a comment in the next column.
    for quoted in re.findall(
        r"(?:^|`|: )jepabench ([a-z][^`\n]*?)(?:`|\n|   )", text, re.MULTILINE
    ):
        words = quoted.split()
        command = " ".join(words[: 2 if words[:2] == ["compare", "planners"] else 1])
        assert command in parsers, quoted
        known = parsers[command]._option_string_actions
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= {
            *known,
            "--help",
        }, quoted
        for suite in re.findall(r" suite=([a-z][a-z-]+)", quoted):
            assert suite in list_presets("suite"), quoted


@pytest.mark.parametrize("page", QUOTING, ids=lambda page: page.relative_to(HOME).as_posix())
def test_quoted_scripts_exist(page):
    text = page.read_text(encoding="utf-8")
    for script in re.findall(r"(?:benchmarks|tests|examples)/[\w/-]+\.py", text):
        assert (HOME / script).is_file(), script


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", BENCHMARKS, ids=lambda path: path.relative_to(HOME / "benchmarks").as_posix()
)
def test_every_benchmark_prints_its_help_from_any_folder(script, tmp_path):
    done = subprocess.run(
        [sys.executable, script, "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {script.name}")
    assert not list(tmp_path.iterdir())
