"""How many people of which age and perceived gender many photos show, corrected for the model's own errors.

What a model answers of a crowd is no count of it: some of the 30-year-olds are among those answered as 40,
and some women among the men. The model's card says how often, from labelled faces that it never saw. So the
answered counts are one draw from a mixture: of each true cell k (an age band and a gender) its share, with
the card's rates M[k, o] of being answered as cell o.

The true counts are drawn from their posterior. M is drawn from what the card's counts leave open (Dirichlet
by band, beta by gender, with Jeffreys' priors); with it the likeliest shares are found by expectation
maximisation (M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a
priori probabilities", 2002), and from there shares and true cells of the answered faces are drawn in turn
(data augmentation: M. A. Tanner, W. H. Wong, "The calculation of posterior distributions by data
augmentation", 1987). Means are the estimates, quantiles the intervals. The folder never changes M: a model
that errs differently on its photos than on the card's is beyond these intervals. Errors of age and gender
are taken as independent within a true cell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agegender.errors import ConfigError, ModelError
from agegender.files import MALFORMED, escape_no_text, is_url, read_json
from agegender.labels import AGE_BAND_NAMES, GENDERS, age_band
from agegender.models.card import fingerprint, read_card
from agegender.progress import Progress

CONFIDENCE: Final = 0.95
CHAINS: Final = 200
"""Rates drawn for the whole; for a folder or a month it is `GROUP_CHAINS`, as there may be many."""
GROUP_CHAINS: Final = 60
EM_STEPS: Final = 100
GIBBS_STEPS: Final = 30
KEPT_STEPS: Final = 5
SEED: Final = 0
UNKNOWN_MONTH: Final = "unknown"

_BANDS: Final = len(AGE_BAND_NAMES)
_CELLS: Final = 2 * _BANDS
"""Of a band and a gender: twice the band's number, and the gender's."""
_PRIOR: Final = 0.5
"""What is added to each count of the card where rates are drawn: Jeffreys' prior, of bands shared by nine."""
_SHARE_PRIOR: Final = 0.5
"""Likewise, what is added to the true counts where shares are drawn."""


@dataclass(frozen=True, eq=False)
class ErrorRates:
    """What a card says of a model's errors.

    Attributes:
        bands: Faces of each labelled age band that were answered as each band, shape (9, 9).
        right: Faces of each labelled band and gender whose gender was answered as labelled, shape (9, 2).
        labelled: How many faces that was of, shape (9, 2).
    """

    bands: NDArray[np.float64]
    right: NDArray[np.float64]
    labelled: NDArray[np.float64]

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> ErrorRates:
        """Reads the rates of a card.

        Raises:
            ModelError: The card does not have them all.
        """
        try:
            ranges = card["metrics"]["age"]["ranges"]
            groups = card["groups"]["by_age_and_gender"]
            if ranges["own_answer"]:
                raise ModelError("its card's age ranges are answers of their own, not those of its ages")
            cells = [[groups[f"{band}, {gender}"] for gender in GENDERS] for band in AGE_BAND_NAMES]
            labelled = np.array([[cell["n"] for cell in row] for row in cells], np.float64)
            shares = [[cell["gender"]["accuracy"]["value"] for cell in row] for row in cells]
            bands = np.array(ranges["confusion"], np.float64)
            rates = cls(bands, labelled * np.array(shares, np.float64), labelled)
        except MALFORMED as error:
            raise ModelError(
                f"its card does not say how often it errs by age and gender ({error})"
            ) from error
        if bands.shape != (_BANDS, _BANDS) or not (bands.sum(1).all() and labelled.all()):
            raise ModelError("some of its card's age bands have no faces")
        return rates

    def draw(self, random: np.random.Generator) -> NDArray[np.float64]:
        """Rates that the card leaves possible: shares of answered cells by true one, shape (18, 18)."""
        bands = np.stack([random.dirichlet(row + _PRIOR / _BANDS) for row in self.bands])
        right = random.beta(self.right + _PRIOR, self.labelled - self.right + _PRIOR)
        return _cell_rates(bands, right)


