"""Clips of free portraits, for tests and benchmarks: people before a plain ground."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from agegender.assets import EXAMPLE
from agegender.images import read_image

Pixels = NDArray[np.uint8]

_HEADS: Final = {
    "singer": (875, 300, 1075, 560),
    "left": (190, 170, 310, 320),
    "hat": (690, 310, 830, 480),
    "hopper": (1270, 500, 1470, 740),
}
"""Where heads are on the example picture: x1, y1, x2, y2."""


def portraits() -> dict[str, Pixels]:
    """Heads by name, cut out of free pictures with room around the face."""
    from skimage import data

    picture = read_image(EXAMPLE)
    heads = {name: picture[y1:y2, x1:x2] for name, (x1, y1, x2, y2) in _HEADS.items()}
    return heads | {"collins": np.asarray(data.astronaut(), np.uint8)[10:230, 110:330]}


def scene(width: int, height: int, seed: int = 3) -> Pixels:
    """A ground without people: soft blobs."""
    coarse = np.random.default_rng(seed).integers(60, 170, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def put(frame: Pixels, head: Pixels, x: float, y: float, height: float) -> None:
    """Draws a head, so many pixels high, with its middle at x and y; what lies outside is cut off."""
    scale = height / head.shape[0]
    move = np.array(
        [[scale, 0, x - scale * head.shape[1] / 2], [0, scale, y - scale * head.shape[0] / 2]], np.float64
    )
    size = frame.shape[1::-1]
    small = cv2.GaussianBlur(head, (0, 0), max(0.01, 0.4 / scale)) if scale < 1 else head
    drawn = cv2.warpAffine(small, move, size)
    mask = np.zeros(head.shape[:2], np.float32)
    middle = (head.shape[1] // 2, head.shape[0] // 2)
    cv2.ellipse(mask, middle, (int(0.47 * head.shape[1]), int(0.49 * head.shape[0])), 0, 0, 360, 1.0, -1)
    share = cv2.warpAffine(mask, move, size)[..., None]
    frame[:] = (share * drawn + (1 - share) * frame).astype(np.uint8)


def film(
    draw: Callable[[Pixels, float], None], seconds: float, rate: float, size: tuple[int, int] = (480, 270)
) -> Iterator[tuple[float, Pixels]]:
    """Frames of a clip with their times: ``draw`` puts people on the ground."""
    ground = scene(*size)
    for index in range(round(seconds * rate)):
        frame = ground.copy()
        draw(frame, index / rate)
        yield index / rate, frame


def save_clip(
    target: Path | BytesIO,
    frames: Iterable[tuple[float, Pixels]],
    *,
    codec: str = "libx264",
    container: str | None = None,
    rotation: int = 0,
    sound: str | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes a clip whose frames come at their times, with a tone where ``sound`` names a codec."""
    frames = iter(frames)
    first = next(frames)
    options = {"movflags": "use_metadata_tags"} if metadata else {}
    with av.open(target, "w", format=container, container_options=options) as file:
        file.metadata.update(metadata or {})
        height, width = first[1].shape[:2]
        picture = file.add_stream(codec, rate=25)
        assert isinstance(picture, VideoStream)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        picture.codec_context.time_base = Fraction(1, 25 if codec == "mpeg4" else 1000)
        if codec == "libx264":
            picture.codec_context.options = {"preset": "ultrafast", "g": "25"}
        if rotation:
            picture.set_display_rotation(rotation)
        tone = file.add_stream(sound, rate=48000, layout="mono") if sound else None
        for time, pixels in chain([first], frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.time_base = picture.codec_context.time_base
            frame.pts = round(time / frame.time_base)
            file.mux(picture.encode(frame))
        file.mux(picture.encode(None))
        if isinstance(tone, AudioStream):
            length = int(48000 * (time + 0.04))
            wave = (0.3 * np.sin(2 * np.pi * 440 * np.arange(length) / 48000)).astype(np.float32)
            resampler = av.AudioResampler(tone.codec_context.format, "mono", 48000, frame_size=960)
            heard = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            heard.sample_rate, heard.pts = 48000, 0
            for part in [*resampler.resample(heard), *resampler.resample(None)]:
                file.mux(tone.encode(part))
            file.mux(tone.encode(None))


def frames_of(source: Path | bytes) -> list[tuple[float, Pixels]]:
    """What a video holds, as anybody's player sees it."""
    with av.open(BytesIO(source) if isinstance(source, bytes) else source, "r") as file:
        return [
            (frame.time, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            for frame in file.decode(video=0)
        ]
