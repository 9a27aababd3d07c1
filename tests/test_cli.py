"""The command line: options, outputs and exit codes, with a fake model."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agegender import batch
from agegender.__main__ import main
from agegender.assets import EXAMPLE
from agegender.commands import bench
from agegender.commands.outputs import annotated_paths
from agegender.errors import AgeGenderError, UnknownModelError, WeightsNotFoundError
from agegender.faces import Face, FaceDetector
from agegender.faces.crop import CHIP_LANDMARKS
from agegender.files import unescape_name
from agegender.models.engine import RawAnswers
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction
from agegender.predictor import Predictor
from agegender.runtime import without_chatter

ROOT = Path(__file__).parents[1]


class FakePredictor:
    """Sees one face in bright pictures and none in dark ones; "missing" is a model without weights."""

    margin = 0

    def __init__(self, model="vggface", *, detector=None):
        if model not in {"vggface", "missing"}:
            raise UnknownModelError(f"there is no model {model!r}")
        self.model = model

    def predict(self, source):
        height, width = source.shape[:2]
        if source[0, 0].tolist() == [200, 1, 1]:
            raise RuntimeError("something odd")
        if source.mean() < 20:
            return []
        return [self._prediction((0.0, 0.0, width / 2, height / 2))]

    def predict_chip_image(self, source):
        return self._prediction((0.0, 0.0, 200.0, 200.0))

    def predict_chips(self, chips, *, margin=0):
        if self.model == "missing":
            raise WeightsNotFoundError("missing has no weights here; train it first")
        return [(AgeEstimate(31.2, 26.0, 37.1, 0.9), GenderEstimate("female", 0.97))] * len(chips)

    def _prediction(self, box):
        [(age, gender)] = self.predict_chips(np.zeros((1, 1, 1, 3), np.uint8))
        return Prediction(Face(box, 0.99, ((0.0, 0.0),) * 5), np.zeros((200, 200, 3), np.uint8), age, gender)


@pytest.fixture(autouse=True)
def fake_predictor(monkeypatch):
    monkeypatch.setitem(sys.modules, "agegender.predictor", SimpleNamespace(Predictor=FakePredictor))


def write_photo(path, color=(180, 150, 120), size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    """Two photos with a face, in two folders under one name, and one without."""
    folder = tmp_path / "photos"
    write_photo(folder / "a" / "one.jpg")
    write_photo(folder / "b" / "one.jpg", size=(80, 40))
    write_photo(folder / "dark.png", color=(0, 0, 0))
    return folder


def read_strict(text):
    return json.loads(text, parse_constant=pytest.fail)


# predict


def test_predict_prints_a_line_a_face(photos, capsys):
    assert main(["predict", str(photos)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        f"{photos / 'a' / 'one.jpg'}: face 1: looks about 31 (26–37); perceived female, 97 %",
        f"{photos / 'b' / 'one.jpg'}: face 1: looks about 31 (26–37); perceived female, 97 %",
        f"{photos / 'dark.png'}: no face found",
    ]


def test_predict_json_to_standard_output_is_nothing_but_json(photos, capsys):
    assert main(["predict", str(photos), "--json", "-"]) == 0
    document = read_strict(capsys.readouterr().out)
    assert document["model"] == "vggface"
    assert [Path(image["path"]).name for image in document["images"]] == ["one.jpg", "one.jpg", "dark.png"]
    assert document["images"][1] == {
        "path": str(photos / "b" / "one.jpg"),
        "width": 80,
        "height": 40,
        "error": None,
        "faces": [
            {
                "box": [0.0, 0.0, 40.0, 20.0],
                "confidence": 0.99,
                "age": 31.2,
                "age_interval": [26.0, 37.1],
                "gender": "female",
                "gender_probability": 0.97,
                "warnings": [],
            }
        ],
    }
    assert document["images"][2]["faces"] == []


def test_predict_writes_all_outputs_at_once(photos, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--json", str(out / "r.json"), "--csv", str(out / "r.csv"), "--annotate", str(out / "drawn")]
    assert main(["predict", str(photos), *arguments]) == 0
    assert capsys.readouterr().out == ""
    assert len(read_strict((out / "r.json").read_text())["images"]) == 3
    table = pd.read_csv(out / "r.csv")
    assert table["face"].tolist()[:2] == [1, 1]
    assert table.loc[2, "warnings"] == "no face found"
    copies = sorted(p.relative_to(out / "drawn").as_posix() for p in (out / "drawn").rglob("*.*"))
    assert copies == ["a/one.jpg", "b/one.jpg", "dark.png"]
    with Image.open(out / "drawn" / "b" / "one.jpg") as copy:
        assert (copy.format, copy.size) == ("JPEG", (80, 40))
        assert np.ptp(np.asarray(copy)) > 50  # a box was drawn on the plain ground
    with Image.open(photos / "b" / "one.jpg") as original:
        assert np.ptp(np.asarray(original)[..., 0]) < 5


def test_one_broken_file_does_not_stop_the_rest(photos, capsys):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    write_photo(photos / "odd.png", color=(200, 1, 1))
    assert main(["predict", str(photos), str(photos / "gone.jpg"), "--json", "-"]) == 1
    captured = capsys.readouterr()
    images = {Path(image["path"]).name: image for image in read_strict(captured.out)["images"]}
    assert images["broken.jpg"]["error"]
    assert images["broken.jpg"]["width"] is None
    assert images["gone.jpg"]["error"] == "no such file"
    assert images["odd.png"]["error"] == "unexpected RuntimeError: something odd"
    assert images["one.jpg"]["faces"]
    for name in ("broken.jpg", "gone.jpg", "odd.png"):
        assert f"{photos / name}: {images[name]['error']}" in captured.err
    assert "Traceback" not in captured.err


def test_a_copy_that_cannot_be_written_keeps_the_prediction(photos, tmp_path, capsys):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "a").write_text("a file where a folder has to be")
    assert main(["predict", str(photos), "--annotate", str(tmp_path / "drawn"), "--json", "-"]) == 1
    images = read_strict(capsys.readouterr().out)["images"]
    assert [bool(image["error"]) for image in images] == [True, False, False]
    assert images[0]["faces"]


def test_chips_skip_detection(photos, capsys):
    assert main(["predict", "--chips", str(photos / "dark.png"), "--json", "-"]) == 0
    [image] = read_strict(capsys.readouterr().out)["images"]
    assert image["faces"][0]["box"] == [0.0, 0.0, 200.0, 200.0]


def test_what_tensorflow_tells_of_itself_is_left_out_and_nothing_else(capfd):
    with pytest.raises(RuntimeError), without_chatter():
        os.write(2, b"I0000 00:00:1795703112.273786 12063 port.cc:153] oneDNN custom operations are on.\n")
        os.write(2, b"a real warning\n")
        print("from Python", file=sys.__stderr__)
        raise RuntimeError
    assert capfd.readouterr().err.splitlines() == ["a real warning", "from Python"]


def test_globs_are_expanded(photos, capsys):
    assert main(["predict", str(photos / "*" / "*.jpg"), "--json", "-"]) == 0
    assert len(read_strict(capsys.readouterr().out)["images"]) == 2


@pytest.mark.parametrize("pattern", ["empty", "nothing-*.jpg"])
def test_no_input_is_exit_code_2(tmp_path, capsys, pattern):
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(tmp_path / pattern), "--json", str(tmp_path / "r.json")]) == 2
    assert "no picture matches" in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("model", "message"), [("nonsense", "no model 'nonsense'"), ("missing", "no weights")]
)
def test_a_model_that_is_not_there_is_exit_code_2(photos, capsys, model, message):
    # A dark photo: even where no face needs the model, a missing one is told.
    assert main(["predict", str(photos / "dark.png"), "--model", model]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_outputs_never_replace_a_picture(photos, capsys):
    photo = photos / "a" / "one.jpg"
    before = photo.read_bytes()
    (photos / "link").symlink_to(photo)
    for option in ("--json", "--csv"):
        for target in (photo, photos / "link", photos / "new.png"):
            assert main(["predict", str(photo), option, str(target)]) == 2
            assert "picture" in capsys.readouterr().err
    for command in (["evaluate", "--data", str(photos)], ["models"], ["card", "--output", str(photo)]):
        assert main([*command, *(["--json", str(photo)] if command[0] != "card" else [])]) == 2
    out = photos.parent / "out"
    out.mkdir()
    (out / "one.jpg").symlink_to(photo)
    assert main(["predict", str(photo), "--annotate", str(out)]) == 2
    assert photo.read_bytes() == before


def test_copies_of_earlier_runs_are_no_input(photos, tmp_path, capsys):
    out = photos / "drawn"
    for _ in range(2):
        assert main(["predict", str(photos), "--annotate", str(out), "--csv", str(tmp_path / "f.csv")]) == 0
        assert len(pd.read_csv(tmp_path / "f.csv")) == 3
    assert "left out: 3 pictures" in capsys.readouterr().err
    assert len(list(photos.rglob("*.*"))) == 6
    (photos / "link").symlink_to(out)
    assert main(["predict", str(photos / "**" / "*.jpg"), "--annotate", str(photos / "link")]) == 0
    assert len(list(photos.rglob("*.*"))) == 6
    # Where nothing else is left, or a file inside is named, it is refused before any work.
    for patterns in ([str(out)], [str(photos), str(out / "dark.png")], [str(photos / "*" / "one.jpg")]):
        assert main(["predict", *patterns, "--annotate", str(photos)]) == 2
    assert "name another folder" in capsys.readouterr().err
    assert len(list(photos.rglob("*.*"))) == 6


def test_outputs_that_meet_are_refused_before_the_work(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if os.name == "posix":
        assert main(["predict", str(photos), "--json", "/dev/null", "--csv", "/dev/null"]) == 0
    monkeypatch.setattr(FakePredictor, "predict", lambda *_: pytest.fail("the work began"))
    (tmp_path / "linked").symlink_to("r")
    for outputs in (
        ["--json", "r", "--csv", "r"],
        ["--json", "r", "--csv", "./R"],  # one file where case is ignored
        ["--json", "r", "--csv", "linked"],
        ["--json", "r", "--annotate", "r"],
        ["--json", "r", "--annotate", "r/drawn"],
        ["--json", "r/deep", "--csv", "r"],
        ["--json", "out/a", "--annotate", "out"],  # copies of photos/a/ go into out/a/
        ["--json", "r" * 300],
    ):
        assert main(["predict", str(photos), *outputs]) == 2, outputs
    write_photo(tmp_path / "chips" / "30_0_0_a.png")
    assert main(["audit", "--data", "chips", "--json", "r", "--csv", "r"]) == 2
    assert not (tmp_path / "r").exists()


def test_an_output_that_fails_costs_no_other(photos, tmp_path, capsys, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agegender.commands.predict.faces_csv", fail)
    assert (
        main(["predict", str(photos), "--csv", str(tmp_path / "r.csv"), "--json", str(tmp_path / "r.json")])
        == 2
    )
    assert "No space left" in capsys.readouterr().err
    assert len(read_strict((tmp_path / "r.json").read_text())["images"]) == 3


def test_the_longest_names_are_written(tmp_path, capsys):
    long = "写" * 83 + ".webp"  # 254 bytes, and ".png" comes on top for the copy
    write_photo(tmp_path / "in" / long)
    target = tmp_path / ("j" * 250 + ".json")
    assert (
        main(["predict", str(tmp_path / "in"), "--annotate", str(tmp_path / "out"), "--json", str(target)])
        == 0
    )
    [copy] = (tmp_path / "out").iterdir()
    assert copy.name.startswith("写" * 80) and copy.suffix == ".png"
    assert target.is_file()


@pytest.mark.parametrize("option", ["--json", "--csv", "--annotate"])
def test_an_output_that_cannot_be_written_is_told_before_the_work(photos, tmp_path, capsys, option):
    (tmp_path / "file").write_text("")
    assert main(["predict", str(photos), option, str(tmp_path / "file" / "deep" / "out")]) == 2
    captured = capsys.readouterr()
    assert f"cannot write {tmp_path / 'file' / 'deep' / 'out'}" in captured.err
    assert captured.out == ""


def test_an_output_file_that_is_a_folder_is_exit_code_2(photos, tmp_path, capsys):
    for command in (["predict", str(photos)], ["evaluate", "--data", str(photos)], ["bench"]):
        assert main([*command, "--json", str(tmp_path)]) == 2
        assert "is a folder" in capsys.readouterr().err


def test_annotated_paths_are_unique_and_ignore_case(tmp_path):
    names = ["x.heic", "x.heic.png", "X.HEIC.PNG", "sub/x.jpg", "sub/x.webp"]
    paths = [tmp_path / "in" / name for name in names]
    copies = annotated_paths(paths, Path("out"))
    assert [copies[path].as_posix() for path in paths] == [
        "out/x.heic.png",
        "out/x.heic (2).png",
        "out/X.HEIC (3).PNG",
        "out/sub/x.jpg",
        "out/sub/x.webp.png",
    ]


def test_annotated_paths_leave_the_folder_only_downwards(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    copies = annotated_paths([Path("../there/a.png"), Path("b.png")], Path("out"))
    assert {copy.as_posix() for copy in copies.values()} == {"out/there/a.png", "out/here/b.png"}


# evaluate


@pytest.fixture
def chips(tmp_path):
    for age, gender in [(28, 1), (40, 0), (31, 1)]:
        write_photo(tmp_path / "chips" / f"{age}_{gender}_0_x.png", color=(age, 100, 0), size=(200, 200))
    return tmp_path / "chips"


EVALUATED = ["model", "n", "skipped", "no_face", "age", "gender", "by_source", "by_group", "ms_per_face"]


def test_evaluate_json(chips, capsys):
    assert main(["evaluate", "--data", str(chips), "--json", "-"]) == 0
    document = read_strict(capsys.readouterr().out)
    assert list(document) == EVALUATED
    assert document["n"] == 3
    assert document["age"]["mae"] == pytest.approx((3.2 + 8.8 + 0.2) / 3, abs=1e-4)
    assert document["gender"]["accuracy"] == pytest.approx(2 / 3, abs=1e-4)


def test_evaluate_in_words(chips, capsys):
    assert main(["evaluate", "--data", str(chips)]) == 0
    out = capsys.readouterr().out
    assert "3 faces, 0 skipped" in out
    assert "mean absolute error 4.07 years" in out
    assert "accuracy 66.7 %" in out


def test_evaluate_names_what_it_skips(chips, capsys):
    write_photo(chips / "no-label.png")
    assert main(["evaluate", "--data", str(chips), "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert read_strict(captured.out)["skipped"] == 1
    assert "no-label.png: skipped" in captured.err
    (chips / "50_0_0_x.png").write_bytes(b"broken")
    assert main(["evaluate", "--data", str(chips), "--json", "-"]) == 1
    captured = capsys.readouterr()
    assert read_strict(captured.out)["skipped"] == 2
    assert "50_0_0_x.png" in captured.err


def test_evaluate_limit(chips, capsys):
    assert main(["evaluate", "--data", str(chips), "--limit", "2", "--json", "-"]) == 0
    assert read_strict(capsys.readouterr().out)["n"] == 2


def test_evaluate_corruptions_json(chips, capsys):
    assert main(["evaluate", "--data", str(chips), "--corruptions", "--json", "-"]) == 0
    document = read_strict(capsys.readouterr().out)
    assert list(document) == [*EVALUATED, "corruptions"]
    assert document["age"]["mae"] == pytest.approx((3.2 + 8.8 + 0.2) / 3, abs=1e-4)
    corruptions = document["corruptions"]
    assert list(corruptions) == ["seed", "chip_size", "by_kind", "mean"]
    assert len(corruptions["by_kind"]) == 7
    # The fake model always says the same, so nothing gets worse.
    assert corruptions["mean"] == {"mae_ratio": 1.0, "gender_points_lost": 0.0}


def test_evaluate_corruptions_in_words(chips, capsys):
    assert main(["evaluate", "--data", str(chips), "--corruptions"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[-9:]]
    assert lines[0] == ["corruption", "MAE", "×", "clean", "gender", "points", "lost"]
    assert lines[1] == ["brightness", "×", "0.15", "4.07", "1.00", "66.7", "%", "0.0"]
    assert lines[-1] == ["mean", "1.00", "0.0"]


@pytest.fixture
def photos_with_ranges(tmp_path, monkeypatch):
    """Another source: two photos of UTKFace's framing with ranges of years, one of the "dev" part."""
    write_photo(tmp_path / "photos" / "dev" / "a.jpg", size=(200, 200))
    write_photo(tmp_path / "photos" / "train" / "b.jpg", size=(200, 200))
    labels = "file,age,gender,group\ndev/a.jpg,30-39,female,Inuit\ntrain/b.jpg,3-9,male,\n"
    (tmp_path / "photos" / "labels.csv").write_text(labels)
    face = Face((50.0, 50.0, 250.0, 250.0), 0.9, tuple(map(tuple, (CHIP_LANDMARKS + 50).tolist())))

    class Detector:
        def detect_many(self, images):
            return [[face] for _ in images]

    monkeypatch.setattr("agegender.evaluation.evaluate.FaceDetector", Detector)
    return tmp_path / "photos"


