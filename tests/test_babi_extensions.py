"""What is not in the paper on bAbI: courses of questions, other names, auxiliary losses."""
import json

import numpy as np
import pytest

import WMemNN_bAbI as script
import data_utils
from data import simulate_babi
from helpers import babi_solver, equations
from helpers.small_run import NAME, arguments, assert_same_weights, data, finished, log, record, weights  # noqa: F401
from training import babi_extensions, batches, run

ACROSS = set("daniel john mary sandra bill fred jeff julie".split())
pytestmark = pytest.mark.usefixtures("without_xla")


def mixed(babi, errors, **options):
    """Batches of a course with some options, whose network makes some errors."""
    args = script.parse_arguments([])
    vars(args).update(options)
    return batches.StoryBatches(babi, babi.train, 32, [1], course=babi_extensions.Course(args, babi, lambda: errors))


def test_the_first_epochs_have_questions_of_the_first_tasks_alone(data):
    babi = data_utils.load_babi(data, [1, 2], 10)
    for focus in (0.0, 0.5):
        mixture = mixed(babi, focus=focus, errors={1: 0.3, 2: 0.1}, first_tasks=[2], first_epochs=2)
        tasks = []
        for epoch in range(3):
            mixture.set_epoch(epoch)
            assert len(mixture.order) == len(babi.train)
            _, times = np.unique(mixture.order[babi.train.task[mixture.order] == 2], return_counts=True)
            tasks.append(set(babi.train.task[mixture.order].tolist()))
            assert epoch == 2 or (len(times) == (babi.train.task == 2).sum() and times.max() - times.min() <= 2 * (focus > 0))
        assert tasks == [{2}, {2}, {1, 2}]


def test_first_tasks_need_first_epochs_and_to_be_trained_on(data, tmp_path):
    for options in (["--first-tasks", "1"], ["--first-epochs", "2"], ["--first-tasks", "3", "--first-epochs", "2"]):
        with pytest.raises(data_utils.DataError, match="--first-tasks and --first-epochs need each other"):
            script.main(arguments(data, tmp_path, *options))


def test_the_options_of_the_recipe_do_not_depend_on_where_the_run_was_stopped(data, tmp_path):
    """The auxiliary losses, too, whose own weights are part of the state."""
    options = ["--rename", "--focus", "0.5", "--first-tasks", "2", "--first-epochs", "2", "--reconstruction", "0.3",
               "--overlap", "0.3"]
    script.main(arguments(data, tmp_path / "stopped", *options, epochs="1"))
    script.main(arguments(data, tmp_path / "stopped", *options))
    script.main(arguments(data, tmp_path / "whole", *options))
    assert_same_weights(tmp_path / "stopped", tmp_path / "whole")


@pytest.fixture(scope="module")
def with_final_epochs(data, tmp_path_factory, without_xla):
    """A models folder with a finished run whose last two of four epochs are final ones; and its options."""
    models = tmp_path_factory.mktemp("final")
    options = ["--final-epochs", "2", "--schedule", "cosine"]
    script.main(arguments(data, models, *options, epochs="4"))
    return models, options


def state_variables(models):
    with np.load(models / f"{NAME}.state.npz") as state:
        return [state[f"variable_{number}"] for number in range(len(state.files) - 3)]


def test_final_epochs_train_on_the_validation_questions_until_the_rate_is_zero(with_final_epochs):
    models, _ = with_final_epochs
    steps = [34, 34, 38, 38]  # of 32 questions, of 1,080 and of 1,200
    rates = [0.005 * (1 + np.cos(np.pi * sum(steps[:epoch]) / sum(steps))) for epoch in range(4)]
    np.testing.assert_allclose([float(row["learning_rate"]) for row in log(models)], rates, rtol=1e-4)
    counters = [int(value) for value in state_variables(models) if value.shape == () and np.issubdtype(value.dtype, np.integer)]
    assert max(counters) == sum(steps) == 144


