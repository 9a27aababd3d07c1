"""Names that are no text, names that meet, and the one way through a folder."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agegender.data.table import read_dataset
from agegender.errors import AgeGenderError, ImageError
from agegender.export import to_csv, to_json, write_atomically
from agegender.files import (
    escape_name,
    paths_below,
    printable,
    read_arrays,
    unescape_name,
    unique_names,
    walk_files,
)
from agegender.images import find_images, read_image
from agegender.prediction import ImageResult

# Names


@pytest.mark.skipif(os.name != "posix", reason="only POSIX names files in bytes")
def test_the_escape_of_any_name_is_text_and_leads_back_to_it() -> None:
    draw = random.Random(4)
    alphabet = [
        b"a",
        b"\\",
        b"x",
        b"e9",
        b"5c",
        b"\xe9",
        b"\xc3\xa9",
        b"\xed\xa0\x80",
        b"\n",
        b"\xf0\x9f\x98\x80",
        b"=",
    ]
    for _ in range(3000):
        raw = b"".join(draw.choices(alphabet, k=draw.randint(1, 7)))
        name = os.fsdecode(raw)
        for text in (escape_name(name), printable(escape_name(name)), _cell(escape_name(name))):
            text.encode()
            assert os.fsencode(unescape_name(text)) == raw


def _cell(text: str) -> str:
    back = pd.read_csv(io.StringIO(to_csv(pd.DataFrame({"a": [text]}))), dtype=str, keep_default_na=False)
    return str(back["a"][0])


def test_escapes_are_the_documented_ones_and_rare() -> None:
    assert escape_name(os.fsdecode(b"caf\xe9.jpg")) == r"caf\xe9.jpg"
    assert escape_name(r"caf\xe9.jpg") == r"caf\x5cxe9.jpg"
    for usual in ("Zoë 写 😀.jpg", r"C:\photos\a.jpg", r"C:\xmas\a.jpg", "=1+2.jpg", "two\nlines"):
        assert escape_name(usual) == usual
    assert printable("x\x1b[31m\ny\u202egpj.exe\x9b") == r"x\x1b[31m\x0ay\xe2\x80\xaegpj.exe\xc2\x9b"
    assert printable("Zoë 写 👩‍🚀.jpg") == "Zoë 写 👩‍🚀.jpg"


def test_csv_cells_are_lines_and_no_formulas() -> None:
    paths = ["=1+2.jpg", "+a", "-a", "@a", "\t=a", "a\r\nb", "a,b", 'a"b', "a=b"]
    table = pd.DataFrame({"path": paths, "x": -1.5, "note": None})
    text = to_csv(table)
    assert len(text.splitlines()) == 1 + len(paths)
    back = pd.read_csv(io.StringIO(text))
    assert not back["path"].str.match(r"[=+\-@\t\r]").any()
    assert back["path"].tolist()[:2] == [r"\x3d1+2.jpg", r"\x2ba"]
    assert back["path"].map(unescape_name).tolist() == paths
    assert (back["x"] == -1.5).all() and back["note"].isna().all()


def test_what_is_no_text_reaches_no_writer(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    record = ImageResult(name, None, [], f"{name}: gone").to_dict()
    document = to_json({"record": record, name: Path(name), "many": [name]})
    assert document.encode().count(rb"caf\\xe9.jpg") == 5
    write_atomically(tmp_path / "a.md", f"# {name}")
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == r"# caf\xe9.jpg"
    for error in (ImageError(name, "gone"), AgeGenderError(f"no {name}")):
        str(error).encode()


def test_unique_names_on_a_file_system_that_ignores_case() -> None:
    wanted = [
        "a.png",
        "a.png",
        "a (2).png",
        "A.PNG",
        "é.png",
        "e\u0301.png",
        "ß.png",
        "SS.png",
        "b",
        "b/c.png",
        "sub/a.png",
    ]
    assert unique_names(wanted) == [
        "a.png",
        "a (2).png",
        "a (2) (2).png",
        "A (3).PNG",
        "é.png",
        "e\u0301 (2).png",
        "ß.png",
        "SS (2).png",
        "b (2)",  # "b" has to be a folder
        "b/c.png",
        "sub/a.png",
    ]


def test_unique_names_have_room(tmp_path: Path) -> None:
    long = "写" * 84 + ".png"  # 256 bytes
    names = unique_names([long, long, "sub/" + long])
    assert len(set(names)) == 3
    for name in names:
        write_atomically(tmp_path / name, b"x")
        assert name.endswith(".png") and "写" * 80 in name


# Documents


class Harmful:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_what_was_kept_is_read_whole_or_not_at_all_and_never_unpickled(tmp_path: Path) -> None:
    kept = tmp_path / "kept.npz"
    np.savez_compressed(kept, a=np.arange(3), b=np.array(["x"]))
    assert read_arrays(kept)["a"].tolist() == [0, 1, 2]
    data = kept.read_bytes()
    for damaged in (b"", data[:-30], data[:60] + b"\xff" * 9 + data[69:], b"PK\3\4" + bytes(50)):
        kept.write_bytes(damaged)
        assert read_arrays(kept) == {}
    np.savez(kept, a=np.array([Harmful(tmp_path / "harm")], dtype=object))
    assert read_arrays(kept) == {}
    assert not (tmp_path / "harm").exists()
    assert read_arrays(tmp_path / "missing.npz") == {}


# Folders and patterns


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures at several depths, hidden ones, and files of other kinds; the current folder."""
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        "raw.dat",
        "odd[1].jpg",
        ".hidden.jpg",
        "trip/c.heic",
        "trip/day 2/d.webp",
        "trip/.cache/e.jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(patterns: list[str] | str) -> list[str]:
    return [path.as_posix() for path in find_images(patterns)]