def test_evaluate_several_folders_and_a_part_of_one(chips, photos_with_ranges, capsys):
    both = ["evaluate", "--data", str(chips), str(photos_with_ranges)]
    assert main([*both, "--json", "-"]) == 0
    document = read_strict(capsys.readouterr().out)
    assert {name: part["n"] for name, part in document["by_source"].items()} == {"chips": 3, "photos": 2}
    assert {name: part["n"] for name, part in document["by_group"].items()} == {"White": 3, "Inuit": 1}
    assert document["by_source"]["photos"]["age"]["years_outside"] == (31 - 9) / 2
    assert main(both) == 0
    out = capsys.readouterr().out
    assert "of 2 labelled ranges 50.0 % hold the answer, which is 11.00 years outside on average" in out
    assert re.search(r"^ *photos +2 +\d+\.\d\d +50\.0 % +50\.0 % +11\.00$", out, re.MULTILINE)
    assert re.search(r"^ *chips +3 +4\.07 +66\.7 %$", out, re.MULTILINE)
    assert re.search(r"^ *Inuit +1 +2\.80 +100\.0 % +100\.0 % +0\.00$", out, re.MULTILINE)
    assert main([*both, "--split", "dev", "--json", "-"]) == 0
    assert read_strict(capsys.readouterr().out)["by_source"].keys() == {"photos"}


