"""What was counted, as it is shown."""

from __future__ import annotations

from tests.losses import table
from tests.losses.columns import PYTHON, Column, OnSignal
from tests.losses.ledger import Cause, Loss, Row

COLUMN = Column("py-5", PYTHON, OnSignal.FINISHES, heartbeat=5, grace=10)
CLEAN = Row(COLUMN, scale_ins=70, stopped=90, done=1200, unfinished=0, losses=())
LOSSES = (
    Loss("py-5-1", Cause.SCALE_IN, broken=True, words="py-5-1 of 30 s on a: by a scale-in"),
    Loss("py-5-2", Cause.SCALE_IN, words="py-5-2 of 3 s on b: by a scale-in"),
    Loss("py-5-3", Cause.CRASH, words="py-5-3 of 3 s on c: worker killed by this program"),
    Loss("py-5-4", Cause.NEVER_BEGUN),
)
LOSING = Row(COLUMN, scale_ins=30, stopped=40, done=99, unfinished=1, losses=LOSSES)


def test_the_table_in_markdown() -> None:
    clean, losing, together = table.markdown([CLEAN, LOSING]).splitlines()[2:]

    title = "| Python, finishes its tasks, heartbeats 5 s, grace 10 s | no task is lost"
    others = "1 worker killed by this program; 1 handed out by Temporal, begun by no worker"
    assert clean == f"{title} | 70 | 90 | 1,200 | 0 | 0 | none |"
    assert losing == f"{title} | 30 | 40 | 99 | 2 | 1 | {others}; 1 not done in the end |"
    assert together == "| all |  | 100 | 130 | 1,299 | 2 | 1 | 2 |"


def test_every_line_has_a_cell_for_each_head() -> None:
    lines = table.markdown([CLEAN, LOSING]).splitlines()

    assert {line.count(" | ") for line in lines} == {len(table.HEADS) - 1}


def test_broken_promises_and_tasks_that_were_not_done_are_named() -> None:
    assert table.broken([CLEAN]) == []
    assert table.broken([LOSING]) == [
        "py-5: py-5-1 of 30 s on a: by a scale-in",
        "py-5: 1 tasks were not done in the end",
    ]


def test_programs_get_the_same_with_every_loss_in_words() -> None:
    (row,) = table.data([LOSING])

    assert row["by_scale_in"] == 2
    assert row["broken"] == 1
    assert row["by_others"] == {"crash": 1, "never_begun": 1}
    assert row["losses"] == [loss.words for loss in LOSSES if loss.words]
