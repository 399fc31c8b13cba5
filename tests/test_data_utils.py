"""Parsing of bAbI, from text to arrays; on small made-up files, and on the real data where it is."""
import hashlib
import io
import os
import re
import shutil
import tarfile
import unicodedata

import numpy as np
import pytest

import data_utils
from data import simulate_babi
from helpers import small_babi

TEXT = """1 Mary moved to the bathroom.
2 Sandra journeyed to the bedroom.
3 Where is Mary? \tbathroom\t1
4 Mary got the football there.
5 What is Mary carrying? \tfootball,milk\t4 1
1 The office is north of the kitchen.
2 What is north of the kitchen?\toffice\t1
"""


def test_parse_task_gives_facts_question_answer_and_supporting_facts():
    first, second, third = data_utils.parse_task(TEXT, "qa.txt")
    facts = ("Mary moved to the bathroom.", "Sandra journeyed to the bedroom.")
    assert first == (facts, "Where is Mary?", "bathroom", (0,), 0)
    assert second == ((*facts, "Mary got the football there."), "What is Mary carrying?", "football,milk", (2, 0), 0)
    assert third == (("The office is north of the kitchen.",), "What is north of the kitchen?", "office", (0,), 1)


def test_windows_line_ends_and_a_missing_last_one_change_nothing():
    expected = data_utils.parse_task(TEXT, "qa.txt")
    assert data_utils.parse_task(TEXT.replace("\n", "\r\n"), "qa.txt") == expected
    assert data_utils.parse_task(TEXT.replace("\n", "\r"), "qa.txt") == expected
    assert data_utils.parse_task(TEXT.rstrip("\n"), "qa.txt") == expected


def test_supporting_facts_may_be_missing():
    text = TEXT.replace("\t1\n", "\n").replace("\t4 1\n", "\n").replace("bathroom\n", "rasoi ghar\n")
    assert [(item.answer, item.supporting) for item in data_utils.parse_task(text, "qa.txt")] == [
        ("rasoi ghar", ()), ("football,milk", ()), ("office", ())]
    (item,) = data_utils.parse_task("1 Mary is in room 1.\n2 Where is Mary?\troom 1\n", "qa.txt")
    assert item.answer == "room 1"  # in a file without IDs of supporting facts this is no ID
    (item,) = data_utils.parse_task("1 Mary rasoi ghar mein gayi.\n2 Mary kahan hai\trasoi ghar\t1\n", "qa.txt")
    assert item[1:] == ("Mary kahan hai", "rasoi ghar", (0,), 0)  # the IDs tell that it is a question
    (item,) = data_utils.parse_task('1 Mary left.\n2 Did Mary say "where?"\tno\n', "qa.txt")
    assert item[1:] == ('Did Mary say "where?"', "no", (), 0)


@pytest.mark.parametrize("line, reason", [
    ("Mary moved to the bathroom.", "expected 'ID sentence'"),
    ("3", "expected 'ID sentence'"),
    ("3" * 5000 + " Mary moved on.", "expected 'ID sentence'"),
    ("7 Mary moved on.", "ID 7 follows ID 2"),
    ("3 Where is Mary?", "no answer"),
    ("3 Where is Mary? \t\t1", "no answer"),
    ("3 Where is Mary? \tbathroom\tone", "not IDs of facts above"),
    ("3 Where is Mary? \tbathroom\t3", "not IDs of facts above"),
    ("3 Where is Mary? \tbathroom\t" + "1" * 5000, "not IDs of facts above"),
    ("3 Where is Mary?        bathroom  1", "tabs are missing or became spaces"),
    ("3 Where is Mary? bathroom 1", "tabs are missing or became spaces"),
    ("3 Where is Mary? bathroom", "tabs are missing or became spaces"),
    ("3 Where is Mary?\\tbathroom\\t1", "tabs are missing or became spaces"),
    ("3 मेरी कहाँ है？ रसोई 1", "tabs are missing or became spaces"),
    ("3 Mary kahan hai      rasoi ghar  1", "tabs are missing or became spaces"),
    ("3 Where is Mary? bathroom\t1", "tabs are missing or became spaces"),
    ("3 Where is\tMary?\t1", "tabs are missing or became spaces"),
    ("3 Where is Mary bathroom\t1", "ends without a question mark"),
    ("3 Mary moved\tto the bathroom.", "ends without a question mark"),
    ("3 Where is Mary?\tbathroom  1", "ends with the ID of a fact"),
    ("3 Where is Mary?\tbathroom 1", "ends with the ID of a fact"),
    ("3 Where is Mary?\t1", "ends with the ID of a fact"),
    ("3 Where is Mary?\tbathroom 1\t", "ends with the ID of a fact"),
])
def test_malformed_lines_are_named(line, reason):
    lines = TEXT.split("\n")
    lines[2] = line
    with pytest.raises(data_utils.DataError, match=rf"^qa.txt, line 3: .*{reason}"):
        data_utils.parse_task("\n".join(lines), "qa.txt")