def test_corruptions_are_of_chips_only(chips, photos_with_ranges, capsys):
    assert main(["evaluate", "--data", str(chips), str(photos_with_ranges), "--corruptions"]) == 2
    assert "2 of these 5 pictures are no chips" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_evaluate_without_a_dataset_is_exit_code_2(tmp_path, capsys, folder):
    (tmp_path / "empty").mkdir()
    assert main(["evaluate", "--data", str(tmp_path / folder)]) == 2
    assert "UTKFace" in capsys.readouterr().err


# models


MODELS = [
    {
        "name": "vggface",
        "default": True,
        "tasks": ["age", "gender"],
        "parameters": 6977516,
        "megabytes": 14.0,
        "input": [160, 160],
        "trained": True,
        "engine": "LiteRT",
        "metrics": {"age": {"mae": 4.567}, "gender": {"accuracy": 0.9345}},
    },
    {
        "name": "other",
        "default": False,
        "tasks": ["age"],
        "parameters": None,
        "megabytes": None,
        "input": [96, 96],
        "trained": False,
        "engine": None,
        "metrics": None,
    },
]


def test_models_json(monkeypatch, capsys):
    monkeypatch.setattr("agegender.commands.models.list_models", lambda: MODELS)
    assert main(["models", "--json", "-"]) == 0
    assert read_strict(capsys.readouterr().out) == MODELS


