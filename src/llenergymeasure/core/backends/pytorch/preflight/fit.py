"""Whether the tensors in a model's files are those that its config.json describes, tried without reading any."""

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llenergymeasure.core.backends.pytorch.loading import not_in_the_files, quietly
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.weights import Shapes, shapes_of

_log = logging.getLogger(__name__)


def unlike_the_files(description: Any, files: Mapping[str, Path]) -> list[str]:
    """Names of weights that no file has, or has in another shape; none where that cannot be told.

    transformers loads tensors of the files' shapes on a device without memory, and so by its own rules for names that
    differ, for tied weights, and for experts that lie apart in the files and together in the model.

    Args:
        description: the model's transformers configuration; of one that is quantised nothing can be told.
        files: whole files of weights by name.
    """
    model = None if getattr(description, "quantization_config", None) is not None else skeleton(description)
    shapes = _shapes(files)
    if model is None or shapes is None:
        return []
    try:
        info = _loaded_without_memory(model, description, shapes)
    except Exception as error:  # noqa: BLE001 - what cannot be tried is tried when the model is loaded
        _log.debug("the weights' shapes cannot be tried: %s", error)
        return []
    return not_in_the_files(info)


def _shapes(files: Mapping[str, Path]) -> Shapes | None:
    """Of all files; None where a file is of a kind that does not tell."""
    found: dict[str, tuple[int, ...]] = {}
    for path in files.values():
        of_one = shapes_of(path)
        if of_one is None:
            return None
        found |= of_one
    return found


def _loaded_without_memory(model: Any, description: Any, shapes: Shapes) -> dict[str, Any]:
    import torch

    tensors = {name: torch.empty(shape, dtype=torch.float32, device="meta") for name, shape in shapes.items()}
    with quietly():
        _, info = type(model).from_pretrained(
            None,
            config=copy.deepcopy(description),
            state_dict=tensors,
            trust_remote_code=False,
            device_map={"": "meta"},
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    return dict(info)
