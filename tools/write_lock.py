"""Writes requirements-lock.txt: exact versions, with hashes, of all that developing needs.

    python -m tools.write_lock [--platform]

To be run with the Python and on the platform that the gate runs on, after a change of the requirements:
wheels differ from one to the next. Nothing is installed; pip resolves requirements-dev.txt as in a fresh
environment.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / "requirements-lock.txt"
SOURCE: Final = ROOT / "requirements-dev.txt"


def main() -> int:
    """Resolves and writes; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--platform", action="store_true", help="say whom a lock written here would fit")
    version = ".".join(platform.python_version_tuple()[:2])
    fits = f"# {platform.python_implementation()} {version}, {platform.system()}, {platform.machine()}"
    if parser.parse_args().platform:
        print(fits)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        subprocess.run([*command, "--report", str(report), "-r", str(SOURCE)], check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    packages = {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): (
            item["metadata"]["version"],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in found
    }
    lines = [
        fits,
        f"# What {SOURCE.name} comes to there; written by python -m tools.write_lock.",
        *(
            f"{name}=={version} --hash=sha256:{digest}"
            for name, (version, digest) in sorted(packages.items())
        ),
    ]
    LOCK.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
