"""The boxes of all NLVR images: decoded in parallel, and kept in a file from run to run."""
import concurrent.futures
import hashlib
import io
import itertools
import os

import numpy as np

import data_utils
from training.command_line import write_whole

CACHE_FORMAT = 2
CACHE_CHUNK = 256  # crops; about as many as fill an ordinary chunk cache of 1 MB when they are read in order


def load_crops(path, names, halving="nearest", cache=None):
    """The boxes of all images, each distinct one once, from a file kept from an earlier run, or from the images.

    The cache is an HDF5 file with the crops, compressed in chunks, and their numbers in each image. It is taken if it has
    the digest that it was written with, if it was made with the same halving, and if names, sizes and times of the images
    are those it was made of; else one line says why not, and it is made again, whole or not at all.

    Args:
        path: str, the folder of the corpus.
        names: list of str, the images, relative to `path`.
        halving: "nearest" or "mean", see `data_utils.image_boxes`.
        cache: str, the file; by default beside the folder, one for each halving.
    Returns:
        crops: uint8 (distinct crops, 50, 50, 3), numbered as they first come.
        boxes: int32 (images, 3), rows of `crops`.
    Raises:
        DataError: an image that cannot be used.
        OSError: the cache cannot be written.
    """
    cache = cache or default_cache(path, halving)
    sources = hashlib.sha256()
    for name in names:
        status = os.stat(os.path.join(path, name))
        sources.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    if os.path.exists(cache):
        try:
            return read_crops(cache, sources.hexdigest(), halving)
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, MemoryError) as error:
            print(f"{cache}: {' '.join(str(error).split())[:100]}; the images are decoded again")
    crops, boxes = decode_images(path, names, halving)
    write_crops(cache, crops, boxes, sources.hexdigest(), halving)
    return crops, boxes


def default_cache(path, halving):
    """The file beside a folder of the corpus that keeps its decoded images."""
    return f"{os.path.abspath(path)}.crops{'' if halving == 'nearest' else f'-{halving}'}.h5"


def write_crops(cache, crops, boxes, sources, halving):
    """Write the file that `load_crops` describes, whole or not at all."""
    import h5py

    content = io.BytesIO()  # HDF5 crashes the process when it runs out of space while it writes
    with h5py.File(content, "w") as file:
        file.create_dataset("crops", data=crops, chunks=(min(CACHE_CHUNK, len(crops)), *crops.shape[1:]),
                            compression="gzip", compression_opts=1)
        file.create_dataset("boxes", data=boxes, compression="gzip")
        file.attrs.update({"format": CACHE_FORMAT, "halving": halving, "sources": sources, "digest": _digest(crops, boxes)})
    write_whole(os.path.abspath(cache), content.getvalue())


def read_crops(cache, sources, halving):
    """Read what `write_crops` wrote, chunk by chunk. Raises ValueError, or what h5py does, if it cannot be used."""
    import h5py

    with h5py.File(cache, "r") as file:
        if file.attrs["format"] != CACHE_FORMAT:
            raise ValueError("made by another version of this program")
        if file.attrs["halving"] != halving:
            raise ValueError(f"made with --halving {file.attrs['halving']}, not {halving}")
        if file.attrs["sources"] != sources:
            raise ValueError("made of other images")
        stored = file["crops"]
        if stored.shape[1:] != (data_utils.BOX_SIZE // 2, data_utils.BOX_SIZE // 2, 3) or stored.dtype != np.uint8:
            raise ValueError("damaged")
        crops, boxes = np.empty(stored.shape, np.uint8), file["boxes"][()]
        for chunk in stored.iter_chunks():
            stored.read_direct(crops, chunk, chunk)
        if file.attrs["digest"] != _digest(crops, boxes):
            raise ValueError("damaged")
    return crops, boxes


def _digest(crops, boxes):
    digest = hashlib.sha256(repr((crops.shape, boxes.shape, boxes.dtype.str)).encode())
    digest.update(np.ascontiguousarray(crops))
    digest.update(np.ascontiguousarray(boxes))
    return digest.hexdigest()


def decode_images(path, names, halving="nearest"):
    """Decode images in parallel; returns what `load_crops` does."""
    from data import fetch

    progress = fetch.Progress("decoding", len(names), 1, "images")
    numbers, crops, boxes = {}, [], np.empty((len(names), len(data_utils.BOX_LEFT)), np.int32)
    try:
        # Pillow decodes outside Python's lock, and processes would each import what the calling script does.
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for first in range(0, len(names), 4096):  # not all at once: what is decoded waits for its turn in memory
                paths = [os.path.join(path, name) for name in names[first:first + 4096]]
                for row, image in enumerate(pool.map(data_utils.image_boxes, paths, itertools.repeat(halving)), start=first):
                    for place, crop in enumerate(image):
                        key = hashlib.blake2b(crop, digest_size=16).digest()
                        if key not in numbers:
                            numbers[key] = len(crops)
                            crops.append(crop)
                        boxes[row, place] = numbers[key]
                    progress.update(row + 1)
    finally:
        progress.close()
    return np.stack(crops), boxes