def test_models_in_words(monkeypatch, capsys):
    monkeypatch.setattr("agegender.commands.models.list_models", lambda: MODELS)
    assert main(["models"]) == 0
    _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.split() == [
        "vggface",
        "*",
        "age,",
        "gender",
        "6,977,516",
        "14.0",
        "160×160",
        "LiteRT",
        "4.57",
        "93.5",
        "%",
    ]
    assert second.split() == ["other", "age", "–", "–", "96×96", "not", "here", "–", "–"]


# bench


def test_bench_times_the_stages_of_a_photo_as_they_happen(monkeypatch):
    def answer(chips):
        nothing = np.zeros(len(chips), np.float32)
        return RawAnswers(age=None, age_distribution=None, female=nothing)

    calibration = {"gender": {"temperature": 1.0, "n": 100, "uncertain_below": 0.6}}
    engine = SimpleNamespace(answer=answer, margin=0, card={"calibration": calibration})
    detector = FaceDetector()
    predictor = Predictor(detector=detector)
    monkeypatch.setattr(predictor, "load", lambda: engine)
    figures = bench.measure_stages(predictor, detector, EXAMPLE, repeats=1)
    stages, photo = figures["stages_ms"], figures["photo"]
    assert (photo["width"], photo["height"], photo["faces"]) == (1600, 858, 7)
    assert all(ms > 0 for stage in stages.values() for ms in stage.values())
    after_decoding = sum(stage["warm"] for name, stage in stages.items() if name != "decode")
    assert after_decoding < photo["ms"] + 0.01  # of nested stages none counts twice
    assert not {"detect", "find_faces"} & (vars(detector).keys() | vars(predictor).keys())


