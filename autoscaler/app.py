"""The composition root: the one place that names concrete classes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from autoscaler.core.budget import Budget
from autoscaler.daemon import Daemon
from autoscaler.integrations.environment import EnvironmentIntegrations
from autoscaler.orchestrators.compose import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.events import EngineEvents
from autoscaler.orchestrators.swarm import SwarmOrchestrator
from autoscaler.ports import Orchestrator, Watcher
from autoscaler.reconcile import Reconciler
from autoscaler.settings import LogFormat, OrchestratorChoice, Settings
from autoscaler.sources.connections import Connections
from autoscaler.sources.environment import temporal_environment
from autoscaler.sources.temporal import LAG, TemporalBacklogSource
from autoscaler.telemetry.logging import LogObserver, make_logger


@dataclass(frozen=True, slots=True)
class App:
    """The parts of one process, put together from its settings."""

    settings: Settings
    reconciler: Reconciler
    watcher: Watcher

    def daemon(self) -> Daemon:
        """Make the loop that `autoscaler run` runs, with its observers."""
        return Daemon(
            self.reconciler,
            [_log_observer(self.settings)],
            poll_interval=self.settings.poll_interval,
            lag=LAG,
            watcher=self.watcher,
        )


def build(settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> App:
    """Put the process together; nothing is connected before the first tick."""
    engine = Engine()
    integrations = EnvironmentIntegrations(settings.integrations, temporal_environment)
    orchestrators: list[Orchestrator] = []
    listeners = []
    choice = set(settings.orchestrators)
    if choice & {OrchestratorChoice.AUTO, OrchestratorChoice.COMPOSE}:
        compose = ComposeOrchestrator(
            engine, clock=clock, prefix=settings.label_prefix, projects=settings.projects
        )
        orchestrators.append(compose)
        listeners.append(compose.notice)
    if choice & {OrchestratorChoice.AUTO, OrchestratorChoice.SWARM}:
        swarm = SwarmOrchestrator(
            engine,
            clock=clock,
            prefix=settings.label_prefix,
            projects=settings.projects,
            required=OrchestratorChoice.SWARM in choice,
        )
        orchestrators.append(swarm)
    return App(
        settings,
        Reconciler(
            orchestrators,
            TemporalBacklogSource(
                Connections(integrations),
                clock,
                Budget(rate=settings.rpc_budget, interval=settings.poll_interval),
            ),
            clock=clock,
            prefix=settings.label_prefix,
            dry_run=settings.dry_run,
        ),
        EngineEvents(engine, clock, listeners),
    )


def _log_observer(settings: Settings) -> LogObserver:
    json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and not sys.stdout.isatty()
    )
    return LogObserver(make_logger(settings.log_level, json=json))
