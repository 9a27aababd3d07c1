"""Counts of people: the method against simulated crowds, the command against known rows."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pytest

from agegender import summary
from agegender.__main__ import main
from agegender.bulk.part import Origin, write_part
from agegender.charts import description, people_bars
from agegender.labels import AGE_BAND_NAMES, GENDERS
from agegender.models.card import fingerprint, read_card


def crowd(random, errors, faces):
    """A crowd, the card that somebody measured, and what the model answers; the method sees the last two."""
    rates = errors.draw(random)
    rates /= rates.sum(1, keepdims=True)
    split = rates.reshape(9, 2, 9, 2)
    bands = np.stack(
        [
            random.multinomial(int(n), row)
            for n, row in zip(errors.bands.sum(1), split[:, 0].sum(-1), strict=True)
        ]
    )
    genders = split.sum(2)
    share = np.clip(np.stack([genders[:, 0, 0], genders[:, 1, 1]], 1), 0, 1)
    right = random.binomial(errors.labelled.astype(int), share)
    card = summary.ErrorRates(bands.astype(float), right.astype(float), errors.labelled)
    people = random.multinomial(faces, random.dirichlet(np.ones(18)))
    return people, card, random.multinomial(people, rates).sum(0)


def test_intervals_hold_the_truth_of_simulated_crowds_and_estimates_are_nearer_to_it_than_answers():
    random = np.random.default_rng(3)
    errors = summary.ErrorRates.of_card(read_card("vggface"))
    sums = np.concatenate(
        [np.eye(18), np.repeat(np.eye(9), 2, axis=1), np.tile(np.eye(2), 9)]
    )  # cells, bands, genders
    held, error, plain = [], [], []
    for seed, faces in enumerate([60, 2_000, 20_000] * 8):
        people, card, answered = crowd(random, errors, faces)
        draws = summary.draw_counts(answered, card, chains=60, seed=seed)
        assert (draws.sum(1) == faces).all()
        low, high = np.percentile(draws @ sums.T, [2.5, 97.5], axis=0)
        truth = sums @ people
        held.append(np.mean((low <= truth) & (truth <= high)))
        error.append(np.abs(draws.mean(0) - people).sum() / faces)
        plain.append(np.abs(answered - people).sum() / faces)
    assert np.mean(held) > 0.9
    assert np.mean(error) < 0.75 * np.mean(plain)
    # A model that never errs leaves nothing open, and nobody is where nobody was answered.
    never = summary.ErrorRates(np.eye(9) * 1e9, np.full((9, 2), 1e9), np.full((9, 2), 1e9))
    answered = np.arange(18)
    assert np.abs(summary.draw_counts(answered, never, chains=9) - answered).max() <= 1


def row(path, face=1, age=30.0, gender="female", taken=None, **more):
    found = {"path": path, "face": face, "age": age, "gender": gender, "uncertain": False, "taken": taken}
    return found | {"error": None, "error_kind": None} | more


@pytest.fixture
def answers(tmp_path):
    may, june = datetime(2024, 5, 6), datetime(2024, 6, 1)
    rows = [row(f"/a/{i}.jpg", taken=may) for i in range(40)]
    rows += [row(f"/a/{i}.jpg", face=2, gender="male", age=33.0, taken=may) for i in range(40)]
    rows += [row(f"/b/{i}.jpg", age=2.0, gender="male", taken=june, uncertain=True) for i in range(10)]
    rows += [row("/b/none.jpg", None, None, None), row("/b/bad.jpg", None, None, None, error="damaged")]
    folder = tmp_path / "answers"
    sha256 = fingerprint(read_card("vggface"))
    write_part(folder / "part-000001.parquet", rows[:50], Origin("vggface", sha256))
    write_part(folder / "part-000002.parquet", rows[50:], Origin("vggface", sha256))
    return folder


def test_the_command_counts_by_age_gender_folder_and_month(answers, capsys):
    assert main(["summary", str(answers), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["photos"], found["faces"], found["errors"]) == (52, 90, 1)
    assert found["corrected"]
    every = found["all"]
    assert every["cannot_tell"] == 10
    assert [gender["answered"] for gender in every["by_gender"]] == [50, 40]
    assert {band["age"]: band["answered"] for band in every["by_age"] if band["answered"]} == {
        "0-4": 10,
        "26-35": 80,
    }
    assert sum(cell["estimate"] for cell in every["by_age_and_gender"]) == pytest.approx(90, abs=1)
    for cell in every["by_age_and_gender"]:
        assert 0 <= cell["interval"][0] <= cell["estimate"] + 0.5 <= cell["interval"][1] + 1
    toddlers = every["by_age_and_gender"][1]  # gender is often wrong there: some of the ten are girls
    assert (toddlers["age"], toddlers["gender"], toddlers["answered"]) == ("0-4", "female", 0)
    assert toddlers["interval"][1] >= 2
    assert {name: (group["photos"], group["faces"]) for name, group in found["by_folder"].items()} == {
        "/a": (40, 80),
        "/b": (12, 10),
    }
    assert {name: group["faces"] for name, group in found["by_month"].items()} == {
        "2024-05": 80,
        "2024-06": 10,
        "unknown": 0,
    }
    figure = people_bars(every)
    assert "90 faces" in description(figure)
    assert "26–35" in description(figure)
    assert [trace.name for trace in figure.data] == list(GENDERS)
    assert list(figure.data[1].y) == [cell["estimate"] for cell in every["by_age_and_gender"][1::2]]
    assert len(figure.data[0].x) == len(AGE_BAND_NAMES)
    assert people_bars(found["by_month"]["unknown"]) is None

    assert main(["summary", str(answers)]) == 0
    words = capsys.readouterr().out
    assert "photos: 52, faces: 90, failed: 1" in words
    assert "2024-06" in words


def test_json_counts_too_and_what_is_no_answer_is_refused(answers, tmp_path, capsys):
    face = {"age": 30.0, "gender": "male"}
    images = [
        {"path": "a/b.jpg", "error": None, "faces": [face, face]},
        {"path": "c.jpg", "error": "x", "faces": []},
    ]
    file = tmp_path / "faces.json"
    file.write_text(json.dumps({"model": "elsewhere", "images": images}))
    assert main(["summary", str(file), "--json", "-"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["photos"], found["faces"], found["errors"], found["corrected"]) == (2, 2, 1, False)
    assert set(found["by_folder"]) == {"a", "."}
    assert found["all"]["by_gender"][0] == {
        "gender": "male",
        "answered": 2,
        "estimate": None,
        "interval": None,
    }
    assert "not corrected for the errors of elsewhere" in captured.err
    assert people_bars(found["all"]).data[0].error_y.array is None

    part = answers / "part-000001.parquet"
    write_part(part, [row("/x.jpg")], Origin("vggface", "another version"))
    assert main(["summary", str(part)]) == 0
    assert "another version" in capsys.readouterr().err
    file.write_text("[]")
    for source in (answers, file, tmp_path / "gone.json", tmp_path / "gone"):
        assert main(["summary", str(source)]) == 2
    assert "nothing that predict --json wrote" in capsys.readouterr().err
