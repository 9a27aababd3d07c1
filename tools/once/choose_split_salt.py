"""Finds the split salt that stratifies UTKFace best: python -m tools.once.choose_split_salt --data DIR.

Tries numbered salts and prints those with the smallest chi-square distance between the validation and
test splits' label shares and the whole set's. Only labels are looked at, never a model's errors.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from agegender.data.duplicates import duplicate_groups, fingerprint
from agegender.data.split import split_by_content
from agegender.data.table import read_dataset
from agegender.labels import age_band


def imbalance(table: pd.DataFrame, splits: list[str]) -> float:
    """Chi-square distance of the held-out splits from the whole set, over bands, genders and codes."""
    stratum = pd.Series(age_band(table["age"])).astype(str) + "/" + table["gender"].astype(str)
    total = 0.0
    for labels in (stratum, table["ethnicity"]):
        shares = labels.value_counts(normalize=True)
        for name in ("validation", "test"):
            held_out = labels[np.asarray(splits) == name]
            expected = shares * len(held_out)
            counted = held_out.value_counts().reindex(shares.index, fill_value=0)
            total += float(((counted - expected) ** 2 / expected).sum())
    size = np.mean([split != "train" for split in splits])
    return total + 1e4 * (float(size) - 0.2) ** 2 * 100


def main() -> None:
    """Prints the five best salts of ``--tries``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--tries", type=int, default=200)
    arguments = parser.parse_args()
    dataset = read_dataset(arguments.data)
    prints = fingerprint(dataset)
    groups = duplicate_groups(prints)
    scored = []
    for i in range(arguments.tries):
        splits = split_by_content(prints.digests, groups, f"agegender-split-{i}")
        scored.append((imbalance(dataset.table, splits), i, pd.Series(splits).value_counts().to_dict()))
    for score, i, sizes in sorted(scored, key=lambda entry: entry[0])[:5]:
        print(f"agegender-split-{i}: {score:.1f} {sizes}")


if __name__ == "__main__":
    main()
