"""Keras and its backend, loaded quietly, with a malloc that keeps what a training step frees.

Everything that needs Keras takes it from here: `from training.backend import keras`.
"""
import ctypes
import importlib.util
import logging
import os
import sys
import tempfile

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h


def _keep_freed_memory():
    """Have the malloc of glibc keep what is freed, instead of handing it back to the system.

    XLA frees its buffers after each step and takes them anew in the next, and each page taken from the system costs a page fault.
    They are larger than any threshold for mmap that malloc accepts, so mmap is off; only the main arena can grow to their size.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError):  # not glibc
        return
    for option, value in ((M_TRIM_THRESHOLD, -1), (M_MMAP_MAX, 0), (M_ARENA_MAX, 1)):
        mallopt(option, value)


def _import_quietly(module):
    """Import a module whose libraries write notes to standard error before any setting can stop them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            return importlib.import_module(module)
        except KeyboardInterrupt:
            sys.exit(130)
        except BaseException:
            notes.seek(0)
            os.write(standard_error, notes.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


_keep_freed_memory()
try:
    keras = _import_quietly("keras")
except (ImportError, ValueError) as missing:
    print(f"{os.path.basename(sys.argv[0])}: error: the Keras backend {os.environ.get('KERAS_BACKEND', 'tensorflow')!r} cannot be "
          f"loaded ({missing}); install it, or set KERAS_BACKEND to tensorflow or jax", file=sys.stderr)
    sys.exit(2)
if importlib.util.find_spec("tensorflow"):
    _import_quietly("tensorflow")  # keras.utils.set_random_seed imports it, whatever the backend
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it counts several models in one process as a mistake
