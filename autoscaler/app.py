"""The composition root: the one place that names concrete classes."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from autoscaler.agent.desk import Desk
from autoscaler.agent.door import Door
from autoscaler.agent.refusals import Refusals
from autoscaler.agent.running import Agent
from autoscaler.core.agent_messages import Signer
from autoscaler.core.budget import Budget
from autoscaler.core.errors import AutoscalerError, ConfigurationError
from autoscaler.core.findings import Finding
from autoscaler.core.groups import Groups
from autoscaler.core.integration import Integration
from autoscaler.core.redaction import Redactor
from autoscaler.core.sighting import KEPT, LAG
from autoscaler.daemon import LONGEST_PAUSE, Daemon
from autoscaler.graces import GraceExaminer
from autoscaler.integrations.order import Integrations
from autoscaler.integrations.store import EncryptedStore
from autoscaler.orchestrators.compose.memory import EngineHost
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.events import EngineEvents
from autoscaler.orchestrators.examination import (
    examine_agents,
    examine_engine,
    examine_territory,
)
from autoscaler.orchestrators.neighbours import Neighbour, Outlook, daemons
from autoscaler.orchestrators.place import Place
from autoscaler.orchestrators.projects import Projects
from autoscaler.orchestrators.swarm.agents import SwarmAgents
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator
from autoscaler.orchestrators.swarm.own_node import OwnNode
from autoscaler.ports import BacklogSource, LooksAfter, Orchestrator, Watcher
from autoscaler.reconcile import Reconciler
from autoscaler.setting_values import LogFormat, OrchestratorChoice
from autoscaler.settings import SERVICES, Settings
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.connections.credentials import Credentials
from autoscaler.sources.connections.environment import temporal_environment
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from autoscaler.sources.temporal.examination import IntegrationExaminer
from autoscaler.telemetry.logging import LogObserver, make_logger
from autoscaler.telemetry.metrics import Metrics
from autoscaler.web.board import About, Board
from autoscaler.web.changing import Changing
from autoscaler.web.server import Address, Server
from autoscaler.web.site import make_site
from autoscaler.wishes.files import Files
from autoscaler.wishes.labels import Labels
from autoscaler.wishes.overrides import Overrides
from autoscaler.wishes.overrides_file import OverridesFile
from autoscaler.wishes.wishes import Wishes

OPENING_WITHIN = 5.0
"""Seconds that the first line of the log waits for the engine to say what is looked after."""


@dataclass(frozen=True, slots=True)
class App:
    """The parts of one process, put together from its settings."""

    settings: Settings
    reconciler: Reconciler
    wishes: Wishes
    source: BacklogSource
    watcher: Watcher
    engine: Engine
    projects: Projects
    place: Place
    orchestrators: Sequence[Orchestrator]
    host: EngineHost | None
    """None where growth does not heed the memory of the host."""
    agents: SwarmAgents | None
    """None without a secret that the agents of a Swarm share."""
    integrations: Integrations
    store: EncryptedStore
    overrides_file: OverridesFile
    connections: Connections
    redactor: Redactor
    clock: Callable[[], datetime]
    metrics: Metrics

    def daemon(self) -> Daemon:
        """Make the loop that `autoscaler run` runs, with its observers and its page."""
        settings = self.settings
        logger = _logger(settings, self.redactor)
        board = Board(_about(settings), time.monotonic, self.redactor)
        changing = Changing(board, self.overrides_file, logger, self.redactor, self.clock)
        site = make_site(board, self.metrics.exposition, logger, settings.access_token, changing)
        return Daemon(
            self.reconciler,
            [LogObserver(logger), self.metrics, board],
            poll_interval=_between_ticks(settings),
            watcher=self.watcher,
            window=Server(site, Address(*settings.listen), logger),
            opening=lambda: self._say_what_is_looked_after(logger),
        )

    async def _say_what_is_looked_after(self, logger: FilteringBoundLogger) -> None:
        try:
            async with asyncio.timeout(OPENING_WITHIN):
                territory = await self.projects.territory()
        except (AutoscalerError, TimeoutError) as error:
            logger.warning(
                "looking after",
                projects="unknown",
                because=str(error) or "the engine has not answered yet",
            )
        else:
            logger.info("looking after", projects=str(territory), because=territory.because)

    async def daemons_without(self, folder: Path) -> Sequence[Neighbour]:
        """Return the daemons in containers of this engine that do not see a folder of this host.

        Empty where this process is in a container itself, or the engine does not answer at once.
        """
        if self.place.in_container:
            return ()
        try:
            async with asyncio.timeout(OPENING_WITHIN):
                found = await daemons(self.engine)
        except (AutoscalerError, TimeoutError):
            return ()
        return [each for each in found if not each.sees(folder)]

    async def examine_engine(self) -> Sequence[Finding]:
        """Say what is right and wrong with the engine."""
        found = await examine_engine(
            self.engine,
            [orchestrator.name for orchestrator in self.orchestrators],
            required=OrchestratorChoice.SWARM in self.settings.orchestrators,
        )
        return [*found, *await examine_territory(self.engine, self.projects)]

    async def examine_host(self) -> Sequence[Finding]:
        """Say what is known of the memory of the engine's host."""
        return () if self.host is None else [await self.host.examine()]

    async def examine_agents(self) -> Sequence[Finding]:
        """Say which nodes of the Swarm have an agent that does not answer."""
        return () if self.agents is None else await examine_agents(self.agents)

    def examine_state(self) -> Finding:
        """Say whether overrides can be kept."""
        lasting = self.place.outlives(self.overrides_file.folder)
        return self.overrides_file.examine(lasting=lasting)

    async def examine_graces(self, waits: Callable[[timedelta], None]) -> Sequence[Finding]:
        """Say which services give their tasks too little time to end.

        This may take a minute: `waits` is told before how long.
        """
        examiner = GraceExaminer(self.orchestrators, self.source, self.wishes, self.clock)
        return await examiner.examine(waits)

    async def examine_integrations(self, names: Iterable[str]) -> Sequence[Finding]:
        """Say what is right and wrong with integrations, by calling their servers."""
        examiner = IntegrationExaminer(self.integrations, self.connections, self.clock)
        return await examiner.examine(names)

    def check_credentials(self, name: str, integration: Integration) -> None:
        """Check credentials as far as that goes without a server. Raises IntegrationError."""
        Credentials.read(name, integration)


