"""People in moving pictures: followed from frame to frame, each with one answer pooled over its frames.

    tracking   which face of a frame is which of the next
    pooling    one answer of many, and how sure it may be
    following  both, over frames wherever these come from: `FaceFollower`
    reading    a video file's frames
    writing    frames to a video file
    analysis   a whole file: `follow_video`

Of these `tracking` needs SciPy, and the last three PyAV: both come with the extra "video". Files are not read
by importing this package, so that following works where there is no PyAV.
"""

from agegender.video.following import FaceFollower, Look, Track
from agegender.video.pooling import Pool, chip_quality

__all__ = ["FaceFollower", "Look", "Pool", "Track", "chip_quality"]
