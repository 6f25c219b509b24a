"""What of an experiment cannot go with several nodes: validators of its fields."""

from pydantic_core.core_schema import ValidationInfo

from llenergymeasure.config.base import refused
from llenergymeasure.config.device import DeviceConfig
from llenergymeasure.config.nodes import NodesConfig


def of_batches_alone(nodes: NodesConfig | None, info: ValidationInfo) -> NodesConfig | None:
    """The nodes, whose windows begin and end with the work: what is beyond it is idling.

    Raises:
        PydanticCustomError: something runs before or behind the window, or beside it.
    """
    if nodes is None:
        return None
    measurement, quality = info.data.get("measurement"), info.data.get("quality")
    if info.data.get("load") is not None:
        raise refused("nodes cannot go with load yet, where requests are at work beside the window; remove one")
    if measurement is not None and (measurement.methodology != "total" or measurement.dither_s is not None):
        raise refused("nodes go with measurement.methodology: total, and without dither_s; remove them")
    if quality is not None:
        raise refused("nodes cannot go with quality, which is looked at on one node; remove one of them")
    return nodes


def of_one_node(device: DeviceConfig | None, info: ValidationInfo) -> DeviceConfig | None:
    """The knobs of GPUs, which are set on the node that has the engine.

    Raises:
        PydanticCustomError: there are others.
    """
    if device is not None and info.data.get("nodes") is not None and any(v is not None for v in vars(device).values()):
        raise refused("device cannot go with nodes: knobs would be set on the first node alone; remove one of them")
    return device
