"""What the benches of large studies have in common: a study of 18,474 configurations, and how work is timed."""

import gc
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

# What four times the configurations may take, over four times as long.
MOST_GROWTH = 2.0
# 3 precisions, 2 batch sizes, and as many numbers of prompts: 18,474 in all.
N_PROMPTS = 3079
_FILE = """\
model: smollm2-135m
max_output_tokens: 32
sweep:
  precision: [fp32, fp16, bf16]
  pytorch.batch_size: [1, 4]
  n: {{from: 1, to: {n}, num: {n}}}
{more}"""


def study_file(n_prompts: int, more: str = "") -> str:
    """The study as a file.

    Args:
        n_prompts: how many numbers of prompts it has, a sixth of its configurations.
        more: further lines of it.
    """
    return _FILE.format(n=n_prompts, more=more)


def timed(work: Callable[[], _T]) -> tuple[float, _T]:
    """Processor seconds, from a heap without the last one's rubbish; and what came of it."""
    gc.collect()
    began_s = time.process_time()
    found = work()
    return time.process_time() - began_s, found
