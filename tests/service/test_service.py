"""The HTTP interface: a real server on a socket, with a fake model and with the real one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image

from agegender.__main__ import main
from agegender.assets import EXAMPLE
from agegender.faces import Face
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction
from agegender.service import application
from agegender.service.openapi import document

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef"


class FakePredictor:
    """One face; a red photo breaks it, and a green one waits until it may go on."""

    model = "fake"

    def __init__(self):
        self.go_on = threading.Event()
        self.options = {}

    def predict(self, source, **options):
        self.options = options
        red, green, _ = source[0, 0].tolist()
        if red > 200:
            raise RuntimeError("no such file: /srv/secret/model.tflite")
        if green > 200:
            assert self.go_on.wait(60)
        return [self.predict_chip_image(source)]

    def predict_chip_image(self, source):
        face = Face((1.0, 2.0, 30.04, 40.0), 0.98765, ((1.23, 2.0),) * 5)
        age, gender = AgeEstimate(31.2, 26.0, 37.1, 0.9), GenderEstimate("female", 0.97)
        return Prediction(face, np.zeros((200, 200, 3), np.uint8), age, gender, ("small face",))


@contextmanager
def serving(predictor, **options):
    """A server in a thread; yields a function that asks it."""
    app = application.build_app(predictor, **options)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]

        def ask(path, body=None, **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
            if body is not None and "content-type" not in map(str.lower, headers):
                request.add_header("Content-Type", "image/png")
            try:
                with urllib.request.urlopen(request) as response:
                    return response.status, response.read().decode(), response.headers
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode(), error.headers

        yield ask
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def photo(color=(9, 9, 9), size=(64, 48)):
    content = BytesIO()
    Image.new("RGB", size, color).save(content, "PNG")
    return content.getvalue()


def form(*files):
    parts = [
        b'--X\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n' % (name, data)
        for name, data in files
    ]
    return {"body": b"".join(parts) + b"--X--\r\n", "content_type": "multipart/form-data; boundary=X"}


def test_answers_and_refusals(monkeypatch, caplog):
    predictor = FakePredictor()
    face = predictor.predict_chip_image(None).to_dict()
    with serving(predictor) as ask:
        status, text, headers = ask("/v1/predict?min_face=40&min_confidence=0.5", photo())
        image = {"path": "", "width": 64, "height": 48, "error": None, "faces": [face]}
        assert (status, json.loads(text)) == (200, {"model": "fake", "images": [image]})
        assert headers["content-type"] == "application/json"
        assert predictor.options == {"min_face": 40, "min_confidence": 0.5}

        several = form((b"a.png", photo()), (b"b.txt", b"words"), (b"c.png", b""))
        status, text, _ = ask("/v1/predict?chips=true", **several)
        assert status == 200
        first, second, third = json.loads(text)["images"]
        assert first == image | {"path": "a.png"}
        assert second["path"] == "b.txt"
        assert second["error"].startswith("not a picture")
        assert (third["error"], third["faces"]) == ("the file is empty", [])

        refused = {
            "NotAnImageError": (415, b"words", ""),
            "EmptyImageError": (422, b"", ""),
            "TruncatedImageError": (422, photo()[:-20], ""),
            "ConfigError": (422, photo(), "?min_confidence=2"),
            "RuntimeError": (500, photo((255, 0, 0)), ""),
        }
        for kind, (status, body, query) in refused.items():
            found, text, _ = ask(f"/v1/predict{query}", body)
            assert (found, json.loads(text)["kind"]) == (status, kind)
            assert "/" not in text
        assert "secret" not in caplog.text
        assert ask("/v1/predict", b"{}", content_type="application/json")[0] == 415
        assert ask("/v1/predict", **form())[0] == 422
        monkeypatch.setattr(application, "MAX_BYTES", 3_000_000)
        assert ask("/v1/predict", bytes(12_000_000))[0] == 413  # and the sender is heard out

        for name, value in (("host", "evil.example"), ("origin", "http://evil.example"), ("origin", "null")):
            assert ask("/v1/predict", photo(), **{name: value})[0] == 403
        described = json.loads(ask("/openapi.json")[1])
        assert {"/v1/predict", "/v1/models", "/v1/health"} == set(described["paths"])
        assert set(described["components"]["schemas"]["Face"]["properties"]) == set(face)
        assert "http" not in ask("/")[1].replace("http-equiv", "")  # nothing from elsewhere
        assert json.loads(ask("/v1/models")[1])[0]["default"]


def answer(app, headers, query):
    """Asks an application about a form, with headers and a query that no client would let pass."""
    body = form((b"a.png", photo()))["body"]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "query_string": query,
        "headers": headers,
    }
    told = [{"type": "http.request", "body": body}]
    statuses = []

    async def receive():
        return told.pop() if told else {"type": "http.disconnect"}

    async def send(message):
        statuses.append(message.get("status"))

    asyncio.run(app(scope, receive, send))
    return statuses[0]


@pytest.mark.parametrize(
    ("host", "kind", "query", "status"),
    [
        (b"[::1", b"X", b"", 403),
        (b"[v1.x]", b"X", b"", 403),
        (b"\xff", b"X", b"", 403),
        (b"[::1]:9", b"X", b"\xff", 422),
        (b"localhost", b"X; charset=undefined", b"", 422),
        (b"localhost", b'"', b"", 422),
        (b"localhost:abc", b"X", b"&&=&chips=1", 422),
        (b"localhost:abc", b"X", b"&&&chips=1", 200),
    ],
)
def test_odd_requests_are_refused_in_words(host, kind, query, status):
    headers = [(b"host", host), (b"content-type", b"multipart/form-data; boundary=" + kind)]
    assert answer(application.build_app(FakePredictor()), headers, query) == status


def test_a_full_queue_says_when_to_come_again():
    predictor = FakePredictor()
    with serving(predictor, queue=3) as ask, ThreadPoolExecutor(8) as clients:
        waiting = [clients.submit(ask, "/v1/predict", photo((0, 255, 0))) for _ in range(3)]
        while json.loads(ask("/v1/health")[1])["requests"] < 3:
            pass
        status, text, headers = ask("/v1/predict", photo())
        assert (status, json.loads(text)["kind"]) == (503, "Busy")
        assert int(headers["retry-after"]) >= 1
        predictor.go_on.set()
        assert [answer.result()[0] for answer in waiting] == [200] * 3
        assert ask("/v1/predict", photo())[0] == 200
    with serving(predictor, max_held=1000) as ask:
        assert ask("/v1/predict", bytes(5000))[0] == 503
        assert ask("/v1/predict", photo())[0] == 200


def test_a_token_where_others_may_come(tmp_path, capsys):
    with serving(FakePredictor(), token=TOKEN) as ask:
        assert ask("/v1/predict", photo())[0] == 401
        assert ask("/v1/models", authorization="Bearer wrong")[0] == 401
        assert ask("/v1/predict", photo(), authorization=f"Bearer {TOKEN}", host="x.example")[0] == 200
        assert ask("/v1/health")[0] == 200
    (tmp_path / "token").write_text("short\n")
    for options in (["0.0.0.0"], ["::"], ["0.0.0.0", "--token-file", str(tmp_path / "token")]):
        assert main(["serve", "--port", "0", "--host", *options]) == 2
        assert "token" in capsys.readouterr().err


@pytest.mark.slow
def test_the_documented_clients_and_a_clean_end(tmp_path):
    text = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```(\w+)\n(.*?)```", text, re.S) if "127.0.0.1" in block[1]]
    shutil.copy(EXAMPLE, tmp_path / "photo.jpg")
    shutil.copy(EXAMPLE, tmp_path / "another.jpg")
    command = [sys.executable, "-m", "agegender", "serve", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://\S+", server.stderr.readline())[0]
        outputs = []
        for language, code in blocks:
            code = code.replace("http://127.0.0.1:8502", address)  # noqa: PLW2901
            run = ["sh", "-ec", code] if language == "sh" else [sys.executable, "-c", code]
            done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            outputs.append(done.stdout)
        one, two, words = outputs
        [image] = json.loads(one)["images"]
        assert len(image["faces"]) == len(words.splitlines()) > 3
        assert [found["path"] for found in json.loads(two)["images"]] == ["photo.jpg", "another.jpg"]
        maps = Path(f"/proc/{server.pid}/maps")
        if maps.exists():
            assert "tensorflow" not in maps.read_text()

        # A request that has begun is answered, although the end is asked for meanwhile.
        data = (tmp_path / "photo.jpg").read_bytes()
        asked = form(*[(b"p", data)] * 5)
        headers = {"Content-Type": asked["content_type"]}
        request = urllib.request.Request(f"{address}/v1/predict", asked["body"], headers)
        with ThreadPoolExecutor(1) as client:
            answer = client.submit(lambda: json.load(urllib.request.urlopen(request)))
            while not json.load(urllib.request.urlopen(f"{address}/v1/health"))["requests"]:
                pass
            server.send_signal(signal.SIGTERM)
            assert len(answer.result()["images"]) == 5
        told = server.stderr.read()
        assert server.wait(60) == 0
        assert told.splitlines() == ["ended"]
    finally:
        server.kill()
        server.wait()


def test_the_description_names_every_status_that_the_page_lists():
    text = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| (\d{3}) \|", text, re.M))
    described = set(document()["paths"]["/v1/predict"]["post"]["responses"])
    assert described == listed | {"200", "500"}
