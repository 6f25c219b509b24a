"""The shape of a transformers model for counting FLOPs, read from its modules without weights.

Attention is recognised by its projections, and its widths are read from them; what does not fit is unknown. That every
architecture that runs without weights is either unknown or right is held by
``tests/integration/estimates/test_flop_counter.py``.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from llenergymeasure.core.checkpoint.uses import ModuleUse, uses_of
from llenergymeasure.domain.model_flops import AttentionLayer, ModelShape

_N_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts")
_N_VISITED = ("num_experts_per_tok", "moe_topk", "moe_top_k", "moe_k", "top_k_experts", "num_experts_per_token")
_OUTPUT = ("o_proj", "out_proj", "dense", "c_proj")
_FUSED = ("qkv_proj", "query_key_value", "c_attn", "Wqkv")
# Projections like everybody's, and other products between them.
_OWN_PRODUCTS = frozenset({"diffllama", "doge"})
# Three times what the largest have: 61 layers of 384 experts with three matrices each.
_MOST_MODULES = 250_000
# Local and global layers, and layers that only pictures go through, told otherwise than in layer_types.
_OWN_LAYERS = ("attention_layers", "cross_attention_layers")
_EXPERTS_DIMS = 3  # [expert, out, in]
_ONCE = ModuleUse(n_per_token=1.0, n_per_pass=0.0)
_NEVER = ModuleUse(n_per_token=0.0, n_per_pass=0.0)


@dataclass(frozen=True, kw_only=True)
class ActiveWeights:
    """Weights that multiply activations for one token, each as often as it does.

    ``n_parameters`` has norms and biases in it, ``n_linear`` only matrices; both are without embeddings and head, and
    of a mixture with the experts that a token visits. ``n_head`` is what is run for a scored token only.
    ``experts_known`` is False where their number is not known, and all are counted; ``uses_known`` where nobody saw how
    often each part runs, and each is counted once.
    """

    n_parameters: int
    n_linear: int
    n_head: int
    is_mixture: bool
    experts_known: bool
    uses_known: bool


@dataclass
class _Count:
    """The sums of ``active_weights`` on the way."""

    n_parameters: float = 0.0
    n_linear: float = 0.0
    n_beside_head: float = 0.0
    is_mixture: bool = False
    all_known: bool = True

    def add(self, n_weights: float, *, is_matrix: bool, use: ModuleUse) -> None:
        """So many weights of a module that runs as ``use`` says."""
        self.n_parameters += n_weights * use.n_per_token
        self.n_linear += n_weights * use.n_per_token if is_matrix else 0
        self.n_beside_head += n_weights * use.n_per_pass if is_matrix else 0


def shape_of(architecture: Any) -> ModelShape | None:
    """The shape of a transformers model without weights, on torch's meta device.

    None without a head, where nobody knows how many experts a token visits, or where it cannot be seen how often each
    part runs.
    """
    uses = uses_of(architecture)
    return None if uses is None else _shape(architecture, active_weights(architecture, uses), uses)


def weights_and_shape(architecture: Any) -> tuple[ActiveWeights, ModelShape | None]:
    """``active_weights`` and ``shape_of`` from one look."""
    uses = uses_of(architecture)
    weights = active_weights(architecture, uses)
    return weights, None if uses is None else _shape(architecture, weights, uses)


def _shape(architecture: Any, weights: ActiveWeights, uses: Mapping[int, ModuleUse]) -> ModelShape | None:
    if not weights.experts_known or not weights.n_head:
        return None
    return ModelShape(
        n_linear_weights=weights.n_linear, n_head_weights=weights.n_head, attention=_attention(architecture, uses)
    )


def active_weights(model: Any, uses: Mapping[int, ModuleUse] | None = None) -> ActiveWeights:
    """Count the weights of a ``torch.nn.Module``: of a model with eyes and ears those that read text.

    Args:
        model: the module.
        uses: how often each of its modules runs, by ``id``; None counts each once, shared ones for each that has them.
    """
    import torch

    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    reader = _text_part(model)
    left_out = {id(p) for p in head.parameters()} if head is not None else set()
    for module in reader.modules():
        if isinstance(module, torch.nn.Embedding):
            left_out |= {id(p) for p in module.parameters(recurse=False)}
    visited = _Visited.of(getattr(model, "config", None))
    count = _Count()
    for path, module in reader.named_modules():
        use = _ONCE if uses is None else uses.get(id(module), _NEVER)
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in left_out:
                share = _share(f"{path}.{name}", parameter, use, visited)
                count.is_mixture = count.is_mixture or share != 1
                count.all_known = count.all_known and share is not None
                # Experts keep their biases in one table.
                is_matrix = parameter.dim() > 1 and "bias" not in name
                count.add(parameter.numel() * (1.0 if share is None else share), is_matrix=is_matrix, use=use)
        if isinstance(module, torch.nn.Embedding) and use.n_visited:
            count.is_mixture = True
            count.add(module.embedding_dim * use.n_visited, is_matrix=True, use=use)
    return ActiveWeights(
        n_parameters=round(count.n_parameters),
        n_linear=round(count.n_linear),
        n_head=round(count.n_beside_head) + (head.weight.numel() if head is not None else 0),
        is_mixture=count.is_mixture,
        experts_known=count.all_known,
        uses_known=uses is not None,
    )


@dataclass(frozen=True)
class _Visited:
    """Experts as a configuration tells of them; None is not told."""

    n_experts: int | None
    n_visited: int | None

    @classmethod
    def of(cls, config: Any) -> Self:
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        n_visited = next((n for name in _N_VISITED if (n := _count(text, name))), None)
        # Some visit experts that do nothing, how often is not known beforehand.
        return cls(
            n_experts=next((n for name in _N_EXPERTS if (n := _count(text, name))), None),
            n_visited=None if _count(text, "zero_expert_num") else n_visited,
        )


def _share(name: str, parameter: Any, use: ModuleUse, visited: _Visited) -> float | None:
    """The share of a parameter's rows that one token visits: 1 of most, None of experts where it is not told.

    Experts that are given their routes show it; others are known by their name, or by there being as many as the
    configuration says.
    """
    stacked = parameter.dim() == _EXPERTS_DIMS and parameter.shape[1] > 1
    if stacked and use.n_visited is not None:
        return float(use.n_visited / parameter.shape[0])
    if not re.search(r"\.experts\.", name) and not (stacked and parameter.shape[0] == visited.n_experts):
        return 1.0
    return visited.n_visited / visited.n_experts if visited.n_visited and visited.n_experts else None


def _text_part(model: Any) -> Any:
    config = getattr(model, "config", None)
    if config is None or not hasattr(config, "get_text_config") or config.get_text_config() is config:
        return model
    return model.get_decoder() or model


def _attention(architecture: Any, uses: Mapping[int, ModuleUse]) -> tuple[AttentionLayer, ...] | None:
    text = architecture.config.get_text_config()
    spans = _spans(text)
    widths = [
        _widths(children, text)
        for module in _text_part(architecture).modules()
        if (children := dict(module.named_children())) and _is_attention(children)
        for _ in range(round(uses[id(module)].n_per_token))
    ]
    known = [w for w in widths if w is not None]
    if spans is None or len(known) != len(widths) or len(widths) != len(spans):
        return None
    return tuple(
        AttentionLayer(n_key_dims=n_key, n_value_dims=n_value, n_window_tokens=window, n_chunk_tokens=chunk)
        for (n_key, n_value), (window, chunk) in zip(known, spans, strict=True)
    )


def _spans(text: Any) -> list[tuple[int | None, int | None]] | None:
    """Window and chunk of each layer, as transformers' caches read them from a configuration; None when not known."""
    both_ways = _setting(text, "use_bidirectional_attention") is True or _setting(text, "is_causal") is False
    if both_ways or text.model_type in _OWN_PRODUCTS or any(_setting(text, name) for name in _OWN_LAYERS):
        return None
    window, chunk = _count(text, "sliding_window"), _count(text, "attention_chunk_size")
    kinds: Sequence[str] | None = _setting(text, "layer_types")
    if kinds is None:
        kind = "sliding_attention" if window else "chunked_attention" if chunk else "full_attention"
        kinds = [kind] * (_count(text, "num_hidden_layers") or 0)
    spans: dict[str, tuple[int | None, int | None]] = {"full_attention": (None, None)}
    if window is not None:
        spans["sliding_attention"] = (window, None)
    if chunk is not None:
        spans["chunked_attention"] = (None, chunk)
    return [spans[kind] for kind in kinds] if set(kinds) <= set(spans) else None


