"""Test the board in a real browser, from disk and without network access."""

import os
import shutil

import pytest
from made_up_submissions import suite_of, tell_of_world_model, write
from planning_vs_rl_rows import synthetic, written
from playwright.sync_api import expect, sync_playwright

from jepabench import envs
from jepabench.results.board.site import Sources, build_board

ROOM, PUSH = "jepabench/TwoRoom-v1", "jepabench/PushT-v1"
SUITES = {
    "small": suite_of((ROOM, ("near", "far")), (PUSH, ("steps25",))),
    "other": suite_of((ROOM, ("near",))),
}
# Without these it looks for its makers' servers.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser():
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        missing = "The board is tested in Chromium, and there is none: `apt-get install chromium`."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("made-up")
    for number, agent in enumerate(
        ("expert", "oracle-cem", "random", "hold-still", "jepa-cem", "gcbc", "sac-her")
    ):
        write(root, agent, "small", SUITES["small"], agent=agent, number=number, badges=number % 4)
    tell_of_world_model(
        write(root, "elsewhere", "other", SUITES["other"], agent="jepa-cem", number=9), ROOM
    )
    build_board(
        root / "site",
        Sources(
            submissions=root / "submissions",
            verified=root / "verified",
            suites=SUITES,
            tasks=[envs.get_task(ROOM), envs.get_task(PUSH)],
            headline=written(root, synthetic()),
        ),
        progress=False,
    )
    return root / "site"


@pytest.fixture
def opened(browser, site):
    """Opens a page; whatever it complains of or asks others for makes the test fail."""
    contexts, problems = [], []

    def open_page(name="index.html", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file:", "data:")) else problems.append(request.url)
            ),
        )
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
        page.goto(f"{site.as_uri()}/{name}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def column(page, number, body="tbody"):
    return page.locator(f"#board {body} tr td:nth-child({number})").evaluate_all(
        "cells => cells.map(cell => cell.dataset.value)"
    )


def names(page, body="tbody"):
    return column(page, 1, body)


def test_the_table_is_sorted_by_success_and_by_any_other_column(opened):
    page = opened()
    held = [float(value) for value in column(page, 2, "tbody:not(.apart)")]
    assert len(held) == 3 and held == sorted(held, reverse=True)
    # Two have no badge and two are only valid: they are shown apart.
    assert set(names(page, "tbody.apart")) == {"expert", "jepa-cem", "oracle-cem", "gcbc"}
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="ms", exact=True).click()
    place = names_of_columns(page).index("ms") + 1
    times = [float(value) for value in column(page, place, "tbody:not(.apart)")]
    assert times == sorted(times)
    page.get_by_role("button", name="ms", exact=True).click()
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="submission").click()
    ranked = names(page, "tbody:not(.apart)")
    assert ranked == sorted(ranked)
    assert page.locator("th[aria-sort]").count() == 1


def names_of_columns(page):
    return page.locator("#board thead button").all_inner_texts()


