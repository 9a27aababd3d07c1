from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT
from streamlit.testing.v1 import AppTest


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "pages").glob("*.py")))
def test_every_page_is_in_the_menu_and_opens_without_tensorflow(page):
    """In a process of its own: other tests have long imported TensorFlow."""
    code = (
        "import sys; from streamlit.testing.v1 import AppTest;"
        f"app = AppTest.from_file('app.py', default_timeout=60).run().switch_page('pages/{page}').run();"
        "assert not app.exception, app.exception;"
        "heavy = {'tensorflow', 'keras', 'mtcnn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


@pytest.mark.parametrize("page", ["dataset_explorer", "predict", "training_curves"])
def test_a_link_to_a_page_opens_it_within_the_app(page, monkeypatch):
    """Even where it is the first thing a fresh server is asked for, when Streamlit does not know the menu."""
    titles = []
    monkeypatch.setattr("streamlit.set_page_config", lambda **options: titles.append(options["page_title"]))
    app = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page(f"pages/{page}.py").run()
    assert not app.exception
    assert titles == [f"{page.replace('_', ' ').capitalize()} · Age and gender"]


def test_pages_are_thin():
    for path in [ROOT / "app.py", *(ROOT / "pages").glob("*.py")]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 110, path.name


def test_the_package_does_not_know_streamlit():
    for path in (ROOT / "agegender").rglob("*.py"):
        assert "import streamlit" not in path.read_text(encoding="utf-8"), path.name


def test_nothing_is_sent_and_nobody_is_asked_at_the_first_start():
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["browser"]["gatherUsageStats"] is False
    assert config["server"]["showEmailPrompt"] is False
    assert {"light", "dark"} <= config["theme"].keys()
