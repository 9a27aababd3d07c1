"""Each corruption does what its name says, to the same chip in the same way every time; figures by hand."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from agegender.data.table import read_dataset
from agegender.errors import DatasetError
from agegender.evaluation.corruptions import CORRUPTIONS, corrupt, corruption_stream, evaluate_corruptions
from agegender.evaluation.evaluate import BATCH_SIZE, evaluate, select_rows
from agegender.export import to_json
from agegender.prediction import AgeEstimate, GenderEstimate
from tests.conftest import make_chip

NAMES = ("brightness", "blur", "low_resolution", "jpeg", "patch", "landmarks", "rotation")
RANDOM = ("patch", "landmarks", "rotation")


@pytest.fixture(scope="module")
def chip():
    return make_chip(np.random.default_rng(3))


def apply(chip, name, file="30_1_0_x.jpg"):
    return corrupt(chip, name, corruption_stream(file, name))


def difference(a, b):
    return float(np.abs(a.astype(float) - b).mean())


# the seven


def test_there_are_exactly_the_seven_and_nobody_can_add_one():
    assert tuple(CORRUPTIONS) == NAMES
    with pytest.raises(TypeError):
        CORRUPTIONS["fog"] = CORRUPTIONS["blur"]


@pytest.mark.parametrize("name", NAMES)
def test_gives_a_new_chip_and_leaves_the_old_one(chip, name):
    before = chip.copy()
    damaged = apply(chip, name)
    assert (damaged.shape, damaged.dtype) == ((200, 200, 3), np.uint8)
    assert np.array_equal(chip, before)
    assert not np.shares_memory(damaged, chip)
    assert difference(damaged, chip) > 1


def test_brightness_is_a_factor(chip):
    assert np.abs(apply(chip, "brightness") - 0.15 * chip).max() <= 0.5


def test_blur_spreads_a_point_by_five_pixels(chip):
    point = np.zeros((200, 200, 3), np.uint8)
    point[80:121, 99:102] = 255  # a bar, so that its profile survives rounding
    profile = apply(point, "blur")[100, :, 0].astype(float)
    centre = np.arange(200) - 100
    assert np.sqrt((profile * centre**2).sum() / profile.sum()) == pytest.approx(5, abs=0.2)


def test_low_resolution_keeps_the_means_of_twenty_by_twenty_cells():
    rng = np.random.default_rng(1)
    cells = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8)
    noise = rng.integers(-40, 41, (200, 200, 3))
    fine = np.clip(cells.repeat(10, 0).repeat(10, 1) + noise, 0, 255).astype(np.uint8)
    damaged = apply(fine, "low_resolution")
    means = fine.reshape(20, 10, 20, 10, 3).mean((1, 3))
    expected = cv2.resize(means, (200, 200), interpolation=cv2.INTER_LINEAR)
    assert np.abs(damaged - expected).max() <= 1.5


def test_jpeg_is_as_coarse_as_pillow_writes_it_at_quality_8(chip, tmp_path):
    Image.fromarray(chip).save(tmp_path / "a.jpg", quality=8)
    with Image.open(tmp_path / "a.jpg") as image:
        by_pillow = np.asarray(image)
    damaged = apply(chip, "jpeg")
    assert difference(damaged, by_pillow) < 0.2 * difference(damaged, chip)


def test_jpeg_keeps_the_order_of_colours():
    red = np.full((200, 200, 3), (220, 30, 40), np.uint8)
    assert difference(apply(red, "jpeg"), red) < 12


def test_patch_is_a_grey_square_wholly_inside(chip):
    corners = set()
    for index in range(40):
        damaged = apply(chip, "patch", f"{index}.jpg")
        grey = (damaged == 128).all(axis=2)
        top, left = np.argwhere(grey & (damaged != chip).any(axis=2)).min(axis=0)
        assert grey[top : top + 130, left : left + 130].all()
        kept = np.ones((200, 200), bool)
        kept[top : top + 130, left : left + 130] = False
        assert kept.sum() == 200 * 200 - 130 * 130
        assert np.array_equal(damaged[kept], chip[kept])
        corners.add((top, left))
    assert len(corners) > 35
    assert np.ptp(np.array(list(corners)), axis=0).min() > 50


class FixedJitter:
    """Random numbers whose normal errors are chosen."""

    def __init__(self, errors):
        self.errors = np.asarray(errors, float)

    def normal(self, mean, sigma, shape):
        assert (mean, sigma, shape) == (0, 10, (5, 2))
        return self.errors


def test_landmarks_without_error_give_the_chip_again(chip):
    assert difference(corrupt(chip, "landmarks", FixedJitter(np.zeros((5, 2)))), chip) < 0.01


def test_landmarks_seen_too_far_right_and_down_move_the_crop_there(chip):
    damaged = corrupt(chip, "landmarks", FixedJitter([(10, 20)] * 5))
    assert difference(damaged[:180, :190], chip[20:, 10:]) < 0.01
    assert not damaged[181:].any()  # black where the chip ends, as in any crop
    assert not damaged[:, 191:].any()


def test_rotation_is_by_thirty_degrees_about_the_centre_either_way():
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[95:105, 150:160] = 255  # to the right of the centre, at 55 px
    angles = []
    for index in range(40):
        y, x = np.argwhere(apply(picture, "rotation", f"{index}.jpg")[..., 0] > 127).mean(axis=0) - 99.5
        assert np.hypot(x, y) == pytest.approx(55, abs=0.5)
        angles.append(np.degrees(np.arctan2(y, x)))
    assert np.abs(angles) == pytest.approx(np.full(40, 30), abs=0.5)
    assert 10 < np.sum(np.array(angles) > 0) < 30


def test_rotation_repeats_the_border():
    assert (apply(np.full((200, 200, 3), 77, np.uint8), "rotation") == 77).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_chip_is_refused(chip, name):
    with pytest.raises(ValueError, match=r"200×200 px, got shape \(100, 200, 3\)"):
        apply(chip[:100], name)
    with pytest.raises(TypeError, match="float64"):
        apply(chip / 255, name)


def test_an_unknown_name_is_told_the_known_ones(chip):
    with pytest.raises(KeyError, match=r"'fog'.*brightness, blur"):
        apply(chip, "fog")


# the random streams


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_damaged_the_same_way_wherever_its_folder_is(chip, name):
    assert np.array_equal(apply(chip, name, "30_1_0_x.jpg"), apply(chip, name, "part1/30_1_0_x.jpg"))


@pytest.mark.parametrize("name", RANDOM)
def test_files_and_seeds_differ(chip, name):
    first = [apply(chip, name, f"{index}.jpg") for index in range(8)]
    assert len({damaged.tobytes() for damaged in first}) > 1
    again = [corrupt(chip, name, corruption_stream(f"{index}.jpg", name, 1)) for index in range(8)]
    assert any((a != b).any() for a, b in zip(first, again, strict=True))


def test_corruptions_of_one_file_do_not_share_a_stream():
    assert len({corruption_stream("a.jpg", name).random() for name in NAMES}) == len(NAMES)


def test_streams_stay_what_they_were_when_cards_were_written():
    assert corruption_stream("30_1_0_x.jpg", "patch").integers(0, 71, 2).tolist() == [35, 17]


# the report


class BrightnessPredictor:
    """Says the mean of a chip as its age, and female where its red is at least 20."""

    model = "brightness"
    margin = 0

    def __init__(self, *, age=True, gender=True):
        self.tasks = (age, gender)

    def predict_chips(self, chips, *, margin=0):
        return [
            (
                AgeEstimate(float(chip.mean()), 0.0, 116.0, 0.9) if self.tasks[0] else None,
                GenderEstimate("female" if chip[..., 0].mean() >= 20 else "male", 0.9)
                if self.tasks[1]
                else None,
            )
            for chip in chips
        ]


def write_plain(folder, age, gender, value, *, name="x", side=200):
    folder.mkdir(exist_ok=True)
    pixels = np.full((side, side, 3), value, np.uint8)
    Image.fromarray(pixels).save(folder / f"{age}_{gender}_0_{name}.png")


@pytest.fixture
def folder(tmp_path):
    """Four plain chips. Only darkness, the patch and black edges change them."""
    for age, gender, value in [(20, 1, 40), (30, 1, 40), (60, 0, 10), (50, 1, 60)]:
        write_plain(tmp_path / "chips", age, gender, value)
    return tmp_path / "chips"


def run(folder, predictor=None, **options):
    predictor, dataset = predictor or BrightnessPredictor(), read_dataset(folder)
    clean = evaluate(predictor, dataset)
    return evaluate_corruptions(predictor, dataset, dataset.table, clean=clean, **options)


def test_figures_are_those_computed_by_hand(folder):
    document = run(folder)
    assert (document["seed"], document["chip_size"]) == (20, 200)
    assert tuple(document["by_kind"]) == NAMES
    # Clean errors: 20, 10, 50 and 10 years, mean 22.5; every gender right.
    # At 0.15 the means are 6, 6, 2 (1.5, to even) and 9: errors 14, 24, 58 and 41, mean 34.25. All dark chips
    # are called male: one in four is, with 0.9 stated.
    assert document["by_kind"]["brightness"] == {
        "age": {
            "mae": 34.25,
            "mae_ratio": 1.5222,
            "cs5": 0.0,
            "bias": -34.25,
            "interval_coverage": 1.0,
            "interval_width": 116.0,
        },
        "gender": {
            "accuracy": 0.25,
            "points_lost": 75.0,
            "auc": 0.5,
            "ece": 0.65,
            "uncertain_share": 0.0,
            "accuracy_outside": 0.25,
        },
    }
    for name in ("blur", "low_resolution", "rotation"):
        assert document["by_kind"][name]["age"]["mae_ratio"] == 1.0
        assert document["by_kind"][name]["gender"]["points_lost"] == 0.0
    # The patch covers 0.4225 of a chip: 40 becomes 77.18, 10 becomes 59.855 and 60 becomes 88.73.
    patch = document["by_kind"]["patch"]
    assert patch["age"]["mae"] == pytest.approx((57.18 + 47.18 + 0.145 + 38.73) / 4, abs=1e-3)
    expected = {"accuracy": 0.75, "points_lost": 25.0, "auc": 0.5, "ece": 0.15}
    assert patch["gender"] == expected | {"uncertain_share": 0.0, "accuracy_outside": 0.75}


def test_the_mean_is_over_the_seven(folder):
    document = run(folder)
    kinds = document["by_kind"].values()
    assert document["mean"] == {
        "mae_ratio": pytest.approx(sum(kind["age"]["mae_ratio"] for kind in kinds) / 7, abs=1e-4),
        "gender_points_lost": pytest.approx(sum(k["gender"]["points_lost"] for k in kinds) / 7, abs=1e-4),
    }
    assert document["mean"]["gender_points_lost"] > (75 + 25) / 7 - 1e-3


@pytest.mark.parametrize(
    ("age", "gender", "key"), [(True, False, "mae_ratio"), (False, True, "gender_points_lost")]
)
def test_what_is_not_predicted_is_left_out(folder, age, gender, key):
    document = run(folder, BrightnessPredictor(age=age, gender=gender))
    assert list(document["mean"]) == [key]
    assert {tuple(kind) for kind in document["by_kind"].values()} == {("age",) if age else ("gender",)}


def test_a_perfect_clean_age_has_no_ratio(tmp_path):
    write_plain(tmp_path / "chips", 40, 1, 40)
    document = run(tmp_path / "chips")
    assert document["mean"]["mae_ratio"] is None
    assert document["by_kind"]["brightness"]["age"]["mae"] == 34.0
    assert json.loads(to_json(document), parse_constant=pytest.fail) == document


class Recorder(BrightnessPredictor):
    """Keeps every chip it is shown, after the one of the warm-up."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def predict_chips(self, chips, *, margin=0):
        assert len(chips) <= BATCH_SIZE
        self.shown += [chip.tobytes() for chip in chips if chip.any()]
        return super().predict_chips(chips, margin=margin)