def test_table_can_be_sorted_by_keyboard_with_visible_focus(opened):
    page = opened()
    button = page.get_by_role("button", name="submission")
    for _ in range(40):
        page.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            break
    assert button.evaluate("button => getComputedStyle(button).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    ranked = names(page, "tbody:not(.apart)")
    assert ranked == sorted(ranked)


def test_filters_keep_floors_and_ceilings_and_are_stored_in_url(opened):
    page = opened()
    page.get_by_label("observes").select_option("pixels")
    assert set(names(page)) == {"jepa-cem", "expert", "oracle-cem", "random", "hold-still"}
    assert "1 of 3 submissions" in page.get_by_role("status").inner_text()
    page.get_by_label("observes").select_option("")
    page.get_by_label("name").fill("sac")
    assert "sac-her" in names(page) and "gcbc" not in names(page)
    page.get_by_label("name").fill("")
    page.get_by_label("badge").select_option("replayed")
    assert "sac-her" in names(page) and "jepa-cem" not in names(page)
    page.get_by_label("badge").select_option("")
    page.get_by_label("task").select_option("TwoRoom-v1")
    page.get_by_label("stratum").select_option("far")
    far = column(page, 2)
    assert "#suite=small&task=TwoRoom-v1&stratum=far" in page.url
    again = opened("index.html#suite=small&task=TwoRoom-v1&stratum=far")
    assert column(again, 2) == far
    again.get_by_label("suite").select_option("other")
    assert names(again) == ["elsewhere"]


def test_the_first_screen_answers_the_question_and_shows_the_headline_figure(opened):
    page = opened()
    # No planner is replayed, so the answer describes the figure.
    assert page.locator(".answer").inner_text().startswith("With 1k transitions the best planner")
    figure = page.locator(".headline img").first
    assert figure.evaluate("image => image.complete && image.naturalWidth > 300")
    page.get_by_text("Against training time").click()
    page.locator(".headline img").nth(1).wait_for(state="visible")
    phone = opened(viewport={"width": 390, "height": 844})
    assert (
        phone.locator(".headline img")
        .first.evaluate("image => image.currentSrc")
        .endswith("planning-vs-rl-narrow.svg")
    )


def test_the_heat_map_has_a_column_per_task_and_follows_the_filters(opened):
    page = opened()
    page.get_by_label("view").select_option("heat map")
    assert page.locator("#board").is_hidden() and "view=heat%20map" in page.url
    heads = page.locator("#heat thead th").all_inner_texts()
    assert heads == ["submission", "all tasks", "TwoRoom-v1", "PushT-v1"]
    assert page.locator("#heat tbody tr").count() == 7
    page.get_by_label("planning").select_option("search-free")
    assert page.locator("#heat tbody tr").count() == 6  # four references, gcbc and sac-her
    page.get_by_label("task").select_option("TwoRoom-v1")
    heads = page.locator("#heat thead th").all_inner_texts()
    assert heads == ["submission", "all strata", "near", "far"]
    shares = page.locator("#heat td[style]").evaluate_all(
        "cells => cells.map(cell => [+cell.style.getPropertyValue('--held'), +cell.textContent])"
    )
    assert all(abs(100 * share - shown) <= 0.5 for share, shown in shares) and len(shares) == 18


def test_rows_with_and_without_search_are_distinguished(opened):
    page = opened()
    tags = dict(
        page.locator("#board td.agent").evaluate_all(
            "cells => cells.map(cell => [cell.dataset.value, "
            "cell.querySelector('.tag').textContent])"
        )
    )
    assert tags["jepa-cem"] == "searched" and tags["sac-her"] == "search-free"
    assert tags["random"] == "floor"


def test_two_submissions_are_compared_by_task_stratum_and_episode(opened, site):
    page = opened("compare.html#suite=small&first=sac-her&second=gcbc")
    page.get_by_text("holds more goals than").wait_for()
    rows = page.locator("#differences tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    assert [row[:2] for row in rows] == [
        ["TwoRoom-v1", "all"],
        ["", "near"],
        ["", "far"],
        ["PushT-v1", "steps25"],
    ]
    whole = rows[0][4]
    page.get_by_label("first").select_option("gcbc")
    page.get_by_label("second").select_option("sac-her")
    page.get_by_text("gcbc holds more goals than sac-her").wait_for()
    again = page.locator("#differences tbody tr").first.locator("td").all_inner_texts()
    assert again[5:7] == rows[0][6:4:-1], "the counts of flips change sides"
    assert again[4].split()[0][1:] == whole.split()[0][1:], "the difference changes its sign"
    assert "first=gcbc&second=sac-her" in page.url
    page.get_by_label("second").select_option("gcbc")
    assert page.locator("#verdict").inner_text() == "Choose two different submissions."


def test_every_page_opens_without_complaint_on_a_phone_in_the_dark(opened, site):
    for path in sorted(site.rglob("*.html")):
        page = opened(
            path.relative_to(site).as_posix(),
            viewport={"width": 390, "height": 844},
            color_scheme="dark",
            is_mobile=True,
            has_touch=True,
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        page.context.close()


def test_names_link_to_pages_and_claim_tables_are_sortable(opened):
    page = opened()
    page.get_by_role("link", name="jepa-cem").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("jepa-cem")
    expect(page.locator("svg.profile .own")).to_have_count(2)
    page.get_by_role("link", name="TwoRoom-v1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("TwoRoom-v1")
    page.wait_for_load_state()
    assert page.locator("img").first.evaluate("image => image.naturalWidth") > 100
    page.get_by_role("link", name="All submissions, by stratum").first.click()
    expect(page.get_by_label("task")).to_have_value("TwoRoom-v1")
    table = opened("claims/C5.html").get_by_role("region", name="planners.csv")
    table.get_by_role("button", name="held", exact=True).click()
    column = table.locator("th").all_inner_texts().index("held") + 1
    cells = table.locator(f"tbody td:nth-child({column})")
    values = cells.evaluate_all("cells => cells.map(cell => +cell.dataset.value)")
    assert values == sorted(values, reverse=True)


def test_statements_on_a_world_model_are_separate_from_checked_results(opened):
    page = opened("submissions/elsewhere.html")
    assert page.get_by_role("heading", name="What its world model predicts").is_visible()
    assert "not verified" in page.locator(".notice").inner_text()
    probe = (
        page.get_by_role("region", name="Probe, TwoRoom-v1").locator("tbody tr").all_inner_texts()
    )
    assert probe[0].split() == ["ball", "x", "0.877", "0.940"] and probe[-1].split() == [
        "door",
        "y",
        "-",
        "-",
    ]
    surprise = page.get_by_role("region", name="Surprise, TwoRoom-v1").locator("tbody tr")
    assert surprise.count() == 2
    point = surprise.first.locator(".point").bounding_box()
    line = surprise.first.locator(".interval").bounding_box()
    assert (point["x"] + 1.5 - line["x"]) / line["width"] == pytest.approx(0.9, abs=0.02)
    assert (
        opened("submissions/jepa-cem.html").get_by_text("not verified: no badge covers").count()
        == 0
    )


@pytest.mark.slow
def test_two_hundred_submissions_open_in_a_second(browser, tmp_path):
    # Other tests may have registered tasks of other packages.
    tasks = [task for task in envs.list_tasks(tag=None) if task.id.startswith("jepabench/")]
    suite = suite_of(*[(task.id, task.strata[:3]) for task in tasks[:8]], episodes=20)
    for number in range(200):
        agent = ("expert", "random")[number] if number < 2 else f"agent-{number}"
        write(tmp_path, agent, "core", suite, agent=agent, number=number, skill=number / 200)
    build_board(
        tmp_path / "site",
        Sources(submissions=tmp_path / "submissions", suites={"core": suite}, tables=tmp_path),
        progress=False,
    )
    page = browser.new_page()
    page.goto((tmp_path / "site" / "index.html").as_uri())
    assert page.locator("#board tbody tr:has(td:nth-child(3))").count() == 200
    timing = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < timing < 1000, timing
    page.close()
