"""Records the shape of SGLang's Python API from an unpacked wheel, by reading its source and without importing it.

``python -m tests.fakes.sglang.record FOLDER WHEEL > tests/fakes/sglang/shape.json``
"""

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_METHODS = ("generate", "async_generate", "flush_cache", "shutdown", "get_all_child_pids", "get_server_info")
_OF_THE_MANAGER = ("abort_request", "auto_create_handle_loop")
_OF_ITS_CONTROL = ("flush_cache", "get_internal_state")


def shape(package: Path, wheel: Path) -> dict[str, Any]:
    """What the engine here uses of the package in a folder, with its version and the file that it came in."""
    version = re.search(r"-(\d[^-]*)-", wheel.name)
    assert version is not None
    choices = _constants(package / "srt/arg_groups/choices.py")
    fields = [
        found
        for path in sorted((package / "srt/arg_groups/fields").glob("*.py"))
        for found in _fields(_tree(path), choices)
    ]
    engine = _class(_tree(package / "srt/entrypoints/engine.py"), "Engine")
    manager = _class(_tree(package / "srt/managers/tokenizer_manager.py"), "TokenizerManager")
    control = _class(_tree(package / "srt/managers/tokenizer_control_mixin.py"), "TokenizerControlMixin")
    sampling = _class(_tree(package / "srt/sampling/sampling_params.py"), "SamplingParams")
    public = next(
        i for i, node in enumerate(sampling.body) if getattr(node, "target", None) and _name(node) == "stop_strs"
    )
    return {
        "version": version[1],
        "wheel": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "server_args": dict(fields),
        "sampling_params": {
            _name(node): [ast.unparse(node.annotation), None if node.value is None else ast.unparse(node.value)]
            for node in sampling.body[:public]
            if isinstance(node, ast.AnnAssign)
        },
        "engine": {name: _signature(engine, name) for name in _METHODS},
        "tokenizer_manager": {
            **{name: _signature(manager, name) for name in _OF_THE_MANAGER},
            **{name: _signature(control, name) for name in _OF_ITS_CONTROL},
        },
        "meta_info": _told_of_a_request(manager),
    }


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _name(node: ast.stmt) -> str:
    return ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else ""


def _class(tree: ast.Module, name: str) -> ast.ClassDef:
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def _constants(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in _tree(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
            found[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
    return found


def _fields(tree: ast.Module, choices: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each field with its type, its default as it is written, and what may be chosen where that is a list."""
    for node in (part for kind in tree.body if isinstance(kind, ast.ClassDef) for part in kind.body):
        if not isinstance(node, ast.AnnAssign):
            continue
        whole = node.annotation
        told: ast.expr = whole
        about: ast.expr | None = None
        if isinstance(whole, ast.Subscript) and ast.unparse(whole.value) == "A" and isinstance(whole.slice, ast.Tuple):
            told, about = whole.slice.elts[0], whole.slice.elts[1]
        keywords = {k.arg: k.value for k in about.keywords} if isinstance(about, ast.Call) else {}
        field: dict[str, Any] = {"type": ast.unparse(told)}
        if node.value is not None:
            field["default"] = ast.unparse(node.value)
        if "choices" in keywords:
            known = _chosen(keywords["choices"], choices)
            field |= {} if known is None else {"choices": known}
        yield _name(node), field


def _chosen(node: ast.expr, choices: dict[str, Any]) -> list[Any] | None:
    if isinstance(node, ast.Name):
        found: list[Any] | None = choices.get(node.id)
        return found
    try:
        return list(ast.literal_eval(node))
    except ValueError:
        return None


def _told_of_a_request(manager: ast.ClassDef) -> list[str]:
    """What may be told beside the tokens of each piece of an answer, in the order in which it is written."""
    keys: dict[str, None] = {}
    for node in ast.walk(next(part for part in manager.body if getattr(part, "name", "") == "_handle_batch_output")):
        told: list[ast.expr | None] = []
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            told = [node.targets[0].slice] if ast.unparse(node.targets[0].value) == "meta_info" else []
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "meta_info":
            told = list(node.value.keys) if isinstance(node.value, ast.Dict) else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "meta_info.update":
            told = list(node.args[0].keys) if isinstance(node.args[0], ast.Dict) else []
        keys |= {str(part.value): None for part in told if isinstance(part, ast.Constant)}
    return list(keys)


def _signature(kind: ast.ClassDef, name: str) -> list[str]:
    """Names of arguments in their order, those that may only be given by name behind a ``*``."""
    found = next(
        node for node in kind.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    )
    only = [argument.arg for argument in found.args.kwonlyargs]
    return [argument.arg for argument in found.args.args[1:]] + (["*", *only] if only else [])


def _written(found: dict[str, Any]) -> str:
    """As JSON with a name in a line."""
    lines = []
    for part, told in found.items():
        if not isinstance(told, dict):
            lines.append(f" {json.dumps(part)}: {json.dumps(told)}")
            continue
        inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in told.items())
        lines.append(f" {json.dumps(part)}: {{\n{inner}\n }}")
    return "{\n" + ",\n".join(lines) + "\n}"


if __name__ == "__main__":
    sys.stdout.write(_written(shape(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
