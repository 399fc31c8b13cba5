"""NLVR from files to arrays: sentences, images, what is missing or damaged, splits."""
import io
import json
import os
import shutil
import zlib

import numpy as np
import pytest
from PIL import Image

import data_utils
from data_utils import DataError
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


# Sentences


TRAINING = """There is a box with at least one yellow block and 2 black items touching the wall.
There are exactly three towers with blue blocks of the same color at their base, or a tower of two colors
There is a circle closely touching a corner of a box and a triangle below the square
there is no small item, only squares with an edge""".split("\n") * data_utils.RARE


@pytest.fixture(scope="module")
def clean():
    return data_utils.SentenceCleaner(TRAINING)


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


@pytest.fixture(scope="module")
def clean_as_authors():
    return data_utils.AuthorsCleaner(TRAINING)


@pytest.mark.parametrize("sentence, seen", [
    ("There is a box with 2 yellow items.", "one box with two yellow item"),
    ("There are 3 towers, and a block.", "there are three tower and one block"),
    ("There is abox which contains 1 item that is touching the wall", "one box with one item touching the edge"),
    ("there is a tower that has its base at the corner, not the walls", "one tower with it base at the edge not the edge"),
    ("all boxes contain bricks below a square/triangle", "all box with block beneath one square triangle"),
    ("Are there items containing blocks based on coloured squares?", "there are item containing block base on color square"),
    ("ll the towers have a base", "the tower have one base"),
    ("t least one blue circle has to ll", "at least one blue circle with to ll"),
    ("There is eactly 1 circ;e ,no trianlges..", "exactly one circle no triangle"),
    ("There is", ""),
])
def test_sentences_as_they_come_and_as_the_authors_program_sees_them(clean_as_authors, sentence, seen):
    assert " ".join(clean_as_authors(sentence)) == seen


def test_one_sentence_with_the_singular_is_enough_for_the_authors():
    sentences = ["positions of items", "a position of an item"]
    assert data_utils.AuthorsCleaner(sentences)("positions") == ["position"]
    assert data_utils.SentenceCleaner(sentences)("positions") == ["positions"]


def rewrite(copy, split, sentence):
    """Give the first example of a split another sentence."""
    path = copy / split / f"{split}.json"
    examples = [json.loads(line) for line in path.read_text().splitlines()]
    examples[0]["sentence"] = sentence
    path.write_text("\n".join(map(json.dumps, examples)))


def in_words(nlvr, split):
    """The words of the first example of a split."""
    return [nlvr.words[number - 1] for number in nlvr.sentences[nlvr.splits[split].sentence[0]] if number]


def test_unknown_words_are_dropped_or_have_an_id_of_their_own(corpus, nlvr, copy):
    rewrite(copy, "dev", "There is a rhinoceros, yellow")
    other = small_nlvr.load(copy)
    assert other.words == nlvr.words and data_utils.UNKNOWN not in nlvr.words
    assert in_words(other, "dev") == ["one", "yellow"] and other.fingerprint != nlvr.fingerprint
    before, after = (small_nlvr.load(path, sentences="project") for path in (corpus, str(copy)))
    assert before.words == after.words and after.words[0] == data_utils.UNKNOWN
    assert in_words(after, "dev") == ["there", "is", "a", data_utils.UNKNOWN, "yellow"]


def test_a_rare_word_of_training_is_a_word_by_the_authors_rules_alone(copy):
    rewrite(copy, "train", "There is a rhinoceros")
    assert in_words(small_nlvr.load(copy), "train") == ["one", "rhinoceros"]
    assert in_words(small_nlvr.load(copy, sentences="project"), "train") == ["there", "is", "a", data_utils.UNKNOWN]


@pytest.mark.parametrize("sentences, kept", [("authors", slice(-2, None)), ("project", slice(2))])
def test_long_sentences_are_cut(corpus, sentences, kept):
    whole = small_nlvr.load(corpus, sentences=sentences)
    cut = small_nlvr.load(corpus, mx=2, like={"words": whole.words}, sentences=sentences)
    for row, of_row in zip(cut.sentences, whole.sentences, strict=True):
        assert row.tolist() == [number for number in of_row if number][kept]


