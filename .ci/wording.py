"""Report phrases that the writing guide drops, with a replacement for each.

Usage: ``python .ci/wording.py [FILE ...]``; without files, every tracked text file is read. The
exit code is 1 if a phrase is found.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

# What is found, and what to write instead. `(?<!\`)` and the like keep code out.
_NOUNS = (
    "row|policy|page|file|line|point|cell|curve|panel|bar|film|seed|stage|task|figure|process|job"
    "|worker|column|folder|model|plan|world|step|episode|frame|table|record|command|entry|name"
    "|trial"
)
_RULES = {
    r"\bcan not\b": "cannot",
    rf"\b(?:a|an|one) (?:{_NOUNS}) (?:a|an) (?:{_NOUNS}|stratum|agent|method|suite|verb|block)\b": (
        "one ... per ..."
    ),
    r"\bepisodes a stratum\b": "episodes per stratum",
    r"\bbelongs? into\b": "is not allowed in / belongs in",
    r"\b(?:goes|go|went) on where\b": "resumes",
    r"\bKilled at any point\b": "If it is interrupted, run the same command again",
    r"\bon one axis\b": "in one plot",
    r"\bat its word\b": "as untrusted",
    r"\bis there twice\b": "is duplicated",
    r"\bis said at once\b": "fails early",
    r"\bTD-MPC2's way\b": "TD-MPC2 (offline, goal-conditioned)",
    r"\bwho is inside\b": "an agent inside the zone",
    r"\bwhat is on the way\b": "obstacles",
    r"\b(?:an|the|one|own) eyes?\b(?! of )": "encoder",
    r"\bcomes? to no end\b": "does not finish",
    r"\bto mend\b|\bmends? (?:it|them)\b": "fix",
    r"\btold by a cost\b": "defined by a cost",
    r"\bin its words\b": "with its own message",
    r"\bwhat it counts\b": "its weight",
    r"\bbegins? anew\b": "starts again",
    r"\bso many (?:model )?steps\b": "this many steps",
    r"\b[Ww]hat (?:a|an|the) [\w -]+ (?:is|are) made of\b": "Configuration of ...",
    r"\bnobody (?:else )?(?:is|has|can)\b": "no other ...",
}
_READ = {".py", ".md", ".j2", ".yaml", ".yml", ".toml", ".template", ".css", ".js"}
_SKIP = (".ci/wording.py", "results/submissions/", "results/verified/", "CHANGELOG.md")


def find(text: str) -> list[tuple[int, str, str]]:
    """Return (line number, phrase, replacement) of every phrase in ``text``."""
    return [
        (number, match[0], instead)
        for number, line in enumerate(text.splitlines(), start=1)
        for rule, instead in _RULES.items()
        for match in re.finditer(rule, line, re.IGNORECASE)
    ]


def main(names: list[str]) -> int:
    """Print every phrase found in the files and return the exit code."""
    if not names:
        names = subprocess.run(
            ["git", "ls-files"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
    num_found = 0
    for name in names:
        path = Path(name)
        if path.suffix not in _READ or name.startswith(_SKIP) or not path.is_file():
            continue
        for number, phrase, instead in find(path.read_text(encoding="utf-8")):
            print(f"{name}:{number}: {phrase!r}: write {instead!r}")
            num_found += 1
    return 1 if num_found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
