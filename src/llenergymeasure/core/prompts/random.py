"""Prompts of random tokens: how long each is, and which tokens it has.

Everything goes by ``random.Random.random``, whose sequence Python promises to keep for a seed; numpy promises
none for its distributions. So one seed gives the same prompts on every machine and in every year.
"""

import hashlib
import math
import random
from bisect import bisect_right
from collections.abc import Collection, Iterator
from statistics import NormalDist

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.random_prompts import LengthConfig
from llenergymeasure.domain.inference import Prompt

# random() has 53 bits and may be 0, where a normal distribution has no quantile: half of its step instead.
_LEAST_SHARE = 2.0**-54


def draw_prompts(config: ExperimentConfig) -> list[Prompt]:
    """``n`` prompts that say how many tokens the engine is to draw, and how many to answer.

    Fewer prompts are the first ones of more; lengths in do not depend on what is said of lengths out.

    Raises:
        ValueError: the dataset is not a random one.
    """
    lengths = config.dataset.random
    if lengths is None:
        raise ValueError("dataset.random is not set")
    inputs = draw_lengths(lengths.input_tokens, config.max_input_tokens, _stream("input", config.random_seed))
    outputs = draw_lengths(lengths.output_tokens, config.max_output_tokens, _stream("output", config.random_seed))
    return [Prompt(index=i, n_random_tokens=next(inputs), output_tokens=next(outputs)) for i in range(config.n)]


def draw_lengths(length: LengthConfig, limit: int, stream: random.Random) -> Iterator[int]:
    """Lengths without end, each the quantile of the distribution at the next number of ``stream``.

    Args:
        length: the distribution.
        limit: tokens where it names no longest length.
        stream: numbers in [0, 1).
    """
    while True:
        yield length_at(stream.random(), length, limit)


def length_at(share: float, length: LengthConfig, limit: int) -> int:
    """The length that ``share`` of all requests are at most as long as.

    A lognormal one is rounded, and put to the nearer bound beyond the bounds: these have the probability of all
    that lies beyond them.

    Args:
        share: in [0, 1).
        length: the distribution.
        limit: tokens where it names no longest length.
    """
    shortest, longest = length.span(limit)
    if length.distribution == "lognormal" and length.median is not None and length.sigma is not None:
        deviations = NormalDist().inv_cdf(max(share, _LEAST_SHARE))
        return min(max(round(length.median * math.exp(length.sigma * deviations)), shortest), longest)
    return shortest + int(share * (longest - shortest + 1))


def random_token_ids(
    n_tokens: int, vocabulary_size: int, excluded: Collection[int], random_seed: int, index: int
) -> tuple[int, ...]:
    """The token ids of a random prompt, each as likely as any other.

    Args:
        n_tokens: how many.
        vocabulary_size: ids are 0 up to, not including, this.
        excluded: ids that are not drawn, such as those of special tokens.
        random_seed: of the experiment.
        index: of the request; another one gives other ids.

    Raises:
        ValueError: nothing is left to draw from.
    """
    left_out = sorted({token for token in excluded if 0 <= token < vocabulary_size})
    n_left = vocabulary_size - len(left_out)
    if n_left < 1:
        raise ValueError(f"of {vocabulary_size} token ids none is left: {len(left_out)} are not to be drawn")
    # How many ids are left below each of those left out: an id moves up by the ones at or below it.
    n_left_below = [token - position for position, token in enumerate(left_out)]
    stream = _stream("ids", random_seed, index)
    drawn = (int(stream.random() * n_left) for _ in range(n_tokens))
    return tuple(number + bisect_right(n_left_below, number) for number in drawn)


def _stream(*what: str | int) -> random.Random:
    """Numbers that have nothing to do with those of another purpose, seed or request."""
    digest = hashlib.sha256(" ".join(map(str, what)).encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))
