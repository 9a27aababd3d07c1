from __future__ import annotations

import copy
import json
from typing import Any, ClassVar

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from agegender.errors import ModelError, WeightsNotFoundError
from agegender.prediction import AgeEstimate, GenderEstimate
from agegender.reports.comparison import compare_models
from tests.app.driving import ROOT, FakePredictor, open_link, photo, texts, turn_to
from ui.models import LoadedModels

PAGE = "compare_models"
CHARTS = ("Age error in years against", "Age error in years by labelled age", "Age error in years by group")

AGES = {"vggface": 31.2, "vgg16-multitask": 40.0, "scratch-cnn": 25.0}


class Answering(FakePredictor):
    """Each model has its own answer for every face, and notes what it was asked."""

    asked: ClassVar[list[str]] = []
    broken: ClassVar[set[str]] = set()

    def predict_chips(self, chips: np.ndarray, *, margin=0) -> list:
        if self.model in self.broken:
            raise WeightsNotFoundError(f"model {self.model!r} has no trained weights in {ROOT}/weights")
        return []

    def predict_faces(self, found: list) -> list:
        self.asked.append(self.model)
        return super().predict_faces(found)

    def answer_one(self, chip: np.ndarray) -> tuple:
        years = AGES[self.model]
        label = "male" if self.model == "scratch-cnn" else "female"
        return AgeEstimate(years, years - 5, years + 5, 0.9), GenderEstimate(label, 0.97)


def measured(found: dict, name: str, factor: float) -> None:
    """Gives a model that is not trained the figures of the one that is, times a factor."""
    ours, other = found["models"][0], next(e for e in found["models"] if e["name"] == name)
    parts = ("mae", "cs5", "gender_accuracy", "by_band", "by_gender", "by_ethnicity", "training", "megabytes")
    other |= copy.deepcopy({part: ours[part] for part in parts}) | {"trained": True, "same_split": True}
    other |= {"mae": ours["mae"] * factor, "ms_per_face": 9.0 * factor}


@pytest.fixture
def comparison(monkeypatch) -> dict[str, Any]:
    """The comparison the page reads, to be changed before it is opened: three models are trained."""
    found = copy.deepcopy(compare_models())
    for entry in found["models"][1:]:
        entry |= {"trained": False, "mae": None, "gender_accuracy": None, "ranges": None, "reliability": []}
    for name, factor in (("vgg16-multitask", 1.5), ("scratch-cnn", 2.0)):
        measured(found, name, factor)
    found["models"][0]["adults"] = {"n": 1000, "mae": 3.5, "gender_accuracy": 0.95}
    confusion = {"accuracy": 1.0, "within_one": 1.0, "confusion": np.eye(9, dtype=int).tolist()}
    found["models"][0]["ranges"] = confusion | {"own_answer": False}
    found["models"][0]["reliability"] = [
        {"low": 0.5, "high": 0.6, "n": 4, "confidence": 0.55, "accuracy": 0.5}
    ]
    monkeypatch.setattr("ui.compare.compare_models", lambda: found)
    return found


@pytest.fixture
def models(predictor, comparison, monkeypatch) -> type[Answering]:
    monkeypatch.setattr("ui.models.Predictor", Answering)
    monkeypatch.setattr(Answering, "asked", [])
    monkeypatch.setattr(Answering, "broken", set())
    return Answering


@pytest.fixture
def page(open_page, models) -> AppTest:
    app = open_page(PAGE)
    assert not app.exception
    return app


@pytest.fixture
def asked(page) -> AppTest:
    """Every model was asked about a photo of three faces."""
    page.file_uploader(key="uploads").set_value([photo(300)]).run()
    page.button(key="ask_all").click().run()
    assert not page.exception
    return page


def charts_of(app: AppTest) -> list[str]:
    return [chart.proto.alt for chart in app.get("plotly_chart")]


