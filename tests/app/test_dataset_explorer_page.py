from __future__ import annotations

import os
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from agegender.audit.label_table import read_label_table
from agegender.audit.suspects import Predictions
from agegender.data.augment import Augmentation
from agegender.data.table import read_dataset
from agegender.errors import DatasetError
from agegender.labels import ETHNICITIES
from tests.app.driving import MODELS, FakePredictor, open_link, texts
from tests.conftest import PhotoDetector, make_chip, photo_around, write_chip, write_source
from ui import dataset, dataset_gallery

PAGE = "dataset_explorer"
SECTIONS = ["Distribution", "Browse", "Audit", "Augmentation", "Split"]


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def open_section(section: str, folder: object = "") -> AppTest:
    os.environ["UTKFACE_DIR"] = str(folder)  # taken back after the test, as conftest.clean does
    app = open_link(PAGE, section=section)
    assert not app.exception
    return app


def run_step(app: AppTest, key: str) -> AppTest:
    """Clicks the button and waits for the work beside the page."""
    app.button(key=key).click().run()
    job = dataset._jobs().current()
    if job is not None:
        job.join()
    return app.run()


@pytest.fixture
def gallery(monkeypatch):
    """The gallery, whose clicks AppTest cannot make: what it showed, and what to open next."""
    state = SimpleNamespace(shown=[], opened=None)

    def mount(*, key, data, on_opened_change):
        state.shown = data["faces"]
        opened, state.opened = state.opened, None
        return SimpleNamespace(opened=opened)

    monkeypatch.setattr(dataset_gallery, "_GALLERY", mount)
    return state


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_works_without_a_folder_and_says_how_to_get_one(section):
    app = open_section(section)
    assert not app.error
    assert "Labels without pictures" in app.info[0].value
    assert "https://susanqq.github.io/UTKFace/" in texts(app)
    assert all(chart.proto.alt for chart in app.get("plotly_chart"))


def test_without_a_folder_the_shipped_labels_are_drawn():
    app = open_section("Distribution")
    assert metrics(app)["Faces"] == f"{len(read_label_table()):,}"
    assert len(app.get("plotly_chart")) == 5


def test_without_a_folder_the_measured_audit_and_split_are_shown():
    assert metrics(open_section("Audit"))["Photos with copies"] == "853"
    split = metrics(open_section("Split"))
    assert split["Of these in two parts"] == "0"
    assert int(split["Leaked test faces"]) > 100


def test_a_folder_without_faces_is_named_and_the_labels_stand_in(tmp_path):
    app = open_section("Distribution", tmp_path)
    assert "the folder that this app was started with" in app.error[0].value
    assert str(tmp_path) not in texts(app)
    assert "unpack them" in texts(app)
    assert metrics(app)["Faces"] == f"{len(read_label_table()):,}"


def test_a_folder_of_faces_is_drawn_and_counted(fake_utkface):
    app = open_section("Distribution", fake_utkface)
    assert not app.error and not app.text_input
    assert len(app.get("plotly_chart")) == 5
    assert (metrics(app)["Faces"], metrics(app)["Skipped files"]) == ("120", "2")


def test_choices_narrow_every_chart_and_go_with_the_visitor(fake_utkface, gallery):
    app = open_section("Distribution", fake_utkface)
    app.selectbox(key="gender").select("female").run()
    assert metrics(app)["Faces"] == "60"
    app.slider(key="ages").set_range(20, 40).run()
    narrowed = metrics(app)
    assert 0 < int(narrowed["Faces"]) < 60
    low, high = map(int, narrowed["Ages"].split(" to "))
    assert 20 <= low <= high <= 40
    app.segmented_control(key="section").set_value("Browse").run()
    assert len(gallery.shown) == int(narrowed["Faces"])


def test_a_link_carries_section_and_choices(fake_utkface, monkeypatch):
    monkeypatch.setenv("UTKFACE_DIR", str(fake_utkface))
    app = open_link(PAGE, ages=["30", "50"], ethnicity="Asian", gender="nonsense")
    assert not app.exception
    assert app.slider(key="ages").value == (30, 50)
    assert app.selectbox(key="ethnicity").value == "Asian"
    assert app.selectbox(key="gender").value == "all"


def test_a_selection_of_nobody_says_what_to_do(fake_utkface):
    app = open_section("Distribution", fake_utkface)
    app.slider(key="ages").set_range(115, 116).run()
    assert not app.exception
    assert "No face has all of these" in app.info[0].value


