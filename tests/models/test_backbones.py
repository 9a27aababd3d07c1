"""Backbones: shapes, the order of their blocks, and where their weights come from."""

from __future__ import annotations

from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from agegender.errors import AgeGenderError, ConfigError, WeightsNotFoundError
from agegender.models.backbones import BACKBONES, get_backbone, load_base_weights
from agegender.models.store import file_sha256

SMALL = {"mobilenet": (32, 32), "vgg16": (48, 48), "resnet18": (32, 32)}
FEATURES = {"mobilenet": 1024, "vgg16": 512, "resnet18": 512}


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def built(request) -> tuple[str, keras.Model]:
    return request.param, get_backbone(request.param).build(SMALL[request.param])


@pytest.fixture(scope="module")
def mobilenet() -> keras.Model:
    return get_backbone("mobilenet").build((32, 32))


def features(model: keras.Model, seed: int = 0) -> np.ndarray:
    chips = np.random.default_rng(seed).uniform(0, 255, (2, *model.input_shape[1:])).astype(np.float32)
    return np.asarray(model(chips))


def test_pixels_become_one_feature_vector(built):
    name, model = built
    assert model.output_shape == (None, FEATURES[name])
    assert features(model).shape == (2, FEATURES[name])
    assert np.isfinite(features(model)).all()


def test_whole_number_pixels_answer_as_floats_do(built):
    _, model = built
    pixels = np.random.default_rng(4).integers(0, 256, (1, *model.input_shape[1:]), dtype=np.uint8)
    assert np.asarray(model(pixels)) == pytest.approx(np.asarray(model(pixels.astype(np.float32))))


def test_blocks_name_layers_from_the_input_up(built):
    name, model = built
    order = [layer.name for layer in model.layers]
    positions = [order.index(block) for block in get_backbone(name).blocks]
    assert positions == sorted(positions)
    # Nothing with weights lies below the first block: freezing it is freezing all there is.
    assert all(not layer.weights for layer in model.layers[: positions[0]])


def test_preprocessing_is_the_first_layer(built):
    _, model = built
    assert model.layers[1].name in ("mean_subtraction", "normalization")


def test_the_default_size_is_one_it_can_be_built_at(built):
    name, _ = built
    height, width = get_backbone(name).input_size
    assert min(height, width) >= min(SMALL[name])


@pytest.mark.parametrize(
    ("name", "size"),
    [("mobilenet", (33, 32)), ("mobilenet", (32, 100)), ("mobilenet", (0, 0)), ("vgg16", (47, 64))],
)
def test_sizes_it_cannot_take_are_refused(name, size):
    with pytest.raises(ConfigError, match=f"{size[0]}x{size[1]}"):
        get_backbone(name).build(size)


def test_an_unknown_backbone_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'resnet'.*mobilenet.*vgg16"):
        get_backbone("resnet")


def test_the_default_of_each_backbone_is_what_it_was_published_with():
    assert {name: next(iter(backbone.bases)) for name, backbone in BACKBONES.items()} == {
        "mobilenet": "vggface2",
        "vgg16": "vggface",
        "resnet18": "imagenet",
    }


def test_no_base_weights_leave_the_network_as_it_is(mobilenet):
    before = mobilenet.get_weights()
    assert load_base_weights(mobilenet, "mobilenet", "none") == "random"
    assert all((a == b).all() for a, b in zip(before, mobilenet.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("backbone", "base"), [("mobilenet", "hed"), ("mobilenet", "vggface"), ("vgg16", "x")]
)
def test_names_a_backbone_does_not_know_are_refused_with_those_it_does(backbone, base, mobilenet):
    with pytest.raises(ConfigError, match=rf"'{base}'.*{', '.join(BACKBONES[backbone].bases)}"):
        load_base_weights(mobilenet, backbone, base)


def test_a_default_is_what_its_name_is(mobilenet):
    sources = {load_base_weights(mobilenet, "mobilenet", base) for base in (None, "default", "vggface2")}
    assert len(sources) == 1


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_recorded_as_that_file_and_nothing_more(kind, mobilenet, tmp_path):
    path = tmp_path / "mine.weights.h5"
    mobilenet.save_weights(path)
    assert load_base_weights(mobilenet, "mobilenet", kind(path)) == (
        f"weight file mine.weights.h5, SHA-256 {file_sha256(path)}"
    )


def test_base_weights_fill_the_mobilenet():
    mobilenet = get_backbone("mobilenet").build((32, 32))
    before = [np.array(weight) for weight in mobilenet.get_weights()]
    source = load_base_weights(mobilenet, "mobilenet")
    after = mobilenet.get_weights()
    assert "VGGFace2" in source
    assert all((a != b).any() for a, b in zip(before, after, strict=True))
    assert all(np.isfinite(weight).all() for weight in after)


def test_base_weights_know_a_face_again(astronaut):
    model = get_backbone("mobilenet").build((96, 96))
    load_base_weights(model, "mobilenet")
    parts = astronaut[20:200, 140:310], astronaut[300:480, 300:480]
    face, suit = (cv2.resize(part, (96, 96)) for part in parts)
    darker = (0.7 * face).astype(np.uint8)
    vectors = np.asarray(model(np.stack([face, face[:, ::-1], darker, suit]).astype(np.float32)))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    mirrored, dark, other = vectors[1:] @ vectors[0]
    assert mirrored > 0.7
    assert dark > 0.8
    assert other < 0.4


@pytest.mark.parametrize("backbone", ["mobilenet", "vgg16"])
def test_a_missing_file_is_named(backbone, mobilenet, tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"nowhere\.weights\.h5"):
        load_base_weights(mobilenet, backbone, tmp_path / "nowhere.weights.h5")


@pytest.mark.parametrize("name", ["broken.weights.h5", "broken.h5"])
@pytest.mark.parametrize("backbone", ["mobilenet", "vgg16"])
def test_a_damaged_file_is_refused_with_its_name(backbone, name, mobilenet, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"this is no HDF5 file")
    with pytest.raises(AgeGenderError, match=r"broken"):
        load_base_weights(mobilenet, backbone, path)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_another_network_s_weights_are_refused(mobilenet, tmp_path):
    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(path)
    with pytest.raises(AgeGenderError, match=r"other\.weights\.h5"):
        load_base_weights(mobilenet, "mobilenet", path)
