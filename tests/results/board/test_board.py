import json

import pytest
from made_up_board import HOME, PUSH, ROOM, SUITES, sources
from made_up_submissions import suite_of, write

from jepabench.results.board.entries import difference, overall, read_entries
from jepabench.results.board.page_values import (
    NUMBERS,
    costs,
    suite_views,
    task_places,
    view_numbers,
)
from jepabench.results.board.site import build_board

pytestmark = pytest.mark.usefixtures("pinned")


def entries(root):
    return read_entries(
        root / "submissions",
        root / "verified",
        {name: suite["version"] for name, suite in SUITES.items()},
    )


def test_submissions_are_read_archived_or_refused_with_the_reason(made_up):
    found = entries(made_up)
    assert len(found.current) == 10 and [(one.name, one.old) for one in found.old] == [
        ("aged", "version 7 of suite small, now 1")
    ]
    assert [name for name, _ in found.refused] == ["empty", "hostile", "lonely"]
    assert "lacks submission.json" in found.refused[0][1] and "agent.name" in found.refused[1][1]
    badges = {one.name: one.badges for one in found.current}
    assert (
        badges["gcbc"] == ("valid", "replayed")
        and badges["one-seed"][-1] == "re-run"
        and badges["elsewhere"] == ()
    )


@pytest.mark.parametrize("version", [1, 7])
def test_a_task_that_names_a_module_is_not_imported(version, tmp_path, monkeypatch):
    (tmp_path / "module_of_a_stranger.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('run').touch()\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    strange = {**suite_of(("module_of_a_stranger:TwoRoom-v1", ("near",))), "version": version}
    write(tmp_path, "strange", "other", strange, agent="jepa-cem")
    found = build_board(tmp_path / "site", sources(tmp_path, num_films=1), progress=False)
    assert [name for name, _ in found.refused] == (["strange"] if version == 1 else [])
    assert len(found.old) == (version != 1) and not (tmp_path / "run").exists()


def test_a_changed_folder_loses_its_badge(tmp_path):
    folder = write(tmp_path, "mine", "other", SUITES["other"], agent="jepa-cem", badges=3)
    assert entries(tmp_path).current[0].badges
    (folder / "README.md").write_text("better than it was", encoding="utf-8")
    assert entries(tmp_path).current[0].badges == ()


def test_numbers_are_those_of_the_rows(made_up):
    import pandas as pd

    (entry,) = [one for one in entries(made_up).current if one.name == "gcbc"]
    rows = pd.read_parquet(entry.folder / "episodes.parquet")
    means = rows.groupby(["task_id", "stratum"])[
        ["success_held", "success_ever", "violations"]
    ].mean()
    for key, scores in entry.scores.items():
        assert scores.outcomes.shape == (3, 20)
        assert scores.outcomes.mean() == pytest.approx(means.loc[key, "success_held"])
        assert scores.others["ever"] == pytest.approx(means.loc[key, "success_ever"])
        assert scores.others["violations"] == pytest.approx(means.loc[key, "violations"] / 60)
    whole = overall(entry, list(entry.scores))
    assert (
        whole.estimate == pytest.approx(means["success_held"].mean())
        and whole.low < whole.estimate < whole.high
    )


def test_a_view_normalises_between_random_and_oracle_and_names_ties(made_up):
    own = [one for one in entries(made_up).current if one.suite == "small"]
    for _, keys in suite_views(SUITES["small"]):
        rows = dict(zip([one.name for one in own], view_numbers(own, keys), strict=True))
        number = {name: dict(zip(NUMBERS, row, strict=True)) for name, row in rows.items() if row}
        assert number["random"]["norm"] == 0 and number["oracle-cem"]["norm"] == 1
        # jepa-cem is better, but only one-seed was re-run: nothing else may lead.
        leaders = [name for name, row in number.items() if row["tied"]]
        assert leaders == ["one-seed"]
    by_name = {one.name: one for one in own}
    gap = difference(by_name["expert"], by_name["random"], list(by_name["expert"].scores))
    assert gap.low > 0.5
    assert difference(by_name["gcbc"], by_name["gcbc"], list(by_name["gcbc"].scores)).estimate == 0


def test_names_do_not_make_floors_or_ceilings(tmp_path):
    for name, agent in (("a-new-one", "random"), ("b-new-one", "oracle-cem")):
        track = {"observation": "pixels", "data": "offline reward-free", "privilege": "none"}
        folder = write(tmp_path, name, "other", SUITES["other"], agent=agent)
        manifest = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
        manifest["agent"]["track"] = track
        (folder / "submission.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = entries(tmp_path).current
    assert [one.kind for one in found] == ["learned", "learned"]
    (row, _) = view_numbers(found, [(ROOM, "near")])
    assert row is not None and row[NUMBERS.index("norm")] is None


def test_a_copied_submission_is_flagged(tmp_path):
    import shutil

    source = HOME / "results" / "submissions" / "goal-seeker-quick-v2"
    (tmp_path / "submissions").mkdir()
    for name in ("goal-seeker-quick-v2", "my-own"):
        folder = tmp_path / "submissions" / name
        shutil.copytree(source, folder)
        manifest = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
        manifest["name"] = name
        (folder / "submission.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = read_entries(tmp_path / "submissions", tmp_path / "verified", {"quick": 2})
    assert {one.name: one.copies for one in found.current} == {
        "goal-seeker-quick-v2": ("my-own",),
        "my-own": ("goal-seeker-quick-v2",),
    }


def test_unverified_rows_are_neither_ranked_nor_leading(tmp_path):
    write(tmp_path, "winner", "other", SUITES["other"], agent="winner", skill=1.0)
    write(tmp_path, "honest", "other", SUITES["other"], agent="jepa-cem", badges=3)
    found = entries(tmp_path).current
    rows = {
        one.name: view_numbers(found, [(ROOM, "near")])[place] for place, one in enumerate(found)
    }
    assert rows["winner"][NUMBERS.index("tied")] == 0 and rows["honest"][NUMBERS.index("tied")] == 1
    assert {one.name: one.is_ranked for one in found} == {"winner": False, "honest": True}
    (place,) = task_places(ROOM, found)
    assert [row["entry"].name for row in place["rows"]] == ["honest"]


def test_unstated_costs_are_not_shown_as_zero(tmp_path):
    folder = write(tmp_path, "mine", "other", SUITES["other"], agent="jepa-cem")
    manifest = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
    manifest["costs"] = [
        {**cost, "transitions": 0, "train_seconds": 0.0, "parameters": 0}
        for cost in manifest["costs"]
    ]
    (folder / "submission.json").write_text(json.dumps(manifest), encoding="utf-8")
    write(tmp_path, "free", "other", SUITES["other"], agent="random")
    free, mine = entries(tmp_path).current
    assert {text for _, text in costs(mine)} == {"not stated"}
    assert {text for _, text in costs(free)} == {"0"}


def test_a_column_that_was_renamed_is_refused_and_the_board_is_built(tmp_path):
    from pyarrow import parquet

    folder = write(tmp_path, "mine", "other", SUITES["other"], agent="jepa-cem")
    rows = parquet.read_table(folder / "episodes.parquet")
    names = ["Agent" if name == "agent" else name for name in rows.column_names]
    parquet.write_table(rows.rename_columns(names), folder / "episodes.parquet")
    strange = suite_of(("[/red]", ("near",)))
    write(tmp_path, "strange", "other", strange, agent="jepa-cem")
    found = build_board(tmp_path / "site", sources(tmp_path), progress=False)
    assert [name for name, _ in found.refused] == ["mine", "strange"]
    assert "mine" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_an_entry_without_a_cell_is_not_in_the_view(made_up, tmp_path):
    write(tmp_path, "part", "small", SUITES["other"], agent="jepa-cem")
    found = entries(tmp_path).current
    assert view_numbers(found, [(ROOM, "near")])[0] is not None
    assert view_numbers(found, [(ROOM, "near"), (PUSH, "steps25")]) == [None]
