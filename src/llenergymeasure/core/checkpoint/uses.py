"""How often each module of an architecture runs for one token, seen in passes over tensors without memory.

Blocks that are shared run several times, parts that a prompt of text does not need run never, and a mixture says
by its own routing how many experts a token visits: none of it has to be known by name.
"""

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llenergymeasure.exceptions import contained

# Two lengths tell what runs for each token from what runs once a pass.
_SHORT, _LONG = 8, 24
_EXPERTS_DIMS = 3  # [expert, out, in]
_ROUTES_DIMS = 2  # [token, visit]


@dataclass(frozen=True, kw_only=True)
class ModuleUse:
    """One module's runs: for each token, and those once a pass that no further token adds to.

    ``n_visited`` is how many of its rows, experts of a mixture, one token visits; None where it has no routing.
    """

    n_per_token: float
    n_per_pass: float
    n_visited: int | None = None


@dataclass
class _Seen:
    """What one pass showed, by the identity of modules and parameters."""

    n_calls: dict[int, int] = field(default_factory=dict)
    n_rows: dict[int, float] = field(default_factory=dict)
    n_visited: dict[int, int] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)

    def amount(self, module: Any) -> float:
        """Rows that went through a matrix; of any other module its calls, or one where others take its weights."""
        called = self.n_rows.get(id(module), self.n_calls.get(id(module), 0))
        taken = any(id(p) in self.touched for p in module.parameters(recurse=False))
        return called or float(taken)


def uses_of(architecture: Any) -> dict[int, ModuleUse] | None:
    """How often each module runs, by its ``id``; None where the architecture cannot be run without weights.

    Args:
        architecture: a transformers model on torch's meta device; its kernels are set to those that run there.
    """
    with contextlib.suppress(ValueError, AttributeError, ImportError):
        architecture.set_attn_implementation("eager")
    with contextlib.suppress(ValueError, AttributeError):
        # The one for mixtures of experts whose shapes do not depend on the routing.
        architecture.set_experts_implementation("batched_mm")
    try:
        with contained():
            short, long = (_pass(architecture, n) for n in (_SHORT, _LONG))
    except Exception:  # noqa: BLE001 - a model's own code raises what it will on tensors without memory
        return None
    return {id(module): _use(module, short, long) for module in architecture.modules()}


def _use(module: Any, short: _Seen, long: _Seen) -> ModuleUse:
    at_short, at_long = short.amount(module), long.amount(module)
    slope = (at_long - at_short) / (_LONG - _SHORT)
    n_visited = short.n_visited.get(id(module))
    if n_visited != long.n_visited.get(id(module)):
        n_visited = None  # whole numbers for each pair of tokens, or their positions, are no routes
    if slope > 0:
        return ModuleUse(n_per_token=slope, n_per_pass=0.0, n_visited=n_visited)
    once_a_pass = id(module) in short.n_rows
    # Rows that are as many for any length are of the scored token; a call of another module reads all tokens at once.
    return ModuleUse(
        n_per_token=0.0 if once_a_pass else at_short,
        n_per_pass=at_short if once_a_pass else 0.0,
        n_visited=n_visited,
    )


def _pass(architecture: Any, n_tokens: int) -> _Seen:
    import torch

    seen = _Seen()
    ids = torch.zeros(1, n_tokens, dtype=torch.long, device="meta")
    scored = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(architecture.forward).parameters else {}
    with torch.no_grad(), torch.device("meta"), _watched(architecture, seen, n_tokens), answering():
        architecture.eval()(input_ids=ids, use_cache=False, **scored)
    for module in architecture.modules():
        if id(module) in seen.n_calls:  # its own call took them, that of one it shares them with too
            seen.touched.difference_update(id(p) for p in module.parameters(recurse=False))
    return seen


@contextlib.contextmanager
def _watched(architecture: Any, seen: _Seen, n_tokens: int) -> Iterator[None]:
    import torch
    from torch.overrides import TorchFunctionMode

    def ran(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        seen.n_calls[id(module)] = seen.n_calls.get(id(module), 0) + 1
        n_out = getattr(module, "out_features", getattr(module, "nf", None))
        if n_out and isinstance(output, torch.Tensor):
            seen.n_rows[id(module)] = seen.n_rows.get(id(module), 0) + output.numel() / n_out
        n_visited = _n_visited(module, [*args, *kwargs.values()], n_tokens)
        if n_visited is not None:
            seen.n_visited[id(module)] = n_visited

    class Touched(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") != "__get__":  # a look at its shape or format is no use
                seen.touched.update(id(a) for a in args if isinstance(a, torch.nn.Parameter))
            return func(*args, **(kwargs or {}))

    hooks = [module.register_forward_hook(ran, with_kwargs=True) for module in architecture.modules()]
    try:
        with Touched():
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _n_visited(module: Any, given: list[Any], n_tokens: int) -> int | None:
    """Experts that each token visits, from the routes that a module is given: [token, visit] whole numbers."""
    import torch

    routes = next((a for a in given if isinstance(a, torch.Tensor) and a.dtype in (torch.int64, torch.int32)), None)
    if routes is None or routes.dim() < _ROUTES_DIMS:
        return None
    if isinstance(module, torch.nn.Embedding):
        # A table of words or positions is looked up once for each token; experts of one vector each several times.
        n_visited = routes.numel() // n_tokens
        return n_visited if n_visited > 1 else None
    has_experts = any(p.dim() == _EXPERTS_DIMS for p in module.parameters(recurse=False))
    return (routes.shape[-1] or None) if has_experts else None


def answering() -> Any:
    """A context that answers a model which asks for numbers, of which there are none, with one: is a mask all ones?"""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Answers(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
                return True if args[0].dtype == torch.bool else 1
            return func(*args, **(kwargs or {}))

    answers: Any = Answers
    return answers()