def test_the_gallery_shows_a_page_of_faces_that_can_be_read(fake_utkface, gallery):
    app = open_section("Browse", fake_utkface)
    assert len(gallery.shown) == dataset_gallery.FACES_A_PAGE
    assert all(face["source"].startswith("data:image/jpeg;base64,") for face in gallery.shown)
    assert all("years" in face["label"] for face in gallery.shown)
    assert "120 of 120 faces" in texts(app)


def test_a_click_shows_a_face_with_its_labels_and_the_models_answer(fake_utkface, gallery, monkeypatch):
    monkeypatch.setattr("agegender.models.registry.list_models", lambda: MODELS)
    one = FakePredictor().answer_one(np.ones((200, 200, 3), dtype=np.uint8))
    asked = []

    class Answering(FakePredictor):
        def predict_chips(self, chips, *, margin=0):
            asked.append(chips.shape)
            return [one for _ in chips]

    monkeypatch.setattr("ui.models.Predictor", Answering)
    app = open_section("Browse", fake_utkface)
    assert not asked
    gallery.opened = gallery.shown[0]["row"]
    app.run()
    assert not app.exception
    assert (1, 200, 200, 3) in asked
    words = texts(app)
    assert "Looks about 31 (26–37)" in words
    assert "the label." in words
    assert "Perceived female, 97 %" in words
    app.button(key="to_augmentation").click().run()
    assert not app.exception
    assert app.session_state["section"] == "Augmentation"


def test_what_the_gallery_answers_is_not_trusted(fake_utkface, gallery):
    app = open_section("Browse", fake_utkface)
    gallery.opened = 100_000
    app.run()
    assert not app.exception


def test_names_are_checked_at_once_with_the_reason(tmp_path):
    for name in ("25_0_2_20170116174525125.jpg.chip.jpg", "25_0_20170116174525125.jpg.chip.jpg"):
        (tmp_path / name).write_bytes(b"")
    app = open_section("Audit", tmp_path)
    table = app.dataframe[0].value
    assert table["File"].tolist() == ["25_0_20170116174525125.jpg.chip.jpg"]
    assert "one label is missing" in table["What is wrong"][0]


def test_an_audit_shows_copies_split_and_findings(tmp_path, gallery):
    rng = np.random.default_rng(9)
    twice = make_chip(rng)
    write_chip(tmp_path / "20_0_0_20170116000000001.jpg.chip.jpg", twice)
    write_chip(tmp_path / "40_1_0_20170116000000002.jpg.chip.jpg", twice)
    for i in range(40):
        write_chip(tmp_path / f"{i}_0_0_20170117{i:09d}.jpg.chip.jpg", make_chip(rng))
    app = open_section("Audit", tmp_path)
    assert "Photos with copies" not in metrics(app)
    run_step(app, "audit_files")
    assert not app.exception
    assert metrics(app)["Photos with copies"] == "1"
    assert metrics(app)["Gender differs in"] == "100.0%"
    assert "20 years, male, White" in texts(app)
    assert "40 years, female, White" in texts(app)
    kinds = app.dataframe[0].value.set_index("What")["Files"]
    assert kinds["conflicting labels"] == 2
    assert "suspicious label" not in kinds
    assert app.button(key="audit_labels")

    app.segmented_control(key="section").set_value("Split").run()
    assert not app.exception
    assert metrics(app)["Of these in two parts"] == "0"

    app.segmented_control(key="section").set_value("Browse").run()
    app.selectbox(key="quality").select("conflicting labels").run()
    assert sorted(face["caption"] for face in gallery.shown) == ["20 · male", "40 · female"]


def test_suspicious_labels_are_shown_with_what_the_model_expects(fake_utkface, gallery, monkeypatch):
    app = run_step(open_section("Audit", fake_utkface), "audit_files")
    files = next(iter(dataset._audits().values())).faces
    ages = files["age"].to_numpy(np.float64)
    liar = int(np.argmax(ages))
    seen = np.where(np.arange(len(ages)) == liar, 1.0, ages)
    expected = Predictions(seen, np.maximum(seen - 4, 0), seen + 4, files["gender"].to_numpy(np.float64))
    monkeypatch.setattr("agegender.audit.steps.LEAST_FILES", 100)
    monkeypatch.setattr("agegender.audit.steps.predict_out_of_fold", lambda *_: expected)
    network = SimpleNamespace(frozen_features=lambda paths, faces, progress: np.zeros((len(paths), 1)))
    monkeypatch.setitem(sys.modules, "agegender.audit.frozen_features", network)  # no TensorFlow here
    run_step(app, "audit_labels")
    assert not app.exception
    assert [face["row"] for face in gallery.shown] == [liar]
    assert gallery.shown[0]["caption"] == f"{ages[liar]:.0f}, looks 1"
    assert app.dataframe[1].value.set_index("What")["Files"]["suspicious label"] == 1
    app.segmented_control(key="section").set_value("Browse").run()
    assert "most suspicious first" in app.selectbox(key="order").options


