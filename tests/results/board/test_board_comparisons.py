"""Test the answer of the board, paired differences of all pairs, and the filmed episodes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_up_submissions import suite_of, write
from planning_vs_rl_rows import synthetic

from jepabench.results.board.answer import answer_question, compare_tasks
from jepabench.results.board.comparisons import (
    choose_divisive_episodes,
    comparison_script,
    paired_differences,
)
from jepabench.results.board.entries import difference, read_entries
from jepabench.results.board.page_values import board_data, suite_views
from jepabench.results.figures.planning_vs_rl import make_panels

ROOM, MAZE = "jepabench/TwoRoom-v1", "jepabench/PointMaze-UMaze-v1"
SUITE = suite_of((ROOM, ("near", "far")), (MAZE, ("near",)))


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    for number, (name, agent, skill) in enumerate(
        (("planner", "jepa-cem", 0.95), ("policy", "sac-her", 0.3), ("worse", "gcbc", 0.1))
    ):
        write(root, name, "s", SUITE, agent=agent, number=number, skill=skill, badges=2)
    write(root, "random", "s", SUITE, agent="random", number=4, badges=2)
    return read_entries(root / "submissions", root / "verified", {"s": 1}).current


def test_the_answer_counts_tasks_on_which_the_best_planner_beats_the_best_policy(entries):
    found = compare_tasks(entries, "s", SUITE)
    assert [(one.task, one.planner.name, one.policy.name) for one in found] == [
        (ROOM, "planner", "policy"),
        (MAZE, "planner", "policy"),
    ]
    sentence = answer_question(entries, {"s": SUITE}, [])
    assert sentence.startswith("Yes: in suite s") and "2 of 2 tasks" in sentence
    assert "95 % interval +" in sentence and sentence.count(".") == 1


def test_the_answer_needs_replayed_rows_of_both_kinds(entries):
    only = [entry for entry in entries if not entry.searches]
    assert "has 0 and 2" in answer_question(only, {"s": SUITE}, [])
    unverified = [replace(entry, badges=()) for entry in entries]
    assert answer_question(unverified, {"s": SUITE}, []).startswith("Not answered yet")
    figure = answer_question(unverified, {"s": SUITE}, make_panels(synthetic()))
    assert figure.startswith("With 1k transitions")


def test_the_answer_comes_from_the_figure_if_that_has_more_tasks(entries):
    panels = make_panels(synthetic())
    more = [*panels, *panels, *panels, *panels]
    assert answer_question(entries, {"s": SUITE}, more).startswith("With 1k transitions")


def test_the_board_opens_with_the_suite_of_most_agents_under_test(entries):
    named = entries[0].manifest.suite.model_copy(update={"name": "other"})
    other = replace(entries[0], manifest=entries[0].manifest.model_copy(update={"suite": named}))
    data = board_data([other, *entries], {"other": SUITE, "s": SUITE})
    assert [suite["name"] for suite in data["suites"]] == ["s", "other"]


def test_differences_of_all_pairs_equal_those_of_single_pairs(entries):
    views = [keys for _, keys in suite_views(SUITE)]
    found = paired_differences(entries, views)
    for first, one in enumerate(entries):
        for second, two in enumerate(entries):
            for view, keys in enumerate(views):
                if first >= second:
                    assert np.isnan(found[first, second, view]).all()
                    continue
                single = difference(one, two, keys)
                expected = pytest.approx([single.estimate, single.low, single.high], abs=1e-4)
                assert found[first, second, view].tolist() == expected


def test_a_row_without_a_cell_has_no_difference_in_it(entries):
    first, second, *_ = entries
    scores = {key: value for key, value in second.scores.items() if key[0] == ROOM}
    views = [keys for _, keys in suite_views(SUITE)]
    found = paired_differences([first, replace(second, scores=scores)], views)[0, 1]
    known = [not np.isnan(numbers).any() for numbers in found]
    assert known == [all(key[0] == ROOM for key in keys) for keys in views]
    script = comparison_script(first, {second.name: found}, ())
    content = json.loads(script.removeprefix(f'receive("{first.name}",').removesuffix(");\n"))
    assert [row is not None for row in content["differences"][second.name]] == known


def test_the_most_divisive_episodes_are_those_that_half_of_the_submissions_hold(entries):
    chosen = choose_divisive_episodes(entries, per_task=2)
    assert sorted(task for task, _, _ in chosen) == [MAZE, MAZE, ROOM, ROOM]
    for task, stratum, index in chosen:
        held = np.mean([entry.scores[task, stratum].outcomes[0, index] for entry in entries])
        assert held == pytest.approx(0.5, abs=0.25)
    assert not choose_divisive_episodes(entries[:1], per_task=2)


def test_the_board_shows_what_limits_planning(tmp_path):
    from made_up_submissions import tell_of_world_model

    gate = {"goal_error": 1.25, "unit": "cm", "in_place": 0.9, "rank_imagined": 0.7}
    folder = write(tmp_path, "mine", "s", SUITE, agent="jepa-cem")
    tell_of_world_model(folder, ROOM, gate=gate)
    found = read_entries(tmp_path / "submissions", tmp_path / "verified", {"s": 1})
    (entry,) = board_data(found.current, {"s": SUITE})["entries"]
    assert entry["gates"]["TwoRoom-v1"] == gate | {"rank_realised": None, "oracle_predictor": None}
    assert entry["search"] == "searched"
