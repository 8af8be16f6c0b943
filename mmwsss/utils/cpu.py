"""What the processor can do."""
import platform
from functools import cache
from pathlib import Path

CPUINFO = Path('/proc/cpuinfo')
# Names of the instructions for bfloat16 in /proc/cpuinfo: of x86, and of ARM.
BFLOAT16_FLAGS = frozenset({'avx512_bf16', 'amx_bf16', 'avx10_2', 'bf16'})


@cache
def computes_bfloat16() -> bool | None:
    """Returns whether the processor multiplies bfloat16 numbers; ``None`` where the system does not tell.

    Without it torch computes with bfloat16 all the same, by converting every number: several times slower than float32.
    """
    if platform.system() == 'Darwin':
        return None
    try:
        text = CPUINFO.read_text()
    except OSError:
        return None
    lines = [line.partition(':')[2].split() for line in text.splitlines()
             if line.partition(':')[0].strip().lower() in ('flags', 'features')]
    return bool(BFLOAT16_FLAGS.intersection(lines[0])) if lines else None
