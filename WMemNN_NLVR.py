#!/usr/bin/env python3
"""Train a Working Memory Network on the images and sentences of NLVR.

Pavez, Allende, Allende-Cid, "Working Memory Networks: Augmenting Memory Networks with a Relational Reasoning Module",
ACL 2018, arXiv 1805.09354.
"""
import argparse
import functools

from training.backend import keras

import data_utils
import layers
from data.crops import load_crops
from training import command_line, nlvr_extensions, report, run, simulate_nlvr
from training.batches import ImageBatches, image_inputs
from training.objective import BinaryCrossentropy, encoder_initializers, glorot_normal, learning_rate

EPOCHS, RATE = 60, 1e-3
# How the authors' program reads the data. An evaluation reads it as the training did.
READING = {"padding": "read", "halving": "nearest", "statistics": "one", "sentences": "authors"}
# Options that saved weights fix.
FIXED = (*READING, "order_colours", "convolutions", "attention", "batch_normalization", "attention_units", "heads", "scores")
CONVOLUTIONS = {"authors": None, "port": "he_normal", "uniform": "glorot_uniform"}  # their initial values, by --start


# Arguments


def parse_arguments(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("ez", nargs="?", type=command_line.positive_int, default=100, help="size of a word embedding (default %(default)s)")
    add("cz", nargs="?", type=memory_size, default=24,
        help="size of a memory: filters, and two coordinates (default %(default)s)")
    add("lz", nargs="?", type=command_line.positive_int, default=128, help="units of the GRU (default %(default)s)")
    add("mx", nargs="?", type=command_line.positive_int, default=50,
        help="words kept of a sentence (default %(default)s)")
    add("seed", nargs="?", type=command_line.seed_number, default=1234, help="of everything random (default %(default)s)")
    as_trained = "; with --evaluate as trained)"
    add = parser.add_argument_group("data").add_argument
    add("--data", metavar="DIR", default="data/nlvr", help="folder of the corpus (default %(default)s)")
    add("--cache", metavar="FILE",
        help="where the decoded images are kept from run to run (default DIR.crops.h5, with --halving mean DIR.crops-mean.h5)")
    add("--validation-folders", type=command_line.positive_int, metavar="K",
        help="choose the best epoch on K of the numbered training folders, which are not trained on (default: on dev)")
    add("--halving", choices=data_utils.HALVINGS,
        help="how 400 x 100 pixels become 200 x 50: by the nearest, or the mean of four (default nearest" + as_trained)
    add("--statistics", choices=data_utils.STATISTICS,
        help="pixels are normalised by one mean and deviation, or by one for each colour channel (default one" + as_trained)
    add("--sentences", choices=data_utils.SENTENCES,
        help="rules that make words of a sentence: those of the authors, which make fewer different ones, or those that this "
        "project had first (default authors" + as_trained)
    group = parser.add_argument_group("the paper's, with its values")
    add = group.add_argument
    add("--lr", type=command_line.positive_float, metavar="X", default=RATE,
        help="learning rate of Adam (default %(default)g)")
    add("--l2", type=command_line.natural_float, metavar="X", default=1e-3,
        help="weight of the L2 penalty on the kernels of attention and f_t (default %(default)g)")
    command_line.add_batch_options(group, batch_size=256, of="images")
    add("--batches", choices=("examples", "images"), default="images",
        help="what is shuffled: examples, with their six images in one batch, or single images (default %(default)s)")
    command_line.add_start_options(group)
    add("--padding", choices=("read", "masked"),
        help="whether the GRU reads the padding in front of a sentence, which has an embedding (default read" + as_trained)
    run.add_options(parser, epochs=str(EPOCHS))
    add = parser.add_argument_group("looking at results").add_argument
    add("--evaluate", action="store_true", help="no training: load the saved weights and print the table")
    add("--show", type=command_line.positive_int, metavar="N",
        help="with --evaluate: print image N of Test-P with where each hop looks in its boxes, and draw it")
    add("--html", metavar="FILE",
        help="with --evaluate: write a page of the figures, and of images with where each hop looks in their boxes")
    nlvr_extensions.add_options(parser)
    args = parser.parse_args(argv)
    args.epochs = args.epochs or EPOCHS
    if (args.simulated_per_epoch or 0) > args.simulated_sentences:
        parser.error(f"--simulated-per-epoch {args.simulated_per_epoch} is more than --simulated-sentences "
                     f"{args.simulated_sentences}; give as many or fewer")
    if args.simple_epochs and not args.simulated_sentences:
        parser.error("--simple-epochs needs --simulated-sentences N, sentences for the epochs behind them")
    if args.start == "uniform" and args.embedding_scale is None:  # records and states have it in figures
        args.embedding_scale = nlvr_extensions.EARLIER["embedding_scale"]
    if not args.evaluate:
        for option, value in READING.items():
            setattr(args, option, getattr(args, option) or value)
    return args


def memory_size(text):
    """A whole number from 3 up, for argparse."""
    number = command_line.positive_int(text)
    if number < 3:
        raise argparse.ArgumentTypeError("must be above 2")
    return number


def run_name(args, seed=None):
    return f"WMemNN_NLVR_{args.ez}_{args.cz}_{args.lz}_{args.mx}_{args.seed if seed is None else seed}"


# Model


def build_model(args, nlvr):
    """The network as a functional model: inputs an `ImageBatch`, output the logit of "true" for each image."""
    l2, shared = keras.regularizers.L2(args.l2), args.attention == "shared"
    image = image_inputs(nlvr, shared)

    def glorot():
        return "glorot_uniform" if args.start == "uniform" else glorot_normal(args.start)

    memories = layers.BoxEncoder(args.cz, nlvr.mean, nlvr.deviation, CONVOLUTIONS[args.start], args.convolutions,
                                 name="box_encoder")(image.crops)
    if args.batch_normalization:
        memories = keras.layers.BatchNormalization(momentum=0.95, name="memory_normalization")(memories)
    # Sentences come padded to the longest; the rest of the mx words is the same for all.
    u = layers.SentenceEncoder(
        len(nlvr.words) + 1, args.ez, args.lz, padding=args.padding, padding_in_front=args.mx - nlvr.sentences.shape[1],
        **encoder_initializers(args.start, args.embedding_scale), name="sentence_encoder")(
            nlvr_extensions.without_some_words(image.sentences, args.word_dropout))
    working_memory = layers.VisualController(
        2, len(data_utils.BOX_LEFT), args.attention_units, shared, l2, args.heads, args.scores, glorot(),
        name="visual_controller")(memories, u, image.box_of_look, image.sentence_of_look, image.look_of_image)
    r = layers.RelationalReasoning([256, 128, 64], kernel_initializer=glorot_normal(args.start), name="reasoning_module")(
        working_memory, keras.ops.take(u, image.sentence_of_image, axis=0))
    hidden = keras.layers.Dense(32, activation="relu", name="hidden")(r)
    answer = keras.layers.Dense(1, kernel_initializer=glorot(), name="answer")(hidden)
    return keras.Model(image, answer, name="WMemNN_NLVR")


def attend(network, batch):
    """The attention of a network of `build_model` on the boxes of an `ImageBatch`, (images, hops * places, heads, cells)."""
    controller = network.get_layer("visual_controller")
    return controller.attend(*keras.Model(network.input, controller.input)(batch, training=False))[1]


def accuracy(y_true, y_pred):
    """Whether each logit has the sign of its label."""
    return keras.ops.cast(keras.ops.equal(y_pred > 0, y_true > 0.5), "float32")


# From the arguments to the table


def load(args, like=None):
    """The corpus as arrays, with words and pixels as the run of a record has them, if one is given."""
    return data_utils.load_nlvr(args.data, functools.partial(load_crops, cache=args.cache), args.mx, like,
                                args.sentences, args.halving, args.statistics)


def main(argv=None):
    args = parse_arguments(argv)
    report.check_options(args)
    if args.evaluate:
        saved = run.read_run(args, run_name(args), FIXED, nlvr_extensions.EARLIER)
        nlvr = load(args, saved)
        if args.order_colours:
            nlvr, _ = nlvr_extensions.order_colours(nlvr)
        report.evaluate_nlvr(args, run_name(args), saved, build_model(args, nlvr), nlvr, attend)
        return

    # Data
    keras.utils.set_random_seed(args.seed)
    nlvr = load(args)
    training, validation = nlvr.splits["train"], nlvr.splits["dev"]
    if args.validation_folders:
        training, validation = data_utils.split_folders(training, args.validation_folders, args.seed)
    training = simulate_nlvr.with_simulated(args, nlvr, training)
    if args.order_colours:
        nlvr, (training, validation) = nlvr_extensions.order_colours(nlvr, training, validation)
    this = run.Run(args, run_name(args), earlier=nlvr_extensions.EARLIER, unit="images", **report.describe_nlvr(args, nlvr))

    # Model
    network = build_model(args, nlvr)

    # Training: the mean of the cross-entropy of each image and L2, Adam, the gradient clipped only with --clip-norm
    shared = args.attention == "shared"
    batches = ImageBatches(nlvr, training, args.batch_size, args.batches, [args.seed, 1], args.steps_per_epoch, shared,
                           **nlvr_extensions.of_an_epoch(args, nlvr))
    validation = ImageBatches(nlvr, validation, args.batch_size, shared=shared)
    rate = learning_rate(args, args.epochs * batches.steps)
    # XLA's convolutions and products of few rows are slower on CPUs than TensorFlow's own.
    adam = keras.optimizers.Adam(rate, epsilon=1e-8, global_clipnorm=args.clip_norm)
    network.compile(adam, BinaryCrossentropy(), metrics=[accuracy], jit_compile=keras.backend.backend() == "jax")
    run.fit(this, network, network, batches, validation)

    # Report, with the weights of the first epoch with the best validation accuracy
    report.test_nlvr(this, network, nlvr)
    this.release()


if __name__ == "__main__":
    command_line.run_script(main, run.KEPT)
