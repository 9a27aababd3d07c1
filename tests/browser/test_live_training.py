"""A training run that grows while somebody watches it."""

from __future__ import annotations

import time

import pandas as pd
import pytest
from playwright.sync_api import expect

from agegender.models.card import HISTORY_FILE
from agegender.runs.records import HISTORY_COLUMNS, new_run_folder, write_json

pytestmark = pytest.mark.browser

EPOCHS = 8


class FakeRun:
    """Writes a record as `agegender.training.callbacks` does, an epoch when it is told to."""

    def __init__(self, runs):
        self.folder = new_run_folder("vggface", "age", runs)
        self.rows = []
        stages = [{"name": "head", "epochs": EPOCHS}]
        write_json(self.folder / "config.json", {"system": "vggface", "task": "age", "stages": stages})

    def end_epoch(self):
        epoch = len(self.rows) + 1
        figures = {"loss": 6 / epoch, "val_loss": 7 / epoch, "mae": 9 / epoch, "val_mae": 10 / epoch}
        place = {"task": "age", "stage": "head", "epoch": epoch, "seconds": 60.0, "learning_rate": 1e-3}
        self.rows.append(place | figures)
        table = pd.DataFrame(self.rows, columns=list(HISTORY_COLUMNS))
        temporary = self.folder / "history.tmp"
        table.to_csv(temporary, index=False)
        temporary.replace(self.folder / HISTORY_FILE)
        self.say("running", epoch=epoch + 1)

    def say(self, state, epoch=1):
        status = {"state": state, "epoch": epoch, "epochs": EPOCHS, "step": 5, "steps": 10}
        write_json(self.folder / "status.json", {**status, "seconds_left": 300, "updated": time.time()})


@pytest.fixture
def run(app):
    run = FakeRun(app.folder / "runs")
    yield run
    run.say("finished", epoch=EPOCHS)


def test_a_run_grows_while_the_page_is_open(visit, run):
    for _ in range(2):
        run.end_epoch()
    visitor = visit(f"/training_curves?runs={run.folder.name}")
    page = visitor.page
    card = visitor.part("stMetric")
    expect(card).to_contain_text("epoch 2 of 2")
    expect(page.get_by_text(f"Training now: {run.folder.name}, epoch 3 of {EPOCHS}")).to_be_visible()
    page.evaluate("window.neverReloaded = true")
    run.end_epoch()
    expect(card).to_contain_text("epoch 3 of 3")
    expect(card).to_contain_text("3.33 years")
    expect(page.get_by_text(f"epoch 4 of {EPOCHS}")).to_be_visible()
    run.say("finished", epoch=3)
    expect(page.get_by_text("Training now")).to_have_count(0)
    assert page.evaluate("window.neverReloaded")


def test_a_run_that_begins_while_the_page_is_open_appears(visit, app):
    visitor = visit("/training_curves")
    late = FakeRun(app.folder / "runs")
    late.end_epoch()
    expect(visitor.page.get_by_text(f"Training now: {late.folder.name}")).to_be_visible()
    late.say("finished", epoch=1)
