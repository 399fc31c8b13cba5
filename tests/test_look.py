"""Looking into a trained network: attention on facts and boxes, the page of it, questions of one's own."""
import base64
import functools
import html.parser
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import RN_bAbI
import WMemNN_NLVR
import WMemNN_bAbI as script
import data_utils
from conftest import ROOT
from helpers import run_files, small_nlvr
from helpers.small_run import NAME, arguments, data, finished, record  # noqa: F401
from training import look, nlvr_extensions, report
from training.backend import keras
from training.batches import pack_images
from training.run import load_weights, read_run

pytestmark = pytest.mark.usefixtures("without_xla")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


# Attention on facts


def test_show_prints_and_draws_the_attention_on_a_question(finished, data, tmp_path, capsys):
    for name in os.listdir(finished):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    capsys.readouterr()
    script.main(arguments(data, tmp_path, "--evaluate", "--show", "4"))
    lines = capsys.readouterr().out.split("\n")
    (first,) = (i for i, line in enumerate(lines) if line.startswith("question 4, task 1"))
    assert lines[first + 2].split()[:3] == ["(2", "absent", "facts)"]  # the padding is read
    facts = lines[first + 3:first + 11]  # the fourth question of a story comes after eight facts
    assert sum(line.startswith("*") for line in facts) == 1 and all(" went to the " in line for line in facts)
    assert re.match(r"where is \w+\? \w+ \(\d+ %\), (right|wrong, the answer is \w+)", lines[first + 11])
    with Image.open(tmp_path / f"{NAME}.question-4.png") as picture:
        assert min(picture.size) > 100
    with pytest.raises(data_utils.DataError, match="there are 400 test questions"):
        script.main(arguments(data, tmp_path, "--evaluate", "--show", "401"))


def test_absent_facts_that_are_read_have_a_row_with_what_the_others_leave_of_the_attention():
    one = np.ones(1, int)
    stories = data_utils.Stories(np.array([[2, 1, 0, 0]]), one, one, one, np.array([[True, False, False, False]]), one)
    babi = data_utils.Babi(["up", "down"], [], np.array([[0], [1], [2]]), None, stories, stories, stories, None, "read")
    attention = np.zeros((1, 4, 1, 2))
    attention[0, :2, 0] = [[0.5, 0.25], [0.25, 0.0]]
    facts, supporting, weights = look.looks(babi, stories, 0, attention)
    assert facts == ["(2 absent facts)", "up", "down"] and supporting == [False, False, True]
    np.testing.assert_array_equal(weights[:, 0], [[0.25, 0.75], [0.25, 0], [0.5, 0.25]])
    assert look.in_digits(facts, weights).split("\n")[1].split() == ["(2", "absent", "facts)", "27"]
    babi.padding = "masked"
    assert look.looks(babi, stories, 0, attention)[0] == ["up", "down"]


# Attention on images


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return small_nlvr.write_corpus(tmp_path_factory.mktemp("scenes") / "nlvr", train=20, others=4)


@pytest.fixture(scope="module")
def seen(scenes, tmp_path_factory, without_xla):
    """Arguments for a finished run on scenes, of one epoch."""
    argv = ["6", "6", "8", "9", "1", "--data", scenes, "--models", str(tmp_path_factory.mktemp("seen")), "--epochs", "1",
            "--heads", "2", "--scores", "linear"]
    WMemNN_NLVR.main(argv)
    return argv


