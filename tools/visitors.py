"""`python -m tools.visitors`: many visitors at once, each with a connection of its own like a browser's.

    python -m tools.visitors --visitors 50 --seconds 600 --json docs/measurements/visitors.json

Every visitor opens the app over a WebSocket, uploads a photo and waits for the answers, asks why, looks at
other pages, comes back and has the photo forgotten, over and over. What counts: no page shows an error,
everybody is served about as often as the others, and the server's memory is flat after the first minutes and
given back once all have left.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import websockets
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from agegender.assets import EXAMPLE
from tools.app_in_browser import Server, serve
from tools.records import write_record

PATIENCE: Final = 300.0
"""Seconds after which an answer that has not come counts as an error."""

_PAGES: Final = ("compare_models", "about", "training_curves", "dataset_explorer")
_EXPLAINS: Final = 0.2  # of the turns: this needs TensorFlow, and seconds of both cores
_COOKIE: Final = "_streamlit_xsrf"
_EVERY: Final = 5.0  # seconds between two looks at the memory
_AFTER: Final = 160.0
"""Seconds after the last has left: sessions last for 120 (server.disconnectedSessionTTL)."""


@dataclass
class Seen:
    """What visitors met, all together."""

    answers: list[list[float]] = field(default_factory=list)  # seconds waited for photos' answers, a visitor
    pages: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Visitor:
    """One connection to the app, and what its last run showed."""

    def __init__(self, address: str, number: int, seen: Seen) -> None:
        self._address, self._seen, self._rng = address, seen, random.Random(number)
        self._widgets: dict[str, Any] = {}
        self._uploaders: dict[str, str] = {}
        self._page = self._forget = ""
        self._hashes: dict[str, str] = {}
        self._session = self._cookie = self._words = ""
        self._waits: list[float] = []
        seen.answers.append(self._waits)

    async def visit(self, until: float) -> None:
        """Goes through the app until that moment, as `time.monotonic` tells it."""
        try:
            await asyncio.to_thread(self._take_cookie)
            async with websockets.connect(
                f"{self._address.replace('http', 'ws', 1)}/_stcore/stream",
                subprotocols=[websockets.Subprotocol("streamlit"), websockets.Subprotocol(self._cookie)],
                additional_headers={"Cookie": f"{_COOKIE}={self._cookie}"},
                origin=websockets.Origin(self._address),
                max_size=None,
                ping_timeout=PATIENCE,
            ) as self._socket:
                await self._run("")
                while time.monotonic() < until:
                    await self._turn()
        except Exception as error:  # whatever it is counts, and the others go on
            self._seen.errors.append(f"{type(error).__name__}: {error}"[:300])

    async def _turn(self) -> None:
        began = time.monotonic()
        await self._run("predict")
        if self._forget:
            await self._run("predict", press=self._forget)
        await self._upload(await asyncio.to_thread(self._photo))
        await self._run("predict")
        if "faces found" not in self._words:
            raise RuntimeError("a photo of seven faces was not answered")
        self._waits.append(time.monotonic() - began)
        pages = [self._rng.choice(_PAGES)] + ["explain"] * (self._rng.random() < _EXPLAINS)
        for page in pages:
            await asyncio.sleep(self._rng.uniform(0.5, 2))  # to look at it
            began = time.monotonic()
            await self._run(page)
            self._seen.pages.append(time.monotonic() - began)

    def _take_cookie(self) -> None:
        with urllib.request.urlopen(f"{self._address}/_stcore/health", timeout=PATIENCE) as answer:
            cookies = answer.headers.get_all("Set-Cookie") or []
        self._cookie = next(
            (found[_COOKIE].value for found in map(SimpleCookie, cookies) if _COOKIE in found), ""
        )

    def _photo(self) -> bytes:
        """The example photo, another at every turn: an answer that is remembered would cost nothing."""
        with Image.open(EXAMPLE) as photo:
            pixels = np.array(photo.convert("RGB"))
        pixels[:8, :8] = list(self._rng.randbytes(3))
        kept = io.BytesIO()
        Image.fromarray(pixels).save(kept, "JPEG", quality=85)
        return kept.getvalue()

    async def _run(self, page: str, *, press: str = "") -> None:
        """Runs a page with the widgets as they are or a button pressed, and reads what it shows."""
        if page != self._page:  # a page begins with empty widgets
            self._page, self._widgets = page, {}
        message, self._words, self._forget = BackMsg(), "", ""
        state = message.rerun_script
        state.page_script_hash = self._hashes.get(page, "")
        for identifier, files in self._widgets.items():
            widget = state.widget_states.widgets.add(id=identifier)
            for name, size, url in files:
                info = widget.file_uploader_state_value.uploaded_file_info.add(name=name, size=size)
                info.file_id = url.file_id
                info.file_urls.CopyFrom(url)
        if press:
            state.widget_states.widgets.add(id=press, trigger_value=True)
        await self._socket.send(message.SerializeToString())
        while True:
            answer = await self._receive()
            match answer.WhichOneof("type"):
                case "new_session":
                    self._session = answer.new_session.initialize.session_id or self._session
                case "navigation":
                    self._hashes = {
                        found.url_pathname or "predict": found.page_script_hash
                        for found in answer.navigation.app_pages
                    }
                case "delta":
                    self._look_at(answer)
                case "script_finished":
                    if answer.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                        return
                case "page_not_found":
                    raise RuntimeError(f"there is no page {page}")

    def _look_at(self, answer: Any) -> None:
        element = answer.delta.new_element
        match element.WhichOneof("type"):
            case "exception":
                self._seen.errors.append(f"{element.exception.type}: {element.exception.message}"[:300])
            case "markdown":
                self._words += element.markdown.body
            case "button" if element.button.label == "Forget":
                self._forget = element.button.id
            case "file_uploader":
                self._uploaders["photos"] = element.file_uploader.id

    async def _upload(self, photo: bytes) -> None:
        message = BackMsg()
        message.file_urls_request.request_id = "photo"
        message.file_urls_request.session_id = self._session
        message.file_urls_request.file_names.append("photo.jpg")
        await self._socket.send(message.SerializeToString())
        while True:
            answer = await self._receive()
            if answer.WhichOneof("type") == "file_urls_response":
                break
        [url] = answer.file_urls_response.file_urls
        await asyncio.to_thread(self._put, url.upload_url, photo)
        self._widgets = {self._uploaders["photos"]: [("photo.jpg", len(photo), url)]}

    def _put(self, path: str, photo: bytes) -> None:
        mark = "visitor"
        head = f'--{mark}\r\nContent-Disposition: form-data; name="photo.jpg"; filename="photo.jpg"\r\n'
        body = f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + photo + f"\r\n--{mark}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={mark}",
            "Cookie": f"{_COOKIE}={self._cookie}",
            "X-Xsrftoken": self._cookie,
        }
        request = urllib.request.Request(f"{self._address}{path}", body, headers, method="PUT")
        with urllib.request.urlopen(request, timeout=PATIENCE):
            pass

    async def _receive(self) -> Any:
        answer = ForwardMsg()
        answer.ParseFromString(await asyncio.wait_for(self._socket.recv(), PATIENCE))
        return answer


async def crowd(server: Server, visitors: int, seconds: float) -> dict[str, Any]:
    """Lets visitors in.

    Args:
        server: The running app.
        visitors: How many at once; they come within the first tenth of the time.
        seconds: For how long.

    Returns:
        What they met, JSON-ready: ``answered`` (photos), ``errors``, seconds waited for an answer (median,
        95th percentile, longest), photos of the visitor served least and most, and the server's memory in MB:
        before, at a third and two thirds of the time, at its end, and after all have left; of the last, also
        how much is of files that are mapped into it, libraries above all.
    """
    seen, began = Seen(), time.monotonic()
    memory = [(0.0, _memory_mb(server.pid))]

    async def come(number: int) -> None:
        await asyncio.sleep(seconds / 10 * number / visitors)
        await Visitor(server.address, number, seen).visit(began + seconds)

    async def look() -> None:
        while True:
            await asyncio.sleep(_EVERY)
            memory.append((time.monotonic() - began, _memory_mb(server.pid)))

    looking = asyncio.create_task(look())
    await asyncio.gather(*(come(number) for number in range(visitors)))
    memory.append((time.monotonic() - began, _memory_mb(server.pid)))
    looking.cancel()
    await asyncio.sleep(min(_AFTER, seconds))
    waits = sorted(wait for own in seen.answers for wait in own)
    turns = [len(own) for own in seen.answers]
    at = {share: next(mb for when, mb in memory if when >= share * seconds) for share in (1 / 3, 2 / 3)}
    return {
        "visitors": visitors,
        "seconds": round(time.monotonic() - began),
        "answered": len(waits),
        "errors": sorted(set(seen.errors)),
        "seconds_waited": {
            "median": round(median(waits), 2) if waits else None,
            "percentile_95": round(waits[int(0.95 * len(waits))], 2) if waits else None,
            "longest": round(waits[-1], 2) if waits else None,
        },
        "photos_a_visitor": {"least": min(turns), "most": max(turns)},
        "pages_seen": len(seen.pages),
        "memory_mb": {
            "before": memory[0][1],
            "a_third": at[1 / 3],
            "two_thirds": at[2 / 3],
            "end": memory[-1][1],
            "peak": max(mb for _, mb in memory),
            "after": _memory_mb(server.pid),
            "after_in_files": _memory_mb(server.pid, "RssFile"),
        },
    }


def _memory_mb(process: int, kind: str = "VmRSS") -> int:
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(kind):
            return round(int(line.split()[1]) / 1024)
    return 0


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.visitors", description=__doc__)
    parser.add_argument("--visitors", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as server:
        met = asyncio.run(crowd(server, options.visitors, options.seconds))
    write_record({"load_before": round(load, 1), **met}, options.json)
    return int(bool(met["errors"]))


if __name__ == "__main__":
    sys.exit(main())
