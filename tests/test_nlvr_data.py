"""NLVR from files to arrays: sentences, images, the file that keeps them, batches."""
import dataclasses
import io
import json
import os
import shutil
import zlib

import h5py
import numpy as np
import pytest
from PIL import Image, ImageDraw

import nlvr_data
import small_nlvr
from data_utils import DataError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_nlvr.write_corpus(tmp_path_factory.mktemp("nlvr") / "corpus", train=8, others=2)


@pytest.fixture(scope="module")
def nlvr(corpus):
    return nlvr_data.load_nlvr(corpus)


@pytest.fixture
def copy(corpus, tmp_path):
    """A corpus of one's own to damage."""
    return shutil.copytree(corpus, tmp_path / "corpus")


# Sentences


TRAINING = """There is a box with at least one yellow block and 2 black items touching the wall.
There are exactly three towers with blue blocks of the same color at their base, or a tower of two colors
There is a circle closely touching a corner of a box and a triangle below the square
there is no small item, only squares with an edge""".split("\n") * nlvr_data.RARE


@pytest.fixture(scope="module")
def clean():
    return nlvr_data.SentenceCleaner(TRAINING)


@pytest.mark.parametrize("sentence, seen", [
    ("There is atleast one yellow block", "there is at least one yellow block"),  # two words run together
    ("There is abox with isa towers", "there is a box with is a tower"),
    ("There are 2 yellow blocks", "there are two yellow block"),  # a number, a plural
    ("at least 12 items, no 13", "at least twelve item no 13"),
    ("blocks of the same coloured base", "block of the same color base"),  # as American English has it
    ("two colours or COLOR", "two color or color"),
    ("eactly 1 Yelow trianlge", "exactly one yellow triangle"),  # a letter left out, swapped
    ("a wwith b;ue circ;e", "a with blue circle"),  # a letter too many, a slip of the finger
    ("t least 1 box bellow", "at least one box below"),  # errors that are words or too short
    ("ad the bow", "and the box"),
    ("towers-with:blocks/items!", "tower with block item"),
    ("this has its base across less boxes", "this has its base across less box"),  # an s that is no plural
    ("the rhinoceros", "the rhinoceros"),  # an English word stays; it counts as unknown later
    ("xqzzzy", "xqzzzy"),
    ("  ?! ", ""),
])
def test_sentences_as_they_come_and_as_the_model_sees_them(clean, sentence, seen):
    assert " ".join(clean(sentence)) == seen


def test_unknown_words_have_an_id_of_their_own(corpus, nlvr, copy):
    path = copy / "dev" / "dev.json"
    examples = [json.loads(line) for line in path.read_text().splitlines()]
    examples[0]["sentence"] = "There is a rhinoceros"
    path.write_text("\n".join(map(json.dumps, examples)))
    other = nlvr_data.load_nlvr(str(copy))
    assert other.words == nlvr.words and other.words[0] == nlvr_data.UNKNOWN
    row = other.sentences[other.splits["dev"].sentence[0]]
    assert [other.words[number - 1] for number in row if number] == ["there", "is", "a", nlvr_data.UNKNOWN]
    assert other.fingerprint != nlvr.fingerprint


def test_long_sentences_are_cut(corpus, nlvr):
    cut = nlvr_data.load_nlvr(corpus, mx=3, words=nlvr.words)
    np.testing.assert_array_equal(cut.sentences, nlvr.sentences[:, :3])


# Images


def test_examples_have_their_images_and_labels(corpus, nlvr):
    assert {split: len(examples) for split, examples in nlvr.splits.items()} == {
        "train": 16, "dev": 4, "test": 4, "hidden": 4}
    for split, examples in nlvr.splits.items():
        with open(os.path.join(corpus, split, f"{split}.json"), encoding="utf-8") as file:
            annotations = {example["identifier"]: example for example in map(json.loads, file)}
        for row, identifier in enumerate(examples.identifiers):
            assert examples.label[row] == (annotations[identifier]["label"] == "true")
            folder = annotations[identifier]["directory"]
            assert examples.folder[row] == folder
            for k in range(6):
                path = os.path.join(corpus, split, "images", folder, f"{split}-{identifier}-{k}.png")
                pixels = np.asarray(Image.open(path)).astype(int)[..., :3]
                halved = (pixels[::2, ::2] + pixels[1::2, ::2] + pixels[::2, 1::2] + pixels[1::2, 1::2]) / 4
                for place, left in enumerate((0, 75, 150)):
                    crop = nlvr.crops[examples.boxes[row, k, place]]
                    assert np.abs(crop - halved[:, left:left + 50]).max() <= 0.5


