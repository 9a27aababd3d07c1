"""An audit in figures, as JSON keeps them, and as a list of what to look at, most urgent first."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from agegender.audit.audit import FARTHEST_BITS, Audit
from agegender.audit.split_report import split_names
from agegender.data.duplicates import NEAR_DUPLICATE_BITS
from agegender.labels import AGE_BAND_NAMES, GENDERS, age_band, group_codes, say_years

KINDS: Final[dict[str, int]] = {
    "unreadable file": 3,
    "damaged name": 3,
    "no label": 3,
    "no picture": 3,
    "no face": 3,
    "suspicious label": 2,
    "conflicting labels": 2,
    "duplicate": 1,
    "odd size": 1,
}
"""Kinds of findings in the order of review, and their severity: 3 cannot be used as it is, 2 misleads whoever
trusts it, 1 is good to know."""

CONFLICT_YEARS: Final = 5
"""Copies whose ages differ by more than this, or whose genders differ, are conflicting; others duplicates."""

COLUMNS: Final[tuple[str, ...]] = (
    *("rank", "severity", "kind", "file", "detail", "group", "age", "gender", "ethnicity", "split"),
    *("predicted_age", "predicted_low", "predicted_high", "predicted_female"),
    *("source", "age_min", "age_max", "race"),
)

_QUANTILES: Final = {"least": 0.0, "p1": 0.01, "median": 0.5, "p99": 0.99, "most": 1.0}
_GAP_PERCENTILES: Final = (50, 75, 90, 95, 99, 100)
_DISTANCES: Final = (-1, 8, 16, 24)
_DISTANCE_NAMES: Final = ("identical", "0-8", "9-16", "17-24", "over 24")
_DECIMALS: Final = 4


def balance(table: pd.DataFrame) -> pd.DataFrame:
    """Counts faces by age band, gender and ethnicity.

    Args:
        table: Rows with ``age`` (years; of a range its middle), ``gender`` (code) and ``group`` (words).

    Returns:
        One row a combination, those without a face too: ``band``, ``gender``, ``ethnicity`` (words),
        ``files``.
    """
    groups, words = group_codes(table["group"], with_unknown=True)
    names = (AGE_BAND_NAMES, GENDERS, words)
    index = pd.MultiIndex.from_product(names, names=["band", "gender", "ethnicity"])
    codes = (age_band(table["age"]), table["gender"].to_numpy(), groups)
    cells = np.ravel_multi_index(codes, [len(part) for part in names])
    return index.to_frame(index=False).assign(files=np.bincount(cells, minlength=len(index)))


def document(audit: Audit) -> dict[str, Any]:
    """Sums an audit up.

    Args:
        audit: A finished audit.

    Returns:
        Figures that `agegender.export.to_json` can write, rounded to four decimals. Files are named only
        where they cannot be used.
    """
    files = audit.files
    dates = files["captured"].dropna().dt.strftime("%Y-%m-%d")
    figures = {
        "files": len(files) + len(audit.damaged_names) + len(audit.no_label),
        "labelled": len(files),
        "damaged_names": audit.damaged_names.to_dict(orient="records"),
        **_more_than_one_source(audit),
        "unreadable": audit.unreadable.to_dict(orient="records"),
        "no_picture": audit.no_picture.to_dict(orient="records"),
        "sizes": _sizes(audit),
        "split": {
            **files["split"].value_counts().reindex(split_names(files["split"]), fill_value=0).to_dict(),
            "hash": audit.split_hash,
            "straddling_groups": int((audit.photos["splits"] > 1).sum()),
        },
        "duplicates": _duplicates(audit),
        "conflicts": _conflicts(audit),
        "label_noise": None if audit.noise is None else audit.noise.to_dict(),
        "balance": _balance(files),
        "dates": {
            "undated": len(files) - len(dates),
            "by_day": dates.value_counts().sort_index().to_dict(),
        },
        "suspects": _suspects(audit),
    }
    return {name: _rounded(value) for name, value in figures.items()}


def _more_than_one_source(audit: Audit) -> dict[str, Any]:
    """What UTKFace alone has nothing of: rows without a label, photos without a face, ranges, sources."""
    files = audit.files
    if files["aligned"].all() and len(set(files["source"])) < 2:
        return {}
    unseen = files["file"].isin(audit.no_face["file"])
    ranged = files["age_min"] < files["age_max"]
    marked, counted = files.assign(ranges=ranged, no_face=unseen), files[["photo", "source"]]
    return {
        "no_label": audit.no_label.to_dict(orient="records"),
        "no_face": len(audit.no_face),
        "photos_in_several_sources": int((counted.drop_duplicates()["photo"].value_counts() > 1).sum()),
        "leaked": int(files["leaked"].sum()),
        "sources": {
            str(name): {
                "files": len(part),
                **{key: int(part[key].sum()) for key in ("ranges", "no_face", "leaked")},
                "split": {str(split): int(size) for split, size in part["split"].value_counts().items()},
            }
            for name, part in marked.groupby("source")
        },
    }


def _sizes(audit: Audit) -> dict[str, Any]:
    readable = audit.files[audit.files["width"] > 0]
    pixels = readable["width"].astype(str) + "x" + readable["height"].astype(str)
    return {
        "pixels": pixels.value_counts().to_dict(),
        "modes": readable["mode"].value_counts().to_dict(),
        "bytes": {name: float(readable["bytes"].quantile(q)) for name, q in _QUANTILES.items()},
        "odd": len(audit.odd_sizes),
    }


def _duplicates(audit: Audit) -> dict[str, Any]:
    near, copies = audit.near, audit.photos["copies"]
    splits = audit.files["split"].to_numpy()
    every_distance = pd.RangeIndex(FARTHEST_BITS + 1)
    distances = near["bits"].value_counts().reindex(every_distance, fill_value=0)
    apart = near[splits[near["first"]] != splits[near["second"]]]
    across = apart["bits"].value_counts().reindex(every_distance, fill_value=0)
    return {
        "threshold_bits": NEAR_DUPLICATE_BITS,
        "photos": len(copies),
        "files": int(copies.sum()),
        "redundant": int((copies - 1).sum()),
        "photos_by_copies": copies.value_counts().sort_index().to_dict(),
        "identical_pairs": int(audit.pairs["same_bytes"].sum()),
        "near_pairs": int(((near["bits"] <= NEAR_DUPLICATE_BITS) & ~near["same_bytes"]).sum()),
        "pairs_by_bits": distances.to_dict(),
        "pairs_across_splits_by_bits": across.to_dict(),
    }


def _conflicts(audit: Audit) -> dict[str, Any]:
    photos, pairs = audit.photos, audit.pairs
    percentiles = {f"p{q}": float(pairs["age_gap"].quantile(q / 100)) for q in _GAP_PERCENTILES}
    band = np.searchsorted(_DISTANCES, np.where(pairs["same_bytes"], -1, pairs["bits"]))
    by_distance = pairs.groupby(np.array(_DISTANCE_NAMES)[band]).agg(
        pairs=("age_gap", "size"), age_gap=("age_gap", "mean"), gender_differs=("gender_differs", "mean")
    )
    in_order = [name for name in _DISTANCE_NAMES if name in by_distance.index]
    return {
        "photos_age_differs": int((photos["age_gap"] > 0).sum()),
        "photos_over_5_years": int((photos["age_gap"] > 5).sum()),
        "photos_over_10_years": int((photos["age_gap"] > 10).sum()),
        "photos_gender_differs": int(photos["gender_differs"].sum()),
        "photos_ethnicity_differs": int(photos["ethnicity_differs"].sum()),
        **_ranges_in_conflict(pairs[~pairs["exact"]]),
        "age_gap_percentiles": percentiles,
        "pairs_by_age_gap": pairs["age_gap"].astype(int).value_counts().sort_index().to_dict(),
        "by_distance": by_distance.reindex(in_order).to_dict(orient="index"),
    }


def _ranges_in_conflict(pairs: pd.DataFrame) -> dict[str, Any]:
    """How often two labels of a photo differ where one is a range."""
    if pairs.empty:
        return {}
    same = pairs[pairs["same_bytes"]]
    return {
        "range_pairs": len(pairs),
        "range_differs": float(pairs["ages_differ"].mean()),
        "identical_range_pairs": len(same),
        "identical_range_differs": int(same["ages_differ"].sum()),
    }


def _balance(files: pd.DataFrame) -> dict[str, Any]:
    counted = balance(files)
    totals = {
        name: counted.groupby(name, sort=False)["files"].sum().to_dict()
        for name in ("band", "gender", "ethnicity")
    }
    return {**totals, "cells": counted.to_dict(orient="records")}


def _suspects(audit: Audit) -> dict[str, Any] | None:
    if audit.suspects is None:
        return None
    files, found = audit.files, audit.suspects
    years, gender = found["age_suspicious"], found["gender_suspicious"]
    accused, disputed = files["photo"].to_numpy()[found["row"]], audit.photos
    female = files["gender"] == 1
    exact = files[files["age_min"] == files["age_max"]]
    exact = files if exact.empty else exact
    inside = exact["age"].between(exact["predicted_low"], exact["predicted_high"])
    splits = files["split"].iloc[found["row"]].value_counts()
    return {
        "files": len(found),
        "age": int(years.sum()),
        "gender": int(gender.sum()),
        "both": int((years & gender).sum()),
        "with_copies": int((files["copies"].to_numpy()[found["row"]] > 1).sum()),
        "by_split": splits.reindex(split_names(files["split"]), fill_value=0).to_dict(),
        # Where copies disagree, a label is wrong for certain: so many of those photos have a suspect.
        "conflicting_photos_found": {
            "gender": int(np.isin(disputed.index[disputed["gender_differs"]], accused[gender]).sum()),
            "over_10_years": int(np.isin(disputed.index[disputed["age_gap"] > 10], accused[years]).sum()),
        },
        "model": {
            "age_mae": float((exact["predicted_age"] - exact["age"]).abs().mean()),
            "interval_coverage": float(inside.mean()),
            "interval_width": float((files["predicted_high"] - files["predicted_low"]).mean()),
            "gender_accuracy": float(((files["predicted_female"] >= 0.5) == female).mean()),
        },
    }


def findings(audit: Audit) -> pd.DataFrame:
    """Lists what to look at.

    Args:
        audit: A finished audit.

    Returns:
        One row a finding with the columns `COLUMNS`, by ``rank`` from 1: by kind in the order of `KINDS`,
        then the worst first. ``severity`` as in `KINDS`; ``detail`` says in words what is wrong; ``group`` is
        empty for files without copies; ``age`` is one year, of a range its middle; ``gender`` is UTKFace's
        code, as is ``ethnicity``, which is empty in other sources: ``race`` has their words; predictions are
        out of fold.
    """
    parts = {
        "unreadable file": audit.unreadable.rename(columns={"reason": "detail"}),
        "damaged name": audit.damaged_names.rename(columns={"reason": "detail"}),
        "no label": audit.no_label.rename(columns={"reason": "detail"}),
        "no picture": audit.no_picture.rename(columns={"reason": "detail"}),
        "no face": audit.no_face.rename(columns={"reason": "detail"}),
        "odd size": audit.odd_sizes.rename(columns={"reason": "detail"}),
        **_duplicate_findings(audit),
    }
    if audit.suspects is not None:
        parts["suspicious label"] = audit.suspects[["file"]].assign(detail=audit.suspects["reasons"])
    rows = pd.concat(
        [parts[kind].assign(kind=kind, severity=level) for kind, level in KINDS.items() if kind in parts],
        ignore_index=True,
    )
    known = audit.files.drop(columns=["captured", "width", "height", "mode", "bytes"])
    known = known.rename(columns={"group": "race", "photo": "group"})
    rows = rows.merge(known, on="file", how="left", validate="many_to_one")
    whole = ["group", "age", "gender", "ethnicity", "age_min", "age_max"]
    rows[whole] = rows[whole].astype("Int64")
    rows["ethnicity"] = rows["ethnicity"].where(rows["ethnicity"] >= 0)
    rows["group"] = rows["group"].where(rows["copies"] > 1)
    rows["rank"] = np.arange(1, len(rows) + 1)
    return rows.reindex(columns=list(COLUMNS)).round(3)


def _duplicate_findings(audit: Audit) -> dict[str, pd.DataFrame]:
    """A row a file that has copies, copies next to each other, the photos with the worst conflicts first."""
    photos = audit.photos.sort_values(
        ["gender_differs", "age_gap", "ethnicity_differs"], ascending=False, kind="stable"
    )
    place = pd.Series(np.arange(len(photos)), index=photos.index)
    files = audit.files[audit.files["copies"] > 1].copy()
    files["place"] = place.loc[files["photo"]].to_numpy()
    files = files.sort_values(["place", "file"], kind="stable")
    files["label"] = [
        f"{say_years(low, high)} {GENDERS[gender]} {group}".rstrip()
        for low, high, gender, group in files[["age_min", "age_max", "gender", "group"]].to_numpy().tolist()
    ]
    told = files.groupby("photo", sort=False)["label"].agg(" | ".join)
    same = photos["same_bytes"].map({True: "identical files", False: "versions of one photo"})
    gap = photos.loc[files["photo"]]
    files["detail"] = [
        f"{copies} {what}, labelled {labels}"
        for copies, what, labels in zip(
            files["copies"], same.loc[files["photo"]], told.loc[files["photo"]], strict=True
        )
    ]
    conflict = (gap["gender_differs"] | (gap["age_gap"] > CONFLICT_YEARS)).to_numpy()
    return {
        "conflicting labels": files.loc[conflict, ["file", "detail"]],
        "duplicate": files.loc[~conflict, ["file", "detail"]],
    }


def _rounded(value: Any) -> Any:
    """Rounds every float of nested dicts and sequences."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return round(value, _DECIMALS) if isinstance(value, float) else value