def test_order_and_limit_change_no_chip(tmp_path):
    rng = np.random.default_rng(5)
    (tmp_path / "chips").mkdir()
    for age in range(1, 7):
        Image.fromarray(make_chip(rng)).save(tmp_path / "chips" / f"{age}_0_0_x.png")
    dataset = read_dataset(tmp_path / "chips")

    def shown(rows):
        predictor = Recorder()
        clean = evaluate(predictor, dataset, rows)
        predictor.shown.clear()
        document = evaluate_corruptions(predictor, dataset, rows, clean=clean)
        return document, predictor.shown

    document, all_chips = shown(dataset.table)
    backwards, the_same_chips = shown(dataset.table.iloc[::-1])
    assert backwards == document
    assert len(all_chips) == 6 * 7
    assert sorted(the_same_chips) == sorted(all_chips)
    _, some = shown(select_rows(dataset, limit=3))
    assert len(some) == 3 * 7
    assert set(some) <= set(all_chips)


def test_another_seed_is_another_report(folder):
    assert run(folder, seed=1)["seed"] == 1
    one, other = run(folder, seed=1)["by_kind"], run(folder, seed=2)["by_kind"]
    assert one["brightness"] == other["brightness"]
    assert one["landmarks"] != other["landmarks"]


def test_chips_of_another_size_are_brought_to_200_px(tmp_path):
    write_plain(tmp_path / "small", 30, 1, 40, side=64)
    write_plain(tmp_path / "whole", 30, 1, 40)
    assert run(tmp_path / "small") == run(tmp_path / "whole")


