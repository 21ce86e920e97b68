"""Test that all text files are opened as UTF-8, whatever the locale is."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_TEXT_FILES = ("os", "archive", "EpisodeDataset", "cls")  # objects whose `open` is another one


def find_calls_without_encoding(source):
    """Return the line numbers of calls that open, read or write text in the locale's encoding."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return sorted(call.lineno for call in calls if depends_on_locale(call))


def depends_on_locale(call):
    owner, name = "", getattr(call.func, "id", "")
    if isinstance(call.func, ast.Attribute):
        owner, name = ast.unparse(call.func.value), call.func.attr
    if any(keyword.arg in ("encoding", None) for keyword in call.keywords):
        return False
    if name in ("read_text", "write_text"):
        return len(call.args) == (name == "write_text")
    if name not in ("open", "fdopen") or (name == "open" and owner in NOT_TEXT_FILES):
        return False
    position = 1 if owner in ("", "os", "io") else 0
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    mode = (*call.args[position : position + 1], *modes, ast.Constant("r"))[0]
    return isinstance(mode, ast.Constant) and "b" not in str(mode.value)


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("path.read_text()", [1]),
        ("path.read_text(encoding='utf-8')", []),
        ("path.write_text('a')", [1]),
        ("\nopen(path)", [2]),
        ("open(path, 'w')", [1]),
        ("path.open(mode='a', newline='')", [1]),
        ("os.fdopen(1, 'w')", [1]),
        ("open(path, 'rb')", []),
        ("os.open(path, flags)", []),
        ("path.open('wb')", []),
    ],
)
def test_locale_dependent_calls_are_found(source, lines):
    assert find_calls_without_encoding(source) == lines


def test_every_text_file_is_opened_as_utf8():
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    files = [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in files
        for line in find_calls_without_encoding(file.read_text(encoding="utf-8"))
    ]
    assert len(files) > 100
    assert not found, f"Add encoding='utf-8' to: {', '.join(found)}"
