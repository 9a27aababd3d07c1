"""Makes keras-vggface import under Keras 3, and finds the weight file it would download.

keras-vggface 0.6 is no longer maintained and imports three modules that Keras 3 has moved or dropped.
They are supplied under their old names for the duration of the import, nothing else is touched.
"""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import keras

from agegender.errors import WeightsNotFoundError
from agegender.places import install_command

VGG16_FILE: Final = "rcmalli_vggface_tf_notop_vgg16.h5"

_IMPORT_LOCK: Final = threading.Lock()


def _old_modules() -> dict[str, types.ModuleType]:
    topology = types.ModuleType("keras.engine.topology")
    topology.__dict__["get_source_inputs"] = keras.utils.get_source_inputs
    data_utils = types.ModuleType("keras.utils.data_utils")
    data_utils.__dict__["get_file"] = keras.utils.get_file
    layer_utils = types.ModuleType("keras.utils.layer_utils")
    engine = types.ModuleType("keras.engine")
    engine.__dict__["topology"] = topology
    return {
        "keras.engine": engine,
        "keras.engine.topology": topology,
        "keras.utils.data_utils": data_utils,
        "keras.utils.layer_utils": layer_utils,
    }


def import_vggface() -> Callable[..., Any]:
    """Imports ``keras_vggface.vggface.VGGFace``.

    Returns:
        The package's own model function.

    Raises:
        WeightsNotFoundError: The package is not installed.
    """
    with _IMPORT_LOCK:
        supplied = {name: module for name, module in _old_modules().items() if name not in sys.modules}
        sys.modules.update(supplied)
        had_layer_utils = hasattr(keras.utils, "layer_utils")
        if not had_layer_utils:
            # `from keras.utils import layer_utils` looks at the package's attribute first.
            keras.utils.layer_utils = sys.modules["keras.utils.layer_utils"]
        try:
            from keras_vggface.vggface import VGGFace
        except ModuleNotFoundError as error:
            raise WeightsNotFoundError(
                f"the vgg16 backbone needs keras-vggface and keras-applications ({error}); "
                f"{install_command('train')}"
            ) from error
        finally:
            for name in supplied:
                del sys.modules[name]
            if not had_layer_utils:
                del keras.utils.layer_utils
    return VGGFace


def vgg16_weights_file() -> Path:
    """The VGG16 weights that keras-vggface publishes, downloaded to Keras's cache if need be.

    Returns:
        Path of the file in Keras's cache folder.

    Raises:
        WeightsNotFoundError: It is not in the cache and cannot be downloaded; the message says which file
            goes where, and which backbone needs no download.
    """
    import_vggface()
    from keras_vggface import utils

    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    path = cache / utils.VGGFACE_DIR / VGG16_FILE
    if path.is_file():
        return path
    try:
        keras.utils.get_file(
            VGG16_FILE,
            utils.VGG16_WEIGHTS_PATH_NO_TOP,
            cache_subdir=utils.VGGFACE_DIR,
            cache_dir=str(cache),
        )
    except Exception as error:  # whatever urllib, sockets or the disk raise: there is no file
        raise WeightsNotFoundError(
            f"could not download VGGFace's VGG16 weights ({error}). Get {VGG16_FILE} from "
            f"{utils.VGG16_WEIGHTS_PATH_NO_TOP} on a machine with network and put it at {path}, "
            "or use --backbone mobilenet, whose weights come with the repository."
        ) from error
    return path
