"""The bAbI networks meet the figures that the authors' own programs gave, see tests/original. Runs on every backend."""
import json
import os

import keras
import numpy as np
import pytest
from keras import ops

from training import batches, objective, report, run
import data_utils
import RN_bAbI
import WMemNN_bAbI
from helpers.gradients import gradients
from original import draw

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "original")
LONGEST = 11  # words of a fact and of a question in the released files


def figures(name):
    with open(os.path.join(HERE, f"{name}.json"), encoding="utf-8") as file:
        return json.load(file)


@pytest.fixture(scope="module")
def original():
    return figures("wmemnn_babi")


def load(original, folder, number, mx, **options):
    """The first stories as a Babi, through files in the released format; the test questions are in the order of the figures."""
    stories = original["stories"][:number]
    texts = {}
    for story in stories:
        facts = [f"{i} {fact}." for i, fact in enumerate(story["facts"], start=1)]
        question = f"{len(facts) + 1} {story['question']}?\t{story['answer']}\t"
        texts[story["task"]] = texts.get(story["task"], "") + "\n".join([*facts, question]) + "\n"
    os.makedirs(folder / "en-10k", exist_ok=True)
    for task, text in texts.items():
        for split, times in ("train", 10), ("test", 1):
            (folder / "en-10k" / f"qa{task}_{data_utils.TASKS[task - 1]}_{split}.txt").write_text(times * text)
    like = {"words": original["vocabulary"]} | ({} if options else {"answers": original["answers"]})
    babi = data_utils.load_babi(str(folder), sorted(texts), mx, "read", like, **options)
    babi.sentences, babi.questions = (np.pad(table, ((0, 0), (LONGEST - table.shape[1], 0)))
                                      for table in (babi.sentences, babi.questions))
    tasks = [story["task"] for story in stories]
    order = np.argsort(np.argsort(tasks, kind="stable"), kind="stable")  # the files hold them task by task
    return babi, babi.test.take(order)


def assert_fingerprints(found, expected, tolerance=1e-4):
    """Root mean squares and products agree; a product within the tolerance of the size of what it sums up."""
    for name, (size, product) in expected.items():
        assert found[name][0] == pytest.approx(size, rel=tolerance), name
        assert found[name][1] == pytest.approx(product, abs=tolerance * max(size, abs(product))), name


def variables_by_name(model, hops=4):
    """The network's variables under the names of `draw.babi_shapes`, in its order."""
    storage, question, controller, reasoning = (model.get_layer(name) for name in (
        "short_term_storage", "question_encoder", "attentional_controller", "reasoning_module"))
    named = {"E_f": storage.encoder.embeddings, "E_q": question.embeddings}
    for letter, encoder in (("f", storage.encoder), ("q", question)):
        named |= {f"W_{letter}": encoder.kernel, f"U_{letter}": encoder.recurrent_kernel, f"b_{letter}": encoder.bias}
    for number, dense in enumerate(controller.transition, start=1):
        named |= {f"t{number}_W": dense.kernel, f"t{number}_b": dense.bias}
    for hop in range(hops):
        named |= {f"H_{hop + 1}": controller.attention[hop].head_kernels, f"O_{hop + 1}": controller.attention[hop].output_kernel}
    return named | of_g(reasoning) | {"V": model.get_layer("answer").kernel}


def of_g(reasoning):
    named = {"g1_W": reasoning.kernel, "g1_b": reasoning.bias}
    for number, dense in enumerate(reasoning.deeper, start=2):
        named |= {f"g{number}_W": dense.kernel, f"g{number}_b": dense.bias}
    return named


def values(named):
    return {name: ops.convert_to_numpy(variable) for name, variable in named.items()}


def softmax(logits):
    return report.softmax(ops.convert_to_numpy(logits).astype("float64"))


@pytest.fixture
def network(original, tmp_path):
    """The script's network with the weights of the figures, its variables by name, the batch and its answers."""
    babi, stories = load(original, tmp_path, 32, 30)
    model = WMemNN_bAbI.build_model(WMemNN_bAbI.parse_arguments([]), babi)
    named = variables_by_name(model)
    assert {name: tuple(variable.shape) for name, variable in named.items()} == draw.babi_shapes()
    for name, value in draw.draw(draw.babi_shapes()).items():
        named[name].assign(value)
    return model, named, batches.pack_stories(babi, stories, np.arange(32)), stories.answer


