"""A Docker Engine and a Temporal that only answer: python bench/stubs.py SERVICES SOCKET

They stand for a machine with more services than one can start. The engine lists one running
container for each service and lets it be inspected, in the JSON of a recorded engine; Temporal
answers DescribeTaskQueue with a backlog that wants just the one replica there is. Prints the port
of Temporal when both are ready, and answers until it is ended.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

import grpc
from google.protobuf.duration_pb2 import Duration
from measure import queue_name
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeTaskQueueResponse, GetSystemInfoResponse

from autoscaler.orchestrators.engine import Json

RECORDED = Path(__file__).parents[1] / "tests" / "data" / "inspects" / "api-1.41.json"
API = "1.41"
CREATED = 1_767_225_600
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
_SERVICE = "/temporal.api.workflowservice.v1.WorkflowService/"


class StubEngine:
    """Answers what the daemon asks an engine for."""

    def __init__(self, services: int) -> None:
        recorded = json.loads(RECORDED.read_text("utf-8"))["web-1"]
        self._inspects: dict[str, bytes] = {}
        rows = []
        for number in range(services):
            inspect = _container(recorded, number)
            self._inspects[inspect["Id"]] = json.dumps(inspect).encode()
            rows.append(_row(inspect))
        self._rows: list[Json] = rows
        self._list = json.dumps(rows).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(urlsplit(head.split(b" ", 2)[1].decode())))
                await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                break
        writer.close()

    def _response(self, url: SplitResult) -> bytes:
        if url.path.endswith("/events") and "until=" not in url.query:
            # A stream on which nothing ever happens.
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        # Nothing has ever happened either.
        status, body = ("200 OK", b"") if url.path.endswith("/events") else self._answer(url)
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nDate: {DATE}\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def _answer(self, url: SplitResult) -> tuple[str, bytes]:
        path = url.path
        if path.endswith("/version"):
            return "200 OK", json.dumps({"ApiVersion": API, "MinAPIVersion": "1.12"}).encode()
        if path.endswith("/_ping"):
            return "200 OK", b"OK"
        if path.endswith("/containers/json"):
            return "200 OK", self._listed(url.query)
        if path.endswith("/services"):
            return "503 Service Unavailable", b'{"message":"This node is not a swarm manager."}'
        container = path.removesuffix("/json").rpartition("/")[2]
        if container in self._inspects:
            return "200 OK", self._inspects[container]
        return "404 Not Found", b'{"message":"no such container"}'

    def _listed(self, query: str) -> bytes:
        """Return the rows that the filters of a list let through, as the engine does.

        The daemon looks in this way for other autoscalers, and there are none here. It inspects
        each container that such a list names.
        """
        filters = json.loads(parse_qs(query).get("filters", ["{}"])[0])
        if not filters:
            return self._list
        wanted = {label.partition("=")[::2] for label in filters.get("label", ())}
        return json.dumps([row for row in self._rows if wanted <= row["Labels"].items()]).encode()


def _container(recorded: Json, number: int) -> Json:
    inspect = copy.deepcopy(recorded)
    service = f"worker-{number}"
    inspect["Id"] = hashlib.sha256(service.encode()).hexdigest()
    inspect["Name"] = f"/shop-{service}-1"
    inspect["Config"]["Hostname"] = inspect["Id"][:12]
    inspect["Config"]["Labels"] |= {
        "com.docker.compose.service": service,
        "com.docker.compose.config-hash": hashlib.sha256(inspect["Id"].encode()).hexdigest(),
        "temporal.queue": queue_name(number),
        "temporal.target": "10",
    }
    return inspect


def _row(inspect: Json) -> Json:
    return {
        "Id": inspect["Id"],
        "Names": [inspect["Name"]],
        "Image": inspect["Config"]["Image"],
        "ImageID": inspect["Image"],
        "Command": "sh -c 'sleep 3600'",
        "Created": CREATED,
        "Ports": [],
        "Labels": inspect["Config"]["Labels"],
        "State": "running",
        "Status": "Up 2 hours",
        "HostConfig": {"NetworkMode": inspect["HostConfig"]["NetworkMode"]},
        "NetworkSettings": {"Networks": inspect["NetworkSettings"]["Networks"]},
        "Mounts": inspect["Mounts"],
    }


class StubTemporal(grpc.GenericRpcHandler):
    """Answers every task queue alike: so many tasks wait, and a worker polls."""

    def __init__(self, waiting: int) -> None:
        stats = TaskQueueStats()
        if waiting:
            stats = TaskQueueStats(
                approximate_backlog_count=waiting,
                approximate_backlog_age=Duration(seconds=1),
                tasks_add_rate=1,
                tasks_dispatch_rate=1,
            )
        pollers = [PollerInfo(identity="1@worker", rate_per_second=100_000)]
        self._answers = {
            f"{_SERVICE}DescribeTaskQueue": DescribeTaskQueueResponse(stats=stats, pollers=pollers),
            f"{_SERVICE}GetSystemInfo": GetSystemInfoResponse(server_version="1.32.0"),
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return what answers a method; None where it is not known."""
        if details.method not in self._answers:
            return None
        answer = self._answers[details.method].SerializeToString()

        async def reply(_request: bytes, _context: object) -> bytes:
            return answer

        return grpc.unary_unary_rpc_method_handler(reply)


async def main() -> None:
    """Serve both until ended."""
    services, socket, waiting = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((StubTemporal(waiting),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    engine = await asyncio.start_unix_server(StubEngine(services).serve, socket)
    print(port, flush=True)
    await engine.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
