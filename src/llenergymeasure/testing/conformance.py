"""What the suites for engines and for sensors have in common."""


class NotApplicable(Exception):  # noqa: N818 - it is no error
    """The case has nothing that this check could go by."""
