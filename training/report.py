"""What a run reports.

On bAbI the data it read, the table of test errors, ensembles; on NLVR the data it read, the table of accuracies, the answers.
"""
import collections
import json
import os

import numpy as np

import data_utils
from training import look
from training import run as runs
from training.babi_extensions import EARLIER
from training.batches import ImageBatches, batches_for
from training.command_line import positive_int, seed_list, write_whole

# bAbI


def add_options(parser, attends=False):
    """Add the group of options that look at results; `attends` adds those of a network with attention on facts."""
    add = parser.add_argument_group("looking at results").add_argument
    add("--evaluate", action="store_true", help="no training: load the saved weights and print the table")
    add("--ensemble", type=seed_list, metavar="SEEDS",
        help="with --evaluate: the mean of the answer distributions of the runs of these seeds, such as 1,2")
    add("--systematic", action="store_true",
        help="with --evaluate: also the errors on the test files with the names of sys-bAbI exchanged")
    add("--ask", action="store_true",
        help="no training, no data: answer questions with the saved weights, about facts from standard input, a line each; a "
        "question ends with ?, an empty line starts a new story")
    if attends:
        add("--show", type=positive_int, metavar="N",
            help="with --evaluate: print test question N with the attention on its facts, and draw it")
        add("--html", metavar="FILE",
            help="with --evaluate: write a page of the errors, and of test questions with the attention on their facts")


def check_options(args):
    """Raise DataError where the options do not fit together."""
    looks = [option for option in ("ensemble", "systematic", "show", "html") if getattr(args, option, None)]
    if looks and not args.evaluate:
        raise data_utils.DataError(f"{' and '.join(f'--{option}' for option in looks)}: only of saved runs; add --evaluate")
    if looks and looks[-1] in ("show", "html"):
        if "ensemble" in looks:
            raise data_utils.DataError(f"--{looks[-1]} looks at one run; leave --ensemble out")
        if "systematic" in looks:
            raise data_utils.DataError(f"--{looks[-1]} looks at the test files as they are; leave --systematic out")
    if getattr(args, "ask", False) and args.evaluate:
        raise data_utils.DataError("--ask and --evaluate are two ways to look at saved runs; give one of them")


def test(run, network, babi, attend=None):
    """Test a network at the end of its training, print the table of errors and put it into the run's record.

    Args:
        run: run.Run; with --no-test nothing is tested, and the record has no test.
        network: functional model, with the weights to be tested.
        babi: data_utils.Babi.
        attend: as of `look.attention_on_facts`; None for a network without attention on facts.
    """
    if run.args.no_test:
        _leave_test_out(run)
        return
    share = None
    if attend:  # part by part, since the attention on all facts takes much memory
        parts = [babi.test.take(slice(first, first + 2000)) for first in range(0, len(babi.test), 2000)]
        share = np.concatenate([supporting_share(part, look.attention_on_facts(network, babi, part, attend)) for part in parts])
    run.record["test"] = test_result(babi.test, predict(network, babi, babi.test), share)
    run.save_record()
    print("\n".join([*run.record["trained_on_simulated"], table(run.record["test"], babi.files)]))
    print(f"saved: {run.path('weights.h5')}, .csv, .json")


def _leave_test_out(run):
    run.save_record()
    print(f"not tested; the same command without --no-test does it\nsaved: {run.path('weights.h5')}, .csv, .json")


