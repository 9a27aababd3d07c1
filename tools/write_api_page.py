"""Writes docs/api.md from the docstrings of what `agegender.__all__` names.

    python -m tools.write_api_page [--check]

--check changes nothing and exits with 1 where the page is not what the docstrings say.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import griffe
from griffe2md import ConfigDict, render_object_docs

import agegender

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "api.md"

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Predicting": ("Predictor", "Prediction", "AgeEstimate", "GenderEstimate", "ImageResult", "annotate"),
    "Pictures and faces": ("read_image", "find_images", "FaceDetector", "Face", "crop_face", "Chip"),
    "Models": ("list_models",),
    "Errors": tuple(name for name in agegender.__all__ if name.endswith("Error")),
}

_OPENING: Final = """# The Python interface

<!-- written by python -m tools.write_api_page; do not edit -->

All that `import agegender` offers. Whatever is not on this page may change without notice."""

_LOOKS: Final = ConfigDict(
    heading_level=3,
    line_length=100,
    members_order="source",
    show_if_no_docstring=False,
    show_object_full_path=False,
    show_root_full_path=False,
    show_root_members_full_path=False,
    show_signature_annotations=True,
    summary=False,
)


def api_page() -> str:
    """The page as Markdown.

    Raises:
        ValueError: A name of `agegender.__all__` is in no group.
    """
    grouped = {name for names in GROUPS.values() for name in names}
    missing = set(agegender.__all__) - grouped - {"__version__"}
    if missing:
        raise ValueError(f"in no group of the page: {', '.join(sorted(missing))}")
    package = griffe.load(
        "agegender",
        search_paths=[ROOT],
        docstring_parser="google",
        docstring_options={"returns_multiple_items": False, "returns_named_value": False},
    )
    parts = [_OPENING]
    for title, names in GROUPS.items():
        parts.append(f"## {title}")
        for name in names:
            module = getattr(agegender, name).__module__.removeprefix("agegender.")
            parts.append(_without_links(render_object_docs(package[f"{module}.{name}"], _LOOKS)).strip())
    return "\n\n".join(parts) + "\n"


def _without_links(text: str) -> str:
    """Takes out links to places that only a whole site of pages would have."""
    text = re.sub(r"\[([^\[\]]+)\]\(#[^)]*\)", r"\1", text)
    return re.sub(r"<code>(.*?)</code>", r"`\1`", text)


def main() -> int:
    """Writes or checks the page; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    check = parser.parse_args().check
    text = api_page()
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE} {'is not up to date' if check else 'written'}")
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    return int(check)


if __name__ == "__main__":
    sys.exit(main())
