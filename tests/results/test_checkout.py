"""Test that maintenance commands change a checkout or named files, and no installed package."""

import shutil

import pytest

from jepabench import results
from jepabench.results import contrasts, support
from jepabench.results.board import claims
from jepabench.results.figures import __main__ as figures

FIGURE = "<!-- planning-vs-rl begins -->\n<!-- planning-vs-rl ends -->\n"


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (contrasts.main, ["outputs"]),
        (support.main, ["data"]),
        (claims.main, []),
        (figures.main, []),
        (figures.main, ["add", "outputs"]),
    ],
)
def test_an_installed_package_is_never_changed(main, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    assert main(arguments) == 2
    assert "is not a checkout of JEPA Bench" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_named_checkout_is_updated(tmp_path):
    ours = results.find_checkout()
    shutil.copytree(ours / "results" / "tables", tmp_path / "results" / "tables")
    shutil.copy(ours / "pyproject.toml", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(FIGURE, encoding="utf-8")
    assert figures.main(["--checkout", str(tmp_path)]) == 0
    assert (tmp_path / "docs" / "media" / "planning-vs-rl.svg").is_file()
    page = (tmp_path / "docs" / "claims.md").read_bytes()
    assert claims.main(["--output", str(tmp_path / "claims.md")]) == 0
    assert (tmp_path / "claims.md").read_bytes() == page
