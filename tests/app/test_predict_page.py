from __future__ import annotations

import io
import zipfile

import numpy as np
import skimage.data
from PIL import Image

from tests.app.driving import photo, texts
from ui.photos import Analysis, Found, Photo, Settings, annotated_png, annotated_zip, blurred_png, records


def test_first_paint_says_what_it_is_and_runs_nothing(open_page, predictor):
    app = open_page()
    assert not app.exception
    words = texts(app)
    assert "a model that learnt from labelled photos" in words
    assert "Nothing is stored" in words
    assert predictor.looks == []
    assert len(app.get("image")) == 0


def test_sidebar_offers_trained_models_with_their_measured_error(open_page, predictor):
    app = open_page()
    picker = app.sidebar.selectbox(key="model")
    assert picker.options == ["vggface", "age_only"]
    assert picker.value == "vggface"
    assert "4.6 years" in app.sidebar.caption[0].value
    assert "94 %" in app.sidebar.caption[0].value
    picker.select("age_only").run()
    assert "5.0 years" in app.sidebar.caption[0].value
    assert "gender" not in app.sidebar.caption[0].value


def test_without_any_trained_model_the_page_says_what_to_do(open_page, predictor, monkeypatch):
    monkeypatch.setattr("agegender.models.registry.list_models", lambda: [])
    app = open_page()
    assert not app.exception
    assert "train.py" in app.error[0].value
    app.file_uploader(key="uploads").set_value([photo(300)]).run()
    assert not app.exception
    assert predictor.looks == []


def test_every_face_gets_a_card(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(300)]).run()
    assert not app.exception
    words = texts(app)
    assert "**3 faces found** in `photo.png`" in words
    assert words.count("looks about 31 (26–37)") == 3
    assert words.count("perceived female, 97 %") == 3
    assert words.count("small face") == 1
    assert texts(app).count("Looks about 31; the shaded interval goes from 26 to 37 years. Perceived") == 3
    assert [button.label for button in app.get("download_button")] == ["Annotated photo", "CSV", "JSON"]


def test_faces_can_be_blurred_in_what_is_downloaded(open_page, predictor):
    app = open_page()
    app = app.file_uploader(key="uploads").set_value([photo(100)]).run()
    assert "stays visible" not in texts(app)
    app = app.toggle(key="blur").set_value(True).run()
    assert not app.exception
    assert "A face that was not found stays visible" in texts(app)
    noise = np.random.default_rng(1).integers(0, 256, (120, 100, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    settings = Settings("vggface", 0, 0.9)
    analysis = Analysis(Found((100, 120), tuple(face for face, _ in predictor().find_faces(noise))), settings)
    clear, blurred = (
        np.asarray(Image.open(io.BytesIO(draw(Photo("a.png", buffer.getvalue()), analysis))))
        for draw in (annotated_png, blurred_png)
    )
    assert (clear == noise).all()
    inside = blurred[12:58, 2:48].astype(int)
    assert np.abs(np.diff(inside, axis=1)).mean() < 10
    assert (blurred[90:] == noise[90:]).all()


def test_a_model_without_distribution_and_gender_shows_an_interval_alone(open_page, predictor):
    app = open_page()
    app.sidebar.selectbox(key="model").select("age_only")
    app.file_uploader(key="uploads").set_value([photo(100)]).run()
    assert not app.exception
    assert "looks about 31 (26–37)" in texts(app)
    assert "perceived" not in texts(app).replace("gender it is perceived as", "")
    assert texts(app).endswith("the shaded interval goes from 26 to 37 years.")


def test_no_face_is_a_friendly_sentence(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(60)]).run()
    assert not app.exception
    assert not app.error
    assert "No face found" in app.info[0].value


def test_a_broken_photo_is_named_and_the_others_are_shown(open_page, predictor):
    app = open_page()
    broken = ("holiday.jpg", b"\xff\xd8\xff\xe0 this is no picture", "image/jpeg")
    app.file_uploader(key="uploads").set_value([broken, photo(200, name="good.png")]).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "`holiday.jpg` cannot be used: " in app.error[0].value
    assert "**2 faces found** in `good.png`" in texts(app)
    table = app.dataframe[0].value
    assert table["Photo"].tolist() == ["holiday.jpg", "good.png", "good.png"]
    assert table["Looks about"].tolist()[1:] == ["31 (26–37)", "31 (26–37)"]


def test_only_broken_photos_leave_a_page_without_pictures(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([("a.jpg", b"", "image/jpeg")]).run()
    assert not app.exception
    assert len(app.error) == 1
    assert len(app.get("image")) == 0


def test_a_file_name_cannot_smuggle_in_a_picture(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(100, name="![x](http://example.org/`x.png)")]).run()
    assert "`![x](http://example.org/’x.png)`" in texts(app)


def test_several_photos_share_a_table_and_can_be_looked_at_in_turn(open_page, predictor):
    app = open_page()
    uploads = [photo(100, name="a.png"), photo(300, name="b.png"), photo(50, name="c.png")]
    app.file_uploader(key="uploads").set_value(uploads).run()
    table = app.dataframe[0].value
    assert table["Photo"].tolist() == ["a.png", "b.png", "b.png", "b.png", "c.png"]
    assert table["Notes"].tolist()[-1] == "no face found"
    assert [button.label for button in app.get("download_button")] == ["Annotated photos", "CSV", "JSON"]
    assert "**1 face found** in `a.png`" in texts(app)
    app.selectbox(key="shown").set_value(1).run()
    assert "**3 faces found** in `b.png`" in texts(app)


def test_moving_another_widget_does_not_predict_again(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(200, name="a.png"), photo(300, name="b.png")]).run()
    assert predictor.looks == [(200, 120), (300, 120)]
    app.selectbox(key="shown").set_value(1).run()
    app.toggle(key="example").set_value(True).run()
    assert predictor.looks == [(200, 120), (300, 120), (1600, 858)]
    app.sidebar.slider(key="min_face").set_value(60).run()
    assert len(predictor.looks) == 6
    app.sidebar.slider(key="min_face").set_value(0).run()
    assert len(predictor.looks) == 6


