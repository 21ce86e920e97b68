"""Hostile text and file names: hidden characters, commands of a CI service, names no system can
hold.
"""

from hostile_kinds import KINDS, Kind, hostile, of_manifest
from tiny_submission import ROOM, change_manifest, sign

HIDDEN = {
    "newline": "\n",
    "carriage-return": "\r",
    "escape": "\x1b[2J",
    "bell": "\x07",
    "delete": "\x7f",
    "next-line": "\x85",
    "right-to-left-mark": "\u200f",
    "right-to-left-isolate": "\u2067",
    "zero-width-space": "\u200b",
    "zero-width-joiner": "\u200d",
    "byte-order-mark": "\ufeff",
    "line-separator": "\u2028",
    "soft-hyphen": "\u00ad",
    "tag": "\U000e0041",
    "filler": "\u3164",
    "private-use": "\ue000",
    "stacked-marks": "a" + "\u0301" * 40,
}
for _name, _text in HIDDEN.items():
    of_manifest(
        f"author-with-{_name}",
        "holds U\\+|it holds",
        lambda manifest, text=_text: manifest.update(authors=[f"A.{text}Nobody"]),
    )


def of_unknown_key(name: str, key: str) -> None:
    """An unknown key that would be a line of its own in a log."""
    reason = r"holds U\+|Extra inputs"
    change = lambda manifest: manifest.update({key: 1})  # noqa: E731
    KINDS[name] = Kind(lambda folder: change_manifest(folder, change), "manifest", reason)


of_unknown_key("key-that-is-a-workflow-command", "a\n::stop-commands::x")
of_unknown_key("key-with-a-terminal-command", "a\x1b]0;title\x07")
of_manifest(
    "config-with-a-hidden-text",
    r"holds U\+202E",
    lambda manifest: manifest["agent"]["config"].update(note=["\u202egpj"]),
)
of_manifest(
    "config-with-a-hidden-key",
    r"holds U\+200B",
    lambda manifest: manifest["agent"]["config"].update({"learns\u200b": True}),
)
of_manifest(
    "track-with-a-zero-width-letter",
    r"holds U\+200B",
    lambda manifest: manifest["agent"]["track"].update(observation="state\u200b"),
)
for _part in ("observation", "data"):
    of_manifest(
        f"{_part}-of-its-own",
        f"agent.track.{_part}: Input should be",
        lambda manifest, part=_part: manifest["agent"]["track"].update({part: "everything"}),
    )
for _name, _link in {
    "user-name": "https://github.com@evil.example/x",
    "other-script": "https://g\u0456thub.com/x",
    "quotes": 'https://example.org/"onload=alert(1)',
    "data": "data:text/html,<script>alert(1)</script>",
    "backslash": "https:\\\\evil.example",
    "direction": "https://example.org/\u202egpj.exe",
    "blank": "https://example.org/a b",
    "tag": "https://example.org/<script>",
}.items():
    of_manifest(
        f"link-with-{_name}",
        r"link: String should match|holds U\+",
        lambda manifest, link=_link: manifest.update(link=link),
    )
for _date in ("9999-99-99T99:99:99Z", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z"):
    of_manifest(
        f"date-{_date}", "created: ", lambda manifest, date=_date: manifest.update(created=date)
    )


def of_readme(name: str, content: bytes, reason: str) -> None:
    def make(folder):
        (folder / "README.md").write_bytes(content)
        sign(folder)

    KINDS[name] = Kind(make, "files", reason)


of_readme("readme-that-paints-the-terminal", b"# Agent\n\x1b[2J", r"line 2, holds U\+001B")
of_readme("readme-that-runs-backwards", "# \u202etnegA".encode(), r"line 1, holds U\+202E")
of_readme("readme-with-zero-width-letters", "a\u200bb".encode(), r"holds U\+200B")
of_readme("readme-with-null", b"a\x00b", r"holds U\+0000")
of_readme("readme-in-latin-1", b"Ren\xe9", "is not UTF-8")
of_readme("readme-with-lone-carriage-return", b"shown\rhidden", r"holds U\+000D")


def of_file(name: str, path: str, reason: str, content: bytes = b"{}") -> None:
    def make(folder):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        sign(folder)

    KINDS[name] = Kind(make, "files", reason)


of_file("device-con", "checkpoints/TwoRoom-v1/con.json", "device on Windows")
of_file("device-aux-as-a-folder", "checkpoints/AUX/seed0/model.json", "device on Windows")
of_file("device-with-two-dots", "checkpoints/TwoRoom-v1/nul.tar.json", "device on Windows")
of_file("device-com1", "checkpoints/TwoRoom-v1/Com1.json", "device on Windows")
of_file("name-with-a-newline", "checkpoints/a\n::error::x.json", "is not allowed")
of_file("name-that-runs-backwards", "checkpoints/\u202enosj.json", "is not allowed")
of_file("name-with-a-trailing-dot", "checkpoints/TwoRoom-v1/model.", "is not allowed")
of_file("name-with-a-trailing-blank", "checkpoints/TwoRoom-v1 /model.json", "is not allowed")
of_file("git-folder", "checkpoints/.git/config.json", "is not allowed")
of_file(
    "large-file-pointer",
    "README.md",
    "Git LFS pointer",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n",
)


@hostile("files", "differ only in case")
def names_that_differ_in_case(folder):
    for name in ("a/model.json", "A/other.json"):
        (folder / "checkpoints" / name).parent.mkdir(parents=True)
        (folder / "checkpoints" / name).write_text("{}", encoding="utf-8")
    sign(folder)


@hostile("files", "empty folder")
def folder_that_git_does_not_hold(folder):
    (folder / "checkpoints/TwoRoom-v1/seed0").mkdir(parents=True)


@hostile("files", "setuid")
def setuid_file(folder):
    (folder / "actions.npz").chmod(0o4755)


@hostile("files", "setuid")
def sticky_folder(folder):
    home = folder / "checkpoints"
    home.mkdir()
    home.chmod(0o1777)
    (home / "model.json").write_text("{}", encoding="utf-8")


of_manifest("name-of-a-floor", "reserved", lambda manifest: manifest["agent"].update(name="random"))
of_manifest(
    "name-of-a-ceiling", "reserved", lambda manifest: manifest["agent"].update(name="Oracle_CEM")
)
of_manifest(
    "name-of-the-expert", "reserved", lambda manifest: manifest["agent"].update(name="expert")
)


def of_cost(name: str, reason: str, **cost) -> None:
    of_manifest(f"cost-{name}", reason, lambda manifest: manifest["costs"][0].update(**cost))


of_cost("denormal-seconds", "train_seconds", train_seconds=5e-324)
of_cost("endless-seconds", "train_seconds", train_seconds=1e308)
of_cost("transitions-beyond-reason", "transitions", transitions=2**53)
of_cost("parameters-beyond-reason", "parameters", parameters=2**53)
of_cost("task-of-its-own", "costs must have one entry", task_id=ROOM + "x")
