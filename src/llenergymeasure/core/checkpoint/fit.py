"""Whether the tensors in a model's files are those that its config.json describes, tried without reading any."""

import copy
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.quiet import quietly
from llenergymeasure.core.checkpoint.weights import Shapes, shapes_of

_log = logging.getLogger(__name__)


# The first number in a tensor's name, as in model.layers.29.mlp.up_proj.weight, and what stands before it.
_LAYER = re.compile(r"(.*?\.\d+)\.")


@dataclass(frozen=True)
class Fit:
    """How a model and its files differ; nothing in it where that cannot be told.

    ``lacking`` are weights that no file has, or has in another shape; ``left_out`` are tensors of the files that the
    model has no place for, and ``layers_left_out`` numbered layers, such as ``model.layers.29``, that are so wholly.
    """

    lacking: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    layers_left_out: tuple[str, ...] = ()


def fit_of(description: Any, files: Mapping[str, Path]) -> Fit:
    """How the model of a description and the tensors in files differ.

    transformers loads tensors of the files' shapes on a device without memory, and so by its own rules for names that
    differ, for tied weights, and for experts that lie apart in the files and together in the model.

    Args:
        description: the model's transformers configuration; of one that is quantised nothing can be told.
        files: whole files of weights by name.
    """
    model = None if getattr(description, "quantization_config", None) is not None else skeleton(description)
    shapes = _shapes(files)
    if model is None or shapes is None:
        return Fit()
    try:
        info = _loaded_without_memory(model, description, shapes)
    except Exception as error:  # noqa: BLE001 - what cannot be tried is tried when the model is loaded
        _log.debug("the weights' shapes cannot be tried: %s", error)
        return Fit()
    # Names that transformers knows to be of no use are not among them.
    left_out = tuple(sorted(map(str, info.get("unexpected_keys") or ())))
    return Fit(tuple(not_in_the_files(info)), left_out, _whole_layers(left_out, shapes))


def not_in_the_files(info: Mapping[str, Any]) -> list[str]:
    """Names of weights that would be random numbers, by what ``from_pretrained`` says of its loading."""
    mismatched: Iterable[Any] = info.get("mismatched_keys") or ()
    return sorted({*(info.get("missing_keys") or ()), *(str(key[0]) for key in mismatched)})


def no_weights_for(names: Sequence[str]) -> str:
    """What to say of weights that no file has in the shape that is wanted; at least one."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - as many as are listed
    return (
        f"has no weights in its files for {', '.join(names[:3])}{more}, which would be random numbers; check that the "
        "files are whole and that its config.json and passthrough_kwargs fit them"
    )


def _whole_layers(left_out: Collection[str], names: Collection[str]) -> tuple[str, ...]:
    """The layers all of whose tensors are left out, in the order of the names in the files."""
    used = {found[1] for name in names if name not in left_out and (found := _LAYER.match(name))}
    found_in = dict.fromkeys(found[1] for name in names if name in left_out and (found := _LAYER.match(name)))
    return tuple(layer for layer in found_in if layer not in used)


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
