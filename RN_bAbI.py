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


def parse_arguments(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--embedding-units", type=command_line.positive_int, metavar="N", default=32,
        help="size of a word embedding (default %(default)s)")
    add("--lstm-units", type=command_line.positive_int, metavar="N", default=32,
        help="units of the two LSTMs, size of an object (default %(default)s)")
    add("--embedding-scale", type=command_line.positive_float, metavar="X", default=1.0,
        help="word embeddings start uniform between -X and X (default %(default)g)")
    add("--mx", type=command_line.positive_int, metavar="N", default=20,
        help="facts kept of a story, the newest (default %(default)s)")
    add("--g-units", type=command_line.unit_list, metavar="LIST", default=[256, 256, 256, 256],
        help="units of the layers of g (default 256,256,256,256)")
    add("--f-units", type=command_line.unit_list, metavar="LIST", default=[256, 512],
        help="units of the layers of f before the answer; none leaves f out (default 256,512)")
    add("--dropout", type=command_line.fraction, metavar="P", default=0.5,
        help="share of the last layer of f that is dropped in training (default %(default)s)")
    add("--lr", type=command_line.positive_float, metavar="X", default=2e-4, help="learning rate of Adam (default %(default)s)")
    add("--seed", type=command_line.seed_number, metavar="N", default=1234, help="of everything random (default %(default)s)")
    babi_training.add_data_options(parser)
    training.add_run_options(parser, epochs=400, batch_size=32, patience=30)
    args = parser.parse_args(argv)
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
    inputs = babi_training.story_inputs(babi, pairs=True)
    objects, question = babi_training.encode(
        inputs, babi, args.mx, args.embedding_units, args.lstm_units, args.embedding_scale, cell="lstm")
    x = layers.RelationalReasoning(args.g_units, name="g")(
        objects, question, story=inputs.story_of_fact, first=inputs.first_of_pair, second=inputs.second_of_pair)
    for number, units in enumerate(args.f_units, start=1):
        x = keras.layers.Dense(units, activation="relu", kernel_initializer="glorot_normal", name=f"f_{number}")(x)
    if args.f_units:
        x = keras.layers.Dropout(args.dropout, name="dropout")(x)
    logits = keras.layers.Dense(len(babi.answers), kernel_initializer="glorot_normal", name="answer")(x)
    return keras.Model(inputs, logits, name="RN")


# Training and report


def main(argv=None):
    args = parse_arguments(argv)
    babi_training.run(args, lambda seed: f"RN_bAbI_{seed}", ("embedding_units", "lstm_units", "mx", "g_units", "f_units"),
                      build_model, pairs=True)


if __name__ == "__main__":
    command_line.run_script(main, training.KEPT)
