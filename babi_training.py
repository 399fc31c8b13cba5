"""What the training scripts for bAbI share: options, inputs, batches, the course from data to table, the report."""
import os
import sys
from typing import NamedTuple

import training  # before keras: it keeps TensorFlow quiet
import keras
import numpy as np

import command_line
import data_utils
from data import simulate_babi

FAILED = 5.0  # per cent of wrong answers above which a bAbI task counts as failed


# Arguments


def add_data_options(parser):
    """Add the options that say what to train on."""
    add = parser.add_argument
    add("--data", metavar="PATH", default="data/babi",
        help="folder or .tar.gz of the bAbI tasks v1.2; PATH/en is the 1k data (default %(default)s)")
    add("--tasks", type=command_line.task_list, metavar="LIST", default=list(range(1, 21)),
        help="tasks to train on jointly, such as 1,2,16-19 (default 1-20)")
    add("--extra-simulated", type=command_line.natural_number, metavar="N", default=0,
        help="simulated questions added to the training questions of each task (default %(default)s)")


# Inputs and batches


def story_inputs(babi, pairs=False):
    """The inputs of a functional model, a `data_utils.StoryBatch` of keras.Input, or a `PairBatch` with `pairs`."""
    kind = data_utils.PairBatch if pairs else data_utils.StoryBatch
    words = {"question": babi.questions.shape[1], "sentences": babi.sentences.shape[1]}
    return kind(*(keras.Input((words[name],) if name in words else (), dtype="int32", name=name)
                  for name in kind._fields))


def with_xla(pairs):
    """Whether a model is compiled by XLA, which needs batches of a few fixed sizes.

    TensorFlow runs the large products of pairs as fast without it, and the pairs need then no unused slots.
    """
    return not pairs or keras.backend.backend() != "tensorflow"


class StoryBatches(keras.utils.PyDataset):
    """Batches of bAbI questions: inputs a `data_utils.StoryBatch`, targets the numbers of the answers.

    The order is a permutation drawn from (`order_seed`, epoch), so an epoch has the same batches whatever ran before it.

    Args:
        babi: data_utils.Babi.
        stories: data_utils.Stories.
        batch_size: int.
        order_seed: list of int.
        steps: int, batches in an epoch; by default all.
        pairs: bool, whether inputs are a `data_utils.PairBatch`.
    """

    def __init__(self, babi, stories, batch_size, order_seed, steps=None, pairs=False):
        # With one worker Keras lets tf.data tune itself, and ending an epoch then waits for the tuner's next round, whose
        # period doubles. JAX needs no tf.data.
        super().__init__(workers=2 if keras.backend.backend() == "tensorflow" else 1)
        self.babi, self.stories, self.pairs = babi, stories, pairs
        self.batch_size, self.order_seed = batch_size, order_seed
        self.sizes = data_utils.slot_sizes(stories, batch_size, pairs) if with_xla(pairs) else None
        self.steps = min(steps or sys.maxsize, -(-len(stories) // batch_size))
        self.set_epoch(0)

    def set_epoch(self, epoch):
        """Draw the order of an epoch, counted from 0."""
        self.order = np.random.default_rng([*self.order_seed, epoch]).permutation(len(self.stories))

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size:(index + 1) * self.batch_size]
        return data_utils.pack_stories(self.babi, self.stories, rows, self.sizes, self.pairs), self.stories.answer[rows]


def predict(model, babi, stories, pairs=False, batch_size=250):
    """The model's outputs for all stories, in their order, (questions, answers)."""
    # In random order: batches of one task after the other would differ in size from task to task.
    batches = StoryBatches(babi, stories, batch_size, [0], pairs=pairs)
    outputs = np.empty((len(stories), len(babi.answers)), np.float32)
    outputs[batches.order] = training.uncompiled(model).predict(batches, verbose=0)
    return outputs



# From data to table


class Refinement(NamedTuple):
    """A run that goes on from the weights of another, on all training questions, at a rate that halves."""

    number: int  # k > 0, counts the refinements
    of: str  # name of the run whose weights are refined
    halving_epochs: int


def run(args, name, architecture, build_model, pairs=False, refinement=None):
    """Train a model and test it, or with `args.evaluate` only test it; prints the table of test errors.

    Args:
        args: parsed arguments of `add_data_options` and `training.add_run_options`, with `lr` and `seed`.
        name: str, of the run's files.
        architecture: names of the options that the saved weights fix.
        build_model: function of (args, babi) to a functional model with `story_inputs` and the logits of the answers.
        pairs: bool, whether the model reads pairs of facts.
        refinement: Refinement, or None.
    """
    keras.utils.set_random_seed(args.seed)

    def path(run_name, kind):
        return os.path.join(args.models, f"{run_name}.{kind}")

    saved = {}
    if args.evaluate or refinement:
        record_path = path(name if args.evaluate else refinement.of, "json")
        saved = training.read_record(record_path)
        training.check_options(record_path, saved, args, architecture)
    extra = {}
    if args.extra_simulated and not args.evaluate:
        extra = {task: simulate_babi.simulate_task(task, args.extra_simulated, args.seed, "extra") for task in args.tasks}
    babi = data_utils.load_babi(args.data, args.tasks, args.mx, saved.get("words"), saved.get("answers"), extra)
    print(describe_data(babi.files))
    model = build_model(args, babi)
    # Weights trained on simulated questions are said to be so, whatever they are refined or evaluated on.
    simulated = simulated_training(saved, babi.files, args)
    print("".join(f"{line}\n" for line in simulated), end="")

    settings = {key: value for key, value in vars(args).items()
                if key not in ("data", "models", "tensorboard", "evaluate", "fresh")}
    settings |= {"data": babi.files.fingerprint(), "backend": keras.backend.backend()}
    if refinement:
        settings["refines_sha256"] = training.file_digest(path(refinement.of, "weights.h5"))
    files = training.Run(args.models, name, settings)
    if args.evaluate:
        training.load_weights(model, files.path("weights.h5"), saved.get("weights_sha256"))
    else:
        files.check_writable()
        print(f"{name}: {model.count_params():,} parameters")
        if refinement:
            training.load_weights(model, path(refinement.of, "weights.h5"), settings["refines_sha256"])
        record = {"arguments": vars(args), "data": data_record(babi.files), "parameters": model.count_params(),
                  "words": babi.words, "answers": babi.answers, "trained_on_simulated": simulated,
                  "validation_inside_training": bool(refinement), "refines_sha256": settings.get("refines_sha256")}
        record = _train(args, model, babi, files, record, pairs, refinement)
    test = test_result(babi.test, predict(model, babi, babi.test, pairs))
    if not args.evaluate:
        files.save_record(record | {"test": test})
    print("\n".join([*simulated, table(test, babi.files)]))
    if not args.evaluate:
        print(f"saved: {files.path('weights.h5')}, .csv, .json")


def _train(args, model, babi, files, record, pairs, refinement):
    """Train, or go on; returns the record, and leaves the model with the weights of the best epoch."""
    training_stories, validation_stories = data_utils.split_validation(babi.train, args.seed)
    if refinement:
        training_stories = babi.train  # as the original does: validation questions are among them
    training_stories = training_stories.join(babi.extra)
    batches = StoryBatches(babi, training_stories, args.batch_size,
                           [args.seed, 1, refinement.number if refinement else 0], args.steps_per_epoch, pairs)
    validation = StoryBatches(babi, validation_stories, 250, [0], pairs=pairs)
    print(f"{len(training_stories):,} training and {len(validation_stories):,} validation questions, "
          f"{batches.steps:,} batches an epoch")
    rate = training.learning_rate(args, args.lr, batches.steps, refinement.halving_epochs if refinement else None)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=args.clip_norm),
                  training.BatchCrossentropy(args.batch_size), metrics=["accuracy"], jit_compile=with_xla(pairs),
                  steps_per_execution=min(25, batches.steps))
    return training.fit(model, files, record, batches, validation, args)


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


