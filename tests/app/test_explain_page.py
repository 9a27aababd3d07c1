from __future__ import annotations

import threading
from typing import ClassVar

import numpy as np
import pytest

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.explain import ContributionMap
from agegender.prediction import AgeEstimate, GenderEstimate
from tests.app.driving import FakePredictor, open_link, photo, texts

PAGE = "explain"


class Answering(FakePredictor):
    """Answers for chips, too: the brighter, the older."""

    asked: ClassVar[list[int]] = []

    def predict_chips(self, chips: np.ndarray, *, margin=0) -> list:
        self.asked.append(len(chips))
        return [self._answer(float(chip.mean())) for chip in chips]

    def _answer(self, brightness: float) -> tuple:
        years = brightness / 3
        age = AgeEstimate(years, years - 5, years + 5, 0.9)
        return age, GenderEstimate("female", 0.9) if self.model == "vggface" else None


class FakeMapper:
    """Everything comes from the middle."""

    def __init__(self, refuses: tuple[str, ...] = ()) -> None:
        self.refuses, self.calls = refuses, 0

    def explain(self, chip: np.ndarray, task: str) -> ContributionMap:
        if task in self.refuses:
            raise ModelError("model 'x' has no network that leads from a convolutional map to it")
        self.calls += 1
        values = np.zeros((9, 9))
        values[4, 4] = 3.0
        return ContributionMap(task, values, 38.2, 35.4, "conv")


@pytest.fixture
def model(predictor, monkeypatch) -> type[Answering]:
    monkeypatch.setattr("ui.models.Predictor", Answering)
    monkeypatch.setattr(Answering, "asked", [])
    return Answering


@pytest.fixture
def mapper(model, monkeypatch) -> FakeMapper:
    fake = FakeMapper()
    monkeypatch.setattr("ui.models.LoadedModel.mapper", fake)
    return fake


@pytest.fixture
def explained(open_page, mapper):
    """The page with a photo of three faces, whose explanation begins."""
    app = open_page(PAGE)
    app.file_uploader(key="uploads").set_value([photo(300)]).run()
    assert not app.exception
    return app


def charts_of(app) -> list[str]:
    return [chart.proto.alt for chart in app.get("plotly_chart")]


def test_an_empty_page_says_what_to_do_and_runs_nothing(open_page, model):
    app = open_page(PAGE)
    assert not app.exception
    assert "switch the example on" in app.info[0].value
    assert "Nothing is stored" in texts(app)
    assert model.looks == [] and model.asked == []


def test_a_face_is_explained(explained, mapper, model):
    words = texts(explained)
    assert "looks about 31 (26–37)" in words
    assert "To an empty grey picture the model says 35 years. This face adds +3 and comes to 38." in words
    assert "The age moves by at most" in words
    assert "The perceived gender stays the same." in words
    assert "what it does not prove" in words
    alts = charts_of(explained)
    assert len(alts) == 5  # distribution, two maps, two of stability
    assert all(alts)
    assert any("the nose" in alt for alt in alts)
    assert mapper.calls == 2
    assert model.asked == [1, 10]  # the warm-up, and all versions at once


def test_covering_is_done_when_asked_and_remembered(explained, model):
    assert 100 not in np.cumsum(model.asked)
    explained.button(key="occlude").click().run()
    assert not explained.exception
    assert sum(model.asked[2:]) == 101
    assert len(charts_of(explained)) == 7
    assert any("Most depends on" in alt for alt in charts_of(explained))
    explained.run()
    assert len(charts_of(explained)) == 7
    assert sum(model.asked[2:]) == 101


def test_another_face_is_explained_anew_and_the_first_is_remembered(explained, mapper):
    explained.pills(key="face").set_value("3").run()
    assert mapper.calls == 4
    explained.pills(key="face").set_value("1").run()
    assert mapper.calls == 4


def test_a_session_remembers_a_bounded_number_of_faces(open_page, mapper):
    app = open_page(PAGE)
    app.file_uploader(key="uploads").set_value([photo(900)]).run()
    for number in range(1, 10):
        app.pills(key="face").set_value(str(number)).run()
    assert len(app.session_state["explanations"]) == 6


def test_a_link_opens_the_example_at_a_face(open_page, mapper):
    app = open_link(PAGE, example="true", face="2")
    assert not app.exception
    assert app.pills(key="face").value == "2"
    assert "Elidealista" in texts(app)


def test_what_a_link_asks_for_and_is_not_there_is_left_out(open_page, mapper):
    app = open_link(PAGE, example="true", face="99", model="nobody")
    assert not app.exception
    assert app.pills(key="face").value == "1"
    assert app.sidebar.selectbox(key="model").value == "vggface"


def test_a_model_without_a_map_is_explained_by_the_other_ways(open_page, model, monkeypatch):
    monkeypatch.setattr("ui.models.LoadedModel.mapper", FakeMapper(("age", "gender")))
    app = open_page(PAGE)
    app.file_uploader(key="uploads").set_value([photo(100)]).run()
    assert not app.exception
    assert "has no network that leads from" in app.info[0].value
    assert len(charts_of(app)) == 3
    app.button(key="occlude").click().run()
    assert len(charts_of(app)) == 5


def test_a_model_that_says_one_number_has_no_distribution(explained):
    explained.sidebar.selectbox(key="model").select("age_only").run()
    assert not explained.exception
    assert "says a single number" in texts(explained)
    assert not any("robability of female" in alt for alt in charts_of(explained))


def test_no_face_is_a_friendly_sentence(open_page, mapper):
    app = open_page(PAGE)
    app.file_uploader(key="uploads").set_value([photo(60)]).run()
    assert not app.exception
    assert "No face found" in app.info[0].value


def test_a_broken_photo_is_named(open_page, mapper):
    app = open_page(PAGE)
    app.file_uploader(key="uploads").set_value([("a.jpg", b"", "image/jpeg")]).run()
    assert not app.exception
    assert "`a.jpg` cannot be used" in app.error[0].value


def test_missing_weights_are_a_message(open_page, mapper, model, monkeypatch):
    def refuse(self, chips):
        raise WeightsNotFoundError("model 'vggface' has no trained weights in weights/vggface")

    monkeypatch.setattr(model, "predict_chips", refuse)
    app = open_page(PAGE)
    app.file_uploader(key="uploads").set_value([photo(100)]).run()
    assert not app.exception
    assert "no trained weights" in app.error[0].value


def test_a_photo_that_is_taken_back_leaves_nothing_behind(explained):
    assert len(explained.session_state["explanations"]) == 1
    explained.file_uploader(key="uploads").set_value([]).run()
    assert not explained.exception
    assert len(explained.session_state["explanations"]) == 0
    assert len(explained.session_state["analyses"]) == 0


def test_real_weights_explain_the_example(open_page):
    app = open_link(PAGE, example="true", face="6")
    assert not app.exception
    assert len(charts_of(app)) == 5
    assert "perceived female" in texts(app)
    app.button(key="occlude").click().run(timeout=240)
    assert not app.exception
    assert len(charts_of(app)) == 7
    assert threading.active_count() < 100