def test_too_few_files_to_doubt_labels_are_an_answer_not_a_crash(fake_utkface):
    app = run_step(open_section("Audit", fake_utkface), "audit_files")
    run_step(app, "audit_labels")
    assert not app.exception
    assert "120 files are too few" in app.error[0].value


def test_the_split_of_an_unknown_folder_has_to_be_audited(fake_utkface):
    app = open_section("Split", fake_utkface)
    assert not app.metric
    run_step(app, "split_files")
    assert not app.exception
    assert sum(int(metrics(app)[name]) for name in ("Train", "Validation", "Test")) == 120


def test_augmentation_follows_its_sliders_and_the_dice(fake_utkface, monkeypatch):
    made = []

    def preview(picture, size, augmentation, *, face, count, seed):
        assert face is None
        made.append((picture.shape, augmentation, seed))
        return [np.zeros((*size, 3), dtype=np.uint8)] * count

    monkeypatch.setattr("ui.augmentation.preview", preview)
    app = open_section("Augmentation", fake_utkface)
    assert made[-1] == ((200, 200, 3), Augmentation(), 0)
    app.slider(key="augmentation_covering").set_value(0.0).run()
    assert made[-1][1].erase == 0
    assert made[-1][1].rotation == Augmentation().rotation
    app.slider(key="augmentation_all").set_value(2.0).run()
    assert made[-1][1].rotation == pytest.approx(2 * Augmentation().rotation)
    app.button(key="other_draws").click().run()
    assert made[-1][2] == 1
    app.button(key="another_face").click().run()
    assert not app.exception


def test_an_unreadable_face_does_not_stop_augmentation(tmp_path):
    (tmp_path / "25_0_2_20170116174525125.jpg.chip.jpg").write_bytes(b"no picture")
    app = open_section("Augmentation", tmp_path)
    assert "cannot be read" in app.error[0].value


def test_no_visitor_names_a_folder_unless_the_app_was_started_for_it(fake_utkface, monkeypatch):
    app = open_section("Distribution")
    assert len(app.text_input) == 0
    app.session_state["folder"] = str(fake_utkface)  # forged
    app.run()
    assert metrics(app)["Faces"] == f"{len(read_label_table()):,}"
    monkeypatch.setenv("AGEGENDER_ANY_FOLDER", "yes")
    app.run()
    app.text_input(key="folder").set_value(str(fake_utkface)).run()
    assert metrics(app)["Faces"] == "120"


@pytest.mark.parametrize("typed", ["~nobody/pictures", "nul\0byte", "/proc/1/fd", "x" * 5000])
def test_whatever_is_typed_is_answered_and_a_folder_without_faces_is_walked_once(monkeypatch, typed):
    monkeypatch.setenv("AGEGENDER_ANY_FOLDER", "yes")
    walks = []
    monkeypatch.setattr(dataset, "read_dataset", lambda folder: walks.append(folder) or read_dataset(folder))
    app = open_section("Distribution")
    app.text_input(key="folder").set_value(typed).run()
    app.segmented_control(key="section").set_value("Audit").run()
    assert not app.exception
    assert "There is no dataset in" in app.error[0].value
    assert len(walks) == 1


@pytest.fixture
def two_sources(fake_utkface, tmp_path, monkeypatch):
    """UTKFace, and ten photos with ranges, eight of them for training, one in the dark."""
    rng = np.random.default_rng(6)
    photos = {f"train/{i}.jpg": photo_around(make_chip(rng), rng) for i in range(7)}
    photos |= {f"dev/{i}.jpg": photo_around(make_chip(rng), rng) for i in range(2)}
    photos["train/dark.jpg"] = np.zeros((300, 300, 3), np.uint8)
    write_source(tmp_path / "photos", photos)
    monkeypatch.setattr("agegender.data.landmarks.FaceDetector", PhotoDetector)
    monkeypatch.setattr(dataset, "load_detector", PhotoDetector)
    monkeypatch.setattr(dataset, "RUNS_DIR", tmp_path / "runs")
    return os.pathsep.join([str(fake_utkface), str(tmp_path / "photos")])


