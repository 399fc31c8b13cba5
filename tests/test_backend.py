"""How Keras and its backend are loaded."""
import os
import platform
import subprocess
import sys

import pytest

from conftest import ROOT


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the malloc of glibc can be told")
def test_what_a_step_frees_is_not_taken_from_the_system_again():
    program = """if True:
        import ctypes, resource, training.backend
        libc = ctypes.CDLL(None)
        libc.malloc.restype, size = ctypes.c_void_p, 100 << 20
        libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
        for _ in range(6):
            buffer = libc.malloc(size)
            ctypes.memset(buffer, 1, size)
            libc.free(buffer)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
        """
    output = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    first, *_, last = map(int, output.split())
    assert last - first < (100 << 20) // os.sysconf("SC_PAGE_SIZE")  # less than once more, of five times


def test_a_backend_that_is_none():
    ended = subprocess.run([sys.executable, "WMemNN_bAbI.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=False,
                           env={**os.environ, "KERAS_BACKEND": "bogus"})
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert "'bogus' cannot be loaded" in ended.stderr and "set KERAS_BACKEND to tensorflow or jax" in ended.stderr
