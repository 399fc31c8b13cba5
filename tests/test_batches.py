"""Batches of stories: facts end to end, each sentence once, slots for what is absent."""
import numpy as np
import pytest

import data_utils
from helpers import small_babi
from training import batches
from training.babi_extensions import whole_sentences


@pytest.fixture
def small(tmp_path):
    return small_babi.write_tasks(tmp_path)


def test_packing_lays_every_fact_in_a_slot_and_each_sentence_once(small):
    babi = data_utils.load_babi(small, [1, 2], mx=4, padding="masked")
    rows = np.array([3, 0, 399, 17])
    batch = batches.pack_stories(babi, babi.train, rows, [batches.Slots(4, 4, 4), batches.Slots(32, 16, 8)])
    assert batch.story_of_fact.shape == (32,) and batch.sentences.shape == (16, babi.usual_length)
    assert batch.beginnings.shape == (8, babi.sentences.shape[1] - babi.usual_length)
    sentences = np.array(whole_sentences(batch.beginnings, batch.sentences))
    for row, question in enumerate(rows):
        slots = np.flatnonzero(batch.story_of_fact == row)
        facts = babi.train.facts[question][babi.train.facts[question] > 0]
        np.testing.assert_array_equal(sentences[batch.sentence_of_fact[slots]], babi.sentences[facts])
        np.testing.assert_array_equal(batch.time_of_fact[slots], len(babi.words) + 1 + np.arange(len(facts)))
        np.testing.assert_array_equal(batch.question[row], babi.questions[babi.train.question[question]])
    used = batch.story_of_fact >= 0
    assert set(batch.story_of_fact[~used]) == {-1} and set(batch.time_of_fact[~used]) == {0}
    distinct = {tuple(sentence) for sentence in sentences if sentence.any()}
    assert len(distinct) == np.count_nonzero(sentences.any(axis=1))


def test_the_beginnings_of_the_few_longer_sentences_stand_apart(small):
    babi = data_utils.load_babi(small, [1, 2], mx=4)
    in_front = np.zeros((len(babi.sentences), 2), np.int32)
    in_front[-1] = 2, 3
    babi.sentences = np.concatenate([in_front, babi.sentences], axis=1)
    assert babi.usual_length == babi.sentences.shape[1] - 2
    rows = np.flatnonzero((babi.train.facts == len(in_front) - 1).any(axis=1))[:9]
    for sizes in None, [batches.Slots(64, 48, 8)]:
        batch = batches.pack_stories(babi, babi.train, rows, sizes)
        longer = [words for words in in_front[np.unique(babi.train.facts[rows])].tolist() if any(words)]
        assert longer and batch.beginnings[:len(longer)].tolist() == longer and not batch.beginnings[len(longer):].any()
        sentences = np.array(whole_sentences(batch.beginnings, batch.sentences))
        for row, question in enumerate(rows):
            slots = np.flatnonzero((batch.story_of_fact == row) & (batch.time_of_fact > 0))
            facts = babi.train.facts[question][babi.train.facts[question] > 0]
            np.testing.assert_array_equal(sentences[batch.sentence_of_fact[slots]], babi.sentences[facts])


def test_any_batch_fits_a_size(small):
    babi = data_utils.load_babi(small, [1, 2], mx=9, padding="masked")
    sizes = batches.slot_sizes(babi, babi.train, 8)
    assert sizes == sorted(sizes) and sizes[-1] == batches.Slots(80, 80, 80)
    longest = np.argsort(-np.count_nonzero(babi.train.facts, axis=1))[:8]
    batches.pack_stories(babi, babi.train, longest, sizes)


