"""No library is left to ask, or to decide, whether code that came with a model or lies about here is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What may run code from the folder of a model or of a dataset, in any release of its library.
LOADING = ("from_pretrained", "from_config", "load_dataset", "pipeline")
# What neither looks for code: a configuration of generation, an adapter, and a class that was found before.
HARMLESS = {"GenerationConfig", "PeftConfig", "PeftModel", "type(skeleton)"}
# Makers of keyword arguments that always have trust_remote_code, to which a test with real models holds them.
ARGUMENTS = {"draft_arguments", "loading_arguments", "arguments"}


def calls(*folders: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call in these folders, with where it stands."""
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def loading_calls() -> list[tuple[str, ast.Call]]:
    """Those that load a model, a tokenizer, a description or a dataset."""
    found = [(where, call, *ast.unparse(call.func).rpartition(".")[::2]) for where, call in calls("src", "bench")]
    return [(where, call) for where, call, owner, name in found if name in LOADING and owner not in HARMLESS]


def says_whom_it_trusts(call: ast.Call) -> bool:
    """Whether the keyword is given, by itself or by one of the makers of arguments."""
    for keyword in call.keywords:
        if keyword.arg == "trust_remote_code":
            return True
        made = keyword.value
        name = made.func if isinstance(made, ast.Call) else made
        if keyword.arg is None and ast.unparse(name).rpartition(".")[2] in ARGUMENTS:
            return True
    return False


def test_every_call_that_may_load_code_says_whether_it_may() -> None:
    found = loading_calls()
    assert len(found) >= 10
    assert [where for where, call in found if not says_whom_it_trusts(call)] == []


def test_nothing_is_unpickled() -> None:
    names = {"torch.load", "pickle.load", "pickle.loads", "joblib.load"}
    found = [(where, ast.unparse(call)) for where, call in calls("src", "bench") if ast.unparse(call.func) in names]
    # With weights_only torch makes tensors and plain containers, and calls nothing that the file names.
    assert [
        where for where, call in found if not (call.startswith("torch.load(") and "weights_only=True" in call)
    ] == []


@pytest.mark.parametrize("source", ["X.from_pretrained(a)", "X.from_config(a, **given)", "X.from_pretrained(a, b=1)"])
def test_a_call_that_leaves_it_open_is_found(source: str) -> None:
    (call,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    assert not says_whom_it_trusts(call)


# -I leaves out the working directory, too, and the user's own packages and variables besides.
ISOLATED = ("[sys.executable, '-P', ", "[sys.executable, '-I', ")


def test_every_python_that_is_started_leaves_the_working_directory_alone() -> None:
    commands = [
        ast.unparse(node)
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "sys.executable"
    ]
    assert len(commands) >= 2
    assert [command for command in commands if not command.startswith(ISOLATED)] == []
