from __future__ import annotations

import io
import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT, open_link, photo, texts, turn_to
from PIL import Image

from ui import session

PAGES = ["about", "compare_models", "dataset_explorer", "explain", "predict", "training_curves"]
EXPLAIN, ABOUT, PREDICT = "explain", "about", "predict"


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "pages").glob("*.py")))
def test_every_page_is_in_the_menu_and_opens_without_tensorflow(page):
    """In a process of its own: other tests have long imported TensorFlow."""
    code = (
        "import sys; from streamlit.testing.v1 import AppTest; from pathlib import Path;"
        f"app = AppTest.from_file(Path('app.py').resolve(), default_timeout=60).run();"
        f"app.switch_page('pages/{page}').run();"
        "assert not app.exception, app.exception;"
        "heavy = {'tensorflow', 'keras', 'mtcnn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_the_menu_has_every_page_once_with_an_icon_that_nobody_fetches():
    """A page's own icon would be fetched from Google's servers for the browser's tab."""
    entry = (ROOT / "ui" / "menu.py").read_text(encoding="utf-8")
    pages = re.findall(r'"(\w+)": ":material/\w+: [A-Z][a-z ]+"', entry)
    assert sorted(pages) == PAGES
    assert sorted(path.stem for path in (ROOT / "pages").glob("*.py")) == PAGES
    assert "icon=" not in entry.replace("page_icon=", "")


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


def test_the_chosen_model_goes_with_the_visitor_and_stands_in_the_address(open_page, predictor):
    app = open_page()
    app.sidebar.selectbox(key="model").select("age_only").run()
    turn_to(app, EXPLAIN)
    assert app.sidebar.selectbox(key="model").value == "age_only"
    app.sidebar.selectbox(key="model").select("vggface").run()
    turn_to(app, PREDICT)
    assert app.sidebar.selectbox(key="model").value == "vggface"


@pytest.mark.parametrize("page", [PREDICT, EXPLAIN])
def test_a_link_names_the_model(open_page, predictor, page):
    app = open_link(page, model="age_only")
    assert not app.exception
    assert app.sidebar.selectbox(key="model").value == "age_only"
    app.run()
    app.sidebar.selectbox(key="model").select("vggface").run()
    assert app.sidebar.selectbox(key="model").value == "vggface"


def test_photos_go_with_the_visitor_until_they_are_forgotten(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(200, name="a.png"), photo(300, name="b.png")]).run()
    assert len(predictor.looks) == 2
    turn_to(app, ABOUT)
    turn_to(app, PREDICT)
    assert app.file_uploader(key="uploads").value == []
    words = texts(app)
    assert "Still here from before: `a.png`, `b.png`" in words
    assert "**2 faces found** in `a.png`" in words
    assert len(predictor.looks) == 2
    app.button(key="forget").click().run()
    assert "Still here" not in texts(app)
    assert "faces found" not in texts(app)
    assert len(app.session_state["analyses"]) == 0
    turn_to(app, ABOUT)
    turn_to(app, PREDICT)
    assert "Still here" not in texts(app)


def test_new_photos_come_before_those_of_before(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(200, name="a.png")]).run()
    turn_to(app, ABOUT)
    turn_to(app, PREDICT)
    app.file_uploader(key="uploads").set_value([photo(300, name="b.png"), photo(200, name="copy.png")]).run()
    assert app.dataframe[0].value["Photo"].unique().tolist() == ["b.png", "copy.png"]


def test_the_explanation_begins_with_the_photo_that_was_looked_at(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(60, name="a.png"), photo(61, name="b.png")]).run()
    app.selectbox(key="shown").set_value(1).run()
    turn_to(app, EXPLAIN)
    assert not app.exception
    assert "in `b.png`" in app.info[0].value
    app.selectbox(key="photo").select_index(0).run()
    assert "in `a.png`" in app.info[0].value


def test_a_snapshot_joins_the_photos_when_the_camera_is_put_away(open_page, predictor):
    app = open_page()
    app.session_state["source"] = ":material/photo_camera: Webcam"
    app.run()
    buffer = io.BytesIO()
    Image.new("RGB", (200, 120), (99, 99, 99)).save(buffer, "JPEG")
    app.camera_input(key="snapshot").set_value(("shot.jpg", buffer.getvalue(), "image/jpeg")).run()
    app.session_state["source"] = ":material/photo_library: Photo"
    app.run()
    assert "Still here from before: `snapshot.jpg`" in texts(app)
    assert "**2 faces found** in `snapshot.jpg`" in texts(app)


def test_the_example_is_shared_by_the_pages(open_page, predictor):
    app = open_page()
    app.toggle(key="example").set_value(True).run()
    turn_to(app, EXPLAIN)
    assert app.toggle(key="example").value is True
    app.toggle(key="example").set_value(False).run()
    turn_to(app, PREDICT)
    assert app.toggle(key="example").value is False


def test_visitors_do_not_see_each_other(open_page, predictor):
    first, second = open_page(), open_page()
    first.file_uploader(key="uploads").set_value([photo(200)]).run()
    first.sidebar.selectbox(key="model").select("age_only").run()
    turn_to(second, EXPLAIN)
    assert "Still here" not in texts(second)
    assert second.sidebar.selectbox(key="model").value == "vggface"


def test_privacy_words_say_how_long_photos_stay():
    assert "until you remove them, or close or reload this tab" in session.PRIVACY
