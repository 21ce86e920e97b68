from pathlib import Path

import pytest

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
    ],
)
def test_a_wrong_number_is_found(tmp_path, marker, prose, problem):
    (tmp_path / "a.csv").write_text('name,rate\n"x, y",0.909\nw,0.5\n', encoding="utf-8")
    found = check_number(marker, prose, tmp_path)
    assert problem in found if problem else not found


def test_a_marker_belongs_to_its_paragraph(tmp_path):
    (tmp_path / "a.csv").write_text("name,rate\nw,0.5\n", encoding="utf-8")
    text = "Half: 50 %.\n\nOther.\n<!-- table: a.csv name=w rate=50% -->\n"
    assert len(list(find_wrong_numbers(text, tmp_path))) == 1
