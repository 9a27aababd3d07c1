"""A video file, whatever its format, to upright RGB frames; and the one place that refuses bad ones.

Files are opened as what they are, by their content, in the formats of `_FORMATS` only: others that FFmpeg
knows are lists of further files and addresses, which an upload must not make this computer open.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from agegender.errors import EmptyVideoError, NotAVideoError, VideoError, VideoTooLargeError
from agegender.files import find_files
from agegender.video.hdr import HLG, PQ, to_sdr

VIDEO_SUFFIXES: Final = frozenset({".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv", ".avi"})
"""File name endings that `find_videos` looks for in folders: lower case, with the dot."""

MAX_SIDE: Final = 8192
"""Longest side of a frame that is read, in pixels: what is called 8K. One takes up 130 MB while it is
decoded."""

_HIGH_DEFINITION: Final = 720
_UNSPECIFIED: Final = 2  # AVCOL_SPC_UNSPECIFIED
_FORMATS: Final = "mov,matroska,webm,avi"
_UPRIGHT: Final = {0: 0, 90: 1, 180: 2, 270: 3}
_MOST_DAMAGED: Final = 1000
"""After so many parts that cannot be decoded, one after the other, nothing more is hoped for."""

_EARLY_SECONDS: Final = 1.0
_EARLY_SHARE: Final = 0.05
"""A file that ends by more than both before it says it does was cut."""

VideoSource = str | os.PathLike[str] | bytes | BinaryIO


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself.

    Attributes:
        width: Of the upright frames, in square pixels.
        height: Likewise.
        seconds: How long it says it is; ``None`` where it does not.
        rate: Frames a second, on average; ``None`` where it does not say.
        codec: How the frames are coded, such as "h264".
        rotation: By how many degrees frames are turned to be upright, counter-clockwise: 0, 90, 180 or 270.
        audio: How the sound is coded, such as "aac"; ``None`` where there is none.
    """

    width: int
    height: int
    seconds: float | None
    rate: float | None
    codec: str
    rotation: int
    audio: str | None


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame as it was decoded.

    Attributes:
        time: In seconds from the file's start.
        picture: As FFmpeg has it, neither upright nor in RGB.
    """

    time: float
    picture: av.VideoFrame
    _info: VideoInfo

    def rgb(self) -> NDArray[np.uint8]:
        """The upright frame: sRGB, ``uint8`` of shape (height, width, 3), as `VideoInfo` has them."""
        info = self._info
        turns = _UPRIGHT[info.rotation]
        width, height = (info.height, info.width) if turns % 2 else (info.width, info.height)
        # Where a file does not say, players go by the size: high definition is BT.709.
        unsaid = self.picture.colorspace == _UNSPECIFIED and self.picture.height >= _HIGH_DEFINITION
        picture = self.picture.reformat(
            width, height, "rgb24", src_colorspace=Colorspace.ITU709 if unsaid else None
        )
        pixels = np.asarray(picture.to_ndarray(), np.uint8)
        if self.picture.color_trc in (PQ, HLG):
            pixels = to_sdr(pixels, self.picture.color_trc)
        return np.ascontiguousarray(np.rot90(pixels, turns))

    def luma(self, step: int) -> NDArray[np.uint8]:
        """Every so many-th pixel's brightness, quickly: uint8 of shape (rows, columns), not turned."""
        picture = self.picture
        plain = picture.format.is_planar and not picture.format.is_rgb
        if plain and picture.format.components[0].bits == 8 and picture.planes[0].line_size > 0:
            plane = picture.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            return rows[: picture.height : step, : picture.width : step].copy()
        return np.asarray(picture.reformat(format="gray").to_ndarray()[::step, ::step], np.uint8)


