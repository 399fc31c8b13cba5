#!/usr/bin/env python3
"""Train a Working Memory Network jointly on the bAbI tasks.

Pavez, Allende, Allende-Cid, "Working Memory Networks: Augmenting Memory Networks with a Relational Reasoning Module",
ACL 2018, arXiv 1805.09354.
"""
import os

import training  # before keras: it keeps TensorFlow quiet
import keras

import command_line
import data_utils
import layers
from data import simulate_babi

REFINEMENT_EPOCHS, REFINEMENT_RATE, HALVING_EPOCHS = 20, 1e-5, 5


# Arguments


def parse_arguments(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("ez", nargs="?", type=command_line.positive_int, default=30, help="size of a word embedding (default %(default)s)")
    add("lz", nargs="?", type=command_line.positive_int, default=30,
        help="units of the GRUs, size of a memory (default %(default)s)")
    add("mx", nargs="?", type=command_line.positive_int, default=30,
        help="facts kept of a story, the newest (default %(default)s)")
    add("rd", nargs="?", type=command_line.natural_number, default=0,
        help="0 trains; k > 0 refines the weights of run k-1 on all training questions (default %(default)s)")
    add("lr", nargs="?", type=command_line.positive_float,
        help=f"learning rate of Adam (default 0.001; {REFINEMENT_RATE:g} when rd > 0)")
    add("seed", nargs="?", type=command_line.seed_number, default=1234, help="of everything random (default %(default)s)")
    add("--data", metavar="PATH", default="data/babi",
        help="folder or .tar.gz of the bAbI tasks v1.2; PATH/en is the 1k data (default %(default)s)")
    add("--tasks", type=command_line.task_list, metavar="LIST", default=list(range(1, 21)),
        help="tasks to train on jointly, such as 1,2,16-19 (default 1-20)")
    add("--extra-simulated", type=command_line.natural_number, metavar="N", default=0,
        help="simulated questions added to the training questions of each task (default %(default)s)")
    training.add_run_options(parser, epochs=f"400; {REFINEMENT_EPOCHS} when rd > 0", batch_size=32)
    add("--hops", type=command_line.positive_int, metavar="N", default=4, help="hops over the memories (default %(default)s)")
    add("--heads", type=command_line.positive_int, metavar="N", default=8,
        help="attention heads in a hop (default %(default)s)")
    add("--relation-units", type=command_line.positive_int, metavar="N", default=128,
        help="units of each of the three layers of g (default %(default)s)")
    add("--l2", type=command_line.natural_float, metavar="X", default=1e-3,
        help="weight of the L2 penalty on the kernels of attention, reasoning and answer (default %(default)g)")
    args = parser.parse_args(argv)
    args.epochs = args.epochs or (REFINEMENT_EPOCHS if args.rd else 400)
    args.lr = args.lr or (REFINEMENT_RATE if args.rd else 1e-3)
    return args


def run_name(args, rd):
    return f"WMemNN_bAbI_{args.ez}_{args.lz}_{args.mx}_{rd}_{args.seed}"


def weights_path(args, rd):
    return os.path.join(args.models, f"{run_name(args, rd)}.weights.h5")


# Model


def build_model(args, babi):
    """The network as a functional Keras model: inputs as `data_utils.StoryBatch`, output the logits of the answers."""
    l2 = keras.regularizers.L2(args.l2)
    question = keras.Input((babi.questions.shape[1],), dtype="int32", name="question")
    sentences = keras.Input((babi.sentences.shape[1],), dtype="int32", name="sentences")
    sentence_of_fact = keras.Input((), dtype="int32", name="sentence_of_fact")
    time_of_fact = keras.Input((), dtype="int32", name="time_of_fact")
    story_of_fact = keras.Input((), dtype="int32", name="story_of_fact")

    words = len(babi.words) + 1
    fact_encoder = layers.SentenceEncoder(words + args.mx, args.ez, args.lz, name="fact_encoder")
    memories = layers.ShortTermStorage(fact_encoder, name="short_term_storage")(
        sentences, sentence_of_fact, time_of_fact)
    u = layers.SentenceEncoder(words, args.ez, args.lz, name="question_encoder")(question)
    working_memory = layers.AttentionalController(
        args.hops, args.heads, args.lz, l2, name="attentional_controller")(memories, u, story=story_of_fact)
    r = layers.RelationalReasoning([args.relation_units] * 3, l2, name="reasoning_module")(working_memory, u)
    logits = keras.layers.Dense(len(babi.answers), use_bias=False, kernel_initializer="glorot_normal",
                                kernel_regularizer=l2, name="answer")(r)
    inputs = data_utils.StoryBatch(question, sentences, sentence_of_fact, time_of_fact, story_of_fact)
    return keras.Model(inputs, logits, name="WMemNN")


# Training


def train(args, model, babi, run, record):
    """Train, or go on; returns the record, and leaves the model with the weights of the best epoch."""
    if args.rd:
        training.load_weights(model, weights_path(args, args.rd - 1), record["refines_sha256"])
    training_stories, validation_stories = data_utils.split_validation(babi.train, args.seed)
    if args.rd:
        training_stories = babi.train  # as the original does: validation questions are among them
    training_stories = training_stories.join(babi.extra)
    batches = training.StoryBatches(babi, training_stories, args.batch_size, [args.seed, 1, args.rd],
                                    args.steps_per_epoch)
    validation = training.StoryBatches(babi, validation_stories, 250, [0])
    print(f"{len(training_stories):,} training and {len(validation_stories):,} validation questions, "
          f"{batches.steps:,} batches an epoch")
    rate = training.learning_rate(args, args.lr, batches.steps, HALVING_EPOCHS if args.rd else None)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=args.clip_norm),
                  training.BatchCrossentropy(args.batch_size), metrics=["accuracy"], jit_compile=True,
                  steps_per_execution=min(25, batches.steps))
    return training.fit(model, run, record, batches, validation, args)


