"""Dependencies: pyproject.toml says the least that works, requirements files what is installed by default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS_OF = {
    "requirements.txt": ("", "app"),
    "requirements-dev.txt": ("dev",),
    "requirements-export.txt": ("export",),
    "requirements-ray.txt": ("ray",),
    "requirements-track.txt": ("track",),
}


def in_project(extra: str) -> dict[str, Requirement]:
    """Direct dependencies of the package or of an extra, and of the extras that it includes."""
    found: dict[str, Requirement] = {}
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    for requirement in map(Requirement, listed):
        if requirement.name == PROJECT["name"]:
            for other in requirement.extras:
                found |= in_project(other)
        else:
            found[requirement.name] = requirement
    return found


def in_file(name: str) -> dict[str, Requirement]:
    """What a requirements file lists, with the files it includes."""
    found: dict[str, Requirement] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        included = re.fullmatch(r"-r (\S+)", text)
        if included:
            found |= in_file(included[1])
        elif text:
            requirement = Requirement(text)
            found[requirement.name] = requirement
    return found


def lowest(requirement: Requirement) -> Version | None:
    ends = [Version(end.version) for end in requirement.specifier if end.operator in {">=", "=="}]
    return min(ends, default=None)


@pytest.mark.parametrize("name", sorted(EXTRAS_OF))
def test_a_requirements_file_and_the_project_name_the_same_packages(name):
    project = {key: value for extra in ("", *EXTRAS_OF[name]) for key, value in in_project(extra).items()}
    file = in_file(name)
    # These files ask for the app, too: the first is the whole of it, and the others are used beside it.
    assert project.keys() | in_project("app").keys() == file.keys()
    for key, requirement in project.items():
        least, installed = lowest(requirement), lowest(file[key])
        assert (least is None and installed is None) or least <= installed, key


def test_the_project_sets_no_upper_ends_and_the_files_do():
    for extra in ("", *PROJECT["optional-dependencies"]):
        for requirement in in_project(extra).values():
            assert {end.operator for end in requirement.specifier} <= {">="}, requirement
    for requirement in in_file("requirements.txt").values():
        assert {end.operator for end in requirement.specifier} & {"<", "=="}, requirement


def test_the_lock_file_names_all_that_is_needed_by_hash_and_nowhere_to_get_it_from():
    lines = [
        line for line in (ROOT / "requirements-lock.txt").read_text("utf-8").splitlines() if line[0] != "#"
    ]
    found = [re.fullmatch(r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines]
    assert all(found)
    locked = {match[1]: match[2] for match in found if match}
    for requirement in in_file("requirements-dev.txt").values():
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert requirement.specifier.contains(locked.get(name, "")), f"{name}: python -m tools.write_lock"


def test_the_core_is_small():
    heavy = {"tensorflow", "keras", "pandas", "scipy", "streamlit", "plotly", "h5py", "imagehash"}
    assert not heavy & in_project("").keys()
