"""Every error this package raises on purpose, with the exit code ``llem`` ends with.

LLEMError                1
+-- ConfigError          2  the configuration, or the way the command was called
+-- PreFlightError       1  the machine lacks something the plan needs; nothing was run
+-- BackendError         1  an inference engine or a model could not be had
+-- ExperimentError      1  inference failed in the middle of an experiment
+-- StudyError           1  a study as a whole could not go on
"""


class LLEMError(Exception):
    """Base of all errors of this package; the message says what, which value, and what to do."""

    exit_code = 1


class ConfigError(LLEMError):
    """The configuration is wrong."""

    exit_code = 2


class BackendError(LLEMError):
    """An inference engine or its model cannot be used."""


class PreFlightError(LLEMError):
    """The machine lacks something the plan needs; found before anything ran."""


class ExperimentError(LLEMError):
    """Inference failed while an experiment ran."""


class StudyError(LLEMError):
    """A study could not be carried out as a whole."""
