#!/usr/bin/env python3
"""Train a Working Memory Network on the images and sentences of NLVR.

Pavez, Allende, Allende-Cid, "Working Memory Networks: Augmenting Memory Networks with a Relational Reasoning Module",
ACL 2018, arXiv 1805.09354.
"""
import os
import sys

import numpy as np

import training  # before keras: it keeps TensorFlow quiet
import keras
from keras import ops

import command_line
import layers
import nlvr_data
import nlvr_scenes


# Arguments

# Options that are not in the paper, with the values that are the paper's.
EXTENSIONS = {"simulated_sentences": 0, "augment": False, "images_per_example": nlvr_data.PERMUTATIONS,
              "batch_normalization": False, "attention_units": [256, 128], "heads": 1, "scores": "tanh"}
# How the authors' program reads the data. An evaluation reads it as the training did.
READING = {"padding": "read", "halving": "nearest", "statistics": "one", "sentences": "authors"}
# What runs from before these options had.
EARLIER = EXTENSIONS | {"padding": "masked", "halving": "mean", "statistics": "channels", "sentences": "project",
                        "start": "uniform", "embedding_scale": 0.05}
CONVOLUTIONS = {"authors": None, "port": "he_normal", "uniform": "glorot_uniform"}  # their initial values, by --start


