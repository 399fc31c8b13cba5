#!/usr/bin/env python3
"""Train a Relation Network jointly on the bAbI tasks.

Santoro, Raposo, Barrett, Malinowski, Pascanu, Battaglia, Lillicrap, "A simple neural network module for relational
reasoning", NIPS 2017, arXiv 1706.01427.
"""
from training.backend import keras

import data_utils
import layers
from data.simulate_babi import simulate_task
from training import babi_extensions, command_line, look, report, run
from training.batches import PairBatches, story_inputs
from training.objective import SummedCrossentropy, learning_rate

EPOCHS, PATIENCE = 400, 30
# The settings of Santoro et al., and of the script of W-MemNN's authors: defaults of the options named so.
VARIANTS = {
    "santoro": {"embedding_units": 32, "lstm_units": 32, "g_units": [256] * 4, "f_units": [256, 512], "lr": 2e-4,
                "padding": "masked"},
    "authors": {"embedding_units": 30, "lstm_units": 30, "g_units": [128] * 4, "f_units": [], "lr": 2.5e-4,
                "padding": "read"}}
# Options that saved weights fix.
FIXED = ("variant", "embedding_units", "lstm_units", "mx", "g_units", "f_units", "padding", "bfloat16")


# Arguments


def parse_arguments(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n", maxsplit=1)[0])
    command_line.add_babi_options(parser)
    group = parser.add_argument_group("the papers', with their values")
    add = group.add_argument
    add("--variant", choices=tuple(VARIANTS), default="santoro",
        help="whose Relation Network: that of Santoro et al., or that of the script of W-MemNN's authors, with its initial "
        "values, gates, padding and answers (default %(default)s)")
    add("--embedding-units", type=command_line.positive_int, metavar="N",
        help="size of a word embedding (default 32; authors 30)")
    add("--lstm-units", type=command_line.positive_int, metavar="N",
        help="units of the two LSTMs, size of an object (default 32; authors 30)")
    add("--embedding-scale", type=command_line.positive_float, metavar="X", default=1.0,
        help="word embeddings start uniform between -X and X; not for the authors' variant (default %(default)g)")
    add("--mx", type=command_line.positive_int, metavar="N", default=20,
        help="facts kept of a story, the newest (default %(default)s)")
    add("--g-units", type=command_line.unit_list, metavar="LIST",
        help="units of the layers of g (default 256,256,256,256; authors 128,128,128,128)")
    add("--f-units", type=command_line.unit_list, metavar="LIST",
        help="units of the layers of f before the answer; none leaves f out (default 256,512; authors none)")
    add("--dropout", type=command_line.fraction, metavar="P", default=0.5,
        help="share of the last layer of f that is dropped in training (default %(default)s)")
    add("--lr", type=command_line.positive_float, metavar="X", help="learning rate of Adam (default 0.0002; authors 0.00025)")
    add("--seed", type=command_line.seed_number, metavar="N", default=1234, help="of everything random (default %(default)s)")
    command_line.add_batch_options(group, batch_size=32)
    command_line.add_padding_option(group, "masked; authors read")
    run.add_options(parser, epochs=EPOCHS, patience=f"{PATIENCE}; no with --final-epochs")
    report.add_options(parser)
    babi_extensions.add_options(parser).add_argument("--bfloat16", action="store_true",
        help="products of g in bfloat16, with weights and the sum over pairs in float32: faster where the processor has them")
    args = parser.parse_args(argv)
    for name, value in VARIANTS[args.variant].items():
        if getattr(args, name) is None and not ((args.evaluate or args.ask) and name == "padding"):
            setattr(args, name, value)
    args.word_answers = args.variant == "authors"
    if not args.g_units:
        parser.error("argument --g-units: g has at least one layer")
    args.epochs = args.epochs or EPOCHS
    args.patience = args.patience or (None if args.final_epochs else PATIENCE)
    return args


def run_name(_, seed):
    return f"RN_bAbI_{seed}"


# Model


def build_model(args, babi):
    """The network as a functional Keras model: inputs a `PairBatch`, output the logits of the answers.

        o_i = LSTM_fact(E_fact[words of fact i, time word]),  q = LSTM_question(E_question[words])
        logits = f(sum over i, j of g([o_i; o_j; q]))
    """
    glorot_uniform, normal = layers.Glorot("uniform", kernels=4), keras.initializers.RandomNormal(stddev=0.05)
    if args.variant == "authors":
        padding, gate, g_start, answer_start = "zero", "hard_sigmoid", layers.Glorot("uniform"), normal
    else:
        padding, gate, g_start, answer_start = "read", "sigmoid", "glorot_normal", "glorot_normal"
    padding = "masked" if babi.padding == "masked" else padding

    def encoder(name):
        if args.variant == "authors":
            start = layers.anew(normal), layers.anew(glorot_uniform), layers.anew(glorot_uniform)
        else:
            scale = args.embedding_scale
            start = keras.initializers.RandomUniform(-scale, scale), "glorot_normal", "orthogonal"
        return layers.SentenceEncoder(babi.word_rows(), args.embedding_units, args.lstm_units, "lstm", *start, padding, gate,
                                      name=name)

    story = story_inputs(babi, pairs=True)
    objects = layers.ShortTermStorage(encoder("fact_encoder"), name="short_term_storage")(
        story.sentences, story.sentence_of_fact, story.time_of_fact, story.beginnings)
    question = encoder("question_encoder")(story.question)
    x = layers.RelationalReasoning(
        args.g_units, kernel_initializer=g_start, dtype="mixed_bfloat16" if args.bfloat16 else None, name="g")(
        objects, question, story=story.story_of_fact, first=story.first_of_pair, second=story.second_of_pair,
        count=story.count_of_fact)
    for number, units in enumerate(args.f_units, start=1):
        x = keras.layers.Dense(units, activation="relu", kernel_initializer="glorot_normal", name=f"f_{number}")(x)
    if args.f_units:
        x = keras.layers.Dropout(args.dropout, name="dropout")(x)
    logits = keras.layers.Dense(len(babi.answers), kernel_initializer=answer_start, name="answer")(x)
    return keras.Model(story, logits, name="RN")


# From the arguments to the table


def main(argv=None):
    args = parse_arguments(argv)
    report.check_options(args)
    babi_extensions.check_options(args)
    if args.evaluate:
        report.evaluate(args, run_name, FIXED, build_model)
        return
    if args.ask:
        look.ask(args, run_name(args, args.seed), FIXED, build_model)
        return

    # Data
    keras.utils.set_random_seed(args.seed)
    babi = data_utils.load_babi(args.data, args.tasks, args.mx, args.padding, word_answers=args.word_answers,
                                extra_train=babi_extensions.simulated_questions(args, simulate_task),
                                names=babi_extensions.names_across_tasks(args))
    training, validation = data_utils.split_validation(babi, args.seed, args.validation)
    this = run.Run(args, run_name(args, args.seed), earlier=babi_extensions.EARLIER, **report.describe(args, babi))

    # Model
    network = build_model(args, babi)

    # Training: summed cross-entropy, Adam
    training, validation = training.join(babi.extra), PairBatches(babi, validation, 250)
    batches = PairBatches(babi, training, args.batch_size, [args.seed, 1, 0], args.steps_per_epoch,
                          babi_extensions.course(args, babi, network, validation),
                          final=babi_extensions.final_part(args, training, validation))
    rate = learning_rate(args, batches.steps_until(args.epochs))
    trained = babi_extensions.with_auxiliary_losses(network, args, babi)
    trained.compile(keras.optimizers.Adam(rate, epsilon=1e-8, global_clipnorm=args.clip_norm),
                    SummedCrossentropy(args.batch_size), metrics=["accuracy"], jit_compile=PairBatches.fixed_sizes(),
                    steps_per_execution=min(25, batches.steps))
    run.fit(this, network, trained, batches, validation)

    # Report, with the weights of the first epoch with the best validation accuracy, or of the last of --final-epochs
    report.test(this, network, babi)
    this.release()


if __name__ == "__main__":
    command_line.run_script(main, run.KEPT)
