"""Works a result out again from the files alone: ``llem verify``.

Nothing of the package is imported here but this room itself. What it knows of physics, file formats and flags it says
once more, so that one mistake is not made twice: a mistake in the session's arithmetic would otherwise check itself.
"""