def test_w_memnn_gives_the_authors_probabilities_loss_and_gradient(original, network):
    model, named, batch, answers = network
    expected = original["expected"]
    probabilities = softmax(model(batch))
    np.testing.assert_allclose(probabilities[np.arange(32), answers], expected["probability_of_answer"], rtol=1e-4)
    assert float(sum(model.losses)) == pytest.approx(expected["l2"], rel=1e-4)
    loss = objective.SummedCrossentropy(32)
    assert float(loss(answers, model(batch)) + sum(model.losses)) == pytest.approx(expected["losses"][0], rel=1e-4)
    found = {id(variable): gradient for variable, gradient in zip(
        model.trainable_variables, gradients(model, batch, answers, loss))}
    found = {name: found[id(variable)] for name, variable in named.items()}
    norm = np.sqrt(sum(np.sum(np.square(gradient, dtype="float64")) for gradient in found.values()))
    assert norm == pytest.approx(expected["gradient_norm"], rel=1e-4)
    assert_fingerprints(draw.fingerprint(found, 2), expected["gradient"])


def compiled_by_the_script(monkeypatch, folder):
    """The model that the script compiles for the data in a folder, with its loss and optimiser."""
    def stop(this, network, model, *batches):
        found.append(model)
        raise KeyboardInterrupt

    found, tasks = [], ",".join(sorted({name.split("_")[0][2:] for name in os.listdir(folder / "en-10k")}, key=int))
    monkeypatch.setattr(run, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        WMemNN_bAbI.main(["--data", str(folder), "--tasks", tasks, "--models", str(folder / "models")])
    return found[0]


def test_five_steps_change_w_memnn_as_the_authors_do(original, network, monkeypatch, tmp_path):
    model, named, batch, answers = network
    expected, start, before = original["expected"], values(named), softmax(model(batch))
    script = compiled_by_the_script(monkeypatch, tmp_path)
    model.compile(type(script.optimizer).from_config(script.optimizer.get_config()), script.loss, jit_compile=script.jit_compile)
    losses = []
    for _ in range(5):
        model.reset_metrics()
        losses.append(model.train_on_batch(batch, answers, return_dict=True)["loss"])
    np.testing.assert_allclose(losses, expected["losses"], rtol=1e-4)
    after = softmax(model(batch))
    np.testing.assert_allclose(after[np.arange(32), answers], expected["probability_of_answer_after"], rtol=1e-4)
    assert_fingerprints(draw.fingerprint({"p": before, "p_after": after}, 1), expected["probabilities_fingerprint"])
    change = {name: value - start[name] for name, value in values(named).items()}
    assert_fingerprints(draw.fingerprint(change, 3), expected["change"])


def test_the_authors_relation_network_gives_their_probabilities_and_loss(original, tmp_path):
    expected = figures("rn_babi")
    babi, stories = load(original, tmp_path, expected["stories"], 20, word_answers=True)
    model = RN_bAbI.build_model(RN_bAbI.parse_arguments(["--variant", "authors"]), babi)
    encoders = model.get_layer("short_term_storage").encoder, model.get_layer("question_encoder")
    named = {"E_f": encoders[0].embeddings, "E_q": encoders[1].embeddings}
    for letter, encoder in zip("fq", encoders):
        named |= {f"W_{letter}": encoder.kernel, f"U_{letter}": encoder.recurrent_kernel, f"b_{letter}": encoder.bias}
    named |= of_g(model.get_layer("g")) | {"V": model.get_layer("answer").kernel, "V_b": model.get_layer("answer").bias}
    assert {name: tuple(variable.shape) for name, variable in named.items()} == draw.rn_shapes()
    for name, value in draw.draw(draw.rn_shapes()).items():
        named[name].assign(0.05 * value if name == "V" else value)
    batch = batches.pack_stories(babi, stories, np.arange(len(stories)), pairs=True)
    probabilities = softmax(model(batch))
    np.testing.assert_allclose(probabilities[np.arange(len(stories)), stories.answer], expected["probability"], rtol=1e-4)
    assert_fingerprints(draw.fingerprint({"p": probabilities}, 1), expected["probabilities_fingerprint"])
    assert float(objective.SummedCrossentropy(1)(stories.answer, model(batch))) == pytest.approx(expected["loss"], rel=1e-4)


# How the weights start


def deviations(build, seeds=10):
    """Of each variable of a model, by name: its shape and its deviation over several seeds, and its largest value."""
    found = {}
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        for name, value in values(build()).items():
            found.setdefault(name, []).append(value)
    return {name: (of_name[0].shape, float(np.std(of_name)), float(np.abs(of_name).max())) for name, of_name in found.items()}


def test_w_memnn_starts_from_the_authors_values(original, tmp_path):
    babi, _ = load(original, tmp_path, 32, 30)

    def started(*options):
        return deviations(lambda: variables_by_name(WMemNN_bAbI.build_model(WMemNN_bAbI.parse_arguments([*options]), babi)))

    found = started()
    glorot = {name: np.sqrt(2 / sum(shape)) for name, (shape, _, _) in found.items() if len(shape) == 2}
    glorot |= dict.fromkeys(["W_f", "W_q", "U_f", "U_q"], np.sqrt(2 / 60)) | {f"H_{k}": np.sqrt(2 / 60) for k in range(1, 5)}
    assert found["E_f"][0] == found["E_q"][0] == (207, 30) and glorot["E_f"] == pytest.approx(0.0919, abs=5e-5)
    for name, (shape, deviation, largest) in found.items():
        if len(shape) == 1:
            assert deviation == 0, name
        else:
            assert deviation == pytest.approx(glorot[name], rel=0.05), name
            # Uniform values end at the square root of three deviations, normal ones that are not truncated pass 2.3.
            assert (largest <= 1.7321 * glorot[name]) if name.startswith("H_") else (largest > 2.6 * glorot[name]), name

    found = started("--start", "port")
    assert found["W_f"][1] == pytest.approx(0.129, rel=0.05) and found["U_f"][1] == pytest.approx(0.105, rel=0.05)
    assert found["E_f"][1] == pytest.approx(0.0919, rel=0.05) and found["E_f"][2] < 2.4 * 0.0919
    found = started("--start", "uniform")
    assert found["E_f"][1] == pytest.approx(0.05 / np.sqrt(3), rel=0.05) and found["U_f"][1] == pytest.approx(0.105, rel=0.05)
    assert started("--embedding-scale", "1")["E_f"][1] == pytest.approx(1 / np.sqrt(3), rel=0.05)


def test_no_two_matrices_start_alike(original, tmp_path):
    babi, _ = load(original, tmp_path, 32, 30)
    for options in ([], ["--start", "port"], ["--start", "uniform"], ["--embedding-scale", "1"]):
        found = values(variables_by_name(WMemNN_bAbI.build_model(WMemNN_bAbI.parse_arguments(options), babi)))
        kernels = [value.ravel()[:100] for value in found.values() if value.ndim == 2]
        assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


def test_the_authors_relation_network_starts_from_their_values(original, tmp_path):
    babi, _ = load(original, tmp_path, 8, 20, word_answers=True)

    def build():
        model = RN_bAbI.build_model(RN_bAbI.parse_arguments(["--variant", "authors"]), babi)
        encoder = model.get_layer("question_encoder")
        return {"E": encoder.embeddings, "W": encoder.kernel, "U": encoder.recurrent_kernel, "b": encoder.bias,
                "V": model.get_layer("answer").kernel, "V_b": model.get_layer("answer").bias} | of_g(model.get_layer("g"))

    found = deviations(build)
    for name, expected in {"E": 0.05, "W": np.sqrt(2 / 60), "U": np.sqrt(2 / 60), "V": 0.05, "V_b": 0.0,
                           "g1_W": np.sqrt(2 / 218), "g2_W": np.sqrt(2 / 256)}.items():
        assert found[name][1] == pytest.approx(expected, rel=0.05), name
    assert found["W"][2] <= np.sqrt(6 / 60) and found["g2_W"][2] <= np.sqrt(6 / 256)