def test_folder_gives_its_pictures_at_any_depth(photos: Path) -> None:
    everything = ["a.PNG", "b.jpg", "odd[1].jpg", "trip/c.heic", "trip/day 2/d.webp"]
    assert names(["."]) == everything
    assert find_images([photos]) == [photos / name for name in everything]
    assert names(["trip"]) == names("trip/") == everything[3:]
    assert names(["trip/.cache"]) == ["trip/.cache/e.jpg"]  # hidden, but named


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["b.jpg", "odd[1].jpg"]),
        ("[ab].*", ["a.PNG", "b.jpg"]),
        ("?.jpg", ["b.jpg"]),
        ("*.dat", ["raw.dat"]),  # an ending that is spelled out is meant
        ("**/*.webp", ["trip/day 2/d.webp"]),
        ("**/*.jpg", ["b.jpg", "odd[1].jpg"]),
        ("**.jpg", ["b.jpg", "odd[1].jpg"]),
        ("trip/**", ["trip/c.heic", "trip/day 2/d.webp"]),
        ("t*", ["trip/c.heic", "trip/day 2/d.webp"]),
        ("*", ["a.PNG", "b.jpg", "odd[1].jpg", "trip/c.heic", "trip/day 2/d.webp"]),
        (".*.jpg", [".hidden.jpg"]),
        ("odd[1].jpg", ["odd[1].jpg"]),  # exists: not a glob
        ("*.gif", []),
        ("missing/*.jpg", []),
        ("trip/d*/*", ["trip/day 2/d.webp"]),
        ("trip*/day 2/*.webp", ["trip/day 2/d.webp"]),
    ],
)
def test_globs(photos: Path, pattern: str, expected: list[str]) -> None:
    assert names([pattern]) == expected
    assert find_images([photos / pattern]) == [photos / name for name in expected]


def test_named_files_are_kept_for_the_caller_to_report(photos: Path) -> None:
    assert names(["notes.txt", "missing.jpg", ".hidden.jpg"]) == [".hidden.jpg", "missing.jpg", "notes.txt"]