def evaluate(args, run_name, fixed, build_model, attend=None):
    """Test the saved weights of a run, or of an ensemble of runs, and print the table of errors.

    Args:
        args: parsed arguments.
        run_name: function of (args, seed) to the name of a run.
        fixed: names of the options that the saved weights fix.
        build_model: function of (args, babi) to a functional model.
        attend: as of `test`.
    Raises:
        DataError: no such run, or options, files or data that do not fit.
    """
    names = [run_name(args, seed) for seed in args.ensemble or [args.seed]]
    records = [runs.read_run(args, name, fixed, EARLIER) for name in names]
    for name, record in zip(names, records):
        if any(record[key] != records[0][key] for key in ("words", "answers")):
            raise data_utils.DataError(f"{_path(args, name, 'json')}: numbers words or answers otherwise than {names[0]}; "
                                       "an ensemble needs runs on the same data and tasks")
    babi = data_utils.load_babi(args.data, args.tasks, args.mx, args.padding, records[0], systematic=args.systematic)
    print(describe_data(babi.files))
    network = build_model(args, babi)
    simulated = [line for record in records for line in simulated_training(record, babi.files, args)]
    distributions = other_distributions = 0.0
    for name, record in zip(names, records):
        runs.load_weights(network, _path(args, name, "weights.h5"), record.get("weights_sha256"))
        distributions += softmax(predict(network, babi, babi.test)) / len(names)
        if args.systematic:
            other_distributions += softmax(predict(network, babi, babi.systematic)) / len(names)
        if args.ensemble:
            print(f"{name}: validation accuracy {record['best_val_accuracy']:.4f}"
                  + " (trained on)" * bool(record.get("validation_inside_training")))
    attention = look.attention_on_facts(network, babi, babi.test, attend) if attend and not args.ensemble else None
    share = None if attention is None else supporting_share(babi.test, attention)
    simulated, result = list(dict.fromkeys(simulated)), test_result(babi.test, distributions, share)
    systematic = test_result(babi.systematic, other_distributions) if args.systematic else None
    print("\n".join([*simulated, table(result, babi.files, systematic)]))  # before any file is written
    if getattr(args, "show", None):
        look.show_question(babi, args.show, distributions, attention, _path(args, names[0], f"question-{args.show}.png"))
    if getattr(args, "html", None):
        look.write_stories_page(args.html, names[0], [describe_data(babi.files), *simulated], babi, result, distributions,
                                attention)
    if args.ensemble:
        members = {name: {key: record.get(key) for key in ("best_val_accuracy", "weights_sha256")}
                   for name, record in zip(names, records)}
        path = _path(args, run_name(args, "+".join(map(str, args.ensemble))), "json")
        if _is_of_other_data(path, babi.files):
            print(f"not saved: {path} has the errors of this ensemble on other data or tasks; move it to keep these")
        else:
            runs.write_record(path, runs.environment() | {
                "ensemble": members, "data": data_record(babi.files), "trained_on_simulated": simulated, "test": result,
                **({"systematic": systematic} if systematic else {})})
            print(f"saved: {path}")


def _path(args, name, kind):
    return os.path.join(args.models, f"{name}.{kind}")


def _is_of_other_data(path, files):
    """Whether there is a record of other data than these files, or something that is no record."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)["data"]["fingerprint"] != files.fingerprint()
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True


def predict(network, babi, stories, batch_size=250):
    """The network's outputs for all stories, in their order, (questions, answers)."""
    # In random order: batches of one task after the other would differ in size from task to task.
    batches = batches_for(network)(babi, stories, batch_size)
    outputs = np.empty((len(stories), len(babi.answers)), np.float32)
    outputs[batches.order] = runs.uncompiled(network).predict(batches, verbose=0)
    return outputs


# The data


def describe(args, babi, refined=None):
    """Print what was read, and return what the record of a training says of it, as keywords of `run.Run`.

    Args:
        args: parsed arguments.
        babi: data_utils.Babi.
        refined: dict, the record of the run whose weights are refined, or None.
    """
    print(describe_data(babi.files))
    # Weights trained on simulated questions are said to be so, whatever they are refined or evaluated on.
    simulated = simulated_training(refined or {}, babi.files, args)
    print("".join(f"{line}\n" for line in simulated), end="")
    return {"data": data_record(babi.files), "words": babi.words, "answers": babi.answers, "trained_on_simulated": simulated,
            "longest": [babi.sentences.shape[1], babi.questions.shape[1]],  # --ask pads as the training did
            "validation_inside_training": bool(refined) and babi.validation is None, "refines_sha256": None}


def data_record(files):
    """What was read, for the record: source, fingerprint, files that differ from the release."""
    return {"source": os.path.basename(files.source.rstrip("/")), "fingerprint": files.fingerprint(),
            "files": len(files.hashes), "simulated": files.simulated, "differ_from_release": files.differing()}


SIMULATED_WARNING = "simulated data, not the released benchmark"


def describe_data(files):
    """What was read, in one line or two for the reader: simulated, or how many of the files are the released ones."""
    if files.simulated:
        return f"data: {files.source}: {SIMULATED_WARNING}"
    if not files.compared():
        return f"data: {files.source}, {files.variant}; the hashes of its released files are not known here"
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


# Errors


