#!/usr/bin/env python3
"""Train a Working Memory Network jointly on the bAbI tasks.

Pavez, Allende, Allende-Cid, "Working Memory Networks: Augmenting Memory Networks with a Relational Reasoning Module",
ACL 2018, arXiv 1805.09354.
"""
import training  # before keras: it keeps TensorFlow quiet
import keras

import babi_training
import command_line
import layers

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
    babi_training.add_data_options(parser, padding="read")
    training.add_start_options(parser)
    training.add_run_options(parser, epochs=f"400; {REFINEMENT_EPOCHS} when rd > 0", batch_size=32, clip_norm=40.0)
    add("--hops", type=command_line.positive_int, metavar="N", default=4, help="hops over the memories (default %(default)s)")
    add("--heads", type=command_line.positive_int, metavar="N", default=8,
        help="attention heads in a hop (default %(default)s)")
    add("--relation-units", type=command_line.positive_int, metavar="N", default=128,
        help="units of each of the three layers of g (default %(default)s)")
    add("--l2", type=command_line.natural_float, metavar="X", default=1e-3,
        help="weight of the L2 penalty on the kernels of attention, reasoning and answer (default %(default)g)")
    add("--overlap", type=command_line.natural_float, metavar="X", default=0.0,
        help="weight of an auxiliary loss: the first hop looks at the facts that share words with the question (default "
        "%(default)g)")
    add("--show", type=command_line.positive_int, metavar="N",
        help="with --evaluate: print test question N with the attention on its facts, and draw it")
    args = parser.parse_args(argv)
    args.epochs = args.epochs or (REFINEMENT_EPOCHS if args.rd else 400)
    args.lr = args.lr or (REFINEMENT_RATE if args.rd else 1e-3)
    if not (args.rd or args.evaluate):
        args.padding = args.padding or "read"
    return args


def run_name(args, rd, seed):
    return f"WMemNN_bAbI_{args.ez}_{args.lz}_{args.mx}_{rd}_{seed}"


# Model


def build_model(args, babi):
    """The network as a functional Keras model: inputs as `data_utils.StoryBatch`, output the logits of the answers."""
    l2 = keras.regularizers.L2(args.l2)
    inputs = babi_training.story_inputs(babi)
    memories, u = babi_training.encode(inputs, babi, args.ez, args.lz, padding="trained" if babi.padding == "read" else "masked",
                                       **training.encoder_initializers(args))
    working_memory = layers.AttentionalController(
        args.hops, args.heads, args.lz, l2, training.glorot_normal(args), name="attentional_controller")(
        memories, u, story=inputs.story_of_fact, count=inputs.count_of_fact)
    r = layers.RelationalReasoning([args.relation_units] * 3, l2, training.glorot_normal(args), name="reasoning_module")(
        working_memory, u)
    logits = keras.layers.Dense(len(babi.answers), use_bias=False, kernel_initializer=training.glorot_normal(args),
                                kernel_regularizer=l2, name="answer")(r)
    return keras.Model(inputs, logits, name="WMemNN")


def attend(model, batch):
    """The attention of a model of `build_model` on the facts of a `data_utils.StoryBatch`, (fact slots, hops, heads)."""
    memories = model.get_layer("short_term_storage")(batch.sentences, batch.sentence_of_fact, batch.time_of_fact)
    u = model.get_layer("question_encoder")(batch.question)
    _, weights = model.get_layer("attentional_controller").attend(
        memories, u, story=batch.story_of_fact, count=batch.count_of_fact)
    return weights


# Training and report


def main(argv=None):
    args = parse_arguments(argv)
    refinement = None
    if args.rd:
        refinement = babi_training.Refinement(args.rd, run_name(args, args.rd - 1, args.seed), HALVING_EPOCHS)
    babi_training.run(args, lambda seed: run_name(args, args.rd, seed), ("hops", "heads", "relation_units", "padding"), build_model,
                      refinement=refinement, attend=attend)


if __name__ == "__main__":
    command_line.run_script(main, training.KEPT)
