"""The engine ``server``: a server of OpenAI's kind that is asked over HTTP, started here or found running."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from llenergymeasure.config.base import Flag, Number
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.config.names.paths import PathText
from llenergymeasure.config.names.words import words_of

ServerKind = Literal["vllm", "sglang", "llamacpp", "tensorrt", "tgi", "ollama", "lmstudio", "openai"]
# Of RFC 9110: what the name of a header may have.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SET_HERE = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"})
_REQUEST = "is what a request is made of"
_TOLD = "changes what is told of tokens, which is set here"


class ServerConfig(EngineSection):
    """Settings of the engine that asks a server.

    Nothing is proxied: variables such as `HTTP_PROXY` are not followed, and neither are redirects. A request that fails
    is not sent again, because that would be another load; its row says what was wrong. What a server takes beside the
    fields here goes into `passthrough_kwargs`, as it stands in the body of a request.

    `precision` is that of the server, and changes nothing about it: left out it is `as_served`, which says that nobody
    here knows. A server knows its own.
    """

    url: str = Field(
        default="http://127.0.0.1:8000",
        min_length=1,
        description="Where the server is asked: scheme, host and port, with or without `/v1`.",
    )
    kind: ServerKind | None = Field(
        default=None,
        description="What server it is, which says what it takes beside OpenAI's fields; null is as `/v1/models` "
        "tells, and `openai` takes nothing else.",
    )
    api: Literal["completions", "chat"] = Field(
        default="completions", description="`/v1/completions`, or `/v1/chat/completions`, which is sent messages."
    )
    send: Literal["token_ids", "text"] | None = Field(
        default=None,
        description="What a prompt is sent as: token ids made by the tokenizer of `model`, as every other engine is "
        "given, or text, which the server tokenises. Null is token ids for `completions`, text for `chat`.",
    )
    served_model: str | None = Field(
        default=None,
        min_length=1,
        description="The model to ask for; null is the only one that the server lists, or else `model`.",
    )
    api_key: str | None = Field(
        default=None, min_length=1, description="Sent as `Authorization: Bearer`; a variable, such as `${API_KEY}`."
    )
    headers: dict[str, str] = Field(default={}, description="Further headers of each request.")
    command: Annotated[list[PathText], Field(min_length=1)] | None = Field(
        default=None,
        description="What starts the server, as a list of words or one line; it is started before the model is "
        "measured, waited for and ended. Null asks a server that is running.",
    )
    start_timeout_s: Number = Field(default=900.0, gt=0, description="Give up a server that is not ready by then.")
    health: str = Field(
        default="/health",
        pattern=r"^/\S*$",
        description="What answers with status 200 once the server is ready; `/v1/models` where there is no such place.",
    )
    timeout_s: Number = Field(default=600.0, gt=0, description="Give up a request that has not ended by then.")
    silence_timeout_s: Number = Field(
        default=120.0, gt=0, description="Give up a request of which nothing has come for so long."
    )
    verify_tls: Flag = Field(default=True, description="Whether the server's certificate has to be a trusted one.")
    ca_file: Path | None = Field(
        default=None, description="Certificates to trust (PEM); null is those that this machine trusts."
    )

    # Its first word is the default: what a server computes in is not known here.
    precisions: ClassVar[tuple[str, ...]] = ("as_served", "fp32", "fp16", "bf16")
    default_precision: ClassVar[str] = "as_served"
    # That its library is installed says nothing of a server that answers.
    only_by_name: ClassVar[bool] = True
    lacks_decoder_fields: ClassVar[frozenset[str]] = frozenset(
        {"num_beams", "length_penalty", "early_stopping", "num_return_sequences", "no_repeat_ngram_size"}
    )
    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "send": {"api=chat": "a chat is sent as messages; remove one of them, or set api: completions"},
    }
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {"start_timeout_s": ("command",), "health": ("command",)}
    library_names: ClassVar[Mapping[str, str]] = {
        "max_tokens": "max_output_tokens",
        "max_completion_tokens": "max_output_tokens",
        "n_predict": "max_output_tokens",
        "min_tokens": "decoder.min_output_tokens",
        "repeat_penalty": "decoder.repetition_penalty",
        "seed": "random_seed",
    }
    refused_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("prompt", "messages"), _REQUEST),
        **dict.fromkeys(("stream", "stream_options", "echo", "return_token_ids", "timings_per_token"), _TOLD),
        **dict.fromkeys(("n", "best_of"), "asks for several answers; repeat the prompt instead"),
    }

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("this is no address of a server, such as http://127.0.0.1:8000")
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("the port of this address is no number up to 65535") from None
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("an address has no user, query or fragment here; give a key as api_key, or in headers")
        return url.rstrip("/")

    @field_validator("command", mode="before", json_schema_input_type=str | list[str] | None)
    @classmethod
    def _words(cls, command: Any) -> Any:
        return words_of(command)

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if name.lower() in _SET_HERE:
                raise ValueError(f"{name} is set here and cannot be given")
            if not value.isprintable():
                raise ValueError(f"the value of {name} has characters that no header has")
        return headers

    @property
    def sends_text(self) -> bool:
        """Whether the server tokenises."""
        return self.api == "chat" or self.send == "text"
