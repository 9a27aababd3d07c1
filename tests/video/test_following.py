"""People are counted exactly, keep their numbers, and are answered once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from agegender.video import FaceFollower
from tools.clips import film, put


def follow(predictor, frames, **options):
    follower = FaceFollower(predictor, **options)
    return follower, [follower.look(frame, time) for time, frame in frames]


def middle(box):
    return (box[0] + box[2]) / 2


def test_two_people_alike_cross_while_nobody_looks_and_keep_their_numbers(predictor, heads):
    def draw(frame, time):
        put(frame, heads["collins"], 60 + 130 * time, 130, 100)
        put(frame, heads["collins"], 420 - 130 * time, 140, 100)

    seen = [(t, f) for t, f in film(draw, 2.8, 5) if not 1.1 < t < 1.7]
    follower, looks = follow(predictor, seen)
    assert [track.number for track in follower.tracks()] == [1, 2]
    assert sorted(looks[0].faces) == sorted(looks[-1].faces) == [1, 2]
    began = {n: middle(face.face.box) for n, face in looks[0].faces.items()}
    ended = {n: middle(face.face.box) for n, face in looks[-1].faces.items()}
    assert all(abs(began[n] - ended[n]) > 300 for n in (1, 2)), (began, ended)


def test_two_different_people_who_meet_and_turn_back_keep_their_numbers(predictor, heads):
    """Motion says that they crossed; only their looks say that they did not."""

    def draw(frame, time):
        near = abs(time - 1.2)
        put(frame, heads["collins"], 180 - 90 * near, 130, 100)
        put(frame, heads["singer"], 270 + 90 * near, 135, 110)

    frames = [(t, f) for t, f in film(draw, 2.4, 5) if not 0.9 < t < 1.5]
    follower, looks = follow(predictor, frames)
    assert [track.number for track in follower.tracks()] == [1, 2]
    for n in (1, 2):
        assert abs(middle(looks[0].faces[n].face.box) - middle(looks[-1].faces[n].face.box)) < 40


def test_who_is_hidden_shortly_keeps_the_number_and_who_comes_back_later_gets_another(predictor, heads):
    def draw(frame, time):
        if not (0.6 < time < 1.5 or 2.1 < time < 5.9):
            put(frame, heads["singer"], 200 + 20 * time, 130, 120)

    follower, looks = follow(predictor, film(draw, 7, 5))
    first, second = follower.tracks()
    assert (first.number, second.number) == (1, 2)
    assert (first.first, second.last) == (0.0, 6.8)
    assert first.last == pytest.approx(2.0)
    assert second.first == pytest.approx(6.0)
    hidden = next(look for look in looks if look.time == pytest.approx(1.0))
    x1, y1, x2, y2 = hidden.hidden[1]
    assert x1 < 220 < x2 and y1 < 130 < y2
    assert not any(look.faces or look.hidden for look in looks if 4.5 < look.time < 5.9)


def test_somebody_else_in_the_same_place_is_somebody_else(predictor, heads):
    def draw(frame, time):
        if time < 0.9 or time > 1.3:
            put(frame, heads["singer" if time < 1 else "collins"], 240, 130, 120)

    assert [track.number for track in follow(predictor, film(draw, 2.2, 5))[0].tracks()] == [1, 2]


@pytest.mark.parametrize(("people", "count"), [(("singer", "singer"), 1), (("singer", "collins"), 2)])
def test_a_cut_ends_all_but_who_is_still_there(predictor, heads, people, count):
    def draw(frame, time):
        put(frame, heads[people[time > 0.7]], 240, 130, 120)

    follower = FaceFollower(predictor)
    for time, frame in film(draw, 1.6, 5):
        follower.look(frame, time, cut=time == 0.8)
    assert len(follower.tracks()) == count


def test_a_wide_step_between_looks_loses_nobody(predictor, heads):
    def draw(frame, time):
        put(frame, heads["singer"], 150 + 3 * time, 130, 120)
        put(frame, heads["hopper"], 350 - 2 * time, 130, 110)

    follower, _ = follow(predictor, film(draw, 30, 1 / 5))
    assert [(track.number, track.frames) for track in follower.tracks()] == [(1, 6), (2, 6)]


def test_one_glimpse_is_no_person(predictor, heads):
    def draw(frame, time):
        put(frame, heads["collins"], 120, 130, 110)
        if 0.5 < time < 0.7:
            put(frame, heads["singer"], 350, 130, 110)

    follower, looks = follow(predictor, film(draw, 1.2, 5))
    assert [track.number for track in follower.tracks()] == [1]
    assert any(2 in look.faces for look in looks)  # but there for who blurs faces


def test_pooled_answers_are_no_worse_than_single_frames(predictor, heads):
    """A face in changing light, size and sharpness: pooled is nearer to the good portrait's answer."""
    rng = np.random.default_rng(5)
    grades = []
    for name in ("collins", "singer", "hopper"):

        def draw(frame, time, name=name):
            put(frame, heads[name], 240, 135, 130)

        ((_, still),) = film(draw, 0.2, 5)
        (truth,) = predictor.predict(still)
        follower, single = FaceFollower(predictor), []
        for step in range(14):
            size = 105 + 35 * np.sin(step / 2)

            def draw_one(frame, time, name=name, size=size):
                put(frame, heads[name], 240, 135, size)

            ((_, frame),) = film(draw_one, 0.2, 5)
            frame = cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.1, 2))
            frame = np.clip(frame * rng.uniform(0.4, 1.4), 0, 255).astype(np.uint8)
            look = follower.look(frame, step / 5)
            single += [face.age.years for face in predictor.predict(frame)]
        (track,) = follower.tracks()
        off = np.abs(np.array(single) - truth.age.years)
        grades.append((abs(track.age.years - truth.age.years), off.mean()))
        assert track.gender.label == truth.gender.label
        assert track.worth < track.frames / 3
        assert look.faces[1].age.years == track.age.years
        assert track.best.face.size > 50
    pooled, alone = np.array(grades).T
    assert (pooled <= alone).all() and pooled.mean() < 0.9 * alone.mean(), grades