def test_a_broken_file_is_left_out(folder):
    whole = run(folder)
    (folder / "40_0_0_broken.png").write_bytes(b"no picture at all")
    assert run(folder) == whole


def test_nothing_readable_gives_no_figures(tmp_path):
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips" / "40_0_0_broken.png").write_bytes(b"no picture at all")
    document = run(tmp_path / "chips")
    assert document["mean"] == {}
    assert set(map(str, document["by_kind"].values())) == {"{}"}


def test_progress_runs_once_over_all_seven(folder):
    calls = []
    run(folder, progress=lambda _, *done: calls.append(done))
    assert calls == [(4 * index, 28) for index in range(1, 8)]


def test_a_clean_evaluation_of_something_else_is_refused(folder):
    dataset, predictor = read_dataset(folder), BrightnessPredictor()
    clean = evaluate(predictor, dataset)
    with pytest.raises(ValueError, match="2 files in common"):
        evaluate_corruptions(predictor, dataset, dataset.table.head(2), clean=clean)
    predictor.model = "another"
    with pytest.raises(ValueError, match=r"'another'.*'brightness'"):
        evaluate_corruptions(predictor, dataset, dataset.table, clean=clean)


def test_a_file_that_vanished_in_between_is_an_error(folder):
    dataset, predictor = read_dataset(folder), BrightnessPredictor()
    clean = evaluate(predictor, dataset)
    (folder / "20_1_0_x.png").unlink()
    with pytest.raises(DatasetError, match=r"1 files .* under 'brightness'"):
        evaluate_corruptions(predictor, dataset, dataset.table, clean=clean)
