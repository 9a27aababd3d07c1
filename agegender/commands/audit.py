"""`python -m agegender audit`: what to know about a folder of labelled chips before training on it."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit.audit import Audit, audit, near_pairs_of
from agegender.audit.contact_sheets import DISTANCE_BANDS, Tile, draw_sheet, sample_pairs
from agegender.audit.findings import KINDS, document, findings
from agegender.audit.lookalikes import most_alike
from agegender.audit.out_of_fold import LEAST_FILES, predict_out_of_fold
from agegender.audit.suspects import Predictions
from agegender.commands import (
    OK,
    SOME_FAILED,
    complain,
    prepare_outputs,
    progress_bars,
    save_picture,
    say,
    write_all,
    write_json,
)
from agegender.data.duplicates import fingerprint, group_pairs
from agegender.data.landmarks import find_faces
from agegender.data.split import SPLITS
from agegender.data.table import Dataset, read_dataset
from agegender.errors import DatasetError
from agegender.export import to_csv, write_atomically
from agegender.faces.face import Face
from agegender.files import paths_below
from agegender.labels import GENDERS, say_years
from agegender.runs.records import LANDMARKS_CACHE, RUNS_DIR

_SUSPECTS_A_SHEET: Final = 60
_NAMED: Final = 20
_LINE_WIDTH: Final = 100
_NAME_WIDTH: Final = 12


def run(
    data: list[str] | None,
    *,
    suspects: bool,
    json: str | None,
    csv: str | None,
    pictures: Path | None,
) -> int:
    """Audits labelled faces.

    Returns:
        0, or 1 where some labelled files could not be read.

    Raises:
        ConfigError: An output cannot be written.
        DatasetError: The folder is missing or holds no labelled chip, or the pictures would go into it.
        WeightsNotFoundError: The face-recognition base is not there.
    """
    dataset = read_dataset(data)
    if pictures is not None and pictures.resolve().is_relative_to(dataset.folder.resolve()):
        raise DatasetError(f"{pictures} is inside the dataset, which would take the sheets for chips")
    prepare_outputs({"--json": json, "--csv": csv}, {"--pictures": pictures})
    began, cpu_began = time.perf_counter(), time.process_time()
    with progress_bars("file") as progress:
        faces = None
        if not dataset.table["aligned"].all():
            faces = find_faces(dataset, cache=RUNS_DIR / LANDMARKS_CACHE, progress=progress)
        prints = fingerprint(dataset, faces=faces, progress=progress)
        pairs = near_pairs_of(prints, progress=progress)
    groups = group_pairs(prints.digests, *pairs.duplicates())
    features = _features(dataset, faces) if suspects else None
    predictions = None if features is None else _predictions(dataset, groups, features)
    with _one_step("Summing up"):
        result = audit(dataset, prints=prints, faces=faces, pairs=pairs, predictions=predictions)
        found = findings(result)
        figures = document(result)
    figures["run"] = {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu_began, 1),
        "cores": os.cpu_count(),
    }

    def write_findings() -> None:
        if csv is not None:
            write_atomically(csv, to_csv(found))

    def draw() -> None:
        if pictures is not None:
            with _one_step("Looking for more copies"):
                alike = None if features is None else most_alike(features, groups)
            _draw(result, alike, pictures)

    def tell() -> None:
        if json is not None:
            write_json(figures, json)
        else:
            for line in _in_words(figures, found):
                say(line)

    for file, reason in result.unreadable.itertuples(index=False):
        complain(f"{file}: {reason}")
    write_all(tell, write_findings, draw)
    return OK if result.unreadable.empty else SOME_FAILED


@contextmanager
def _one_step(what: str) -> Iterator[None]:
    """A bar for a few seconds' work that cannot be counted."""
    with progress_bars("step") as progress:
        progress(what, 0, 1)
        yield
        progress(what, 1, 1)


