"""The process that examines one experiment: its configuration comes in, what was found goes out, both as JSON.

``own_code`` starts it, through ``lifeline``.
"""

import os
import sys

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.orchestration.preflight import EXAMINED, examined_here
from llenergymeasure.orchestration.prompt_check import PromptChecks


def main() -> None:
    """Answer once."""
    # What the model's own code prints is no answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    config = in_use(ExperimentConfig.model_validate_json(sys.stdin.buffer.read()))
    found = examined_here(config, PromptChecks(), visible_gpus())
    with answer:
        answer.write(EXAMINED.dump_json(found))


if __name__ == "__main__":
    main()