def test_bench_takes_the_median_after_warming_up(monkeypatch):
    clock = iter([0.0, 0.010, 1.0, 1.020, 2.0, 2.500])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    calls = []
    assert bench.median_ms(lambda: calls.append(1), 3) == pytest.approx(20)
    assert len(calls) == 4


def test_bench_predicts_a_folder_both_ways():
    asked = []
    predictor = SimpleNamespace(predict=asked.append)
    paths = [Path(f"{n}.jpg") for n in range(9)]
    figures = bench.measure_folder(predictor, paths)
    assert asked[:9] == paths
    assert sorted(asked[9:]) == paths
    assert figures["photos"] == 9


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_bench_measures_a_program():
    held = np.ones(200_000_000, np.uint8)
    figures = bench.time_process([sys.executable, "-c", "block = bytearray(b'1') * 100_000_000"])
    assert 100 < figures["memory_mb"] < 140  # without what this process holds
    del held
    assert figures["processor_seconds"] > 0
    assert figures["seconds"] > 0
    with pytest.raises(AgeGenderError, match="nobody"):
        bench.time_process([sys.executable, "-c", "raise SystemExit('nobody')"])


def test_bench_describes_the_machine():
    machine, versions = bench.describe_machine(), bench.describe_versions()
    assert machine["processor"]
    assert 1 <= machine["cores"] <= os.cpu_count()
    assert versions["python"].startswith("3.")
    assert versions["numpy"] == np.__version__