def test_sizes_follow_the_mixture_that_batches_are_drawn_from(real_babi):
    babi = data_utils.load_babi(real_babi, [1, 3], mx=30, padding="masked")
    random, usual = np.random.default_rng(1), {}
    for task in 1, 3:
        rows = np.flatnonzero(babi.train.task == task)
        sizes = batches.slot_sizes(babi, babi.train, 32, rows=rows)
        usual[task] = sizes[0]
        most = 32 * 30
        assert sizes[-1] == batches.Slots(most, most, most + 16)
        drawn = [random.choice(rows, 32) for _ in range(100)]
        facts = [np.count_nonzero(babi.train.facts[batch]) for batch in drawn]
        sentences = [len(np.unique(babi.train.facts[batch])) for batch in drawn]
        for slots, used in (sizes[0].facts, facts), (sizes[0].sentences, sentences):
            assert np.mean(np.array(used) <= slots) > 0.8 and slots < 1.5 * np.mean(used)
            octave = 2 ** int(np.log2(slots))
            # A quarter of an octave, but never more than there can be: most stories of task 3 are full.
            assert 4 * slots % octave == 0 or slots % 16 == 0 and octave < 64 or slots == most
    assert usual[3].facts >= 4 * usual[1].facts  # 27 facts a question on average for 6


def test_absent_words_and_facts_are_read_as_the_authors_pad_them(small):
    """Words on the left, masked or not; and a slot of an empty sentence that counts for all absent facts of a story."""
    babi, masked = (data_utils.load_babi(small, [1, 2], mx=4, padding=padding) for padding in ("read", "masked"))
    for table, other in ((babi.sentences, masked.sentences), (babi.questions, masked.questions)):
        np.testing.assert_array_equal(table, other)
        for words in table:
            real = np.count_nonzero(words)
            assert not words[:len(words) - real].any() and (words[len(words) - real:] > 0).all()
    rows = np.arange(20)
    number = np.count_nonzero(babi.train.facts[rows], axis=1)
    assert 2 in number and 4 in number
    batch = batches.pack_stories(babi, babi.train, rows, [batches.Slots(96, 48, 16)])
    for row in rows:
        slots = np.flatnonzero(batch.story_of_fact == row)
        assert batch.count_of_fact[slots].tolist() == [1] * number[row] + [4 - number[row]] * int(number[row] < 4)
        absent = slots[number[row]:]
        assert not batch.time_of_fact[absent].any() and not batch.sentences[batch.sentence_of_fact[absent]].any()
        assert (batch.time_of_fact[slots[:number[row]]] > 0).all()
    assert batch.count_of_fact.sum() == 4 * len(rows)
    same = batches.pack_stories(masked, masked.train, rows)
    assert (same.count_of_fact == 1).all() and len(same.story_of_fact) == number.sum()
    largest = batches.slot_sizes(babi, babi.train, 8, pairs=True)[-1]
    assert largest == batches.Slots(32, 32, 48, 8 * 16)


def test_without_sizes_a_batch_has_just_the_slots_it_uses(small):
    babi = data_utils.load_babi(small, [1, 2], mx=4, padding="masked")
    batch = batches.pack_stories(babi, babi.train, np.array([3, 0, 17]))
    assert len(batch.story_of_fact) == np.count_nonzero(babi.train.facts[[3, 0, 17]])
    assert (batch.story_of_fact >= 0).all() and batch.sentences.any(axis=1).all()


def test_pairs_of_a_batch_are_those_of_a_double_loop(small):
    babi = data_utils.load_babi(small, [1, 2], mx=9, padding="masked")
    rows = np.arange(0, 400, 25)
    sizes = batches.slot_sizes(babi, babi.train, 16, pairs=True)
    assert sizes[-1] == batches.Slots(144, 144, 160, 16 * 81)
    for batch in (batches.pack_stories(babi, babi.train, rows, sizes, pairs=True),
                  batches.pack_stories(babi, babi.train, rows, pairs=True)):
        story = batch.story_of_fact
        expected = [(i, j) for i in range(len(story)) for j in range(len(story)) if story[i] == story[j] >= 0]
        used = batch.first_of_pair >= 0
        assert list(zip(batch.first_of_pair[used], batch.second_of_pair[used])) == expected
        assert set(batch.first_of_pair[~used]) <= {-1} and set(batch.second_of_pair[~used]) <= {-1}