# Report


def main(argv=None):
    args = parse_arguments(argv)
    keras.utils.set_random_seed(args.seed)
    saved = {}
    if args.evaluate or args.rd:
        path = os.path.join(args.models, f"{run_name(args, args.rd if args.evaluate else args.rd - 1)}.json")
        saved = training.read_record(path)
        training.check_options(path, saved, args, ("hops", "heads", "relation_units"))
    extra = {}
    if args.extra_simulated and not args.evaluate:
        extra = {task: simulate_babi.simulate_task(task, args.extra_simulated, args.seed, "extra") for task in args.tasks}
    babi = data_utils.load_babi(args.data, args.tasks, args.mx, saved.get("words"), saved.get("answers"), extra)
    print(training.describe_data(babi.files))
    model = build_model(args, babi)
    # Weights trained on simulated questions are said to be so, whatever they are refined or evaluated on.
    simulated = training.simulated_training(saved, babi.files, args)
    print("".join(f"{line}\n" for line in simulated), end="")

    settings = {key: value for key, value in vars(args).items()
                if key not in ("data", "models", "tensorboard", "evaluate", "fresh")}
    settings |= {"data": babi.files.fingerprint(), "backend": keras.backend.backend()}
    if args.rd:
        settings["refines_sha256"] = training.file_digest(weights_path(args, args.rd - 1))
    run = training.Run(args.models, run_name(args, args.rd), settings)
    if args.evaluate:
        training.load_weights(model, run.path("weights.h5"), saved.get("weights_sha256"))
    else:
        run.check_writable()
        print(f"{run.name}: {model.count_params():,} parameters")
        record = {"arguments": vars(args), "data": training.data_record(babi.files),
                  "parameters": model.count_params(), "words": babi.words, "answers": babi.answers,
                  "trained_on_simulated": simulated, "validation_inside_training": args.rd > 0,
                  "refines_sha256": settings.get("refines_sha256")}
        record = train(args, model, babi, run, record)
    test = training.test_result(babi.test, training.predict(model, babi, babi.test))
    if not args.evaluate:
        run.save_record(record | {"test": test})
    print("\n".join([*simulated, training.table(test, babi.files)]))
    if not args.evaluate:
        print(f"saved: {run.path('weights.h5')}, .csv, .json")


if __name__ == "__main__":
    command_line.run_script(main, "nothing saved is lost; the same command, without --fresh, goes on from the last "
                            "finished epoch")
