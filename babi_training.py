"""What the training scripts for bAbI share: options, inputs, batches, the course from data to table, the report."""
import io
import json
import os
import sys
from typing import NamedTuple

import training  # before keras: it keeps TensorFlow quiet
import keras
import numpy as np

import command_line
import data_utils
import layers
from data import simulate_babi


# Arguments


def add_data_options(parser, padding):
    """Add the options that say what to train on; `padding` is the script's own, "read" or "masked"."""
    add = parser.add_argument
    add("--data", metavar="PATH", default="data/babi",
        help="folder or .tar.gz of the bAbI tasks v1.2; PATH/en is the 1k data (default %(default)s)")
    add("--tasks", type=command_line.task_list, metavar="LIST", default=list(range(1, 21)),
        help="tasks to train on jointly, such as 1,2,16-19 (default 1-20)")
    add("--extra-simulated", type=command_line.natural_number, metavar="N", default=0,
        help="simulated questions added to the training questions of each task (default %(default)s)")
    add("--rename", action="store_true",
        help="in training, permute the names of people, places, things, colors and sides in each story anew in each epoch")
    add("--focus", type=command_line.fraction, metavar="X", default=0.0,
        help="share of the training questions drawn from the tasks in proportion to their validation errors (default "
        "%(default)g)")
    add("--first-tasks", type=command_line.task_list, metavar="LIST", default=[],
        help="tasks whose questions alone are trained on in the first epochs, such as 1,15,16; needs --first-epochs")
    add("--first-epochs", type=command_line.positive_int, metavar="N", default=0, help="the number of those epochs")
    add("--reconstruction", type=command_line.natural_float, metavar="X", default=0.0,
        help="weight of an auxiliary loss: the words of fact and question, told from their encodings (default %(default)g)")
    add("--padding", choices=("read", "masked"),
        help=f"absent words and facts: read as the authors' programs do, words on the left and facts up to mx, or without any "
        f"influence (default {padding}; with --evaluate or rd > 0 that of the weights)")
    add("--ensemble", type=command_line.seed_list, metavar="SEEDS",
        help="with --evaluate: the mean of the answer distributions of the runs of these seeds, such as 1,2")


# Inputs and batches


def story_inputs(babi, pairs=False):
    """The inputs of a functional model, a `data_utils.StoryBatch` of keras.Input, or a `PairBatch` with `pairs`."""
    kind = data_utils.PairBatch if pairs else data_utils.StoryBatch
    words = {"question": babi.questions.shape[1], "sentences": babi.sentences.shape[1]}
    return kind(*(keras.Input((words[name],) if name in words else (), dtype="int32", name=name)
                  for name in kind._fields))


def encode(inputs, babi, embedding_dim, units, **options):
    """The memories of the facts (fact slots, units) and the encoded question (batch, units), each by a SentenceEncoder.

    Args:
        inputs: of `story_inputs`.
        babi: data_utils.Babi.
        embedding_dim, units, options: as of `layers.SentenceEncoder`.
    """
    def encoder(name):
        of_one = {key: type(value).from_config(value.get_config()) if isinstance(value, keras.initializers.Initializer) else value
                  for key, value in options.items()}  # the two encoders start from different values
        return layers.SentenceEncoder(babi.word_rows(), embedding_dim, units, name=name, **of_one)

    memories = layers.ShortTermStorage(encoder("fact_encoder"), name="short_term_storage")(
        inputs.sentences, inputs.sentence_of_fact, inputs.time_of_fact)
    return memories, encoder("question_encoder")(inputs.question)