def test_the_weights_kept_are_those_of_the_last_final_epoch(with_final_epochs):
    models, _ = with_final_epochs
    saved, variables = record(models), state_variables(models)
    assert saved["best_epoch"] == saved["epochs_done"] == 4 and saved["validation_inside_training"]
    assert saved["best_val_accuracy"] == float(log(models)[3]["val_accuracy"])
    for value in weights(models).values():
        assert any(np.array_equal(value, variable) for variable in variables)


def test_a_final_epoch_is_kept_though_an_earlier_one_was_better(data, tmp_path, monkeypatch):
    args, saved = script.parse_arguments(arguments(data, tmp_path, "--final-epochs", "2", epochs="4")), []
    this = run.Run(args, NAME, {"fingerprint": ""}, {}, words=[], answers=[], validation_inside_training=False)

    def save_weights(_, path):
        saved.append(len(this.rows))
        run.write_whole(path, b"weights")

    monkeypatch.setattr(run, "save_weights", save_weights)
    records = []
    for epoch, accuracy in enumerate((0.9, 0.8, 0.7, 0.6), start=1):
        this.rows.append(dict.fromkeys(this.columns, 0.0) | {"epoch": epoch, "val_accuracy": accuracy})
        this.publish(None)
        records.append(record(tmp_path))
    assert saved == [1, 3, 4]
    assert [found["best_epoch"] for found in records] == [1, 1, 3, 4]
    assert [found["best_val_accuracy"] for found in records] == [0.9, 0.9, 0.7, 0.6]
    assert [found["validation_inside_training"] for found in records] == [False, False, True, True]


