# SPDX-License-Identifier: GPL-3.0-or-later
"""The evasion table itself: every row is proved, and the index says by what."""
import table


def test_every_row_has_a_test():
    rows = table.declared()
    assert {r for r, *_ in rows} == set(table.ROWS), "rows without a test, or tests without a row"
    assert all(table.paths(path) for _, _, path, *_ in rows)


def test_index_is_that_of_the_marks():
    """Else run tests/system/table.py --write."""
    before, written, _ = table.index(table.README.read_text())
    assert before.endswith(table.BEGIN + "\n") and written == table.markdown()


def test_every_file_of_the_table_is_in_it():
    """A test in a file test_evasion_*.py proves a row."""
    marked = {(file, test) for *_, file, test in table.declared()}
    files = {p.name: p.read_text() for p in table.HERE.glob("test_evasion_*.py") if p.name != "test_evasion_table.py"}
    unmarked = {(file, line.split("(")[0].removeprefix("def ")) for file, text in files.items()
                for line in text.splitlines() if line.startswith("def test_")} - marked
    assert not unmarked, unmarked
