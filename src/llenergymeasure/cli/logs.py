"""Status lines on stderr."""

import logging
import warnings

# torch sets the level of its own loggers on import, except of those it does not know by name.
_LIBRARIES = (
    "transformers",
    "huggingface_hub",
    "accelerate",
    "torch",
    "torch.utils._pytree",
    "torchao",
    "bitsandbytes",
)


def configure(*, quiet: bool, verbose: bool) -> None:
    """One line per step; only warnings and errors when quiet, everything with where it comes from when verbose."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s" if verbose else "llem: %(message)s"))
    logger = logging.getLogger("llenergymeasure")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)
    if not verbose:
        # Libraries speak to developers there; what a user has to know is in measurement_warnings.
        warnings.simplefilter("ignore")
        for name in _LIBRARIES:
            logging.getLogger(name).setLevel(logging.ERROR)
