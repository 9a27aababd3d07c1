"""An exported model answers elsewhere as it does here: by docs/export.md's lines, in the plain runtimes."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from agegender import Predictor
from agegender.__main__ import main
from agegender.errors import ConfigError
from agegender.faces import CHIP_SIZE
from agegender.models.card import read_card
from agegender.models.conversion import to_onnx
from agegender.places import SHIPPED_WEIGHTS
from agegender.publishing.exchange import METADATA, export_model

FILES = {"litert": "model.tflite", "onnx": "model.onnx"}

MARGIN = Predictor().margin
GUIDE = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A folder with the default model in every format."""
    folder = tmp_path_factory.mktemp("exported")
    for format, file in FILES.items():
        assert main(["export", "--format", format, "--output", str(folder / file)]) == 0
    return folder


@pytest.fixture(scope="module")
def chips(astronaut) -> np.ndarray:
    """A hundred chips of a free portrait: shifted, turned, scaled, lit and blurred otherwise each time."""
    rng = np.random.default_rng(3)
    made = []
    for _ in range(100):
        matrix = cv2.getRotationMatrix2D((224, 110), rng.normal(0, 15), rng.uniform(0.6, 1.6))
        matrix[:, 2] += rng.normal((100 - 224, 95 - 110), 12) + MARGIN
        side = CHIP_SIZE + 2 * MARGIN
        chip = cv2.warpAffine(astronaut, matrix, (side, side), flags=cv2.INTER_AREA)
        chip = cv2.GaussianBlur(chip, (0, 0), rng.uniform(0.1, 4))
        made.append(np.clip(chip * rng.uniform(0.3, 1.3), 0, 255).astype(np.uint8))
    return np.stack(made)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("format", FILES)
def test_the_lines_of_the_guide_give_our_answers_for_a_hundred_chips(
    exported, chips, format, tmp_path, monkeypatch
):
    with_litert, with_onnx, answers = blocks("python")
    lines = {"litert": with_litert, "onnx": with_onnx}[format]
    ours = Predictor().predict_chips(chips, margin=MARGIN)
    assert len({answer[0].years for answer in ours}) > 20  # not a hundred times the same
    assert {answer[1].label for answer in ours} == {"male", "female"}
    monkeypatch.chdir(tmp_path)
    Path(FILES[format]).symlink_to(exported / FILES[format])
    found: dict[str, list[float]] = {"years": [], "low": [], "high": [], "female": []}
    for chip in chips:
        cv2.imwrite("chip.png", chip[..., ::-1])
        names: dict[str, object] = {}
        exec(lines + answers, names)
        for name, values in found.items():
            values.append(float(names[name][0]))
    age, gender = zip(*ours, strict=True)
    assert found["years"] == [estimate.years for estimate in age]
    assert found["low"] == [estimate.low for estimate in age]
    assert found["high"] == [estimate.high for estimate in age]
    probability = [g.probability if g.label == "female" else 1 - g.probability for g in gender]
    assert found["female"] == pytest.approx(probability, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("format", FILES)
def test_the_file_says_what_it_is(exported, format):
    card = read_card("vggface")
    facts = read_metadata(exported / FILES[format])
    assert facts["name"] == "vggface"
    assert facts["input"]["chip"]["size"] == CHIP_SIZE + 2 * MARGIN
    assert facts["input"]["shape"][1:] == [*card["options"]["input_size"], 3]
    for key in ("calibration", "limits", "intended_use", "licence"):
        assert facts[key] == card[key]
    assert set(facts["outputs"]) == {"age", "age_distribution", "female"}
    weights = sum((SHIPPED_WEIGHTS / "vggface" / file).stat().st_size for file in card["files"])
    assert (exported / FILES[format]).stat().st_size < 1.05 * weights


def read_metadata(path: Path) -> dict:
    import onnxruntime

    if path.suffix == ".tflite":
        return json.loads(zipfile.ZipFile(path).read(METADATA))
    return json.loads(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map[METADATA])


@pytest.mark.slow
def test_one_network_for_both_tasks_is_exported_as_it_is(chips, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    metadata = export_model("age-range", "litert", tmp_path / "model.tflite")
    engine = Predictor("age-range").load()
    raw = engine.answer(chips[:5])
    small = np.stack([cv2.resize(chip, (96, 96), interpolation=cv2.INTER_AREA) for chip in chips[:5]])
    out = Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()(rgb=small.astype(np.float32))
    assert list(metadata["outputs"]) == sorted(out) == ["age", "age_range", "female"]
    assert out["age"][:, 0] == pytest.approx(raw.age, abs=0.05)
    assert out["female"][:, 0] == pytest.approx(raw.female, abs=1e-3)
    np.testing.assert_allclose(out["age_range"], raw.age_range, atol=1e-3)


def test_without_the_packages_that_write_onnx_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ConfigError, match=r"requirements-export\.txt"):
        to_onnx(None)


def test_without_tensorflow_it_says_what_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delitem(sys.modules, "agegender.publishing.exchange", raising=False)
    assert main(["export", "--format", "litert", "--output", str(tmp_path / "x.tflite")]) == 2
    assert "keras" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--format", "coreml", "--output", "x"], ["--format", "litert"]])
def test_an_unknown_format_or_no_file_is_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(["export", *arguments])
    assert error.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_an_unknown_model_is_told_at_once(tmp_path, capsys):
    arguments = ["--format", "litert", "--output", str(tmp_path / "x.tflite")]
    assert main(["export", "--model", "nonsense", *arguments]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
