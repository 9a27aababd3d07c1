"""People in moving pictures: followed from frame to frame, each with one answer pooled over its frames.

    tracking   which face of a frame is which of the next
    pooling    one answer of many, and how sure it may be
    following  both over frames, wherever these come from: `FaceFollower`

Of these `tracking` needs SciPy, which comes with the extra "video".
"""

from agegender.video.following import FaceFollower, Look, Track
from agegender.video.pooling import Pool, chip_quality

__all__ = ["FaceFollower", "Look", "Pool", "Track", "chip_quality"]