def test_tokenize_keeps_words_alone():
    assert data_utils.tokenize("Where will Sumit go?") == ["where", "will", "sumit", "go"]
    assert data_utils.tokenize(" This afternoon, Bill went. ") == ["this", "afternoon", "bill", "went"]


@pytest.mark.parametrize("sentence, words", [
    ("की का", ["की", "का"]),
    ("मैरी रसोई में गयी।", ["मैरी", "रसोई", "में", "गयी"]),
    ("Cafe\u0301 Ökonom", ["caf\u00e9", "ökonom"]),  # composed
    ("நான் வீட்டிற்கு போனேன்.", ["நான்", "வீட்டிற்கு", "போனேன்"]),
    ("ذَهَبَ إِلَى البَيْتِ؟", ["ذَهَبَ", "إِلَى", "البَيْتِ"]),
    ("می\u200cروم \u200cx\u200d ❤\ufe0f", ["می\u200cروم", "x"]),  # marks without a letter are no words
    ("去厨房 了", ["去厨房", "了"]),
])
def test_tokenize_keeps_the_marks_of_a_word(sentence, words):
    assert data_utils.tokenize(sentence) == [unicodedata.normalize("NFC", word) for word in words]


def test_equal_words_and_answers_in_other_encodings_are_the_same(small):
    path = os.path.join(small, "tasks_1-20_v1-2", "en-10k", "qa1_single-supporting-fact_test.txt")
    before = data_utils.load_babi(small, [1])
    with open(path, "a", encoding="utf-8") as file:
        for form in ("NFC", "NFD"):
            file.write(unicodedata.normalize(form, "1 मेरी फ़ोन के पास café में है।\n2 मेरी कहाँ है? \tcafé\t1\n"))
    babi = data_utils.load_babi(small, [1])
    assert set(babi.answers) - set(before.answers) == {"caf\u00e9"}
    assert len(babi.words) - len(before.words) == 8
    assert len(set(babi.test.facts[-2:, 0])) == len(set(babi.test.question[-2:])) == 1
    with pytest.raises(data_utils.DataError, match="line 152: the answer 'café' is unknown"):
        data_utils.load_babi(small, [1], like={"answers": before.answers})


