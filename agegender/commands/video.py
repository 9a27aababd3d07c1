"""`python -m agegender video`: videos in; words, JSON, CSV and annotated copies out, a person each."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from agegender.batch import stop_on_signal
from agegender.commands import complain, load_predictor, progress_bar, say
from agegender.commands.outputs import (
    Outputs,
    Record,
    annotated_paths,
    check_outputs,
    say_done,
    without_copies,
    writing,
)
from agegender.errors import ConfigError, ModelError, reason_of
from agegender.export import NO_FACE, open_atomically, tracks_csv, videos_document
from agegender.video.analysis import VideoResult, follow_video
from agegender.video.following import FramePredictor
from agegender.video.reading import find_videos
from agegender.wording import describe

_COPIED_AS = ".mp4"


class VideoPredictor(FramePredictor, Protocol):
    """What this command needs of `agegender.Predictor`."""

    @property
    def model(self) -> str:
        """Name of the model."""


def run(
    *,
    paths: Sequence[str],
    model: str | None,
    every: float | None,
    json: str | None,
    csv: str | None,
    annotate: Path | None,
    blur: str | None,
) -> int:
    """Follows the people in every video that the patterns name.

    Args:
        paths: Files, folders and globs.
        model: Name of the model; ``None`` takes the default one.
        every: How often to look for faces, in seconds; ``None`` as `follow_video` does it.
        json: A file, or "-" for standard output.
        csv: A file.
        annotate: A folder for annotated copies.
        blur: Not ``None`` where faces are made unrecognisable in these.

    Returns:
        0, or 1 where some videos failed, or could be read in part only.

    Raises:
        ConfigError: Nothing matches, or an output would replace an input.
        ModelError: The model is unknown or not trained.
    """
    patterns, outputs = paths, Outputs(json=json, csv=csv, annotated=annotate, blur=blur is not None)
    found = find_videos(patterns)
    if outputs.annotated is not None:
        found = without_copies(found, patterns, outputs.annotated, "videos")
    if not found:
        raise ConfigError(f"no video matches {' '.join(map(repr, patterns))}")
    copies: dict[Path, Path] = {}
    if outputs.annotated is not None:
        copies = annotated_paths(found, outputs.annotated, {_COPIED_AS}, _COPIED_AS)
    check_outputs(found, outputs, copies)

    return follow_files(found, load_predictor(model), every=every, outputs=outputs, copies=copies)


def follow_files(
    paths: Sequence[Path],
    predictor: VideoPredictor,
    *,
    every: float | None,
    outputs: Outputs,
    copies: dict[Path, Path],
) -> int:
    """Follows the people in videos, one after the other, and writes what was asked for.

    A video that fails is named on standard error and recorded with its error; the rest goes on. Whatever ends
    the run early, ``Ctrl-C`` or an error, what is done by then is written and said, of the video at work too.

    Args:
        paths: The videos.
        predictor: The model.
        every: As `run`.
        outputs: Where results go.
        copies: Where the annotated copy of each video goes.

    Returns:
        0, or 1 where some videos failed.

    Raises:
        OSError: An output cannot be written; the others are.
        KeyboardInterrupt: The run was stopped by a signal.
    """
    records: list[Record] = []
    with (
        writing(
            records,
            outputs,
            total=len(paths),
            what="videos",
            table=tracks_csv,
            document=partial(videos_document, predictor.model),
        ),
        stop_on_signal() as stop,
    ):
        for path in paths:
            if stop.is_set():
                break
            result = _follow_one(
                path, predictor, every=every, copy=copies.get(path), blur=outputs.blur, stop=stop
            )
            records.append(result.to_dict())
            if result.error is not None:
                complain(f"{records[-1]['path']}: {records[-1]['error']}")
            if outputs.in_words:
                _print_people(records[-1]["path"], result)
    code = say_done(records, outputs, "videos", "people", "tracks")
    if stop.is_set():
        raise KeyboardInterrupt
    return code


def _follow_one(
    path: Path,
    predictor: VideoPredictor,
    *,
    every: float | None,
    copy: Path | None,
    blur: bool,
    stop: threading.Event,
) -> VideoResult:
    """Follows one video and writes its copy; what goes wrong ends up in the result's error."""
    bar: tqdm[Any] | None = None

    def advance(seconds: float, total: float | None) -> None:
        nonlocal bar
        if bar is None:
            whole = None if total is None else round(total)
            bar = progress_bar(whole or 0, path.name, "s")  # seconds of the video
            bar.total = whole
        bar.update(int(seconds) - bar.n)

    try:
        with nullcontext() if copy is None else open_atomically(copy) as file:
            return follow_video(
                path, predictor, every=every, copy=file, blur=blur, progress=advance, stop=stop
            )
    except ModelError:
        raise
    except Exception as error:  # not only the expected ones: one video must not stop the others
        return VideoResult(str(path), error=reason_of(error))
    finally:
        if bar is not None:
            bar.close()


def _print_people(path: str, result: VideoResult) -> None:
    if not result.tracks and result.error is None:
        say(f"{path}: {NO_FACE}")
    for track in result.tracks:
        when = f"{track.first:.1f}–{track.last:.1f} s"
        say(f"{path}: person {track.number}, {when}: {describe(track.pooled)}")
