"""Where the tests find the project and the real data."""
import os
import subprocess
import sys

import pytest

# A test runs what it compiles for moments: to compile it is what takes the time. Scripts that tests start have this, too.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import data_utils
from training.backend import keras

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _real_babi():
    """What BABI_DATA names, else the shared archive, else data/babi if real data lies there, else None."""
    shared, own = os.path.join(ROOT, "..", "shared", "babi", "tasks_1-20_v1-2.tar.gz"), os.path.join(ROOT, "data", "babi")
    tasks = os.path.join(own, "tasks_1-20_v1-2")
    if os.environ.get("BABI_DATA") or os.path.exists(shared):
        return os.environ.get("BABI_DATA") or shared
    return own if os.path.isdir(tasks) and not os.path.exists(os.path.join(tasks, data_utils.SIMULATED)) else None


REAL_BABI = _real_babi()
REAL_NLVR = os.environ.get("NLVR_DATA", os.path.join(ROOT, "data", "nlvr"))
UNPACK_NLVR = os.path.join(ROOT, "..", "shared", "nlvr", "unpack.py")


@pytest.fixture(scope="session")
def real_nlvr(tmp_path_factory):
    """Folder of the real NLVR corpus, of which dev is sure to be there; a test that needs it skips where it is not."""
    if os.path.exists(os.path.join(REAL_NLVR, "dev", "dev.json")):
        return REAL_NLVR
    if not os.path.exists(UNPACK_NLVR):
        pytest.skip("the real NLVR corpus is not here; NLVR_DATA=DIR names it")
    folder = tmp_path_factory.mktemp("nlvr")
    subprocess.run([sys.executable, UNPACK_NLVR, str(folder), "--splits", "dev"], check=True, capture_output=True)
    return str(folder)


@pytest.fixture(scope="session")
def real_babi():
    """Path of the real bAbI data; a test that needs it skips where it is not."""
    if REAL_BABI is None:
        pytest.skip("the real bAbI data is not here; data/get_babi.py gets it, or BABI_DATA=PATH names it")
    return REAL_BABI


@pytest.fixture(scope="module")
def without_xla():
    """Models are compiled without XLA, which takes longer than training on a few questions. JAX has nothing else."""
    compile_model = keras.Model.compile

    def compile_plainly(self, *args, **kwargs):
        compile_model(self, *args, **{**kwargs, "jit_compile": False, "steps_per_execution": 1})

    with pytest.MonkeyPatch.context() as patch:
        if keras.backend.backend() == "tensorflow":
            patch.setattr(keras.Model, "compile", compile_plainly)
        yield
