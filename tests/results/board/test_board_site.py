"""Test the pages of the board: links, escaping and claims."""

import json
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from made_up_board import HOME, ROOM, SUITES, sources
from made_up_submissions import suite_of, write

from jepabench import envs
from jepabench.evaluation.statistics import intervals as statistics
from jepabench.main import main
from jepabench.pipeline.suites import describe_suites
from jepabench.results.board.claim_figures import split_panels
from jepabench.results.board.claims import ClaimError, claims_page, read_claims
from jepabench.results.board.site import build_board
from jepabench.results.figures.planning_vs_rl import read_panels

pytestmark = pytest.mark.usefixtures("pinned")


class Page(HTMLParser):
    """What a page refers to, and the ids in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found["id"]} if "id" in found else set()
        self.links += [(tag, found[key]) for key in ("href", "src", "srcset") if found.get(key)]


def test_a_configuration_for_one_task_is_on_the_page(tmp_path):
    folder = write(tmp_path, "mine", "other", SUITES["other"], agent="jepa-cem")
    manifest = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
    manifest["agent"]["per_task"] = {ROOM: {"agent": {"_target_": "x.TunedForTwoRoom"}}}
    (folder / "submission.json").write_text(json.dumps(manifest), encoding="utf-8")
    build_board(tmp_path / "site", sources(tmp_path), progress=False)
    assert "TunedForTwoRoom" in (tmp_path / "site" / "submissions" / "mine.html").read_text(
        encoding="utf-8"
    )


def test_the_site_has_all_pages_and_no_broken_link(site):
    assert len(list((site / "submissions").glob("*.html"))) == 11
    assert len(list((site / "claims").glob("C*.html"))) == len(read_claims())
    assert {path.stem for path in (site / "tasks").glob("*.html")} == {
        "index",
        "TwoRoom-v1",
        "PushT-v1",
    }
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    for path, page in pages.items():
        for tag, link in page.links:
            if link.startswith("data:") or (tag == "a" and link.startswith("https://example.org")):
                continue
            target, _, anchor = link.partition("#")
            assert not target.startswith(("http:", "https:", "//", "/")), f"{path.name}: {link}"
            found = (path.parent / target).resolve() if target else path
            assert found.is_file(), f"{path.name}: {link}"
            assert not anchor or "=" in anchor or anchor in pages[found].ids


def test_site_references_no_external_address(site):
    for path in [*site.rglob("*.css"), *site.rglob("*.js"), *site.rglob("*.svg")]:
        addresses = set(
            re.findall(
                r"""(?:url\(|["'])\s*(?:https?:)?//[^"')\s]+""", path.read_text(encoding="utf-8")
            )
        )
        assert all("www.w3.org" in address for address in addresses), path


def test_author_text_is_escaped(tmp_path):
    bad = '<img src=x onerror="alert(1)"></script>'
    folder = write(
        tmp_path, "mine", "other", SUITES["other"], agent="jepa-cem", description=bad, authors=[bad]
    )
    (folder / "README.md").write_text(bad, encoding="utf-8")
    build_board(tmp_path / "site", sources(tmp_path), progress=False)
    for name in ("index.html", "submissions/mine.html", "tasks/TwoRoom-v1.html"):
        assert bad not in (tmp_path / "site" / name).read_text(
            encoding="utf-8"
        ) and "<img src=x" not in (tmp_path / "site" / name).read_text(encoding="utf-8")


def test_a_claim_shows_its_tables_or_the_command_that_would_answer_it(site):
    claims = {claim.id: claim for claim in read_claims()}
    assert list(claims) == [f"C{number}" for number in range(1, 20)]
    for claim in claims.values():
        text = (site / "claims" / f"{claim.id}.html").read_text(encoding="utf-8")
        assert ("Not measured yet" in text) == (not claim.tables)
        for table in claim.tables:
            assert (
                site / "claims" / table.name
            ).is_file() and f">{table.rows.columns[0].replace('_', ' ')}</button>" in text
    assert list((site / "claims").glob("C5-*.svg"))


def test_planning_against_rl_opens_its_claim_with_the_headline_figure(tmp_path):
    build_board(tmp_path / "site", sources(tmp_path / "empty"), progress=False)
    page = (tmp_path / "site/claims/C4.html").read_text(encoding="utf-8")
    assert 'src="../planning-vs-rl-wide.svg"' in page
    assert (tmp_path / "site/planning-vs-rl-wide.svg").is_file()


def test_every_panel_of_a_claim_figure_compares_several_series():
    for claim in read_claims():
        tables = {table.name: table.rows for table in claim.tables}
        for spec in claim.figures:
            if spec["kind"] != "grid":  # a grid compares its panels
                for title, rows in split_panels(tables[spec["table"]], spec).items():
                    shown = {row[spec["series"]] for row in rows}
                    assert len(shown) > 1, (claim.id, spec["table"], title)


def test_table_list_with_unknown_table_or_claim_is_refused(tmp_path):
    (tmp_path / "README.md").write_text(
        "| table | claim | command | reading |\n|---|---|---|---|\n| `a.csv` | C99 | `x` | y |\n",
        encoding="utf-8",
    )
    with pytest.raises(ClaimError, match=r"a\.csv, which does not exist"):
        read_claims(tmp_path)
    (tmp_path / "a.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(ClaimError, match="C99; the claims are C1"):
        read_claims(tmp_path)


def test_the_page_of_the_claims_is_generated():
    page = claims_page(read_claims(), read_panels())
    assert (HOME / "docs" / "claims.md").read_text(encoding="utf-8") == page


def test_rebuilding_is_reproducible_and_drops_removed_entries(made_up, tmp_path):
    build_board(tmp_path, sources(made_up), progress=False)
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "submissions" / "left.html").write_text(
        "of a submission that was withdrawn", encoding="utf-8"
    )
    build_board(tmp_path, sources(made_up), progress=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first


def test_the_command_prefers_submissions_of_the_working_directory(tmp_path, capsys, monkeypatch):
    write(tmp_path / "results", "mine", "small", SUITES["small"], agent="jepa-cem")
    monkeypatch.chdir(tmp_path)
    assert main(["board"]) == 0
    assert "mine" in (tmp_path / "outputs" / "board" / "index.html").read_text(encoding="utf-8")
    (tmp_path / "empty").mkdir()
    assert main(["board", "--results", "empty"]) == 0
    assert "There are no submissions below empty." in capsys.readouterr().out


def test_the_command_builds_from_existing_results(tmp_path, capsys):
    import shutil

    suites = describe_suites()
    quick = {
        **suites["quick"],
        "tasks": [{**task, "num_episodes": 3} for task in suites["quick"]["tasks"]],
    }
    write(tmp_path, "made-up", "quick", quick, agent="jepa-cem")
    for name in ("random-quick-v2", "jepa-cem-quick-v1"):
        source = HOME / "results" / "submissions" / name
        shutil.copytree(source, tmp_path / "submissions" / name)
    assert main(["board", "--results", str(tmp_path), "--output", str(tmp_path / "site")]) == 0
    out = capsys.readouterr().out
    # Level 1 of the verification refuses three episodes per stratum; protocol 1 is archived.
    assert "refused made-up: " in out and "lists 'actions.npz'" not in out
    assert "1 submissions, 1 archived, 1 refused" in out
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "random-quick-v2" in index and "made-up" in index
    with pytest.raises(SystemExit, match="2"):
        main(["board", "--results", str(tmp_path / "nowhere"), "--output", str(tmp_path / "site")])


def test_a_submission_is_filmed_from_its_actions(tmp_path):
    from jepabench.agents.scripted import ScriptedAgent
    from jepabench.evaluation.protocol import Suite, SuiteTask
    from jepabench.evaluation.rollout import evaluate_episodes
    from jepabench.evaluation.submissions.submission import write_submission

    suite = Suite(
        name="tiny",
        version=1,
        agents=("expert",),
        training_seeds=(0,),
        tasks=(SuiteTask(task_id=ROOM, strata=("near",), num_episodes=2),),
    )
    done = evaluate_episodes(ScriptedAgent(task_id=ROOM), suite.specs(ROOM), agent_name="expert")
    made = write(tmp_path, "other", "tiny", suite_of((ROOM, ("near",))), agent="expert")
    manifest = json.loads((made / "submission.json").read_text(encoding="utf-8"))
    about = {
        key: value
        for key, value in manifest.items()
        if key
        not in ("schema_version", "protocol_version", "suite", "specs", "aggregates", "files")
    }
    actions = {(ROOM, 0): np.concatenate([*done.actions.values()])}
    write_submission(
        tmp_path / "submissions" / "expert",
        {**about, "name": "expert"},
        suite=suite,
        records=done.records,
        actions=actions,
    )
    for path in made.iterdir():
        path.unlink()
    made.rmdir()
    site = tmp_path / "site"
    build_board(
        site,
        sources(tmp_path, suites={"tiny": suite_of((ROOM, ("near",)))}, num_films=1),
        progress=False,
    )
    text = (site / "submissions" / "expert.html").read_text(encoding="utf-8")
    assert (
        len(list((site / "media").glob("film-*.webp"))) == 1
        and "success</b> TwoRoom-v1, near" in text
    )


@pytest.mark.slow
def test_two_hundred_submissions_build_in_a_minute_to_a_small_site(tmp_path):
    suites = {"core": {**describe_suites()["core"]}}
    del suites["core"]["suite"]  # made-up rows do not pass level 1
    suites["core"]["tasks"] = [{**task, "num_episodes": 100} for task in suites["core"]["tasks"]]
    agents = ("expert", "oracle-cem", "random", "hold-still")
    for number in range(200):
        agent = agents[number] if number < len(agents) else f"agent-{number}"
        write(
            tmp_path,
            agent,
            "core",
            suites["core"],
            agent=agent,
            number=number,
            skill=number / 200,
            badges=number % 4,
        )
    tasks = [envs.get_task(task["task_id"]) for task in suites["core"]["tasks"]]
    began = time.process_time()
    found = build_board(
        tmp_path / "site", sources(tmp_path, suites=suites, tasks=tasks), progress=False
    )
    seconds = time.process_time() - began
    assert len(found.current) == 200
    assert seconds < 60, seconds
    first = sum(
        (tmp_path / "site" / name).stat().st_size
        for name in ("index.html", "board.css", "board.js")
    )
    assert first < 2e6, first
    assert max(path.stat().st_size for path in (tmp_path / "site").rglob("*.html")) < 2e6


def coverage(num_seeds, strata, *, rounds, spread):
    """Return how often 95 % intervals of ``mean_over_cells`` contain the true mean.

    Training seeds shift a whole task, and episodes differ in difficulty.
    """
    rng, hits, tasks = np.random.default_rng(0), 0, 2
    centers = rng.uniform(-1, 1, (tasks, strata))
    truth = np.mean(
        [
            logistic(
                center + spread * rng.standard_normal(200_000) + 0.8 * rng.standard_normal(200_000)
            ).mean()
            for center in centers.ravel()
        ]
    )
    for _ in range(rounds):
        cells = []
        for task in range(tasks):
            seeds = spread * rng.standard_normal((num_seeds, 1))
            cells.append(
                [
                    (
                        rng.random((num_seeds, 60))
                        < logistic(centers[task, stratum] + seeds + 0.8 * rng.standard_normal(60))
                    )
                    * 1.0
                    for stratum in range(strata)
                ]
            )
        interval = statistics.mean_over_cells(cells)
        hits += interval.low <= truth <= interval.high
    return hits / rounds


def logistic(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("strata", "spread"), [(1, 0.4), (3, 0.0), (3, 0.4)])
def test_intervals_over_cells_cover_what_they_claim_at_five_seeds(strata, spread):
    assert coverage(5, strata, rounds=1500, spread=spread) >= 0.93
