"""Who imports the libraries of engines: their own rooms and a few named places, always inside of functions."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "llenergymeasure"
LIBRARIES = {
    "torch", "transformers", "tokenizers", "peft", "accelerate", "gguf", "safetensors", "huggingface_hub", "datasets",
    "bitsandbytes", "torchao", "optimum", "vllm", "xllamacpp", "ctranslate2", "onnxruntime_genai", "sglang",
    "tensorrt_llm", "httptools",
}  # fmt: skip
# Beside the rooms of engines: what a model is without an engine, the hub's datasets, and torch's word on CUDA.
ELSEWHERE = {
    "core/checkpoint/adapter.py": {"peft", "torch", "transformers"},
    "core/checkpoint/architecture.py": {"torch", "transformers"},
    "core/checkpoint/files.py": {"huggingface_hub"},
    "core/checkpoint/fit.py": {"torch"},
    "core/checkpoint/hub.py": {"huggingface_hub"},
    "core/checkpoint/quiet.py": {"transformers"},
    "core/checkpoint/source.py": {"huggingface_hub", "torch", "transformers"},
    "core/checkpoint/task.py": {"transformers"},
    "core/checkpoint/tokenizer.py": {"transformers"},
    "core/checkpoint/uses.py": {"torch"},
    "core/checkpoint/weights.py": {"safetensors", "torch"},
    "core/environment.py": {"torch"},
    "core/memory/shape.py": {"torch", "transformers"},
    "core/prompts/hub.py": {"datasets"},
}
# What engines share.
NO_ENGINES = {"core/backends/__init__.py", "core/backends/base.py"}


def imports(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """The libraries that a module imports, and whether outside of functions, where everybody who imports it pays."""
    in_functions = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    only_for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        for name in names:
            if name.partition(".")[0] in LIBRARIES:
                yield name.partition(".")[0], id(node) not in in_functions | only_for_types


@pytest.mark.parametrize(
    ("text", "at_top"),
    [
        ("import torch", True),
        ("try:\n    import torch\nexcept ImportError:\n    pass", True),
        ("if True:\n    from torch import nn", True),
        ("class A:\n    import torch", True),
        ("def f():\n    if True:\n        import torch", False),
        ("if TYPE_CHECKING:\n    import torch", False),
    ],
)
def test_an_import_outside_of_functions_is_seen(text: str, at_top: bool) -> None:
    assert list(imports(ast.parse(text))) == [("torch", at_top)]


def test_only_engines_and_a_few_named_places_import_their_libraries() -> None:
    found: dict[str, set[str]] = {}
    for path in SRC.rglob("*.py"):
        place = path.relative_to(SRC).as_posix()
        seen = list(imports(ast.parse(path.read_text(encoding="utf-8"))))
        assert [name for name, at_top in seen if at_top] == [], f"{place} imports these for everybody"
        # An engine's room is a folder, or a file, of core/backends.
        if seen and (not place.startswith("core/backends/") or place in NO_ENGINES):
            found[place] = {name for name, _ in seen}
    assert found == ELSEWHERE


BLOCKED = """
import importlib, pkgutil, sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in %r else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
import llenergymeasure
for module in pkgutil.walk_packages(llenergymeasure.__path__, "llenergymeasure."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from llenergymeasure.core.environment import collect_environment_snapshot
assert collect_environment_snapshot().packages
from llenergymeasure.core.backends import get_backend
assert "needs torch" in get_backend("pytorch").installation_problem()
"""


def test_all_of_it_is_imported_without_any_of_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED % LIBRARIES], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
