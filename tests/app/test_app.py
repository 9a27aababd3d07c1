from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
import threading
import tomllib

import pytest
from PIL import Image

from agegender.images import IMAGE_SUFFIXES
from tests.app.driving import ROOT, open_link, photo, texts, turn_to
from ui import session
from ui.photos import Turns
from ui.widgets import without_paths

PAGES = [
    "about",
    "compare_models",
    "dataset_explorer",
    "explain",
    "live",
    "predict",
    "training_curves",
    "video",
]
EXPLAIN, ABOUT, PREDICT = "explain", "about", "predict"


OPENING = """
import sys
from pathlib import Path
from streamlit.testing.v1 import AppTest

def check(app, what):
    assert not app.exception, (what, app.exception)
    assert not {"tensorflow", "keras", "mtcnn"} & set(sys.modules), what

import app as server
assert server.app
assert "agegender" not in sys.modules
app = AppTest.from_file(Path("ui/menu.py").resolve(), default_timeout=60)
app.query_params["example"] = "true"
check(app.run(), "example")
assert sum("looks about" in words.value for words in app.markdown) >= 5
assert not {"pandas", "pyarrow"} & set(sys.modules)
check(app := AppTest.from_file(Path("app.py").resolve(), default_timeout=60).run(), "start")
for page in sorted(Path("pages").glob("*.py")):
    check(app.switch_page(f"pages/{page.name}").run(), page)
"""


def test_every_page_opens_and_the_first_answer_comes_without_tensorflow():
    """In a process of its own: other tests have long imported TensorFlow.

    Nor does anybody wait for pandas before the first answer, or for the package before the app is served.
    """
    subprocess.run([sys.executable, "-c", OPENING], cwd=ROOT, check=True, timeout=240)


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


def test_two_hundred_photos_go_with_the_visitor_too(open_page, predictor):
    app = open_page()
    uploads = [photo(40, 41 + index, name=f"{index}.png") for index in range(200)]
    app.file_uploader(key="uploads").set_value(uploads).run()
    turn_to(app, ABOUT)
    turn_to(app, PREDICT)
    assert "`4.png` and 195 more" in texts(app)
    app.button(key="forget").click().run()
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


def test_the_uploader_takes_what_the_reader_reads_and_phones_keep_their_photo_picker(open_page, predictor):
    types = session.accepted_types("Mozilla/5.0 (X11; Linux x86_64)")
    known = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
    assert {f".{name}" for name in types[1:]} == IMAGE_SUFFIXES - known
    assert types[0] == "image"
    assert {"heic", "hif"} <= set(types)
    for phone in (
        "Mozilla/5.0 (Linux; Android 16)",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X)",
    ):
        assert session.accepted_types(phone) == ["image", "heic", "heif"]
    app = open_page()
    canon = ("IMG_1.HIF", photo(200)[1], "application/octet-stream")
    app.file_uploader(key="uploads").set_value([canon]).run()
    assert "**2 faces found** in `IMG_1.HIF`" in texts(app)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (f"{ROOT}/weights/mine/card.json cannot be read", "weights/mine/card.json cannot be read"),
        ("no weights in /srv/some place/weights; train", "no weights in some place/weights; train"),
        ("'/etc/passwd' and C:\\Users\\ada\\x.jpg: damaged", "'passwd' and x.jpg: damaged"),
        ("see https://example.org/a/b, 3/4 of and/or", "see https://example.org/a/b, 3/4 of and/or"),
    ],
)
def test_messages_name_no_folder_of_the_server(message, shown):
    assert without_paths(message) == shown


def test_turns_are_taken_in_order_and_whoever_gives_up_holds_nobody_up(monkeypatch):
    monkeypatch.setattr("ui.photos._LOOK_SECONDS", 0.01)
    turns, order, waiting = Turns(1), [], {}
    begin, came = threading.Event(), [threading.Event() for _ in range(3)]

    def visitor(number: int) -> None:
        def wait(before: int) -> None:
            waiting.setdefault(number, before)
            came[number].set()
            if number == 1 and begin.is_set():
                raise RuntimeError("the visitor left")

        with contextlib.suppress(RuntimeError), turns.take(wait):
            order.append(number)

    with turns.take(lambda before: None):
        threads = []
        for number in range(3):
            threads.append(threading.Thread(target=visitor, args=(number,)))
            threads[-1].start()
            assert came[number].wait(10)
        begin.set()
        threads[1].join(10)
    for thread in threads:
        thread.join(10)
    assert order == [0, 2]
    assert waiting == {0: 1, 1: 2, 2: 3}
    with turns.take(lambda before: None):
        pass
