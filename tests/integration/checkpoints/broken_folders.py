"""Ways in which the folder of a model or an adapter may be broken, as hypothesis draws them."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 5\n"
TRACE = "ran.txt"
# Written where code of a folder would be looked for; it leaves a file beside itself.
CODE = f"import pathlib\npathlib.Path(__file__).with_name({TRACE!r}).touch()\nraise RuntimeError('it ran')\n"

_JSON = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")
_ADAPTER_JSON = ("adapter_config.json",)
_WEIGHTS = ("model.safetensors",)
_ADAPTER_WEIGHTS = ("adapter_model.safetensors",)
_TEMPLATE = ("chat_template.jinja",)

_odd = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        [-1, 0, 1, 3, 7, 2**31, 2**63, 2**64, 10**9, 10**40, -(2**63), 1e308, -0.5, float("nan"), float("inf")]
    ),
    st.integers(),
    st.sampled_from(
        ["", "x", "auto", "../..", "\x00", "\x1b[2J", "ü\u202e", "a" * 3000, "float32", "None", "llama", "bert"]
    ),
    st.text(max_size=20),
    st.sampled_from(
        [[], {}, [[]], [1, "a"], {"a": {"b": []}}, [None], {"rope_type": "yarn"}, {"quant_method": "gptq"}]
    ),
)
_bytes = st.one_of(
    st.just(b""),
    st.just(POINTER),
    st.binary(max_size=64),
    st.sampled_from(
        [b"[]", b"{}", b"null", b"{", b"[" * 50_000, b'{"a":' * 2000, b"\xff\xfe{\x00}\x00", b"PK\x03\x04", b"GGUF"]
    ),
    st.sampled_from([b"\xff" * 8 + b"{}", b"\x02" + b"\x00" * 7 + b"{}", b"\x00" * 8]),
)
_TEMPLATES = (
    "{{",
    "{% for m in messages %}",
    "{{ raise_exception('no') }}",
    "",
    "\x00",
    "{{ messages[99].content }}",
    "{{ 1 // 0 }}",
)


@dataclass(frozen=True)
class Break:
    """One thing that is done to a folder, in words and as a function."""

    words: str
    do: Callable[[Path], None]

    def __repr__(self) -> str:
        return self.words


def _written(name: str, content: bytes) -> Break:
    return Break(f"{name} is {content[:30]!r} ({len(content)} bytes)", lambda folder: _write(folder / name, content))


def _cut(name: str, share: float) -> Break:
    return Break(
        f"{name} is cut to {share:.3f}",
        lambda f: _write(f / name, _read(f / name)[: int(len(_read(f / name)) * share)]),
    )


def _damaged(name: str, at: float, byte: int) -> Break:
    def do(folder: Path) -> None:
        content = bytearray(_read(folder / name))
        if content:
            content[int(at * (len(content) - 1))] = byte
        _write(folder / name, bytes(content))

    return Break(f"{name} has byte {byte} at {at:.4f}", do)


def _gone(name: str) -> Break:
    return Break(f"{name} is gone", lambda folder: _remove(folder / name))


def _folder_instead(name: str) -> Break:
    def do(folder: Path) -> None:
        _remove(folder / name)
        (folder / name).mkdir()

    return Break(f"{name} is a folder", do)


def _pipe(name: str) -> Break:
    """Whoever opens it to read waits for ever."""

    def do(folder: Path) -> None:
        _remove(folder / name)
        os.mkfifo(folder / name)

    return Break(f"{name} is a FIFO", do)


def _linked_to_itself(name: str) -> Break:
    def do(folder: Path) -> None:
        _remove(folder / name)
        (folder / name).symlink_to(name)

    return Break(f"{name} is a link to itself", do)


def _field(name: str, key: str, value: Any) -> Break:
    def do(folder: Path) -> None:
        try:
            content = json.loads(_read(folder / name))
            content[key] = value
            text = json.dumps(content)
        except (ValueError, TypeError):
            return
        _write(folder / name, text.encode("utf-8", "surrogatepass"))

    return Break(f"{name}: {key} is {value!r:.60}", do)


def _code(name: str, auto_map: Any) -> Break:
    def do(folder: Path) -> None:
        for file in ("code.py", "modeling.py", "__init__.py", "torch.py", "custom_generate/generate.py"):
            (folder / file).parent.mkdir(exist_ok=True)
            _write(folder / file, CODE.encode())
        _field(name, "auto_map", auto_map).do(folder)

    return Break(f"{name} names code: {auto_map}", do)


def _write(path: Path, content: bytes) -> None:
    if path.is_symlink() or path.is_dir() or path.is_fifo():
        return
    path.write_bytes(content)


def _remove(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def breaks(keys: dict[str, tuple[str, ...]], files: tuple[str, ...]) -> st.SearchStrategy[Break]:
    """One break of a folder.

    Args:
        keys: the names in each JSON file of it that are worth another value.
        files: all files of it.
    """
    name, json_name = st.sampled_from(files), st.sampled_from(sorted(keys))
    field = json_name.flatmap(lambda of: st.builds(_field, st.just(of), st.sampled_from(keys[of]), _odd))
    return st.one_of(
        field,
        field,
        field,
        st.builds(_written, name, _bytes),
        st.builds(_cut, name, st.floats(0, 1)),
        st.builds(_damaged, name, st.floats(0, 1), st.integers(0, 255)),
        st.builds(_gone, name),
        st.builds(_folder_instead, name),
        st.builds(_linked_to_itself, name),
        st.builds(_pipe, name),
    )


def model_breaks(model: Path) -> st.SearchStrategy[Break]:
    """One break of the folder of a model.

    Args:
        model: a whole one, whose own names and values are varied.
    """
    keys = {name: _keys(model / name, _MORE.get(name, ())) for name in _JSON}
    code = st.builds(
        _code,
        st.sampled_from(["config.json", "tokenizer_config.json"]),
        st.sampled_from(
            [
                {"AutoConfig": "code.C", "AutoModelForCausalLM": "modeling.M"},
                {"AutoTokenizer": ["code.T", "code.T"]},
                {"AutoTokenizer": "code.T", "AutoConfig": "code.C"},
                {"AutoModelForCausalLM": 7},
                ["code.T", "code.T"],
            ]
        ),
    )
    templates = st.sampled_from(_TEMPLATES).map(lambda text: _written("chat_template.jinja", text.encode()))
    return st.one_of(breaks(keys, (*_JSON, *_WEIGHTS, *_TEMPLATE)), breaks(keys, (*_JSON, *_WEIGHTS)), code, templates)


def adapter_breaks(adapter: Path) -> st.SearchStrategy[Break]:
    """One break of the folder of an adapter."""
    keys = {name: _keys(adapter / name, ("megatron_config", "loftq_config", "auto_mapping")) for name in _ADAPTER_JSON}
    return breaks(keys, (*_ADAPTER_JSON, *_ADAPTER_WEIGHTS))


def broken(whole: Path, target: Path, done: list[Break]) -> Path:
    """A copy of a whole folder to which breaks were done, in their order."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(whole, target)
    for each in done:
        each.do(target)
    return target


_MORE = {
    "config.json": ("quantization_config", "num_labels", "rope_scaling", "layer_types", "sliding_window", "text_config",
                    "is_encoder_decoder", "transformers_weights", "torch_dtype", "num_experts", "attn_implementation"),
    "generation_config.json": ("temperature", "top_k", "top_p", "do_sample", "num_beams", "repetition_penalty",
                               "bad_words_ids", "cache_implementation", "suppress_tokens", "watermarking_config",
                               "no_repeat_ngram_size", "num_return_sequences", "pad_token_id", "penalty_alpha",
                               "max_new_tokens", "min_length", "exponential_decay_length_penalty", "use_cache"),
    "tokenizer_config.json": ("tokenizer_class", "model_max_length", "added_tokens_decoder", "chat_template",
                              "eos_token", "pad_token", "extra_special_tokens", "padding_side"),
}  # fmt: skip


def _keys(path: Path, more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*json.loads(path.read_text("utf-8")), *more}))