def test_the_leaderboard_has_every_system_the_best_first(page, comparison):
    table = page.dataframe[0].value
    names = table["name"].tolist()
    assert names[:3] == ["vggface", "vgg16-multitask", "scratch-cnn"]
    assert table["kind"].tolist()[:3] == ["ours"] * 3
    assert table["gender_accuracy"].iloc[0] == pytest.approx(100 * comparison["models"][0]["gender_accuracy"])
    waiting = table[table["kind"] == "not trained yet"]
    assert set(waiting["name"]) == {e["name"] for e in comparison["models"] if not e["trained"]}
    assert waiting["mae"].isna().all()
    assert table["adults"].iloc[0] == 3.5
    assert all(name.endswith(" (rival)") for name in table[table["kind"] == "rival"]["name"])


def test_what_is_not_trained_says_how(page):
    commands = "\n".join(code.value for code in page.expander[0].code)
    assert "python train.py --recipe age-range" in commands


def test_published_figures_stand_apart_with_the_difference(page, comparison):
    assert "Their words, on another split" in texts(page)
    table = page.dataframe[2].value.set_index("name")
    mivolo = next(figure for figure in comparison["published"] if figure["name"].startswith("MiVOLO"))
    assert table.loc[mivolo["name"], ["ages", "ours"]].tolist() == ["21 to 60", 3.5]
    branches = next(figure for figure in comparison["published"] if figure["name"].startswith("Two-branch"))
    assert table.loc[branches["name"], ["ages", "against"]].tolist() == ["all", "vgg16-multitask"]
    assert table.loc[branches["name"], "years"] == pytest.approx(branches["difference"]["mae"])
    assert table.loc[mivolo["name"], "against"] == "vggface"
    assert not set(table.index) & set(page.dataframe[0].value["name"])


def test_photos_of_other_sources_have_a_column_each_and_rivals_are_among_the_rows(page, comparison):
    table = page.dataframe[1].value.set_index("name")
    ours = comparison["models"][0]["sets"]["fairface"]
    assert table.loc["vggface", "FairFace, gender"] == pytest.approx(100 * ours["gender_accuracy"])
    assert table.loc["vggface", "FairFace, years outside"] == pytest.approx(ours["years_outside"])
    assert "FairFace, years off" not in table  # of ranges nobody knows them
    assert any(name.endswith(" (rival)") for name in table.index)


def test_all_charts_are_there_with_their_words(page):
    alts = charts_of(page)
    assert len(alts) == 6 and all(alts)
    for beginning in CHARTS:
        assert any(alt.startswith(beginning) for alt in alts), beginning
    assert any(alt.startswith("Percent of each labelled range") for alt in alts)


def test_gender_is_a_choice_that_the_address_carries(page):
    page.segmented_control(key="figure").set_value("gender").run()
    assert not page.exception
    assert sum(alt.startswith("Accuracy of gender") for alt in charts_of(page)) == 4


def test_systems_are_a_choice_that_the_address_carries_and_other_pages_leave_alone(page):
    page.multiselect(key="systems").set_value(["scratch-cnn"]).run()
    bands = next(alt for alt in charts_of(page) if alt.startswith(CHARTS[1]))
    assert "scratch-cnn: best at" in bands and "vggface" not in bands
    turn_to(page, "about")
    turn_to(page, PAGE)
    assert page.multiselect(key="systems").value == ["scratch-cnn"]


def test_a_link_chooses_systems_and_unknown_ones_are_left_out(models):
    app = open_link(PAGE, systems=["scratch-cnn", "nobody", "vggface"])
    assert not app.exception
    assert app.multiselect(key="systems").value == ["scratch-cnn", "vggface"]


def test_no_system_chosen_is_a_friendly_sentence(page):
    page.multiselect(key="systems").set_value([]).run()
    assert not page.exception
    assert any("Choose a system" in info.value for info in page.info)


def test_parts_that_older_cards_lack_are_named(page):
    words = texts(page)
    assert "Not measured for: `vgg16-multitask`, `scratch-cnn`" in words
    assert "publish --again" in words


def test_without_any_range_or_reliability_the_page_says_how_to_measure(open_page, models, comparison):
    comparison["models"][0] |= {"ranges": None, "reliability": []}
    app = open_page(PAGE)
    assert not app.exception
    assert "No card here has been measured for this." in texts(app)
    assert len(charts_of(app)) == 4


