from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jepabench.results.media.episode_media import Run, choose_episodes, find_runs, show_run
from jepabench.results.report.page import write_report
from jepabench.results.report.success_table import Cell
from jepabench.results.report.summary import summarise

HOSTILE = '<img src=x onerror="alert(1)">&[red]$x$'
VOID = {"meta", "img", "source", "br", "link"}
MACHINE = {"processor": "abacus <1>", "versions": {"torch": "2.13"}}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed, in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.tags, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text.append(data)

    def rows(self, text):
        return " ".join("".join(self.text).split()).count(text)


def test_the_page_is_well_formed_and_everything_it_links_to_is_there(page):
    parsed = Page(page.read_text(encoding="utf-8"))
    anchors = {attrs["id"] for _, attrs in parsed.tags if "id" in attrs}
    assert len(parsed.links) > 10
    for link in parsed.links:
        if link.startswith("#"):
            assert link[1:] in anchors
        else:
            assert (page.parent / link).is_file(), link
    used = {link.removeprefix("media/") for link in parsed.links if link.startswith("media/")}
    assert {path.name for path in (page.parent / "media").iterdir()} == used


def test_the_page_makes_no_network_request(page):
    parsed = Page(page.read_text(encoding="utf-8"))
    assert not [link for link in parsed.links if ":" in link or link.startswith("//")]
    assert not {tag for tag, _ in parsed.tags} & {"link", "iframe", "object", "embed", "base"}
    assert "@import" not in page.read_text(encoding="utf-8") and "url(" not in page.read_text(
        encoding="utf-8"
    )


def test_missing_and_failed_cells_are_shown_as_such_and_never_as_zero(page):
    parsed = Page(page.read_text(encoding="utf-8"))
    rows = page.read_text(encoding="utf-8").split('<tr class="row')[1:]
    late = [row for row in rows if 'data-value="late"' in row]
    mine = [row for row in rows if 'data-value="mine"' in row]
    assert len(late) == len(mine) == 2
    assert all(
        ">missing</td>" in row and "data-value" not in row.split("</td>", 1)[1] for row in late
    )
    assert all("failed: ValueError: &lt;b&gt;no&lt;/b&gt;" in row for row in mine)
    assert parsed.rows("4 of 12 cells are missing or failed") == 1
    assert "nan" not in "".join(parsed.text).lower().split()


def test_hostile_names_and_words_are_escaped(page):
    parsed = Page(page.read_text(encoding="utf-8"))
    assert not [attrs for tag, attrs in parsed.tags if "onerror" in attrs]
    assert sum(tag == "script" for tag, _ in parsed.tags) == 1
    shown = "".join(parsed.text)
    for words in (HOSTILE, "<b>no</b>", "abacus <1>", "make <bench>", "one <world>"):
        assert words in shown, words


def test_the_page_states_the_kind_of_its_numbers(page):
    parsed = Page(page.read_text(encoding="utf-8"))
    for words in (
        "2 episodes per stratum: a demonstration, not a ranking.",
        "1 seed: intervals are over episodes only",
        "The ball is within 0.1 m of the goal.",
        "make <bench>",
        "abacus <1>",
        "torch 2.13",
        "protocol 2",
        "1 of 2 \N{MULTIPLICATION SIGN} 2",
    ):
        assert parsed.rows(words), words


def test_floors_and_ceilings_are_marked(page):
    text = page.read_text(encoding="utf-8")
    assert text.count('<tr class="row ceiling') == 2 and text.count('<tr class="row floor') == 4
    assert (
        text.count('<span class="tag">ceiling</span>') == 2
        and text.count('<span class="tag">floor</span>') == 4
    )


def test_films_open_and_show_imagined_beside_real_frames(page):
    media = page.parent / "media"
    films = list(media.glob("film-*.webp"))
    assert len(films) == 5  # two of the agent under test, one of each reference
    for path in films:
        with Image.open(path) as film:
            assert film.n_frames > 10
        assert path.stat().st_size < 300_000
    assert len(list(media.glob("imagined-*.png"))) == 2