def test_each_file_comes_once_and_in_order(photos: Path) -> None:
    found = find_images(["b.jpg", "./b.jpg", "trip/../b.jpg", photos / "b.jpg", "*.jpg", "."])
    assert [path.name for path in found].count("b.jpg") == 1
    assert len(found) == 5
    assert names(["trip", "b.jpg", "a.PNG"]) == sorted(names(["a.PNG", "b.jpg", "trip"]))
    assert find_images([]) == []


def test_home_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(photos))
    assert find_images(["~/trip/*.heic"]) == [photos / "trip" / "c.heic"]
    assert names(["~no-such-user/a.jpg"]) == ["~no-such-user/a.jpg"]


def test_links_are_followed_but_loops_end(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "f.jpg").touch()
    (photos / "trip" / "linked").symlink_to(elsewhere)
    (photos / "trip" / "loop").symlink_to(photos)
    (elsewhere / "back").symlink_to(photos / "trip")
    (photos / "trip" / "broken.jpg").symlink_to("nowhere.jpg")
    assert names(["trip"])[:2] == ["trip/broken.jpg", "trip/c.heic"]
    found = [path.name for path in find_images(["trip"])]
    assert found.count("f.jpg") == found.count("c.heic") == found.count("b.jpg") == 1


@pytest.mark.skipif(os.name != "posix", reason="a star in a folder's name")
def test_leading_parts_that_exist_are_taken_literally(photos: Path) -> None:
    for folder in ("trip [2020]", "b*", "q?"):
        (photos / folder / "in [1]").mkdir(parents=True)
        (photos / folder / "a.jpg").touch()
        (photos / folder / "in [1]" / "x.jpg").touch()
        assert names([f"{folder}/*.jpg"]) == [f"{folder}/a.jpg"]
        assert names([f"{folder}/in [1]/*.jpg"]) == [f"{folder}/in [1]/x.jpg"]
        assert len(names([f"{folder}/**/*.jpg"])) == 2


def test_datasets_and_photos_are_walked_alike(tmp_path: Path) -> None:
    disk, data = tmp_path / "disk", tmp_path / "data"
    for file in ("30_0_0_a.jpg", "sub/31_1_0_b.PNG", ".hidden/32_1_0_c.jpg", ".33_1_0_d.jpg"):
        (disk / file).parent.mkdir(parents=True, exist_ok=True)
        (disk / file).touch()
    data.mkdir()
    (data / "part1").symlink_to(disk, target_is_directory=True)
    (data / "part1" / "loop").symlink_to(data)
    expected = ["part1/30_0_0_a.jpg", "part1/sub/31_1_0_b.PNG"]
    assert read_dataset(data).table["file"].tolist() == expected
    assert find_images([data]) == [data / file for file in expected]
    assert find_images([data / "**" / "*.*"]) == [data / file for file in expected]
    # A link to the dataset itself, or to one file, is no obstacle either.
    (tmp_path / "link").symlink_to(data)
    assert walk_files(tmp_path / "link", {".jpg"})[0] == [tmp_path / "link" / expected[0]]


@pytest.mark.skipif(os.name != "posix", reason="only POSIX names files in bytes")
def test_a_dataset_may_hold_names_that_are_no_text(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    for name in (b"30_0_0_\xe9.jpg", b"holiday \xe9.jpg"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x")
    dataset = read_dataset(tmp_path)
    assert dataset.table["file"].tolist() == [r"caf\xe9/30_0_0_\xe9.jpg"]
    assert dataset.skipped["file"].tolist() == [r"caf\xe9/holiday \xe9.jpg"]
    [path] = paths_below(tmp_path, dataset.table["file"])
    with pytest.raises(ImageError, match="not a picture"):  # it was found and read
        read_image(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    (tmp_path / "30_0_0_a.jpg").touch()
    (tmp_path / "shut").mkdir(mode=0)
    assert read_dataset(tmp_path).skipped["file"].tolist() == ["shut"]
    assert find_images([tmp_path])[-1] == tmp_path / "shut"
