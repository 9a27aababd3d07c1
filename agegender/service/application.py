"""The HTTP interface as an ASGI application: photos in, the JSON of ``predict --json`` out.

Photos stay in memory and nothing about them is logged. What goes wrong is told by its words alone: no message
names a place on this machine.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.datastructures import QueryParams, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agegender.batch import Crew, cores
from agegender.errors import (
    ConfigError,
    ImageError,
    ImageTooLargeError,
    ModelError,
    NotAnImageError,
    reason_of,
)
from agegender.export import predictions_document, to_json
from agegender.images import MAX_BYTES, read_image
from agegender.models.registry import list_models
from agegender.prediction import ImageResult, Prediction
from agegender.service.openapi import document
from agegender.service.token import is_loopback

QUEUE: Final = 32
"""How many requests are worked on or wait; further ones are told when to come again."""

MAX_HELD: Final = 1_000_000_000
"""Bytes of photos that all requests together may hold."""

MAX_PHOTOS: Final = 100
"""Photos in one request."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_PAGE: Final = Path(__file__).with_name("page.html")
_OPEN: Final = frozenset({"/", "/v1/", "/openapi.json", "/v1/health"})
"""What is answered without a token: nothing of it depends on a photo."""
_STATUS: Final = {ImageTooLargeError.__name__: 413, NotAnImageError.__name__: 415}
_RAW: Final = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Content types of a body that is one photo, beside ``image/…``; the last is what curl says of any."""

_DRAINED: Final = 16_000_000
_DRAIN_SECONDS: Final = 10.0
"""So many bytes of a refused request are still taken, for so long at most: a sender whose connection is
closed while it sends never reads why."""

_log: Final = logging.getLogger(__name__)


class ServedPredictor(Protocol):
    """What this needs of `agegender.Predictor`."""

    @property
    def model(self) -> str:
        """Name of the model."""

    def predict(
        self, source: NDArray[np.uint8], *, min_confidence: float | None = None, min_face: float = 0.0
    ) -> list[Prediction]:
        """Every face of a photo."""

    def predict_chip_image(self, source: NDArray[np.uint8]) -> Prediction:
        """The one face of a picture that is a chip."""


@dataclass(frozen=True)
class Options:
    """What a request says in its query.

    Attributes:
        chips: Whether each photo is a face chip already.
        min_confidence: Faces the detector is less sure of are left out; ``None`` takes its default.
        min_face: Faces smaller than so many pixels are left out.
    """

    chips: bool = False
    min_confidence: float | None = None
    min_face: float = 0.0

    @classmethod
    def read(cls, query: QueryParams) -> Options:
        """Reads a query.

        Raises:
            ConfigError: An option is unknown or makes no sense.
        """
        unknown = sorted(set(query) - {"chips", "min_confidence", "min_face"})
        if unknown:
            raise ConfigError(f"there is no option {unknown[0]!r}; there are chips, min_confidence, min_face")
        chips = query.get("chips", "false").lower()
        if chips not in {"true", "false", "1", "0"}:
            raise ConfigError(f"chips must be true or false, not {chips!r}")
        confidence = _number(query, "min_confidence", 1.0)
        return cls(chips in {"true", "1"}, confidence, _number(query, "min_face", math.inf) or 0.0)


def _number(query: QueryParams, name: str, most: float) -> float | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and 0 <= value <= most):
        end = "" if math.isinf(most) else f" to {most:g}"
        raise ConfigError(f"{name} must be a number from 0{end}, not {text!r}")
    return value


class _BusyError(Exception):
    """There is no room for this request now."""


@dataclass
class _Desk:
    """Who is being served, and how long that takes.

    Attributes:
        queue: How many requests may be here.
        max_held: How many bytes they may bring together.
        requests: How many are here.
        held: Bytes that they brought.
        seconds: How long a request waits for its answer, lately.
    """

    queue: int
    max_held: int
    requests: int = 0
    held: int = 0
    seconds: float = 0.2
    crew: Crew = field(default_factory=lambda: Crew(cores()))

    @contextmanager
    def place(self) -> Iterator[None]:
        """Takes a place in the queue.

        Raises:
            _BusyError: There is none.
        """
        if self.requests >= self.queue:
            raise _BusyError
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @property
    def retry_after(self) -> int:
        """In how many seconds half of those who are here now will be done, about."""
        return max(1, math.ceil(self.seconds / 2))


class _InMemoryParser(MultiPartParser):
    spool_max_size = 0  # Starlette's word for "no file on the disk, ever"


def build_app(
    predictor: ServedPredictor, *, token: str | None = None, queue: int = QUEUE, max_held: int = MAX_HELD
) -> Starlette:
    """Makes the application.

    Args:
        predictor: What answers; shared by all requests.
        token: What a request must say as ``Authorization: Bearer TOKEN``. ``None`` asks for none, and answers
            only requests that name this machine itself as the server, from no other site's page.
        queue: How many requests are worked on or wait at a time.
        max_held: Bytes of photos that these may hold together.

    Returns:
        An ASGI application.
    """
    desk = _Desk(queue, max_held)
    pool = ThreadPoolExecutor(desk.crew.threads, thread_name_prefix="predict")
    page = _PAGE.read_text(encoding="utf-8")

    async def predict(request: Request) -> Response:
        options = Options.read(request.query_params)
        with desk.place(), _Held(desk) as held:
            photos, many = await _photos_of(request, held)
            began = time.monotonic()
            loop = asyncio.get_running_loop()
            answers = await asyncio.gather(
                *(
                    loop.run_in_executor(
                        pool, desk.crew.work_on, photo, lambda photo: _answer(photo, predictor, options)
                    )
                    for photo in photos
                ),
                return_exceptions=True,
            )
            desk.seconds += 0.1 * (time.monotonic() - began - desk.seconds)
            results = []
            for (name, _), answer in zip(photos, answers, strict=True):
                if isinstance(answer, ImageError) and many:
                    answer = ImageResult(name, None, (), answer.reason)  # noqa: PLW2901
                if isinstance(answer, ImageError):
                    raise answer
                if isinstance(answer, BaseException):
                    return await _failed(request, answer)
                results.append(answer.to_dict())
        return _json(predictions_document(predictor.model, results))

    async def models(_: Request) -> Response:
        return _json(await asyncio.to_thread(list_models))

    async def health(_: Request) -> Response:
        return _json({"status": "ok", "model": predictor.model, "requests": desk.requests, "queue": queue})

    async def openapi(_: Request) -> Response:
        return _json(document())

    async def home(_: Request) -> Response:
        return HTMLResponse(page)

    async def too_many(_: Request, __: Exception) -> Response:
        headers = {"Retry-After": str(desk.retry_after)}
        return _json({"error": "too many requests at a time; come again", "kind": "Busy"}, 503, headers)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        pool.shutdown(cancel_futures=True)

    return Starlette(
        routes=[
            Route("/v1/predict", predict, methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/health", health),
            Route("/openapi.json", openapi),
            Route("/", home),
            Route("/v1/", home),  # where something else has the root
        ],
        middleware=[Middleware(_Door, token=token)],
        exception_handlers={
            _BusyError: too_many,
            ConfigError: _refused,
            ImageError: _refused,
            ClientDisconnect: _gone,
            HTTPException: _http_error,
        },
        lifespan=lifespan,
    )


def _answer(photo: tuple[str, bytes], predictor: ServedPredictor, options: Options) -> ImageResult:
    name, data = photo
    image = read_image(data, name=name)
    if options.chips:
        faces = [predictor.predict_chip_image(image)]
    else:
        faces = predictor.predict(image, min_confidence=options.min_confidence, min_face=options.min_face)
    return ImageResult(name, (image.shape[1], image.shape[0]), faces)


class _Held:
    """The bytes that one request brings, counted as they come."""

    def __init__(self, desk: _Desk) -> None:
        self._desk, self._bytes = desk, 0

    def __enter__(self) -> _Held:
        return self

    def __exit__(self, *_: object) -> None:
        self._desk.held -= self._bytes

    async def read(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The body, piece by piece.

        Raises:
            ImageTooLargeError: It is more than one photo may have.
            _BusyError: All requests together hold too much already.
        """
        async for piece in request.stream():
            self._bytes += len(piece)
            self._desk.held += len(piece)
            if self._bytes > MAX_BYTES:
                raise ImageTooLargeError("request", f"more than {MAX_BYTES:,} bytes; send less at a time")
            if self._desk.held > self._desk.max_held:
                raise _BusyError
            yield piece


