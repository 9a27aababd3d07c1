"""`follow_video`: a video file in; its people, and if wanted an annotated or blurred copy, out."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from agegender.drawing import annotate, pixelate
from agegender.files import escape_name, escape_no_text
from agegender.video.following import FaceFollower, FramePredictor, Look, Track
from agegender.video.reading import Frame, VideoInfo, VideoReader, VideoSource
from agegender.video.tracking import Box
from agegender.video.writing import VideoWriter

EVERY_SECONDS: Final = 0.2
"""How often faces are looked at, where nothing else is asked for."""

MOST_LOOKS: Final = 18_000
"""Where nothing else is asked for, a longer video than an hour is looked at so often at most, evenly."""

_DRAWN_SECONDS: Final = 0.2
_BLURRED_SECONDS: Final = 0.1
"""A copy is looked at so often at least: boxes between two looks are interpolated."""

_AHEAD: Final = 3
"""So many looks may be on their way while frames are decoded and written."""

_WAITING_PIXELS: Final = 100_000_000
"""Frames of so many pixels wait for the next look, or one frame: 8K at a high rate would fill the memory."""

_HIDDEN_SHARE: Final = 0.25
"""A face that was expected and not found is blurred with so much more around it, on each side."""

_SCENE_ROWS: Final = 36
_SCENE_SHADES: Final = 0.35
_SCENE_CHANGE: Final = 18.0
_SCENE_TIMES: Final = 3.0
"""Another scene begins where shades are distributed otherwise by this share, and brightness changes by so
many of 255 levels, and by so many times what it changed by lately. A flash or a fast pan may be taken for
one, which costs a look; see `Tracker.update`."""


@dataclass(frozen=True, eq=False)
class VideoResult:
    """What came of a video.

    Attributes:
        path: Its path, or whatever else the caller knows it by.
        info: What the file says of itself; ``None`` where it could not be opened.
        seconds: How much of it was seen.
        looks: In how many of its frames faces were looked for.
        tracks: The people, in the order in which they came.
        error: Why it could not be used, or only a part of it, in words without its name; otherwise ``None``.
    """

    path: str
    info: VideoInfo | None = None
    seconds: float = 0.0
    looks: int = 0
    tracks: Sequence[Track] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The video as plain values, as ``video --json`` writes it.

        Returns:
            ``path``, escaped as `agegender.files` does it where it is no text, ``width`` and ``height`` of
            the upright frames in pixels, ``rate`` (frames a second), ``seconds``, ``looks``, ``error``, and
            ``tracks`` as `Track.to_dict` gives them.
        """
        info = self.info
        return {
            "path": escape_name(self.path),
            "width": None if info is None else info.width,
            "height": None if info is None else info.height,
            "rate": None if info is None or info.rate is None else round(info.rate, 3),
            "seconds": round(self.seconds, 3),
            "looks": self.looks,
            "error": None if self.error is None else escape_no_text(self.error),
            "tracks": [track.to_dict() for track in self.tracks],
        }


