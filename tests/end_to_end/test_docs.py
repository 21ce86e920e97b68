"""The code in the documentation runs, page by page; its links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
PAGES = [HOME / "README.md", *sorted((HOME / "docs").rglob("*.md"))]


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
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link