def test_a_track_says_of_itself_what_programs_need(predictor, heads):
    def draw(frame, time):
        put(frame, heads["collins"], 240, 130, 120)

    follower, looks = follow(predictor, film(draw, 0.6, 5))
    (track,) = follower.tracks()
    found = track.to_dict()
    assert list(found) == [
        "track", "first", "last", "best_time", "frames", "worth",
        "box", "age", "age_interval", "gender", "gender_probability", "warnings",
    ]  # fmt: skip
    assert (found["first"], found["last"], found["frames"]) == (0.0, 0.4, 3)
    assert found["gender"] == "female"
    assert track.history.shape == (3, 5)
    assert looks[0].to_dict()["faces"][0]["track"] == 1
    with pytest.raises(ValueError, match="time goes back"):
        follower.look(np.zeros((50, 50, 3), np.uint8), 0.1)


def test_the_history_of_a_long_track_stays_short(predictor, heads, monkeypatch):
    def draw(frame, time):
        put(frame, heads["collins"], 240, 130, 120)

    ((_, frame),) = film(draw, 0.2, 5)
    found = predictor.find_faces(frame)
    answers = predictor.predict_faces(found)
    monkeypatch.setattr(predictor, "find_faces", lambda *_, **__: found)
    monkeypatch.setattr(predictor, "predict_faces", lambda faces: answers)
    follower, _ = follow(predictor, ((step / 5, frame) for step in range(1000)))
    (track,) = follower.tracks()
    assert 60 <= len(track.history) <= 128
    assert track.frames == 1000
    steps = np.diff(track.history[:, 0])
    assert steps.max() == pytest.approx(steps.min(), rel=1e-2)
    assert track.age.years == answers[0].age.years
    assert (track.age.low, track.age.high) == (answers[0].age.low, answers[0].age.high)
