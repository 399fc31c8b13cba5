"""Keras and its backend, loaded quietly and set as the models need it, with a malloc that keeps what a training step frees.

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
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def _load_keras():
    """Keras, with the settings that the results depend on, whatever the user's keras.json says."""
    try:
        keras = _import_quietly("keras")
    except Exception as error:  # of any kind: keras.json may hold anything
        config = sys.modules.get("keras.src.backend.config")
        if config is None:
            path = os.path.join(os.environ.get("KERAS_HOME", os.path.join("~", ".keras")), "keras.json")
            _refuse(f"Keras cannot be loaded ({error}); mend or remove {path}")
        _refuse(f"the Keras backend {config.backend()!r} cannot be loaded ({error}); install it, or set KERAS_BACKEND to "
                "tensorflow or jax")
    if keras.config.backend() in ("numpy", "openvino"):
        _refuse(f"the Keras backend {keras.config.backend()!r} cannot train; set KERAS_BACKEND to tensorflow or jax")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    # They would cut trainings and predictions short.
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)
    return keras


def _refuse(reason):
    print(f"{os.path.basename(sys.argv[0])}: error: {' '.join(reason.split())}", file=sys.stderr)
    sys.exit(2)


_keep_freed_memory()
keras = _load_keras()
if importlib.util.find_spec("tensorflow"):
    _import_quietly("tensorflow")  # keras.utils.set_random_seed imports it, whatever the backend
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it counts several models in one process as a mistake
