"""What other programs hand over: answers about many photos, lists of photos, videos, and requests."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import datetime
from functools import cache, partial
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from agegender.errors import ConfigError
from agegender.faces import Face
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction
from tools import clips
from tools.fuzz import seeds
from tools.fuzz.mutations import mutate, mutate_json, mutate_text
from tools.fuzz.target import Target, temporary_folder

MOST_FRAMES: Final = 200
"""A damaged clip may say that it is hours long; what makes every further frame is the same."""

_LIST: Final = "/a/b.jpg\n\ncaf\\xe9.jpg\ns3://bucket/x?y=1\nfile:///a b\n  c.png\n"
_ODD: Final = (
    b"",
    b"\xff\xfe",
    b"[::1",
    b"[v1.x]",
    b"localhost:port",
    b"\x00",
    b"%ff",
    b"&&=",
    b"1e999",
    b"nan",
    b"multipart/form-data",
    b'multipart/form-data; boundary="',
    b"multipart/form-data; boundary=x; charset=undefined",
    b"multipart/form-data; boundary=x; charset=utf-16",
    b"multipart/form-data; boundary=\xff",
)


def targets() -> tuple[Target, ...]:
    """These readers."""
    part, films = _part(), _clips()
    return (
        Target("parts of answers", lambda random: mutate(random, part, [part]), _read_part, 0.01),
        Target("documents of answers", partial(mutate_json, text=_document()), _read_document, 0.005),
        Target("lists of photos", partial(_damaged_list, part=part), _read_list, 0.005),
        Target("videos", lambda random: mutate(random, random.choice(films), films), _read_video, 0.03),
        Target("requests", _odd_request, _answer, 0.03),
    )


@cache
def _part() -> bytes:
    """A part of a table, as ``predict --parquet`` writes it."""
    from agegender.bulk.part import write_part

    face = {"age": 30.0, "gender": "female", "uncertain": False, "taken": datetime(2024, 5, 6), "size": 10}
    rows: list[dict[str, Any]] = [
        face | {"path": f"/a/{index}.jpg", "face": 1, "modified": 10**18, "error": None, "error_kind": None}
        for index in range(5)
    ]
    rows.append({"path": "/b/x.jpg", "error": "it is damaged", "error_kind": "TruncatedImageError"})
    with temporary_folder() as folder:
        write_part(folder / "part.parquet", rows, _origin())
        return (folder / "part.parquet").read_bytes()


def _origin() -> Any:
    from agegender.bulk.part import Origin

    return Origin("vggface", "a" * 64)


def _read_part(data: bytes) -> None:
    from agegender.bulk.table import open_folder
    from agegender.summary import summarize

    with temporary_folder() as folder:
        part = folder / "part-000001-a.parquet"
        part.write_bytes(data)
        with open_folder(folder, _origin()) as parts:
            parts.missing({"/a/0.jpg": None, "/c.jpg": (1, 2)})
            parts.forget(["/a/1.jpg"])
        part.write_bytes(data)
        summarize(folder)


def _document() -> str:
    """What ``predict --json`` writes."""
    from agegender.export import predictions_document, to_json
    from agegender.prediction import ImageResult

    images = [ImageResult("/a/1.jpg", (64, 48), [_PREDICTION]), ImageResult("b", None, (), "it is damaged")]
    return to_json(predictions_document("vggface", [image.to_dict() for image in images]))


def _read_document(data: bytes) -> None:
    from agegender.export import to_json
    from agegender.summary import summarize

    with temporary_folder() as folder:
        (folder / "answers.json").write_bytes(data)
        json.loads(to_json(summarize(folder / "answers.json")))


def _damaged_list(random: Random, part: bytes) -> bytes:
    """A list, with the ending of its name in the first line."""
    if random.random() < 0.5:
        return b"parquet\n" + mutate(random, part, [part])
    return b"txt\n" + mutate_text(random, _LIST)


def _read_list(data: bytes) -> None:
    from agegender.bulk.lists import read_list

    ending, _, content = data.partition(b"\n")
    with temporary_folder() as folder:
        file = folder / f"photos.{ending.decode()}"
        file.write_bytes(content)
        for _ in read_list(str(file)):
            pass


@cache
def _clips() -> tuple[bytes, ...]:
    """A clip of each container and of the usual ways to code frames and sound."""
    av.logging.set_level(None)
    made = []
    for container, codec, sound, rotation in (
        ("mp4", "libx264", "aac", 90),
        ("webm", "libvpx-vp9", "libopus", 0),
        ("matroska", "mpeg4", "aac", 0),
        ("avi", "mpeg4", None, 0),
    ):
        file = io.BytesIO()
        frames = clips.film(lambda frame, time: frame[:, : int(9 * time) + 1].fill(200), 0.4, 25, (64, 48))
        clips.save_clip(file, frames, codec=codec, container=container, rotation=rotation, sound=sound)
        made.append(file.getvalue())
    return tuple(made)


def _read_video(data: bytes) -> None:
    from agegender.video.analysis import follow_video

    blind = SimpleNamespace(find_faces=lambda *_, **__: [], predict_faces=lambda *_, **__: [])
    frames = count()
    stop = SimpleNamespace(is_set=lambda: next(frames) > MOST_FRAMES)
    result = follow_video(data, blind, copy=io.BytesIO(), stop=stop)  # type: ignore[arg-type]
    json.dumps(result.to_dict(), allow_nan=False)


_PREDICTION: Final = Prediction(
    Face((1.0, 2.0, 30.0, 40.0), 0.98, ((1.0, 2.0),) * 5),
    np.zeros((8, 8, 3), np.uint8),
    AgeEstimate(31.0, 26.0, 37.0, 0.9),
    GenderEstimate("female", 0.97),
)


class _OneFace:
    """A predictor that takes no time."""

    model = "vggface"

    def predict(
        self, source: NDArray[np.uint8], *, min_confidence: float | None = None, min_face: float = 0.0
    ) -> list[Prediction]:
        return [_PREDICTION]

    def predict_chip_image(self, source: NDArray[np.uint8]) -> Prediction:
        return _PREDICTION


@cache
def _services() -> tuple[Any, Any]:
    """The service, without a token and with one."""
    from agegender.service.application import build_app

    return build_app(_OneFace()), build_app(_OneFace(), token="0123456789abcdef")


def _odd_request(random: Random) -> bytes:
    """A request: path, query, host, kind of content, token and body, a line each but for the body."""

    def usually(value: bytes, share: float = 0.8) -> bytes:
        return value if random.random() < share else random.choice(_ODD)

    photo = random.choice(list(seeds.pictures().values()))
    name = random.choice((b"a.jpg", b"", b"../../etc", b"\xff.jpg", b'a"b', b"a" * 3000, b"a;b.jpg"))
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % name
    form = (head + photo + b"\r\n") * random.choice((1, 1, 2)) + b"--x--\r\n"
    body = random.choice((form, form, photo, b""))
    path = random.choice(
        (b"/v1/predict",) * 8 + (b"/v1/models", b"/v1/health", b"/", b"/v1/predict/", b"/..")
    )
    query = random.choice((b"", b"chips=true", b"min_confidence=0.5", b"min_face=40"))
    lines = [
        path,
        usually(query),
        usually(b"127.0.0.1:80"),
        usually(random.choice((b"image/jpeg", b"multipart/form-data; boundary=x", b""))),
        usually(b"Bearer 0123456789abcdef"),
        mutate(random, body, [photo, form]) if random.random() < 0.7 else body,
    ]
    return b"\n".join(lines)


def _answer(data: bytes) -> None:
    path, query, host, kind, token, body = (data.split(b"\n", 5) + [b""] * 6)[:6]
    scope = {
        "type": "http",
        "method": "POST" if body else "GET",
        "path": path.decode("latin-1"),
        "query_string": query,
        "headers": [(b"host", host), (b"content-type", kind), (b"authorization", token)],
    }
    for service in _services():
        told = [{"type": "http.request", "body": body}]
        sent: list[dict[str, Any]] = []

        async def receive(told: list[Any] = told) -> dict[str, Any]:
            return told.pop() if told else {"type": "http.disconnect"}

        async def send(message: dict[str, Any], sent: list[Any] = sent) -> None:
            sent.append(message)

        asyncio.run(service(scope, receive, send))
        assert sent[0]["status"] < 500, sent
    if sent[0]["status"] >= 400:
        raise ConfigError(f"refused with {sent[0]['status']}")
