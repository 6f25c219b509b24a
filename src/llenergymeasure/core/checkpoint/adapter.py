"""A LoRA adapter of peft's format: what it is, and whether its files are whole and made for a model.

No weights are read.
"""

import importlib.util
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure.config.workload import LoRAConfig
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.description import impossible_numbers, irregular_files, json_object
from llenergymeasure.core.checkpoint.files import adapter_files, adapter_folder
from llenergymeasure.core.checkpoint.source import looks_like_path
from llenergymeasure.core.checkpoint.weights import Shapes, damage, shapes_of
from llenergymeasure.exceptions import BackendError, first_line

CONFIG = "adapter_config.json"


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An adapter that is here.

    ``settings`` are those of its adapter_config.json, ``shapes`` its tensors'; None where the file is of another kind
    than is known here.
    """

    folder: Path
    settings: Mapping[str, Any]
    shapes: Shapes | None

    @property
    def n_parameters(self) -> int | None:
        """Numbers in its tensors."""
        return None if self.shapes is None else sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def rank(self) -> int:
        """The largest of its layers'; 0 where it says none."""
        by_layer = self.settings.get("rank_pattern")
        ranks = [self.settings.get("r"), *(by_layer.values() if isinstance(by_layer, Mapping) else ())]
        return max((rank for rank in ranks if isinstance(rank, int)), default=0)

    def weights_beside(self, model: Any) -> tuple[int, int] | None:
        """Numbers in its matrices beside the model's layers, and beside its output head.

        Each multiplies a vector wherever its layer does. None where that is not so of all of them, or not known: of
        embeddings, of experts, of DoRA, which multiplies its matrices out.

        Args:
            model: the architecture, with or without weights.
        """
        if self.shapes is None or self.settings.get("use_dora"):
            return None
        layers, head = dict(model.named_modules()), model.get_output_embeddings()
        in_layers, in_head = 0, 0
        for name, shape in self.shapes.items():
            layer = layers.get(layer_of(name))
            if _widths(layer) is None or not name.removesuffix(".weight").endswith((".lora_A", ".lora_B")):
                return None
            n_weights = math.prod(shape)
            in_layers, in_head = (in_layers, in_head + n_weights) if layer is head else (in_layers + n_weights, in_head)
        return in_layers, in_head

    def described(self, *, merged: bool) -> str:
        """As results tell of it."""
        return description_of("lora", self.settings, merged=merged)


def read_adapter(folder: Path) -> Adapter:
    """An adapter in a folder.

    Raises:
        BackendError: it is none, or none of LoRA's.
        FileNotFoundError: it has no weights.
    """
    for problem in _description_problems(str(folder), folder):
        raise BackendError(problem)
    settings, _ = json_object(folder / CONFIG)
    (file,) = adapter_files(folder).values()
    return Adapter(folder=folder, settings=settings, shapes=shapes_of(file))


def description_of(kind: str, settings: Mapping[str, Any], *, merged: bool) -> str:
    """What a result says of an adapter of that kind, by peft's names for its settings."""
    named = (("r", "rank"), ("lora_alpha", "alpha"))
    facts = [f"{ours} {settings[theirs]}" for theirs, ours in named if theirs in settings]
    return ", ".join([kind, *facts, "merged" if merged else "not merged"])


def no_lora(path: str, kind: str | None) -> str:
    """Why an adapter of another kind, by peft's name for it, cannot be measured."""
    return (
        f"lora.path: {path} is an adapter of type {kind}, and only LoRA is measured: what another kind adds to prompts "
        "and layers is not counted; give a LoRA adapter"
    )


def check_fit(path: str, missing: list[str], left_over: list[str]) -> None:
    """Refuse an adapter whose names and the model's do not meet.

    Raises:
        BackendError: layers have no weights, or weights no layer.
    """
    for keys, what in ((missing, "has no weights for"), (left_over, "has weights that fit nothing in the model:")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise BackendError(f"lora.path {path}: the adapter {what} {keys[0]}{more}; give one made for this model")


def place_problem(lora: LoRAConfig | None) -> str | None:
    """Why an adapter cannot be where it is said to be; None where it is there, or is the hub's."""
    if lora is None:
        return None
    path = Path(lora.path)
    if path.is_dir():
        return None if (path / CONFIG).is_file() else f"lora.path: directory {path} has no {CONFIG} in it"
    if path.exists() or looks_like_path(lora.path):
        return f"lora.path: there is no directory {path}; give an adapter's directory or hub id"
    return None


def adapter_problems(
    lora: LoRAConfig | None, description: Any | None, *, trust_remote_code: bool = False
) -> Iterator[str]:
    """What keeps an adapter that is here from being measured on this model; nothing of one still to be fetched.

    Args:
        lora: as the experiment names it.
        description: the model's transformers configuration; None where it cannot be read.
        trust_remote_code: whether Python code that comes with the model may be run.
    """
    if lora is None or place_problem(lora) is not None:
        return
    try:
        folder = adapter_folder(lora.path)
    except FileNotFoundError:
        return
    problems = list(_description_problems(lora.path, folder))
    shapes: Shapes | None = None
    if not problems:
        try:
            (file,) = adapter_files(folder).values()
        except FileNotFoundError as error:
            problems = [f"{error}; fetch the adapter again"]
        else:
            problems = [problem] if (problem := damage(file)) is not None else []
            shapes = None if problems else shapes_of(file)
    model = None if problems or description is None else skeleton(description, trust_remote_code=trust_remote_code)
    if model is not None and shapes is not None:
        problems = list(_misfits(lora.path, model, shapes)) or list(_told_by_peft(lora.path, folder, model, shapes))
    yield from (line if line.startswith("lora.path") else f"lora.path: {line}" for line in problems)


def _description_problems(path: str, folder: Path) -> Iterator[str]:
    """One line at most, of what is wrong with an adapter's own configuration."""
    irregular = next(irregular_files(folder), None)
    content, problem = ({}, irregular) if irregular is not None else json_object(folder / CONFIG)
    if problem is None:
        lines = (f"{folder / CONFIG}: {line}" for line in (*impossible_numbers(content), *_no_settings(content)))
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


def _told_by_peft(path: str, folder: Path, model: Any, shapes: Shapes) -> Iterator[str]:
    """What peft says when it puts tensors of the files' shapes on a model, both without memory.

    Where it is not installed, names are held against each other as they are written.
    """
    try:
        if importlib.util.find_spec("peft") is None:
            check_fit(path, [], without_a_layer(model, shapes))
            return
        missing, left_over = _put_on(model, folder, shapes)
        check_fit(path, missing, left_over)
    except BackendError as error:
        yield str(error)
    except Exception as error:  # noqa: BLE001 - a configuration's values, which peft uses as they are
        if isinstance(error, NotImplementedError) and "meta" in str(error).lower():
            return  # torch's, of an initialisation that computes with weights: it is tried when the model is loaded
        yield f"peft cannot put {path} on the model: {first_line(error)}; give an adapter made for this model"


def without_a_layer(model: Any, shapes: Shapes) -> list[str]:
    """Tensors whose layer the model has not; experts have other names in checkpoints than in models."""
    layers = dict(model.named_modules())
    return [
        name for name in sorted(shapes) if ".lora_" in name and ".experts." not in name and layer_of(name) not in layers
    ]


def layer_of(name: str) -> str:
    """The layer that a tensor of an adapter belongs to, by its name in the model."""
    return name.removeprefix("base_model.model.").rpartition(".lora_")[0]


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
