"""Warnings: what the user of a service should know, apart from the decision. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from autoscaler.core.backlog import Backlog, BuildStatus
from autoscaler.core.history import History
from autoscaler.core.label_values import Mode, SwarmChoice
from autoscaler.core.limits import grown_in_vain
from autoscaler.core.protect import REPORT_WITHIN
from autoscaler.core.situation import Situation
from autoscaler.core.stopping import DEFAULT_GRACE, GUIDE, outlasted
from autoscaler.core.words import agreeing, counted

SILENT_FOR = timedelta(minutes=1)
"""Without a poller, a task or an addition for this long, a queue's name is probably wrong."""


def advise(situation: Situation, history: History) -> tuple[str, ...]:
    """Return what the user should know, each with what to do.

    `history` is the one that the decision on this situation has returned.
    """
    return tuple(_advise(situation, history))


def _advise(situation: Situation, history: History) -> Iterator[str]:
    if situation.spec.mode is not Mode.OFF:
        yield from _on_stopping(situation, history)
    if not isinstance(situation.backlog, Backlog):
        return
    yield from _on_builds(situation, situation.backlog)
    if situation.replicas:
        yield from _on_queues(situation, situation.backlog, history)


def _on_stopping(situation: Situation, history: History) -> Iterator[str]:
    """Say what could cost a task when a replica is stopped."""
    for name in situation.ignoring:
        yield (
            f"{name} was told to stop and goes on taking tasks, so it counts as a replica and none"
            " of this service is stopped: set `init: true` in the Compose file, or let the worker"
            f" shut down on its stop signal, and bring the service up again; {GUIDE}"
        )
    if situation.ignored_signal is not None and not situation.ignoring:
        yield situation.ignored_signal.words
    grace = situation.grace
    if grace is None:
        yield (
            "stop_grace_period is not set, so a replica is killed 10 s after its stop signal (on"
            " Compose only where no running task is reported): set it longer than the longest"
            f" activity; {GUIDE}"
        )
    lasting = DEFAULT_GRACE if grace is None else grace
    if history.longest_task > lasting:
        yield outlasted(lasting)
    if situation.spec.swarm_choice is SwarmChoice.ANY and situation.order_only is not None:
        yield (
            "swarm-choice is any, and yet not every idle task can be chosen:"
            f" {situation.order_only}; see docs/swarm-choice.md"
        )
    since = history.unreported_since
    if since is not None and situation.now - since >= REPORT_WITHIN:
        yield (
            "no worker reports what it is running, so only the stop grace protects its tasks (and"
            " strict stops none): it takes Temporal Server 1.30, or 1.29 with two settings"
            " (docs/temporal-servers.md), an SDK with worker heartbeats (Python 1.20) and a host"
            f" name per container; {GUIDE}"
        )


def _on_builds(situation: Situation, backlog: Backlog) -> Iterator[str]:
    """Say where backlogs and builds of Worker Deployments do not fit together."""
    spec = situation.spec
    for name, deployment in sorted(backlog.summed.items()):
        yield (
            f"task queue {name!r} belongs to Worker Deployment {deployment!r}, and its backlog sums"
            " up all builds; set the labels deployment and build-id to scale one build by its own"
        )
    if backlog.build is BuildStatus.NEVER_POLLED and situation.replicas:
        yield (
            f"Temporal knows no worker of build {spec.build_id!r} of Worker Deployment"
            f" {spec.deployment!r} yet: if its workers run, check both names"
        )


def _on_queues(situation: Situation, backlog: Backlog, history: History) -> Iterator[str]:
    """Say which queues no worker seems to serve."""
    if grown_in_vain(situation, history):
        waiting = backlog.waiting
        wait = agreeing(waiting, "waits", "wait")
        they, their = agreeing(waiting, "it", "they"), agreeing(waiting, "its", "their")
        yield (
            f"{counted(waiting, 'task')} {wait} and none is dispatched, although replicas were"
            f" added: {they} may belong to closed workflows, or no worker polls for {their} kind"
        )
    for queue, since in sorted(history.silent_since.items()):
        if situation.now - since >= SILENT_FOR:
            yield (
                f"task queue {queue.name!r} has had no poller, no backlog and no task added so"
                " far: check its name and namespace, and that the workers poll it"
            )
