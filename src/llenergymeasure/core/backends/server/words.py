"""What a reader of the figures has to know of a server."""

from collections.abc import Iterator

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.server.address import Address
from llenergymeasure.core.backends.server.answer import Counts
from llenergymeasure.core.backends.server.body import section_of
from llenergymeasure.core.backends.server.dialects import Dialect
from llenergymeasure.domain.warnings import MeasurementWarning

# Chunks that hold two tokens now and then are no groups.
_MANY_PER_CHUNK = 1.05


def elsewhere(config: ExperimentConfig) -> str | None:
    """Why joules of this machine are not those of the work; None where the server is on it."""
    address = Address.of(section_of(config).url)
    if address.is_here():
        return None
    return (
        f"the server ({address.named}) is not on this machine, whose sensors do not see it; run llem there to have "
        "joules"
    )


def cautions_of(config: ExperimentConfig) -> Iterator[MeasurementWarning]:
    """What is known before the run."""
    section, far = section_of(config), elsewhere(config)
    if far is not None:
        yield MeasurementWarning("server_elsewhere", far, "energy is not given, and nothing is worked out in its place")
    elif section.command is None:
        yield MeasurementWarning(
            "server_not_ours",
            "the server was running before: what it held then is in the idle baseline, its processes count as others', "
            "and energy is that of this machine's devices, whoever else it serves",
            "start it with server.command to have its weights, its processes and its idling known",
        )


def warnings_of(counts: Counts, dialect: Dialect) -> list[MeasurementWarning]:
    """What was seen of the answers."""
    return [*_about_counts(counts), *_about_prompts(counts, dialect)]


def _about_counts(counts: Counts) -> Iterator[MeasurementWarning]:
    n = counts.n_requests
    if counts.n_retokenised:
        yield MeasurementWarning(
            "tokens_retokenised",
            f"the server told no usage of {counts.n_retokenised} of {n} answers; their texts were tokenised again, "
            "which need not give the tokens that were generated",
            "have the server tell usage, or take these counts as estimates",
        )
    if counts.n_contradicting:
        yield MeasurementWarning(
            "usage_contradicts",
            f"the server told other numbers of tokens than it sent, for {counts.n_contradicting} of {n} answers; its "
            "usage counts",
            "hold its counts against its own log",
        )
    if counts.n_chunks and counts.n_tokens > _MANY_PER_CHUNK * counts.n_chunks:
        yield MeasurementWarning(
            "tokens_in_groups",
            f"the server sends {counts.n_tokens / counts.n_chunks:.2f} tokens in a chunk, on average, and does not "
            "tell how many are in which: the time between tokens is that between chunks",
            "TPOT is by the server's count of all tokens, and holds",
        )


def _about_prompts(counts: Counts, dialect: Dialect) -> Iterator[MeasurementWarning]:
    if counts.n_cached:
        yield MeasurementWarning(
            "prompt_cache_used",
            f"{counts.n_cached} tokens of prompts were taken from the cache and not computed",
            f"start {dialect.name} without its cache of prompts to have every prompt read",
        )
    if counts.n_other_prompts:
        yield MeasurementWarning(
            "prompt_tokens_differ",
            f"the server read another number of tokens than it was sent, for {counts.n_other_prompts} of "
            f"{counts.n_requests} prompts; its own count is given",
            "it may put a token of its own before each prompt",
        )
