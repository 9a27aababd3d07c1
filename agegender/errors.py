"""Every error this package raises on purpose.

AgeGenderError
├── FileError                  a picture or a video that cannot be used; carries .name and .reason
│   ├── ImageError             a picture
│   │   ├── NotAnImageError        no decoder knows these bytes
│   │   ├── EmptyImageError        no bytes, or no pixels
│   │   ├── TruncatedImageError    the file ends before the picture does
│   │   └── ImageTooLargeError     over the limit of bytes or of pixels
│   └── VideoError             a video
│       ├── NotAVideoError         no reader knows these bytes, or they hold no moving picture
│       ├── EmptyVideoError        no bytes, or no frame that can be read
│       └── VideoTooLargeError     frames of more pixels than allowed
├── DatasetError               a dataset folder that is missing, empty or unusable
├── ModelError                 anything about models and their weights
│   ├── UnknownModelError      a name that is not in the registry
│   └── WeightsNotFoundError   a known model whose weights are not there
└── ConfigError                a training or command option that makes no sense
"""

from __future__ import annotations

from agegender.files import escape_no_text


class AgeGenderError(Exception):
    """Base class: catch this to catch everything the package raises on purpose."""

    def __str__(self) -> str:
        """The message as text that every writer takes, also where it names a file that is no text."""
        return escape_no_text(super().__str__())


class FileError(AgeGenderError):
    """A picture or a video that cannot be used.

    Attributes:
        name: The file name, or what the caller called the bytes.
        reason: One sentence on what is wrong, without the name.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[FileError], tuple[str, str]]:
        """How to pickle it: exceptions cross from the processes of a pool that way."""
        return type(self), (self.name, self.reason)


class ImageError(FileError):
    """A picture that cannot be used."""


class NotAnImageError(ImageError):
    """No decoder recognises the bytes as a picture."""


class EmptyImageError(ImageError):
    """The file has no bytes, or the picture has no pixels."""


class TruncatedImageError(ImageError):
    """The file starts like a picture, but its data ends early or is damaged."""


class ImageTooLargeError(ImageError):
    """The file has more bytes, or the picture more pixels, than allowed."""


class VideoError(FileError):
    """A video that cannot be used."""


class NotAVideoError(VideoError):
    """No reader recognises the bytes, or they hold no moving picture."""


class EmptyVideoError(VideoError):
    """The file has no bytes, or no frame that can be read."""


class VideoTooLargeError(VideoError):
    """Frames have more pixels than allowed."""


class DatasetError(AgeGenderError):
    """A dataset folder is missing, empty or unusable."""


class ModelError(AgeGenderError):
    """Base class of everything about models and their weights."""


class UnknownModelError(ModelError):
    """The name is in neither the registry nor the weights folder."""


class WeightsNotFoundError(ModelError):
    """The model is known, but its weights are not on this machine."""


class ConfigError(AgeGenderError):
    """An option, a config key or a combination of them makes no sense."""


def reason_of(error: Exception) -> str:
    """Says what went wrong with a picture or a video, without its name: that stands beside it."""
    if isinstance(error, FileError):
        return error.reason
    if isinstance(error, AgeGenderError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"unexpected {type(error).__name__}: {error}"
