"""Foreign text: which characters it may hold, and how it is shown in terminals, logs and pages."""

from __future__ import annotations

import re
import unicodedata

# Control, format (bidirectional, zero-width), surrogate, private, unassigned, line and paragraph
# separators.
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# Blank or invisible characters of other categories: fillers, and variation selectors.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x180B, 0x1810)))
)
_MOST_MARKS = 4  # combining characters in a row
_COMMAND = re.compile(r"^(\s*)(?=::)", re.MULTILINE)


def find_hidden(text: str, *, multiline: bool = False) -> str:
    """Return the first character that foreign text may not hold, as ``U+202E NAME``; empty if none.

    Args:
        text: Text of unknown origin.
        multiline: Allow line feeds and tabs.
    """
    if text.isascii() and text.isprintable():
        return ""
    marks = 0
    for letter in text:
        marks = marks + 1 if unicodedata.combining(letter) else 0
        if (multiline and letter in "\n\t") or not (_is_hidden(letter) or marks > _MOST_MARKS):
            continue
        return f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".strip()
    return ""


def clean_text(text: str, *, multiline: bool = False) -> str:
    """Return foreign text with every hidden character replaced by ``U+FFFD``."""
    return "".join(
        letter if (multiline and letter in "\n\t") or not _is_hidden(letter) else "\ufffd"
        for letter in text
    )


def escape_text(text: str) -> str:
    """Return foreign text as one line, with hidden characters as Unicode escapes."""
    return "".join(
        letter.encode("unicode_escape", "surrogatepass").decode() if _is_hidden(letter) else letter
        for letter in text
    )


def escape_log(text: str) -> str:
    """Return text without commands of CI services (``::command::``, ``##[command]``)."""
    return _COMMAND.sub(r"\1| ", text).replace("##[", "## [").replace("##vso", "## vso")


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) in _HIDDEN or letter in _INVISIBLE
