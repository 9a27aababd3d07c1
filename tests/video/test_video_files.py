"""Video files: every format, any way up, cut, damaged, hostile; and copies that browsers play."""

from __future__ import annotations

import threading
from fractions import Fraction
from io import BytesIO
from typing import ClassVar

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from agegender.errors import EmptyVideoError, NotAVideoError, VideoError, VideoTooLargeError
from agegender.video.analysis import follow_video
from agegender.video.reading import VideoReader, find_videos
from tools.clips import film, frames_of, put, save_clip, scene


def two_people(heads):
    def draw(frame, time):
        put(frame, heads["collins"], 110 + 40 * time, 130, 110)
        put(frame, heads["singer"], 360, 135, 120)

    return draw


@pytest.fixture(scope="module")
def clip(heads, tmp_path_factory):
    """Two people, two seconds, with sound, and with where and by what it was taken."""
    path = tmp_path_factory.mktemp("clips") / "two.mp4"
    metadata = {"location": "+48.2082+016.3738/", "com.apple.quicktime.make": "Phonemaker"}
    save_clip(path, film(two_people(heads), 2, 25), sound="aac", metadata=metadata)
    return path


class Nobody:
    """Finds no face, quickly."""

    card: ClassVar = {}

    def find_faces(self, source, *, min_confidence=None):
        return []

    def predict_faces(self, found):
        return []


@pytest.mark.parametrize(
    ("suffix", "codec", "sound"),
    [
        (".mp4", "libx264", "aac"),
        (".mov", "libx265", None),
        (".webm", "libvpx-vp9", "libopus"),
        (".mkv", "libsvtav1", None),
        (".avi", "mpeg4", "pcm_s16le"),
    ],
)
def test_every_format_is_read_with_its_times_and_copied_for_browsers(tmp_path, heads, suffix, codec, sound):
    path = tmp_path / f"clip{suffix}"
    save_clip(path, film(two_people(heads), 0.6, 25, (320, 180)), codec=codec, sound=sound)
    copy = BytesIO()
    result = follow_video(path, Nobody(), copy=copy)
    assert result.error is None
    assert (result.info.width, result.info.height, result.looks) == (320, 180, 4)
    assert result.info.rate == pytest.approx(25, rel=0.1)
    assert result.seconds == pytest.approx(0.6, abs=0.05)
    before, after = frames_of(path), frames_of(copy.getvalue())
    assert len(before) == len(after) == 15
    for (one, old), (other, new) in zip(before, after, strict=True):
        assert other - after[0][0] == pytest.approx(one - before[0][0], abs=0.002)
        assert np.abs(old.astype(int) - new).mean() < 6
    with av.open(BytesIO(copy.getvalue())) as file:
        (picture,) = file.streams.video
        assert (picture.codec_context.name, picture.pix_fmt) == ("h264", "yuv420p")
        assert [stream.codec_context.name for stream in file.streams.audio] == (["aac"] if sound else [])
        heard = sum(frame.samples for frame in file.decode(audio=0)) / 48000 if sound else 0
    assert heard == pytest.approx(0.6 if sound else 0, abs=0.06)
    assert copy.getvalue().find(b"moov") < copy.getvalue().find(b"mdat")