class ReconstructionLoss(keras.layers.Layer):
    """Adds to the loss how hard the words of facts and question are to tell from their encodings; passes the logits on.

        loss = X batch_size (mean over stories of mean over its facts i of loss(m_i) + mean over stories of loss(u))

    loss is that of `layers.WordReconstruction`, one for the facts and one for the questions.

    Args:
        weight: float, X.
        batch_size: int, questions in a training batch.
        vocabulary_size: int.

    Call arguments:
        logits, memories, question: outputs of the network, of the facts and of the question.
        words: int32 (batch, length), those of the question.
        sentences, sentence_of_fact, time_of_fact, story_of_fact, count_of_fact: as in `data_utils.StoryBatch`.

    Returns:
        logits.
    """

    def __init__(self, weight, batch_size, vocabulary_size, **kwargs):
        super().__init__(**kwargs)
        self.scale = weight * batch_size
        self.facts = layers.WordReconstruction(vocabulary_size, name="facts")
        self.questions = layers.WordReconstruction(vocabulary_size, name="questions")

    def call(self, logits, memories, question, words, sentences, sentence_of_fact, time_of_fact, story_of_fact, count_of_fact):
        batch = keras.ops.shape(words)[0]
        story = layers.with_unused_row(story_of_fact, batch)
        real = keras.ops.cast(time_of_fact > 0, self.compute_dtype)
        facts = keras.ops.segment_sum(real, story, batch + 1)
        share = real / keras.ops.take(keras.ops.maximum(facts, 1.0), story)
        of_facts = keras.ops.sum(share * self.facts(memories, sentences, sentence_of_fact))
        self.add_loss(self.scale * (of_facts + keras.ops.sum(self.questions(question, words)))
                      / keras.ops.cast(batch, self.compute_dtype))
        return logits


class OverlapLoss(keras.layers.Layer):
    """Adds to the loss how far the first hop looks away from the facts that share words with the question; passes the logits on.

        loss = - X batch_size (mean over stories of sum over its facts i of p_i log(mean over heads of a_1i))

    a_1 are the weights of the first hop, p those of `layers.word_overlap`.

    Args:
        weight: float, X.
        batch_size: int, questions in a training batch.
        controller: layers.AttentionalController of the network.

    Call arguments:
        As of `ReconstructionLoss`.

    Returns:
        logits.
    """

    def __init__(self, weight, batch_size, controller, **kwargs):
        super().__init__(**kwargs)
        self.scale = weight * batch_size
        self.controller = controller

    def call(self, logits, memories, question, words, sentences, sentence_of_fact, time_of_fact, story_of_fact, count_of_fact):
        pointed = layers.word_overlap(words, sentences, sentence_of_fact, keras.ops.where(time_of_fact > 0, story_of_fact, -1))
        _, weights = self.controller.hop(0, question, memories, story_of_fact, count_of_fact)
        attended = keras.ops.where(pointed > 0, keras.ops.mean(weights, axis=1), 1.0)
        # A weight that underflows to 0 would have an infinite loss, and a gradient that is no number.
        told = keras.ops.sum(pointed * keras.ops.log(keras.ops.maximum(attended, 1e-30)))
        self.add_loss(-self.scale * told / keras.ops.cast(keras.ops.shape(words)[0], self.compute_dtype))
        return logits


def with_auxiliary_losses(network, batch_size, vocabulary_size, reconstruction=0.0, overlap=0.0):
    """A model for training: a network with the layers of `encode`, and auxiliary losses of some weights behind it.

    Args:
        network: functional model; with an `AttentionalController` named attentional_controller if there is `overlap`.
        batch_size, vocabulary_size: int, as of `ReconstructionLoss`.
        reconstruction: float, the weight of `ReconstructionLoss`.
        overlap: float, the weight of `OverlapLoss`.
    """
    read = {tensor.name: tensor for tensor in network.inputs}
    rest = [*(network.get_layer(name).output for name in ("short_term_storage", "question_encoder")),
            *(read[name] for name in ("question", "sentences", "sentence_of_fact", "time_of_fact", "story_of_fact", "count_of_fact"))]
    logits = network.output
    if reconstruction:
        logits = ReconstructionLoss(reconstruction, batch_size, vocabulary_size, name="reconstruction")(logits, *rest)
    if overlap:
        controller = network.get_layer("attentional_controller")
        logits = OverlapLoss(overlap, batch_size, controller, name="overlap")(logits, *rest)
    return keras.Model(network.input, logits, name=network.name)


