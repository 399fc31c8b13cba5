#!/usr/bin/env python3
"""Train a Working Memory Network jointly on the bAbI tasks.

Pavez, Allende, Allende-Cid, "Working Memory Networks: Augmenting Memory Networks with a Relational Reasoning Module",
ACL 2018, arXiv 1805.09354.
"""
from training.backend import keras

import data_utils
import layers
from data.simulate_babi import simulate_task
from training import babi_extensions, command_line, look, report, run
from training.batches import StoryBatches, story_inputs
from training.objective import SummedCrossentropy, encoder_initializers, glorot_normal, learning_rate
from training.steps import StepsAtOnce

EPOCHS, RATE = 400, 1e-3
REFINEMENT_EPOCHS, REFINEMENT_RATE, HALVING_EPOCHS = 20, 1e-5, 5
STEPS_AT_ONCE = 25  # training steps in one call of what is compiled
FIXED = ("hops", "heads", "relation_units", "padding")  # options that saved weights fix


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
        help=f"learning rate of Adam (default {RATE:g}; {REFINEMENT_RATE:g} when rd > 0)")
    add("seed", nargs="?", type=command_line.seed_number, default=1234, help="of everything random (default %(default)s)")
    command_line.add_babi_options(parser)
    group = parser.add_argument_group("the paper's, with its values")
    add = group.add_argument
    add("--hops", type=command_line.positive_int, metavar="N", default=4, help="hops over the memories (default %(default)s)")
    add("--heads", type=command_line.positive_int, metavar="N", default=8, help="attention heads in a hop (default %(default)s)")
    add("--relation-units", type=command_line.positive_int, metavar="N", default=128,
        help="units of each of the three layers of g (default %(default)s)")
    add("--l2", type=command_line.natural_float, metavar="X", default=1e-3,
        help="weight of the L2 penalty on the kernels of attention, reasoning and answer (default %(default)g)")
    command_line.add_batch_options(group, batch_size=32, clip_norm=40.0)
    command_line.add_start_options(group)
    command_line.add_padding_option(group, "read")
    run.add_options(parser, epochs=f"{EPOCHS}; {REFINEMENT_EPOCHS} when rd > 0")
    report.add_options(parser, attends=True)
    babi_extensions.add_overlap_option(babi_extensions.add_options(parser))
    args = parser.parse_args(argv)
    args.epochs = args.epochs or (REFINEMENT_EPOCHS if args.rd else EPOCHS)
    args.lr = args.lr or (REFINEMENT_RATE if args.rd else RATE)
    if not (args.rd or args.evaluate or args.ask):  # these have the padding of the weights
        args.padding = args.padding or "read"
    return args


def run_name(args, seed, rd=None):
    return f"WMemNN_bAbI_{args.ez}_{args.lz}_{args.mx}_{args.rd if rd is None else rd}_{seed}"


# Model


def build_model(args, babi):
    """The network, Figure 1 of the paper, as a functional model: inputs a `StoryBatch`, output the logits of the answers."""
    l2, story = keras.regularizers.L2(args.l2), story_inputs(babi)

    def encoder(name):
        return layers.SentenceEncoder(babi.word_rows(), args.ez, args.lz, name=name, padding=babi.padding,
                                      **encoder_initializers(args.start, args.embedding_scale))

    memories = layers.ShortTermStorage(encoder("fact_encoder"), name="short_term_storage")(
        story.sentences, story.sentence_of_fact, story.time_of_fact, story.beginnings)
    u = encoder("question_encoder")(story.question)
    working_memory = layers.AttentionalController(
        args.hops, args.heads, args.lz, l2, glorot_normal(args.start), name="attentional_controller")(
        memories, u, story=story.story_of_fact, count=story.count_of_fact)
    r = layers.RelationalReasoning([args.relation_units] * 3, l2, glorot_normal(args.start), name="reasoning_module")(
        working_memory, u)
    logits = keras.layers.Dense(len(babi.answers), use_bias=False, kernel_initializer=glorot_normal(args.start),
                                kernel_regularizer=l2, name="answer")(r)
    return keras.Model(story, logits, name="WMemNN")


def attend(network, batch):
    """The attention of a network of `build_model` on the facts of a `StoryBatch`, (fact slots, hops, heads)."""
    memories = network.get_layer("short_term_storage")(batch.sentences, batch.sentence_of_fact, batch.time_of_fact, batch.beginnings)
    u = network.get_layer("question_encoder")(batch.question)
    _, weights = network.get_layer("attentional_controller").attend(
        memories, u, story=batch.story_of_fact, count=batch.count_of_fact)
    return weights


# From the arguments to the table


def main(argv=None):
    args = parse_arguments(argv)
    report.check_options(args)
    babi_extensions.check_options(args)
    if args.evaluate:
        report.evaluate(args, run_name, FIXED, build_model, attend)
        return
    if args.ask:
        look.ask(args, run_name(args, args.seed), FIXED, build_model, attend)
        return

    # Data
    keras.utils.set_random_seed(args.seed)
    refined = run.read_run(args, run_name(args, args.seed, args.rd - 1), FIXED, babi_extensions.EARLIER) if args.rd else None
    babi = data_utils.load_babi(args.data, args.tasks, args.mx, args.padding, refined,
                                babi_extensions.simulated_questions(args, simulate_task),
                                names=babi_extensions.names_across_tasks(args))
    training, validation = data_utils.split_validation(babi, args.seed, args.validation)
    if args.rd:
        training = babi.train  # as the authors do: the validation questions are among them
    this = run.Run(args, run_name(args, args.seed), earlier=babi_extensions.EARLIER, **report.describe(args, babi, refined))

    # Model
    network = build_model(args, babi)
    if args.rd:
        this.refine(network, run_name(args, args.seed, args.rd - 1))

    # Training: summed cross-entropy and L2, Adam, the gradient clipped, the rate of a refinement halved every five epochs
    training, validation = training.join(babi.extra), StoryBatches(babi, validation, 250)
    batches = StoryBatches(babi, training, args.batch_size, [args.seed, 1, args.rd], args.steps_per_epoch,
                           babi_extensions.course(args, babi, network, validation), STEPS_AT_ONCE,
                           babi_extensions.final_part(args, training, validation))
    rate = learning_rate(args, batches.steps_until(args.epochs), HALVING_EPOCHS * batches.steps if args.rd else None)
    losses = babi_extensions.with_auxiliary_losses(network, args, babi)
    trained = StepsAtOnce(losses.input, losses.output)
    trained.compile(optimizer=keras.optimizers.Adam(rate, epsilon=1e-8, global_clipnorm=args.clip_norm),
                    loss=SummedCrossentropy(args.batch_size), metrics=["accuracy"], jit_compile=True)
    run.fit(this, network, trained, batches, validation)

    # Report, with the weights of the first epoch with the best validation accuracy, or of the last of --final-epochs
    report.test(this, network, babi, attend)
    this.release()


if __name__ == "__main__":
    command_line.run_script(main, run.KEPT)
