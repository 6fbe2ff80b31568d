"""What is said of replicas that cannot be stopped as they should be."""

from __future__ import annotations

from datetime import timedelta

from autoscaler.core.stopping import IgnoredSignal, outlasted


def test_a_program_has_to_handle_the_signal() -> None:
    assert IgnoredSignal("SIGTERM", "python", shell=False).words == (
        "python ignores SIGTERM: a replica that is told to stop goes on taking tasks, so none can"
        " be stopped without losing some; handle the signal, so that running tasks are finished,"
        " or set init: true, so that it ends the worker; see docs/graceful-shutdown.md"
    )


def test_a_shell_has_to_make_way_for_the_worker() -> None:
    assert IgnoredSignal("SIGQUIT", "sh", shell=True).words == (
        "SIGQUIT stops at the shell (sh) that the worker runs in: a replica that is told to stop"
        " goes on taking tasks, so none can be stopped without losing some; start the worker with"
        ' exec: sh -c "exec python worker.py"; see docs/graceful-shutdown.md'
    )


def test_a_task_that_outlasts_the_grace() -> None:
    assert outlasted(timedelta(seconds=10)) == (
        "a task was seen to run for longer than the stop grace of 10s: raise stop_grace_period;"
        " see docs/graceful-shutdown.md"
    )
