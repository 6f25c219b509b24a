"""The model hub where there is no way to it: what is here is used, and nobody waits for the rest."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger(__name__)

# What the clients that huggingface_hub has had raise where there is no name, no route and nobody who listens; for an
# answer that is late each has another error.
_NO_WAY = ("ConnectError", "ConnectionError", "ProxyError", "SSLError")

# A checkpoint as transformers reads it: descriptions and tokenizer, without what lies in folders inside.
_BESIDE_WEIGHTS = ("*.json", "*.model", "*.txt", "*.jinja")
_IN_FOLDERS = "*/*"


def fetched_folder(location: str, revision: str | None = None, *, weights: bool = True) -> Path:
    """The folder of a checkpoint's files, fetched from the hub where it is none here.

    Args:
        location: directory or hub id.
        revision: branch, tag or commit; None is the main branch.
        weights: whether its weights are wanted, too.

    Raises:
        OSError: it cannot be fetched; the hub's library has errors of its own for the reasons, which derive from it.
    """
    if Path(location).is_dir():
        return Path(location)
    from huggingface_hub import snapshot_download

    def with_weights(*patterns: str) -> Path:
        wanted = [*_BESIDE_WEIGHTS, *patterns]
        return Path(
            snapshot_download(location, revision=revision, allow_patterns=wanted, ignore_patterns=[_IN_FOLDERS])
        )

    if not weights:
        return with_weights()
    folder = with_weights("*.safetensors")
    return folder if any(folder.glob("*.safetensors")) else with_weights("*.bin")


@contextlib.contextmanager
def asked_if_it_answers(*names: str | None, patience_s: float = 10.0) -> Iterator[None]:
    """The hub's libraries in their offline mode in the body, where a name is the hub's and no way leads there.

    They would try each file six times, with half a minute of pauses, before they take it from their cache or give up.
    A hub that is slow, or answers with an error, is left to their patience. One short request is made.

    Args:
        names: models and adapters; what lies on this machine needs no hub.
        patience_s: how long the request may take; one that takes longer is late.
    """
    if all(name is None or Path(name).exists() for name in names):
        yield
        return
    try:
        from huggingface_hub import constants
    except ImportError:
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT, patience_s)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(endpoint: str, patience_s: float) -> bool:
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=patience_s)
    except Exception as error:  # noqa: BLE001 - the HTTP client, and so its errors, changed three times
        if type(error).__name__ not in _NO_WAY:
            return True
        _log.debug("there is no way to %s, so only what is in its cache is used", endpoint)
        return False
    return True
