"""The app's server as docs/hosting.md starts it, and its limits one by one."""

from __future__ import annotations

import asyncio
import re
import shlex
import socket
import time
import weakref
from collections import Counter
from http.client import HTTPConnection
from types import SimpleNamespace
from unittest.mock import Mock
from urllib.parse import urlsplit

import pytest
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from streamlit import runtime
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.session_manager import SessionInfo
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.app.driving import ROOT
from tools.app_in_browser import serve
from ui import server
from ui.server import HEADERS, Doors, Limits

STREAM = "/_stcore/stream"


@pytest.fixture(scope="module")
def hosted(tmp_path_factory):
    """The app, started by the lines of the documentation, but for two visitors only."""
    block = re.search(r"```sh\n(.+?)```", (ROOT / "docs" / "hosting.md").read_text("utf-8"), re.DOTALL)[1]
    words = shlex.split(block, comments=True)
    environment = dict(word.split("=") for word in words if re.match(r"[A-Z_]+=", word))
    assert set(environment) == {"AGEGENDER_MAX_VISITORS", "AGEGENDER_UPLOAD_MB", "AGEGENDER_ALL_UPLOADS_MB"}
    arguments = words[words.index("app.py") + 1 :]
    environment["AGEGENDER_MAX_VISITORS"] = "2"
    with serve(tmp_path_factory.mktemp("hosted"), environment, arguments) as running:
        yield urlsplit(running.address).netloc


