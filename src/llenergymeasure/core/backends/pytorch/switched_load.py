"""A load that begins and ends when it is told to."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llenergymeasure.exceptions import BackendError

# A product of two such matrices takes some tenths of a millisecond to some milliseconds, by the card, so the load ends
# about when it is to; and fills the largest cards.
_SIDE = 4096


@contextmanager
def matrix_products(device: str) -> Iterator[Callable[[float], None]]:
    """Half-precision products of large matrices on a GPU, for as many seconds as are asked for.

    Args:
        device: the GPU's UUID, as its driver gives it.

    Raises:
        BackendError: torch does not see the GPU, or has no memory on it.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    uuids = [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(count)]
    if device not in uuids:
        raise BackendError(
            f"torch does not see {device}: it sees {', '.join(uuids) or 'no GPU'}; install a build of it with CUDA, "
            "or see CUDA_VISIBLE_DEVICES"
        )
    index = uuids.index(device)
    try:
        factors = [torch.randn(_SIDE, _SIDE, device=f"cuda:{index}", dtype=torch.float16) for _ in range(2)]
        product = torch.empty_like(factors[0])
        torch.mm(*factors, out=product)
        torch.cuda.synchronize(index)
    except RuntimeError as error:
        raise BackendError(f"torch cannot work on {device}: {error}") from error

    def work(seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            torch.mm(*factors, out=product)
            torch.cuda.synchronize(index)

    yield work
