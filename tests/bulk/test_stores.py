"""Photos and answers in object stores: a real S3 server on this machine, and fsspec's memory."""

from __future__ import annotations

import io
import json
import re
import secrets
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, unquote

import fsspec
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image
from pyarrow.fs import S3FileSystem

from agegender.__main__ import main
from agegender.assets import EXAMPLE
from agegender.bulk.storage import find_photos, parquet_files, state_of
from agegender.images import find_images
from tests.bulk.test_local import (  # noqa: F401 - one of them is a fixture
    ROOT,
    FakePredictor,
    fake_predictor,
    names_of,
    rows_of,
    write_photo,
)


class Bucket:
    """A bucket of a server on this machine."""

    def __init__(self, address: str, folder: Path) -> None:
        self.files = S3FileSystem(endpoint_override=address, allow_bucket_creation=True)
        self.name = f"bucket-{secrets.token_hex(4)}"
        self.files.create_dir(self.name)
        self.query = f"?endpoint_override={quote(address, safe='')}"
        self.folder = folder

    def put(self, key: str, content: bytes | tuple[int, int, int] = (60, 0, 0)) -> None:
        """Writes bytes, or a photo of a color."""
        if isinstance(content, tuple):
            content = write_photo(self.folder / "one.png", content).read_bytes()
        with self.files.open_output_stream(f"{self.name}/{key}") as file:
            file.write(content)

    def url(self, key: str) -> str:
        return f"s3://{self.name}/{key}{self.query}"

    def key(self, url: str) -> str:
        return url.removeprefix(f"s3://{self.name}/").removesuffix(self.query)


@pytest.fixture(scope="module")
def address():
    """A server's."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(address, monkeypatch, tmp_path):
    """Two faces, one face, none, one that is no picture, one hidden, one beside; and what is no photo."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    found = Bucket(address, tmp_path)
    found.put("photos/a.png", (120, 0, 0))
    found.put("photos/deep/b 100%?.png")
    found.put("photos/deep/c.PNG", (0, 0, 0))
    found.put("photos/d.jpg", b"\xff\xd8\xff\xe0 not really")
    found.put("photos/.hidden/e.png")
    found.put("photos/notes.txt", b"words")
    found.put("photos-of-others/f.png")
    return found