def test_padding_is_in_front(nlvr):
    assert (nlvr.sentences[:, -1] > 0).all() and (nlvr.sentences[:, 0] == 0).any()
    assert (np.diff((nlvr.sentences > 0).astype(int), axis=1) >= 0).all()


# Images


@pytest.mark.parametrize("halving", ["nearest", "mean"])
def test_examples_have_their_images_and_labels(corpus, halving):
    nlvr = small_nlvr.load(corpus, halving=halving)
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
                halved = pixels[1::2, 1::2]
                if halving == "mean":
                    halved = (pixels[::2, ::2] + pixels[1::2, ::2] + pixels[::2, 1::2] + halved) / 4
                for place, left in enumerate((0, 75, 150)):
                    crop = nlvr.crops[examples.boxes[row, k, place]]
                    assert np.abs(crop - halved[:, left:left + 50]).max() <= 0.5


def test_each_distinct_box_is_kept_once(nlvr):
    assert len(np.unique(nlvr.crops.reshape(len(nlvr.crops), -1), axis=0)) == len(nlvr.crops)
    for boxes in nlvr.splits["train"].boxes:
        assert len(np.unique(boxes)) == 3  # six orders of three boxes


def test_the_nearest_pixel_is_that_of_pillow(tmp_path, random=np.random.default_rng(6)):
    path = str(tmp_path / "image.png")
    image = Image.fromarray(random.integers(0, 256, (100, 400, 3), np.uint8))
    image.save(path)
    halved = np.asarray(image.resize((200, 50), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(np.concatenate(data_utils.image_boxes(path), axis=1), np.concatenate(
        [halved[:, left:left + 50] for left in (0, 75, 150)], axis=1))


@pytest.mark.parametrize("statistics, axes", [("one", (0, 1)), ("channels", 0)])
def test_mean_and_deviation_are_those_of_the_training_images(corpus, statistics, axes):
    nlvr = small_nlvr.load(corpus, statistics=statistics)
    pixels = nlvr.crops[nlvr.splits["train"].boxes.ravel()].reshape(-1, 3).astype(float)
    np.testing.assert_allclose(nlvr.mean, np.broadcast_to(pixels.mean(axis=axes), 3), atol=1e-3)
    np.testing.assert_allclose(nlvr.deviation, np.broadcast_to(pixels.std(axis=axes), 3), atol=1e-3)
    assert len({*nlvr.mean}) == len({*nlvr.deviation}) == (1 if statistics == "one" else 3)


# Bad input


def refused(path, *says):
    with pytest.raises(DataError) as error:
        small_nlvr.load(path)
    for text in (*says, "get_nlvr.py"):
        assert text in str(error.value)


def png(size=(400, 100), **options):
    content = io.BytesIO()
    Image.new("RGBA", size).save(content, "PNG", **options)
    return content.getvalue()


def flip(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1:]


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
        small_nlvr.load(copy)
    shutil.copy(copy / "dev/images/0/dev-0-1-0.png", copy / "dev/images/1/dev-0-1-0.png")
    with pytest.raises(DataError, match="dev-0-1-0.png: is in folder 1 too"):
        small_nlvr.load(copy)


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
        small_nlvr.load(copy)


def test_the_hidden_split_may_be_missing(copy):
    shutil.rmtree(copy / "hidden")
    assert list(small_nlvr.load(copy).splits) == ["train", "dev", "test"]


# Splits


def test_validation_folders_keep_siblings_together(nlvr):
    train = nlvr.splits["train"]
    training, validation = data_utils.split_folders(train, 1, seed=1)
    assert len(training) == 12 and len(validation) == 4 and len(set(validation.folder)) == 1
    assert not set(training.folder) & set(validation.folder)
    assert sorted(training.identifiers + validation.identifiers) == sorted(train.identifiers)
    with pytest.raises(DataError, match="--validation-folders 4 leaves none of the 4"):
        data_utils.split_folders(train, 4, seed=1)