class _Watchers:
    """Several watchers as one."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    async def watch(self, changed: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as together:
            for watcher in self._watchers:
                together.create_task(watcher.watch(changed))


def _between_ticks(settings: Settings) -> timedelta:
    """Return the time between two ticks.

    Where it is no shorter than Temporal keeps its figures, each tick shall meet new ones.
    """
    interval = settings.poll_interval
    return interval + LAG if interval >= KEPT else interval


def build(
    settings: Settings,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    place: Place | None = None,
) -> App:
    """Put the process together; nothing is connected before the first tick."""
    engine = Engine()
    place = place or Place.here()
    projects = Projects(engine, settings.projects, place)
    metrics = Metrics()
    redactor = Redactor()
    secret = settings.shared_with_agents()
    redactor.learn(settings.encryption_key, settings.access_token, secret)
    agents = None if secret is None else SwarmAgents(engine, secret, clock, place)
    store = EncryptedStore(settings.store, settings.encryption_key, settings.encryption_key_file)
    integrations = Integrations(
        settings.integrations, temporal_environment, origins=settings.origins, store=store
    )
    files = Files(
        settings.services or SERVICES,
        settings.label_prefix,
        expected=settings.services is not None,
    )
    overrides_file = OverridesFile(settings.state)
    overrides = Overrides(overrides_file, settings.label_prefix, clock, time.monotonic)
    sources = (Labels(settings.label_prefix), files, overrides)
    wishes = Wishes(sources, settings.label_prefix, settings.timezone)
    compose = _compose(settings, engine, projects, clock, wishes.looks_after)
    swarm = _swarm(settings, engine, projects, clock, wishes.looks_after, agents=agents)
    orchestrators: list[Orchestrator] = [*compose, *swarm]
    host = next(
        (
            EngineHost(engine, each.inventory, settings.host_reserve, clock)
            for each in compose
            if settings.host_reserve
        ),
        None,
    )
    connections = Connections(integrations, redactor=redactor, clock=clock)
    source = TemporalBacklogSource(
        connections,
        clock,
        budget=Budget(rate=settings.rpc_budget, interval=settings.poll_interval),
        took=metrics.request_took,
    )
    reconciler = Reconciler(
        orchestrators,
        source,
        wishes,
        clock=clock,
        interval=_between_ticks(settings),
        dry_run=settings.dry_run,
        outlook=Outlook(engine, projects, place, clock=clock, prefix=settings.label_prefix),
        overrides=overrides,
        groups=Groups(settings.groups, settings.max_replicas),
        host=host,
    )
    return App(
        settings,
        reconciler,
        wishes,
        source,
        _Watchers([EngineEvents(engine, clock, compose), files, overrides]),
        engine,
        projects,
        place,
        orchestrators,
        host,
        agents,
        integrations,
        store,
        overrides_file,
        connections,
        redactor,
        clock,
        metrics,
    )


def build_agent(settings: Settings) -> Agent:
    """Put the agent on a node of a Swarm together. Raises ConfigurationError without a secret."""
    secret = settings.shared_with_agents()
    if secret is None:
        problem = (
            "the agent needs AUTOSCALER_AGENT_SECRET or AUTOSCALER_AGENT_SECRET_FILE, the same as"
            " the daemon's: `openssl rand -hex 32` makes such a secret"
        )
        raise ConfigurationError([problem])
    redactor = Redactor()
    redactor.learn(secret)
    logger = _logger(settings, redactor)
    engine = Engine()
    node = OwnNode(engine, Projects(engine, settings.projects, Place.here()), settings.label_prefix)
    refusals = Refusals(logger, time.monotonic)
    desk = Desk(node, Signer(secret), refusals, lambda: datetime.now(UTC))
    return Agent(Door(desk.answer, refusals), logger, redactor)


def _compose(
    settings: Settings,
    engine: Engine,
    projects: Projects,
    clock: Callable[[], datetime],
    looks_after: LooksAfter,
) -> Sequence[ComposeOrchestrator]:
    """Make the orchestrator of Compose services, unless the settings leave it out."""
    if not {OrchestratorChoice.AUTO, OrchestratorChoice.COMPOSE}.intersection(
        settings.orchestrators
    ):
        return ()
    compose = ComposeOrchestrator(
        engine,
        clock=clock,
        prefix=settings.label_prefix,
        projects=projects,
        looks_after=looks_after,
    )
    return (compose,)


def _swarm(  # noqa: PLR0913 - as Compose, and the agents on the nodes
    settings: Settings,
    engine: Engine,
    projects: Projects,
    clock: Callable[[], datetime],
    looks_after: LooksAfter,
    *,
    agents: SwarmAgents | None,
) -> Sequence[SwarmOrchestrator]:
    """Make the orchestrator of Swarm services, unless the settings leave it out."""
    if not {OrchestratorChoice.AUTO, OrchestratorChoice.SWARM}.intersection(settings.orchestrators):
        return ()
    swarm = SwarmOrchestrator(
        engine,
        clock=clock,
        prefix=settings.label_prefix,
        projects=projects,
        looks_after=looks_after,
        required=OrchestratorChoice.SWARM in settings.orchestrators,
        agents=agents,
    )
    return (swarm,)


def _about(settings: Settings) -> About:
    return About(
        version=importlib.metadata.version("temporal-docker-autoscaler"),
        prefix=settings.label_prefix,
        poll_interval=settings.poll_interval,
        changeable=settings.access_token is not None,
        # Twice the longest pause that the loop ever makes: less could be a slow tick.
        stalled_after=2 * max(settings.poll_interval, LONGEST_PAUSE),
    )


def _logger(settings: Settings, redactor: Redactor) -> FilteringBoundLogger:
    json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and not sys.stdout.isatty()
    )
    return make_logger(settings.log_level, json=json, redactor=redactor)
