"""What is drawn after a seed is what it is after that of transformers, which published figures were drawn with."""

import random

import numpy as np
import pytest
import torch
import transformers

from llenergymeasure.core.backends.pytorch.seeding import seeded


def drawn() -> tuple[float, float, list[float]]:
    return random.random(), float(np.random.random()), torch.rand(3).tolist()


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
def test_everything_begins_where_transformers_would_begin_it(seed: int) -> None:
    transformers.set_seed(seed)
    expected = drawn()
    assert drawn() != expected
    seeded(seed)
    assert drawn() == expected