@pytest.mark.parametrize("transfer", [ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67])
def test_high_dynamic_range_is_tone_mapped_as_bt_2408_has_its_levels(transfer):
    """A grey card of 18 %, coded as 38 % in PQ and in HLG, white as 58 % and 75 %, and a highlight."""
    white = 0.58 if transfer == ColorTrc.SMPTE2084 else 0.75
    file, levels = BytesIO(), (0.0, 0.38, white, 1.0)
    with av.open(file, "w", format="mp4") as out:
        video = out.add_stream("libx265", rate=25, options={"x265-params": "log-level=none", "crf": "4"})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p10le"
        video.codec_context.color_trc, video.codec_context.color_range = transfer, 1
        video.codec_context.colorspace = video.codec_context.color_primaries = ColorPrimaries.BT2020
        planes = np.full((96, 64), 512, np.uint16)
        planes[:64] = np.repeat([round(64 + 876 * level) for level in levels], 16)
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p10le")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    with VideoReader(file) as reader:
        pixels = next(reader.frames()).rgb()[20, 8::16].astype(int)
    assert np.ptp(pixels, axis=1).max() <= 4
    black, grey, bright, highlight = pixels.mean(axis=1)
    linear = 26 / 203  # cd/m², of BT.2408's table 1
    assert grey == pytest.approx(255 * (1.055 * linear ** (1 / 2.4) - 0.055), abs=5)
    assert black < 3 and 210 < bright < 245 and highlight > 250


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_video_on_its_side_is_put_upright(tmp_path, rotation):
    path = tmp_path / "turned.mp4"
    upright = np.zeros((96, 160, 3), np.uint8)
    upright[:32, :32] = 255  # a mark at the top left
    lying = np.rot90(upright, -rotation // 90)
    save_clip(path, [(index / 25, lying) for index in range(3)], rotation=rotation)
    with VideoReader(path) as reader:
        assert (reader.info.width, reader.info.height) == (160, 96)
        assert reader.info.rotation == rotation % 360
        first = next(reader.frames()).rgb()
    assert first.shape == upright.shape
    assert np.abs(first.astype(int) - upright).mean() < 4
    copy = BytesIO()
    follow_video(path, Nobody(), copy=copy)
    assert np.abs(frames_of(copy.getvalue())[0][1].astype(int) - upright).mean() < 4


def test_uneven_times_and_odd_sizes_are_kept(tmp_path):
    times = [0.0, 0.04, 0.3, 0.31, 0.9, 1.5]
    path = tmp_path / "uneven.mkv"
    pictures = [scene(101, 67)] * 6
    save_clip(path, zip(times, pictures, strict=True), codec="libvpx-vp9")
    looks, copy = [], BytesIO()
    info = follow_video(path, Nobody(), copy=copy, on_look=looks.append).info
    assert (info.width, info.height) == (101, 67)
    assert [look.time for look in looks] == pytest.approx([0.0, 0.3, 0.9, 1.5])
    copied = frames_of(copy.getvalue())
    assert [time for time, _ in copied] == pytest.approx(times, abs=0.002)
    assert copied[0][1].shape == (66, 100, 3)  # H.264 in 4:2:0 wants even sides


def test_a_clip_is_answered_annotated_and_says_nothing_of_where_it_was_taken(clip, predictor):
    copy = BytesIO()
    result = follow_video(clip, predictor, copy=copy)
    assert [track.number for track in result.tracks] == [1, 2]
    assert result.tracks[0].gender.label == "female"
    assert all(track.first == 0 and track.last > 1.9 for track in result.tracks)
    document = result.to_dict()
    assert (document["width"], document["height"], document["rate"]) == (480, 270, 25.0)
    assert document["error"] is None and len(document["tracks"]) == 2
    before, after = frames_of(clip), frames_of(copy.getvalue())
    assert len(before) == len(after)
    for (_, old), (_, new) in zip(before, after, strict=True):
        x = np.abs(old.astype(int) - new).max(axis=(0, 2))
        assert x[300:430].max() > 60  # a box around the singer in every frame
    assert b"Phonemaker" in clip.read_bytes() and b"+48.2082" in clip.read_bytes()
    assert b"Phonemaker" not in copy.getvalue() and b"+48.2" not in copy.getvalue()


def test_blurred_faces_are_found_in_no_frame_also_between_looks_and_across_a_cut(heads, predictor):
    def draw(frame, time):
        if time < 0.95:
            put(frame, heads["collins"], 100 + 220 * time, 130, 110)
        else:
            frame[:] = 255 - frame[::-1] // 2
            put(frame, heads["singer"], 330 - 150 * time, 120, 120)
            if time > 1.35:  # comes in between two looks
                put(frame, heads["collins"], 400, 150, 100)

    file, copy, looks = BytesIO(), BytesIO(), []
    save_clip(file, film(draw, 1.8, 25), container="mp4")
    result = follow_video(file, predictor, copy=copy, blur=True, boxes=False, on_look=looks.append)
    assert [track.number for track in result.tracks] == [1, 2, 3]
    assert [look.time for look in looks if look.cut] == pytest.approx([0.96])
    clear, blurred = frames_of(file.getvalue()), frames_of(copy.getvalue())
    assert len(clear) == len(blurred) == 45
    for index in (1, 7, 13, 22, 23, 24, 26, 34, 38, 44):
        assert len(predictor.find_faces(clear[index][1])) >= 1
        assert predictor.find_faces(blurred[index][1], min_confidence=0.6) == [], index


def test_a_cut_file_is_answered_as_far_as_it_goes_and_says_so(tmp_path, heads, predictor):
    whole = tmp_path / "whole.mkv"
    save_clip(whole, film(two_people(heads), 4, 25), sound="aac")
    data = whole.read_bytes()
    copy = BytesIO()
    result = follow_video(data[: len(data) // 2], predictor, name="half.mkv", copy=copy)
    assert len(result.tracks) == 2
    assert 0.5 < result.seconds < 3.5
    assert "of 4.0 seconds" in result.error or "breaks off" in result.error
    assert len(frames_of(copy.getvalue())) == pytest.approx(25 * result.seconds, abs=1)


def test_damaged_parts_are_left_out_and_told(tmp_path, heads):
    path = tmp_path / "damaged.mp4"
    save_clip(path, film(two_people(heads), 2, 25))
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + 4
    rng = np.random.default_rng(1)
    for place in rng.integers(start + 8000, len(data) - 3000, 60):
        data[place : place + 40] = rng.bytes(40)
    result = follow_video(bytes(data), Nobody())
    assert result.looks > 3
    assert result.error is None or "damaged" in result.error or "breaks off" in result.error


def refusal(kind, source):
    with pytest.raises(kind) as caught:
        VideoReader(source, name="it")
    return caught.value.reason


def test_what_is_no_video_is_refused_with_the_reason(tmp_path, clip):
    assert refusal(EmptyVideoError, b"") == "the file is empty"
    assert "not a video" in refusal(NotAVideoError, b"GIF89a" + bytes(1000))
    assert "not a video" in refusal(NotAVideoError, clip.read_bytes()[:300])
    assert refusal(VideoError, tmp_path / "missing.mp4") == "no such file"
    assert refusal(VideoError, tmp_path) == "a folder, not a video"
    only_sound = BytesIO()
    with av.open(only_sound, "w", format="mp4") as file:
        tone = file.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        file.mux(tone.encode(frame))
        file.mux(tone.encode(None))
    assert refusal(NotAVideoError, only_sound) == "it has no moving picture"
    with pytest.raises(ValueError, match="over 0"):
        follow_video(clip, Nobody(), every=0)


def test_a_list_of_other_files_is_not_followed(tmp_path, clip):
    """FFmpeg knows formats that name further files and addresses; an upload must open none of them."""
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(clip.read_bytes())
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {secret}\n",
    ):
        assert "not a video" in refusal(NotAVideoError, text.encode())


def test_frames_of_ten_thousand_pixels_are_refused_before_they_are_decoded():
    file = BytesIO()
    save_clip(file, [(0.0, np.zeros((32, 10_000, 3), np.uint8))], container="matroska")
    assert "10000 × 32" in refusal(VideoTooLargeError, file)


def test_a_long_video_is_looked_at_so_often_and_no_more(monkeypatch, heads):
    monkeypatch.setattr("agegender.video.analysis.MOST_LOOKS", 10)
    file = BytesIO()
    save_clip(file, film(lambda frame, time: None, 20, 5, (64, 48)), container="mp4")
    assert follow_video(file, Nobody()).looks <= 11
    assert follow_video(file, Nobody(), every=0.2).looks == 100


def test_large_frames_do_not_pile_up_while_a_copy_waits_for_the_next_look(monkeypatch):
    monkeypatch.setattr("agegender.video.analysis._WAITING_PIXELS", 3 * 64 * 48)
    file, copy, looks = BytesIO(), BytesIO(), []
    save_clip(file, film(lambda frame, time: None, 1, 100, (64, 48)), container="mp4")
    follow_video(file, Nobody(), copy=copy, on_look=looks.append)
    assert max(np.diff([look.time for look in looks])) == pytest.approx(0.04, abs=0.002)
    assert len(frames_of(copy.getvalue())) == 100


def test_it_stops_on_request_and_keeps_what_it_has(clip, predictor):
    stop, copy, said = threading.Event(), BytesIO(), []

    def progress(seconds, total):
        said.append((seconds, total))
        if seconds > 0.7:
            stop.set()

    result = follow_video(clip, predictor, copy=copy, progress=progress, stop=stop)
    assert len(result.tracks) == 2
    assert result.error.startswith("stopped after") and result.error.endswith("of 2.0 seconds")
    assert 0.7 < result.seconds < 1.5
    assert len(frames_of(copy.getvalue())) == pytest.approx(25 * result.seconds, abs=1)
    assert all(total == pytest.approx(2, abs=0.1) for _, total in said)


def test_videos_are_found_in_folders(tmp_path):
    for name in ("b.MOV", "a.mp4", "photo.jpg", ".hidden.mp4"):
        (tmp_path / name).touch()
    assert [path.name for path in find_videos([tmp_path])] == ["a.mp4", "b.MOV"]
    assert [path.name for path in find_videos([tmp_path / "*.mp4"])] == ["a.mp4"]
