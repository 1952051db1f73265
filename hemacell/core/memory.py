"""Memory that is free in this process, handed back to the system."""

import ctypes
import gc
import sys


def hand_back() -> None:
    """Hand back what was freed: the C library keeps what threads have freed, which after a slide is hundreds of MB.

    Does nothing but collect garbage where the C library is not that of Linux (glibc's `malloc_trim`).
    """
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
