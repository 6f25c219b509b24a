"""What tests of the engine share: requests, runs on a fake server, and certificates."""

import gc
import ssl
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.server import ServerBackend
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.testing.fake_answers import Fault
from llenergymeasure.testing.fake_server import FakeServer, FakeSettings

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pass what asyncio leaves now and then of a connection that came while the fake server ended."""
    for item in items:
        if HERE in item.path.parents:
            for what in ("unclosed <socket", "unclosed transport"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{what}:ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_for_others() -> Iterator[None]:
    """Such a socket is given back before tests of others could be taken for those who left it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


# 5 + 6 + 7 and so on: neither of the first three is a multiple of seven, so that answers have their full length.
PROMPTS = [[5, 6, 8], [5, 6, 9], [5, 6, 11], [5, 6, 12]]


def config_of(url: str, **fields: Any) -> ExperimentConfig:
    section = {"url": url, "timeout_s": 20.0, "silence_timeout_s": 10.0, **fields.pop("server", {})}
    return ExperimentConfig.model_validate({"model": "m", "backend": "server", "server": section, **fields})


def requests_of(n: int = 3, n_tokens: int = 6) -> list[Request]:
    return [Request(index=i, token_ids=tuple(PROMPTS[i]), max_output_tokens=n_tokens) for i in range(n)]


def ran(
    config: ExperimentConfig, requests: Sequence[Request] | None = None, load: Load | None = None
) -> tuple[list[RequestOutput], list[str]]:
    """Rows in the order of the requests, and the flags of warnings."""
    done = list[RequestOutput]()
    with ServerBackend().load(ExperimentPlan.of(config)) as model:
        model.run(requests_of() if requests is None else requests, load or Load.at_most(1), done.append)
        flags = [warning.flag for warning in model.warnings()]
    return sorted(done, key=lambda output: output.index), flags


def with_fault(fault: Fault, **fields: Any) -> tuple[list[RequestOutput], list[str]]:
    """Three requests one after the other, of which the one in the middle meets a fault."""
    with FakeServer(FakeSettings(faults={"1": fault}, **fields.pop("settings", {}))) as server:
        return ran(config_of(server.url, **fields))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1 that signs itself, and what a server with it needs."""
    folder = tmp_path_factory.mktemp("tls")
    key, file = folder / "key.pem", folder / "cert.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(file), "-days",
         "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl is not there to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context


@pytest.fixture(scope="session")
def tiny_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tokenizer of words, and a description of a model that is never loaded."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("words")
    words = {"<unk>": 0, "</s>": 1, **{f"w{n}": n for n in range(2, 300)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>"
    ).save_pretrained(folder)
    transformers.LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2,
    ).save_pretrained(folder)  # fmt: skip
    return str(folder)
