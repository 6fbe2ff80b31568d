"""Who may read: whoever has the access token; where none is set, whoever uses a local name."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Mapping

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = frozenset({"/healthz", "/readyz"})
"""Paths that answer without a token. They answer only yes or no."""
SERVICES = "/services/"
"""What is below it only leads to the page, whether there is such a service or not."""

LOCKED = "this daemon asks for its access token: Authorization: Bearer <AUTOSCALER_ACCESS_TOKEN>"


class Gate:
    """Passes requests to the site or refuses them; adds headers to all answers.

    Without a token the daemon answers only where the Host header is an IP address, localhost or a
    name without a dot, such as a Compose service's. No web page of somebody else is loaded from
    such a name, so a domain on the internet that resolves to this machine (DNS rebinding) reads
    nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: SecretStr | None,
        headers: Mapping[str, str],
        sign_in: Callable[[], Response],
    ) -> None:
        """`sign_in` makes the answer for a browser that has no token yet."""
        self._app = app
        self._token = None if token is None else token.get_secret_value().encode()
        self._headers = headers
        self._sign_in = sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        path = scope["path"]
        opened = path in OPEN or path.startswith(SERVICES)
        answer = self._app if opened else self._refusal(scope) or self._app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if self._token is None:
            if _is_local(headers.get("host", "")):
                return None
            return JSONResponse(
                {
                    "error": "without an access token this daemon answers only to an IP address,"
                    " localhost or a name without dots: set AUTOSCALER_ACCESS_TOKEN to reach it"
                    " by another name"
                },
                status_code=421,
            )
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secrets.compare_digest(
            given.strip().encode(), self._token
        ):
            return None
        answer = (
            self._sign_in()
            if scope["path"] == "/" and "text/html" in headers.get("accept", "")
            else JSONResponse({"error": LOCKED})
        )
        answer.status_code = 401
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer


def _is_local(host: str) -> bool:
    """Return whether a Host header is an IP address or a name without dots."""
    bracketed = host.startswith("[")
    name = host[1:].partition("]")[0] if bracketed else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return not bracketed and bool(name) and "." not in name.rstrip(".")
    return True
