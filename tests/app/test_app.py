from __future__ import annotations

import io
import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT, photo, texts
from PIL import Image
from streamlit.testing.v1 import AppTest

from ui import session

PAGES = ["about", "compare_models", "dataset_explorer", "explain", "predict", "training_curves"]
EXPLAIN, ABOUT, PREDICT = "pages/explain.py", "pages/about.py", "pages/predict.py"


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


@pytest.mark.parametrize("page", PAGES)
def test_a_link_to_a_page_opens_it_within_the_app(page, monkeypatch):
    """Even where it is the first thing a fresh server is asked for, when Streamlit does not know the menu."""
    titles = []
    monkeypatch.setattr("streamlit.set_page_config", lambda **options: titles.append(options["page_title"]))
    app = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page(f"pages/{page}.py").run()
    assert not app.exception
    assert titles == [f"{page.replace('_', ' ').capitalize()} · Age and gender"]


def test_the_menu_has_every_page_once_with_an_icon_that_nobody_fetches():
    """A page's own icon would be fetched from Google's servers for the browser's tab."""
    entry = (ROOT / "app.py").read_text(encoding="utf-8")
    pages = re.findall(r'st\.Page\("pages/(\w+)\.py", title=":material/\w+: [A-Z][a-z ]+"', entry)
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
    assert "model" not in app.query_params
    app.sidebar.selectbox(key="model").select("age_only").run()
    assert app.query_params["model"] in ("age_only", ["age_only"])
    app.switch_page(EXPLAIN).run()
    assert app.sidebar.selectbox(key="explain_model").value == "age_only"
    app.sidebar.selectbox(key="explain_model").select("vggface").run()
    assert "model" not in app.query_params
    app.switch_page(PREDICT).run()
    assert app.sidebar.selectbox(key="model").value == "vggface"


@pytest.mark.parametrize(("page", "key"), [(PREDICT, "model"), (EXPLAIN, "explain_model")])
def test_a_link_names_the_model(open_page, predictor, page, key):
    app = AppTest.from_file(ROOT / "app.py", default_timeout=60)
    app.query_params["model"] = "age_only"
    app.switch_page(page).run()
    assert not app.exception
    assert app.sidebar.selectbox(key=key).value == "age_only"
    app.run()
    app.sidebar.selectbox(key=key).select("vggface").run()
    assert app.sidebar.selectbox(key=key).value == "vggface"


def test_photos_go_with_the_visitor_until_they_are_forgotten(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(200, name="a.png"), photo(300, name="b.png")]).run()
    assert len(predictor.looks) == 2
    app.switch_page(ABOUT).run()
    app.switch_page(PREDICT).run()
    assert app.file_uploader(key="uploads").value == []
    words = texts(app)
    assert "Still here from before: `a.png`, `b.png`" in words
    assert "**2 faces found** in `a.png`" in words
    assert len(predictor.looks) == 2
    app.button(key="_forget").click().run()
    assert "Still here" not in texts(app)
    assert "faces found" not in texts(app)
    assert len(app.session_state["analyses"]) == 0
    app.switch_page(ABOUT).run()
    app.switch_page(PREDICT).run()
    assert "Still here" not in texts(app)


def test_new_photos_come_before_those_of_before(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(200, name="a.png")]).run()
    app.switch_page(ABOUT).run()
    app.switch_page(PREDICT).run()
    app.file_uploader(key="uploads").set_value([photo(300, name="b.png"), photo(200, name="copy.png")]).run()
    assert app.dataframe[0].value["Photo"].unique().tolist() == ["b.png", "copy.png"]


def test_the_explanation_begins_with_the_photo_that_was_looked_at(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(60, name="a.png"), photo(61, name="b.png")]).run()
    app.selectbox(key="shown").set_value(1).run()
    app.switch_page(EXPLAIN).run()
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
    app.toggle(key="with_example").set_value(True).run()
    assert app.query_params["example"] in ("yes", ["yes"])
    app.switch_page(EXPLAIN).run()
    assert app.toggle(key="explain_with_example").value is True
    app.toggle(key="explain_with_example").set_value(False).run()
    app.switch_page(PREDICT).run()
    assert app.toggle(key="with_example").value is False


def test_visitors_do_not_see_each_other(open_page, predictor):
    first, second = open_page(), open_page()
    first.file_uploader(key="uploads").set_value([photo(200)]).run()
    first.sidebar.selectbox(key="model").select("age_only").run()
    second.switch_page(EXPLAIN).run()
    assert "Still here" not in texts(second)
    assert second.sidebar.selectbox(key="explain_model").value == "vggface"


def test_privacy_words_say_how_long_photos_stay():
    assert "until you remove them or close this tab" in session.PRIVACY


def linked_page():
    import streamlit as st

    from ui.state import linked

    options = st.session_state.get("options", ["a", "b", "c"])
    st.write(linked(st.selectbox, "Letter", options, name="letter", key="box", default="a"))


def test_a_choice_is_read_from_the_address_and_written_to_it():
    app = AppTest.from_function(linked_page)
    app.query_params["letter"] = "b"
    assert app.run().selectbox(key="box").value == "b"
    app.selectbox(key="box").select("c").run()
    assert app.query_params["letter"] in ("c", ["c"])
    app.run()  # the browser has the new address
    app.query_params["letter"] = "b"  # the visitor goes back in the browser
    assert app.run().selectbox(key="box").value == "b"
    app.selectbox(key="box").select("a").run()
    assert "letter" not in app.query_params
    app.selectbox(key="box").select("c").run()
    app.run()
    del app.query_params["letter"]  # back to where the address said nothing
    assert app.run().selectbox(key="box").value == "a"


def test_a_click_counts_more_than_an_address_that_has_not_caught_up(monkeypatch):
    app = AppTest.from_function(linked_page).run()
    app.selectbox(key="box").select("b").run()
    del app.query_params["letter"]  # the browser clicks again before it has the new address
    app.selectbox(key="box").select("c").run()
    assert app.selectbox(key="box").value == "c"
    assert app.query_params["letter"] in ("c", ["c"])
    app.query_params["letter"] = "b"  # and once more, with the address of the first click
    assert app.run().selectbox(key="box").value == "c"
    monkeypatch.setattr("ui.state._LAG", 0.0)
    app.query_params["letter"] = "b"  # an address that is still that one later on is meant
    assert app.run().selectbox(key="box").value == "b"


def test_a_choice_that_is_no_longer_there_falls_back():
    app = AppTest.from_function(linked_page).run()
    app.selectbox(key="box").select("c").run()
    app.session_state["options"] = ["a", "b"]
    app.run()
    assert not app.exception
    assert app.selectbox(key="box").value == "a"