def test_the_same_results_give_the_same_page_and_films_are_kept(suite_dir, suite):
    report = suite_dir / "report"
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in report.rglob("*")
        if path.is_file()
    }
    (report / "media" / "film-old.webp").write_bytes(b"")
    write_report(suite_dir, suite=suite, machine=MACHINE)
    after = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in report.rglob("*")
        if path.is_file()
    }
    assert {path: content for path, (content, _) in before.items()} == {
        path: content for path, (content, _) in after.items()
    }
    assert all(before[path][1] == after[path][1] for path in before if path.parent.name == "media")


def test_a_damaged_trace_costs_its_film_and_not_the_report(suite_dir, suite):
    run = next(run for run in find_runs(suite_dir) if run.agent == "random")
    (run.directory / "actions.npz").write_bytes(b"not an archive")
    parsed = Page(
        write_report(suite_dir, suite=suite, machine={}, num_films=1).read_text(encoding="utf-8")
    )
    assert parsed.rows("No film.") == 1


def test_private_episodes_are_not_shown(suite_dir, tmp_path):
    run = next(run for run in find_runs(suite_dir) if run.agent == "expert")
    private = Run(
        run.agent,
        run.task_id,
        0,
        run.directory,
        tuple(replace(one, split="private") for one in run.records),
    )
    (shown,) = show_run(private, tmp_path / "media", num_films=1)
    assert shown.film is None and "not shown" in shown.problem


def test_training_curves_are_drawn_if_they_are_given(suite_dir, suite):
    curves = pd.DataFrame(
        [
            {
                "task": "jepabench/TwoRoom-v1",
                "agent": "random",
                "seed": 0,
                "seconds": t,
                "metric": "loss",
                "value": t,
            }
            for t in range(3)
        ]
    )
    page = write_report(suite_dir, suite=suite, machine={}, num_films=0, curves=curves)
    assert 'id="training"' in page.read_text(encoding="utf-8")
    assert 'id="training"' not in write_report(
        suite_dir, suite=suite, machine={}, num_films=0
    ).read_text(encoding="utf-8")


def test_a_report_without_a_table_or_a_name_is_refused(suite_dir, suite):
    with pytest.raises(ValueError, match="version"):
        write_report(suite_dir, suite={"name": "tiny", "description": ""}, machine={})
    (suite_dir / "table.csv").unlink()
    with pytest.raises(FileNotFoundError, match="Evaluate the suite first"):
        write_report(suite_dir, suite=suite, machine={})


def test_episodes_are_chosen_by_rule(evaluations):
    record = evaluations["expert"].records[0]
    records = [
        replace(record, stratum=stratum, index=index, success_held=held)
        for stratum in ("near", "medium", "far")
        for index, held in enumerate((False, True, True, False))
    ]
    chosen = choose_episodes(records, strata=("near", "medium", "far"), num_episodes=3)
    assert [(one.stratum, one.index) for one in chosen] == [("far", 1), ("near", 0), ("far", 2)]
    wins = [one for one in records if one.success_held]
    assert len(choose_episodes(wins, strata=("near", "medium", "far"), num_episodes=2)) == 2


def run_of(record, agent, held):
    records = tuple(
        replace(record, agent=agent, index=index, success_held=one)
        for index, one in enumerate(held)
    )
    return Run(agent, record.task_id, 0, None, records)


def cell_of(record, agent, held, status="done"):
    rate = float(np.mean(held)) if status == "done" else float("nan")
    return Cell(
        task=record.task_id,
        stratum=record.stratum,
        agent=agent,
        kind={"expert": "ceiling", "random": "floor"}.get(agent, "learned"),
        status=status,
        success_held=rate,
    )


