"""Batches of NLVR images: what they hold, and in which order."""
import numpy as np
import pytest

from helpers import small_nlvr
from training import nlvr_extensions, simulate_nlvr
from training.batches import ImageBatches, pack_images, slots


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_nlvr.write_corpus(tmp_path_factory.mktemp("nlvr") / "corpus")


@pytest.fixture(scope="module")
def nlvr(corpus):
    return small_nlvr.load(corpus)


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
    batch = pack_images(nlvr, sentence, boxes, sizes, shared)
    for (crops, words), row, of_image in zip(unpacked(batch), boxes, sentence, strict=True):
        np.testing.assert_array_equal(crops, nlvr.crops[row])
        np.testing.assert_array_equal(words, nlvr.sentences[of_image])
    if sizes:
        assert (*batch.box_of_look.shape, len(batch.crops), len(batch.sentences)) == (90, 1 if shared else 3, 90, 30)


@pytest.mark.parametrize("shared", [False, True])
def test_the_six_images_of_an_example_share_their_looks(nlvr, shared):
    train = nlvr.splits["train"]
    sentence, boxes = np.repeat(train.sentence[:2], 6), train.boxes[:2].reshape(-1, 3)
    batch = pack_images(nlvr, sentence, boxes, shared=shared)
    assert len(batch.crops) == 6 and batch.box_of_look.shape == (6, 1 if shared else 3) and len(batch.sentences) == 1
    assert slots(sentence, boxes, shared) == (6, 6, 1)


@pytest.mark.parametrize("by", ["examples", "images"])
def test_an_epoch_has_every_image_once_in_an_order_of_its_own(nlvr, by):
    batches = ImageBatches(nlvr, nlvr.splits["train"], 64, by, [1])
    assert batches.batch_size == (66 if by == "examples" else 64)
    orders = []
    for epoch in (0, 1):
        batches.set_epoch(epoch)
        assert sorted(batches.order) == list(range(480)) and sum(len(batches[i][1]) for i in range(len(batches))) == 480
        orders.append(batches.order.copy())
        together = (batches.order.reshape(-1, 6) // 6 == batches.order[::6, None] // 6).all()
        assert together == (by == "examples")
    assert (orders[0] != orders[1]).any()
    batches.set_epoch(0)
    np.testing.assert_array_equal(batches.order, orders[0])


def of_batches(batches):
    """Everything that the batches of an epoch hold."""
    return [[*batch, label] for batch, label in (batches[i] for i in range(len(batches)))]


def test_an_epoch_of_one_image_an_example_and_of_all_that_is_said_of_it(corpus):
    nlvr = small_nlvr.load(corpus)

    def as_they_are():
        return of_batches(ImageBatches(nlvr, nlvr.splits["train"], 48, order_seed=[1]))

    plain = as_they_are()
    examples = nlvr.splits["train"].join(simulate_nlvr.simulate(nlvr, nlvr.splits["train"], 2, seed=1))
    batches = ImageBatches(nlvr, examples, 24, "examples", [1], shared=True, images=1, sentences=3,
                           variants=nlvr_extensions.Variants(nlvr))
    assert batches.total == 240 and batches.batch_size == 24 and len(batches) == 10
    epochs = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        assert sorted(batches.order // 6) == list(range(240))
        assert (batches.order.reshape(-1, 3) // 6 % 80 == batches.order[::3, None] // 6 % 80).all()
        # What is said of a box sees one variant.
        assert max(len(np.unique(of_batch[4], axis=0)) for of_batch in of_batches(batches)) <= 8 * 3
        epochs.append(of_batches(batches))
    for before, other, again in zip(*epochs):
        for a, c in zip(before, again, strict=True):
            np.testing.assert_array_equal(a, c)
        assert (before[4].shape != other[4].shape) or (before[4] != other[4]).any()
    drawn = ImageBatches(nlvr, examples, 16, "examples", [1], shared=True, images=1, sentences=3, others=1)
    assert drawn.total == 160 and drawn.batch_size == 16 and len(drawn) == 10
    parts = []
    for epoch in (0, 1, 0):
        drawn.set_epoch(epoch)
        part, example = np.divmod(drawn.order.reshape(-1, 2) // 6, 80)
        assert sorted(example[:, 0]) == list(range(80)) and (example[:, 0] == example[:, 1]).all()
        assert (part[:, 0] == 0).all() and set(part[:, 1]) == {1, 2}
        parts.append(part[np.argsort(example[:, 0]), 1])
    assert 20 < np.sum(parts[0] != parts[1]) < 60 and (parts[0] == parts[2]).all()
    # Of four parts the last two come first, alone.
    first = ImageBatches(nlvr, examples.join(examples.take(range(80))), 16, "examples", [1], shared=True, images=1,
                         sentences=2, others=1, first_epochs=2)
    assert first.total == 160
    for epoch, expected in enumerate(([2, 3], [2, 3], [0, 1])):
        first.set_epoch(epoch)
        part, example = np.divmod(first.order.reshape(-1, 2) // 6, 80)
        assert (part == expected).all() and sorted(example[:, 0]) == list(range(80))
    for of_plain, now in zip(plain, as_they_are(), strict=True):
        for a, b in zip(of_plain, now, strict=True):
            np.testing.assert_array_equal(a, b)
