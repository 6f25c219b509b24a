"""What passes between a launcher and the process it starts."""

from pydantic import BaseModel, ConfigDict

PLAN_FILE = "plan.json"
ERROR_FILE = "error.json"


class ProcessError(BaseModel):
    """Why a process gave no result; ``error_type`` is the name of an exception of this package."""

    model_config = ConfigDict(frozen=True)

    error_type: str
    message: str
