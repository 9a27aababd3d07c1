from __future__ import annotations

import pytest

from agegender.errors import ModelError
from agegender.models.card import read_card
from tests.app.driving import texts, turn_to
from ui import cards

PAGE = "about"


@pytest.fixture
def card(predictor, monkeypatch) -> dict:
    """The card that the page reads, to be changed before it is opened."""
    card = dict(read_card("vggface"))
    monkeypatch.setattr("agegender.models.card.read_card", lambda name: card | {"name": name})
    return card


def test_the_shipped_card_is_told_in_words(open_page):
    app = open_page(PAGE)
    assert not app.exception
    words = texts(app)
    assert "A label is a guess" in words
    assert "no identification, access, hiring, pricing, policing or age checks" in words
    assert "non-commercial" in words
    assert "https://susanqq.github.io/UTKFace/" in words
    assert app.metric[0].label == "Age, average error"
    table = app.table[0].value
    assert table["Labelled age"].tolist()[0] == "0 to 4"
    assert table["Labelled age"].tolist()[-1] == "76 or older"
    assert [button.label for button in app.get("download_button")] == ["Card as Markdown", "Card as JSON"]


def test_the_whole_card_is_there_below_the_headings_of_the_page(open_page):
    app = open_page(PAGE)
    whole = next(m.value for m in app.expander[0].markdown if "Calibration" in m.value)
    assert whole.startswith("### vggface: ")
    assert "\n# " not in whole and "\n## " not in whole


def test_figures_are_those_of_the_card(open_page, card):
    card["metrics"] = {
        "n": 500,
        "split": "test",
        "age": {
            "mae": 3.96,
            "cs5": 0.7,
            "interval_coverage": 0.91,
            "interval_width": 15.2,
            "by_band": {"0-4": {"n": 20, "mae": 0.4}, "26-35": {"n": 480, "mae": 4.4}},
        },
    }
    app = open_page(PAGE)
    assert not app.exception
    assert [metric.value for metric in app.metric] == ["4.0 years", "70 %", "91 %"]
    table = app.table[0].value
    assert table.to_dict("records") == [
        {
            "Labelled age": "0 to 4",
            "Off by about": "1 year",
            "For example": "3 as 2 or 4",
            "Faces": "20 (few)",
        },
        {
            "Labelled age": "26 to 35",
            "Off by about": "4 years",
            "For example": "30 as 26 or 34",
            "Faces": "480",
        },
    ]


def test_a_model_that_was_never_measured_says_how_to(open_page, card):
    card["metrics"] = {}
    app = open_page(PAGE)
    assert not app.exception
    assert "python -m agegender evaluate" in app.info[0].value
    assert len(app.metric) == 0


def test_a_card_with_next_to_nothing_in_it_is_shown(open_page, card):
    for key in set(card) - {"name", "title"}:
        del card[key]
    app = open_page(PAGE)
    assert not app.exception
    assert "has not been measured" in texts(app)


def test_a_damaged_card_is_a_message(open_page, predictor, monkeypatch):
    def refuse(name):
        raise ModelError("weights/vggface/card.json cannot be read: it ends early")

    monkeypatch.setattr("agegender.models.card.read_card", refuse)
    app = open_page(PAGE)
    assert not app.exception
    assert "cannot be read" in app.error[0].value


def test_the_model_is_the_one_that_was_chosen_elsewhere(open_page, card):
    app = open_page()
    app.sidebar.selectbox(key="model").select("age_only").run()
    turn_to(app, PAGE)
    assert app.sidebar.selectbox(key="model").value == "age_only"
    assert "age_only" in app.expander[0].markdown[0].value


@pytest.mark.parametrize(
    ("accuracy", "words"), [(0.613, "61 in 100"), (0.9999, "99 in 100"), (0.0, "0 in 100")]
)
def test_nobody_is_told_that_all_are_right(accuracy, words):
    assert cards.say_odds(accuracy) == words


def test_an_error_is_never_told_as_none():
    assert cards.say_years(0.2) == "1 year"
    assert cards.say_miss(1, 3.4) == "1 as 0 or 4"


def test_bands_that_were_not_measured_are_left_out():
    assert cards.bands_table({}).empty
    assert cards.bands_table({"gender": {"by_band": {"5-9": {"n": 7, "accuracy": 0.5}}}}).shape == (1, 3)


def test_groups_are_shown_for_each_kind_of_photos_and_what_was_not_measured_is_said(open_page, card):
    gap = {"best": "White", "worst": "Black", "value": 0.08, "low": -0.01, "high": 0.12}
    groups = {**card["groups"], "ethnicity_gap": {"gender": gap}}
    card["sets"] = {"fairface": {"n": 60, "split": "dev", "no_face": 0, "groups": groups, "gender": {}}}
    app = open_page(PAGE)
    assert not app.exception
    photos = app.segmented_control(key="photos")
    assert len(photos.options) == 2
    photos.set_value("FairFace (60)").run()
    assert "Between White and Black lie **8.0 points** of accuracy" in texts(app)
    assert "anything from 0.0 to 12.0" in texts(app)
    app.segmented_control(key="fairness").set_value("age").run()
    assert not app.exception
    assert "Age bias by group" in texts(app)