def test_nothing_trained_yet_is_a_page_of_commands(open_page, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    found = compare_models(tmp_path / "weights", rivals_file=tmp_path / "rivals.json")
    monkeypatch.setattr("ui.compare.compare_models", lambda: found)
    app = open_page(PAGE)
    assert not app.exception
    assert "No model is trained" in app.info[0].value
    assert len(app.dataframe) == 2 and not charts_of(app)
    assert not app.get("file_uploader")


def test_a_damaged_card_is_a_message(open_page, monkeypatch):
    def refuse() -> None:
        raise ModelError("weights/mine/card.json cannot be read: it ends early")

    monkeypatch.setattr("ui.compare.compare_models", refuse)
    app = open_page(PAGE)
    assert not app.exception
    assert "cannot be read" in app.error[0].value


def test_nothing_is_loaded_before_it_is_asked_for(page, models):
    page.file_uploader(key="uploads").set_value([photo(300)]).run()
    assert models.looks == [] and models.asked == []
    assert page.button(key="ask_all").label == "Ask all 3 systems"


def test_all_systems_answer_for_one_face(asked, models):
    table = asked.dataframe[-1].value.set_index("System")
    assert table.loc["vggface"].tolist() == ["31 (26–36)", "female, 97 %"]
    assert table.loc["scratch-cnn"].tolist() == ["25 (20–30)", "male, 97 %"]
    words = texts(asked)
    assert "**15 years** apart: from 25 (`scratch-cnn`) to 40 (`vgg16-multitask`)" in words
    assert "2 of 3 female, 1 of 3 male" in words
    assert "vgg16-multitask 40 (35–45)" in charts_of(asked)[-1]
    assert models.looks == [(300, 120)]
    assert models.asked[0] == "vggface"
    assert sorted(models.asked[1:]) == ["scratch-cnn", "vgg16-multitask"]


def test_another_face_asks_nobody_again(asked, models):
    before = len(models.asked)
    asked.pills(key="face").set_value("3").run()
    assert not asked.exception
    assert len(models.asked) == before
    assert not [button for button in asked.button if button.key == "ask_all"]


def test_a_photo_of_the_first_page_is_there_and_not_searched_again(open_page, models):
    app = open_page()
    app.file_uploader(key="uploads").set_value([photo(200)]).run()
    looks = list(models.looks)
    turn_to(app, PAGE)
    assert "Still here from before" in texts(app)
    app.button(key="ask_all").click().run()
    assert not app.exception
    assert models.looks == looks
    assert len(app.dataframe[-1].value) == 3


def test_a_model_that_cannot_answer_stops_no_other(page, models):
    models.broken = {"vgg16-multitask"}
    page.file_uploader(key="uploads").set_value([photo(100)]).run()
    page.button(key="ask_all").click().run()
    assert not page.exception
    assert page.dataframe[-1].value["System"].tolist() == ["vggface", "scratch-cnn"]
    assert "`vgg16-multitask` says nothing: model" in page.warning[0].value
    assert str(ROOT) not in texts(page)


def test_no_face_and_no_photo_are_friendly_sentences(page, models):
    assert any("Drop a photo above" in info.value for info in page.info)
    page.file_uploader(key="uploads").set_value([photo(60)]).run()
    page.button(key="ask_all").click().run()
    assert not page.exception
    assert any("No face found" in info.value for info in page.info)
    assert models.asked == ["vggface"]


def test_a_photo_that_is_taken_back_leaves_nothing_behind(asked):
    assert len(asked.session_state["analyses"]) == 3
    asked.file_uploader(key="uploads").set_value([]).run()
    assert len(asked.session_state["analyses"]) == 0


def test_of_large_models_one_is_kept_and_never_in_place_of_small_ones(models):
    loaded = LoadedModels()
    names = ["vggface", "vgg16-multitask", "scratch-cnn", "vggface-vgg16"]
    for name in names:
        assert loaded.load(name) is loaded.find(name)
    assert [name for name in names if loaded.find(name)] == ["vggface", "scratch-cnn", "vggface-vgg16"]


def test_the_page_can_be_taken_along(page):
    button = next(b for b in page.get("download_button") if b.label == "All of this page as JSON")
    assert button is not None
    assert json.dumps(compare_models())