def _cell_rates(bands: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    genders = np.empty((_BANDS, 2, 2))  # band, true, answered
    genders[:, 0, 0], genders[:, 1, 1] = right[:, 0], right[:, 1]
    genders[:, 0, 1], genders[:, 1, 0] = 1 - right[:, 0], 1 - right[:, 1]
    return np.einsum("ij,igh->igjh", bands, genders).reshape(_CELLS, _CELLS)


@dataclass(frozen=True)
class PhotoAnswers:
    """What a summary needs to know of a photo.

    Attributes:
        path: Its name, with folders before it.
        taken: When it was taken, by its camera's clock, where that is known.
        failed: Whether it could not be used.
        answers: Of each face its age in years, its likelier gender, and whether gender was left open.
    """

    path: str
    taken: datetime | None = None
    failed: bool = False
    answers: tuple[tuple[float | None, str | None, bool], ...] = ()


def draw_counts(
    answered: NDArray[np.int64], errors: ErrorRates, *, chains: int = CHAINS, seed: int = SEED
) -> NDArray[np.int64]:
    """Draws what the true counts of a crowd may be; see the module.

    Args:
        answered: Faces by answered cell, int64 of shape (18,).
        errors: The model's.
        chains: How many times rates are drawn from what the card leaves open.
        seed: Of all draws.

    Returns:
        Faces by true cell, int64 of shape (draws, 18), each with the sum of ``answered``. Their means are
        estimates and their quantiles intervals, also of sums of cells.
    """
    random = np.random.default_rng(seed)
    rates = np.stack([errors.draw(random) for _ in range(chains)])
    counts = np.full((chains, _CELLS), answered.sum() / _CELLS)
    for _ in range(EM_STEPS):
        expected = np.maximum(np.einsum("ck,cko->co", counts, rates), 1e-12)
        counts = counts * np.einsum("co,cko->ck", answered / expected, rates)
    kept = []
    for step in range(GIBBS_STEPS):
        shares = random.standard_gamma(counts + _SHARE_PRIOR)
        origins = (shares[:, :, None] * rates).swapaxes(1, 2) + 1e-300  # chain, answered, true
        people = random.multinomial(answered, origins / origins.sum(2, keepdims=True))
        counts = people.sum(1).astype(np.float64)
        if step >= GIBBS_STEPS - KEPT_STEPS:
            kept.append(people.sum(1))
    return np.concatenate(kept)


def summarize(source: str | os.PathLike[str], progress: Progress | None = None) -> dict[str, Any]:
    """Summarizes the answers of many photos.

    Args:
        source: What ``predict --parquet`` or ``predict --json`` wrote; of the former also a URL.
        progress: Called after each folder and month.

    Returns:
        ``model``; ``corrected``, whether the model's errors are accounted for, and if not why in
        ``not_corrected``; ``photos``, ``faces`` and ``errors`` (photos that could not be used); ``all``; and
        ``by_folder`` and ``by_month`` ("2026-11", or "unknown" where a photo tells no time), which map names
        to the same as ``all`` is: ``photos``, ``faces``, ``cannot_tell`` (faces whose gender was left open;
        ``None`` where the source does not say), and lists ``by_age``, ``by_gender`` and ``by_age_and_gender``
        of ``age`` and ``gender``, how many faces were ``answered`` so, the ``estimate`` of how many there
        are, and its ``interval`` of 95 %.

    Raises:
        ConfigError: The source cannot be read, or is neither of the two, or shows no face.
    """
    return _count(*_read(os.fspath(source)), progress)


def summarize_photos(model: str, photos: Iterable[PhotoAnswers]) -> dict[str, Any]:
    """Summarizes the answers that the model of this name here gave of many photos.

    Args:
        model: The model's name.
        photos: What is known of each photo.

    Returns:
        As `summarize`.

    Raises:
        ConfigError: The photos show no face, or the model does not predict both age and gender.
    """
    rows = [
        (photo, number, *answer)
        for photo in photos
        for number, answer in (
            enumerate(photo.answers, 1) if photo.answers else [(None, (None, None, False))]
        )
    ]
    numbers = [number for _, number, *_ in rows]
    found = _Rows(
        _cells(
            "this collection", numbers, [age for *_, age, _, _ in rows], [gender for *_, gender, _ in rows]
        ),
        np.array([number in {None, 1} for number in numbers]),
        np.array([photo.failed for photo, *_ in rows]),
        np.array([unsure for *_, unsure in rows]),
        [_folder(photo.path) for photo, *_ in rows],
        [_month(photo.taken) for photo, *_ in rows],
    )
    return _count(model, None, found)


def _count(model: str, sha256: str | None, rows: _Rows, progress: Progress | None = None) -> dict[str, Any]:
    errors, why = None, None
    try:
        card = read_card(model)
        if sha256 not in {None, fingerprint(card)}:
            raise ModelError("it is another version of the model here")
        errors = ErrorRates.of_card(card)
    except ModelError as error:
        why = str(error)
    every = np.arange(len(rows.cells))
    groups = {"by_folder": _by_name(rows.folders), "by_month": _by_name(rows.months)}
    total, done = sum(map(len, groups.values())), 0
    counted: dict[str, dict[str, Any]] = {}
    for key, members in groups.items():
        counted[key] = {}
        for name in sorted(members):
            counted[key][name] = _group(rows, members[name], errors)
            done += 1
            if progress is not None:
                progress("Counting", done, total)
    return {
        "model": model,
        "corrected": errors is not None,
        "not_corrected": why,
        "confidence": CONFIDENCE,
        "photos": int(rows.first.sum()),
        "faces": int((rows.cells >= 0).sum()),
        "errors": int((rows.first & rows.failed).sum()),
        "all": _group(rows, every, errors),
        **counted,
    }


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of the table, each attribute of length n.

    Attributes:
        cells: The answered cell; -1 where there is no face.
        first: Whether the row is its photo's first.
        failed: Whether the photo could not be used.
        unsure: Whether gender was left open; ``None`` where that is not known.
        folders: The photo's folder.
        months: When it was taken.
    """

    cells: NDArray[np.int64]
    first: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    unsure: NDArray[np.bool_] | None
    folders: Sequence[str]
    months: Sequence[str]


def _read(source: str) -> tuple[str, str | None, _Rows]:
    if source.lower().endswith(".json") and not is_url(source):
        return _read_document(Path(source))
    from agegender.bulk.table import read_columns

    table = read_columns(
        source, ["path", "face", "age", "gender", "uncertain", "error", "taken", "model", "model_sha256"]
    )
    made_by = set(zip(table["model"].to_pylist(), table["model_sha256"].to_pylist(), strict=True))
    if len(made_by) != 1:
        raise ConfigError(f"{source} holds answers of {len(made_by)} models; name a part of one")
    [(model, sha256)] = made_by
    faces = table["face"].to_pylist()
    rows = _Rows(
        _cells(source, faces, table["age"].to_pylist(), table["gender"].to_pylist()),
        np.array([number in {None, 1} for number in faces]),
        np.array([error is not None for error in table["error"].to_pylist()]),
        np.array([bool(unsure) for unsure in table["uncertain"].to_pylist()]),
        [_folder(path) for path in table["path"].to_pylist()],
        [_month(time) for time in table["taken"].to_pylist()],
    )
    return model, sha256, rows


def _read_document(source: Path) -> tuple[str, str | None, _Rows]:
    try:
        document = read_json(source)
        rows = [
            (image["path"], image["error"], number, face)
            for image in document["images"]
            for number, face in (enumerate(image["faces"], 1) if image["faces"] else [(None, {})])
        ]
        faces = [number for _, _, number, _ in rows]
        ages, genders = ([face.get(key) for *_, face in rows] for key in ("age", "gender"))
        found = _Rows(
            _cells(source, faces, ages, genders),
            np.array([number in {None, 1} for number in faces]),
            np.array([error is not None for _, error, *_ in rows]),
            None,
            [_folder(path) for path, *_ in rows],
            [UNKNOWN_MONTH] * len(rows),
        )
        return str(document["model"]), None, found
    except (OSError, *MALFORMED) as error:
        words = escape_no_text(str(error))
        raise ConfigError(f"{source} is nothing that predict --json wrote ({words})") from error


def _folder(path: str) -> str:
    if is_url(path):
        return path.partition("?")[0].rpartition("/")[0]
    return str(PurePosixPath(path).parent)


def _month(taken: datetime | None) -> str:
    return UNKNOWN_MONTH if taken is None else f"{taken:%Y-%m}"


def _cells(
    source: str | Path,
    faces: Sequence[int | None],
    ages: Sequence[float | None],
    genders: Sequence[str | None],
) -> NDArray[np.int64]:
    seen = np.array([number is not None for number in faces], bool)
    if not seen.any():
        raise ConfigError(f"{source} shows no face")
    told = [
        number is None or None not in answer for number, *answer in zip(faces, ages, genders, strict=True)
    ]
    if not all(told):
        raise ConfigError(f"{source} does not tell age and gender of every face: a model has to predict both")
    cells = np.full(len(seen), -1, np.int64)
    bands = age_band([float(age or 0) for age, is_face in zip(ages, seen, strict=True) if is_face])
    codes = [GENDERS.index(str(gender)) for gender, is_face in zip(genders, seen, strict=True) if is_face]
    cells[seen] = 2 * bands + np.array(codes)
    return cells


def _by_name(names: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """The rows of each name, found in one pass: thousands of folders may hold a million rows."""
    members: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        members.setdefault(name, []).append(row)
    return {name: np.array(own, np.intp) for name, own in members.items()}


def _group(rows: _Rows, members: NDArray[np.intp], errors: ErrorRates | None) -> dict[str, Any]:
    cells = rows.cells[members]
    cells = cells[cells >= 0]
    answered = np.bincount(cells, minlength=_CELLS).astype(np.int64)
    chains = CHAINS if len(members) == len(rows.cells) else GROUP_CHAINS
    draws = None if errors is None else draw_counts(answered, errors, chains=chains)
    every = np.arange(_CELLS)

    def row(chosen: NDArray[np.int64], **names: str) -> dict[str, Any]:
        found: dict[str, Any] = {**names, "answered": int(answered[chosen].sum())}
        if draws is None:
            return found | {"estimate": None, "interval": None}
        counts = draws[:, chosen].sum(1)
        tail = 50 * (1 - CONFIDENCE)
        low, high = np.percentile(counts, [tail, 100 - tail])
        return found | {"estimate": round(float(counts.mean()), 1), "interval": [round(low), round(high)]}

    return {
        "photos": int(rows.first[members].sum()),
        "faces": len(cells),
        "cannot_tell": None if rows.unsure is None else int(rows.unsure[members].sum()),
        "by_age": [row(every[every // 2 == band], age=name) for band, name in enumerate(AGE_BAND_NAMES)],
        "by_gender": [row(every[every % 2 == code], gender=name) for code, name in enumerate(GENDERS)],
        "by_age_and_gender": [
            row(every[[2 * band + code]], age=age, gender=gender)
            for band, age in enumerate(AGE_BAND_NAMES)
            for code, gender in enumerate(GENDERS)
        ],
    }