def with_xla(pairs):
    """Whether a model is compiled by XLA, which needs batches of a few fixed sizes.

    TensorFlow runs the large products of pairs as fast without it, and the pairs need then no unused slots.
    """
    return not pairs or keras.backend.backend() != "tensorflow"


class StoryBatches(keras.utils.PyDataset):
    """Batches of bAbI questions: inputs a `data_utils.StoryBatch`, targets the numbers of the answers.

    Everything random is drawn from `order_seed` and the epoch, so an epoch has the same batches whatever ran before it.

    Args:
        babi: data_utils.Babi.
        stories: data_utils.Stories.
        batch_size: int.
        order_seed: list of int.
        steps: int, batches in an epoch; by default all.
        pairs: bool, whether inputs are a `data_utils.PairBatch`.
        renaming: data_utils.Renaming, which draws names for each story; by default those of the files.
        focus: float, the share of an epoch's questions that are drawn from the tasks in proportion to their errors.
        errors: function of nothing to the error of each task, a dict, called before each epoch if there is `focus`.
        first_tasks, first_epochs: list of int and int; the first epochs have questions of these tasks alone.
    """

    def __init__(self, babi, stories, batch_size, order_seed, steps=None, pairs=False, renaming=None, focus=0.0,
                 errors=None, first_tasks=(), first_epochs=0):
        # With one worker Keras lets tf.data tune itself, and ending an epoch then waits for the tuner's next round, whose
        # period doubles. JAX needs no tf.data.
        super().__init__(workers=2 if keras.backend.backend() == "tensorflow" else 1)
        self.babi, self.stories, self.pairs, self.renaming = babi, stories, pairs, renaming
        self.batch_size, self.order_seed = batch_size, order_seed
        self.focus, self.errors = focus, errors
        self.first_tasks, self.first_epochs = first_tasks, first_epochs
        self.even_sizes = data_utils.slot_sizes(babi, stories, batch_size, pairs) if with_xla(pairs) else None
        self.sizes = self.even_sizes
        self.total = len(stories)
        self.steps = min(steps or sys.maxsize, -(-self.total // batch_size))
        self._shuffle(0)

    def set_epoch(self, epoch):
        """Draw the order of an epoch, counted from 0."""
        self._shuffle(epoch)
        errors = self.errors() if self.focus else {}
        if epoch < self.first_epochs:
            errors = {task: errors[task] for task in self.first_tasks if task in errors}
        focused = sum(errors.values()) > 0
        if focused:
            self._focus(errors, np.random.default_rng([*self.order_seed, epoch, 0]))
        self.sizes = self.even_sizes
        if self.sizes and (focused or epoch < self.first_epochs):
            self.sizes = data_utils.slot_sizes(self.babi, self.stories, self.batch_size, self.pairs, self.order)

    def _shuffle(self, epoch):
        self.epoch = epoch
        rows = np.arange(self.total)
        if epoch < self.first_epochs:
            rows = np.flatnonzero(np.isin(self.stories.task, self.first_tasks))
        self.order = _in_rounds(rows, self.total, np.random.default_rng([*self.order_seed, epoch]))

    def _focus(self, errors, random):
        """Let questions of the tasks with errors take the place of some others."""
        replaced = round(self.focus * self.total)
        chosen = [self.order[replaced:]]
        last = np.round(replaced * np.cumsum(list(errors.values())) / sum(errors.values())).astype(int)
        for task, number in zip(errors, np.diff(last, prepend=0)):
            chosen.append(_in_rounds(np.flatnonzero(self.stories.task == task), number, random))
        self.order = random.permutation(np.concatenate(chosen))

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size:(index + 1) * self.batch_size]
        answers, naming = self.stories.answer[rows], None
        if self.renaming:
            random = np.random.default_rng([*self.order_seed, self.epoch, 1, index])
            naming, answers = self.renaming.draw(self.stories.task[rows], answers, random)
        return data_utils.pack_stories(self.babi, self.stories, rows, self.sizes, self.pairs, naming), answers


def _in_rounds(rows, number, random):
    """So many of the rows in random order, each as often as any other or once more."""
    rounds = [random.permutation(rows) for _ in range(1 + number // len(rows))]
    return np.concatenate(rounds)[:number]


def predict(model, babi, stories, pairs=False, batch_size=250):
    """The model's outputs for all stories, in their order, (questions, answers)."""
    # In random order: batches of one task after the other would differ in size from task to task.
    batches = StoryBatches(babi, stories, batch_size, [0], pairs=pairs)
    outputs = np.empty((len(stories), len(babi.answers)), np.float32)
    outputs[batches.order] = training.uncompiled(model).predict(batches, verbose=0)
    return outputs


# From data to table

# Options that are not in the paper, with the values that runs before them had.
EXTENSIONS = {"rename": False, "focus": 0.0, "reconstruction": 0.0, "overlap": 0.0, "first_tasks": [], "first_epochs": 0}
# Options of which records and states lack those of before, when nothing else was there.
BEFORE = EXTENSIONS | {"padding": "masked", "start": "uniform", "variant": "santoro", "word_answers": False}


class Refinement(NamedTuple):
    """A run that goes on from the weights of another, on all training questions, at a rate that halves."""

    number: int  # k > 0, counts the refinements
    of: str  # name of the run whose weights are refined
    halving_epochs: int


def run(args, name_of, architecture, build_model, pairs=False, refinement=None, attend=None):
    """Train a model and test it, or with `args.evaluate` only test it; prints the table of test errors.

    Args:
        args: parsed arguments of `add_data_options` and `training.add_run_options`, with `lr`, `mx`, `seed`, and with
            `show` if there is `attend`.
        name_of: function of a seed to the name of the run's files.
        architecture: names of the options that the saved weights fix.
        build_model: function of (args, babi) to a functional model with `story_inputs` and the logits of the answers.
        pairs: bool, whether the model reads pairs of facts.
        refinement: Refinement, or None.
        attend: function of (model, `data_utils.StoryBatch`) to the attention on the facts of all stories, (fact slots,
            hops, heads); None for a model without.
    Raises:
        DataError: options, files or data that do not fit.
    """
    keras.utils.set_random_seed(args.seed)
    if bool(args.first_tasks) != bool(args.first_epochs) or set(args.first_tasks) - set(args.tasks):
        raise data_utils.DataError("--first-tasks and --first-epochs need each other, and the first tasks to be among --tasks")
    if args.ensemble and getattr(args, "show", None):
        raise data_utils.DataError("--show looks at one run; leave --ensemble out")
    if args.evaluate:
        _evaluate(args, name_of, architecture, build_model, pairs, attend)
    elif args.ensemble or getattr(args, "show", None):
        raise data_utils.DataError("--ensemble and --show look at saved runs; add --evaluate")
    else:
        _train_and_test(args, name_of(args.seed), architecture, build_model, pairs, refinement, attend)


def _path(args, name, kind):
    return os.path.join(args.models, f"{name}.{kind}")


def _read_record(args, name, architecture):
    """The record of a run; its padding is taken where none was given."""
    record = training.read_record(_path(args, name, "json"))
    record["arguments"] = BEFORE | record["arguments"]
    args.padding = args.padding or record["arguments"]["padding"]
    training.check_options(_path(args, name, "json"), record, args, architecture)
    return record


def _load(args, saved, extra=None):
    """The data, numbered as in a saved record, after a line or two on what it is."""
    babi = data_utils.load_babi(args.data, args.tasks, args.mx, saved.get("words"), saved.get("answers"), extra, args.padding,
                                getattr(args, "word_answers", False))
    print(describe_data(babi.files))
    return babi


def _evaluate(args, name_of, architecture, build_model, pairs, attend):
    names = [name_of(seed) for seed in args.ensemble or [args.seed]]
    records = [_read_record(args, name, architecture) for name in names]
    for name, record in zip(names, records):
        if any(record[key] != records[0][key] for key in ("words", "answers")):
            raise data_utils.DataError(f"{_path(args, name, 'json')}: numbers words or answers otherwise than {names[0]}; "
                                       "an ensemble needs runs on the same data and tasks")
    babi = _load(args, records[0])
    model = build_model(args, babi)
    simulated = [line for record in records for line in simulated_training(record, babi.files, args)]
    distributions = 0.0
    for name, record in zip(names, records):
        training.load_weights(model, _path(args, name, "weights.h5"), record.get("weights_sha256"))
        distributions += softmax(predict(model, babi, babi.test, pairs)) / len(names)
        if args.ensemble:
            print(f"{name}: validation accuracy {record['best_val_accuracy']:.4f}")
    attention = attention_on_facts(model, babi, babi.test, attend) if attend and not args.ensemble else None
    simulated, test = list(dict.fromkeys(simulated)), test_result(babi.test, distributions, attention)
    print("\n".join([*simulated, table(test, babi.files)]))  # before any file is written
    if getattr(args, "show", None):
        show_question(babi, args.show, distributions, attention, _path(args, names[0], f"question-{args.show}.png"))
    if args.ensemble:
        members = {name: {key: record.get(key) for key in ("best_val_accuracy", "weights_sha256")}
                   for name, record in zip(names, records)}
        path = _path(args, name_of("+".join(map(str, args.ensemble))), "json")
        if _is_of_other_data(path, babi.files):
            print(f"not saved: {path} has the errors of this ensemble on other data or tasks; move it to keep these")
        else:
            training.write_record(path, training.environment() | {
                "ensemble": members, "data": data_record(babi.files), "trained_on_simulated": simulated, "test": test})
            print(f"saved: {path}")


def _is_of_other_data(path, files):
    """Whether there is a record of other data than these files, or something that is no record."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)["data"]["fingerprint"] != files.fingerprint()
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _train_and_test(args, name, architecture, build_model, pairs, refinement, attend):
    saved, extra = {}, {}
    if refinement:
        saved = _read_record(args, refinement.of, architecture)
    if args.extra_simulated:
        extra = {task: simulate_babi.simulate_task(task, args.extra_simulated, args.seed, "extra") for task in args.tasks}
    babi = _load(args, saved, extra)
    model = build_model(args, babi)
    # Weights trained on simulated questions are said to be so, whatever they are refined or evaluated on.
    simulated = simulated_training(saved, babi.files, args)
    print("".join(f"{line}\n" for line in simulated), end="")
    settings = {key: value for key, value in vars(args).items()
                if key not in ("data", "models", "tensorboard", "evaluate", "ensemble", "show", "fresh")}
    settings |= {"data": babi.files.fingerprint(), "backend": keras.backend.backend()}
    if refinement:
        settings["refines_sha256"] = training.file_digest(_path(args, refinement.of, "weights.h5"))
    files = training.Run(args.models, name, settings, added=BEFORE)
    files.check_writable()
    print(f"{name}: {model.count_params():,} parameters")
    if refinement:
        training.load_weights(model, _path(args, refinement.of, "weights.h5"), saved.get("weights_sha256"))
    record = {"arguments": vars(args), "data": data_record(babi.files), "parameters": model.count_params(),
              "words": babi.words, "answers": babi.answers, "trained_on_simulated": simulated,
              "validation_inside_training": bool(refinement), "refines_sha256": settings.get("refines_sha256")}
    record = _train(args, model, babi, files, record, pairs, refinement)
    attention = attention_on_facts(model, babi, babi.test, attend) if attend else None
    test = test_result(babi.test, predict(model, babi, babi.test, pairs), attention)
    files.save_record(record | {"test": test})
    print("\n".join([*simulated, table(test, babi.files)]))
    print(f"saved: {files.path('weights.h5')}, .csv, .json")


def _train(args, model, babi, files, record, pairs, refinement):
    """Train, or go on; returns the record, and leaves the model with the weights of the best epoch."""
    training_stories, validation_stories = data_utils.split_validation(babi.train, args.seed)
    if refinement:
        training_stories = babi.train  # as the original does: validation questions are among them
    training_stories = training_stories.join(babi.extra)
    validation = StoryBatches(babi, validation_stories, 250, [0], pairs=pairs)
    predictor = training.uncompiled(model)

    def errors():
        answers = np.argmax(predictor.predict(validation, verbose=0), axis=1)
        wrong, tasks = answers != validation_stories.answer[validation.order], validation_stories.task[validation.order]
        return {task: float(np.mean(wrong[tasks == task])) for task in args.tasks}

    batches = StoryBatches(babi, training_stories, args.batch_size,
                           [args.seed, 1, refinement.number if refinement else 0], args.steps_per_epoch, pairs,
                           data_utils.Renaming(babi) if args.rename else None, args.focus, errors,
                           args.first_tasks, args.first_epochs)
    print(f"{len(training_stories):,} training and {len(validation_stories):,} validation questions, "
          f"{batches.steps:,} batches an epoch")
    rate = training.learning_rate(args, args.lr, batches.steps, refinement.halving_epochs if refinement else None)
    auxiliary = {name: getattr(args, name) for name in ("reconstruction", "overlap") if getattr(args, name, 0.0)}
    trained = with_auxiliary_losses(model, args.batch_size, len(babi.words) + 1, **auxiliary) if auxiliary else model
    compile_network(trained, args, rate, pairs, steps_per_execution=min(25, batches.steps))
    return training.fit(trained, files, record, batches, validation, args, network=model)


def compile_network(network, args, rate, pairs=False, steps_per_execution=1):
    """Give a network what it is trained with: Adam, the gradient's global norm clipped, the summed cross-entropy.

    Args:
        network: functional model.
        args: parsed arguments with `clip_norm` and `batch_size`.
        rate: float, or a Keras schedule.
        pairs: bool, as in `run`.
        steps_per_execution: int.
    """
    network.compile(keras.optimizers.Adam(rate, epsilon=1e-8, global_clipnorm=args.clip_norm),
                    training.SummedCrossentropy(args.batch_size), metrics=["accuracy"], jit_compile=with_xla(pairs),
                    steps_per_execution=steps_per_execution)


# Report


def data_record(files):
    """What was read, for the record: source, fingerprint, files that differ from the release."""
    return {"source": os.path.basename(files.source.rstrip("/")), "fingerprint": files.fingerprint(),
            "files": len(files.hashes), "simulated": files.simulated, "differ_from_release": files.differing()}


SIMULATED_WARNING = "simulated data, not the released benchmark"


def describe_data(files):
    """What was read, in one line or two for the reader: simulated, or how many of the files are the released ones."""
    if files.simulated:
        return f"data: {files.source}: {SIMULATED_WARNING}"
    differing = files.differing()
    line = f"data: {files.source}, {len(files.hashes) - len(differing)} of {len(files.hashes)} files are the released ones"
    return line + (f";\n      not the released ones: {', '.join(differing)}" if differing else "")


def simulated_training(saved, files, args):
    """What was simulated of the questions that weights are or were trained on, as a list of lines for the reader.

    Args:
        saved: dict, the record of the weights that are evaluated or refined, or an empty one.
        files: data_utils.TaskFiles.
        args: parsed arguments with `evaluate` and `extra_simulated`.
    """
    lines = list(saved.get("trained_on_simulated", []))
    if not args.evaluate:
        if files.simulated:
            lines.append(f"trained on {SIMULATED_WARNING}")
        if args.extra_simulated:
            lines.append(f"trained with {args.extra_simulated:,} simulated questions a task beside those of the files")
    return list(dict.fromkeys(lines))


def softmax(logits):
    """exp(x) / sum of exp(x) along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def attention_on_facts(model, babi, stories, attend):
    """The attention of a model on the facts of stories, float32 (questions, mx, hops, heads), 0 where there is no fact.

    Args:
        model, attend: as in `run`.
        babi: data_utils.Babi.
        stories: data_utils.Stories.
    """
    attention, batch_size = None, 2000  # layer by layer, not compiled: the time goes with the number of batches
    for first in range(0, len(stories), batch_size):
        rows = np.arange(first, min(first + batch_size, len(stories)))
        batch = data_utils.pack_stories(babi, stories, rows)
        weights = keras.ops.convert_to_numpy(attend(model, batch))
        if attention is None:
            attention = np.zeros((*stories.facts.shape, *weights.shape[1:]), np.float32)
        real = batch.time_of_fact > 0
        attention[rows[batch.story_of_fact[real]], batch.time_of_fact[real] - len(babi.words) - 1] = weights[real]
    return attention


def supporting_share(stories, attention):
    """How many of the strongest attended facts of each question are supporting ones, (questions,).

    For a question with s supporting facts (among those kept), the share of them among the s facts with the largest sum of
    attention over hops and heads; NaN without any.
    """
    total = np.where(stories.facts > 0, attention.sum(axis=(2, 3)), -1.0)
    rank = np.argsort(np.argsort(-total, axis=1, kind="stable"), axis=1)
    number = stories.supporting.sum(axis=1)
    hits = (stories.supporting & (rank < number[:, None])).sum(axis=1)
    return np.where(number > 0, hits / np.maximum(number, 1), np.nan)


def show_question(babi, number, distributions, attention, path):
    """Print a test question with the attention of each hop and head on its facts, and draw it as a heat map.

    Args:
        babi: data_utils.Babi.
        number: int, counts the test questions from 1.
        distributions: (questions, answers).
        attention: (questions, mx, hops, heads).
        path: str, of the picture.
    Raises:
        DataError: no such question, or one without facts.
    """
    stories = babi.test
    if number > len(stories):
        raise data_utils.DataError(f"--show {number}: there are {len(stories)} test questions in the chosen tasks")
    row = number - 1
    if not stories.facts[row].any():
        raise data_utils.DataError(f"--show {number}: no fact comes before that question; give another")

    def sentence(words):
        return " ".join(babi.words[word - 1] for word in words if word)

    oldest_first = np.flatnonzero(stories.facts[row])[::-1]
    facts = [f"{'*' if stories.supporting[row, i] else ' '} {sentence(babi.sentences[stories.facts[row, i]])}"
             for i in oldest_first]
    weights = attention[row, oldest_first]
    answer, right = np.argmax(distributions[row]), stories.answer[row]
    verdict = "right" if answer == right else f"wrong, the answer is {babi.answers[right]}"
    title = (f"{sentence(babi.questions[stories.question[row]])}? {babi.answers[answer]} "
             f"({100 * distributions[row, answer]:.0f} %), {verdict}")
    print(f"question {number}, task {stories.task[row]}; * supports the answer; a digit is the attention of a head in tenths")
    width = max(map(len, facts))
    hops, heads = weights.shape[1:]
    print(f"{'':{width}}  " + "  ".join(f"{f'hop {hop + 1}':{heads}}" for hop in range(hops)))
    for fact, of_fact in zip(facts, weights):
        digits = ("".join(str(min(9, int(10 * weight))) for weight in of_hop) for of_hop in of_fact)
        print(f"{fact:{width}}  " + "  ".join(f"{text:{max(heads, len('hop 1'))}}" for text in digits))
    print(title)
    draw_attention(title, facts, weights, path)
    print(f"saved: {path}")


def draw_attention(title, facts, weights, path):
    """Draw the attention (facts, hops, heads) on the facts of a question as a heat map, a column a head."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    hops, heads = weights.shape[1:]
    figure, axes = plt.subplots(figsize=(4 + 0.18 * hops * heads, 1.3 + 0.24 * len(facts)), layout="constrained")
    image = axes.imshow(weights.reshape(len(facts), -1), aspect="auto", cmap="Blues", vmin=0, vmax=1)
    axes.set_yticks(range(len(facts)), facts)
    for label, fact in zip(axes.get_yticklabels(), facts):
        label.set_fontweight("bold" if fact.startswith("*") else "normal")
    axes.set_xticks([(hop + 0.5) * heads - 0.5 for hop in range(hops)], [f"hop {hop + 1}" for hop in range(hops)])
    for hop in range(1, hops):
        axes.axvline(hop * heads - 0.5, color="black", linewidth=0.8)
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, label="attention")
    content = io.BytesIO()
    figure.savefig(content, dpi=120)
    plt.close(figure)
    command_line.write_whole(path, content.getvalue())


def test_result(stories, outputs, attention=None):
    """Errors of a model on test questions.

    Args:
        stories: data_utils.Stories.
        outputs: (questions, answers), the highest is the model's answer.
        attention: (questions, mx, hops, heads), or None.
    Returns:
        dict: "questions" and "wrong" (per task), "error" (per task, per cent), "mean_error" (mean over the tasks, per
        cent), "failed_tasks" (above 5 per cent); with `attention` also "attended", the mean `supporting_share` in per cent of
        each task whose files name supporting facts.
    """
    wrong = np.argmax(outputs, axis=1) != stories.answer
    tasks = [int(task) for task in np.unique(stories.task)]
    counts = {task: (int(np.sum(stories.task == task)), int(np.sum(wrong[stories.task == task]))) for task in tasks}
    errors = {task: 100.0 * bad / number for task, (number, bad) in counts.items()}
    result = {"questions": {str(task): counts[task][0] for task in tasks},
              "wrong": {str(task): counts[task][1] for task in tasks},
              "error": {str(task): round(errors[task], 4) for task in tasks},
              "mean_error": round(sum(errors.values()) / len(errors), 4),
              "failed_tasks": [task for task in tasks if errors[task] > data_utils.FAILED]}
    if attention is not None:
        share = supporting_share(stories, attention)
        known = ~np.isnan(share)
        result["attended"] = {str(task): round(100.0 * float(np.mean(share[known & (stories.task == task)])), 2)
                              for task in tasks if np.any(known & (stories.task == task))}
    return result


def table(test, files):
    """The per-task error table of a `test_result` on the test questions of some files, as text."""
    attended = test.get("attended", {})
    lines = [f"tested on {SIMULATED_WARNING}"] if files.simulated else []
    if attended:
        lines.append("attended: share of the supporting facts among as many of the strongest attended ones")
    lines.append(f"{'task':>4}  {'':26}  {'questions':>9}  {'wrong':>5}  {'error %':>7}" + "  attended %" * bool(attended))
    for task, error in test["error"].items():
        name = data_utils.TASKS[int(task) - 1].replace("-", " ")
        lines.append(f"{task:>4}  {name:26}  {test['questions'][task]:>9}  {test['wrong'][task]:>5}  {error:>7.1f}"
                     + (f"  {attended[task]:>10.1f}" if task in attended else " " * 12 * bool(attended))
                     + ("  failed" if int(task) in test["failed_tasks"] else ""))
    lines.append(f"mean error {test['mean_error']:.2f} %, failed tasks (error > {data_utils.FAILED:g} %): "
                 f"{len(test['failed_tasks'])} of {len(test['error'])}")
    return "\n".join(lines)
