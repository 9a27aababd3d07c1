"""What the app's web server does beyond Streamlit: limits for many visitors, and headers that close doors.

The limits are settings of whoever starts the app, read from the environment; see docs/hosting.md.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import App, get_option, runtime

MEGABYTE: Final = 1_000_000

HEADERS: Final[Mapping[str, str]] = {
    # Everything comes from this server or with the page itself; what does not, the browser refuses to fetch.
    # Streamlit's own pages need inline styles, and its charts build functions.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_STREAM: Final = "/_stcore/stream"
_UPLOAD: Final = "/_stcore/upload_file/"
_WAIT_SECONDS: Final = 10
_LOOKS_A_TTL: Final = 4  # for sessions that have expired
_BUSY: Final = f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="{_WAIT_SECONDS}">
<title>Busy · Age and gender</title>
<body style="font:1rem/1.5 sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem">
<h1>All places are taken</h1><p>As many visitors as this computer can serve are here already. This page looks
again every {_WAIT_SECONDS} seconds and opens as soon as somebody leaves.</p></body></html>"""


@dataclass(frozen=True)
class Limits:
    """What visitors may use up.

    Attributes:
        visitors: How many may have the app open at once.
        upload: Bytes of photos that one visitor may have here at a time.
        uploads: The same for all visitors together.
    """

    visitors: int = 100
    upload: int = 1_000 * MEGABYTE
    uploads: int = 2_000 * MEGABYTE

    @classmethod
    def from_environment(cls) -> Limits:
        """Reads ``AGEGENDER_MAX_VISITORS``, ``AGEGENDER_UPLOAD_MB`` and ``AGEGENDER_ALL_UPLOADS_MB``.

        Raises:
            ValueError: One of them is not a whole number above 0.
        """
        usual = cls()
        return cls(
            _number("AGEGENDER_MAX_VISITORS", usual.visitors),
            _number("AGEGENDER_UPLOAD_MB", usual.upload // MEGABYTE) * MEGABYTE,
            _number("AGEGENDER_ALL_UPLOADS_MB", usual.uploads // MEGABYTE) * MEGABYTE,
        )


def _number(variable: str, usual: int) -> int:
    text = os.environ.get(variable, "").strip()
    if text and not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(f"{variable} must be a whole number above 0, not {text!r}")
    return int(text or usual)


def middleware() -> list[Middleware]:
    """What `streamlit.App` puts around itself.

    Raises:
        ValueError: A limit in the environment is not a number.
    """
    # Starlette would pass uploads over 1 MB through a temporary file; 0 is its word for "never". The size of
    # each is bounded by server.maxUploadSize and by the limits here.
    MultiPartParser.spool_max_size = 0
    framed_by = os.environ.get("AGEGENDER_FRAMED_BY", "").split()
    return [Middleware(Doors, limits=Limits.from_environment(), framed_by=framed_by)]


def service_routes() -> list[BaseRoute]:
    """The HTTP interface for other programs, where ``AGEGENDER_SERVE=yes`` asks for it; see docs/serve.md.

    Raises:
        SystemExit: Others could reach it, and ``AGEGENDER_TOKEN_FILE`` names no usable token.
    """
    if os.environ.get("AGEGENDER_SERVE", "").strip().lower() != "yes":
        return []
    from agegender.errors import ConfigError
    from agegender.service.application import build_app
    from agegender.service.token import token_for
    from ui.models import SharedPredictor

    file = os.environ.get("AGEGENDER_TOKEN_FILE", "").strip()
    try:
        token = token_for(
            get_option("server.address") or "", Path(file) if file else None, "AGEGENDER_TOKEN_FILE"
        )
    except ConfigError as error:
        raise SystemExit(f"AGEGENDER_SERVE: {error}") from error
    service = build_app(SharedPredictor(), token=token)
    return [Route(path, service) for path in ("/v1/{rest:path}", "/openapi.json")]


@asynccontextmanager
async def warmed_up(app: App) -> AsyncGenerator[None]:
    """Imports and loads beside the first visitor's first steps what their first photo will need."""

    def warm_up() -> None:
        # Imports take longer than anything else, so that nothing else here is imported before it is served.
        from agegender.errors import AgeGenderError
        from agegender.runtime import return_large_blocks

        return_large_blocks()
        from ui import models, results  # noqa: F401

        try:
            models.preload()
        except AgeGenderError as error:  # the page will say it to whoever needs it
            logging.getLogger(__name__).warning("%s", error)

    threading.Thread(target=warm_up, daemon=True).start()
    yield


def tidy_memory() -> None:
    """Collects garbage, keeps what is left from being looked through again, and gives back what is free.

    Streamlit collects it after every run of a page, and once more where Keras is there. With TensorFlow's
    half a million objects in the process each time took longer than the page.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    from agegender.runtime import return_free_memory  # here, as above: a page has run

    return_free_memory()


class Doors:
    """Counts visitors and uploads, turns away those above the limits, and adds `HEADERS` to every answer.

    Args:
        app: Streamlit.
        limits: See there.
        framed_by: Addresses whose pages may show the app in a frame, such as "https://example.org".
    """

    def __init__(self, app: ASGIApp, limits: Limits, framed_by: Iterable[str] = ()) -> None:
        self._app, self._limits = app, limits
        policy = " ".join([HEADERS["Content-Security-Policy"], *framed_by])  # its last word is who may frame
        self._headers = {**HEADERS, "Content-Security-Policy": policy}
        self._visitors, self._left = 0, 0
        self._tidying: asyncio.Task[None] | None = None
        self._arriving: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request or a connection, as ASGI asks for it."""
        path = scope.get("path", "")
        if scope["type"] == "websocket" and path.endswith(_STREAM):
            await self._stream(scope, receive, send)
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _UPLOAD in path and scope["method"] == "PUT":
            await self._upload(scope, receive, self._with_headers(send))
        elif self._visitors >= self._limits.visitors and _is_page(scope):
            busy = HTMLResponse(_BUSY, 503, {"Retry-After": str(_WAIT_SECONDS)})
            await busy(scope, receive, self._with_headers(send))
        else:
            await self._app(scope, receive, self._with_headers(send))

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A visitor, from their coming to their leaving."""
        if self._visitors >= self._limits.visitors:
            await receive()
            await send({"type": "websocket.close", "code": 1013})  # "try again later"
            return
        self._visitors += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._visitors -= 1
            self._left += 1
            if self._tidying is None or self._tidying.done():
                self._tidying = asyncio.create_task(self._tidy_up())

    async def _tidy_up(self) -> None:
        """Lets go of what visitors left behind, soon after they can no longer come back to it."""
        known = 0
        while known or self._left:
            await asyncio.sleep(get_option("server.disconnectedSessionTTL") / _LOOKS_A_TTL)
            known, self._left = known + self._left, 0
            kept = drop_expired_sessions()
            if kept < known:  # Streamlit drops some by itself, where others leave after them
                await asyncio.to_thread(tidy_memory)
            known = kept

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = scope["path"].partition(_UPLOAD)[2].partition("/")[0]
        length = Headers(scope=scope).get("content-length", "")
        refusal = self._refusal(session, length)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._arriving[session] += int(length)
        try:
            await self._app(scope, receive, send)
        finally:
            self._arriving[session] -= int(length)
            self._arriving += Counter()  # forgets who has nothing on the way

    def _refusal(self, session: str, length: str) -> Response | None:
        if not (length.isascii() and length.isdigit()):
            return PlainTextResponse("The size of an upload must be known.", 411)
        held = held_bytes()
        mine = held.get(session, 0) + self._arriving[session] + int(length)
        everybodys = held.total() + self._arriving.total() + int(length)
        if mine > self._limits.upload or everybodys > self._limits.uploads:
            return PlainTextResponse("There is no room for another photo; forget some first.", 413)
        return None

    def _with_headers(self, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)  # the interface for other programs has stricter ones
            await send(message)

        return send_with_headers


def drop_expired_sessions() -> int:
    """Has Streamlit drop sessions nobody can come back to, with their photos.

    By itself it does so when the next visitor leaves, be it days later.

    Returns:
        How many are left, whose visitors may still come back.
    """
    sessions = runtime.get_instance()._session_mgr._session_storage._cache  # type: ignore[attr-defined]
    sessions.expire()
    return len(sessions)


def held_bytes() -> Counter[str]:
    """How many bytes of uploads the server holds, by visitor's session."""
    files = runtime.get_instance().uploaded_file_mgr.file_storage  # type: ignore[attr-defined]
    return Counter(
        {key: sum(len(file.data) for file in list(held.values())) for key, held in dict(files).items()}
    )


def _is_page(scope: Scope) -> bool:
    """Whether somebody opens the app, rather than a part of it such as a script or a picture."""
    return scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "")