def test_blob_hash_is_that_of_git():
    assert data_utils.blob_hash(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.fixture
def small(tmp_path):
    return small_babi.write_tasks(tmp_path)


def test_arrays_say_what_the_files_say(small):
    babi = data_utils.load_babi(small, [1, 2], mx=3)
    assert babi.words == sorted({"mary", "john", "daniel", "went", "to", "the", "where", "is", *small_babi.PLACES})
    assert babi.answers == sorted(small_babi.PLACES)
    assert babi.train.facts.shape == (400, 3) and babi.test.facts.shape == (100, 3)
    name, text = babi.files.texts[2, "test"]
    assert name == "en-10k/qa2_two-supporting-facts_test.txt"
    words = ["", *babi.words]
    for row, item in enumerate(data_utils.parse_task(text, name), start=50):
        newest_first = [babi.sentences[number] for number in babi.test.facts[row] if number]
        assert [[words[w] for w in sentence if w] for sentence in newest_first] == [
            data_utils.tokenize(fact) for fact in item.facts[::-1][:3]]
        assert [words[w] for w in babi.questions[babi.test.question[row]] if w] == data_utils.tokenize(item.question)
        assert babi.answers[babi.test.answer[row]] == item.answer
        assert babi.test.task[row] == 2


def test_words_and_answers_of_an_earlier_run_keep_their_numbers(small):
    babi = data_utils.load_babi(small, [1])
    again = data_utils.load_babi(small, [1], like={"words": ["unused", *babi.words], "answers": babi.answers})
    np.testing.assert_array_equal(again.sentences[1:, 0], babi.sentences[1:, 0] + 1)
    with pytest.raises(data_utils.DataError, match=r"train.txt, line \d+: the word 'mary' is unknown"):
        data_utils.load_babi(small, [1], like={"words": [word for word in babi.words if word != "mary"]})
    with pytest.raises(data_utils.DataError, match=r"train.txt, line \d+: the answer 'garden' is unknown"):
        data_utils.load_babi(small, [1], like={"answers": [answer for answer in babi.answers if answer != "garden"]})


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return str(path)


def release_members(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                yield os.path.relpath(os.path.join(place, name), folder), file.read()


def test_folder_archive_and_variant_are_read_alike(small, tmp_path):
    members = list(release_members(small))
    packed = archive(tmp_path / "babi.tar.gz", members + [(n.replace("en-10k", "en"), c) for n, c in members])
    expected = data_utils.read_tasks(small, [1, 2]).fingerprint()
    for path in (packed, packed + "/en-10k", small + "/", os.path.join(small, "tasks_1-20_v1-2"),
                 os.path.join(small, "tasks_1-20_v1-2", "en-10k")):
        assert data_utils.read_tasks(path, [1, 2]).fingerprint() == expected
    one_k = data_utils.read_tasks(packed + "/en", [1, 2])
    assert sorted(one_k.hashes)[0] == "en/qa1_single-supporting-fact_test.txt"


def test_reading_an_archive_writes_nothing(small, tmp_path):
    members = [("../" * i + "tasks_1-20_v1-2/en-10k/" + os.path.basename(name), content)
               for i, (name, content) in enumerate(release_members(small))]
    packed = archive(tmp_path / "babi.tar.gz", [("/etc/escaped.txt", b"x"), ("../escaped.txt", b"x"), *members])
    before = sorted(tmp_path.rglob("*"))
    data_utils.read_tasks(packed, [1, 2])
    assert sorted(tmp_path.rglob("*")) == before
    assert not os.path.exists("/etc/escaped.txt") and not os.path.exists(tmp_path.parent / "escaped.txt")


def test_a_variant_that_is_not_there_is_not_another(small, tmp_path):
    shutil.copytree(os.path.join(small, "tasks_1-20_v1-2", "en-10k"), tmp_path / "files")
    assert len(data_utils.read_tasks(str(tmp_path / "files"), [1, 2]).hashes) == 4
    with pytest.raises(data_utils.DataError, match="4 of 4 task files are missing"):
        data_utils.read_tasks(str(tmp_path / "files" / "en"), [1, 2])


def with_other_folders(small):
    """Add folders with the names of the release's other ones to small files, of which they are copies."""
    release = os.path.join(small, "tasks_1-20_v1-2")
    for variant in data_utils.VARIANTS[1:]:
        os.mkdir(os.path.join(release, variant))
        for name, (task, split) in data_utils.task_files(variant, [1, 2]).items():
            source = f"qa{task}_{data_utils.TASKS[task - 1]}_{'train' if split == 'train' else 'test'}.txt"
            shutil.copy(os.path.join(release, "en-10k", source), os.path.join(release, variant, name))
    return release


def test_the_other_folders_of_the_release_are_read(small, tmp_path):
    release = with_other_folders(small)
    packed = archive(tmp_path / "babi.tar.gz", release_members(small))
    for variant in data_utils.VARIANTS:
        files = data_utils.read_tasks(f"{small}/{variant}", [1, 2])
        assert files.variant == variant and len(files.texts) == (6 if "valid" in variant else 4)
        assert files.compared() == (variant in ("en", "en-10k"))
        for path in (f"{packed}/{variant}", f"{release}/{variant}"):
            assert data_utils.read_tasks(path, [1, 2]).fingerprint() == files.fingerprint()
    os.rename(os.path.join(release, "en-valid"), tmp_path / "mine")
    assert (1, "valid") in data_utils.read_tasks(str(tmp_path / "mine"), [1, 2]).texts
    os.remove(os.path.join(release, "en-valid-10k", "qa2_valid.txt"))
    with pytest.raises(data_utils.DataError, match="1 of 6 task files are missing, the first qa2_valid.txt"):
        data_utils.read_tasks(f"{small}/en-valid-10k", [1, 2])


def test_validation_files_take_the_place_of_a_share_of_the_training_files(small):
    with_other_folders(small)
    plain, babi = data_utils.load_babi(small, [1, 2]), data_utils.load_babi(f"{small}/en-valid", [1, 2])
    assert plain.validation is None
    training, validation = data_utils.split_validation(babi, 5)
    assert training is babi.train and validation is babi.validation and len(training) == 400
    for field in ("facts", "question", "answer", "task", "supporting"):
        np.testing.assert_array_equal(getattr(validation, field), getattr(babi.test, field))
    assert data_utils.split_validation(babi, 5, "story")[1] is babi.validation


def test_extra_questions_and_other_names_are_in_english(small):
    with_other_folders(small)
    extra = {1: TEXT}
    assert len(data_utils.load_babi(f"{small}/en-valid", [1], extra_train=extra).extra) == 3
    for variant in ("hn", "shuffled-10k"):
        for options, name in (({"extra_train": extra}, "extra-simulated"), ({"systematic": True}, "systematic"),
                              ({"names": {"mary"}}, "rename-across-tasks")):
            with pytest.raises(data_utils.DataError, match=f"{variant} is not in English; leave --{name} out"):
                data_utils.load_babi(f"{small}/{variant}", [1], **options)


def sys_babi(task, text):
    """The text of a test file with the names of sys-bAbI, word by word, by the two one-way lists of its program."""
    names = {"Daniel": "Bill", "John": "Fred", "Sandra": "Julie"}
    if task in (5, 10, 14):
        names = {new: old for old, new in names.items()}
    elif task not in (1, 2, 3, 6, 7, 8, 9, 11, 12, 13):
        names = {}
    return "".join(names.get(word, word) for word in re.split(r"([A-Za-z]+)", text))


def test_exchanged_names_are_those_of_sys_babi():
    for task in range(1, 21):
        text = simulate_babi.simulate_task(task, 200, 1, "test")
        exchanged = data_utils.exchange_names(task, text)
        assert exchanged == sys_babi(task, text)
        assert (exchanged != text) == (task not in (4, *range(15, 21)))
        assert data_utils.exchange_names(task, exchanged) == text


def test_exchanged_names_are_those_of_sys_babi_in_the_released_files(real_babi):
    for (task, split), (_, text) in data_utils.read_tasks(real_babi).texts.items():
        if split == "test":
            assert data_utils.exchange_names(task, text) == sys_babi(task, text)


def test_names_are_exchanged_as_whole_words_with_a_capital_where_there_was_one():
    text = "1 Johnson gave john the billboard.\n2 Who received it?\tJohn,bill\t1\n"
    assert data_utils.exchange_names(5, text) == "1 Johnson gave fred the billboard.\n2 Who received it?\tFred,daniel\t1\n"
    assert data_utils.exchange_names(15, text) == text


@pytest.fixture
def simulated_givers(tmp_path):
    """Simulated files of tasks 1 and 5, which have no person in common but Mary."""
    for task in 1, 5:
        for split in "train", "test":
            path = tmp_path / simulate_babi.file_name(task, split)
            path.write_text(simulate_babi.simulate_task(task, 200, 1, split), encoding="utf-8")
    return str(tmp_path)


def test_questions_with_exchanged_names_stand_beside_those_of_the_files(simulated_givers):
    """The latter, the words and the answers are as without; an answer without a class is -1."""
    like = data_utils.load_babi(simulated_givers, [1, 5])
    record = {"words": sorted({*like.words, "julie"}), "answers": like.answers}
    plain = data_utils.load_babi(simulated_givers, [1, 5], like=record)
    babi = data_utils.load_babi(simulated_givers, [1, 5], like=record, systematic=True)
    assert plain.systematic is None and (babi.words, babi.answers) == (plain.words, plain.answers)
    np.testing.assert_array_equal(babi.sentences[:len(plain.sentences)], plain.sentences)
    np.testing.assert_array_equal(babi.questions[:len(plain.questions)], plain.questions)
    for field in ("facts", "question", "answer", "task", "supporting"):
        for split in "train", "test":
            np.testing.assert_array_equal(getattr(getattr(babi, split), field), getattr(getattr(plain, split), field))
    words, stories, row = ["", *babi.words], babi.systematic, 0
    for task in 1, 5:
        name, text = babi.files.texts[task, "test"]
        for item in data_utils.parse_task(sys_babi(task, text), name):
            facts = [[words[w] for w in babi.sentences[number] if w] for number in stories.facts[row] if number]
            assert facts == [data_utils.tokenize(fact) for fact in item.facts[::-1][:30]]
            assert [words[w] for w in babi.questions[stories.question[row]] if w] == data_utils.tokenize(item.question)
            number = stories.answer[row]
            assert babi.answers[number] == item.answer if number >= 0 else item.answer in ("Daniel", "John")
            row += 1
    assert row == len(stories) == 400 and 0 < np.sum(stories.answer < 0) < 200
    np.testing.assert_array_equal(stories.supporting, babi.test.supporting)


def test_names_of_other_tasks_are_words_and_where_one_is_an_answer_answers(simulated_givers, small):
    names = {"bill", "fred", "jeff", "mary", "daniel", "julie"}
    plain, babi = (data_utils.load_babi(simulated_givers, [5], names=some) for some in ((), names))
    assert babi.answers == sorted([*plain.answers, "Daniel", "Julie"])
    assert babi.words == sorted([*plain.words, "daniel", "julie"])
    plain, babi = (data_utils.load_babi(small, [1], names=some) for some in ((), names))
    assert babi.answers == plain.answers and set(babi.words) - set(plain.words) == names - {"mary", "daniel"}
    record = {"words": babi.words, "answers": babi.answers}
    assert data_utils.load_babi(small, [1], like=record, names={"sandra"}).words == babi.words


def test_unreadable_data_is_named(small, tmp_path):
    packed = archive(tmp_path / "babi.tar.gz", release_members(small))
    with open(packed, "rb") as file:
        content = file.read()
    (tmp_path / "short.tar.gz").write_bytes(content[:len(content) // 2])
    (tmp_path / "text.tar.gz").write_text("not an archive")
    (tmp_path / "empty").mkdir()
    for name, reason in (("short.tar.gz", "cannot be read"), ("text.tar.gz", "cannot be read"),
                         ("empty", "4 of 4 task files are missing"), ("nowhere", "no such file or folder")):
        with pytest.raises(data_utils.DataError, match=reason) as caught:
            data_utils.read_tasks(str(tmp_path / name), [1, 2])
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(data_utils.DataError, match="2 of 6 task files are missing, the first qa3_"):
        data_utils.read_tasks(packed, [1, 2, 3])
    path = os.path.join(small, "tasks_1-20_v1-2", "en-10k", "qa1_single-supporting-fact_test.txt")
    with open(path, "ab") as file:
        file.write(b"1 caf\xe9\n")
    with pytest.raises(data_utils.DataError, match=r"qa1_single-supporting-fact_test.txt, line 151: not UTF-8"):
        data_utils.read_tasks(small, [1])


def test_a_folder_of_any_name_holds_the_same_data(small, tmp_path):
    expected = data_utils.read_tasks(small, [1, 2])
    os.rename(os.path.join(small, "tasks_1-20_v1-2", "en-10k"), tmp_path / "mine")
    moved = data_utils.read_tasks(str(tmp_path / "mine"), [1, 2])
    assert (moved.hashes, moved.fingerprint()) == (expected.hashes, expected.fingerprint())


def test_an_unknown_answer_is_found_where_it_is_an_answer(small):
    path = os.path.join(small, "tasks_1-20_v1-2", "en-10k", "qa2_two-supporting-facts_test.txt")
    answers = data_utils.load_babi(small, [1, 2]).answers
    with open(path, "a", encoding="utf-8") as file:
        file.write("1 Mary went to the garden.\n2 Where is Mary? \twent\t1\n")
    with pytest.raises(data_utils.DataError, match="qa2_two-supporting-facts_test.txt, line 152: the answer 'went'"):
        data_utils.load_babi(small, [1, 2], like={"answers": answers})


@pytest.mark.parametrize("ends", ["\n", "\r"])
def test_an_unknown_number_is_found_where_it_is_a_word(small, ends):
    path = os.path.join(small, "tasks_1-20_v1-2", "en-10k", "qa2_two-supporting-facts_test.txt")
    words = data_utils.load_babi(small, [1, 2]).words
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write((text + "1 Mary went to room 3.\n2 Where is Mary? \tgarden\t1\n").replace("\n", ends))
    with pytest.raises(data_utils.DataError, match="qa2_two-supporting-facts_test.txt, line 151: the word '3'"):
        data_utils.load_babi(small, [1, 2], like={"words": [*words, "room"]})


def test_few_questions_leave_some_for_validation(tmp_path):
    small = small_babi.write_tasks(tmp_path, train=5, test=5)
    babi = data_utils.load_babi(small, [1])
    training, validation = data_utils.split_validation(babi, 0)
    assert (len(training), len(validation)) == (4, 1)
    babi.train = training.take(np.arange(1))
    with pytest.raises(data_utils.DataError, match="none to train on"):
        data_utils.split_validation(babi, 0)


def test_files_that_are_not_the_released_ones_are_named(small):
    assert data_utils.read_tasks(small, [1]).differing() == [
        f"en-10k/qa1_single-supporting-fact_{split}.txt" for split in ("test", "train")]


def test_validation_is_a_tenth_of_each_task_at_random_by_the_seed(small):
    babi = data_utils.load_babi(small, [1, 2])
    babi.train.question = np.arange(len(babi.train), dtype=np.int32)
    training, validation = data_utils.split_validation(babi, 5)
    assert np.bincount(validation.task).tolist() == [0, 20, 20]
    assert sorted([*training.question, *validation.question]) == list(range(400))
    again, other = (data_utils.split_validation(babi, seed)[1] for seed in (5, 6))
    np.testing.assert_array_equal(again.question, validation.question)
    assert set(other.question) != set(validation.question)
    # Runs under way depend on these very questions.
    rows = np.concatenate([training.question, validation.question]).astype("<i4")
    assert hashlib.sha256(rows.tobytes()).hexdigest().startswith("e9cda51c18920ccb")


def write_stories(folder, sizes):
    """Write files of task 1 whose training stories have so many questions, each after a fact of its own."""
    lines = [f"{2 * number + 1} Mary went to the garden.\n{2 * number + 2} Where is Mary? \tgarden\t{2 * number + 1}\n"
             for questions in sizes for number in range(questions)]
    for split in ("train", "test"):
        (folder / f"qa1_single-supporting-fact_{split}.txt").write_text("".join(lines), encoding="utf-8")
    return str(folder)


def test_validation_by_story_has_whole_stories(small):
    babi = data_utils.load_babi(small, [1, 2])
    by_question, by_story = (data_utils.split_validation(babi, 5, by) for by in ("question", "story"))
    training, validation = by_story
    assert np.isin(by_question[1].story, by_question[0].story).all()
    assert not np.isin(validation.story, training.story).any()
    assert np.bincount(validation.task).tolist() == [0, 20, 20]  # 4 of 40 stories of 5 questions
    assert sorted([*training.story, *validation.story]) == np.repeat(np.arange(40), 5).tolist() + (
        np.repeat(np.unique(babi.train.story[babi.train.task == 2]), 5).tolist())
    again, other = (data_utils.split_validation(babi, seed, "story")[1] for seed in (5, 6))
    np.testing.assert_array_equal(again.story, validation.story)
    assert set(other.story) != set(validation.story)


def test_validation_by_story_ends_with_the_story_that_reaches_the_tenth(tmp_path):
    sizes = np.array([2, 3, 2, 3, 7, 3, 2, 3, 2, 3, 2, 8])
    babi = data_utils.load_babi(write_stories(tmp_path, sizes), [1])
    assert np.bincount(babi.train.story).tolist() == sizes.tolist()
    held_out = {tuple(np.unique(data_utils.split_validation(babi, seed, "story")[1].story)) for seed in range(30)}
    assert {len(stories) for stories in held_out} == {1, 2}
    assert all(sizes[list(stories)].sum() >= 4 > sizes[list(stories)].sum() - sizes[list(stories)].max() for stories in held_out)
    assert len(set().union(*held_out)) == len(sizes)


def test_stories_of_other_tasks_and_files_have_other_numbers(small):
    babi = data_utils.load_babi(small, [1, 2], extra_train={1: TEXT, 2: TEXT})
    assert [len(np.unique(stories.story)) for stories in (babi.train, babi.test, babi.extra)] == [80, 20, 4]
    assert len(set(babi.train.story) | set(babi.test.story) | set(babi.extra.story)) == 104
    joined = babi.train.join(babi.extra).take(np.arange(395, 406))
    assert joined.story.tolist() == [*babi.train.story[395:], *babi.extra.story]


def test_a_task_of_a_single_story_has_none_to_train_on(tmp_path):
    babi = data_utils.load_babi(write_stories(tmp_path, [20]), [1])
    assert len(data_utils.split_validation(babi, 1)[0]) == 18
    with pytest.raises(data_utils.DataError, match="task 1: its training file has no story to train on beside those for"):
        data_utils.split_validation(babi, 1, "story")


def test_answers_can_be_numbered_as_words(small):
    babi, plain = (data_utils.load_babi(small, [1, 2], mx=4, word_answers=of_words) for of_words in (True, False))
    assert len(babi.answers) == babi.word_rows() and plain.answers == ["garden", "hallway", "kitchen", "office"]
    for number, other in zip(babi.train.answer, plain.train.answer):
        assert babi.answers[number] == babi.words[number - 1] == plain.answers[other]


def test_supporting_facts_are_marked_newest_first_as_far_as_they_are_kept(small):
    parsed = data_utils.parse_task(*reversed(data_utils.read_tasks(small, [1]).texts[1, "train"]))
    babi = data_utils.load_babi(small, [1], mx=3)
    for item, marks in zip(parsed, babi.train.supporting):
        kept = [len(item.facts) - 3 <= position for position in item.supporting]
        assert marks.sum() == sum(kept)
        for position, is_kept in zip(item.supporting, kept):
            assert not is_kept or marks[len(item.facts) - 1 - position]
    assert 0 < babi.train.supporting.sum() < len(parsed)
    assert not (babi.train.supporting & (babi.train.facts == 0)).any()


# On the real data


def test_real_data_has_the_known_counts(real_babi):
    babi = data_utils.load_babi(real_babi)
    assert len(babi.train) == 200000 and len(babi.test) == 20000
    assert (len(babi.words), len(babi.answers)) == (176, 60)  # answers are words, too
    assert babi.word_rows() == 207
    assert babi.sentences.shape == (3208 + 1, 11) and babi.questions.shape == (439, 11)
    assert np.bincount(babi.test.task).tolist() == [0] + [1000] * 20
    assert "milk,apple" in babi.answers and "apple,milk" in babi.answers
    kept = np.count_nonzero(babi.train.facts, axis=1)
    assert kept.max() == 30 and abs(kept.mean() - 8.25) < 0.05


def test_real_1k_data_loads_through_the_same_option(real_babi):
    babi = data_utils.load_babi(real_babi + "/en")
    assert len(babi.train) == 20000 and not babi.files.differing()


def test_real_questions_lose_few_supporting_facts_by_the_cut(real_babi):
    def supports(mx, split):
        stories = getattr(data_utils.load_babi(real_babi, [2, 3], mx=mx), split)
        return stories.supporting.sum(axis=1), stories.task

    for mx, split, shares in (30, "test", (0, 0.002)), (30, "train", (0.0001, 0.0033)), (20, "test", (0.002, 0.033)):
        (kept, task), (every, _) = supports(mx, split), supports(400, split)
        assert [np.mean((kept < every)[task == number]) for number in (2, 3)] == pytest.approx(shares)


def test_real_validation_questions_share_their_story_with_training_questions_but_by_story(real_babi):
    babi = data_utils.load_babi(real_babi, [4, 15, 18, 20])
    found = {}
    for by in ("question", "story"):
        training, validation = data_utils.split_validation(babi, 1, by)
        shared = np.isin(validation.story, training.story)
        found[by] = [round(np.mean(shared[validation.task == task]), 2) for task in (4, 15, 18, 20)]
    assert found == {"question": [0, 1, 1, 1], "story": [0, 0, 0, 0]}
    assert len(validation) <= 4000 + 20  # the last story of tasks 18 and 20 may go beyond the tenth


def test_real_test_questions_repeat_training_questions_in_three_tasks(real_babi):
    babi = data_utils.load_babi(real_babi)
    trained, tested = (list(zip(stories.task, map(bytes, stories.facts), stories.question, stories.answer))
                       for stories in (babi.train, babi.test))
    trained = set(trained)
    shares = [np.mean([item in trained for item in tested if item[0] == task]) for task in range(1, 21)]
    assert [round(share, 2) for share in shares if share > 0.03] == [0.74, 0.15, 0.2]


def test_real_supporting_facts_hold_the_answer_of_task_1(real_babi):
    (_, text) = data_utils.read_tasks(real_babi, [1]).texts[1, "test"]
    for item in data_utils.parse_task(text, "qa1"):
        (supporting,) = item.supporting
        assert item.answer in item.facts[supporting]


def with_answers(words, answers):
    """The words of a network: those of the sentences, and the answers."""
    return sorted(words | {answer.lower() for answer in answers})


def test_the_known_vocabulary_is_that_of_the_released_files(real_babi):
    babi = data_utils.load_babi(real_babi)
    words, answers = data_utils.read_vocabulary(range(1, 21))
    assert (babi.words, babi.answers) == (with_answers(words, answers), sorted(answers))
    few = data_utils.load_babi(real_babi, [8, 17])
    words, answers = data_utils.read_vocabulary([8, 17])
    assert (few.words, few.answers) == (with_answers(words, answers), sorted(answers))