def softmax(logits):
    """exp(x) / sum of exp(x) along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def supporting_share(stories, attention):
    """How many of the strongest attended facts of each question are supporting ones, (questions,).

    For a question with s supporting facts (among those kept), the share of them among the s facts with the largest sum of
    attention over hops and heads; NaN without any.
    """
    total = np.where(stories.facts > 0, attention.sum(axis=(2, 3)), -1.0)
    rank = np.argsort(np.argsort(-total, axis=1, kind="stable"), axis=1)
    number = stories.supporting.sum(axis=1)
    hits = (stories.supporting & (rank < number[:, None])).sum(axis=1)
    return np.where(number > 0, hits / np.maximum(number, 1), np.nan)


def test_result(stories, outputs, share=None):
    """Errors of a model on test questions.

    Args:
        stories: data_utils.Stories; an answer of -1 has no class, so that any output is wrong.
        outputs: (questions, answers), the highest is the model's answer.
        share: (questions,), as of `supporting_share`, or None.
    Returns:
        dict: "questions" and "wrong" (per task), "error" (per task, per cent), "mean_error" (mean over the tasks, per
        cent), "failed_tasks" (above 5 per cent); where answers have no class "without_class", how many; with `share` also
        "attended", its mean in per cent of each task whose files name supporting facts.
    """
    wrong = np.argmax(outputs, axis=1) != stories.answer
    tasks = [int(task) for task in np.unique(stories.task)]
    counts = {task: (int(np.sum(stories.task == task)), int(np.sum(wrong[stories.task == task]))) for task in tasks}
    errors = {task: 100.0 * bad / number for task, (number, bad) in counts.items()}
    result = {"questions": {str(task): counts[task][0] for task in tasks},
              "wrong": {str(task): counts[task][1] for task in tasks},
              "error": {str(task): round(errors[task], 4) for task in tasks},
              "mean_error": round(sum(errors.values()) / len(errors), 4),
              "failed_tasks": [task for task in tasks if errors[task] > data_utils.FAILED]}
    if (stories.answer < 0).any():
        result["without_class"] = int(np.sum(stories.answer < 0))
    if share is not None:
        known = ~np.isnan(share)
        result["attended"] = {str(task): round(100.0 * float(np.mean(share[known & (stories.task == task)])), 2)
                              for task in tasks if np.any(known & (stories.task == task))}
    return result


def table(test, files, systematic=None):
    """The per-task error table of a `test_result` on the test questions of some files, as text.

    Args:
        test: dict, as of `test_result`.
        files: data_utils.TaskFiles.
        systematic: the same with the names of sys-bAbI exchanged, whose errors are to stand beside; or None.
    """
    attended = test.get("attended", {})
    lines = [f"tested on {SIMULATED_WARNING}"] if files.simulated else []
    if systematic:
        without = systematic.get("without_class", 0)
        lines.append("sys: with the names of sys-bAbI exchanged"
                     + f"; {without:,} answers have no class, and count as wrong" * bool(without))
    if attended:
        lines.append("attended: share of the supporting facts among as many of the strongest attended ones")
    lines.append(f"{'task':>4}  {'':26}  {'questions':>9}  {'wrong':>5}  {'error %':>7}"
                 + "  sys wrong  sys error %" * bool(systematic) + "  attended %" * bool(attended))
    for task, error in test["error"].items():
        name = data_utils.TASKS[int(task) - 1].replace("-", " ")
        lines.append(f"{task:>4}  {name:26}  {test['questions'][task]:>9}  {test['wrong'][task]:>5}  {error:>7.1f}"
                     + (f"  {systematic['wrong'][task]:>9}  {systematic['error'][task]:>11.1f}" if systematic else "")
                     + (f"  {attended[task]:>10.1f}" if task in attended else " " * 12 * bool(attended))
                     + ("  failed" if int(task) in test["failed_tasks"] else "")
                     + ("  sys failed" if systematic and int(task) in systematic["failed_tasks"] else ""))
    lines += [f"{of}mean error {result['mean_error']:.2f} %, failed tasks (error > {data_utils.FAILED:g} %): "
              f"{len(result['failed_tasks'])} of {len(result['error'])}"
              for of, result in (("", test), ("sys: ", systematic)) if result]
    return "\n".join(lines)


# NLVR


def describe_nlvr(args, nlvr):
    """Print what was read, and return what the record of a training says of it, as keywords of `run.Run`."""
    print(f"data: {args.data}, " + ", ".join(f"{split} {len(examples):,} examples with {examples.boxes[..., 0].size:,} images"
                                             for split, examples in nlvr.splits.items()))
    return {"data": {"source": os.path.basename(os.path.abspath(args.data)), "fingerprint": nlvr.fingerprint,
                     "examples": {split: len(examples) for split, examples in nlvr.splits.items()},
                     "mean": nlvr.mean, "deviation": nlvr.deviation},
            "words": nlvr.words, "answers": ["false", "true"],
            "selected_on": f"{args.validation_folders} training folders" if args.validation_folders else "dev"}


def test_nlvr(run, network, nlvr):
    """Test a network at the end of its training, print the table of accuracies, and save it and the answers.

    Args:
        run: run.Run; with --no-test nothing is tested, and the record has no test.
        network: functional model, with the weights to be tested.
        nlvr: data_utils.Nlvr.
    """
    if run.args.no_test:
        _leave_test_out(run)
        return
    run.record["test"], files, _ = answer_images(run.args, network, nlvr)
    run.save_record()
    _publish(run.record["test"], files, run.args, run.name, run.args.simulated_sentences)
    print(f"saved: {run.path('weights.h5')}, .csv, .json, {', '.join(f'.{ending}' for ending in files)}")


def evaluate_nlvr(args, name, record, network, nlvr, attend):
    """Test the saved weights of a run, print what was read and the table of accuracies, and save the answers.

    Args:
        args: parsed arguments.
        name: str, of the run.
        record: dict, of the run.
        network: functional model, for the weights.
        nlvr: data_utils.Nlvr.
        attend: as of `look.attention_on_images`.
    Raises:
        DataError: weights that do not fit.
    """
    describe_nlvr(args, nlvr)
    runs.load_weights(network, _path(args, name, "weights.h5"), record.get("weights_sha256"))
    results, files, logits = answer_images(args, network, nlvr)
    simulated = _publish(results, files, args, name, record["arguments"]["simulated_sentences"])
    if args.show:
        look.show_image(args, nlvr, logits["test"], network, attend, _path(args, name, f"image-{args.show}.png"))
    if args.html:
        look.write_images_page(args.html, name, simulated, args, nlvr, results, logits, network, attend)


def _publish(results, files, args, name, simulated):
    """Print the table and write the answers; returns what was simulated, as a list of lines for the reader."""
    lines = [f"trained with {number} simulated sentences about the images of each training example beside its own"
             for number in [simulated] if number]
    print("\n".join([*lines, table_of_splits(results)]))
    for ending, content in files.items():
        write_whole(_path(args, name, ending), content)
    return lines


def answer_images(args, network, nlvr):
    """Answer for every image of dev and test, and count what is right.

    What is to be written to NAME.SPLIT.csv has a line for each image, its file name and "true" or "false", which is what the
    corpus's own script reads: https://github.com/lil-lab/nlvr, nlvr/metrics_images.py PREDICTIONS SPLIT.json. Its "precision"
    is the accuracy here, and its "consistency", which asks for all images of all examples of a sentence, the last figure.

    Args:
        args: parsed arguments with `batch_size` and `attention`.
        network: functional model.
        nlvr: data_utils.Nlvr.
    Returns:
        three dicts: from split to the figures of `measure`, from the ending of a file to its content, bytes, and from split
        to the logits, (examples, 6).
    """
    results, files, logits_of = {}, {}, {}
    for split in (split for split in data_utils.SPLIT_NAMES if split in nlvr.splits):
        examples = nlvr.splits[split]
        logits = network.predict(ImageBatches(nlvr, examples, args.batch_size, shared=args.attention == "shared"), verbose=0)
        logits_of[split] = logits = logits.reshape(-1, data_utils.PERMUTATIONS)
        lines = [f"{split}-{identifier}-{k}.png,{'true' if value > 0 else 'false'}\n"
                 for identifier, row in zip(examples.identifiers, logits) for k, value in enumerate(row)]
        files[f"{split}.csv"] = "".join(lines).encode()
        results[split] = measure(examples, logits > 0)
    return results, files, logits_of


def measure(examples, answers):
    """The figures of some answers on one split.

    Args:
        examples: data_utils.Examples.
        answers: booleans (examples, 6), those of their images.
    Returns:
        dict: "images", "examples" and "sentences", their numbers; "majority", the share of the more frequent label;
        "accuracy"; "consistency", the share of examples with all six images right; "sentence_consistency", that of
        sentences with all images right; shares in per cent.
    """
    right = answers == (examples.label[:, None] > 0.5)
    of_sentence = collections.defaultdict(lambda: True)
    for identifier, all_six in zip(examples.identifiers, right.all(axis=1)):
        of_sentence[identifier.split("-")[0]] &= bool(all_six)
    true = float(examples.label.mean())
    shares = {"majority": max(true, 1 - true), "accuracy": right.mean(), "consistency": right.all(axis=1).mean(),
              "sentence_consistency": np.mean(list(of_sentence.values()))}
    return {"images": right.size, "examples": len(examples), "sentences": len(of_sentence),
            **{key: round(100 * float(share), 4) for key, share in shares.items()}}


def table_of_splits(results):
    """Figures of `measure`, a dict from split, as text."""
    lines = [f"{'':18}  {'images':>6}  {'majority %':>10}  {'accuracy %':>10}  {'consistency %':>13}  {'of sentences %':>14}"]
    for split, result in results.items():
        lines.append(f"{data_utils.SPLIT_NAMES[split]:18}  {result['images']:>6,}  {result['majority']:>10.2f}  "
                     f"{result['accuracy']:>10.2f}  {result['consistency']:>13.2f}  {result['sentence_consistency']:>14.2f}")
    return "\n".join(lines)