def test_the_same_photo_under_another_name_is_known(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(200, name="a.png")]).run()
    app.file_uploader(key="uploads").set_value([photo(200, name="b.png")]).run()
    assert len(predictor.looks) == 1
    assert "in `b.png`" in texts(app)


def test_a_session_remembers_a_bounded_number_of_results(open_page, predictor, monkeypatch):
    monkeypatch.setattr("ui.photos._REMEMBERED", 10)
    monkeypatch.setattr("ui.photos._MOST_CHIPS", 3)
    app = open_page()
    uploads = [photo(100, 100 + index, name=f"{index}.png") for index in range(20)]
    app.file_uploader(key="uploads").set_value(uploads).run()
    assert not app.exception
    assert len(predictor.looks) == 20
    assert len(app.session_state["analyses"]) == len(app.session_state["found"]) == 10
    assert len(app.session_state["chips"]) == 3
    assert len(app.session_state["pictures"]) == 2
    assert all(not p.chip.size for a in app.session_state["analyses"].values() for p in a.predictions)
    app.selectbox(key="shown").set_value(15).run()  # whose chip is forgotten, and cut out again
    assert not app.exception
    assert "Face 1, cut out of the photo" in texts(app)


def test_a_photo_that_is_taken_back_is_forgotten(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(100, 100 + index) for index in range(3)]).run()
    assert len(app.session_state["analyses"]) == 3
    app.file_uploader(key="uploads").set_value([photo(100, 100)]).run()
    assert len(app.session_state["analyses"]) == 1


def test_many_photos_are_looked_at_a_page_at_a_time(open_page, predictor):
    app = open_page()
    uploads = [photo(100, 100 + index, name=f"{index}.png") for index in range(33)]
    app.file_uploader(key="uploads").set_value(uploads).run()
    assert len(predictor.looks) == 30
    assert "Photos 1 to 30 of 33" in texts(app)
    app.pagination(key="photos_page").select(2).run()
    assert len(predictor.looks) == 33
    assert app.dataframe[0].value["Photo"].tolist() == ["30.png", "31.png", "32.png"]