def test_bench_in_words():
    figures = {
        "model": "vggface",
        "engine": "LiteRT",
        "machine": {"system": "Test", "processor": "x", "vectors": "", "cores": 2},
        "versions": {"python": "3.11", "agegender": None},
        "process": {"seconds": 0.9, "processor_seconds": None, "memory_mb": None},
        "load_ms": {"detector": 20.0, "model": 60.0},
        "stages_ms": {"decode": {"cold": 12.0, "warm": 10.04}},
        "networks_ms": {"age": {"cold": 31.0, "warm": 30.0}},
        "predict_ms_per_face": {"1": 9.0, "8": 5.0},
        "detect_ms": {"640": 150.0},
        "photo": {"width": 1600, "height": 858, "faces": 6, "ms": 321.4},
        "folder": {"photos": 40, "one_after_another": 7.0, "side_by_side": 13.0, "times": 1.86},
        "peak_memory_mb": None,
    }
    lines = bench._in_words(figures)
    assert lines[:2] == ["vggface on LiteRT; x, 2 cores", "python 3.11"]
    words = [" ".join(line.split()) for line in lines]
    assert "photo of 1600 × 858 px, 6 faces 321 ms" in words
    assert "40 photos, side by side 13.0 photos a second" in words
    assert "decode 12.0 10.0" in words


