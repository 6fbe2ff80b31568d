"""PUT and DELETE of overrides: the only paths that change anything, for whoever has the token."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from structlog.typing import FilteringBoundLogger

from autoscaler import present
from autoscaler.core.errors import OverrideError, StateError
from autoscaler.core.model import ServiceId
from autoscaler.core.override import (
    Override,
    Wanted,
    holding,
    of_service,
    read_wanted,
    without_prefix,
)
from autoscaler.core.redaction import Redactor
from autoscaler.web.board import Board
from autoscaler.web.pace import Pace
from autoscaler.wishes.overrides_file import OverridesFile

PAGE = "page"
"""Who sets an override over HTTP, where the request does not say."""
LONGEST_BODY = 8 * 1024
"""Bytes."""
MOST_CHANGES = 30
"""Changes in a minute, of everybody together."""

Value = str | int | float
Work = Callable[[Request, ServiceId], Awaitable[None]]


class Refusal(Exception):
    """Why a request is not done."""

    def __init__(
        self, status: int, problems: Sequence[str], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__("; ".join(problems))
        self.status = status
        self.problems = problems
        self.headers = headers


class _Body(BaseModel):
    """What a PUT asks for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    values: Annotated[dict[str, Value], Field(min_length=1)]
    time: Annotated[str, Field(alias="for")] = "1h"
    reason: str = ""
    by: str = PAGE


class Changing:
    """Sets and removes overrides over HTTP. The gate before it asks for the token."""

    def __init__(
        self,
        board: Board,
        file: OverridesFile,
        logger: FilteringBoundLogger,
        redactor: Redactor | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Write to `file`; the `board` knows the services."""
        self._board = board
        self._file = file
        self._logger = logger
        self._redactor = redactor or Redactor()
        self._clock = clock
        self._pace = Pace(MOST_CHANGES, timedelta(minutes=1))

    async def put(self, request: Request) -> Response:
        """Set values of a service, beside those that are set already."""
        return await self._answer(request, self._put)

    async def delete(self, request: Request) -> Response:
        """Remove the values named by `?name=...`, or all that are set for a service."""
        return await self._answer(request, self._delete)

    async def _answer(self, request: Request, work: Work) -> Response:
        try:
            self._admit(request)
            await work(request, _service(request))
        except Refusal as refusal:
            body = {"error": str(refusal), "problems": list(refusal.problems)}
            return JSONResponse(body, refusal.status, headers=refusal.headers)
        except OverrideError as error:
            return JSONResponse({"error": str(error), "problems": list(error.problems)}, 400)
        except StateError as error:
            self._logger.error(  # noqa: TRY400 - a traceback would tell users nothing
                "override not written", error=str(error)
            )
            return JSONResponse({"error": str(error), "problems": [str(error)]}, 500)
        return JSONResponse(await self._present(_service(request)))

    def _admit(self, request: Request) -> None:
        """Refuse pages of other origins, and too many changes at once."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            self._logger.warning(
                "override refused", address=_address(request), because=f"origin {origin}"
            )
            raise Refusal(403, [f"a page of {origin} may not change anything here"])
        wait = self._pace.wait(time.monotonic())
        if wait:
            problem = f"at most {MOST_CHANGES} changes a minute are taken: try again in {wait} s"
            raise Refusal(429, [problem], {"Retry-After": str(wait)})

    async def _put(self, request: Request, service: ServiceId) -> None:
        new = _wanted(service, _parsed(await _body(request)), self._board.about.prefix)
        known = self._values(service)
        now = self._clock()
        await asyncio.to_thread(self._file.put, new, self._board.about.prefix, known, now)
        self._log("override set", request, new.overrides(now))

    async def _delete(self, request: Request, service: ServiceId) -> None:
        prefix = self._board.about.prefix
        names = {without_prefix(each, prefix) for each in request.query_params.getlist("name")}
        removed = await asyncio.to_thread(
            self._file.remove,
            service,
            lambda each: not names or each.name in names,
            self._clock(),
        )
        missing = sorted(names - {each.name for each in removed})
        if removed:
            self._log("override unset", request, removed)
        if missing:
            raise Refusal(404, [f"not set for {service}: {', '.join(missing)}"])

    def _values(self, service: ServiceId) -> Mapping[str, str]:
        """Return the values of a service by the full names of labels.

        Raises Refusal where there is no such service.
        """
        reports = {report.service: report for report in self._board.reports}
        if service not in reports:
            names = [each.name for each in reports]
            near = difflib.get_close_matches(service.name, names, n=1)
            hint = f"; the nearest is {near[0]}" if near else ""
            raise Refusal(404, [f"this daemon looks after no service {service}{hint}"])
        return {name: given.value for name, given in reports[service].given.items()}

    async def _present(self, service: ServiceId) -> present.Plain:
        """Return what is set for a service now."""
        kept = await asyncio.to_thread(self._file.read)
        found = of_service(holding(kept, self._clock()), service)
        return {
            "service": service.name,
            "orchestrator": service.orchestrator,
            "overrides": [present.override(each, self._redactor) for each in found],
        }

    def _log(self, event: str, request: Request, overrides: Sequence[Override]) -> None:
        for each in overrides:
            self._logger.info(
                event,
                service=str(each.service),
                value=each.what,
                until="ever" if each.until is None else each.until.isoformat(timespec="seconds"),
                by=each.by,
                reason=each.reason,
                address=_address(request),
            )


async def closed(_request: Request) -> Response:
    """Answer a change where no token is set."""
    text = "nothing can be changed over HTTP without an access token: set AUTOSCALER_ACCESS_TOKEN"
    return JSONResponse({"error": text, "problems": [text]}, 403)


def _service(request: Request) -> ServiceId:
    return ServiceId(request.path_params["orchestrator"], request.path_params["name"])


def _address(request: Request) -> str:
    return "unknown" if request.client is None else request.client.host


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise Refusal(413, [f"the body is longer than {LONGEST_BODY} bytes"])
    return body


def _parsed(body: bytes) -> _Body:
    try:
        return _Body.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems = dict.fromkeys(
            f"{'.'.join(map(str, each['loc'][:2])) or 'body'}: {each['msg']}" for each in found
        )
        form = (
            'the form is {"values": {"max": 6}, "for": "1h", "reason": "...", "by": "..."}, where'
            " only values is required"
        )
        raise Refusal(400, [*problems, form]) from error


def _wanted(service: ServiceId, body: _Body, prefix: str) -> Wanted:
    """Return what a body asks for. Raises OverrideError that names all that is wrong with it."""
    values = {without_prefix(name, prefix): str(value) for name, value in body.values.items()}
    return read_wanted(service, values, body.time, body.reason, body.by or PAGE)