async def _photos_of(request: Request, held: _Held) -> tuple[list[tuple[str, bytes]], bool]:
    """The photos of a request with what their sender calls them, and whether there may be several."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        parser = _InMemoryParser(request.headers, held.read(request), max_files=MAX_PHOTOS, max_fields=0)
        try:
            form = await parser.parse()
        except (MultiPartException, LookupError, UnicodeError) as error:  # or its charset is none
            raise HTTPException(422, f"the form cannot be read: {error}") from error
        files = [value for _, value in form.multi_items()]
        photos = [(file.filename or "", await file.read()) for file in files if isinstance(file, UploadFile)]
        if not photos:
            raise HTTPException(422, "the form has no file in it")
        return photos, len(photos) > 1
    if not kind.startswith("image/") and kind not in _RAW:
        raise HTTPException(415, "send a photo's bytes, or a form (multipart/form-data) with files")
    return [("", b"".join([piece async for piece in held.read(request)]))], False


class _Door:
    """Lets in who may come in, and adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        sending = True

        async def receive_noting(*_: Any) -> Any:
            nonlocal sending
            message = await receive()
            sending = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def drain() -> None:
            left = _DRAINED
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    while sending and left > 0:
                        left -= len((await receive_noting()).get("body", b""))

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                if message["status"] >= 400:
                    await drain()
                headers = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        refusal = self._refusal(Request(scope))
        await (self._app if refusal is None else refusal)(scope, receive_noting, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        try:
            request.scope["query_string"].decode()
        except UnicodeDecodeError:
            return _json({"error": "the query is no text", "kind": ConfigError.__name__}, 422)
        if self._token is not None:
            said = request.headers.get("authorization", "")
            right = hmac.compare_digest(said.encode(), f"Bearer {self._token}".encode())
            if right or request.url.path in _OPEN:
                return None
            words = {"error": "this needs a token: Authorization: Bearer TOKEN", "kind": "Unauthorized"}
            return _json(words, 401, {"WWW-Authenticate": "Bearer"})
        # Without a token, whatever page a browser here has open must not reach the service through it:
        # neither under its own name (DNS rebinding) nor as another site.
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # half an IPv6 address
            name = ""
        if is_loopback(name) and origin in {None, f"http://{host}"}:
            return None
        return _json({"error": "only this machine itself is answered here", "kind": "Forbidden"}, 403)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(value), status, headers, "application/json")


async def _refused(_: Request, error: Exception) -> Response:
    kind = type(error).__name__
    return _json({"error": reason_of(error), "kind": kind}, _STATUS.get(kind, 422))


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = HTTPStatus(error.status_code).phrase
    return _json({"error": error.detail, "kind": kind}, error.status_code, dict(error.headers or {}))


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)


async def _failed(_: Request, error: BaseException) -> Response:
    # Answered here, and not by Starlette, which would hand it on to a log with all its words.
    kind = type(error).__name__
    _log.error("a request failed with an unexpected %s", kind)
    what = "the model cannot be used" if isinstance(error, ModelError) else f"unexpected {kind}"
    return _json({"error": what, "kind": kind}, 500)
