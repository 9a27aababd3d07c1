"""The choice of a model, shared by all pages that use one, and the models that all visitors share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from agegender import Predictor
from agegender.faces import FaceDetector
from agegender.models import registry
from agegender.models.card import read_card, runtime_of
from agegender.places import TRAIN_COMMAND
from agegender.prediction import Prediction
from agegender.runtime import prepare_tensorflow
from agegender.wording import say_probability
from ui.server import tidy_memory

if TYPE_CHECKING:
    from agegender.explain import ContributionMapper

_LARGE: Final = 12_000_000
"""Parameters. Of models with more, about 50 MB, only the latest stays loaded for the next visitor."""

_KEPT_SMALL: Final = 6
"""So many smaller models stay loaded."""


def choose_model() -> str | None:
    """Puts the choice of a trained model into the sidebar, with its measured error.

    Returns:
        The model's name, or ``None`` where no model is trained; the page has then said so.
    """
    models = {row["name"]: row for row in registry.list_models() if row["trained"]}
    if not models:
        st.error(
            "No model has its weights here, so nothing can be predicted. Put the repository's `weights` "
            f"folder back, or train a model: `{TRAIN_COMMAND} --help` says how.",
            icon=":material/model_training:",
        )
        return None
    with st.sidebar:
        model = st.selectbox(
            "Model",
            list(models),  # the default comes first
            key="model",
            bind="query-params",
            help="Which of the trained models answers. *About* says what each is.",
        )
        st.caption(say_error(models[model]["metrics"]))
    return model


def say_error(metrics: dict[str, Any]) -> str:
    """Puts a model's measured error into one sentence.

    Args:
        metrics: The test figures of the model's card; empty where it was never measured.

    Returns:
        For example "On 2,134 test faces it never saw: age off by 4.6 years on average, perceived gender right
        in 94 %."
    """
    parts = []
    if "age" in metrics:
        parts.append(f"age off by {metrics['age']['mae']:.1f} years on average")
    if "gender" in metrics:
        parts.append(f"perceived gender right in {say_probability(metrics['gender']['accuracy'])}")
    if not parts:
        return "Its error has not been measured."
    return f"On {metrics['n']:,} test faces it never saw: {', '.join(parts)}."


@dataclass(frozen=True)
class LoadedModel:
    """A model with everything it needs in memory. Visitors' threads may share it; it keeps no picture."""

    predictor: Predictor

    @cached_property
    def mapper(self) -> ContributionMapper:
        """What traces its answers back to places of a face: along gradients, so its Keras networks."""
        from agegender.explain import ContributionMapper
        from agegender.models.trained import TrainedModel

        mapper = ContributionMapper(TrainedModel(self.predictor.model))
        tidy_memory()
        return mapper


class LoadedModels:
    """The models in memory: a few small ones and one large one. Which was used longest ago goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[LoadedModel, bool]] = OrderedDict()
        self._kept_lock, self._loading = threading.Lock(), threading.Lock()

    def find(self, name: str) -> LoadedModel | None:
        """The model where it is loaded, at once."""
        with self._kept_lock:
            if name not in self._kept:
                return None
            self._kept.move_to_end(name)
            return self._kept[name][0]

    def load(self, name: str) -> LoadedModel:
        """Loads a model, one at a time, whoever asks for it.

        Raises:
            ModelError: The model is unknown, or its weights are missing or damaged.
        """
        with self._loading:
            found = self.find(name)  # another visitor may have been quicker
            if found is None:
                prepare_tensorflow()
                found = LoadedModel(Predictor(name, detector=load_detector()))
                found.predictor.predict_chips(np.zeros((1, 200, 200, 3), dtype=np.uint8))
                self._keep(name, found, large=registry.model_spec(name).parameters > _LARGE)
                tidy_memory()
        return found

    def _keep(self, name: str, model: LoadedModel, *, large: bool) -> None:
        with self._kept_lock:
            self._kept[name] = model, large
            alike = [other for other, (_, is_large) in self._kept.items() if is_large == large]
            for other in alike[: -1 if large else -_KEPT_SMALL]:
                del self._kept[other]


def load_model(name: str) -> LoadedModel:
    """Gives the one instance of a model that all visitors share, and says so where it has to be loaded.

    Raises:
        ModelError: The model is unknown, or its weights are missing or damaged.
    """
    models = _loaded_models()
    found = models.find(name)
    if found is not None:
        return found
    with st.spinner("Loading the model. Only the first photo waits for it …"):
        return models.load(name)


def preload() -> None:
    """Loads what the first photo needs, unless that takes TensorFlow, which not every visitor will need."""
    load_detector()
    if runtime_of(read_card(registry.DEFAULT_MODEL)) == "LiteRT":
        _loaded_models().load(registry.DEFAULT_MODEL)


class SharedPredictor:
    """The default model for other programs: the very one that visitors use, loaded when it is first asked."""

    model: Final = registry.DEFAULT_MODEL

    def predict(self, source: NDArray[np.uint8], **options: Any) -> list[Prediction]:
        """As of `Predictor`."""
        return _loaded_models().load(self.model).predictor.predict(source, **options)

    def predict_chip_image(self, source: NDArray[np.uint8]) -> Prediction:
        """As of `Predictor`."""
        return _loaded_models().load(self.model).predictor.predict_chip_image(source)


@st.cache_resource(max_entries=1, show_spinner=False)
def load_detector() -> FaceDetector:
    """The one face detector of all models, with its networks loaded."""
    detector = FaceDetector()
    detector.detect(np.zeros((200, 200, 3), dtype=np.uint8))
    return detector


@st.cache_resource(max_entries=1, show_spinner=False)
def _loaded_models() -> LoadedModels:
    return LoadedModels()