def follow_video(
    source: VideoSource,
    predictor: FramePredictor,
    *,
    name: str | None = None,
    every: float | None = None,
    copy: BinaryIO | None = None,
    boxes: bool = True,
    blur: bool = False,
    on_look: Callable[[Look], None] | None = None,
    progress: Callable[[float, float | None], None] | None = None,
    stop: threading.Event | None = None,
) -> VideoResult:
    """Follows the people in a video file.

    Memory does not grow with the video's length, but by about 30 kB a person.

    Args:
        source: As for `VideoReader`.
        predictor: Finds the faces and answers for them, such as an `agegender.Predictor`.
        name: What errors call the video. By default the path.
        every: How often to look for faces, in seconds; ``None`` for five times a second, and at most
            `MOST_LOOKS` times in all.
        copy: Where to write a copy, an MP4: an empty binary file object that can seek, which is not closed.
            For a copy faces are looked for at least five times a second, ten times to blur them.
        boxes: Whether the copy shows boxes and labels, with what is pooled by then.
        blur: Whether faces are made unrecognisable in the copy: those that the detector finds, in all frames.
        on_look: Gets each look when it is done.
        progress: Called now and then with how many seconds are seen, and of how many, where that is known.
        stop: Once set, nothing more is read; what was read is answered and written.

    Returns:
        The people, and what was wrong where only a part could be read.

    Raises:
        VideoError: Nothing of the video can be used.
        ModelError: As `Predictor.predict`.
        ValueError: ``every`` is not over 0.
    """
    if every is not None and not every > 0:
        raise ValueError(f"every must be over 0 seconds, got {every}")
    with VideoReader(source, name=name) as reader:
        step = max(EVERY_SECONDS, (reader.info.seconds or 0) / MOST_LOOKS) if every is None else every
        if copy is not None:
            step = min(step, _BLURRED_SECONDS if blur else _DRAWN_SECONDS)
        run = _Run(reader, FaceFollower(predictor), step, on_look)
        if copy is not None:
            run.copy = _Copy(VideoWriter(copy, reader), boxes=boxes, blur=blur)
        run.all_frames(progress, stop)
        error = reader.problem
        if error is None and stop is not None and stop.is_set():
            error = f"stopped after {run.seconds:.1f} seconds"
            if reader.info.seconds:
                error = f"stopped after {run.seconds:.1f} of {reader.info.seconds:.1f} seconds"
        path = os.fsdecode(source) if isinstance(source, str | os.PathLike) else reader.name
        tracks = run.follower.tracks()
        return VideoResult(name or path, reader.info, run.seconds, run.looks, tracks, error)