def _is_attention(children: dict[str, Any]) -> bool:
    return any(n in children for n in _OUTPUT) and any(n in children for n in ("q_proj", "kv_b_proj", *_FUSED))


def _widths(children: dict[str, Any], text: Any) -> tuple[int, int] | None:
    """Heads x width of a query and of a value, from a layer's projections; None when they do not fit together."""
    sizes = {name: size for name, child in children.items() if (size := _in_and_out(child)) is not None}
    n_value = next((sizes[name][0] for name in _OUTPUT if name in sizes), None)
    if n_value is None:
        return None
    if "kv_b_proj" in sizes:
        return _latent_widths(sizes, n_value, text)
    fused = next((sizes[name][1] for name in _FUSED if name in sizes), None)
    if fused is not None:
        n_shared, odd = divmod(fused - n_value, 2)
        return (n_value, n_value) if n_shared > 0 and not odd and n_value % n_shared == 0 else None
    n_key = n_value
    if "k_proj" in sizes and "v_proj" in sizes:
        n_key = n_value * sizes["k_proj"][1] // sizes["v_proj"][1]
    # A gate on the output may come out of the same projection as the queries.
    return (n_key, n_value) if sizes.get("q_proj", (0, 0))[1] in (n_key, n_key + n_value) else None


def _latent_widths(sizes: dict[str, tuple[int, int]], n_value: int, text: Any) -> tuple[int, int] | None:
    """As ``_widths``, of attention whose keys and values are unpacked from one vector."""
    nope, rope, value = (_count(text, name) for name in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
    if nope is None or rope is None or value is None:
        return None
    n_heads, rest = divmod(n_value, value)
    n_key = n_heads * (nope + rope)
    queries = sizes.get("q_b_proj") or sizes.get("q_proj") or (0, 0)
    fits = queries[1] == n_key and sizes["kv_b_proj"][1] == n_heads * (nope + value)
    return (n_key, n_value) if fits and not rest else None


def _in_and_out(module: Any) -> tuple[int, int] | None:
    """Width of what goes into a linear layer and of what comes out."""
    if hasattr(module, "in_features"):
        return module.in_features, module.out_features
    return (module.nx, module.nf) if hasattr(module, "nx") else None  # transformers' Conv1D


def _setting(config: Any, name: str) -> Any:
    """A setting of a configuration; None when it has none, or a different one for each layer."""
    try:
        return getattr(config, name, None)
    except RuntimeError:
        return None


def _count(config: Any, name: str) -> int | None:
    """A setting that is a whole number above zero."""
    value = _setting(config, name)
    return value if isinstance(value, int) and value > 0 else None


def skeleton(config: Any, *, trust_remote_code: bool = False) -> Any:
    """The same architecture without weights; None when the model is not one of transformers' own.

    Args:
        config: a transformers configuration.
        trust_remote_code: whether the user lets code of the model's own folder be run; where nobody says so,
            transformers would ask on standard input.
    """
    if config is None or not hasattr(config, "to_dict"):
        return None
    try:
        return built_without_weights(config, trust_remote_code=trust_remote_code)
    except Exception:  # noqa: BLE001 - an architecture of the model's own code, or one whose sizes do not go together
        return None


def built_without_weights(config: Any, *, trust_remote_code: bool = False, most_modules: int = _MOST_MODULES) -> Any:
    """As ``skeleton``, of a transformers configuration.

    Args:
        config: a transformers configuration.
        trust_remote_code: as ``skeleton`` takes it.
        most_modules: where to stop.

    Raises:
        Exception: whatever transformers raises over sizes that do not go together, or an architecture it does not know.
        ValueError: more modules than any model has.
    """
    import torch
    from torch.nn.modules.module import register_module_module_registration_hook
    from transformers import AutoModelForCausalLM

    plain = copy.deepcopy(config)
    if hasattr(plain, "quantization_config"):
        del plain.quantization_config
    hook = register_module_module_registration_hook(_Counted(most_modules))
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(plain, trust_remote_code=trust_remote_code)
    finally:
        hook.remove()


class _Counted:
    """Ends the making of a model whose description asks for modules without end."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._n_modules = 0

    def __call__(self, *_: Any) -> None:
        self._n_modules += 1
        if self._n_modules > self._most:
            raise ValueError(f"it describes a model of more than {self._most:,} modules")


def position_rows(model: Any) -> list[int]:
    """Rows of each table of positions in a transformers model, without those that stand for no position.

    A model whose positions are worked out, as rotary ones are, has none. The tables of GPT-J and CodeGen are sines and
    no weights. OPT's begin at the third row, RoBERTa's after the one of padding.
    """
    import torch

    found = []
    n_positions = _count(model.config.get_text_config(), "max_position_embeddings")
    for name, module in model.named_modules():
        of_places = ("position" in name and "relative" not in name) or "wpe" in name
        if isinstance(module, torch.nn.Embedding) and of_places:
            kept = getattr(module, "offset", 0) or (0 if module.padding_idx is None else module.padding_idx + 1)
            rows = module.num_embeddings - int(kept)
            found.append(rows if n_positions is None else min(rows, n_positions))
        table = getattr(module, "embed_positions", None)
        if isinstance(table, torch.Tensor):
            found.append(table.shape[0])
    return found
