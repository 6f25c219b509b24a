"""The vocabulary of a checkpoint as a GGUF file has it: enough to load a model, and to spell its tokens.

Prompts go in as token ids, so how text is cut into tokens is not in such a file.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

# llama.cpp's types of tokens (llama_token_type).
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 3, 4, 5, 6
# Kinds of end tokens of which a file can name one each.
_ENDS = ("eos", "eot", "eom")


@dataclass(frozen=True, kw_only=True)
class Words:
    """A vocabulary by llama.cpp's name of its ``kind``; ``texts`` and ``type_index`` are of each row of the embeddings.

    ``end_token_ids`` are what ends an answer, in their order, ``first_token_id`` what a text begins with.
    """

    kind: str
    texts: tuple[str, ...]
    type_index: tuple[int, ...]
    merges: tuple[str, ...]
    end_token_ids: tuple[int, ...]
    first_token_id: int | None = None

    def add_to(self, writer: Any) -> None:
        """Say it to a ``gguf.GGUFWriter``."""
        writer.add_tokenizer_model(self.kind)
        writer.add_tokenizer_pre("default")
        writer.add_token_list(list(self.texts))
        writer.add_token_types(list(self.type_index))
        if self.kind == "gpt2":
            # An empty list would not be written, and a file without one is not loaded.
            writer.add_token_merges(list(self.merges) or [""])
        if self.first_token_id is not None:
            writer.add_bos_token_id(self.first_token_id)
        for kind, token in zip(_ENDS, self.end_token_ids, strict=False):
            getattr(writer, f"add_{kind}_token_id")(token)


def words_of(tokenizer: Any, n_rows: int, end_token_ids: Collection[int], first_token_id: int | None) -> Words:
    """The vocabulary of a tokenizer.

    llama.cpp takes a token of a name such as ``</s>`` for an end whatever the file says. So control tokens that end
    nothing here, and so have no text, are given other names.

    Args:
        tokenizer: of transformers, with its ``backend_tokenizer``.
        n_rows: rows of the embeddings; those beyond the tokenizer's tokens are unused.
        end_token_ids: what ends an answer.
        first_token_id: what a text begins with; None where there is none.

    Raises:
        ValueError: it is of a kind that llama.cpp has not, or ends answers in no way or in more than a file can name.
    """
    ends = tuple(sorted(end_token_ids))
    if not 0 < len(ends) <= len(_ENDS):
        raise ValueError(
            f"it has {len(ends)} end tokens, and a GGUF file names from one to {len(_ENDS)}; set eos_token_id in its "
            "generation_config.json"
        )
    spec = _spec(tokenizer)
    kind = _kind(spec)
    rows: list[tuple[str, int]] = [(f"<unused {i}>", _UNUSED) for i in range(n_rows)]
    for text, token in spec["model"]["vocab"].items():
        if token < n_rows:
            is_byte = kind == "llama" and len(text) == len("<0x00>") and text.startswith("<0x") and text[-1] == ">"
            rows[token] = (text, _BYTE if is_byte else _NORMAL)
    for added in spec.get("added_tokens") or ():
        token, text = added["id"], added["content"]
        if token < n_rows:
            named = text if token in ends else f"<control {token}>"
            rows[token] = (named, _CONTROL) if added["special"] or token in ends else (text, _USER_DEFINED)
    merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in spec["model"]["merges"])
    return Words(
        kind=kind,
        texts=tuple(text for text, _ in rows),
        type_index=tuple(number for _, number in rows),
        merges=tuple(merges),
        end_token_ids=ends,
        first_token_id=first_token_id,
    )


def _spec(tokenizer: Any) -> Mapping[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError("its tokenizer is not one of the library tokenizers (tokenizer.json)")
    return dict(json.loads(backend.to_str()))


def _kind(spec: Mapping[str, Any]) -> str:
    """llama.cpp's name of what tells how tokens are spelt."""
    model = spec["model"]
    if model.get("type") == "BPE":
        # Bytes written as letters, as GPT-2 does it, or tokens for bytes beside those of text, as Llama 2 does.
        if '"ByteLevel"' in json.dumps(spec.get("decoder")):
            return "gpt2"
        if model.get("byte_fallback"):
            return "llama"
    raise ValueError(
        f"its tokenizer ({model.get('type')}) is neither of bytes written as letters nor of pieces with tokens for "
        "bytes, which are the two kinds that files are made of here"
    )
