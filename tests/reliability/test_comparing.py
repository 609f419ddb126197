"""What two runs may differ in: measured columns and rows of their pages, and nothing else."""

from tests.reliability.comparing import plain, unmeasured_tables

PAGE = "<table><tr><th>arm</th><th>tokens/s</th></tr><tr><td>a</td><td>{speed}</td></tr></table>"
LINES = "text\n| arm | score | s |\n|---|---|---|\n| a | {score} | {seconds} |\n"


def test_measured_columns_do_not_count_and_others_do():
    assert unmeasured_tables(PAGE.format(speed=1)) == unmeasured_tables(PAGE.format(speed=2))
    same = unmeasured_tables(LINES.format(score=1, seconds=3))
    assert same == unmeasured_tables(LINES.format(score=1, seconds=4))
    assert same != unmeasured_tables(LINES.format(score=2, seconds=3))


def test_what_a_run_says_about_itself_does_not_count():
    assert plain({"linked_now": 3, "made": True, "rows": 2}) == {"rows": 2}
    assert plain({"made": 3, "total_seconds": 1.0}) == {"made": 3}
