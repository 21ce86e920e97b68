from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jepabench.evaluation.statistics.rates import clopper_pearson
from jepabench.results.quoted_numbers import check_number, find_wrong_numbers

HOME = Path(__file__).parents[2]
PAGES = [
    HOME / "README.md",
    HOME / "results" / "tables" / "README.md",
    HOME / "results" / "checkpoints" / "README.md",
    *sorted((HOME / "docs").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(HOME).as_posix())
def test_numbers_that_a_page_quotes_are_those_of_the_tables(page):
    assert list(find_wrong_numbers(page.read_text(encoding="utf-8"))) == []


def test_pages_quote_tables():
    marked = [page.name for page in PAGES if "<!-- table: " in page.read_text(encoding="utf-8")]
    assert {"claims.md", "training.md", "README.md"} <= set(marked)


@pytest.mark.parametrize(
    ("marker", "prose", "problem"),
    [
        ("a.csv 'name=x, y' rate=91%", "It holds 91 %.", ""),
        ("a.csv 'name=x, y' rate=0.91", "It holds .91 of them", ""),
        ("a.csv 'name=x, y' rate=90%", "It holds 90 %.", "the table has 90.9"),
        ("a.csv 'name=x, y' rate=91%", "It holds 910 or 1.91.", "does not contain 91"),
        ("a.csv name=z rate=91%", "91 %", "select 0 rows"),
        ("a.csv rate=91%", "91 %", "select 2 rows"),
        ("a.csv 'name=x, y' share=91%", "91 %", "no column share"),
        ("b.csv rate=91%", "91 %", "no table b.csv"),
        ("a.csv 'mean(rate)=70%'", "70 % on average", ""),
        ("a.csv 'mean(rate)=71%'", "71 % on average", "the table has 70.45"),
        ("a.csv name=z 'mean(rate)=71%'", "71 %", "select 0 rows"),
    ],
)
def test_check_number_reports_mismatch(tmp_path, marker, prose, problem):
    (tmp_path / "a.csv").write_text('name,rate\n"x, y",0.909\nw,0.5\n', encoding="utf-8")
    found = check_number(marker, prose, tmp_path)
    assert problem in found if problem else not found


def test_marker_checks_only_its_own_paragraph(tmp_path):
    (tmp_path / "a.csv").write_text("name,rate\nw,0.5\n", encoding="utf-8")
    text = "Half: 50 %.\n\nOther.\n<!-- table: a.csv name=w rate=50% -->\n"
    assert len(list(find_wrong_numbers(text, tmp_path))) == 1


RATES = [  # value, limits and number of episodes of a rate in a table
    ("held", "held_low", "held_high", "episodes"),
    ("held", "low", "high", "episodes"),
    ("success_held", "held_low", "held_high", "episodes"),
    ("success", "low", "high", "episodes"),
    ("share", "low", "high", "episodes"),
    ("auroc", "low", "high", "pairs"),
    ("missed", "missed_low", "missed_high", "episodes_with_broken_steps"),
    ("episodes_with_violation", "with_violation_low", "with_violation_high", "episodes"),
]


def test_committed_rates_have_the_interval_of_the_documentation():
    checked = set()
    for path in sorted((HOME / "results" / "tables").glob("*.csv")):
        table = pd.read_csv(path)
        for value, low, high, episodes in RATES:
            if not {value, low, high, episodes} <= set(table.columns):
                continue
            one_seed = table.get("seeds", pd.Series(1, table.index)) == 1
            rows = table[one_seed & table[value].notna()]
            limits = clopper_pearson(
                rows[value].to_numpy(float), rows[episodes].to_numpy(float), 0.95
            )
            for column, limit in zip((low, high), limits, strict=True):
                np.testing.assert_allclose(rows[column], limit, atol=1e-3, err_msg=path.name)
            checked.add(path.stem)
    assert {"guardrail_promise", "surprise", "planners", "push-t"} <= checked