def ask(netloc: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Headers]:
    connection = HTTPConnection(netloc, timeout=60)
    connection.request(method, path, body, {"Accept": "text/html"} | headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, Headers(dict(answer.getheaders()))


def visit(netloc: str, host: str):
    address, _, port = netloc.partition(":")
    line = socket.create_connection((address, int(port)), timeout=60)
    return connect(f"ws://{host}{STREAM}", sock=line, open_timeout=60)


def test_only_those_who_come_by_the_apps_name_are_let_in(hosted):
    with visit(hosted, "faces.example.org"):
        pass
    for host in ("evil.example", "127.0.0.1"):
        with pytest.raises(InvalidStatus) as refusal:
            visit(hosted, host)
        assert refusal.value.response.status_code == 403


def test_every_answer_closes_doors_and_no_forged_upload_is_taken(hosted):
    for path in ("/", "/explain", "/_stcore/health"):
        status, headers = ask(hosted, "GET", path)
        assert status == 200
        assert {name: headers[name] for name in HEADERS} == HEADERS
    upload = "/_stcore/upload_file/somebody/0"
    assert ask(hosted, "PUT", upload, b"x")[0] == 403
    assert ask(hosted, "PUT", upload, b"", **{"Content-Length": str(201 * 10**6)})[0] == 413


def test_who_comes_too_late_is_told_to_wait_and_let_in_when_somebody_leaves(hosted):
    with visit(hosted, "faces.example.org"), visit(hosted, "faces.example.org"):
        status, headers = ask(hosted, "GET", "/")
        assert status == 503
        assert int(headers["Retry-After"]) > 0
        with pytest.raises(InvalidStatus):
            visit(hosted, "faces.example.org")
        assert ask(hosted, "GET", "/_stcore/health", Accept="*/*")[0] == 200
    assert ask(hosted, "GET", "/")[0] == 200
    with visit(hosted, "faces.example.org"):
        pass


class Upload:
    """Puts files through `Doors` into a pretended Streamlit."""

    def __init__(self, monkeypatch, limits: Limits) -> None:
        self.held: Counter[str] = Counter()
        self.most = 0
        self.doors = Doors(self.streamlit, limits)
        monkeypatch.setattr(server, "held_bytes", lambda: self.held)

    async def streamlit(self, scope, receive, send) -> None:
        await asyncio.sleep(0.01)
        session = scope["path"].split("/")[-2]
        self.held[session] += int(Headers(scope=scope)["content-length"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def put(self, session: str, length: str) -> int:
        statuses = []

        async def send(message) -> None:
            statuses.append(message.get("status"))

        headers = [(b"content-length", length.encode())] if length else []
        path = f"/_stcore/upload_file/{session}/x"
        scope = {"type": "http", "method": "PUT", "path": path, "headers": headers}
        await self.doors(scope, None, send)
        return statuses[0]

    def all(self, *files: tuple[str, str]) -> list[int]:
        async def together() -> list[int]:
            return list(await asyncio.gather(*(self.put(*file) for file in files)))

        return asyncio.run(together())


def test_uploads_are_bounded_for_each_visitor_and_for_all_even_while_they_arrive(monkeypatch):
    upload = Upload(monkeypatch, Limits(upload=100, uploads=150))
    assert upload.all(("ada", "60"), ("ada", "60"), ("ben", "60")) == [204, 413, 204]
    assert upload.all(("ada", "30"), ("cleo", "40")) == [204, 413]
    upload.held["ada"] = 0  # photos that were forgotten make room
    assert upload.all(("ada", "90")) == [204]
    assert upload.all(("dora", ""), ("dora", "-5"), ("dora", "²")) == [411, 411, 411]


def test_only_named_pages_may_frame_the_app(monkeypatch):
    monkeypatch.setenv("AGEGENDER_FRAMED_BY", "https://a.example https://b.example")
    (wrapped,) = server.middleware()
    assert wrapped.cls is Doors
    policy = Doors(None, **wrapped.kwargs)._headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors 'self' https://a.example https://b.example")


def test_limits_come_from_the_environment_and_nonsense_is_refused(monkeypatch):
    assert Limits.from_environment() == Limits()
    monkeypatch.setenv("AGEGENDER_UPLOAD_MB", "7")
    assert Limits.from_environment().upload == 7_000_000
    monkeypatch.setenv("AGEGENDER_MAX_VISITORS", "many")
    with pytest.raises(ValueError, match="AGEGENDER_MAX_VISITORS must be a whole number"):
        Limits.from_environment()


@pytest.mark.parametrize("megabytes", [0.5, 3])
def test_uploads_never_reach_the_disk(megabytes):
    """Starlette would roll a spooled file over 1 MB out to the disk; what was set must stop it."""
    server.middleware()
    body = (
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="f.jpg"\r\n\r\n'
        + bytes(int(megabytes * 2**20))
        + b"\r\n--b--\r\n"
    )

    async def stream():
        yield body

    headers = Headers({"content-type": "multipart/form-data; boundary=b"})
    form = asyncio.run(MultiPartParser(headers, stream()).parse())
    spooled = form["f"].file
    assert len(spooled.read()) == int(megabytes * 2**20)
    assert not spooled._rolled


class Session:
    """What Streamlit keeps of a visitor, as far as its storage asks."""

    id = "somebody"


def test_photos_of_who_does_not_come_back_are_dropped_though_nobody_else_comes(monkeypatch):
    """Streamlit's own storage and manager: if they begin or cease to do that themselves, this tells."""
    storage = MemorySessionStorage(ttl_seconds=0)
    manager = WebsocketSessionManager(storage, Mock(), Mock(), None)
    session = Session()
    left = weakref.ref(session)
    storage.save(SessionInfo(None, session))
    del session
    assert left() is not None
    monkeypatch.setattr(runtime, "get_instance", lambda: SimpleNamespace(_session_mgr=manager))
    assert server.drop_expired_sessions() == 0
    assert left() is None


def test_memory_is_tidied_soon_after_a_session_has_expired_whoever_else_comes_and_goes(monkeypatch):
    ttl = 0.4
    storage = MemorySessionStorage(ttl_seconds=ttl)
    manager = WebsocketSessionManager(storage, Mock(), Mock(), None)
    monkeypatch.setattr(runtime, "get_instance", lambda: SimpleNamespace(_session_mgr=manager))
    monkeypatch.setattr(server, "get_option", {"server.disconnectedSessionTTL": ttl}.__getitem__)
    left, tidied = [], []
    monkeypatch.setattr(server, "tidy_memory", lambda: tidied.append(time.monotonic()))

    async def streamlit(scope, receive, send) -> None:
        """A visitor who leaves at once."""
        session = Session()
        session.id = f"visitor {len(left)}"
        left.append(time.monotonic())
        storage.save(SessionInfo(None, session))

    async def come_and_go() -> None:
        doors = Doors(streamlit, Limits())
        for wait in (0, 0.3, 1.0):  # while the first one's session lasts; when all is tidied
            await asyncio.sleep(wait)
            await doors({"type": "websocket", "path": STREAM}, None, None)
        await asyncio.sleep(1)

    asyncio.run(come_and_go())
    assert len(tidied) == len(left) == 3  # and so ended, each time
    assert all(ttl <= then - when < 2 * ttl for when, then in zip(left, tidied, strict=True))


def test_memory_is_tidied_also_after_sessions_that_streamlit_dropped_by_itself(monkeypatch):
    kept = [2, 1, 0]  # of three who left; nothing says who dropped the others
    tidied = []
    monkeypatch.setattr(server, "get_option", {"server.disconnectedSessionTTL": 0.1}.__getitem__)
    monkeypatch.setattr(server, "drop_expired_sessions", lambda: kept.pop(0))
    monkeypatch.setattr(server, "tidy_memory", lambda: tidied.append(len(kept)))

    async def streamlit(scope, receive, send) -> None:
        """A visitor who leaves at once."""

    async def come_and_go() -> None:
        doors = Doors(streamlit, Limits())
        for _ in range(3):
            await doors({"type": "websocket", "path": STREAM}, None, None)
        await asyncio.sleep(0.5)

    asyncio.run(come_and_go())
    assert tidied == [2, 1, 0]
