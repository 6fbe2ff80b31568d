"""The load: documents that are uploaded through the quickstart's API."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from demonstration.quickstart import CALL_LIMIT, Failure

DOCUMENTS = 400
UPLOADS_AT_ONCE = 16

SENTENCES = (
    "The invoice for the second quarter is attached to this letter.",
    "A review of the contract shows that the delivery is late and the price is not.",
    "Die Rechnung für das zweite Quartal ist diesem Brief beigelegt.",
    "Der Vertrag ist geprüft, und die Lieferung kommt nicht mit der Post.",
    "La facture pour le deuxième trimestre est dans les pages de cette lettre.",
    "El contrato para la entrega de los documentos llega con una carta y la factura.",
)


async def upload_all(port: int) -> None:
    """Upload every document, a few at once. Raises Failure."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as threads:
        uploads = [
            loop.run_in_executor(threads, upload, port, document(n)) for n in range(DOCUMENTS)
        ]
        try:
            await asyncio.gather(*uploads)
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def document(number: int) -> bytes:
    """Compose a document of a few kilobytes; the same number gives the same document."""
    chance = random.Random(number)  # noqa: S311 - variety, not secrecy
    return " ".join(chance.choices(SENTENCES, k=40)).encode()


def upload(port: int, body: bytes) -> None:
    """Post one document, as any client would. Raises Failure."""
    connection = HTTPConnection("127.0.0.1", port, timeout=CALL_LIMIT)
    try:
        connection.request("POST", "/upload", body, {"Content-Type": "text/plain; charset=utf-8"})
        answer = connection.getresponse()
        said = answer.read().decode()
    except (OSError, HTTPException) as error:
        raise Failure(f"an upload failed: {error}") from error
    finally:
        connection.close()
    if answer.status != HTTPStatus.ACCEPTED:
        raise Failure(f"an upload was answered with {answer.status}: {said}")
