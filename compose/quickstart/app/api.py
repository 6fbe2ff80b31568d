"""The upload API: each document posted to it starts a workflow."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import timedelta
from typing import TypedDict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from app.workflow import TASK_QUEUE, ProcessDocumentWorkflow

LARGEST_DOCUMENT = 1024 * 1024
"""In bytes. Temporal takes payloads of up to 2 MiB."""

RPC_TIMEOUT = timedelta(seconds=10)


class State(TypedDict):
    """What every request can use."""

    temporal: Client


@contextlib.asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[State]:
    """Provide a Temporal client that is configured by the TEMPORAL_* variables.

    The client connects at its first call; while Temporal does not answer, each call tries again.
    So the API starts at once, and answers 503 until Temporal can be reached.
    """
    config = ClientConfig.load_client_connect_config()
    yield {"temporal": await Client.connect(**config, lazy=True)}


async def upload(request: Request) -> JSONResponse:
    """POST /upload: the body is the document, text in UTF-8."""
    document = bytearray()
    async for chunk in request.stream():
        document += chunk
        if len(document) > LARGEST_DOCUMENT:
            raise HTTPException(413, f"the document is larger than {LARGEST_DOCUMENT} bytes")
    if not document.strip():
        raise HTTPException(400, "the document is empty")
    handle = await request.state.temporal.start_workflow(
        ProcessDocumentWorkflow.run,
        bytes(document),
        id=f"document-{uuid.uuid4()}",
        task_queue=TASK_QUEUE,
        rpc_timeout=RPC_TIMEOUT,
    )
    return JSONResponse({"workflow_id": handle.id}, status_code=202)


async def document(request: Request) -> JSONResponse:
    """GET /documents/{id}: the status of the document, and its analysis once it is completed."""
    temporal: Client = request.state.temporal
    handle = temporal.get_workflow_handle_for(
        ProcessDocumentWorkflow.run, request.path_params["id"]
    )
    try:
        description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise HTTPException(404, "no such document") from error
        raise
    status = description.status
    if status is None or description.workflow_type != ProcessDocumentWorkflow.__name__:
        raise HTTPException(404, "no such document")
    answer: dict[str, object] = {"workflow_id": handle.id, "status": status.name.lower()}
    if status is WorkflowExecutionStatus.COMPLETED:
        answer["result"] = asdict(await handle.result(rpc_timeout=RPC_TIMEOUT))
    elif status is WorkflowExecutionStatus.FAILED:
        try:
            await handle.result(rpc_timeout=RPC_TIMEOUT)
        except WorkflowFailureError as failure:
            # The workflow failed because an activity did: report the error of the activity.
            answer["error"] = str(failure.cause.__cause__ or failure.cause)
    return JSONResponse(answer)


async def health(request: Request) -> JSONResponse:
    """GET /health: 200 when Temporal can be reached, else 503."""
    await request.state.temporal.service_client.check_health(timeout=RPC_TIMEOUT)
    return JSONResponse({"status": "ok"})


async def explain(_request: Request, error: Exception) -> JSONResponse:
    """Answer in JSON what is wrong with the request, or with the connection to Temporal."""
    match error:
        case HTTPException():
            status, message = error.status_code, error.detail
        case _:
            status, message = 503, f"Temporal does not answer: {error}"
    return JSONResponse({"error": message}, status_code=status)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/upload", upload, methods=["POST"]),
        Route("/documents/{id}", document, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
    ],
    # A client raises RuntimeError when it cannot connect, RPCError when the connection breaks.
    exception_handlers={HTTPException: explain, RPCError: explain, RuntimeError: explain},
)
