"""The HTTP interface for other programs beside the app, in one process."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from agegender.assets import EXAMPLE
from tests.app.driving import FakePredictor
from tools.app_in_browser import ROOT, serve
from ui.models import SharedPredictor, load_model

TOKEN = "0123456789abcdef"


def ask(address, body=None, **headers):
    """Status, content and headers of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(address, body, {"Content-Type": "image/jpeg"} | named)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read().decode(), response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


@pytest.mark.slow
def test_both_are_answered_by_one_process(tmp_path):
    photo = EXAMPLE.read_bytes()
    with serve(tmp_path, {"AGEGENDER_SERVE": "yes"}) as running:
        status, page, headers = ask(f"{running.address}/")
        assert (status, "<title>Streamlit</title>" in page) == (200, True)
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        status, text, headers = ask(f"{running.address}/v1/predict?min_face=20", photo)
        assert status == 200
        assert len(json.loads(text)["images"][0]["faces"]) > 3
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert json.loads(ask(f"{running.address}/v1/health")[1])["status"] == "ok"
        assert json.loads(ask(f"{running.address}/v1/models")[1])[0]["default"]
        assert "/v1/predict" in json.loads(ask(f"{running.address}/openapi.json")[1])["paths"]
        assert "Try it" in ask(f"{running.address}/v1/")[1]
        assert ask(f"{running.address}/v1/predict", b"words")[0] == 415
        assert ask(f"{running.address}/v1/predict", photo, host="evil.example")[0] == 403


@pytest.mark.slow
def test_others_need_a_token_and_without_one_it_does_not_start(tmp_path):
    reachable = ["--server.address", "0.0.0.0", "--server.allowedHosts", "faces.example.org"]
    (tmp_path / "token").write_text(TOKEN)
    environment = {"AGEGENDER_SERVE": "yes", "AGEGENDER_TOKEN_FILE": str(tmp_path / "token")}
    with serve(tmp_path, environment, reachable) as running:
        models = f"{running.address}/v1/models"
        assert ask(models)[0] == 401
        assert ask(models, authorization=f"Bearer {TOKEN}", host="faces.example.org")[0] == 200
    with pytest.raises(RuntimeError, match=r"others may reach 0\.0\.0\.0"):
        serve(tmp_path, {"AGEGENDER_SERVE": "yes"}, reachable).__enter__()


def test_without_being_asked_for_it_is_not_there():
    code = "import sys, ui.server as s; print(s.service_routes(), 'agegender.service' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "False"]


def test_other_programs_are_answered_by_the_model_of_the_visitors(predictor, monkeypatch):
    made = []

    class Counted(FakePredictor):
        def __init__(self, *model, **options):
            super().__init__(*model, **options)
            made.append(self)

        def predict(self, source, **options):
            return self, options

    monkeypatch.setattr("ui.models.Predictor", Counted)
    answered_by, options = SharedPredictor().predict(None, min_face=4)
    assert options == {"min_face": 4}
    assert load_model("vggface").predictor is answered_by
    assert made == [answered_by]
