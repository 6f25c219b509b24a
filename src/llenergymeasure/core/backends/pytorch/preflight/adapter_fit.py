"""Whether an adapter's files are whole and made for the model, tried without reading any weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.adapter import check_fit, no_lora
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.description import impossible_numbers, irregular_files, json_object
from llenergymeasure.core.checkpoint.files import adapter_files, adapter_folder
from llenergymeasure.core.checkpoint.weights import Shapes, damage, shapes_of
from llenergymeasure.exceptions import BackendError, first_line

_CONFIG = "adapter_config.json"


def adapter_problems(config: ExperimentConfig, description: Any | None) -> Iterator[str]:
    """What keeps an adapter that is here from being measured on this model; nothing of one still to be fetched.

    Args:
        config: the experiment.
        description: the model's transformers configuration; None where it cannot be read.
    """
    if config.lora is None:
        return
    try:
        folder = adapter_folder(config.lora.path)
    except FileNotFoundError:
        return
    problems = list(_description_problems(config.lora.path, folder))
    shapes: Shapes | None = None
    if not problems:
        try:
            (file,) = adapter_files(folder).values()
        except FileNotFoundError as error:
            problems = [f"{error}; fetch the adapter again"]
        else:
            problems = [problem] if (problem := damage(file)) is not None else []
            shapes = None if problems else shapes_of(file)
    trusted = section_of(config).trust_remote_code
    model = None if problems or description is None else skeleton(description, trust_remote_code=trusted)
    if model is not None and shapes is not None:
        problems = list(_misfits(config.lora.path, model, shapes)) or list(_told_by_peft(config, folder, model, shapes))
    yield from (line if line.startswith("lora.path") else f"lora.path: {line}" for line in problems)


def _description_problems(path: str, folder: Path) -> Iterator[str]:
    """One line at most, of what is wrong with an adapter's own configuration."""
    irregular = next(irregular_files(folder), None)
    content, problem = ({}, irregular) if irregular is not None else json_object(folder / _CONFIG)
    if problem is None:
        lines = (f"{folder / _CONFIG}: {line}" for line in (*impossible_numbers(content), *_no_settings(content)))
        problem = next(lines, None)
    if problem is not None:
        yield problem
    elif str(content.get("peft_type")).upper() != "LORA":
        yield no_lora(path, content.get("peft_type"))


def _no_settings(content: Mapping[str, Any]) -> Iterator[str]:
    """Groups of settings that are none; peft looks into some only where there is memory."""
    for key, value in content.items():
        if key.endswith("_config") and value and not isinstance(value, Mapping):
            yield f"{key} is {value!r:.60}, where an object with names and values belongs; fetch it again"


def _misfits(path: str, model: Any, shapes: Shapes) -> Iterator[str]:
    """One line for matrices whose sizes are not those of the model's layers of the same names.

    What has another name in the model is left to peft, which knows more names than are written in the file.
    """
    modules = dict(model.named_modules())
    found = []
    for name, shape in sorted(shapes.items()):
        layer, _, kind = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".lora_")
        widths = _widths(modules.get(layer))
        if widths is None or kind not in ("A", "B") or len(shape) != 2:  # noqa: PLR2004 - a matrix
            continue
        # A is [rank, in] and B is [out, rank].
        ours, theirs = (shape[1], widths[0]) if kind == "A" else (shape[0], widths[1])
        if ours != theirs:
            found.append(f"lora_{kind} of {layer} is for {ours} values, and the layer has {theirs}")
    if found:
        more = f", and {len(found) - 1} more do not fit either" if len(found) > 1 else ""
        yield f"{path} does not fit the model: {found[0]}{more}; give one made for this model"


def _widths(module: Any) -> tuple[int, int] | None:
    """Values that a linear layer takes and gives; None for any other."""
    import torch
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, torch.nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return int(module.nx), int(module.nf)
    return None


def _told_by_peft(config: ExperimentConfig, folder: Path, model: Any, shapes: Shapes) -> Iterator[str]:
    """What peft says when it puts tensors of the files' shapes on a model, both without memory."""
    import importlib.util

    path = "" if config.lora is None else config.lora.path
    if importlib.util.find_spec("peft") is None:
        return
    try:
        missing, left_over = _put_on(model, folder, shapes)
        check_fit(path, missing, left_over)
    except BackendError as error:
        yield str(error)
    except Exception as error:  # noqa: BLE001 - a configuration's values, which peft uses as they are
        if isinstance(error, NotImplementedError) and "meta" in str(error).lower():
            return  # torch's, of an initialisation that computes with weights: it is tried when the model is loaded
        yield f"peft cannot put {path} on the model: {first_line(error)}; give an adapter made for this model"


def _put_on(model: Any, folder: Path, shapes: Shapes) -> tuple[list[str], list[str]]:
    """Weights that the files lack, and those that fit nothing, by peft's own rules."""
    import warnings

    import torch
    from peft import PeftConfig, PeftModel
    from peft.utils import set_peft_model_state_dict

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        adapted = PeftModel(model, PeftConfig.from_pretrained(str(folder)), low_cpu_mem_usage=True)
        tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
        found = set_peft_model_state_dict(adapted, tensors, low_cpu_mem_usage=True)
    missing = [name for name in found.missing_keys if "lora_" in name]
    return missing, [name for name in found.unexpected_keys if "lora_" in name]