def test_the_headline_names_the_best_agent_or_a_tie(evaluations):
    record = evaluations["expert"].records[0]
    good, close, bad = (
        [True] * 38 + [False] * 2,
        [True] * 37 + [False] * 3,
        [True] * 4 + [False] * 36,
    )
    for other, words in (
        (close, "b, at 92 %, is not significantly worse."),
        (bad, "b, at 10 %, follows."),
    ):
        outcomes = {"b": other, "a": good, "random": bad, "expert": [True] * 40}
        cells = [cell_of(record, agent, held) for agent, held in outcomes.items()]
        runs = [run_of(record, agent, held) for agent, held in outcomes.items()]
        summary = summarise(cells, runs, place="here", tracks={"a": "pixels"})
        assert (
            summary.best == "a" and "a reaches and holds 95 % of the goals here" in summary.headline
        )
        assert words in summary.headline and "a: pixels." in summary.details
        assert summary.context == "Floor: random 10 %. Ceiling: expert 100 %."


def test_the_headline_compares_planning_with_a_policy(evaluations):
    record = evaluations["expert"].records[0]
    outcomes = {
        "cem": [True] * 40,
        "icem": [True] * 40,
        "policy": [True] * 30 + [False] * 10,
    }
    cells = [
        replace(cell_of(record, name, held), model_steps=0.0 if name == "policy" else 9.0)
        for name, held in outcomes.items()
    ]
    runs = [run_of(record, name, held) for name, held in outcomes.items()]
    summary = summarise(cells, runs, place="here", tracks={})
    assert "cem" in summary.headline and "policy, at 75 %, follows." in summary.headline


def test_summary_states_that_no_episode_differed(evaluations):
    record = evaluations["expert"].records[0]
    held = [True] * 38 + [False] * 2
    cells = [cell_of(record, name, held) for name in ("a", "b")]
    runs = [run_of(record, name, held) for name in ("a", "b")]
    summary = summarise(cells, runs, place="here", tracks={})
    assert summary.details == "No episode of 40 differed."


def test_the_stratum_with_differences_comes_first(evaluations):
    record = evaluations["expert"].records[0]
    far = replace(record, stratum="distant")
    rates = {"a": 0.9, "b": 0.1}
    cells = [cell_of(one, name, [True]) for one in (record, far) for name in rates]
    cells = [
        replace(cell, success_held=rates[cell.agent]) if cell.stratum == "distant" else cell
        for cell in cells
    ]
    summary = summarise(cells, [], place="here", tracks={})
    assert (
        summary.headline
        == "a reaches and holds 90 % of the distant goals here; b, at 10 %, follows."
    )
    assert summary.details.startswith("Mean over all strata: a 95 %, b 55 %.")


def test_a_stratum_leads_only_if_its_difference_is_significant(evaluations):
    record = evaluations["expert"].records[0]
    far = replace(record, stratum="distant")
    outcomes = {"a": [True] * 40, "b": [True] * 39 + [False]}
    cells = [cell_of(one, name, held) for one in (record, far) for name, held in outcomes.items()]
    runs = [run_of(one, name, held) for one in (record, far) for name, held in outcomes.items()]
    summary = summarise(cells, runs, place="here", tracks={})
    assert "% of the goals here" in summary.headline
    assert "is not significantly worse" in summary.headline


def test_agents_with_equal_rates_share_the_headline(evaluations):
    record = evaluations["expert"].records[0]
    cells = [cell_of(record, name, [True] * 40) for name in ("a", "b")]
    runs = [run_of(record, name, [True] * 40) for name in ("a", "b")]
    summary = summarise(cells, runs, place="here", tracks={})
    assert summary.headline == "a and b each reach and hold 100 % of the goals here."


def test_agent_with_missing_cell_is_not_in_the_headline(evaluations):
    record = evaluations["expert"].records[0]
    cells = [
        cell_of(record, "a", [True]),
        cell_of(replace(record, stratum="far"), "a", [True], status="missing"),
    ]
    summary = summarise(cells, [], place="here", tracks={})
    assert summary.best == "" and "No agent under test" in summary.headline


def test_unreadable_records_stop_the_report(suite_dir, suite):
    run = find_runs(suite_dir)[0]
    (run.directory / "episodes.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"episodes\.parquet"):
        write_report(suite_dir, suite=suite, machine={})