def test_final_epochs_do_not_depend_on_where_the_run_was_stopped(with_final_epochs, data, tmp_path, monkeypatch, capsys):
    models, options = with_final_epochs
    argv, at_batch_end = arguments(data, tmp_path, *options, epochs="4"), run.Epochs.on_train_batch_end

    def stop(self, batch, logs=None):
        at_batch_end(self, batch, logs)
        if len(self.run.rows) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(run.Epochs, "on_train_batch_end", stop)
    with pytest.raises(KeyboardInterrupt):
        script.main(argv)
    monkeypatch.undo()
    assert len(log(tmp_path)) == 3 and record(tmp_path)["validation_inside_training"]
    capsys.readouterr()
    script.main(argv)
    line = next(line for line in capsys.readouterr().out.split("\n") if line.startswith("epoch 4/4"))
    assert f"validation {float(log(tmp_path)[3]['val_accuracy']):.4f} (trained on), " in line
    assert_same_weights(tmp_path, models)
    for found, expected in zip(state_variables(tmp_path), state_variables(models), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_epochs_of_a_run_with_final_ones_stay_as_many(data, tmp_path):
    """Under a constant rate, too, where others may have more."""
    for number in "0", "1":
        args = script.parse_arguments(arguments(data, tmp_path, "--final-epochs", number))
        this = run.Run(args, NAME, {"fingerprint": ""}, {})
        if number == "0":
            this._check_settings({**this.settings, "epochs": 2}, "state")
        else:
            with pytest.raises(data_utils.DataError, match="that run had epochs 2, not 3"):
                this._check_settings({**this.settings, "epochs": 2}, "state")


@pytest.mark.parametrize("at_once", [1, 4])
def test_batches_have_the_questions_of_the_epoch(data, at_once):
    babi = data_utils.load_babi(data, [1, 2], 10)
    training, validation = data_utils.split_validation(babi, 1)
    args = script.parse_arguments(["--epochs", "5", "--final-epochs", "2"])
    final = babi_extensions.final_part(args, training, batches.StoryBatches(babi, validation, 250))
    mixture = batches.StoryBatches(babi, training, 32, [1], at_once=at_once, final=final)
    for epoch, stories, steps in ((2, training, 34), (3, babi.train, 38), (4, babi.train, 38), (0, training, 34)):
        mixture.set_epoch(epoch)
        handed_out = [mixture[index] for index in range(len(mixture))]
        answers = np.concatenate([answer for _, answer in handed_out])
        assert sorted(answers) == sorted(stories.answer) and mixture.steps == steps and mixture.total == len(stories)
        # The facts say which questions these are.
        facts = sum(np.count_nonzero(inputs.time_of_fact) for inputs, _ in handed_out)
        assert facts == np.count_nonzero(stories.facts)
        assert sorted(mixture.stories.story[mixture.order]) == sorted(stories.story)
    assert [mixture.steps_until(epoch) for epoch in (0, 1, 3, 5)] == [0, 34, 102, 178]
    course = babi_extensions.Course(script.parse_arguments(["--focus", "0.5"]), babi, lambda: {1: 0.3, 2: 0.1})
    focused = batches.StoryBatches(babi, training, 32, [1], course=course, at_once=at_once, final=final)
    focused.set_epoch(3)
    assert len(focused.order) == len(babi.train) and max(focused.order) >= len(training)
    assert focused.steps == len(focused) * at_once == {1: 38, 4: 36}[at_once]  # whole groups alone
    assert all(len(answers) == 32 * at_once for _, answers in map(focused.__getitem__, range(9)))
    shortened = batches.StoryBatches(babi, training, 32, [1], 5, at_once=at_once, final=final)
    shortened.set_epoch(4)
    assert shortened.steps == 5 and shortened.bounds[-1] == 5 and shortened.steps_until(5) == 25


def test_renamed_questions_are_others(finished, data, tmp_path):
    script.main(arguments(data, tmp_path, "--rename", epochs="1"))
    assert log(tmp_path)[0]["loss"] != log(finished)[0]["loss"]


@pytest.mark.parametrize("option", ["reconstruction", "overlap"])
def test_an_auxiliary_loss_changes_the_training_and_not_what_is_saved(finished, data, tmp_path, option):
    script.main(arguments(data, tmp_path, f"--{option}", "0.3", epochs="1"))
    changed, plain = weights(tmp_path), weights(finished)
    assert {key: value.shape for key, value in changed.items()} == {key: value.shape for key, value in plain.items()}
    assert record(tmp_path)["parameters"] == record(finished)["parameters"]
    assert float(log(tmp_path)[0]["loss"]) > float(log(finished)[0]["loss"]) + 32 * 0.3
    script.main(arguments(data, tmp_path, "--evaluate"))
    with pytest.raises(data_utils.DataError, match=f"that run had {option} 0.3, not 0.2"):
        script.main(arguments(data, tmp_path, f"--{option}", "0.2"))


@pytest.fixture(params=["read", "masked"])
def packed(data, request):
    """A network with its data, and questions with and without unused slots."""
    babi = data_utils.load_babi(data, [1, 2], 10, request.param)
    network = script.build_model(script.parse_arguments(arguments(data, "models")), babi)
    rows = np.arange(0, 100, 7)
    used = batches.pack_stories(babi, babi.train, rows)
    slots = batches.Slots(len(used.story_of_fact) + 9, len(used.sentences) + 5, len(used.beginnings) + 3)
    return network, babi, used, batches.pack_stories(babi, babi.train, rows, [slots])


def test_the_loss_of_reconstruction_is_the_mean_over_stories_of_the_mean_over_facts(packed):
    """Over every fourth fact, whatever the number of facts of a story, and of unused slots."""
    network, babi, used, batch = packed
    trained = babi_extensions.with_auxiliary_losses(network, script.parse_arguments(["--reconstruction", "0.3"]), babi)
    np.testing.assert_array_equal(trained(batch), network(batch))
    (loss,) = trained.get_layer("reconstruction").losses
    of_facts, of_questions = (np.array(layer.kernel) for layer in (trained.get_layer("reconstruction").facts,
                                                                   trained.get_layer("reconstruction").questions))
    memories = np.array(network.get_layer("short_term_storage")(
        used.sentences, used.sentence_of_fact, used.time_of_fact, used.beginnings))
    sentences = np.array(babi_extensions.whole_sentences(used.beginnings, used.sentences))
    u = np.array(network.get_layer("question_encoder")(used.question))
    real = (used.time_of_fact > 0) & (np.arange(len(used.time_of_fact)) % 4 == 0)
    facts = [[equations.word_reconstruction(memories[i], sentences[used.sentence_of_fact[i]], of_facts)
              for i in np.flatnonzero((used.story_of_fact == story) & real)] for story in range(len(used.question))]
    assert 1 < max(map(len, facts))
    facts = [np.mean(losses) if losses else 0.0 for losses in facts]
    questions = [equations.word_reconstruction(h, words, of_questions) for h, words in zip(u, used.question)]
    assert float(loss) == pytest.approx(0.3 * 32 * (np.mean(facts) + np.mean(questions)), rel=1e-5)


def test_the_loss_of_overlap_is_the_cross_entropy_of_the_first_hop(packed):
    network, babi, used, batch = packed
    trained = babi_extensions.with_auxiliary_losses(network, script.parse_arguments(["--overlap", "0.3"]), babi)
    np.testing.assert_array_equal(trained(batch), network(batch))
    assert len(trained.losses) == len(network.losses) + 1  # the penalties of the controller count once
    loss = sum(map(float, trained.losses)) - sum(map(float, network.losses))
    first_hop = np.array(script.attend(network, used))[:, 0].mean(axis=1)
    sentences = np.array(babi_extensions.whole_sentences(used.beginnings, used.sentences))
    of_stories = []
    for story, question in enumerate(used.question):
        facts = np.flatnonzero((used.story_of_fact == story) & (used.time_of_fact > 0))
        pointed = equations.word_overlap(question, sentences[used.sentence_of_fact[facts]])
        of_stories.append(-pointed @ np.log(first_hop[facts]))
    assert np.mean(of_stories) > 0
    assert loss == pytest.approx(0.3 * 32 * np.mean(of_stories), rel=1e-4)
    assert len(trained.trainable_variables) == len(network.trainable_variables)


def test_focus_draws_its_share_in_proportion_to_the_errors(data):
    babi = data_utils.load_babi(data, [1, 2], 10)
    mixture = mixed(babi, focus=0.5, errors={1: 0.3, 2: 0.1})
    mixture.set_epoch(2)
    tasks = babi.train.task[mixture.order]
    assert len(tasks) == len(babi.train) == 1200
    assert np.sum(tasks == 1) == pytest.approx(300 + 450, abs=50)  # half of all, evenly, and three quarters of the other half
    assert set(np.bincount(mixture.order)) <= {0, 1, 2}
    first = mixture.order
    mixture.set_epoch(3)
    assert (mixture.order != first).any()
    mixture.set_epoch(2)
    np.testing.assert_array_equal(mixture.order, first)
    without_errors = mixed(babi, focus=0.5, errors={1: 0.0, 2: 0.0})
    without_errors.set_epoch(2)
    assert sorted(without_errors.order) == list(range(1200))


def test_the_slots_of_a_batch_follow_the_focus(real_babi):
    babi, errors = data_utils.load_babi(real_babi, [1, 3], 30), {1: 0.3, 3: 0.0}
    mixture = mixed(babi, focus=1.0, errors=errors)
    evenly = mixture.sizes
    mixture.set_epoch(0)
    short = mixture.sizes
    errors.update({1: 0.0, 3: 0.3})
    mixture.set_epoch(0)
    assert short[0].facts < evenly[0].facts < mixture.sizes[0].facts
    assert len({len(mixture[i][0].story_of_fact) for i in range(0, len(mixture), 9)}) < 3


@pytest.fixture(scope="module")
def simulated_files(tmp_path_factory):
    """A folder with simulated files of all tasks, 100 training questions each."""
    folder = tmp_path_factory.mktemp("simulated")
    for task in range(1, 21):
        for split in ("train", "test"):
            path = folder / simulate_babi.LANGUAGE_FOLDER / simulate_babi.file_name(task, split)
            path.parent.mkdir(exist_ok=True)
            path.write_text(simulate_babi.simulate_task(task, 100, 1, split), encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def simulated(simulated_files):
    return data_utils.load_babi(simulated_files, mx=300, padding="masked")


@pytest.fixture(scope="module")
def simulated_across(simulated_files):
    """The same, with words and answers for the names of all tasks."""
    return data_utils.load_babi(simulated_files, mx=300, padding="masked", names=ACROSS)


def in_words(babi, sentence):
    return " ".join(babi.words[word - 1] for word in sentence if word)


@pytest.mark.parametrize("task", range(1, 21))
def test_what_follows_from_a_renamed_story_is_the_renamed_answer(simulated, task):
    """By the independent solver, from what the model reads."""
    _, changed = renamed_stories(simulated, task, babi_extensions.Renaming(simulated))
    assert changed > 50


@pytest.mark.parametrize("task", [1, 2, 3, *range(5, 15)])
def test_what_follows_under_names_of_other_tasks_is_the_renamed_answer(simulated_across, task):
    """And these names come up, in answers too; the pronouns of task 11 are of those whom they stand for."""
    stories, changed = renamed_stories(simulated_across, task, babi_extensions.Renaming(simulated_across, ACROSS))
    assert changed > 50
    assert {word for facts, _ in stories for fact in facts for word in fact.lower().split()} >= ACROSS
    if task == 5:
        assert {answer for _, answer in stories} >= {name.capitalize() for name in ACROSS}
    for facts, _ in stories if task == 11 else ():
        for before, fact in zip(facts, facts[1:]):
            for pronoun, women in ("he", False), ("she", True):
                if pronoun in fact.lower().split():
                    (who,) = ACROSS.intersection(before.lower().split())
                    assert (who in ("mary", "sandra", "julie")) == women


def renamed_stories(simulated, task, renaming):
    """Facts and answer of each renamed story of a task, which the solver answers alike; and how many have other facts."""
    rows = np.flatnonzero(simulated.train.task == task)
    naming, answers = renaming.draw(simulated.train.task[rows], simulated.train.answer[rows], np.random.default_rng(4))
    batch = batches.pack_stories(simulated, simulated.train, rows, naming=naming)
    sentences = np.array(babi_extensions.whole_sentences(batch.beginnings, batch.sentences))
    stories, changed = [], 0
    for row, answer in enumerate(answers):
        slots = np.flatnonzero(batch.story_of_fact == row)[::-1]  # the oldest first
        facts = [in_words(simulated, sentences[batch.sentence_of_fact[slot]]) for slot in slots]
        original = [in_words(simulated, simulated.sentences[fact]) for fact in simulated.train.facts[rows[row]] if fact]
        changed += facts != original[::-1]
        solved = babi_solver.solve(task, [spoken(fact) for fact in facts], spoken(in_words(simulated, batch.question[row])))
        assert solved == simulated.answers[answer], (facts, solved)
        stories.append((facts, solved))
    return stories, changed


def spoken(sentence):
    """With the capital letters of the files: the first word, and most names."""
    sentence = sentence[0].upper() + sentence[1:]
    people = {name for names, _ in babi_extensions.RENAMED if "mary" in names or "greg" in names for name in names.split()}
    return " ".join(word.capitalize() if word in people else word for word in sentence.split())


def test_renaming_permutes_the_names_of_a_task_in_each_story_alike(simulated):
    renaming, random = babi_extensions.Renaming(simulated), np.random.default_rng(0)
    number = {word: index for index, word in enumerate(simulated.words, start=1)}
    tasks, answers = np.full(500, 16), np.full(500, simulated.answers.index("gray"))
    naming, renamed = renaming.draw(tasks, answers, random)
    for names in ("gray green white yellow", "frog lion rhino swan", "bernhard brian greg julius lily"):
        group = [number[name] for name in names.split()]
        assert (np.sort(naming[:, group]) == group).all()
        assert all(set(naming[:, word]) == set(group) for word in group)
    assert {simulated.answers[answer] for answer in renamed} == {"gray", "green", "white", "yellow"}
    others = [number[word] for word in ("mary", "garden", "is", "a", "color")]
    assert (naming[:, others] == others).all() and not naming[:, 0].any()
    again = renaming.draw(tasks, answers, np.random.default_rng(0))
    np.testing.assert_array_equal(again[0], naming)
    assert {int(word) for word in renaming.draw(np.full(200, 11), answers[:200], random)[0][:, number["mary"]]} == {
        number["mary"], number["sandra"]}


def test_renaming_across_tasks_changes_people_alone(simulated, simulated_across):
    """Tasks without them have their names drawn as with --rename."""
    assert simulated_across.words == simulated.words  # all tasks together use them all
    assert set(simulated_across.answers) - set(simulated.answers) == {"Daniel", "John", "Julie", "Sandra"}
    assert simulated_across.answers == sorted(simulated_across.answers)
    plain, across = babi_extensions.Renaming(simulated), babi_extensions.Renaming(simulated_across, ACROSS)
    number = {word: index for index, word in enumerate(simulated.words, start=1)}
    people = {number[name] for name in ACROSS}
    for task in range(1, 21):
        groups, wider = ([set(group.tolist()) for group in renaming.groups[task]] for renaming in (plain, across))
        assert [group for group in groups if not group & people] == [group for group in wider if not group & people]
        assert [group for group in wider if group & people] == {
            11: [{number[name] for name in names.split()} for names in ("daniel john bill fred jeff", "mary sandra julie")],
            **dict.fromkeys([4, *range(15, 21)], [])}.get(task, [people])


def test_renaming_across_tasks_needs_people(data, tmp_path):
    with pytest.raises(data_utils.DataError, match="--rename-across-tasks: none of --tasks has people"):
        script.main(arguments(data, tmp_path, "--rename-across-tasks", "--tasks", "4,15-20"))


def test_a_refinement_keeps_the_words_and_answers_for_names_of_other_tasks(finished, data, tmp_path):
    script.main(arguments(data, tmp_path, "--rename-across-tasks", "--steps-per-epoch", "2", epochs="1"))
    first = record(tmp_path)
    assert ACROSS < set(first["words"]) and not ACROSS < set(record(finished)["words"])
    for more in [], ["--rename-across-tasks", "--fresh"]:
        script.main(arguments(data, tmp_path, *more, "--steps-per-epoch", "2", rd="1", epochs="1"))
        refined = record(tmp_path, NAME.replace("_0_1", "_1_1"))
        assert (refined["words"], refined["answers"]) == (first["words"], first["answers"])
    with pytest.raises(data_utils.DataError, match="the weights to refine lack bill, fred, jeff, julie, sandra among"):
        script.main(arguments(data, finished, "--rename-across-tasks", rd="1"))


def test_a_run_from_before_an_option_goes_on(data, tmp_path, capsys):
    script.main(arguments(data, tmp_path, "--steps-per-epoch", "2", epochs="1"))
    path = tmp_path / f"{NAME}.state.npz"
    with np.load(path) as state:
        values = dict(state)
    settings = json.loads(str(values["settings"]))
    assert settings.pop("rename_across_tasks") is False and "systematic" not in settings
    np.savez(path, **values | {"settings": json.dumps(settings)})
    script.main(arguments(data, tmp_path, "--steps-per-epoch", "2", epochs="2"))
    assert "going on after epoch 1 of 2" in capsys.readouterr().out
    with pytest.raises(data_utils.DataError, match="that run had rename_across_tasks False, not True"):
        script.main(arguments(data, tmp_path, "--steps-per-epoch", "2", "--rename-across-tasks"))


def test_a_story_whose_renamed_answer_has_no_number_keeps_its_names(data):
    babi = data_utils.load_babi(data, [1])
    kitchen, office = babi.answers.index("kitchen"), babi.answers.index("office")
    babi.answers[office] = "cellar"
    answers = np.full(200, kitchen)
    naming, renamed = babi_extensions.Renaming(babi).draw(np.ones(200, int), answers, np.random.default_rng(0))
    kept = (naming == np.arange(naming.shape[1])).all(axis=1)
    assert 20 < kept.sum() < 120 and (renamed[kept] == kitchen).all()
    assert office not in renamed and set(renamed[~kept]) == {kitchen, babi.answers.index("garden"), babi.answers.index("hallway")}


# Ways to write a list of objects as an answer, and whether the facts tell it under other names.
SPELLINGS = {
    "as released": (",".join, True),
    "with spaces": (", ".join, True),
    "an article": (lambda names: " and ".join(f"the {name}" for name in names), True),
    "capitals": (lambda names: ", ".join(names).title(), True),
    "large": (lambda names: " + ".join(names).upper(), True),
    "a sentence": (lambda names: f"It is {' and '.join(names)}.", True),
    "alphabetical": (lambda names: ",".join(sorted(names)), True),
    "a or an": (lambda names: ",".join(f"{'an' if name == 'apple' else 'a'} {name}" for name in names), True),
    "plural": (lambda names: ",".join(f"{name}s" for name in names), False),
    "joined": ("_".join, None),
    "initials": (lambda names: "".join(name[0] for name in names), False),
}


@pytest.mark.parametrize("write, changes", SPELLINGS.values(), ids=SPELLINGS)
def test_what_follows_from_a_renamed_story_is_the_answer_however_it_is_written(tmp_path, write, changes):
    """By a solver for stories of gets and drops."""
    random, lines = np.random.default_rng(1), []
    for _ in range(80):
        number, carried = 0, []
        for _ in range(4):
            for _ in range(2):
                thing = str(random.choice(["apple", "football", "milk"]))
                number += 1
                lines.append(f"{number} Mary {'dropped' if thing in carried else 'got'} the {thing}.")
                carried.remove(thing) if thing in carried else carried.append(thing)
            if carried:
                number += 1
                lines.append(f"{number} What is Mary carrying?\t{write(carried)}")
    for split in ("train", "test"):
        (tmp_path / f"qa8_lists-sets_{split}.txt").write_text("\n".join(lines), encoding="utf-8")
    babi = data_utils.load_babi(str(tmp_path), [8], padding="masked")
    renaming, rows, renamed = babi_extensions.Renaming(babi), np.arange(len(babi.train)), 0
    for seed in range(5):
        naming, answers = renaming.draw(babi.train.task, babi.train.answer, np.random.default_rng(seed))
        batch = batches.pack_stories(babi, babi.train, rows, naming=naming)
        sentences = np.array(babi_extensions.whole_sentences(batch.beginnings, batch.sentences))
        renamed += (naming != np.arange(naming.shape[1])).any(axis=1).sum()
        for row, answer in enumerate(answers):
            carried = []
            for slot in np.flatnonzero(batch.story_of_fact == row)[::-1]:  # the oldest first
                _, did, _, thing = in_words(babi, sentences[batch.sentence_of_fact[slot]]).split()
                carried.append(thing) if did == "got" else carried.remove(thing)
            assert write(carried) == babi.answers[answer]
    assert changes is None or (renamed > 100) == changes


def test_a_name_inside_another_word_stays(tmp_path):
    """What follows from "apples" does not follow from the milk."""
    for split in ("train", "test"):
        (tmp_path / f"qa7_counting_{split}.txt").write_text(
            "1 Mary got two apples.\n2 Mary went to the garden.\n3 John went to the office.\n"
            "4 What is Mary carrying?\tapple\n5 How many apples is Mary carrying?\ttwo\n6 John got the milk.\n"
            "7 Where is the apple?\tgarden\n", encoding="utf-8")
    babi = data_utils.load_babi(str(tmp_path), [7])
    number = {word: index for index, word in enumerate(babi.words, start=1)}
    naming, answers = babi_extensions.Renaming(babi).draw(
        np.full(60, 7), np.tile(babi.train.answer, 20), np.random.default_rng(0))
    assert (naming[:, number["apple"]] == number["apple"]).all()
    assert set(naming[:, number["mary"]]) == {number["mary"], number["john"]}
    assert {babi.answers[answer] for answer in answers} == {"apple", "two", "garden"}
