"""Keep freed memory in the process, for models on a CPU.

glibc gives buffers of more than 128 KiB back to the system as they are freed, and a forward pass frees some at every
layer. To have their pages mapped and cleared again is about a fifth of its time.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names and numbers of malloc.h
LARGEST_MMAP_THRESHOLD = 1 << 25  # glibc refuses more


def keep() -> None:
    """Once per process is enough; does nothing where the C library is not glibc."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
