"""The boxes of all images: decoded, and kept in a file."""
import io
import os
import shutil

import h5py
import numpy as np
import pytest

import data_utils
from data import crops
from helpers import small_nlvr


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_nlvr.write_corpus(tmp_path_factory.mktemp("nlvr") / "corpus", train=8, others=2)


@pytest.fixture(scope="module")
def nlvr(corpus):
    return small_nlvr.load(corpus)


@pytest.fixture
def copy(corpus, tmp_path):
    """A corpus of one's own to damage."""
    return shutil.copytree(corpus, tmp_path / "corpus")


def test_the_real_corpus_as_unpacked(real_nlvr):
    names = data_utils.find_images(real_nlvr, "dev", data_utils.read_examples(os.path.join(real_nlvr, "dev", "dev.json")))
    for halving, distinct in ("nearest", 1129), ("mean", 1302):
        found, boxes = crops.decode_images(real_nlvr, names, halving)
        assert boxes.shape == (5934, 3) and found.shape == (distinct, 50, 50, 3)


def without_decoding(monkeypatch):
    monkeypatch.setattr(crops, "decode_images", lambda *_: pytest.fail("the images were decoded again"))


def test_later_runs_decode_nothing(corpus, nlvr, monkeypatch):
    without_decoding(monkeypatch)
    again = small_nlvr.load(corpus)
    assert again.fingerprint == nlvr.fingerprint
    np.testing.assert_array_equal(again.crops, nlvr.crops)


def test_each_halving_has_a_file_of_its_own(copy, capsys):
    crops = {halving: small_nlvr.load(copy, halving=halving).crops for halving in ("nearest", "mean")}
    assert os.path.exists(f"{copy}.crops.h5") and os.path.exists(f"{copy}.crops-mean.h5")
    for halving, of_halving in crops.items():
        np.testing.assert_array_equal(small_nlvr.load(copy, halving=halving).crops, of_halving)
    assert not capsys.readouterr().out and (crops["nearest"][0] != crops["mean"][0]).any()


def test_a_cache_of_the_other_halving_or_an_earlier_version_is_noticed(copy, tmp_path, capsys):
    cache = str(tmp_path / "crops.h5")
    expected = {halving: small_nlvr.load(copy, halving=halving).crops for halving in ("nearest", "mean")}
    small_nlvr.load(copy, cache=cache)
    for halving, other in ("mean", "nearest"), ("nearest", "mean"):
        np.testing.assert_array_equal(small_nlvr.load(copy, cache=cache, halving=halving).crops, expected[halving])
        assert capsys.readouterr().out == (
            f"{cache}: made with --halving {other}, not {halving}; the images are decoded again\n")
    with h5py.File(cache, "a") as file:  # as it was before there was a choice
        del file.attrs["halving"]
        file.attrs["format"] = 1
    np.testing.assert_array_equal(small_nlvr.load(copy, cache=cache).crops, expected["nearest"])
    assert capsys.readouterr().out == f"{cache}: made by another version of this program; the images are decoded again\n"


def flip(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1:]


def damaged_caches(content):
    def edited(edit):
        file = io.BytesIO(content)
        with h5py.File(file, "a") as cache:
            edit(cache)
        return file.getvalue()

    yield b""
    yield b"not HDF5"
    yield content[:len(content) // 2]
    yield content[:-1]
    yield flip(content, len(content) // 2)
    yield edited(lambda cache: cache.pop("boxes"))
    yield edited(lambda cache: cache.attrs.update({"format": 99}))
    yield edited(lambda cache: cache["boxes"].write_direct(np.zeros(cache["boxes"].shape, np.int32)))


def test_a_damaged_cache_is_noticed_and_made_again(corpus, nlvr, tmp_path, capsys):
    with open(f"{corpus}.crops.h5", "rb") as file:
        content = file.read()
    cache = tmp_path / "crops.h5"
    for damaged in damaged_caches(content):
        cache.write_bytes(damaged)
        assert small_nlvr.load(corpus, cache=str(cache)).fingerprint == nlvr.fingerprint
        assert f"{cache}: " in capsys.readouterr().out
    assert small_nlvr.load(corpus, cache=str(cache)).fingerprint == nlvr.fingerprint
    assert not capsys.readouterr().out
    assert os.listdir(tmp_path) == ["crops.h5"]


def test_a_changed_image_is_noticed(copy, nlvr, capsys):
    before = small_nlvr.load(copy)
    folder = copy / "dev" / "images" / "0"
    shutil.copy(folder / "dev-0-0-1.png", folder / "dev-0-0-0.png")
    after = small_nlvr.load(copy)
    assert "made of other images" in capsys.readouterr().out
    assert before.fingerprint == nlvr.fingerprint != after.fingerprint
    boxes = after.splits["dev"].boxes[0]
    np.testing.assert_array_equal(boxes[0], boxes[1])
