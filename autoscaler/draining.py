"""The replicas that drain: what their workers report, and what becomes of them.

Heartbeats are only read while something drains. A plan comes to the same verdicts as a daemon, and
does nothing about them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from autoscaler.core.drain import NOBODY, UNKNOWN, Drain, Fate, Heard, Verdict, Verdicts, judge
from autoscaler.core.errors import AutoscalerError
from autoscaler.core.in_flight import Worker, WorkerQuery
from autoscaler.core.integration import canonical
from autoscaler.core.label_values import Busy
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.spec import ScalingSpec
from autoscaler.ports import BacklogSource, Orchestrator

ASKED_EVERY = timedelta(seconds=5)
"""How long an answer of the workers counts. Workers report every 60 s by default."""
_LONGEST = timedelta(hours=1)
"""How long a replica may take beyond its grace whose labels were never right."""
_RETURNS = frozenset({Fate.TAKE_BACK, Fate.COUNT})

Specs = Mapping[ServiceId, ScalingSpec | None]
"""What is wanted of each service; None where its labels were never right."""
_Scope = tuple[str, str | None]
"""An integration and a namespace: what one query asks."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the workers of some hosts have answered."""

    at: datetime
    hosts: frozenset[str]
    workers: Mapping[str, Sequence[Worker]] | None
    """By host; None where they could not be asked."""

    def answers(self, hosts: Collection[str], now: datetime) -> bool:
        """Whether it still tells of these hosts."""
        return self.hosts.issuperset(hosts) and timedelta() <= now - self.at < ASKED_EVERY


@dataclass(slots=True)
class Draining:
    """Decides about the replicas that drain, and has it done."""

    _orchestrators: Mapping[str, Orchestrator]
    _source: BacklogSource
    _clock: Callable[[], datetime]
    _asked: dict[_Scope, _Asked] = field(default_factory=dict)
    _reported: set[str] = field(default_factory=set)
    """Ids of the replicas that drain whose workers have reported since."""

    async def look(self, services: Sequence[Service], specs: Specs) -> Verdicts:
        """Decide about every replica that drains; those of other services are left alone."""
        there = {service.id for service in services}
        drains = [
            drain
            for orchestrator in self._orchestrators.values()
            for drain in orchestrator.drains
            if drain.service in there
        ]
        self._reported &= {drain.id for drain in drains}
        heard = await self._listen(drains, specs)
        now = self._clock()
        verdicts: dict[ServiceId, list[Verdict]] = defaultdict(list)
        for drain in drains:
            spec = specs[drain.service]
            limit = _LONGEST if spec is None else spec.drain
            verdicts[drain.service].append(judge(drain, heard[drain.id], limit, now))
        return verdicts

    def take_back(self, services: Sequence[Service], verdicts: Verdicts) -> Sequence[Service]:
        """Count replicas again that do not stop, and return the services with these.

        Nothing in an engine is changed, so a plan does this as well.
        """
        return [self._with_returned(each, verdicts.get(each.id, ())) for each in services]

    def act(self, verdicts: Sequence[Verdict]) -> None:
        """Bring replicas of one service to their end: follow all, kill those that are due."""
        for verdict in verdicts:
            orchestrator = self._orchestrators[verdict.drain.service.orchestrator]
            if verdict.fate not in _RETURNS:
                orchestrator.take_up(verdict.drain)
            if verdict.fate is Fate.KILL:
                orchestrator.kill(verdict.drain)

    def _with_returned(self, service: Service, verdicts: Sequence[Verdict]) -> Service:
        returned = [each for each in verdicts if each.fate in _RETURNS]
        if not returned:
            return service
        for each in returned:
            ignores = each.fate is Fate.TAKE_BACK
            self._orchestrators[service.id.orchestrator].take_back(each.drain, ignores=ignores)
        names = (each.drain.name for each in returned if each.fate is Fate.TAKE_BACK)
        return replace(
            service,
            replicas=service.replicas + len(returned),
            draining=service.draining - len(returned),
            ignoring=(*service.ignoring, *names),
        )

    async def _listen(self, drains: Sequence[Drain], specs: Specs) -> Mapping[str, Heard]:
        """Return what the workers of each of these replicas report, by its id."""
        hosts: dict[_Scope, set[str]] = defaultdict(set)
        for drain in drains:
            scope = _scope(specs[drain.service])
            if scope is not None and drain.host is not None:
                hosts[scope].add(drain.host)
        self._asked = {
            scope: await self._ask(scope, frozenset(names)) for scope, names in hosts.items()
        }
        return {drain.id: self._heard(drain, specs[drain.service]) for drain in drains}

    def _heard(self, drain: Drain, spec: ScalingSpec | None) -> Heard:
        scope = _scope(spec)
        if spec is not None and scope is None:
            return NOBODY
        if scope is None or drain.host is None:
            return UNKNOWN
        workers = self._asked[scope].workers
        if workers is None:
            return UNKNOWN
        before = drain.id in self._reported
        found = tuple(workers.get(drain.host, ()))
        if found:
            self._reported.add(drain.id)
        return Heard(found, before=before)

    async def _ask(self, scope: _Scope, hosts: frozenset[str]) -> _Asked:
        now = self._clock()
        known = self._asked.get(scope)
        if known is not None and known.answers(hosts, now):
            return known
        integration, namespace = scope
        query = WorkerQuery(integration, namespace, hosts=hosts, queues=frozenset())
        try:
            found = await self._source.workers(query)
        except AutoscalerError:
            # A service that needs its backlog says what is wrong with the connection.
            return _Asked(now, hosts, None)
        workers: dict[str, list[Worker]] = defaultdict(list)
        for worker in found:
            workers[worker.host].append(worker)
        return _Asked(now, hosts, workers)


def _scope(spec: ScalingSpec | None) -> _Scope | None:
    """Return whom to ask for the workers of a service; None where nobody is to be asked."""
    if spec is None or spec.busy is Busy.IGNORE:
        return None
    return canonical(spec.integration), spec.namespace