def test_the_same_command_goes_on_in_a_bucket(bucket, capsys):
    photos, out = bucket.url("photos"), bucket.url("some/answers")
    command = ["predict", photos, "--parquet", out]
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "photos: 4, faces: 3, failed: 1" in told
    assert f"{bucket.url('photos/d.jpg')}: " in told
    rows = rows_of(out)
    names = ["photos/a.png", "photos/a.png", "photos/d.jpg", "photos/deep/b%20100%25%3F.png"]
    assert [bucket.key(row["path"]) for row in rows] == [*names, "photos/deep/c.PNG"]
    assert [row["error_kind"] for row in rows] == [None, None, "TruncatedImageError", None, None]
    assert rows[0]["size"] == bucket.files.get_file_info(f"{bucket.name}/photos/a.png").size

    FakePredictor.seen.clear()
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert FakePredictor.seen == []

    bucket.put("photos/d.jpg", (0, 0, 0))  # no longer broken
    bucket.put("photos/new.png", (180, 0, 0))
    bucket.put("list.txt", "\n".join([rows[3]["path"], bucket.url("photos/gone.png"), photos]).encode())
    assert main([*command, "--list", bucket.url("list.txt"), "--quiet"]) == 1
    assert sorted(FakePredictor.seen) == [0, 180]
    found = {bucket.key(row["path"]): row["error"] for row in rows_of(out) if row["error"]}
    assert found == {"photos/gone.png": "no such file", "photos": "no such file"}
    assert len(names_of(out)) == 7

    # After a crash some part is not there, another may be there twice, and one may be cut short.
    first, *others = parquet_files(out)
    content = bucket.files.open_input_file(f"{bucket.name}/{bucket.key(others[0])}").readall()
    bucket.put("some/answers/part-000008-x.parquet", content)
    bucket.put("some/answers/part-000009-x.parquet", content[:-9])
    bucket.files.delete_file(f"{bucket.name}/{bucket.key(first)}")
    FakePredictor.seen.clear()
    assert main(command) == 0
    assert re.search(r"/part-000009-x\.parquet\S* was damaged", capsys.readouterr().err)
    assert sorted(FakePredictor.seen) == [0, 60, 120]
    assert len(set(names_of(out))) == len(names_of(out)) == 7

    assert main(["summary", out, "--json", "-"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["photos"], summary["faces"], summary["errors"]) == (7, 6, 2)
    assert f"s3://{bucket.name}/photos/deep" in summary["by_folder"]
    assert main([*command, "--force", "--quiet"]) == 0
    assert len(names_of(out)) == 5


def test_a_pattern_means_the_same_here_and_there(bucket, tmp_path):
    everything = ["photos/a.png", "photos/d.jpg", "photos/deep/b 100%?.png", "photos/deep/c.PNG"]
    for key in [*everything, "photos/.hidden/e.png", "photos/notes.txt", "photos-of-others/f.png"]:
        write_photo(tmp_path / "here" / key, format="PNG")
    patterns = ["photos", "photos/*.png", "photos/*", "photos/**", "photos/**/*.PNG", "photos/**/*.txt"]
    patterns += ["photos/d*/**", "photos/*/c.PNG", "photos/*.txt", "photos/.*/*.png", "*/f.png", "**/[ac].*"]
    patterns += ["**", "nothing/*", "gone.png", "photos/deep/[b]*", "photos/d.jpg"]
    for pattern in patterns:
        here = [path.relative_to(tmp_path / "here") for path in find_images([tmp_path / "here" / pattern])]
        there = [unquote(bucket.key(url)) for url in find_photos([bucket.url(pattern)])]
        assert there == sorted(map(str, here)), pattern
    assert [*map(bucket.key, find_photos([bucket.url("photos/deep/b 100%25%3F.png")]))] == [
        "photos/deep/b%20100%25%3F.png"
    ]
    found = find_photos([f"s3://{bucket.name}{bucket.query}", str(tmp_path / "here" / "photos" / "a.png")])
    (local, unknown), *remote = found.items()
    assert (local, unknown) == (str(tmp_path / "here" / "photos" / "a.png"), None)
    assert len(remote) == 5
    for url, state in remote:
        assert state is not None and state == state_of(url)
        assert all(state)
    assert state_of(bucket.url("gone.png")) == (None, None)


def test_what_cannot_be_used_is_told(bucket, capsys):
    photos = bucket.url("photos")
    for places, words in (
        ([f"s3://me:secret@bucket/photos{bucket.query}"], "has a secret in it"),
        (["s3://bucket/photos?nonsense=1"], "nonsense"),
        (["weird://bucket/photos"], "cannot be used"),
        (["fsspec+weird://bucket/photos"], "cannot be used"),
        ([bucket.url("nothing/*")], "no picture matches"),
        ([photos, "--parquet", f"s3://nowhere/answers{bucket.query}"], "nowhere"),
        ([photos, "--list", bucket.url("none.txt")], "no list of photos"),
    ):
        assert main(["predict", "--parquet", bucket.url("answers"), *places]) == 2
        told = capsys.readouterr().err
        assert words in told
        assert "secret@" not in told
    bucket.put("mine/prices.parquet", b"PAR1")
    assert main(["predict", photos, "--parquet", bucket.url("mine")]) == 2
    assert "prices.parquet" in capsys.readouterr().err
    assert main(["summary", bucket.url("empty")]) == 2
    assert "no Parquet file" in capsys.readouterr().err


def test_whatever_fsspec_knows(tmp_path, capsys):
    memory = fsspec.filesystem("memory")
    memory.pipe("/photos/a.png", write_photo(tmp_path / "a.png", (120, 0, 0)).read_bytes())
    memory.pipe("/photos/b.png", b"")
    command = ["predict", "fsspec+memory://photos", "--parquet", "fsspec+memory://answers"]
    try:
        assert main(command) == 1
        assert names_of("fsspec+memory://answers") == ["a.png", "b.png"]
        assert main(command) == 0
        assert "nothing to do" in capsys.readouterr().err
    finally:
        memory.rm("/photos", recursive=True)
        memory.rm("/answers", recursive=True)


@pytest.mark.slow
def test_ray_reads_and_writes_there(bucket):
    pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
    with Image.open(EXAMPLE) as example:
        for number in range(3):
            content = io.BytesIO()
            example.resize((480, 240 + number)).save(content, "JPEG")
            bucket.put(f"many/{number}.jpg", content.getvalue())
    bucket.put("many/broken.jpg", b"\xff\xd8\xff\xe0 not really")
    command = [sys.executable, "-m", "agegender", "predict", bucket.url("many"), "--quiet", "--parquet"]
    for engine in ("local", "ray"):
        done = subprocess.run([*command, bucket.url(engine), "--engine", engine], cwd=ROOT, check=False)
        assert done.returncode == 1
    assert rows_of(bucket.url("ray")) == rows_of(bucket.url("local"))
    assert sum(row["face"] is not None for row in rows_of(bucket.url("ray"))) > 9
