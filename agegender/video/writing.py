"""Frames to a video file that browsers play."""

from __future__ import annotations

import io
from contextlib import suppress
from fractions import Fraction
from types import TracebackType
from typing import BinaryIO, Final

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from agegender.video.reading import VideoReader

_MAX_SIDE: Final = 3840
"""Longer sides are halved until they fit: what browsers decode everywhere ends at 4K."""

_QUALITY: Final = {"preset": "veryfast", "crf": "23"}
_TICKS: Final = Fraction(1, 90_000)
"""Fine enough for any frame's time, whatever the rate, so that a variable one stays so."""

_LONGEST_PAUSE: Final = round(3600 / _TICKS)
"""Between two frames. A file that says more is damaged, and an MP4 cannot say more than six hours."""

_PLAYED: Final = frozenset({"aac", "mp3"})
"""Sound that browsers play out of an MP4: it is copied. Any other is coded anew, as AAC."""

_BT709: Final = 1
_LIMITED: Final = 1


class VideoWriter:
    """Writes frames as H.264 in an MP4, with the sound of the file that they come from.

    Nothing else of that file is taken over: no place, device, date or title. Sound that cannot be read is
    left out. Close it, or use it in a ``with``: only then is the file whole.

    Args:
        target: An empty binary file object that can seek; it is not closed.
        reader: Where the frames come from. Its packets of sound are for `sound`.
    """

    def __init__(self, target: BinaryIO, reader: VideoReader) -> None:
        # The index goes to the front, for players that begin before they have all of it. To move it there
        # FFmpeg reads what it wrote while it writes.
        options = {"movflags": "faststart"}
        self._container = av.open(
            target, "w", format="mp4", container_options=options, io_open=lambda *_: _Window(target)
        )
        self._scale = 1
        info = reader.info
        while max(info.width, info.height) > _MAX_SIDE * self._scale:
            self._scale *= 2
        self.width, self.height = (max(2, side // self._scale // 2 * 2) for side in (info.width, info.height))
        rate = Fraction(min(max(info.rate or 25.0, 1.0), 240.0)).limit_denominator(1001)
        video = self._container.add_stream("libx264", rate=rate, options=dict(_QUALITY))
        video.width, video.height, video.pix_fmt = self.width, self.height, "yuv420p"
        video.codec_context.time_base = _TICKS
        video.codec_context.colorspace = video.codec_context.color_primaries = _BT709
        video.codec_context.color_trc, video.codec_context.color_range = _BT709, _LIMITED
        self._video, self._last = video, -1
        self._sound = None if reader.audio is None else _Sound(self._container, reader.audio, reader.start)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, pixels: NDArray[np.uint8], time: float) -> None:
        """Adds a frame.

        Args:
            pixels: RGB ``uint8`` of shape (height, width, 3), as the reader's frames are.
            time: In seconds, later than that of the last one.
        """
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame = frame.reformat(self.width, self.height, "yuv420p", dst_colorspace=Colorspace.ITU709)
        self._last = min(max(self._last + 1, round(time / _TICKS)), self._last + _LONGEST_PAUSE)
        frame.pts, frame.time_base = self._last, _TICKS
        self._container.mux(self._video.encode(frame))

    def sound(self, packet: av.Packet) -> None:
        """Adds a packet of the reader's sound."""
        if self._sound is not None:
            self._sound.add(packet)

    def close(self) -> None:
        """Writes what is left."""
        try:
            self._container.mux(self._video.encode(None))
            if self._sound is not None:
                self._sound.end()
        finally:
            self._container.close()


class _Sound:
    """The sound of a file: copied where browsers play it, otherwise coded anew."""

    def __init__(self, container: OutputContainer, source: AudioStream, start: float) -> None:
        self._container, self._source, self._start = container, source, start
        self._copied = source.codec_context.name in _PLAYED and bool(source.rate)
        self._last = -(1 << 16)  # when the last that was copied began, in ticks of its packets
        self._over = False
        if self._copied:
            self._stream = container.add_stream_from_template(source)
            self._stream.metadata.clear()
            return
        rate = min(max(source.rate or 48_000, 8_000), 48_000)
        layout = "mono" if source.channels == 1 else "stereo"
        self._stream = container.add_stream("aac", rate=rate, layout=layout)
        self._resampler = AudioResampler(format="fltp", layout=layout, rate=rate)

    def add(self, packet: av.Packet) -> None:
        if self._over:
            return
        try:
            if self._copied:
                self._copy(packet)
            else:
                for frame in packet.decode():
                    self._code(frame)  # type: ignore[arg-type]
        except (av.error.FFmpegError, ValueError):
            pass  # a damaged part of the sound is left out

    def end(self) -> None:
        if self._copied or self._over:
            return
        self._over = True
        with suppress(av.error.FFmpegError, ValueError):
            for frame in self._resampler.resample(None):
                self._container.mux(self._stream.encode(frame))
            self._container.mux(self._stream.encode(None))

    def _copy(self, packet: av.Packet) -> None:
        tick = packet.time_base or Fraction(1)
        shift = round(self._start / tick)
        # The muxer tells of times that it cannot say only at the end, when nothing can be left out any more.
        begin, longest = (packet.dts or packet.pts or 0) - shift, _LONGEST_PAUSE * _TICKS / tick
        if not (self._last <= begin <= self._last + longest and 0 <= (packet.duration or 0) <= longest):
            return
        self._last = begin
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = self._stream
        self._container.mux(packet)

    def _code(self, frame: av.AudioFrame) -> None:
        if frame.pts is not None:
            frame.pts -= round(self._start / (frame.time_base or 1))
        for ready in self._resampler.resample(frame):
            self._container.mux(self._stream.encode(ready))


class _Window(io.RawIOBase):
    """Reads a file beside whoever writes it, at a place of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        kept = self._file.tell()
        self._file.seek(self._at)
        data = self._file.read(size)
        self._at += len(data)
        self._file.seek(kept)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        kept = self._file.tell()
        if whence == io.SEEK_CUR:
            offset += self._at
        elif whence == io.SEEK_END:
            offset += self._file.seek(0, io.SEEK_END)
        self._file.seek(kept)
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at
