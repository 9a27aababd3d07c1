"""Why a model answers as it does for one face, and how firmly it stands by it.

    contributions  where in the face the answer comes from, by the network's own gradients
    occlusion      what the answer becomes when a part of the face is covered
    stability      what it becomes when the photo changes and the person does not
    places         words for where on a chip something is

All three ask a trained model and prove nothing about people. `contributions` needs a network with a
convolutional map; the other two only need answers, so they work for every model. Importing this package
loads no TensorFlow.
"""

from agegender.explain.contributions import ContributionMap, ContributionMapper
from agegender.explain.occlusion import OcclusionMap, occlude
from agegender.explain.places import strongest_place
from agegender.explain.stability import Variant, largest_change, vary

__all__ = [
    "ContributionMap",
    "ContributionMapper",
    "OcclusionMap",
    "Variant",
    "largest_change",
    "occlude",
    "strongest_place",
    "vary",
]
