"""Looking into a trained network: attention on a question's facts, questions of one's own."""
import functools
import io
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import RN_bAbI
import WMemNN_bAbI as script
import data_utils
from conftest import ROOT
from helpers import run_files
from helpers.small_run import NAME, arguments, data, finished, record  # noqa: F401
from training import look, report
from training.run import load_weights, read_run

pytestmark = pytest.mark.usefixtures("without_xla")


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
    stories = data_utils.Stories(np.array([[2, 1, 0, 0]]), one, one, one, np.array([[True, False, False, False]]))
    babi = data_utils.Babi(["up", "down"], [], np.array([[0], [1], [2]]), None, stories, stories, stories, None, "read")
    attention = np.zeros((1, 4, 1, 2))
    attention[0, :2, 0] = [[0.5, 0.25], [0.25, 0.0]]
    facts, supporting, weights = look.looks(babi, stories, 0, attention)
    assert facts == ["(2 absent facts)", "up", "down"] and supporting == [False, False, True]
    np.testing.assert_array_equal(weights[:, 0], [[0.25, 0.75], [0.25, 0], [0.5, 0.25]])
    assert look.in_digits(facts, weights).split("\n")[1].split() == ["(2", "absent", "facts)", "27"]
    babi.padding = "masked"
    assert look.looks(babi, stories, 0, attention)[0] == ["up", "down"]


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
    assert ask("Mary moved to the bathroom.\nWhere is Mary?\n", main=RN_bAbI.main, argv=kept) == "where is mary? bathroom (100.0 %)\n"


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