def test_a_crowd_is_shown_a_page_at_a_time(open_page, predictor):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(3000)]).run()
    captions = [caption.value for caption in app.caption]
    assert "Face 24" in captions
    assert "Face 25" not in captions
    app.pagination[0].select(2).run()
    captions = [caption.value for caption in app.caption]
    assert "Face 30" in captions
    assert "Face 24" not in captions


def test_the_example_is_credited(open_page, predictor):
    app = open_page()
    app.toggle(key="example").set_value(True).run()
    assert not app.exception
    assert "**16 faces found** in `example.jpg`" in texts(app)
    assert "Elidealista (CC0)" in texts(app)


def test_a_snapshot_is_predicted_and_the_camera_is_left_alone_before(open_page, predictor):
    app = open_page()
    assert len(app.camera_input) == 0
    app.session_state["source"] = ":material/photo_camera: Webcam"
    app.run()
    buffer = io.BytesIO()
    Image.new("RGB", (200, 120), (99, 99, 99)).save(buffer, "JPEG")
    app.camera_input(key="snapshot").set_value(("shot.jpg", buffer.getvalue(), "image/jpeg")).run()
    assert not app.exception
    assert "**2 faces found** in `snapshot.jpg`" in texts(app)


def test_missing_weights_are_a_message(open_page, predictor, monkeypatch):
    from agegender.errors import WeightsNotFoundError

    def refuse(self, chips):
        raise WeightsNotFoundError("model 'vggface' has no trained weights in weights/vggface")

    monkeypatch.setattr(predictor, "predict_chips", refuse)
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(100)]).run()
    assert not app.exception
    assert "no trained weights" in app.error[0].value


def test_all_visitors_share_one_predictor(open_page, predictor, monkeypatch):
    built = []
    monkeypatch.setattr(
        predictor, "__init__", lambda self, model, **_: built.append(model) or setattr(self, "model", model)
    )
    for _ in range(2):
        open_page().file_uploader(key="uploads").set_value([photo(100)]).run()
    assert built == ["vggface"]


def test_downloads_hold_every_readable_photo(predictor):
    names = ["a.png", "b.png", "a.jpg", "a (2).png", "A.png", "x/a.png", "x\\a.png"]
    photos = [Photo(name, b"" if name == "b.png" else photo(100)[1]) for name in names]
    faces = tuple(predictor().predict_faces(predictor().find_faces(np.ones((120, 100, 3), dtype=np.uint8))))
    settings = Settings("vggface", 0, 0.9)
    seen = Analysis(Found((100, 120)), settings, faces)
    analyses = [seen if p.data else Analysis(Found(None, error="no bytes"), settings) for p in photos]
    with zipfile.ZipFile(io.BytesIO(annotated_zip(photos, analyses))) as archive:
        packed = archive.namelist()
        assert Image.open(io.BytesIO(archive.read(packed[0]))).size == (100, 120)
    assert len({name.casefold() for name in packed}) == len(packed) == 6
    assert not any(separator in name for name in packed for separator in "/\\")
    assert packed[0] == "a.annotated.png" and all(name.endswith(".png") for name in packed)
    drawn = np.asarray(Image.open(io.BytesIO(annotated_png(photos[0], seen))))
    assert drawn.shape == (120, 100, 3)
    assert (drawn != 120).any()
    assert [record["error"] for record in records(photos, analyses)] == [None, "no bytes", *[None] * 5]


def test_real_weights_on_a_real_face(open_page):
    """Eileen Collins was 35 or 36; nobody takes her for a child or for a man."""
    buffer = io.BytesIO()
    Image.fromarray(skimage.data.astronaut()).save(buffer, "PNG")
    app = open_page()
    app.file_uploader(key="uploads").set_value([("astronaut.png", buffer.getvalue(), "image/png")])
    app.run(timeout=120)
    assert not app.exception
    words = texts(app)
    assert "**1 face found** in `astronaut.png`" in words
    assert "perceived female" in words
    age = int(words.split("looks about ")[1].split()[0].rstrip("*"))
    assert 25 <= age <= 50