def test_several_sources_are_told_apart_and_ranges_drawn_as_such(two_sources, gallery):
    app = open_section("Distribution", two_sources)
    assert not app.error
    assert metrics(app)["Faces"] == "130"
    assert len(app.get("plotly_chart")) == 6
    assert "Hatched: 10 labelled by range (30–39)" in texts(app) + str(
        [chart.proto.alt for chart in app.get("plotly_chart")]
    )
    app.selectbox(key="source").select("photos").run()
    assert (metrics(app)["Faces"], metrics(app)["Ages"]) == ("10", "30 to 39")
    assert app.selectbox(key="ethnicity").options == ["all", *sorted({*ETHNICITIES, "Sami"}), "not given"]
    app.slider(key="ages").set_range(39, 60).run()
    assert metrics(app)["Faces"] == "10"
    app.selectbox(key="ethnicity").select("not given").run()
    assert metrics(app)["Faces"] == "4"
    app.segmented_control(key="section").set_value("Browse").run()
    assert {face["caption"] for face in gallery.shown} == {"30–39 · male", "30–39 · female"}
    assert not app.exception


def test_photos_are_audited_split_and_shown_with_their_faces(two_sources):
    app = run_step(open_section("Split", two_sources), "split_files")
    assert not app.exception
    assert metrics(app)["Dev"] == "2"
    assert sum(int(metrics(app)[name]) for name in ("Train", "Validation", "Test", "Dev")) == 130
    app.segmented_control(key="section").set_value("Audit").run()
    assert not app.exception
    assert app.dataframe[1].value.set_index("What")["Files"]["no face"] == 1
    app.segmented_control(key="section").set_value("Augmentation").run()
    assert not app.exception
    files = next(iter(dataset._audits().values())).faces["file"]
    for name, shown in (("dev/0.jpg", True), ("dark.jpg", False)):
        app.session_state["augmented file"] = next(file for file in files if file.endswith(name))
        app.run()
        assert not app.exception
        assert ("No face was found" in texts(app)) != shown


def test_a_list_of_labels_that_lacks_a_column_is_named_without_the_servers_folders(tmp_path):
    (tmp_path / "labels.csv").write_text("file,age\na.jpg,3\n")
    app = open_section("Distribution", tmp_path)
    assert "labels.csv has the columns age, file; it needs" in app.error[0].value
    assert str(tmp_path) not in texts(app)


def test_a_job_belongs_to_whoever_began_it_and_goes_one_at_a_time(fake_utkface, tmp_path, monkeypatch):
    go_on = threading.Event()

    def wait(folder, progress, *, cache):
        progress("Reading files", 1, 2)
        assert go_on.wait(60)
        raise DatasetError(f"{folder.folder / 'x.jpg'} cannot be read")

    monkeypatch.setattr(dataset, "audit_files", wait)
    mine = open_section("Split", fake_utkface)
    theirs = open_section("Split", fake_utkface)
    mine.button(key="split_files").click().run()
    assert mine.button(key="split_files_stop")
    theirs.run()
    assert "Reading files … 50%" in theirs.get("progress")[0].proto.text
    write_chip(tmp_path / "20_0_0_20170116000000001.jpg.chip.jpg", make_chip(np.random.default_rng(1)))
    elsewhere = open_section("Split", tmp_path)
    assert "Another folder is being audited" in elsewhere.info[-1].value
    assert not [button for app in (theirs, elsewhere) for button in app.button if "split_files" in button.key]
    os.environ["UTKFACE_DIR"] = str(fake_utkface)
    job = dataset._jobs().current()
    go_on.set()
    job.join()
    for app in (mine.run(), theirs.run()):  # the failure is remembered, without the server's folders
        assert app.error[0].value == "x.jpg cannot be read"


def test_reading_again_concerns_nobody_else_and_keeps_what_was_found(tmp_path):
    rng = np.random.default_rng(5)
    for i in range(3):
        write_chip(tmp_path / f"{i}_0_0_20170117{i:09d}.jpg.chip.jpg", make_chip(rng))
    mine, theirs = open_section("Split", tmp_path), open_section("Split", tmp_path)
    run_step(mine, "split_files")
    mine.button(key="reread").click().run()
    assert metrics(mine)["Photos with copies"] == metrics(theirs.run())["Photos with copies"] == "0"
    write_chip(tmp_path / "4_0_0_20170117000000004.jpg.chip.jpg", make_chip(rng))
    mine.button(key="reread").click().run()
    assert not mine.metric  # its own files, not audited yet
    assert metrics(theirs.run())["Photos with copies"] == "0"