def test_the_attention_on_images_gives_what_the_controller_sees(seen, scenes):
    args = WMemNN_NLVR.parse_arguments(seen)
    nlvr = small_nlvr.load(scenes)
    network = WMemNN_NLVR.build_model(args, nlvr)
    examples, rows = nlvr.splits["test"], [0, 7, 47]
    attention = look.attention_on_images(network, nlvr, examples, rows, WMemNN_NLVR.attend, False)
    assert attention.shape == (3, 2, 3, 2, 49)
    np.testing.assert_allclose(attention.sum(axis=-1), 1, rtol=1e-5)
    boxes = examples.boxes.reshape(-1, 3)[rows]
    batch = pack_images(nlvr, examples.sentence[np.array(rows) // 6], boxes)
    memories, working_memory = (keras.Model(network.input, network.get_layer(name).output)(batch)
                                for name in ("box_encoder", "visual_controller"))
    of_box = np.array(memories)[np.searchsorted(np.unique(boxes), boxes)]
    expected = np.einsum("iphc,ipcf->iphf", attention[:, 0], of_box).reshape(3, 3, -1)
    np.testing.assert_allclose(np.array(working_memory)[:, :3], expected, rtol=1e-4, atol=1e-5)


def test_show_prints_and_draws_where_each_hop_looks_in_the_boxes(seen, capsys):
    capsys.readouterr()
    WMemNN_NLVR.main([*seen, "--evaluate", "--show", "9"])
    printed = capsys.readouterr().out
    assert re.search(r"image 9 of Test-P, test-0-1-2\.png; read as: \w+", printed)
    grids = re.findall(r"hop (\d), head (\d): ([\d., ]+)\n((?:  \d{7}  \d{7}  \d{7}\n){7})", printed)
    assert [grid[:2] for grid in grids] == [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]
    for *_, grid in grids:  # each box has a largest weight
        assert all("9" in "".join(box) for box in zip(*map(str.split, grid.splitlines())))
    path = re.search(r"saved: (.*image-9\.png)", printed).group(1)
    with Image.open(path) as picture:
        assert min(picture.size) > 300
    assert re.search(r"yellow \w+\.? (true|false) \(\d+ %\), (right|wrong, it is (true|false))\n", printed)
    with pytest.raises(data_utils.DataError, match="--show 49: there are 48 images in Test-P"):
        WMemNN_NLVR.main([*seen, "--evaluate", "--show", "49"])
    with pytest.raises(data_utils.DataError, match="--show and --html: only of saved runs; add --evaluate"):
        WMemNN_NLVR.main([*seen, "--show", "1", "--html", "page.html"])


def test_sentences_beside_ordered_colours_have_them_too(scenes):
    args, nlvr = WMemNN_NLVR.parse_arguments(["--data", scenes, "--order-colours"]), small_nlvr.load(scenes)
    nlvr.words.append("blue")
    nlvr.sentences[nlvr.sentences == nlvr.words.index("yellow") + 1] = len(nlvr.words)  # as if all items were blue
    ordered, _ = nlvr_extensions.order_colours(nlvr)
    for network_reads, colour in (nlvr, "blue"), (ordered, "yellow"):
        texts = look.sentences_of(args, network_reads, "test")
        assert list(texts) == ordered.splits["test"].identifiers
        assert all(re.fullmatch(rf"(\w+ )*{colour}( \w+)*\.", text) for text in texts.values())


# A page to look at


class Page(html.parser.HTMLParser):
    """The texts of the scripts of a page, and its elements, a list of (tag, attributes)."""

    def __init__(self, content):
        super().__init__()
        self.scripts, self.elements = [], []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script" and self.cdata_elem:
            self.scripts[-1] += data

    def data(self):
        return json.loads(self.scripts[0])

    def of_class(self, name):
        return [attributes for _, attributes in self.elements if name in (attributes.get("class") or "").split()]


@pytest.fixture(scope="module")
def page(finished, data, tmp_path_factory):
    """The page of the finished run."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    script.main(arguments(data, finished, "--evaluate", "--html", str(path)))
    return path


@pytest.fixture(scope="module")
def page_of_scenes(seen, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    WMemNN_NLVR.main([*seen, "--evaluate", "--html", str(path)])
    return path


def decoded(item, *shape):
    return np.array([look.DIGITS.tolist().index(digit) for digit in item["weights"]]).reshape(*shape) / 63


def test_the_page_has_the_wrong_answers_and_the_first_right_ones_of_each_task(page, finished, data):
    content = page.read_text(encoding="utf-8")
    held = Page(content).data()
    assert page.stat().st_size < 5e6 and not re.search(r"https?:|url\(|@import|<link|src=", content)
    test = record(finished)["test"]
    assert [row[2] for row in held["table"][1:]] == [str(test["wrong"][task]) for task in "12"]
    for task in "12":
        of_task = [item for item in held["items"] if item["group"] == task]
        assert sum(not item["right"] for item in of_task) == test["wrong"][task]
        assert sum(item["right"] for item in of_task) == look.PAGE_RIGHT
    assert held["kept"] == "Listed of each task: all wrong and the first 50 right answers."
    for item in held["items"]:
        assert (item["answer"] == item["truth"]) == item["right"]
        weights = decoded(item, len(item["facts"]), 4)
        np.testing.assert_allclose(weights.sum(axis=0), 1, atol=0.5 / 63 * len(weights) + 1e-6)
        (supporting,) = item["supporting"]
        assert item["text"].split()[2][:-1] in held["texts"][item["facts"][supporting]]


def test_a_page_of_many_wrong_answers_stays_small_and_no_text_ends_its_script(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "PAGE_BYTES", 50_000)
    group, right = np.repeat(["a", "b"], 300), np.arange(600) % 2 == 0
    look._write_page(tmp_path / "page.html", {"title": "<i>&"}, group, right, lambda rows: {
        "items": [f"</script><b>{row}" + "x" * 400 for row in rows.tolist()]}, "letter")
    content = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(content) < 50_000 and "<title>&lt;i&gt;&amp;</title>" in content
    held = Page(content).data()
    assert held["kept"] == "Listed of each letter: the first 18 wrong and the first 18 right answers."
    assert [int(re.sub(r"\D", "", item)) for item in held["items"]][:36] == list(range(36))


def test_the_page_of_images_has_boxes_and_looks(page_of_scenes, seen):
    held = Page(page_of_scenes.read_text(encoding="utf-8")).data()
    assert len(held["items"]) == 24 and {item["group"] for item in held["items"]} == {"dev", "test", "hidden"}
    assert held["inset"] == "3% 13% 13% 3%" and (held["hops"], held["heads"], held["side"]) == (2, 2, 7)
    for item in held["items"]:
        assert (decoded(item, 12, 49).max(axis=1) == 1).all() and len(item["strongest"]) == 12
        for box in item["boxes"]:
            with Image.open(io.BytesIO(base64.b64decode(held["crops"][box]))) as crop:
                assert crop.format == "PNG" and crop.size == (50, 50)


def opened(path, chosen, script="", folder=None):
    """The page as a browser has it after it is opened at a chosen answer, and a script has run."""
    if not CHROMIUM:
        pytest.skip("no Chromium on the PATH to open the page with")
    copy = folder / "copy.html"
    copy.write_text(path.read_text(encoding="utf-8") + f"<script>{script}</script>", encoding="utf-8")
    run = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
                          "--dump-dom", f"file://{copy}#{chosen}"], capture_output=True, text=True, check=True, timeout=120)
    return Page(run.stdout)


def shades(cells, colour):
    return np.array([float(re.search(rf"rgba?\({colour} / ([\d.]+)\)", cell["style"]).group(1)) for cell in cells])


def test_the_browser_shades_the_cells_of_the_chosen_question(page, tmp_path):
    held = Page(page.read_text(encoding="utf-8")).data()
    item = held["items"][20]
    dom = opened(page, item["id"], folder=tmp_path)
    cells = [attributes for tag, attributes in dom.elements if tag == "td" and "background" in attributes.get("style", "")]
    weights = shades(cells, "8 48 107")
    np.testing.assert_allclose(weights, decoded(item, -1), atol=0.0051)
    (chosen,) = (attributes for _, attributes in dom.elements if attributes.get("aria-selected") == "true")
    assert chosen["id"] == f"option-{item['id']}" and len(dom.of_class("supports")) == 1


def test_the_arrow_keys_move_through_the_questions_and_the_filter_leaves_wrong_ones(page, tmp_path):
    items = Page(page.read_text(encoding="utf-8")).data()["items"]
    wrong = [item for item in items if not item["right"]]
    dom = opened(page, items[0]["id"], """document.querySelector("[value=wrong]").click();
        for (const key of ["Home", "ArrowDown", "ArrowDown", "ArrowUp", "PageDown"])
          document.querySelector("#list").dispatchEvent(new KeyboardEvent("keydown", {key}));""", tmp_path)
    options = [attributes for _, attributes in dom.elements if attributes.get("role") == "option"]
    assert [option["id"] for option in options] == [f"option-{item['id']}" for item in wrong]
    (chosen,) = (option["id"] for option in options if option["aria-selected"] == "true")
    assert chosen == options[11]["id"]


def test_the_browser_lays_the_looks_over_the_boxes(page_of_scenes, tmp_path):
    item = Page(page_of_scenes.read_text(encoding="utf-8")).data()["items"][5]
    dom = opened(page_of_scenes, item["id"], folder=tmp_path)
    assert sum(tag == "img" for tag, _ in dom.elements) == 3 * (1 + 2 * 2) and len(dom.of_class("map")) == 12
    cells = shades([attributes for tag, attributes in dom.elements if tag == "i"], "200 0 60").reshape(2, 2, 3, 49)
    expected = decoded(item, 2, 3, 2, 49).swapaxes(1, 2)
    np.testing.assert_allclose(cells, 0.85 * expected, atol=0.0051)


# Questions of one's own


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def ask(finished, data, capsys, monkeypatch):
    """Asks the finished run; returns what is printed."""
    def printed(text, stdin=io.StringIO, main=script.main, argv=None):
        monkeypatch.setattr(sys, "stdin", stdin(text))
        capsys.readouterr()
        main(argv or arguments("no data", finished, "--ask"))
        return capsys.readouterr().out
    return printed


def answers(printed):
    """The lines that do not begin with a space."""
    return [line for line in printed.split("\n") if line.strip() and not line.startswith(" ")]


def test_answers_and_looks_are_those_of_the_evaluation(finished, data, ask):
    args = script.parse_arguments(arguments(data, finished, "--evaluate"))
    saved = read_run(args, NAME, script.FIXED, {})
    assert saved["longest"] == [5, 3] and args.padding == "read"
    babi = data_utils.load_babi(data, [1, 2], 10, "read", saved)
    network = script.build_model(args, babi)
    load_weights(network, str(finished / f"{NAME}.weights.h5"))
    expected = report.softmax(report.predict(network, babi, babi.test))
    attention = look.attention_on_facts(network, babi, babi.test, script.attend)
    typed, files = [], data_utils.read_tasks(data, [1])
    for line in files.texts[1, "test"][1].splitlines()[:45]:  # three stories of five questions
        number, _, text = line.partition(" ")
        typed += [""] * (number == "1") + [text.partition("\t")[0].upper()]
    printed = ask("\n".join(typed))
    said = answers(printed)
    assert len(said) == 15
    for line, row in zip(said, expected):
        answer, share = re.fullmatch(r"where is \w+\? (\w+) \(([\d.]+) %\)", line).groups()
        assert answer == babi.answers[row.argmax()] and float(share) == pytest.approx(100 * row.max(), abs=0.06)
    first = look.in_digits([f"  {fact}" for fact in look.looks(babi, babi.test, 0, attention)[0]],
                           look.looks(babi, babi.test, 0, attention)[2])
    assert printed.startswith(first) and "(8 absent facts)" in first


def test_the_newest_facts_are_kept_and_an_empty_line_starts_a_new_story(ask):
    old, new = "John went to the office.\n" * 3, "".join(f"{who} went to the {where}\n" for who, where in zip(
        ["Mary", "Daniel"] * 5, ["garden", "kitchen", "office", "hallway", "office"] * 2))
    both = ask(f"{old}{new}Where is Mary?\n\n{new}Where is Mary?")
    first, second = both[:len(both) // 2], both[len(both) // 2:]
    assert first == second and first.count("\n") == 12 and "john" not in first


def test_a_line_that_cannot_be_used_is_refused_in_a_pipe_and_left_out_in_a_terminal(ask, finished):
    for line, why in (("Mary went to the gardn.", "'gardn' is unknown to these weights, known and near: garden"),
                      ("Qqqq went to the xxxx.", "'qqqq' is unknown to these weights, and no word is near; 'xxxx' is unknown"),
                      ("...", r"no word in '\.\.\.'"), ("Mary went to the garden the office", "7 words; .* at most 5"),
                      ("Where is Mary the office?", "5 words; .* at most 3")):
        text = f"Mary went to the office.\n{line}\nWhere is Mary?\n"
        with pytest.raises(data_utils.DataError, match=f"standard input, line 2: {why}"):
            ask(text)
        printed = ask(text, Terminal)
        assert re.search(f"{why}.*; this line is left out\n", printed)
        assert printed.count("where is mary? ") == 1 and printed.count("mary went to the office") == 1


def test_a_question_without_facts_is_answered_where_absent_facts_are_read(ask, monkeypatch):
    assert answers(ask("Where is Mary?\n"))[0].startswith("where is mary? ")
    kept = ["30", "30", "30", "3", "0.0005", "2", "--models", os.path.join(ROOT, "models", "three-seeds"), "--ask"]
    with pytest.raises(data_utils.DataError, match="line 1: no fact comes before that question"):
        ask("Where is Mary?\n", argv=kept)
    with pytest.raises(data_utils.DataError, match="--ask and --evaluate are two ways"):
        ask("", argv=[*kept, "--evaluate"])
    with pytest.raises(data_utils.DataError, match="not UTF-8"):
        ask(b"\xff\n", functools.partial(lambda text: io.TextIOWrapper(io.BytesIO(text), "utf-8")), argv=kept)


def test_a_relation_network_answers_without_looks(ask):
    kept = ["--seed", "1", "--models", os.path.join(ROOT, "models", "relation-network"), "--ask"]
    printed = ask("Mary moved to the bathroom.\nWhere is Mary?\n", main=RN_bAbI.main, argv=kept)
    assert printed == "where is mary? bathroom (100.0 %)\n"


def test_the_first_command_of_the_readme_prints_what_it_says():
    block = next(block for block in re.findall(r"```\n(.*?)```", run_files.page("README.md"), re.DOTALL) if "--ask" in block)
    command, said = re.match(r"(printf .*? --ask)\n((?:    [^\n]*\n)+)", block, re.DOTALL).groups()
    said = [line.strip() for line in said.splitlines()]
    program = command.replace("\\\n", "").replace("python ", f"{shlex.quote(sys.executable)} ", 1)
    run = subprocess.run(["bash", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and not run.stderr
    assert [line.strip() for line in run.stdout.splitlines()] == [line for line in said if not line.startswith("#")]


def test_records_that_do_not_say_their_longest_sentences_have_those_of_the_release(real_babi):
    files = data_utils.read_tasks(real_babi)
    for task, longest in enumerate(look.LONGEST, start=1):
        items = [item for split in ("train", "test") for item in data_utils.parse_task(files.texts[task, split][1], "")]
        facts = {fact for item in items for fact in item.facts}
        assert longest == (max(len(data_utils.tokenize(fact)) for fact in facts),
                           max(len(data_utils.tokenize(item.question)) for item in items))