class VideoReader:
    """Reads the frames of a video file, one after the other; memory does not grow with its length.

    MP4, MOV, WebM, MKV and AVI, told apart by their content, coded in whatever the installed PyAV decodes:
    H.264, HEVC, VP8, VP9, AV1 and many more. Frames are turned as the file says, made square where their
    pixels are not, and come at the times that the file has for them. Close it, or use it in a ``with``.

    Args:
        source: A path; the bytes of a file; or a binary file object that can seek, which is never closed.
        name: What errors call it. By default the path.

    Attributes:
        name: As above.
        info: What the file says of itself.
        audio: The first stream of sound, for who writes it elsewhere; or ``None``.
        start: Seconds that its packets' times begin with, where frames' times begin with 0.
        problem: What was wrong on the way, in words without the name, as far as it was read; or ``None``.

    Raises:
        NotAVideoError: In none of these formats, or without a moving picture.
        EmptyVideoError: No bytes, or no frame that can be read.
        VideoTooLargeError: A side of more than `MAX_SIDE` pixels.
        VideoError: The file is missing, or cannot be read.
    """

    def __init__(self, source: VideoSource, *, name: str | None = None) -> None:
        self.problem: str | None = None
        self._hear: Callable[[av.Packet], None]
        self._own: BinaryIO | None = None
        if isinstance(source, bytes):
            self.name, file = name or "video bytes", BytesIO(source)
        elif isinstance(source, str | os.PathLike):
            self.name = name or os.fsdecode(source)
            file = self._own = _open(self.name, Path(source))  # type: ignore[assignment]
        else:
            self.name, file = name or "video file", source  # type: ignore[assignment]
        try:
            self._container = self._open_container(file)
            try:
                self._begin()
            except BaseException:
                self._container.close()
                raise
        except BaseException:
            self._close_own()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        self._container.close()
        self._close_own()

    def frames(self, sound: Callable[[av.Packet], None] | None = None) -> Iterator[Frame]:
        """Decodes the frames, once.

        Damaged parts are left out, and where the file breaks off the frames end; `problem` says so then.

        Args:
            sound: Gets the packets of the sound in passing.

        Yields:
            The frames, each at a later time than the one before.
        """
        self._hear = sound or (lambda packet: None)
        while self._heard:
            self._hear(self._heard.pop(0))
        for picture in chain(self._first, self._pictures):
            yield self._timed(picture)
        if self._damaged and self.problem is None:
            parts = "1 damaged part" if self._damaged == 1 else f"{self._damaged:,} damaged parts"
            self.problem = f"{parts} of it could not be read"
        said, missing = self.info.seconds, (self.info.seconds or 0) - self._end
        if said is not None and self.problem is None and missing > max(_EARLY_SECONDS, _EARLY_SHARE * said):
            self.problem = f"it ends after {self._end:.1f} of {said:.1f} seconds"

    def _open_container(self, file: BinaryIO) -> InputContainer:
        try:
            file.seek(0)
            if not file.read(1):
                raise EmptyVideoError(self.name, "the file is empty")
            file.seek(0)
            only = {"format_whitelist": _FORMATS, "protocol_whitelist": ""}
            return av.open(file, "r", container_options=only, metadata_errors="replace")
        except (av.error.FFmpegError, ValueError) as error:
            raise NotAVideoError(
                self.name, f"not a video that can be read (MP4, MOV, WebM, MKV or AVI): {_words(error)}"
            ) from error
        except OSError as error:
            raise VideoError(self.name, f"cannot be read ({error.strerror or error})") from error

    def _begin(self) -> None:
        """Finds the streams and decodes the first frame, which alone tells how all are turned."""
        streams = self._container.streams
        known = [stream for stream in streams.video if stream.codec_context is not None]
        pictures = [one for one in known if not one.disposition & Disposition.attached_pic]  # a song's cover
        if not pictures:
            unknown = "how its frames are coded is not known here"
            raise NotAVideoError(self.name, unknown if streams.video else "it has no moving picture")
        self._video = pictures[0]
        self._check(self._video.width, self._video.height)
        self._video.thread_type = "AUTO"
        self.audio = next((one for one in streams.audio if one.codec_context is not None), None)
        start = self._container.start_time
        self.start = 0.0 if start is None else start / av.time_base
        self._last, self._end, self._damaged = -math.inf, 0.0, 0
        self._heard: list[av.Packet] = []
        self._hear = self._heard.append
        self._pictures = self._decode()
        self._first = list(islice(self._pictures, 1))
        if not self._first:
            raise EmptyVideoError(self.name, self.problem or "it has no frame that can be read")
        self.info = self._info_of(self._first[0])

    def _info_of(self, picture: av.VideoFrame) -> VideoInfo:
        turn = round(picture.rotation / 90) % 4 * 90
        aspect = float(self._video.sample_aspect_ratio or 1)
        width = max(1, round(picture.width * (aspect if 0.1 < aspect < 10 else 1)))
        height = picture.height
        self._check(width, height)
        if turn % 180:
            width, height = height, width
        seconds = [
            float(stream.duration * stream.time_base)
            for stream in (self._video, self.audio)
            if stream is not None and stream.duration and stream.time_base
        ]
        if self._container.duration:
            seconds.append(self._container.duration / av.time_base)
        rate = self._video.average_rate or self._video.guessed_rate
        return VideoInfo(
            width,
            height,
            max(seconds) if seconds and max(seconds) > 0 else None,
            float(rate) if rate else None,
            self._video.codec_context.name,
            turn,
            self.audio.codec_context.name if self.audio is not None else None,
        )

    def _check(self, width: int, height: int) -> None:
        if max(width, height) > MAX_SIDE:
            raise VideoTooLargeError(
                self.name,
                f"its frames are {width} × {height} pixels; more than {MAX_SIDE} on a side are not read",
            )

    def _decode(self) -> Iterator[av.VideoFrame]:
        """The frames; packets of the sound go past them. What ends them early becomes the problem."""
        streams = [stream for stream in (self._video, self.audio) if stream is not None]
        packets = self._container.demux(*streams)  # ends with an empty packet a stream, which flushes it
        in_a_row, broken = 0, False
        while not broken and in_a_row <= _MOST_DAMAGED:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
            except (av.error.FFmpegError, OSError, ValueError) as error:
                self.problem = f"it breaks off after {self._end:.1f} seconds ({_words(error)})"
                packet, broken = None, True
            if packet is not None and packet.pts is not None and packet.time_base:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base) - self.start
                self._end = max(self._end, end)
            if packet is not None and packet.stream is not self._video:
                if packet.size:
                    self._hear(packet)
                continue
            try:
                pictures = self._video.decode(packet)
                in_a_row = 0
            except (av.error.FFmpegError, ValueError):
                self._damaged, in_a_row, pictures = self._damaged + 1, in_a_row + 1, []
            yield from pictures

    def _timed(self, picture: av.VideoFrame) -> Frame:
        step = 1 / (self.info.rate or 25)
        time = self._last + step if math.isfinite(self._last) else 0.0
        if picture.pts is not None and picture.time_base:
            time = float(picture.pts * picture.time_base) - self.start
        # Damaged files, and some of AVI's, have frames of one time or of an earlier one.
        self._last = max(time, 0.0 if math.isinf(self._last) else self._last + 0.1 * step)
        return Frame(self._last, picture, self.info)

    def _close_own(self) -> None:
        if self._own is not None:
            self._own.close()


def find_videos(patterns: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Finds the files that a person's words mean, as `agegender.find_images` does it for pictures.

    Args:
        patterns: Files, folders and globs.

    Returns:
        Paths in sorted order, each file once. A folder gives those that end in one of `VIDEO_SUFFIXES`.
    """
    return find_files(patterns, VIDEO_SUFFIXES)


def _open(name: str, path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise VideoError(name, "a folder, not a video")
        if path.exists() and not path.is_file():  # opening a pipe would wait
            raise VideoError(name, "not a regular file")
        return path.open("rb")
    except FileNotFoundError as error:
        raise VideoError(name, "no such file") from error
    except PermissionError as error:
        raise VideoError(name, "no permission to read it") from error
    except (OSError, ValueError) as error:
        raise VideoError(name, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _words(error: Exception) -> str:
    """What FFmpeg says, without what it was called with."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or error).splitlines()[0].lower()