@dataclass(eq=False)
class _Run:
    """One video on its way: frames are decoded and written here, while another thread looks at some of them.

    Attributes:
        between: Frames since the last one that is looked at, where they are to be written.
        pending: What is looked at, with the frames before it.
    """

    reader: VideoReader
    follower: FaceFollower
    step: float
    on_look: Callable[[Look], None] | None
    copy: _Copy | None = None
    seconds: float = 0.0
    looks: int = 0
    between: list[Frame] = field(default_factory=list)
    pending: deque[tuple[Future[tuple[Look, NDArray[np.uint8]]], list[Frame]]] = field(default_factory=deque)

    def all_frames(
        self, progress: Callable[[float, float | None], None] | None, stop: threading.Event | None
    ) -> None:
        scenes, due = _Scenes(), 0.0
        info = self.reader.info
        tolerance = 0.25 / (info.rate or 25.0)
        most_between = max(1, _WAITING_PIXELS // (info.width * info.height))
        sound = None if self.copy is None else self.copy.writer.sound
        with ThreadPoolExecutor(1, thread_name_prefix="look") as pool:
            try:
                for frame in self.reader.frames(sound):
                    cut = scenes.begin_with(frame)
                    if cut and self.between:  # the last of the old scene: nothing lies between it and the new
                        self._look(pool, self.between.pop())
                    if cut or frame.time >= due - tolerance or len(self.between) >= most_between:
                        self._look(pool, frame, cut=cut)
                        due = (int(frame.time / self.step + 0.01) + 1) * self.step
                    elif self.copy is not None:
                        self.between.append(frame)
                    self.seconds = frame.time
                    while len(self.pending) > _AHEAD or (self.pending and self.pending[0][0].done()):
                        self._finish_one()
                        if progress is not None:
                            progress(self.seconds, info.seconds)
                    if stop is not None and stop.is_set():
                        break
                if self.between:
                    self._look(pool, self.between.pop())
                while self.pending:
                    self._finish_one()
            finally:
                for future, _ in self.pending:
                    future.cancel()
                if self.copy is not None:
                    self.copy.writer.close()
        self.seconds += 1 / (info.rate or 25.0)

    def _look(self, pool: ThreadPoolExecutor, frame: Frame, *, cut: bool = False) -> None:
        def look() -> tuple[Look, NDArray[np.uint8]]:
            pixels = frame.rgb()
            return self.follower.look(pixels, frame.time, cut=cut), pixels

        self.pending.append((pool.submit(look), self.between))
        self.between = []

    def _finish_one(self) -> None:
        future, before = self.pending.popleft()
        look, pixels = future.result()
        self.looks += 1
        if self.on_look is not None:
            self.on_look(look)
        if self.copy is not None:
            self.copy.add(before, look, pixels)


@dataclass(eq=False)
class _Copy:
    """Frames with boxes and labels, or with blurred faces, or both."""

    writer: VideoWriter
    boxes: bool
    blur: bool
    _last: Look | None = None

    def add(self, before: Sequence[Frame], look: Look, pixels: NDArray[np.uint8]) -> None:
        """Writes the frames between the last look and this one, then the one that was looked at."""
        for frame in before:
            assert self._last is not None  # the first frame is looked at
            self._write(frame.rgb(), frame.time, self._last, look)
        self._write(pixels, look.time, look, look)
        self._last = look

    def _write(self, pixels: NDArray[np.uint8], time: float, one: Look, other: Look) -> None:
        if self.blur:
            pixels = pixelate(pixels, _hidden_at(time, one, other))
        if self.boxes and one.faces:
            places = {number: _box_at(time, number, one, other) for number in one.faces}
            faces = [
                replace(face, face=replace(face.face, box=places[number]))
                for number, face in one.faces.items()
            ]
            pixels = annotate(pixels, faces, list(one.faces))
        self.writer.write(pixels, time)


def _boxes(look: Look) -> dict[int, Box]:
    """Where everybody is, seen or not."""
    return {**look.hidden, **{number: face.face.box for number, face in look.faces.items()}}


def _box_at(time: float, number: int, one: Look, other: Look) -> Box:
    """Where somebody is between two looks, the first of which has them."""
    begin, end = _boxes(one)[number], _boxes(other).get(number)
    if end is None or other.cut or other.time <= one.time:
        return begin
    share = (time - one.time) / (other.time - one.time)
    x1, y1, x2, y2 = ((1 - share) * a + share * b for a, b in zip(begin, end, strict=True))
    return x1, y1, x2, y2


def _hidden_at(time: float, one: Look, other: Look) -> list[Box]:
    """What is blurred between two looks: all that may be a face in either of them, of the same scene."""
    found = []
    for number, box in _boxes(one).items():
        there = _box_at(time, number, one, other)
        seen = number in one.faces and (number in other.faces or other.cut)
        found.append(there if seen else _wider(there))
        if number not in _boxes(other) and not seen:
            found.append(_wider(box))
    found += [face.box for face in one.unsure]
    if not other.cut and other is not one:
        found += [_wider(box) for number, box in _boxes(other).items() if number not in _boxes(one)]
        found += [face.box for face in other.unsure]
    return found


def _wider(box: Box) -> Box:
    x1, y1, x2, y2 = box
    x, y = _HIDDEN_SHARE * (x2 - x1), _HIDDEN_SHARE * (y2 - y1)
    return x1 - x, y1 - y, x2 + x, y2 + y


class _Scenes:
    """Notices where another scene begins."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._shades: NDArray[np.float64] | None = None
        self._usual = 0.0

    def begin_with(self, frame: Frame) -> bool:
        """Whether a scene begins with the next frame; the first frame's does not count."""
        luma = frame.luma(max(1, frame.picture.height // _SCENE_ROWS))
        small = luma.astype(np.float32)
        shades = np.bincount(luma.ravel() >> 3, minlength=32) / luma.size
        last, last_shades = self._last, self._shades
        self._last, self._shades = small, shades
        if last is None or last_shades is None or last.shape != small.shape:
            return False
        change = float(np.abs(small - last).mean())
        moved = float(np.abs(shades - last_shades).sum()) / 2
        cut = moved > _SCENE_SHADES and change > max(_SCENE_CHANGE, _SCENE_TIMES * self._usual)
        self._usual = 0.0 if cut else 0.9 * self._usual + 0.1 * change
        return cut
