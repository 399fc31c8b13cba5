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


def refused(tmp_path, backend=None, config=None):
    """Start a training with a backend or a keras.json that cannot be used; returns its line on standard error."""
    environment = {**os.environ, "KERAS_HOME": str(tmp_path)}
    environment.pop("KERAS_BACKEND", None)
    if backend:
        environment["KERAS_BACKEND"] = backend
    if config is not None:
        (tmp_path / "keras.json").write_text(config)
    ended = subprocess.run([sys.executable, "WMemNN_bAbI.py", "--models", str(tmp_path / "models")], cwd=ROOT, env=environment,
                           capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    assert not (tmp_path / "models").exists()
    return ended.stderr


def test_a_backend_that_is_none(tmp_path):
    error = refused(tmp_path, "bogus")
    assert "'bogus' cannot be loaded" in error and "set KERAS_BACKEND to tensorflow or jax" in error


def test_a_backend_of_the_users_settings_that_is_none(tmp_path):
    assert "'bogus' cannot be loaded" in refused(tmp_path, config='{"backend": "bogus"}')


def test_a_backend_that_cannot_train(tmp_path):
    assert "'numpy' cannot train; set KERAS_BACKEND to tensorflow or jax" in refused(tmp_path, "numpy")


@pytest.mark.parametrize("config", ['{"floatx": "float8"}', '["float32"]', '{"epsilon": "small"}'])
def test_settings_that_keras_does_not_take(tmp_path, config):
    assert f"mend or remove {tmp_path / 'keras.json'}" in refused(tmp_path, config=config)


def test_the_users_settings_change_nothing(tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}')
    program = "from training.backend import keras; c = keras.config; print(c.floatx(), c.dtype_policy().name, c.epsilon(), " \
              "c.image_data_format(), c.max_epochs(), c.max_steps_per_epoch())"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env={
        **os.environ, "KERAS_HOME": str(tmp_path), "KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1"})
    assert ended.stdout == "float32 float32 1e-07 channels_last None None\n"
