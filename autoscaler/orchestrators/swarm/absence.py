"""Whether an engine has no Swarm to look after, by the error that it answers with. Pure."""

from __future__ import annotations

from autoscaler.orchestrators.engine import EngineError

_NO_SUCH_CALL = ("(Not Found)", "(page not found)")
"""What Podman, and an engine that does not know a call at all, answer with the status 404."""
_NOT_FOUND = 404
_NOT_A_MANAGER = ("not a swarm manager", "not part of a swarm")
"""The engine's words where it is in no Swarm, or a worker node. A locked Swarm says other words."""
NO_SWARM = "it has no Swarm"
"""Of an engine such as Podman."""
_FORBIDDEN = 403
"""HTTP status of a socket proxy that does not let services through: no Swarm to look after."""


def without_swarm(error: EngineError) -> str | None:
    """Return why an engine has no services to look after; None where the error says otherwise."""
    if error.status == _FORBIDDEN:
        return "a proxy before the socket lets no Swarm calls through"
    if any(words in str(error) for words in _NOT_A_MANAGER):
        return "it is no Swarm manager"
    if error.status == _NOT_FOUND and any(words in str(error) for words in _NO_SUCH_CALL):
        return NO_SWARM
    return None