# the program


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["predict"],
        ["nonsense"],
        ["predict", "a.jpg", "--csv", "-"],
        ["evaluate", "--limit", "0"],
        ["evaluate", "--limit", "many"],
        ["evaluate", "--split", "all"],
        ["evaluate", "--detect", "--corruptions"],
        ["models", "extra"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_done_is_written_when_a_signal_stops_the_run(tmp_path, monkeypatch, capsys, number):
    for index in range(60):
        write_photo(tmp_path / "in" / f"{index:02}.png", color=(90, 90, 100 + index))
    seen = []

    def predict(self, source):
        seen.append(source)
        if len(seen) == 5:
            signal.raise_signal(number)
        return []

    monkeypatch.setattr(FakePredictor, "predict", predict)
    handler = signal.getsignal(number)
    out = tmp_path / "out"
    arguments = ["--json", str(out / "r.json"), "--csv", str(out / "r.csv"), "--annotate", str(out / "drawn")]
    assert main(["predict", str(tmp_path / "in"), *arguments]) == 130
    done = len(seen)
    assert 5 <= done < 60
    assert f"stopped after {done} of 60 photos" in capsys.readouterr().err
    assert len(read_strict((out / "r.json").read_text())["images"]) == done
    assert pd.read_csv(out / "r.csv")["path"].map(Path).map(lambda p: p.name).tolist() == [
        f"{index:02}.png" for index in range(done)
    ]
    assert len(list((out / "drawn").iterdir())) == done
    assert signal.getsignal(number) is handler


def test_an_error_in_the_middle_costs_nothing_that_is_done(photos, tmp_path, monkeypatch, capsys):
    def predict(self, source):
        if source.mean() < 20:  # the last one
            raise WeightsNotFoundError("gone meanwhile")
        return []

    monkeypatch.setattr(FakePredictor, "predict", predict)
    assert main(["predict", str(photos), "--json", str(tmp_path / "r.json")]) == 2
    assert "stopped after 2 of 3 photos" in capsys.readouterr().err
    assert len(read_strict((tmp_path / "r.json").read_text())["images"]) == 2


def test_photos_are_done_side_by_side_in_order_and_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(batch, "cores", lambda: 3)
    begun, together = [], threading.Barrier(3)

    def work(item):
        begun.append(item)
        together.wait(timeout=20)  # passes only while three are at work
        busy = batch.others_are_busy()
        together.wait(timeout=20)
        return item, busy

    results = batch.in_order(work, iter(range(30)), threading.Event())
    for index, result in enumerate(results):
        assert result == (index, True)
        assert len(begun) <= index + 1 + 2 * 3
    assert sorted(begun) == list(range(30))
    # Alone, here or there, a photo has all cores to itself.
    assert not batch.others_are_busy()
    assert list(batch.in_order(lambda _: batch.others_are_busy(), [1])) == [False]


def run_python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_help(monkeypatch, capsys):
    result = run_python("-m", "agegender", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: python -m agegender")
    monkeypatch.setattr(sys, "argv", ["agegender"])
    for command in ("predict", "evaluate", "models", "bench"):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert capsys.readouterr().out.startswith(f"usage: agegender {command}")


def test_answers_that_need_no_model_do_not_wait_for_tensorflow(tmp_path):
    write_photo(tmp_path / "30_0_0_x.png", size=(200, 200))
    code = f"""
import sys
from agegender.__main__ import main
for arguments in (
    ["--help"],
    ["predict", "--nonsense"],
    ["predict", "no-such-folder-*/x.jpg"],
    ["evaluate", "--data", "no-such-folder"],
    ["models"],
    ["models", "--json", "-"],
    ["audit", "--data", {str(tmp_path)!r}, "--no-model"],
):
    try:
        main(arguments)
    except SystemExit:
        pass
    assert not {{"tensorflow", "keras"}} & set(sys.modules), arguments
"""
    result = run_python("-c", code)
    assert "Traceback" not in result.stderr
    assert result.returncode == 0


def test_a_file_name_that_is_no_text_does_not_end_the_run(tmp_path):
    if os.name != "posix":
        pytest.skip("only POSIX names files in bytes")
    name = os.fsencode(tmp_path) + b"/\xff.jpg"
    try:
        with open(name, "wb") as file:  # noqa: PTH123 - a name in bytes
            file.write(b"broken")
    except OSError:
        pytest.skip("this file system wants names that are text")
    code = f"""
import sys, types
import numpy as np
module = types.ModuleType("agegender.predictor")
class Predictor:
    model = "fake"
    def predict_chips(self, chips): return []
module.Predictor = Predictor
sys.modules["agegender.predictor"] = module
from agegender.__main__ import run_program
sys.argv[1:] = ["predict", {str(tmp_path)!r}, "--json", {str(tmp_path / "r.json")!r}]
sys.argv += ["--csv", {str(tmp_path / "r.csv")!r}]
sys.exit(run_program())
"""
    result = run_python("-c", code)
    assert result.returncode == 1, result.stderr
    assert r"\xff.jpg: " in result.stderr
    [image] = read_strict((tmp_path / "r.json").read_text(encoding="utf-8"))["images"]
    assert image["path"] == rf"{tmp_path}/\xff.jpg"
    [row] = pd.read_csv(tmp_path / "r.csv").itertuples()
    assert unescape_name(row.path) == os.fsdecode(name)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-16"])
def test_json_on_standard_output_is_utf_8_whatever_the_terminal_speaks(encoding, monkeypatch):
    monkeypatch.setattr("agegender.commands.models.list_models", lambda: [{"name": "é 😀", "tasks": []}])
    terminal = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(terminal, encoding=encoding))
    assert main(["models", "--json", "-"]) == 0
    assert json.loads(terminal.getvalue())[0]["name"] == "é 😀"


@pytest.mark.skipif(os.name != "posix", reason="Windows allows no such names")
def test_names_can_neither_steer_the_terminal_nor_break_the_line(tmp_path, capsys):
    photo = write_photo(tmp_path / "x\x1b[31m\ny.png")
    (tmp_path / "broken\r.png").write_text("no picture")
    assert main(["predict", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith(rf"{tmp_path}/x\x1b[31m\x0ay.png: face 1: ")
    assert captured.err.startswith(rf"{tmp_path}/broken\x0d.png: ")
    assert unescape_name(captured.out.split(": face")[0]) == str(photo)
    assert main(["predict", str(tmp_path / "gone\x1b.png")]) == 1
    assert main(["evaluate", "--data", str(tmp_path / "gone\x1b")]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_traceback():
    code = """
import sys
from agegender.__main__ import main
from agegender.commands import models
models.list_models = lambda: [{"name": "x", "tasks": []}]
sys.exit(main(["models", "--json", "-"]))
"""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=write_end, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(write_end)
    assert result.stderr == b""
    assert result.returncode == 1