def test_result(stories, outputs):
    """Errors of a model on test questions.

    Args:
        stories: data_utils.Stories.
        outputs: (questions, answers), the highest is the model's answer.
    Returns:
        dict: "questions" and "wrong" (per task), "error" (per task, per cent), "mean_error" (mean over the tasks, per
        cent), "failed_tasks" (above 5 per cent).
    """
    wrong = np.argmax(outputs, axis=1) != stories.answer
    tasks = [int(task) for task in np.unique(stories.task)]
    counts = {task: (int(np.sum(stories.task == task)), int(np.sum(wrong[stories.task == task]))) for task in tasks}
    errors = {task: 100.0 * bad / number for task, (number, bad) in counts.items()}
    return {"questions": {str(task): counts[task][0] for task in tasks},
            "wrong": {str(task): counts[task][1] for task in tasks},
            "error": {str(task): round(errors[task], 4) for task in tasks},
            "mean_error": round(sum(errors.values()) / len(errors), 4),
            "failed_tasks": [task for task in tasks if errors[task] > FAILED]}


def table(test, files):
    """The per-task error table of a `test_result` on the test questions of some files, as text."""
    lines = [f"tested on {SIMULATED_WARNING}"] if files.simulated else []
    lines += [f"{'task':>4}  {'':26}  {'questions':>9}  {'wrong':>5}  {'error %':>7}"]
    for task, error in test["error"].items():
        name = data_utils.TASKS[int(task) - 1].replace("-", " ")
        lines.append(f"{task:>4}  {name:26}  {test['questions'][task]:>9}  {test['wrong'][task]:>5}  {error:>7.1f}"
                     + ("  failed" if int(task) in test["failed_tasks"] else ""))
    lines.append(f"mean error {test['mean_error']:.2f} %, failed tasks (error > {FAILED:g} %): "
                 f"{len(test['failed_tasks'])} of {len(test['error'])}")
    return "\n".join(lines)
