#!/usr/bin/env python3
"""Time a training step of a bAbI script beside that of its commit 7a72c17, of a plain transcription, and beside its arithmetic.

Each of them is a process of its own, trains as its script does, input included, and waits while another is timed. The ratios
are medians over the turns, so that a machine whose speed drifts does not decide. The floor is the time that the products of a
step take at the speed of large products of numpy, measured in the same turns: those of the real facts, distinct sentences and
words, forward and backward.
"""
import argparse
import importlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

STARTED = time.time()
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EARLIER = "7a72c17"
MARK = "measured: "
STEPS, PLAIN_STEPS = 500, 20  # in a turn


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("script", choices=("WMemNN_bAbI", "RN_bAbI"), nargs="?", default="WMemNN_bAbI")
    add("--data", default=os.path.join(ROOT, "data", "babi"))
    add("--mx", type=int, nargs="+", help="facts kept of a story (default 30 130, of RN_bAbI 20)")
    add("--cores", type=int, nargs="+", default=[1, 2], help="numbers of cores (default 1 2)")
    add("--backends", nargs="+", default=["tensorflow", "jax"], help="(default tensorflow jax)")
    add("--rounds", type=int, default=5, help="turns (default %(default)s)")
    add("--recipe", action="store_true", help="with what the recipe trains with: batches of 128, other names, auxiliary losses")
    add("--bfloat16", action="store_true", help="with that option of RN_bAbI, which its earlier commit has not")
    add("--without", nargs="+", choices=("earlier", "plain"), default=[], help="leave these out")
    add("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.recipe and options.script == "RN_bAbI" or options.bfloat16 and options.script != "RN_bAbI":
        parser.error("--recipe is of WMemNN_bAbI, --bfloat16 of RN_bAbI")
    if options.worker:
        work(options, *options.worker)
        return
    print(f"{options.script}, batch {128 if options.recipe else 32}; ms a training step, input included")
    print(f"{'backend':>10} {'cores':>5} {'mx':>3}  {'script':>6} {'questions/s':>11}  {EARLIER:>7} {'ratio':>5}  {'plain':>6} "
          f"{'ratio':>5}  {'floor':>5} {'MFlop':>5} {'GFlop/s':>7} {'share':>5}  {'first step s':>12} {'peak MB':>7}")
    with tempfile.TemporaryDirectory() as folder:
        earlier, worktree = os.path.join(folder, EARLIER), ["git", "-C", ROOT, "worktree"]
        if "earlier" not in options.without:
            subprocess.run([*worktree, "add", "--quiet", "--detach", earlier, EARLIER], check=True)
        try:
            for mx in options.mx or ([20] if options.script == "RN_bAbI" else [30, 130]):
                for cores in options.cores:
                    for backend in options.backends:
                        print_row(options, mx, cores, backend, earlier)
        finally:
            if os.path.exists(earlier):
                subprocess.run([*worktree, "remove", "--force", earlier], check=True)


def print_row(options, mx, cores, backend, earlier):
    names = ["script", "gemm", *(["earlier"] if "earlier" not in options.without else []),
             *(["plain"] if "plain" not in options.without and not options.recipe and backend == "tensorflow" else [])]
    workers, first = {}, {}
    try:
        for name in names:
            workers[name] = Worker(options, name, mx, cores, backend, earlier if name == "earlier" else ROOT)
            first[name] = workers[name].measured()  # it has started, alone
        turns = [{name: worker.turn() for name, worker in workers.items()} for _ in range(options.rounds)]
    finally:
        for worker in workers.values():
            worker.process.kill()

    def median(value):
        return statistics.median(map(value, turns))

    ms, gflops = median(lambda turn: turn["script"][0]), median(lambda turn: turn["gemm"][0])
    compared = ""
    for name, width in ("earlier", 7), ("plain", 6):
        compared += (f"  {median(lambda turn: turn[name][0]):>{width}.1f} {median(lambda turn: turn[name][0] / turn['script'][0]):>5.2f}"
                     if name in workers else f"  {'-':>{width}} {'-':>5}")
    megaflops, questions = first["script"][1:]
    floor = megaflops / gflops
    print(f"{backend:>10} {cores:>5} {mx:>3}  {ms:>6.2f} {1000 * questions / ms:>11.0f}{compared}  {floor:>5.2f} {megaflops:>5.0f} "
          f"{gflops:>7.0f} {floor / ms:>5.0%}  {first['script'][0]:>12.1f} {turns[-1]['script'][1]:>7.0f}", flush=True)


class Worker:
    """A process of `work`, which measures when asked."""

    def __init__(self, options, name, mx, cores, backend, root):
        script = [options.script, "--data", os.path.abspath(options.data), *["--recipe"] * options.recipe,
                  *["--bfloat16"] * options.bfloat16]
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), *script, "--worker", name, str(mx), str(cores), root], cwd=root, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {"KERAS_BACKEND": backend})

    def measured(self):
        """The numbers that the process prints next."""
        for line in self.process.stdout:
            if line.startswith(MARK):
                return [float(number) for number in line[len(MARK):].split()]
        sys.exit(f"step_time: {' '.join(self.process.args)} ended; run it to see why")

    def turn(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.measured()


def work(options, name, mx, cores, root):
    """Be one of the processes: get ready, print, and for each line that comes print a measurement."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(cores)])  # before any library counts the cores
    sys.path.insert(0, root)
    measure, ready = {"script": as_script, "earlier": as_earlier, "plain": as_plain, "gemm": as_gemm}[name](options, int(mx))
    print(MARK, *ready, flush=True)
    for _ in sys.stdin:
        print(MARK, *measure(), flush=True)


def as_gemm(options, mx):
    """GFlop/s of numpy's products."""
    import numpy as np
    matrix = np.ones((1024, 1024), "float32")

    def measure():
        seconds = []
        for _ in range(20):
            started = time.perf_counter()
            matrix @ matrix
            seconds.append(time.perf_counter() - started)
        return [2e-9 * 1024**3 / min(seconds)]

    measure()
    return measure, [0]


def arguments(options, mx, more=()):
    argv = ["--mx", str(mx)] if options.script == "RN_bAbI" else ["30", "30", str(mx)]
    return [*argv, "--data", options.data, "--steps-per-epoch", str(STEPS), *more]


def what_trains(module, script, argv):
    """What a script hands to the function that trains: its model as compiled, its batches and the rest.

    Args:
        module: the one whose `fit` trains.
        script: str, name of the script.
        argv: list of str, its arguments.
    """
    found = []

    def stop(*arguments, **_):
        found.extend(arguments)
        raise KeyboardInterrupt

    module.fit = stop
    with tempfile.TemporaryDirectory() as folder:
        try:
            importlib.import_module(script).main([*argv, "--models", folder])
        except KeyboardInterrupt:
            pass
    return found


def trains(model, batches):
    """A function that trains on the batches and gives ms a step and the peak memory of this process in MB; after a first time,
    which gives the seconds from the start of this process to the end of what is called first."""
    from keras.callbacks import Callback

    class Ends(Callback):
        """When each call of what is compiled ended."""

        def on_train_begin(self, logs=None):
            self.times = []

        def on_train_batch_end(self, batch, logs=None):
            self.times.append(time.time())

    ends = Ends()

    def measure():
        model.fit(batches, shuffle=False, verbose=0, callbacks=[ends])
        # From the first to the last: what an epoch takes to begin is as nothing to its thousands of steps.
        calls = len(ends.times)
        milliseconds = 1000 * (ends.times[-1] - ends.times[0]) * calls / (calls - 1) / STEPS
        return [milliseconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]

    measure()
    return measure, ends.times[0] - STARTED


def as_script(options, mx):
    import training.run
    recipe = [f"@{os.path.join(ROOT, 'docs', 'recipes', 'babi-recipe.args')}"]
    more = recipe * options.recipe + ["--bfloat16"] * options.bfloat16
    _, network, model, batches, _ = what_trains(training.run, options.script, arguments(options, mx, more))
    measure, first = trains(model, batches)
    count = arithmetic_of_pairs if options.script == "RN_bAbI" else arithmetic
    return measure, [first, count(network, batches) / 1e6, batches.batch_size]


def as_earlier(options, mx):
    import training
    recipe = ["--batch-size", "128", "--l2", "0", "--rename", "--reconstruction", "0.3", "--overlap", "0.3"]
    model, _, _, batches, *_ = what_trains(training, options.script, arguments(options, mx, recipe * options.recipe))
    measure, first = trains(model, batches)
    return measure, [first]


def as_plain(options, mx):
    import data_utils
    from benchmarks import transcription
    from training.backend import keras
    from training.batches import StoryBatches
    from training.objective import SummedCrossentropy

    args = importlib.import_module(options.script).parse_arguments(arguments(options, mx))
    babi = data_utils.load_babi(options.data, mx=mx)
    relation = options.script == "RN_bAbI"
    model = (transcription.build_relation_transcription if relation else transcription.build_transcription)(args, babi)
    model.compile(keras.optimizers.Adam(args.lr, epsilon=1e-8, global_clipnorm=args.clip_norm), SummedCrossentropy(args.batch_size),
                  metrics=["accuracy"], jit_compile=False)
    stories = babi.train.take(StoryBatches(babi, babi.train, args.batch_size).order[:PLAIN_STEPS * args.batch_size])
    inputs = transcription.padded_inputs(babi, stories)

    def measure():
        started = time.perf_counter()
        model.fit(inputs, stories.answer, batch_size=args.batch_size, verbose=0)
        return [1000 * (time.perf_counter() - started) / PLAIN_STEPS]

    measure()
    return measure, [0]


# Arithmetic


def used(batches):
    """The batches one by one, without what fills their arrays up."""
    from training.batches import pack_stories
    for index in range(batches.steps):
        rows = batches.order[index * batches.batch_size:(index + 1) * batches.batch_size]
        yield pack_stories(batches.babi, batches.stories, rows, pairs=batches.pairs)


def encoding(encoder, *words):
    """Multiplications and additions of the products of a recurrent encoder that reads such arrays of words."""
    steps = sum((array > 0).sum() for array in words)
    embeddings, kernel, recurrent = encoder.embeddings.shape, encoder.kernel.shape, encoder.recurrent_kernel.shape
    return 2 * (embeddings[0] * embeddings[1] * kernel[1] + steps * recurrent[0] * recurrent[1])


def relating(reasoning, objects, pairs, batch):
    """Those of a reasoning module on so many objects and pairs."""
    features, units = reasoning.kernel.shape[0] // 3, reasoning.units
    deeper = sum(a * b for a, b in zip(units, units[1:]))
    return 2 * ((2 * objects + batch) * features * units[0] + pairs * deeper)


def arithmetic(network, batches):
    """Those of a step of W-MemNN, mean over the batches; a backward pass has two products for each forward."""
    controller, reasoning = network.get_layer("attentional_controller"), network.get_layer("reasoning_module")
    hops, heads, units = controller.hops, controller.heads, controller.units
    total = 0
    for batch in used(batches):
        facts, stories = len(batch.story_of_fact), len(batch.question)
        total += encoding(network.get_layer("short_term_storage").encoder, batch.beginnings, batch.sentences,
                          batch.time_of_fact)
        total += encoding(network.get_layer("question_encoder"), batch.question)
        # Keys, scores and weighted memories of a hop; its output; its query.
        total += 2 * hops * (facts * heads * units * (units + 2) + stories * heads * units**2 + stories * units**2)
        total += relating(reasoning, hops * stories, hops**2 * stories, stories)
        total += 2 * stories * reasoning.units[-1] * len(batches.babi.answers)
    return 3 * total / batches.steps


def arithmetic_of_pairs(network, batches):
    """Those of a step of the Relation Network, as `arithmetic`."""
    dense = [layer.kernel.shape for layer in network.layers if layer.name.startswith(("f_", "answer"))]
    total = 0
    for batch in used(batches):
        total += encoding(network.get_layer("short_term_storage").encoder, batch.beginnings, batch.sentences,
                          batch.time_of_fact)
        total += encoding(network.get_layer("question_encoder"), batch.question)
        pairs = len(batch.first_of_pair)
        total += relating(network.get_layer("g"), len(batch.story_of_fact), pairs, len(batch.question))
        total += 2 * len(batch.question) * sum(rows * columns for rows, columns in dense)
    return 3 * total / batches.steps


if __name__ == "__main__":
    main()
