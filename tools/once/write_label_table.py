"""Writes the label table that ships with the project: python -m tools.once.write_label_table --data DIR."""

from __future__ import annotations

import argparse
import sys

from agegender.assets import LABEL_TABLE
from agegender.audit.audit import audit
from agegender.audit.label_table import write_label_table
from agegender.commands import progress_bars
from agegender.data.table import read_dataset
from agegender.errors import DatasetError


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="the dataset's folder (default: $UTKFACE_DIR)")
    arguments = parser.parse_args()
    try:
        dataset = read_dataset(arguments.data)
    except DatasetError as error:
        print(error, file=sys.stderr)
        return 2
    with progress_bars("file") as progress:
        files = audit(dataset, progress=progress).files
    write_label_table(files)
    print(f"{LABEL_TABLE}: {len(files):,} labels, {LABEL_TABLE.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