def parse_arguments(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("ez", nargs="?", type=command_line.positive_int, default=100, help="size of a word embedding (default %(default)s)")
    add("cz", nargs="?", type=command_line.positive_int, default=24,
        help="size of a memory: filters, and two coordinates (default %(default)s)")
    add("lz", nargs="?", type=command_line.positive_int, default=128, help="units of the GRU (default %(default)s)")
    add("mx", nargs="?", type=command_line.positive_int, default=50,
        help="words kept of a sentence (default %(default)s)")
    add("seed", nargs="?", type=command_line.seed_number, default=1234, help="of everything random (default %(default)s)")
    add("--data", metavar="DIR", default="data/nlvr", help="folder of the corpus (default %(default)s)")
    add("--cache", metavar="FILE",
        help="where the decoded images are kept from run to run (default DIR.crops.h5, with --halving mean DIR.crops-mean.h5)")
    add("--validation-folders", type=command_line.positive_int, metavar="K",
        help="choose the best epoch on K of the numbered training folders, which are not trained on (default: on dev)")
    add("--batches", choices=("examples", "images"), default="images",
        help="what is shuffled: examples, with their six images in one batch, or single images (default %(default)s)")
    as_trained = "; with --evaluate as trained)"
    add("--padding", choices=("read", "masked"),
        help="whether the GRU reads the padding in front of a sentence, which has an embedding (default read" + as_trained)
    add("--halving", choices=nlvr_data.HALVINGS,
        help="how 400 x 100 pixels become 200 x 50: by the nearest, or the mean of four (default nearest" + as_trained)
    add("--statistics", choices=nlvr_data.STATISTICS,
        help="pixels are normalised by one mean and deviation, or by one for each colour channel (default one" + as_trained)
    add("--sentences", choices=nlvr_data.SENTENCES,
        help="rules that make words of a sentence: those of the authors, which make fewer different ones, or those that this "
        "project had first (default authors" + as_trained)
    training.add_start_options(parser)
    training.add_run_options(parser, epochs="60", batch_size=256, clip_norm=None, of="images")
    add("--lr", type=command_line.positive_float, metavar="X", default=1e-3,
        help="learning rate of Adam (default %(default)g)")
    add("--l2", type=command_line.natural_float, metavar="X", default=1e-3,
        help="weight of the L2 penalty on the kernels of attention and f_t (default %(default)g)")
    add("--dropout", type=command_line.fraction, metavar="X", default=0.0,
        help="share of the sentence vector, the working memory and r left out in training (default %(default)g)")
    add("--attention", choices=("separate", "shared"), default="separate",
        help="whether the three box positions share the weights of the attention (default %(default)s)")
    add("--simulated-sentences", type=command_line.natural_number, metavar="N",
        help="train also on N simulated sentences about the images of each training example (default %(default)s)")
    add("--augment", action="store_true",
        help="exchange the colours of items in training images and sentences, and mirror boxes, anew each epoch")
    add("--images-per-example", type=command_line.positive_int, metavar="N",
        help="how many of the six images of an example an epoch has, drawn anew for each (default %(default)s)")
    add("--batch-normalization", action="store_true", help="normalise the memories over the batch")
    add("--attention-units", type=command_line.unit_list, metavar="LIST",
        help="hidden layers of the attention (default 256,128)")
    add("--heads", type=command_line.positive_int, metavar="N",
        help="heads of the attention, which share its hidden layers (default %(default)s)")
    add("--scores", choices=("tanh", "linear"), help="activation of the attention's scores (default %(default)s)")
    parser.set_defaults(**EXTENSIONS)
    add("--average-permutations", action="store_true",
        help="report as well what the mean over the six images of an example gives")
    args = parser.parse_args(argv)
    args.epochs = args.epochs or 60
    if args.start == "uniform" and args.embedding_scale is None:
        args.embedding_scale = EARLIER["embedding_scale"]
    if not args.evaluate:
        fill_in(args, READING)
    if args.cz < 3:
        parser.error("argument cz: must be above 2")
    if not args.attention_units:
        parser.error("argument --attention-units: must have a layer")
    if args.images_per_example > nlvr_data.PERMUTATIONS:
        parser.error(f"argument --images-per-example: must be at most {nlvr_data.PERMUTATIONS}")
    return args


def fill_in(args, values):
    """Give the options of `READING` that are not on the command line some values."""
    for option in READING:
        if getattr(args, option) is None:
            setattr(args, option, values[option])


def run_name(args):
    return f"WMemNN_NLVR_{args.ez}_{args.cz}_{args.lz}_{args.mx}_{args.seed}"


# Batches


class ImageBatches(keras.utils.PyDataset):
    """Batches of images: inputs a `nlvr_data.ImageBatch`, targets 1 for true.

    The order is a permutation drawn from (`order_seed`, epoch), so an epoch has the same batches whatever ran before it.
    So are the images and their variants, where not all are taken as they are.

    Args:
        nlvr: nlvr_data.Nlvr.
        examples: nlvr_data.Examples.
        batch_size: int, images; where whole examples are shuffled, the nearest multiple of the images of one.
        by: "examples" or "images", what is shuffled.
        order_seed: list of int; by default the order is that of the examples.
        steps: int, batches in an epoch; by default all.
        shared: bool, whether all places share one list of looks.
        images: int, how many images of each example an epoch has; all six where the order is that of the examples.
        augment: bool, whether an epoch has `nlvr_data.draw_variants` of its images.
        sentences: int, how many parts of the same length `examples` has, with the same images but other sentences. What
            they say of an image stays together.
    """

    def __init__(self, nlvr, examples, batch_size, by="examples", order_seed=None, steps=None, shared=False,
                 images=nlvr_data.PERMUTATIONS, augment=False, sentences=1):
        super().__init__(workers=2 if keras.backend.backend() == "tensorflow" else 1)  # as babi_training.StoryBatches
        self.nlvr, self.order_seed, self.shared, self.images, self.augment = nlvr, order_seed, shared, images, augment
        self.sentences = sentences
        self.unit = images * sentences if by == "examples" else 1  # images that stay together
        self.batch_size = max(1, round(batch_size / self.unit)) * self.unit
        self.sentence = np.repeat(examples.sentence, nlvr_data.PERMUTATIONS)
        self.label = np.repeat(examples.label, nlvr_data.PERMUTATIONS)
        self.boxes = examples.boxes.reshape(-1, examples.boxes.shape[2])
        self.total = len(examples) * images
        self.steps = min(steps or sys.maxsize, -(-self.total // self.batch_size))
        self.set_epoch(0)
        # What is compiled for each shape gets few of them.
        self.sizes = None if keras.backend.backend() == "tensorflow" else self._slot_sizes()

    def set_epoch(self, epoch):
        """Draw the order of an epoch, counted from 0, and what it has of the images."""
        random = None if self.order_seed is None else np.random.default_rng([*self.order_seed, epoch])
        taken = np.arange(len(self.label)).reshape(-1, nlvr_data.PERMUTATIONS)
        if self.images < nlvr_data.PERMUTATIONS:
            taken = random.permuted(taken, axis=1)[:, :self.images]
        units = taken.reshape(self.sentences, -1, self.images).swapaxes(0, 1).reshape(-1, self.unit)
        self.order = (units if random is None else random.permutation(units)).ravel()
        self.numbers = self.sentence, self.boxes
        if self.augment:
            images = len(self.label) // self.sentences  # of different examples
            example = np.arange(len(self.label)) % images // nlvr_data.PERMUTATIONS
            self.numbers = nlvr_data.draw_variants(self.nlvr, example, self.sentence, self.boxes, random)

    def _slot_sizes(self):
        """Sizes for `nlvr_data.pack_images`: one for nearly all batches, and one for any there can be."""
        batches = (self._images(self._rows(index)) for index in range(min(100, self.steps)))
        largest = np.max([nlvr_data.slots(*images, self.shared) for images in batches], axis=0)
        places = self.boxes.shape[1]
        any_batch = np.array([places if self.shared else 1, places, 1]) * self.batch_size
        return [np.minimum(np.ceil(1.1 * largest).astype(int), any_batch), any_batch]

    def _rows(self, index):
        return self.order[index * self.batch_size:(index + 1) * self.batch_size]

    def _images(self, rows):
        return tuple(numbers[rows] for numbers in self.numbers)

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rows = self._rows(index)
        batch = nlvr_data.pack_images(self.nlvr, *self._images(rows), self.sizes, self.shared)
        return batch, self.label[rows, None]


# Model


def build_model(args, nlvr):
    """The network as a functional Keras model: inputs as `nlvr_data.ImageBatch`, output the logit of "true"."""
    l2 = keras.regularizers.L2(args.l2)

    def glorot():
        return "glorot_uniform" if args.start == "uniform" else training.glorot_normal(args)

    places, shared = len(nlvr_data.BOX_LEFT), args.attention == "shared"
    lists = 1 if shared else places
    inputs = nlvr_data.ImageBatch(
        keras.Input((), dtype="int32", name="sentence_of_image"),
        keras.Input((places,), dtype="int32", name="look_of_image"),
        keras.Input((lists,), dtype="int32", name="box_of_look"),
        keras.Input((lists,), dtype="int32", name="sentence_of_look"),
        keras.Input(nlvr.crops.shape[1:], dtype=nlvr.crops.dtype.name, name="crops"),
        keras.Input((nlvr.sentences.shape[1],), dtype="int32", name="sentences"))
    memories = layers.BoxEncoder(
        args.cz, nlvr.mean, nlvr.deviation, CONVOLUTIONS[args.start], name="box_encoder")(inputs.crops)
    if args.batch_normalization:
        memories = keras.layers.BatchNormalization(momentum=0.95, name="memory_normalization")(memories)
    # Sentences come padded to the longest; the rest of the mx words is the same for all.
    u = layers.SentenceEncoder(
        len(nlvr.words) + 1, args.ez, args.lz, padding="trained" if args.padding == "read" else "masked",
        padding_in_front=args.mx - nlvr.sentences.shape[1], **training.encoder_initializers(args),
        name="sentence_encoder")(inputs.sentences)
    u = keras.layers.Dropout(args.dropout)(u)
    working_memory = layers.VisualController(
        2, places, args.attention_units, shared, l2, args.heads, args.scores, glorot(), name="visual_controller")(
        memories, u, inputs.box_of_look, inputs.sentence_of_look, inputs.look_of_image)
    working_memory = keras.layers.Dropout(args.dropout)(working_memory)
    r = layers.RelationalReasoning([256, 128, 64], kernel_initializer=training.glorot_normal(args), name="reasoning_module")(
        working_memory, ops.take(u, inputs.sentence_of_image, axis=0))
    r = keras.layers.Dropout(args.dropout)(r)
    hidden = keras.layers.Dense(32, activation="relu", name="hidden")(r)
    answer = keras.layers.Dense(1, kernel_initializer=glorot(), name="answer")(hidden)
    return keras.Model(inputs, answer, name="WMemNN_NLVR")


# Training


def accuracy(y_true, y_pred):
    """Whether each logit has the sign of its label."""
    return ops.cast(ops.equal(y_pred > 0, y_true > 0.5), "float32")


def train(args, model, nlvr, run, record):
    """Train, or go on; returns the record, and leaves the model with the weights of the best epoch.

    The loss is the cross-entropy of an image, its mean over the batch, and the L2 penalty. (The sum over the batch that
    WMemNN_bAbI.py minimises is a property of that script.)
    """
    training_examples, validation_examples = nlvr.splits["train"], nlvr.splits["dev"]
    if args.validation_folders:
        training_examples, validation_examples = nlvr_data.split_folders(
            training_examples, args.validation_folders, args.seed)
    if args.simulated_sentences:
        training_examples = training_examples.join(
            nlvr_scenes.simulate(nlvr, training_examples, args.simulated_sentences, args.seed))
    shared = args.attention == "shared"
    batches = ImageBatches(nlvr, training_examples, args.batch_size, args.batches, [args.seed, 1],
                           args.steps_per_epoch, shared, args.images_per_example, args.augment,
                           1 + args.simulated_sentences)
    validation = ImageBatches(nlvr, validation_examples, args.batch_size, shared=shared)
    print(f"{batches.total:,} training and {validation.total:,} validation images, {batches.steps:,} batches of "
          f"{batches.batch_size} an epoch")
    rate = training.learning_rate(args, args.lr, batches.steps)
    # XLA's convolutions and products of few rows are slower on CPUs than TensorFlow's own.
    model.compile(keras.optimizers.Adam(rate, epsilon=1e-8, global_clipnorm=args.clip_norm),
                  training.BinaryCrossentropy(), metrics=[accuracy],
                  jit_compile=keras.backend.backend() == "jax")
    return training.fit(model, run, record, batches, validation, args)


# Report


def report(args, model, nlvr):
    """Predict every image of dev and test, and count what is right.

    What is to be written to NAME.SPLIT.csv has a line for each image, its file name and "true" or "false", which is what the
    corpus's own script reads: https://github.com/lil-lab/nlvr, nlvr/metrics_images.py PREDICTIONS SPLIT.json. Its "precision" is
    the accuracy here, and its "consistency", which asks for all images of all examples of a sentence, the last figure.

    Returns:
        two dicts: from split to the figures of `nlvr_data.measure`, and from the ending of a file to its content, bytes; with
        --average-permutations both also of "SPLIT, averaged", whose logits are the means over the six images of an example.
    """
    results, files = {}, {}
    for split in (split for split in nlvr_data.SPLIT_NAMES if split in nlvr.splits):
        examples = nlvr.splits[split]
        logits = model.predict(
            ImageBatches(nlvr, examples, args.batch_size, shared=args.attention == "shared"), verbose=0)
        logits = logits.reshape(-1, nlvr_data.PERMUTATIONS)
        ways = {split: logits}
        if args.average_permutations:
            ways[f"{split}, averaged"] = np.broadcast_to(logits.mean(axis=1, keepdims=True), logits.shape)
        for way, values in ways.items():
            lines = [f"{split}-{identifier}-{k}.png,{'true' if value > 0 else 'false'}\n"
                     for identifier, row in zip(examples.identifiers, values) for k, value in enumerate(row)]
            files[f"{way.replace(', ', '-')}.csv"] = "".join(lines).encode()
            results[way] = nlvr_data.measure(examples, values > 0)
    return results, files


def main(argv=None):
    args = parse_arguments(argv)
    keras.utils.set_random_seed(args.seed)
    saved = {}
    if args.evaluate:
        path = os.path.join(args.models, f"{run_name(args)}.json")
        saved = training.read_record(path)
        saved["arguments"] = EARLIER | saved["arguments"]
        fill_in(args, saved["arguments"])
        training.check_options(
            path, saved, args, (*READING, "attention", "batch_normalization", "attention_units", "heads", "scores"))
    nlvr = nlvr_data.load_nlvr(
        args.data, args.mx, args.cache, saved.get("words"), args.sentences, args.halving, args.statistics)
    if args.evaluate:
        nlvr.mean, nlvr.deviation = saved["data"]["mean"], saved["data"]["deviation"]
    print(f"data: {args.data}, " + ", ".join(f"{split} {len(examples):,} examples with {examples.boxes[..., 0].size:,} images"
                                             for split, examples in nlvr.splits.items()))
    model = build_model(args, nlvr)

    settings = {key: value for key, value in vars(args).items() if key not in (
        "data", "cache", "models", "tensorboard", "evaluate", "fresh", "average_permutations")}
    settings |= {"data": nlvr.fingerprint, "backend": keras.backend.backend()}
    run = training.Run(args.models, run_name(args), settings, unit="images", added=EARLIER)
    if args.evaluate:
        training.load_weights(model, run.path("weights.h5"), saved.get("weights_sha256"))
    else:
        run.check_writable()
        print(f"{run.name}: {model.count_params():,} parameters")
        record = {"arguments": vars(args), "parameters": model.count_params(), "words": nlvr.words,
                  "answers": ["false", "true"],
                  "data": {"source": os.path.basename(os.path.abspath(args.data)), "fingerprint": nlvr.fingerprint,
                           "examples": {split: len(examples) for split, examples in nlvr.splits.items()},
                           "mean": nlvr.mean, "deviation": nlvr.deviation},
                  "selected_on": f"{args.validation_folders} training folders" if args.validation_folders else "dev"}
        record = train(args, model, nlvr, run, record)
    results, files = report(args, model, nlvr)
    if not args.evaluate:
        run.save_record(record | {"test": results})
    simulated = (saved["arguments"] if args.evaluate else vars(args))["simulated_sentences"]
    if simulated:
        print(f"trained with {simulated} simulated sentences about the images of each training example beside its own")
    print(nlvr_data.table(results))
    for ending, content in files.items():
        command_line.write_whole(run.path(ending), content)
    if not args.evaluate:
        print(f"saved: {run.path('weights.h5')}, .csv, .json, {', '.join(f'.{ending}' for ending in files)}")


if __name__ == "__main__":
    command_line.run_script(main, training.KEPT)
