"""From where everything random begins."""

import random


def seeded(random_seed: int) -> None:
    """Python, numpy and torch draw as from the beginning, on every device.

    It is what ``transformers.set_seed`` sets. That lies in the module of its trainer, whose import takes a second and
    brings peft and bitsandbytes, where they are installed, into a process that may need neither.
    """
    import numpy as np
    import torch

    random.seed(random_seed)
    np.random.seed(random_seed)
    torch.manual_seed(random_seed)
