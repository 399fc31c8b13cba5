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


@pytest.fixture(scope="module")
def clean_as_authors():
    return nlvr_data.AuthorsCleaner(TRAINING)


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
    assert nlvr_data.AuthorsCleaner(sentences)("positions") == ["position"]
    assert nlvr_data.SentenceCleaner(sentences)("positions") == ["positions"]


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
    other = nlvr_data.load_nlvr(str(copy))
    assert other.words == nlvr.words and nlvr_data.UNKNOWN not in nlvr.words
    assert in_words(other, "dev") == ["one", "yellow"] and other.fingerprint != nlvr.fingerprint
    before, after = (nlvr_data.load_nlvr(path, sentences="project") for path in (corpus, str(copy)))
    assert before.words == after.words and after.words[0] == nlvr_data.UNKNOWN
    assert in_words(after, "dev") == ["there", "is", "a", nlvr_data.UNKNOWN, "yellow"]


def test_a_rare_word_of_training_is_a_word_by_the_authors_rules_alone(copy):
    rewrite(copy, "train", "There is a rhinoceros")
    assert in_words(nlvr_data.load_nlvr(str(copy)), "train") == ["one", "rhinoceros"]
    assert in_words(nlvr_data.load_nlvr(str(copy), sentences="project"), "train") == ["there", "is", "a", nlvr_data.UNKNOWN]


@pytest.mark.parametrize("sentences, kept", [("authors", slice(-2, None)), ("project", slice(2))])
def test_long_sentences_are_cut(corpus, sentences, kept):
    whole = nlvr_data.load_nlvr(corpus, sentences=sentences)
    cut = nlvr_data.load_nlvr(corpus, mx=2, words=whole.words, sentences=sentences)
    for row, of_row in zip(cut.sentences, whole.sentences, strict=True):
        assert row.tolist() == [number for number in of_row if number][kept]


def test_padding_is_in_front(nlvr):
    assert (nlvr.sentences[:, -1] > 0).all() and (nlvr.sentences[:, 0] == 0).any()
    assert (np.diff((nlvr.sentences > 0).astype(int), axis=1) >= 0).all()


# Images


@pytest.mark.parametrize("halving", ["nearest", "mean"])
def test_examples_have_their_images_and_labels(corpus, halving):
    nlvr = nlvr_data.load_nlvr(corpus, halving=halving)
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
    np.testing.assert_array_equal(np.concatenate(nlvr_data.image_boxes(path), axis=1), np.concatenate(
        [halved[:, left:left + 50] for left in (0, 75, 150)], axis=1))


@pytest.mark.parametrize("statistics, axes", [("one", (0, 1)), ("channels", 0)])
def test_mean_and_deviation_are_those_of_the_training_images(corpus, statistics, axes):
    nlvr = nlvr_data.load_nlvr(corpus, statistics=statistics)
    pixels = nlvr.crops[nlvr.splits["train"].boxes.ravel()].reshape(-1, 3).astype(float)
    np.testing.assert_allclose(nlvr.mean, np.broadcast_to(pixels.mean(axis=axes), 3), atol=1e-3)
    np.testing.assert_allclose(nlvr.deviation, np.broadcast_to(pixels.std(axis=axes), 3), atol=1e-3)
    assert len({*nlvr.mean}) == len({*nlvr.deviation}) == (1 if statistics == "one" else 3)


def test_the_real_corpus_as_unpacked(real_nlvr):
    names = nlvr_data.find_images(real_nlvr, "dev", nlvr_data.read_examples(os.path.join(real_nlvr, "dev", "dev.json")))
    for halving, distinct in ("nearest", 1129), ("mean", 1302):
        crops, boxes = nlvr_data.decode_images(real_nlvr, names, halving)
        assert boxes.shape == (5934, 3) and crops.shape == (distinct, 50, 50, 3)


# The file of decoded images


def without_decoding(monkeypatch):
    monkeypatch.setattr(nlvr_data, "decode_images", lambda *_: pytest.fail("the images were decoded again"))


def test_later_runs_decode_nothing(corpus, nlvr, monkeypatch):
    without_decoding(monkeypatch)
    again = nlvr_data.load_nlvr(corpus)
    assert again.fingerprint == nlvr.fingerprint
    np.testing.assert_array_equal(again.crops, nlvr.crops)


def test_each_halving_has_a_file_of_its_own(copy, capsys):
    crops = {halving: nlvr_data.load_nlvr(str(copy), halving=halving).crops for halving in ("nearest", "mean")}
    assert os.path.exists(f"{copy}.crops.h5") and os.path.exists(f"{copy}.crops-mean.h5")
    for halving, of_halving in crops.items():
        np.testing.assert_array_equal(nlvr_data.load_nlvr(str(copy), halving=halving).crops, of_halving)
    assert not capsys.readouterr().out and (crops["nearest"][0] != crops["mean"][0]).any()


def test_a_cache_of_the_other_halving_or_an_earlier_version_is_noticed(copy, tmp_path, capsys):
    cache = str(tmp_path / "crops.h5")
    expected = {halving: nlvr_data.load_nlvr(str(copy), halving=halving).crops for halving in ("nearest", "mean")}
    nlvr_data.load_nlvr(str(copy), cache=cache)
    for halving, other in ("mean", "nearest"), ("nearest", "mean"):
        np.testing.assert_array_equal(nlvr_data.load_nlvr(str(copy), cache=cache, halving=halving).crops, expected[halving])
        assert capsys.readouterr().out == (
            f"{cache}: made with --halving {other}, not {halving}; the images are decoded again\n")
    with h5py.File(cache, "a") as file:  # as it was before there was a choice
        del file.attrs["halving"]
        file.attrs["format"] = 1
    np.testing.assert_array_equal(nlvr_data.load_nlvr(str(copy), cache=cache).crops, expected["nearest"])
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


def test_a_colour_that_training_does_not_name_is_dropped(coloured):
    """Where there is no number for unknown words either; what is before it moves up."""
    words = ["item", "yellow", "black"]
    sentences = np.array([[0, 3, 1, 2], [1, 2, 3, 3]], np.int32)
    nlvr = dataclasses.replace(coloured, words=words, sentences=sentences)
    for exchange, order in enumerate(nlvr_data.EXCHANGES):
        named = dict(zip(nlvr_data.COLOURS, (list(nlvr_data.COLOURS)[i] for i in order)))
        for row, taken in zip(sentences, nlvr.take_sentences(np.array([0, 1]) + 2 * exchange)):
            new = [named.get(words[number - 1], words[number - 1]) for number in row if number]
            new = [words.index(word) + 1 for word in new if word != "blue"]
            assert taken.tolist() == [0] * (4 - len(new)) + new
