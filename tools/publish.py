"""Publishes finished runs as a model.

    python tools/publish.py --age RUN --gender RUN --data DIR [--name NAME]

Writes weights/NAME/: both networks in half precision, history.csv, and card.json with the calibration
(validation split) and the figures (test split). The app and the command line then offer it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from agegender.data.table import read_dataset
from agegender.errors import AgeGenderError
from agegender.models.registry import DEFAULT_MODEL, MODELS
from agegender.runtime import prepare_tensorflow


def main() -> int:
    """Publishes and prints the test figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--age", type=Path, metavar="RUN", help="run folder of the age network")
    parser.add_argument("--gender", type=Path, metavar="RUN", help="run folder of the gender network")
    parser.add_argument("--data", metavar="DIR", help="UTKFace folder (default: $UTKFACE_DIR)")
    parser.add_argument("--name", default=DEFAULT_MODEL, help="the model's name (default: %(default)s)")
    parser.add_argument("--title", help="one line for people")
    arguments = parser.parse_args()
    prepare_tensorflow()
    from agegender.training.publish import publish

    runs = {task: getattr(arguments, task) for task in ("age", "gender") if getattr(arguments, task)}
    if not runs:
        parser.error("name at least one run with --age or --gender")
    default_title = MODELS[arguments.name].title if arguments.name in MODELS else arguments.name
    try:
        with tqdm(unit="file", desc="publishing") as bar:

            def on_file(done: int, total: int) -> None:
                bar.total, bar.n = total, done
                bar.refresh()

            card = publish(
                runs,
                arguments.name,
                read_dataset(arguments.data),
                title=arguments.title or default_title,
                progress=on_file,
            )
    except AgeGenderError as error:
        print(f"publish: {error}", file=sys.stderr)
        return 2
    print(json.dumps(card["metrics"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