def _features(dataset: Dataset, faces: Sequence[Face | None] | None) -> NDArray[np.float32] | None:
    """What a network that never saw the files makes of them; ``None`` where they are too few."""
    if len(dataset.table) < LEAST_FILES:
        complain(f"fewer than {LEAST_FILES} labelled files: none of their labels is doubted")
        return None
    from agegender.audit.frozen_features import frozen_features  # after the checks: imports TensorFlow

    files = paths_below(dataset.folder, dataset.table["file"])
    with progress_bars("file") as progress:
        features = frozen_features(files, faces=faces, progress=progress)
    if faces is not None:
        seen = np.array([face is not None for face in faces]) | dataset.table["aligned"].to_numpy(bool)
        features[~seen] = np.nan
    return features


def _predictions(
    dataset: Dataset, groups: NDArray[np.int64], features: NDArray[np.float32]
) -> Predictions | None:
    with _one_step("Predicting"):
        try:
            return predict_out_of_fold(features, dataset.table["age"], dataset.table["gender"], groups)
        except DatasetError as error:
            complain(f"{error}: none of the labels is doubted")
            return None


def _draw(result: Audit, alike: pd.DataFrame | None, folder: Path) -> None:
    """Writes contact sheets.

    Args:
        result: Gives pairs by distance, shown without their labels, and suspicious labels.
        alike: Pairs that are not known as copies but look like it, or ``None``.
        folder: Where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = paths_below(result.dataset.folder, result.files["file"])
    splits = result.files["split"].tolist()
    # Identical files are the same photo, whoever looks.
    sample = sample_pairs(result.near[~result.near["same_bytes"]])
    sheets: dict[str, list[Tile]] = {}
    for band, number, first, second in sample[["band", "number", "first", "second"]].to_numpy().tolist():
        low, high = DISTANCE_BANDS[band]
        tile = Tile((files[first], files[second]), (str(number),))
        sheets.setdefault(f"pairs-{low:02}-{high:02}-bits", []).append(tile)
    if alike is not None:
        for number, (first, second) in enumerate(alike[["first", "second"]].to_numpy().tolist(), start=1):
            tile = Tile((files[first], files[second]), (f"{number}: {splits[first]} | {splits[second]}",))
            sheets.setdefault("look-alikes", []).append(tile)
    for index, tile in enumerate(_suspect_tiles(result, files)):
        sheets.setdefault(f"suspects-{index // _SUSPECTS_A_SHEET + 1:02}", []).append(tile)
    with progress_bars("sheet") as progress:
        for done, (name, tiles) in enumerate(sheets.items(), start=1):
            save_picture(draw_sheet(tiles), folder / f"{name}.png")
            progress("Drawing", done, len(sheets))


def _suspect_tiles(result: Audit, files: Sequence[Path]) -> Iterator[Tile]:
    if result.suspects is None:
        return
    for rank, row in enumerate(result.suspects["row"].tolist(), start=1):
        face = result.files.iloc[row]
        label = f"{rank}: {say_years(face['age_min'], face['age_max'])} {GENDERS[face['gender']]}"
        seen = f"{face['predicted_age']:.0f} {GENDERS[int(face['predicted_female'] >= 0.5)]}"
        yield Tile((files[row],), (label, f"looks {seen}"))


def _in_words(figures: dict[str, Any], found: pd.DataFrame) -> list[str]:
    """Lays the figures out for people."""
    duplicates, noise = figures["duplicates"], figures["label_noise"]
    sizes, split, dates = figures["sizes"], figures["split"], list(figures["dates"]["by_day"])
    usual = next(iter(sizes["pixels"]), "no").replace("x", "×")
    rows = [
        ("files", f"{figures['files']:,}, of which {figures['labelled']:,} have readable labels"),
        *(_sources_in_words(figures["sources"]) if "sources" in figures else ()),
        ("split", ", ".join(f"{name} {split[name]:,}" for name in (*SPLITS, "dev") if name in split)),
        ("sizes", f"{usual} pixels, {sizes['odd']} other; {_kilobytes(sizes['bytes'])}"),
        ("dates", f"{dates[0]} to {dates[-1]}, {figures['dates']['undated']:,} without" if dates else "none"),
        *((name, _shares(figures["balance"][key])) for name, key in _BALANCES),
        (
            "duplicates",
            f"{duplicates['photos']:,} photos in {duplicates['files']:,} files: {duplicates['redundant']:,} "
            f"redundant ({duplicates['identical_pairs']:,} identical pairs, "
            f"{duplicates['near_pairs']:,} near ones)",
        ),
    ]
    if noise is not None:
        floor = noise["age_floor_reweighted"]
        rows += [
            (
                "conflicts",
                f"two labels of one photo are {noise['age_gap']['value']:.1f} years apart on average, over 5 "
                f"years in {_percent(noise['over5'])} and over 10 in {_percent(noise['over10'])} of pairs; "
                f"gender differs in {_percent(noise['gender_differs'])}, ethnicity in "
                f"{_percent(noise['ethnicity_differs'])}",
            ),
            (
                "label noise",
                f"no model's mean absolute error can be below about {floor['value']:.1f} years "
                f"({floor['low']:.1f} to {floor['high']:.1f}), nor its gender accuracy above "
                f"{_percent(noise['gender_ceiling'])}",
            ),
        ]
    suspects = figures["suspects"]
    if suspects is not None:
        rows.append(
            (
                "suspicious",
                f"{suspects['files']:,} labels: age of {suspects['age']:,}, gender of {suspects['gender']:,} "
                f"(out of fold: error {suspects['model']['age_mae']:.2f} years, "
                f"gender accuracy {100 * suspects['model']['gender_accuracy']:.1f} %)",
            )
        )
    lines = [line for name, text in rows for line in _wrapped(name, text)]
    counts = found["kind"].value_counts()
    lines += ["", f"{'findings':20} {'files':>6}  severity"]
    lines += [f"{kind:20} {counts.get(kind, 0):>6,}  {level}" for kind, level in KINDS.items()]
    unusable = [*figures["damaged_names"], *figures.get("no_label", []), *figures["no_picture"]]
    lines += [f"{entry['file']}: {entry['reason']}" for entry in unusable[:_NAMED]]
    if len(unusable) > _NAMED:
        lines.append(f"and {len(unusable) - _NAMED:,} more that cannot be used; --csv lists them all")
    return lines


def _sources_in_words(sources: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, figures in sources.items():
        words = [f"{name} {figures['files']:,} faces"]
        if figures["ranges"]:
            words.append(f"{figures['ranges']:,} labelled with a range of years")
        if figures["no_face"]:
            words.append(f"no face found in {figures['no_face']:,}")
        if figures["leaked"]:
            words.append(f"{figures['leaked']:,} left out of training, being in a later part too")
        yield "source", ", ".join(words)


def _wrapped(name: str, text: str) -> list[str]:
    indent = " " * (_NAME_WIDTH + 1)
    first = f"{name:{_NAME_WIDTH}} "
    return textwrap.wrap(text, _LINE_WIDTH, initial_indent=first, subsequent_indent=indent)


_BALANCES: Final = (("ages", "band"), ("genders", "gender"), ("ethnicities", "ethnicity"))


def _shares(counts: dict[str, int]) -> str:
    total = max(sum(counts.values()), 1)
    return ", ".join(f"{name} {100 * count / total:.0f} %" for name, count in counts.items())


def _percent(estimate: dict[str, float]) -> str:
    return f"{100 * estimate['value']:.1f} %"


def _kilobytes(figures: dict[str, float]) -> str:
    least, middle, most = (figures[name] / 1000 for name in ("least", "median", "most"))
    return f"{least:.1f} to {most:.1f} kB, median {middle:.1f}"