def test_each_distinct_box_is_kept_once(nlvr):
    assert len(np.unique(nlvr.crops.reshape(len(nlvr.crops), -1), axis=0)) == len(nlvr.crops)
    for boxes in nlvr.splits["train"].boxes:
        assert len(np.unique(boxes)) == 3  # six orders of three boxes


def test_mean_and_deviation_are_those_of_the_training_images(nlvr):
    pixels = nlvr.crops[nlvr.splits["train"].boxes.ravel()].reshape(-1, 3).astype(float)
    np.testing.assert_allclose(nlvr.mean, pixels.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(nlvr.deviation, pixels.std(axis=0), atol=1e-3)


def test_the_real_corpus_as_unpacked(real_nlvr):
    names = nlvr_data.find_images(real_nlvr, "dev", nlvr_data.read_examples(os.path.join(real_nlvr, "dev", "dev.json")))
    crops, boxes = nlvr_data.decode_images(real_nlvr, names)
    assert boxes.shape == (5934, 3) and crops.shape == (1302, 50, 50, 3)


# The file of decoded images


def without_decoding(monkeypatch):
    monkeypatch.setattr(nlvr_data, "decode_images", lambda *_: pytest.fail("the images were decoded again"))


def test_later_runs_decode_nothing(corpus, nlvr, monkeypatch):
    without_decoding(monkeypatch)
    again = nlvr_data.load_nlvr(corpus)
    assert again.fingerprint == nlvr.fingerprint
    np.testing.assert_array_equal(again.crops, nlvr.crops)


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
        assert nlvr_data.load_nlvr(corpus, cache=str(cache)).fingerprint == nlvr.fingerprint
        assert f"{cache}: " in capsys.readouterr().out
    assert nlvr_data.load_nlvr(corpus, cache=str(cache)).fingerprint == nlvr.fingerprint
    assert not capsys.readouterr().out
    assert os.listdir(tmp_path) == ["crops.h5"]


def test_a_changed_image_is_noticed(copy, nlvr, capsys):
    before = nlvr_data.load_nlvr(str(copy))
    folder = copy / "dev" / "images" / "0"
    shutil.copy(folder / "dev-0-0-1.png", folder / "dev-0-0-0.png")
    after = nlvr_data.load_nlvr(str(copy))
    assert "made of other images" in capsys.readouterr().out
    assert before.fingerprint == nlvr.fingerprint != after.fingerprint
    boxes = after.splits["dev"].boxes[0]
    np.testing.assert_array_equal(boxes[0], boxes[1])


# Bad input


def refused(path, *says):
    with pytest.raises(DataError) as error:
        nlvr_data.load_nlvr(str(path))
    for text in (*says, "get_nlvr.py"):
        assert text in str(error.value)


def png(size=(400, 100), **options):
    content = io.BytesIO()
    Image.new("RGBA", size).save(content, "PNG", **options)
    return content.getvalue()


def bad_checksum(content):
    return flip(content, content.index(b"IDAT") + 6)


def false_pixels(content):
    """Chunks with the right checksums whose content is no image."""
    start = content.index(b"IDAT")
    length = int.from_bytes(content[start - 4:start], "big")
    chunk = b"IDAT" + bytes(length)
    return content[:start] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + content[start + 8 + length:]


@pytest.mark.parametrize("content, reason", [
    (b"", "not a whole PNG"), (b"text", "not a whole PNG"), (png()[:-20], "not a whole PNG"),
    (bad_checksum(png()), "not a whole PNG"), (false_pixels(png()), "cannot be read"), (png((400, 99)), "400 x 99 pixels")])
def test_damaged_images_are_named(copy, content, reason):
    (copy / "test" / "images" / "1" / "test-1-0-3.png").write_bytes(content)
    refused(copy, "test-1-0-3.png", reason)


def test_missing_images_are_named(copy):
    image = copy / "train" / "images" / "2" / "train-2-1-5.png"
    content = image.read_bytes()
    image.unlink()
    refused(copy, "1 of 96 images of train.json are missing, the first train-2-1-5.png")
    image.write_bytes(content)
    shutil.rmtree(copy / "dev" / "images")
    refused(copy, "dev/images: 24 of 24 images")
    shutil.rmtree(copy / "dev")
    refused(copy, "dev/dev.json: cannot be read")
    shutil.rmtree(copy)
    refused(copy, "no such folder")


def test_images_without_annotation_are_named(copy):
    path = copy / "dev" / "dev.json"
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    with pytest.raises(DataError, match=r"dev-0-0-0.png: dev.json has no example .* 5 others"):
        nlvr_data.load_nlvr(str(copy))
    shutil.copy(copy / "dev/images/0/dev-0-1-0.png", copy / "dev/images/1/dev-0-1-0.png")
    with pytest.raises(DataError, match="dev-0-1-0.png: is in folder 1 too"):
        nlvr_data.load_nlvr(str(copy))


@pytest.mark.parametrize("line, reason", [
    ("{", "expected an object"), ("[]", "expected an object"), ('{"identifier": "7-0"}', "expected an object"),
    ('{"identifier": "7", "sentence": "a", "label": "true"}', "expected an object"),
    ('{"identifier": "7-0", "sentence": " ", "label": "true"}', "expected an object"),
    ('{"identifier": "7-0", "sentence": "a", "label": true}', "expected an object"),
    ('{"identifier": "0-0", "sentence": "a", "label": "true"}', "example 0-0 comes twice")])
def test_damaged_annotations_are_named_with_their_line(copy, line, reason):
    with open(copy / "hidden" / "hidden.json", "a", encoding="utf-8") as file:
        file.write(line)
    with pytest.raises(DataError, match=f"hidden.json, line 5: {reason}.*restore"):
        nlvr_data.load_nlvr(str(copy))


def test_the_hidden_split_may_be_missing(copy):
    shutil.rmtree(copy / "hidden")
    assert list(nlvr_data.load_nlvr(str(copy)).splits) == ["train", "dev", "test"]


# Batches and splits


def test_validation_folders_keep_siblings_together(nlvr):
    train = nlvr.splits["train"]
    training, validation = nlvr_data.split_folders(train, 1, seed=1)
    assert len(training) == 12 and len(validation) == 4 and len(set(validation.folder)) == 1
    assert not set(training.folder) & set(validation.folder)
    assert sorted(training.identifiers + validation.identifiers) == sorted(train.identifiers)
    with pytest.raises(DataError, match="--validation-folders 4 leaves none of the 4"):
        nlvr_data.split_folders(train, 4, seed=1)


def unpacked(batch):
    """Crops and words of each image of a batch, by its looks."""
    lists = np.arange(3) % batch.box_of_look.shape[1]
    for image, sentence in enumerate(batch.sentence_of_image):
        looks = batch.look_of_image[image], lists
        assert (batch.sentence_of_look[looks] == sentence).all()
        yield batch.crops[batch.box_of_look[looks]], batch.sentences[sentence]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("sizes", [None, [(1, 9, 9), (90, 90, 30)]])
def test_a_batch_has_the_crops_and_words_of_its_images(nlvr, sizes, shared):
    train = nlvr.splits["train"]
    rows = np.random.default_rng(1).integers(0, 6 * len(train), 30)
    sentence, boxes = np.repeat(train.sentence, 6)[rows], train.boxes.reshape(-1, 3)[rows]
    batch = nlvr_data.pack_images(nlvr, sentence, boxes, sizes, shared)
    for (crops, words), row, of_image in zip(unpacked(batch), boxes, sentence, strict=True):
        np.testing.assert_array_equal(crops, nlvr.crops[row])
        np.testing.assert_array_equal(words, nlvr.sentences[of_image])
    if sizes:
        assert (*batch.box_of_look.shape, len(batch.crops), len(batch.sentences)) == (90, 1 if shared else 3, 90, 30)


@pytest.mark.parametrize("shared", [False, True])
def test_the_six_images_of_an_example_share_their_looks(nlvr, shared):
    train = nlvr.splits["train"]
    sentence, boxes = np.repeat(train.sentence[:2], 6), train.boxes[:2].reshape(-1, 3)
    batch = nlvr_data.pack_images(nlvr, sentence, boxes, shared=shared)
    assert len(batch.crops) == 6 and batch.box_of_look.shape == (6, 1 if shared else 3) and len(batch.sentences) == 1
    assert nlvr_data.slots(sentence, boxes, shared) == (6, 6, 1)


# Variants


def test_exchanged_colours_are_those_of_the_scene_drawn_with_them(random=np.random.default_rng(5)):
    """Smooth edges included: scenes drawn large and reduced have mixtures of up to three colours."""
    names = list(nlvr_data.COLOURS)
    for exchange, order in enumerate(nlvr_data.EXCHANGES):
        points = random.integers(0, 400, (9, 3, 2))
        drawn = []
        for colours in (names, [names[i] for i in order]):
            image = Image.new("RGB", (400, 400), nlvr_data.BOX_COLOUR)
            draw = ImageDraw.Draw(image)
            for number, corners in enumerate(points):
                draw.polygon([tuple(corner) for corner in corners.tolist()], nlvr_data.COLOURS[colours[number % 3]])
            drawn.append(np.asarray(image.reduce(8)))
        assert len(np.unique(drawn[0].reshape(-1, 3), axis=0)) > 50
        changed = nlvr_data.exchange_colours(drawn[0], exchange)
        assert changed.dtype == np.uint8 and np.abs(changed.astype(int) - drawn[1]).max() <= 3  # rounding, enlarged


@pytest.fixture(scope="module")
def coloured():
    """A table of crops and sentences with all colours, and sides."""
    words = [nlvr_data.UNKNOWN, "black", "blue", "item", "right", "touching", "yellow"]
    sentences = np.array([[3, 4, 2, 4, 0], [7, 4, 6, 5, 0], [4, 6, 7, 7, 3]], np.int32)
    colours = np.array([*nlvr_data.COLOURS.values(), nlvr_data.BOX_COLOUR], np.uint8)
    crops = colours[np.random.default_rng(2).integers(4, size=(5, 50, 50))]
    return nlvr_data.Nlvr(words, sentences, crops, [], [], {}, "")


def test_words_and_boxes_are_exchanged_alike(coloured):
    """The variants of an image say the same: wherever a word's colour was in a box, the new word's colour is."""
    images = 300
    sentence, boxes = np.arange(images) % 3, np.arange(3 * images).reshape(-1, 3) % 5
    variant = nlvr_data.draw_variants(coloured, np.arange(images), sentence, boxes, np.random.default_rng(1))
    words, crops = coloured.take_sentences(variant[0]), coloured.take_crops(variant[1].ravel()).reshape(-1, 3, 50, 50, 3)
    seen = set()
    for row in range(images):
        before, after = coloured.sentences[sentence[row]], words[row]
        exchanged = {coloured.words[a - 1]: coloured.words[b - 1] for a, b in zip(before, after) if a}
        seen.add(tuple(sorted(exchanged.items())))
        for place in range(3):
            old = coloured.crops[boxes[row, place]]
            choices = [crops[row, place]] + [crops[row, place][:, ::-1]] * (5 not in before)
            for a, b in exchanged.items():
                if a in nlvr_data.COLOURS:
                    where = (old == nlvr_data.COLOURS[a]).all(axis=-1)
                    choices = [new for new in choices if ((new == nlvr_data.COLOURS[b]).all(axis=-1) == where).all()]
                else:
                    assert a == b
            assert choices  # mirrored or not, but nowhere mirrored where the sentence speaks of a side
    assert len(seen) == 6 + 3 + 6  # all exchanges, of which the second sentence shows where one colour went


def test_what_is_said_of_the_same_images_has_their_variants(coloured):
    boxes = np.random.default_rng(3).integers(0, 5, (20, 3))
    example, sentence = np.tile(np.arange(20), 2), np.repeat([0, 2], 20)  # neither speaks of a side
    sentence, boxes = nlvr_data.draw_variants(coloured, example, sentence, np.tile(boxes, (2, 1)), np.random.default_rng(4))
    np.testing.assert_array_equal(boxes[:20], boxes[20:])
    np.testing.assert_array_equal(sentence[:20] + 2, sentence[20:])


def test_variants_by_number(coloured):
    crops = np.arange(5)
    mirrored = coloured.take_crops(crops + 5)
    np.testing.assert_array_equal(mirrored[:, :, ::-1], coloured.crops)
    np.testing.assert_array_equal(coloured.take_crops(crops), coloured.crops)
    np.testing.assert_array_equal(coloured.take_sentences(np.arange(3)), coloured.sentences)
    without_blue = dataclasses.replace(coloured, words=[*coloured.words[:2], "box", *coloured.words[3:]])
    for exchange, order in enumerate(nlvr_data.EXCHANGES):
        to = {"yellow": 7, "black": 2, "blue": 1}[list(nlvr_data.COLOURS)[order[0]]]
        assert without_blue.take_sentences(np.array([2 + 3 * exchange]))[0].tolist() == [4, 6, to, to, 3]
