#!/usr/bin/env python3
"""Train a Relation Network jointly on the bAbI tasks.

Santoro, Raposo, Barrett, Malinowski, Pascanu, Battaglia, Lillicrap, "A simple neural network module for relational
reasoning", NIPS 2017, arXiv 1706.01427.
"""
import training  # before keras: it keeps TensorFlow quiet
import keras

import babi_training
import command_line
import layers


# Arguments

# The settings of Santoro et al., and of the script of W-MemNN's authors: defaults of the options named so.
VARIANTS = {
    "santoro": {"embedding_units": 32, "lstm_units": 32, "g_units": [256] * 4, "f_units": [256, 512], "lr": 2e-4,
                "padding": "masked"},
    "authors": {"embedding_units": 30, "lstm_units": 30, "g_units": [128] * 4, "f_units": [], "lr": 2.5e-4,
                "padding": "read"}}


def parse_arguments(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--variant", choices=tuple(VARIANTS), default="santoro",
        help="whose Relation Network: that of Santoro et al., or that of the authors' script, with its initial values, gates, padding "
        "and answers (default %(default)s)")
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
    add("--lr", type=command_line.positive_float, metavar="X",
        help="learning rate of Adam (default 0.0002; authors 0.00025)")
    add("--seed", type=command_line.seed_number, metavar="N", default=1234, help="of everything random (default %(default)s)")
    babi_training.add_data_options(parser, padding="masked; authors read")
    training.add_run_options(parser, epochs=400, batch_size=32, patience=30)
    args = parser.parse_args(argv)
    for name, value in VARIANTS[args.variant].items():
        if getattr(args, name) is None and not (args.evaluate and name == "padding"):
            setattr(args, name, value)
    args.word_answers = args.variant == "authors"
    if not args.g_units:
        parser.error("argument --g-units: g has at least one layer")
    args.epochs = args.epochs or 400
    return args


# Model


def build_model(args, babi):
    """The network as a functional Keras model: inputs as `data_utils.PairBatch`, output the logits of the answers.

        o_i = LSTM_fact(E_fact[words of fact i, time word]),  q = LSTM_question(E_question[words])
        logits = f(sum over i, j of g([o_i; o_j; q]))
    """
    normal, uniform = keras.initializers.RandomNormal, keras.initializers.RandomUniform
    if args.variant == "authors":
        padding, gates, g_kernels, answer_kernel = "zero", "hard_sigmoid", layers.Glorot("uniform"), normal(stddev=0.05)
        start = {"embeddings_initializer": normal(stddev=0.05), "kernel_initializer": layers.Glorot("uniform", 4),
                 "recurrent_initializer": layers.Glorot("uniform", 4)}
    else:
        padding, gates, g_kernels, answer_kernel = "trained", "sigmoid", "glorot_normal", "glorot_normal"
        start = {"embeddings_initializer": uniform(-args.embedding_scale, args.embedding_scale),
                 "kernel_initializer": "glorot_normal", "recurrent_initializer": "orthogonal"}
    inputs = babi_training.story_inputs(babi, pairs=True)
    objects, question = babi_training.encode(
        inputs, babi, args.embedding_units, args.lstm_units, cell="lstm", recurrent_activation=gates,
        padding=padding if babi.padding == "read" else "masked", **start)
    x = layers.RelationalReasoning(args.g_units, kernel_initializer=g_kernels, name="g")(
        objects, question, story=inputs.story_of_fact, first=inputs.first_of_pair, second=inputs.second_of_pair,
        count=inputs.count_of_fact)
    for number, units in enumerate(args.f_units, start=1):
        x = keras.layers.Dense(units, activation="relu", kernel_initializer="glorot_normal", name=f"f_{number}")(x)
    if args.f_units:
        x = keras.layers.Dropout(args.dropout, name="dropout")(x)
    logits = keras.layers.Dense(len(babi.answers), kernel_initializer=answer_kernel, name="answer")(x)
    return keras.Model(inputs, logits, name="RN")


# Training and report


def main(argv=None):
    args = parse_arguments(argv)
    babi_training.run(args, lambda seed: f"RN_bAbI_{seed}", ("variant", "embedding_units", "lstm_units", "mx", "g_units", "f_units", "padding"),
                      build_model, pairs=True)


if __name__ == "__main__":
    command_line.run_script(main, training.KEPT)
