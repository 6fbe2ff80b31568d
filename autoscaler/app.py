"""The composition root: the one place that names concrete classes."""

from __future__ import annotations

import importlib.metadata
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from autoscaler.core.budget import Budget
from autoscaler.core.findings import Finding
from autoscaler.core.integration import Integration
from autoscaler.core.redaction import Redactor
from autoscaler.daemon import LONGEST_PAUSE, Daemon
from autoscaler.integrations.order import Integrations
from autoscaler.integrations.store import EncryptedStore
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.events import EngineEvents
from autoscaler.orchestrators.examination import examine_engine
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator
from autoscaler.ports import Orchestrator, Watcher
from autoscaler.reconcile import Reconciler
from autoscaler.settings import LogFormat, OrchestratorChoice, Settings
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.connections.credentials import Credentials
from autoscaler.sources.connections.environment import temporal_environment
from autoscaler.sources.temporal.backlogs import LAG, TemporalBacklogSource
from autoscaler.sources.temporal.examination import IntegrationExaminer
from autoscaler.telemetry.logging import LogObserver, make_logger
from autoscaler.telemetry.metrics import Metrics
from autoscaler.web.board import About, Board
from autoscaler.web.server import Address, Server
from autoscaler.web.site import make_site
from autoscaler.wishes.labels import Labels
from autoscaler.wishes.wishes import Wishes


@dataclass(frozen=True, slots=True)
class App:
    """The parts of one process, put together from its settings."""

    settings: Settings
    reconciler: Reconciler
    watcher: Watcher
    engine: Engine
    orchestrators: Sequence[Orchestrator]
    integrations: Integrations
    store: EncryptedStore
    connections: Connections
    redactor: Redactor
    clock: Callable[[], datetime]
    metrics: Metrics

    def daemon(self) -> Daemon:
        """Make the loop that `autoscaler run` runs, with its observers and its page."""
        settings = self.settings
        logger = _logger(settings, self.redactor)
        board = Board(_about(settings), time.monotonic, self.redactor)
        site = make_site(board, self.metrics.exposition, logger, settings.access_token)
        return Daemon(
            self.reconciler,
            [LogObserver(logger), self.metrics, board],
            poll_interval=settings.poll_interval + LAG,
            watcher=self.watcher,
            window=Server(site, Address(*settings.listen), logger),
        )

    async def examine_engine(self) -> Sequence[Finding]:
        """Say what is right and wrong with the engine."""
        return await examine_engine(self.engine)

    async def examine_integrations(self, names: Iterable[str]) -> Sequence[Finding]:
        """Say what is right and wrong with integrations, by calling their servers."""
        examiner = IntegrationExaminer(self.integrations, self.connections, self.clock)
        return await examiner.examine(names)

    def check_credentials(self, name: str, integration: Integration) -> None:
        """Check credentials as far as that goes without a server. Raises IntegrationError."""
        Credentials.read(name, integration)


def build(settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> App:
    """Put the process together; nothing is connected before the first tick."""
    engine = Engine()
    metrics = Metrics()
    redactor = Redactor()
    redactor.learn(settings.encryption_key, settings.access_token)
    store = EncryptedStore(settings.store, settings.encryption_key, settings.encryption_key_file)
    integrations = Integrations(
        settings.integrations, temporal_environment, origins=settings.origins, store=store
    )
    compose, swarm = _compose(settings, engine, clock), _swarm(settings, engine, clock)
    orchestrators: list[Orchestrator] = [*compose, *swarm]
    connections = Connections(integrations, redactor=redactor, clock=clock)
    reconciler = Reconciler(
        orchestrators,
        TemporalBacklogSource(
            connections,
            clock,
            budget=Budget(rate=settings.rpc_budget, interval=settings.poll_interval),
            took=metrics.request_took,
        ),
        Wishes([Labels(settings.label_prefix)], settings.label_prefix),
        clock=clock,
        dry_run=settings.dry_run,
    )
    return App(
        settings,
        reconciler,
        EngineEvents(engine, clock, compose),
        engine,
        orchestrators,
        integrations,
        store,
        connections,
        redactor,
        clock,
        metrics,
    )


def _compose(
    settings: Settings, engine: Engine, clock: Callable[[], datetime]
) -> Sequence[ComposeOrchestrator]:
    """Make the orchestrator of Compose services, unless the settings leave it out."""
    if not {OrchestratorChoice.AUTO, OrchestratorChoice.COMPOSE}.intersection(
        settings.orchestrators
    ):
        return ()
    compose = ComposeOrchestrator(
        engine, clock=clock, prefix=settings.label_prefix, projects=settings.projects
    )
    return (compose,)


def _swarm(
    settings: Settings, engine: Engine, clock: Callable[[], datetime]
) -> Sequence[SwarmOrchestrator]:
    """Make the orchestrator of Swarm services, unless the settings leave it out."""
    if not {OrchestratorChoice.AUTO, OrchestratorChoice.SWARM}.intersection(settings.orchestrators):
        return ()
    swarm = SwarmOrchestrator(
        engine,
        clock=clock,
        prefix=settings.label_prefix,
        projects=settings.projects,
        required=OrchestratorChoice.SWARM in settings.orchestrators,
    )
    return (swarm,)


def _about(settings: Settings) -> About:
    return About(
        version=importlib.metadata.version("temporal-docker-autoscaler"),
        prefix=settings.label_prefix,
        poll_interval=settings.poll_interval,
        # Twice the longest pause that the loop ever makes: less could be a slow tick.
        stalled_after=2 * max(settings.poll_interval, LONGEST_PAUSE),
    )


def _logger(settings: Settings, redactor: Redactor) -> FilteringBoundLogger:
    json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and not sys.stdout.isatty()
    )
    return make_logger(settings.log_level, json=json, redactor=redactor)
