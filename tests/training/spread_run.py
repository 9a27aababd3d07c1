"""Trains tiny runs over several devices, for `test_devices.py`, which gives it a process of its own.

python -m tests.training.spread_run DATA FOLDER mirrored
python -m tests.training.spread_run DATA FOLDER multiworker
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from agegender.data.table import Dataset, read_dataset
from agegender.errors import ConfigError
from agegender.models import backbones
from agegender.models.systems.vggface import VGGFaceOptions
from agegender.training import loop
from agegender.training.callbacks import Progress
from agegender.training.config import Stage, TrainingConfig
from agegender.training.devices import StrategyName
from tests.training.conftest import build_tiny


def recipe(batch_size: int = 32) -> TrainingConfig:
    # Without dropout, whose masks are drawn for each device's part of a batch.
    return TrainingConfig(
        "both",
        options=VGGFaceOptions("tiny", (32, 32), hidden=(8,), dropout=0.0),
        base_weights="none",
        stages=(Stage("head", 1, 0.05, "all"), Stage("finetune", 2, 0.05)),
        batch_size=batch_size,
        ema_momentum=0.6,
        layer_decay=0.7,
        clip_norm=0.1,
        mixup=0.3,
        balance="gender",
    )


def run(folder: Path, dataset: Dataset, strategy: StrategyName, **how: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    loop.train(recipe(), dataset, folder, quiet=True, strategy=strategy, **how)


def mirrored(dataset: Dataset, folder: Path) -> None:
    """The same recipe on one device, and on two with an interruption in the middle of its second stage."""
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    run(folder / "one", dataset, "none")

    begin = Progress.on_epoch_begin

    def interrupt(self: Progress, epoch: int, logs: dict | None = None) -> None:
        begin(self, epoch, logs)
        if epoch == 2:
            raise KeyboardInterrupt

    Progress.on_epoch_begin = interrupt
    try:
        run(folder / "two", dataset, "mirrored")
    except KeyboardInterrupt:
        Progress.on_epoch_begin = begin
    run(folder / "two", dataset, "mirrored", resume=True)
    try:
        loop.train(recipe(batch_size=33), dataset, folder, strategy="mirrored")
    except ConfigError as error:
        (folder / "refusal.txt").write_text(str(error), encoding="utf-8")


if __name__ == "__main__":
    data, target, name = sys.argv[1:]
    tiny = backbones.Backbone("tiny", build_tiny, (32, 32), ("conv1", "conv2"), {})
    backbones.BACKBONES = {**backbones.BACKBONES, "tiny": tiny}
    if name == "mirrored":
        mirrored(read_dataset(data), Path(target))
    else:
        run(Path(target), read_dataset(data), "multiworker")
