"""The paths: / for people; /api, /metrics, /healthz and /readyz for programs.

Only overrides can be changed, and only with a token.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from importlib import resources
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route
from structlog.typing import FilteringBoundLogger

from autoscaler.core.errors import describe
from autoscaler.core.labels import DEFAULT_PREFIX, label_docs
from autoscaler.web.board import Board
from autoscaler.web.changing import Changing, closed
from autoscaler.web.gate import Gate

SILENCE = timedelta(seconds=10)
"""The stream sends at least one line in this time, so that the page notices a lost daemon."""
FIRST_LABELS = 9
"""How many labels the page explains while there is no service; `autoscaler labels` has all."""

SCRIPTS = ("words.js", "plot.js", "panels.js", "change.js", "card.js", "page.js")
"""The rooms of the page's script, each after those that it needs."""

Answer = Callable[[Request], Awaitable[Response]]
Exposition = Callable[[str], tuple[bytes, str]]
"""Returns the metrics for an Accept header: the body and its content type."""


def make_site(
    board: Board,
    metrics: Exposition,
    logger: FilteringBoundLogger,
    token: SecretStr | None = None,
    changing: Changing | None = None,
) -> Starlette:
    """Make the web application of a running daemon.

    Without a token, nothing can be changed through it.
    """
    page = Page()
    site = _Site(board, metrics, page)

    async def fail(request: Request, error: Exception) -> Response:
        logger.error("page failed", path=request.url.path, error=describe(error))
        return JSONResponse({"error": "the daemon's log says what went wrong"}, status_code=500)

    put: Answer = closed
    delete: Answer = closed
    if token is not None and changing is not None:
        put, delete = changing.put, changing.delete
    overrides = "/api/services/{orchestrator}/{name:path}/overrides"
    return Starlette(
        routes=[
            Route(overrides, put, methods=["PUT"]),
            Route(overrides, delete, methods=["DELETE"]),
            Route("/", site.page, methods=["GET"]),
            Route("/services/{orchestrator}/{name:path}", _to_service, methods=["GET"]),
            Route("/api/services", site.services, methods=["GET"]),
            Route("/api/stream", site.stream, methods=["GET"]),
            Route("/metrics", site.metrics, methods=["GET"]),
            Route("/healthz", site.healthz, methods=["GET"]),
            Route("/readyz", site.readyz, methods=["GET"]),
        ],
        middleware=[
            Middleware(Gate, token=token, headers=page.headers, sign_in=page.answer),
            Middleware(GZipMiddleware, minimum_size=1000),
        ],
        exception_handlers={HTTPException: _refuse, Exception: fail},
    )


class Page:
    """The one document, with its style and script, and without any data of the daemon.

    Its content security policy lets a browser load and run nothing else.
    """

    def __init__(self) -> None:
        style = _read("page.css")
        script = "".join(map(_read, SCRIPTS))
        environment = Environment(
            loader=PackageLoader("autoscaler.web", "page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        labels = list(label_docs())[:FIRST_LABELS]
        self._text = environment.get_template("page.html").render(
            # All files come with this package: they are not escaped.
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            labels=labels,
            prefix=DEFAULT_PREFIX,
        )
        self.headers = {
            "Content-Security-Policy": (
                f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)};"
                " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
                " frame-ancestors 'none'"
            ),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    def answer(self) -> Response:
        """Return the document."""
        return HTMLResponse(self._text)


class _Site:
    """What each path answers."""

    def __init__(self, board: Board, metrics: Exposition, page: Page) -> None:
        self._board = board
        self._metrics = metrics
        self._page = page

    async def page(self, _request: Request) -> Response:
        return self._page.answer()

    async def services(self, _request: Request) -> Response:
        return JSONResponse(self._board.services())

    async def stream(self, _request: Request) -> Response:
        # A proxy must not buffer the answer: it never ends.
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(
            _messages(self._board), media_type="text/event-stream", headers=headers
        )

    async def metrics(self, request: Request) -> Response:
        body, content_type = self._metrics(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    async def healthz(self, _request: Request) -> Response:
        if self._board.stalled:
            return PlainTextResponse("the loop has stopped ticking\n", status_code=503)
        return PlainTextResponse("the loop is alive\n")

    async def readyz(self, _request: Request) -> Response:
        if self._board.ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("no tick yet, or the engine does not answer\n", status_code=503)


async def _messages(board: Board) -> AsyncIterator[str]:
    async with aclosing(board.stream(SILENCE)) as events:
        async for event in events:
            yield ":\n\n" if event is None else f"event: {event.name}\ndata: {event.data}\n\n"


async def _to_service(request: Request) -> Response:
    """Send a browser from the address of a service to its place within the page.

    The way is relative, so it holds behind any prefix of a proxy.
    """
    orchestrator, name = request.path_params["orchestrator"], request.path_params["name"]
    up = "../" * (name.count("/") + 2)
    return RedirectResponse(f"{up}#/{quote(orchestrator)}/{quote(name)}")


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def _read(name: str) -> str:
    return resources.files("autoscaler.web").joinpath("page", name).read_text("utf-8")


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
