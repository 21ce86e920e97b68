"""Test the headline figure: its table, points, comparison, drawing and Markdown."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from planning_vs_rl_rows import rows, synthetic, written

from jepabench.evaluation.statistics.intervals import cell_interval
from jepabench.evaluation.traces import save_evaluation
from jepabench.results.figures import headline_text
from jepabench.results.figures.collect import add_rows, collect_rows
from jepabench.results.figures.family_comparison import compare_families, describe_comparison
from jepabench.results.figures.headline import draw_headline, has_seconds
from jepabench.results.figures.planning_vs_rl import (
    COLUMNS,
    HeadlineTableError,
    count_outcomes,
    make_panels,
    parse_table,
    read_panels,
    read_table,
)

ROOT = Path(__file__).parents[3]
TEXT = "{http://www.w3.org/2000/svg}text"
HOSTILE = "<script>$x$"


def test_a_point_is_the_mean_over_strata_and_seeds(tmp_path):
    (panel,) = read_panels(written(tmp_path, synthetic()))
    assert panel.task == "jepabench/TwoRoom-v1" and panel.strata == ("near", "far")
    first, second = panel.curve("jepa")
    assert (first.transitions, second.transitions, first.seeds) == (1000, 10_000, 3)
    assert first.held.estimate == pytest.approx(0.8) and first.training_seconds == 10
    assert first.held.low < 0.8 < first.held.high and first.held.over == "seeds and episodes"


def test_intervals_are_no_narrower_than_those_of_any_single_episodes():
    generator = np.random.default_rng(0)
    counted = cell_interval(np.stack([count_outcomes(0.7, 40)] * 3))
    for _ in range(20):
        shuffled = np.stack([generator.permutation(count_outcomes(0.7, 40)) for _ in range(3)])
        found = cell_interval(shuffled)
        assert counted.high - counted.low >= found.high - found.low - 1e-9


def test_a_task_with_one_method_and_a_point_without_a_stratum_are_not_shown():
    table = synthetic()
    lost = (table["method"] == "sac-her") & (table["stratum"] == "far")
    lost &= table["transitions"] == 1000
    (panel,) = make_panels(table[~lost])
    assert [point.transitions for point in panel.curve("sac-her")] == [10_000]
    assert panel.incomplete == ("sac-her at 1,000 transitions",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "planer"}, "line 2: Unknown family 'planer'. Did you mean 'planner'"),
        ({"held": 1.2}, "line 2: held must be a rate"),
        ({"held": 0.333}, "no number of successes in 50"),
        ({"held": ""}, "held must be a number"),
        ({"held": "nan"}, "held must be a number"),
        ({"episodes": 0}, "episodes must be a whole number of at least 2"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"seed": -1}, "seed must be a number of at least 0"),
        ({"transitions": 0}, "needs its number of transitions"),
        ({"training_seconds": "long"}, "Leave it empty if it is unknown"),
        ({"method": " "}, "method is empty"),
        ({"seed": 1}, "line 3 repeats an earlier row"),
        ({"family": "rl"}, "jepa has two families"),
    ],
)
def test_a_row_that_breaks_the_schema_is_refused_by_its_line(tmp_path, change, message):
    table = synthetic().astype(object)
    for column, value in change.items():
        table.loc[0, column] = value
    with pytest.raises(HeadlineTableError, match=message):
        read_table(written(tmp_path, table))


def test_a_table_without_a_column_or_rows_is_refused():
    with pytest.raises(HeadlineTableError, match="lacks the columns held"):
        parse_table(synthetic().drop(columns="held").to_csv(index=False), "t.csv")
    with pytest.raises(HeadlineTableError, match="is empty"):
        parse_table("", "t.csv")


def test_families_are_compared_at_equal_transitions():
    (panel,) = make_panels(synthetic())
    small, large = (compare_families(panel, at=at) for at in ("smallest", "largest"))
    assert small.difference.estimate == pytest.approx(0.7) and small.difference.low > 0.4
    assert large.difference.estimate == 0 and large.difference.low < 0 < large.difference.high
    sentence = describe_comparison([panel])
    assert sentence.startswith("With 1k transitions the best planner")
    assert "on 1 of 1 tasks (TwoRoom-v1)" in sentence and "with 10k transitions" in sentence


def test_comparison_needs_equal_transitions():
    table = pd.DataFrame(
        rows("jepa", "planner", (0.5,), budgets=(1000,))
        + rows("sac", "rl", (0.5,), budgets=(3000,))
    )
    assert describe_comparison(make_panels(table)) == ""


def texts(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(TEXT)]


def test_figure_labels_tasks_methods_and_references():
    table = synthetic().replace("sac-her", HOSTILE)
    svg = draw_headline(make_panels(table))
    shown = texts(svg)
    assert {"TwoRoom-v1", "jepa (planner)", f"{HOSTILE} (RL)", "random", "1M"} <= set(shown)
    assert "Alone-v1" not in shown and b"<script" not in svg
    assert svg == draw_headline(make_panels(table))
    seconds = texts(draw_headline(make_panels(table), x="training_seconds"))
    assert "training time [s]" in seconds and "1M" not in seconds


def test_unknown_training_times_leave_out_the_second_figure():
    table = synthetic()
    table.loc[table["method"] == "sac-her", "training_seconds"] = np.nan
    assert has_seconds(make_panels(synthetic())) and not has_seconds(make_panels(table))


def test_the_block_of_a_page_is_replaced_and_emptied():
    page = f"a\n{headline_text.BEGIN}\nold\n{headline_text.END}\nb\n"
    full = headline_text.replace_block(
        page, headline_text.headline_markdown(make_panels(synthetic()), "media")
    )
    assert "\nold\n" not in full and "media/planning-vs-rl.svg" in full
    assert "; 3 training seeds per point" in full and "Against training time" in full
    empty = headline_text.replace_block(full, headline_text.headline_markdown([], "media"))
    assert empty == f"a\n{headline_text.BEGIN}\n{headline_text.END}\nb\n"
    with pytest.raises(ValueError, match="needs the comments"):
        headline_text.replace_block("a", "b")


def test_the_readme_shows_the_figure_if_and_only_if_the_table_can_be_drawn():
    panels = read_panels()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = headline_text.headline_markdown(panels, "docs/media")
    assert headline_text.replace_block(readme, block) == readme
    assert (ROOT / "docs" / "media" / "planning-vs-rl.svg").is_file() == bool(panels)


def test_evaluations_become_rows_and_replace_older_ones(tmp_path, evaluations):
    for name, track in (("expert", "simulator"), ("random", "none")):
        folder = tmp_path / "outputs" / name
        save_evaluation(folder, evaluations[name])
        (folder / "done.json").write_text("{}", encoding="utf-8")
        (folder / "cost.json").write_text(
            json.dumps({"transitions": 30_000, "train_seconds": 1.5}), encoding="utf-8"
        )
        stage = {"agent": {"track": {"observation": "state", "data": "online"}}}
        stage["agent"]["track"]["privilege"] = track
        (folder / "stage.json").write_text(json.dumps({"config": stage}), encoding="utf-8")
    found = collect_rows([tmp_path / "outputs"], {})
    assert set(found["family"]) == {"ceiling", "rl"} and len(found) == 4
    path = tmp_path / "planning-vs-rl.csv"
    assert add_rows(found, path) == 4 and add_rows(found.assign(held=0.0), path) == 4
    table = read_table(path)
    assert tuple(table.columns) == COLUMNS and not table["held"].any()
    with pytest.raises(ValueError, match="No finished evaluation"):
        collect_rows([tmp_path / "nowhere"], {})
    before = path.read_bytes()
    with pytest.raises(HeadlineTableError):
        add_rows(found.assign(held=2.0), path)
    assert path.read_bytes() == before
