"""Which number formats this machine's processors compute with instructions of their own."""

import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Linux's names for the instructions that multiply and add in a format: of x86 (arch/x86/include/asm/cpufeatures.h) and
# of ARM (arch/arm64/kernel/cpuinfo.c). Instructions that only convert are not among them.
_INSTRUCTIONS = {
    "bf16": frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"}),
    "fp16": frozenset({"avx512_fp16", "amx_fp16", "asimdhp"}),
}


def native_formats(cpuinfo: Path = _CPUINFO) -> frozenset[str] | None:
    """Those of ``fp32``, ``fp16`` and ``bf16`` that are not emulated; None where the system does not say."""
    try:
        listed = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return None
    if listed is None:
        return None
    flags = set(listed[1].split())
    return frozenset({"fp32"} | {name for name, any_of in _INSTRUCTIONS.items() if flags & any_of})
