"""SGLang's Python API as it was recorded, and a module that takes what that API takes and nothing else."""
