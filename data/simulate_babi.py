"""Write simulated bAbI files: all 20 tasks, in the format of the released benchmark, for machines without it.

The tasks are those of Weston et al. (2015), "Towards AI-Complete Question Answering: A Set of Prerequisite Toy
Tasks". What the paper leaves open (which sentences, how often each action, when a question comes, which facts
support it) was estimated from the files released with it; the constants below say what was found. No released
story is stored or copied here. Results on simulated files are not results on bAbI.

    python data/simulate_babi.py --out DIR [--questions 10000] [--test-questions 1000] [--tasks 1-20] [--seed 0]

writes DIR/tasks_1-20_v1-2/en-10k/qaN_name_{train,test}.txt and DIR/tasks_1-20_v1-2/SIMULATED.txt.
From Python, simulate_task(task, questions, seed) returns the text of one file.
"""

import random
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from training import command_line  # noqa: E402
import data_utils  # noqa: E402
from data_utils import RELEASE, TASKS, DataError  # noqa: E402

VERSION = 1

LANGUAGE_FOLDER = "en-10k"
MARK = data_utils.SIMULATED

PEOPLE = ("Mary", "Sandra", "John", "Daniel")
ROOMS = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
# Tasks 5, 10 and 14 have a cast of their own, tasks 10 and 14 also a town instead of a house.
GIVERS = ("Mary", "Fred", "Bill", "Jeff")  # in the order in which they are given things
TOWNSPEOPLE = ("Bill", "Fred", "Julie", "Mary")
TOWN = ("bedroom", "cinema", "kitchen", "office", "park", "school")
OBJECTS = ("apple", "football", "milk")

# The verbs of one action are equally likely.
GO = ("went", "went back", "moved", "journeyed", "travelled")
GET = ("took", "got", "grabbed", "picked up")
DROP = ("dropped", "discarded", "left", "put down")
GIVE = ("gave", "handed", "passed")

# Share of "there" after a drop (and, in task 3, after a get). In the other tasks a get always has it, a gift never.
THERE = 0.2

QUESTIONS_PER_STORY = 5
# A question is about one of the latest five clauses; "Mary and John moved ..." is two clauses.
WINDOW = 5

OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
DIRECTIONS = tuple(OPPOSITE)


class Story:
    """Numbered lines of one story."""

    def __init__(self):
        self.lines = []
        self.question_lines = []

    def tell(self, sentence):
        """Add a fact; returns its line number."""
        self.lines.append(f"{len(self.lines) + 1} {sentence}\n")
        return len(self.lines)

    def ask(self, question, answer, support):
        """Add a question with its answer and the line numbers of the facts that support it."""
        numbers = " ".join(map(str, support))
        self.lines.append(f"{len(self.lines) + 1} {question}\t{answer}\t{numbers}\n")
        self.question_lines.append(len(self.lines))


def ask_about_recent(rng, story, clauses, make_question):
    """Ask about one of the latest clauses, in random order the first that gives a question; nothing if none does."""
    for clause in rng.sample(clauses[-WINDOW:], min(WINDOW, len(clauses))):
        question = make_question(clause)
        if question is not None:
            story.ask(*question)
            return


def choose_other(rng, choices, *excluded):
    """A random choice that is none of the excluded ones."""
    while True:
        choice = rng.choice(choices)
        if choice not in excluded:
            return choice


def go_sentence(rng, who, place):
    return f"{who} {rng.choice(GO)} to the {place}."


# ---------------------------------------------------------------------------------------------------------------------
# Tasks 1-3 and 5-8: people who walk about, take, drop and give things.


class House:
    """People and objects, each at a place; where they start is never told.

    A person, an action and its goal are drawn until they make sense: walk to another place, take an object that lies
    at the same place, drop one that is held. A gift has no choice: it is the first object, in the order of the list,
    that is held where somebody else is, and goes to the first of those people in the order of their list.
    """

    def __init__(self, rng, people, objects, actions):
        self.rng, self.people, self.objects, self.actions = rng, people, objects, actions
        self.place = {person: rng.choice(ROOMS) for person in people}
        self.lies_at = {thing: rng.choice(ROOMS) for thing in objects}
        self.holder = dict.fromkeys(objects)

    def act(self):
        """The next thing that happens: (action, person, place or object, receiver of a gift)."""
        while True:
            person, action = self.rng.choice(self.people), self.rng.choice(self.actions)
            if action == "go":
                goal = self.rng.choice(ROOMS)
                if goal != self.place[person]:
                    self.place[person] = goal
                    return "go", person, goal, None
            elif action == "get":
                within_reach = [thing for thing in self.objects if self.lies_at[thing] == self.place[person]]
                if within_reach:
                    thing = self.rng.choice(within_reach)
                    self.holder[thing], self.lies_at[thing] = person, None
                    return "get", person, thing, None
            elif action == "drop":
                held = [thing for thing in self.objects if self.holder[thing] == person]
                if held:
                    thing = self.rng.choice(held)
                    self.holder[thing], self.lies_at[thing] = None, self.place[person]
                    return "drop", person, thing, None
            else:
                for thing in self.objects:
                    giver = self.holder[thing]
                    for receiver in self.people:
                        if giver and receiver != giver and self.place[receiver] == self.place[giver]:
                            self.holder[thing] = receiver
                            return "give", giver, thing, receiver


def action_sentence(rng, action, person, what, receiver, share_of_there_after_get):
    if action == "go":
        return go_sentence(rng, person, what)
    if action == "give":
        return f"{person} {rng.choice(GIVE)} the {what} to {receiver}."
    if action == "get":
        verb, share_of_there = rng.choice(GET), share_of_there_after_get
    else:
        verb, share_of_there = rng.choice(DROP), THERE
    there = " there" if rng.random() < share_of_there else ""
    return f"{person} {verb} the {what}{there}."


class Memory:
    """What a reader of the story knows about people and objects, with the lines it is known from."""

    def __init__(self):
        self.walks = {}  # person: (line, place) of the latest walk
        self.handled = {}  # person: {object: lines where this person got or lost it}
        self.holder = {}  # object: who holds it
        self.touch = {}  # object: (action, line) of the latest get or drop
        self.carried = {}  # object: the walks (line, place) made with it since the latest get
        self.dropped_at = {}  # object: (line, place) of the walk that brought its last holder to where it was dropped
        self.gifts = []  # (giver, object, receiver, line)

    def note(self, action, person, what, receiver, line):
        if action == "go":
            self.walks[person] = (line, what)
            for thing, holder in self.holder.items():
                if holder == person:
                    self.carried[thing].append((line, what))
            return
        for involved in (person, receiver):
            if involved is not None:
                self.handled.setdefault(involved, {}).setdefault(what, []).append(line)
        if action == "give":
            self.gifts.append((person, what, receiver, line))
            self.holder[what] = receiver
            return
        self.touch[what] = (action, line)
        if action == "get":
            self.holder[what] = person
            self.carried[what] = []
        else:
            self.holder[what] = None
            self.dropped_at[what] = self.walks.get(person)


def house_story(rng, people, objects, actions, make_question, share_of_there_after_get=1.0):
    """Two things happen, then a question if the latest clauses allow one, until there are five questions."""
    house, memory, story, clauses = House(rng, people, objects, actions), Memory(), Story(), []
    while len(story.question_lines) < QUESTIONS_PER_STORY:
        for _ in range(2):
            clause = house.act()
            line = story.tell(action_sentence(rng, *clause, share_of_there_after_get))
            memory.note(*clause, line)
            clauses.append((*clause, line))
        ask_about_recent(rng, story, clauses, lambda clause: make_question(rng, memory, clause))
    return story


def where_is_person(rng, memory, clause):
    """Task 1: the place of the person's latest walk."""
    line, place = memory.walks[clause[1]]
    return f"Where is {clause[1]}? ", place, (line,)


def where_is_object(rng, memory, clause):
    """Task 2: a held object that was carried to another place, or a dropped one whose dropper's place is known."""
    action, _, thing, _, _ = clause
    if action == "go":
        return None
    last_action, touch_line = memory.touch[thing]
    if last_action == "get":
        walk = memory.carried[thing][-1] if memory.carried[thing] else None
    else:
        walk = memory.dropped_at[thing]
    if walk is None:
        return None
    return f"Where is the {thing}? ", walk[1], (touch_line, walk[0])


def where_was_object(rng, memory, clause):
    """Task 3: the place before one the object was carried to since its latest get; the latest visit counts."""
    action, _, thing, _, _ = clause
    if action == "go":
        return None
    walks = memory.carried[thing]
    if len(walks) < 2:
        return None
    place = walks[rng.randrange(1, len(walks))][1]
    latest = max(index for index, walk in enumerate(walks) if walk[1] == place)
    before = walks[latest - 1]
    support = (memory.touch[thing][1], walks[latest][0], before[0])
    return f"Where was the {thing} before the {place}? ", before[1], support


def who_gave_what(rng, memory, clause):
    """Task 5: giver, object or receiver of the latest gift of the object.

    One question in three asks for the object, one for the giver, one for the receiver; the latter two in two forms
    each. Two gifts of different objects between the same people make "What did ..." ambiguous: the earlier one is not
    asked about (the released files do so in about 20 of 10,000 questions).
    """
    action, _, thing, _, _ = clause
    if action != "give":
        return None
    giver, _, receiver, line = next(gift for gift in reversed(memory.gifts) if gift[1] == thing)
    asked_for = rng.choice(("object", "giver", "receiver"))
    short = rng.random() < 0.5
    if asked_for == "object":
        later = [gift for gift in memory.gifts if gift[3] > line and gift[0] == giver and gift[2] == receiver]
        if later:
            return None
        return f"What did {giver} give to {receiver}? ", thing, (line,)
    if asked_for == "giver":
        return f"Who gave the {thing}? " if short else f"Who gave the {thing} to {receiver}? ", giver, (line,)
    return f"Who received the {thing}? " if short else f"Who did {giver} give the {thing} to? ", receiver, (line,)


def place_to_ask_about(rng, place, places):
    """Half of the time the place itself, else a random other one, so that yes and no are equally likely."""
    return place if rng.random() < 0.5 else choose_other(rng, places, place)


def is_person_there(rng, memory, clause):
    """Task 6: only a walk tells where somebody is."""
    if clause[0] != "go":
        return None
    person = clause[1]
    line, place = memory.walks[person]
    asked = place_to_ask_about(rng, place, ROOMS)
    return f"Is {person} in the {asked}? ", "yes" if asked == place else "no", (line,)


def how_many_objects(rng, memory, clause):
    """Task 7: supported by every get, drop and gift the person took part in."""
    action, person, _, _, _ = clause
    if action == "go":
        return None
    count = sum(holder == person for holder in memory.holder.values())
    support = sorted(line for lines in memory.handled[person].values() for line in lines)
    return f"How many objects is {person} carrying? ", ("none", "one", "two", "three")[count], support


def what_is_carried(rng, memory, clause):
    """Task 8: objects in the order the person first got them, and the supporting facts in the same order."""
    action, person, _, _, _ = clause
    if action == "go":
        return None
    handled = memory.handled[person]
    held = [thing for thing in handled if memory.holder[thing] == person]
    support = [line for lines in handled.values() for line in lines]
    return f"What is {person} carrying? ", ",".join(held) or "nothing", support


def task_1(rng):
    return house_story(rng, PEOPLE, (), ("go",), where_is_person)


def task_2(rng):
    return house_story(rng, PEOPLE, OBJECTS, ("go", "get", "drop"), where_is_object)


def task_3(rng):
    return house_story(rng, PEOPLE, OBJECTS, ("go", "get", "drop"), where_was_object, share_of_there_after_get=THERE)


def task_5(rng):
    return house_story(rng, GIVERS, OBJECTS, ("go", "get", "drop", "give"), who_gave_what)


def task_6(rng):
    return house_story(rng, PEOPLE, OBJECTS, ("go", "get", "drop"), is_person_there)


def task_7(rng):
    people = ("John", "Mary", "Sandra", "Daniel")  # in the order in which they are given things
    return house_story(rng, people, OBJECTS, ("go", "get", "drop", "give"), how_many_objects)


def task_8(rng):
    return house_story(rng, PEOPLE, OBJECTS, ("go", "get", "drop"), what_is_carried)


# ---------------------------------------------------------------------------------------------------------------------
# Tasks 4 and 19: rooms and compass directions.


def tell_neighbours(rng, story, neighbours):
    """Tell every pair of neighbours once, as "The A is DIRECTION of the B."; returns {pair of rooms: its fact}.

    A fact is (line, A, direction, B).

    neighbours[room] lists (direction of that room from the neighbour, neighbour). A random room and one of its
    neighbours are drawn until the pair is new, so a room with one neighbour is mostly the subject, and told early.
    """
    rooms, pairs = list(neighbours), sum(map(len, neighbours.values())) // 2
    told = {}
    while len(told) < pairs:
        room = rng.choice(rooms)
        direction, neighbour = rng.choice(neighbours[room])
        pair = frozenset((room, neighbour))
        if pair not in told:
            told[pair] = (story.tell(f"The {room} is {direction} of the {neighbour}."), room, direction, neighbour)
    return told


def join(neighbours, room, direction, new_room):
    """Put new_room to the given direction of room."""
    neighbours.setdefault(new_room, []).append((direction, room))
    neighbours.setdefault(room, []).append((OPPOSITE[direction], new_room))


def task_4(rng):
    """Three rooms in a row, two facts; asked is the subject of one of them."""
    story, neighbours = Story(), {}
    first, middle, last = rng.sample(ROOMS, 3)
    direction = rng.choice(DIRECTIONS)
    join(neighbours, first, direction, middle)
    join(neighbours, middle, direction, last)
    line, room, direction, neighbour = rng.choice(list(tell_neighbours(rng, story, neighbours).values()))
    if rng.random() < 0.5:
        story.ask(f"What is {direction} of the {neighbour}?", room, (line,))
    else:
        story.ask(f"What is the {neighbour} {OPPOSITE[direction]} of?", room, (line,))
    return story


def task_19(rng):
    """Six rooms, five facts, a path of two steps; each other room lies next to a room on the path."""
    story, neighbours = Story(), {}
    rooms = rng.sample(ROOMS, 6)
    start, middle, end = path = rooms[:3]
    first_step = rng.choice(DIRECTIONS)
    second_step = choose_other(rng, DIRECTIONS, OPPOSITE[first_step])
    join(neighbours, start, first_step, middle)
    join(neighbours, middle, second_step, end)
    taken = {(start, first_step), (middle, OPPOSITE[first_step]), (middle, second_step), (end, OPPOSITE[second_step])}
    free = [(room, direction) for room in path for direction in DIRECTIONS if (room, direction) not in taken]
    for (room, direction), new_room in zip(rng.sample(free, 3), rooms[3:]):
        join(neighbours, room, direction, new_room)
    told = tell_neighbours(rng, story, neighbours)
    support = (told[frozenset((start, middle))][0], told[frozenset((middle, end))][0])
    story.ask(f"How do you go from the {start} to the {end}?", f"{first_step[0]},{second_step[0]}", support)
    return story


# ---------------------------------------------------------------------------------------------------------------------
# Tasks 9 and 10: where people are, are not, or may be.


def whereabouts_story(rng, people, places, describe, ask):
    """As in task 1, but each walk is described in one of several ways."""
    story, clauses, latest = Story(), [], {}
    place = {person: rng.choice(places) for person in people}
    while len(story.question_lines) < QUESTIONS_PER_STORY:
        for _ in range(2):
            person = rng.choice(people)
            left, place[person] = place[person], choose_other(rng, places, place[person])
            sentence, known = describe(rng, person, left, place[person])
            latest[person] = (known, story.tell(sentence))
            clauses.append(person)
        ask_about_recent(rng, story, clauses, lambda person: ask(rng, person, *latest[person]))
    return story


def describe_with_negation(rng, person, left, place):
    """Half are walks, a quarter "is in", an eighth each "is not in" and "is no longer in" the place just left."""
    kind = rng.choice(("go", "go", "go", "go", "in", "in", "not", "no longer"))
    if kind == "go":
        return go_sentence(rng, person, place), (True, place)
    if kind == "in":
        return f"{person} is in the {place}.", (True, place)
    return f"{person} is {kind} in the {left}.", (False, left)


def ask_with_negation(rng, person, known, line):
    """Where somebody is not is asked about only for the place that was named."""
    is_there, place = known
    asked = place_to_ask_about(rng, place, ROOMS) if is_there else place
    return f"Is {person} in the {asked}? ", "yes" if is_there and asked == place else "no", (line,)


def task_9(rng):
    return whereabouts_story(rng, PEOPLE, ROOMS, describe_with_negation, ask_with_negation)


def describe_indefinitely(rng, person, left, place):
    """Half are walks, a quarter "is in", a quarter "is either in". The other place may be the same one again."""
    kind = rng.choice(("go", "go", "in", "either"))
    if kind == "go":
        return go_sentence(rng, person, place), (place,)
    if kind == "in":
        return f"{person} is in the {place}.", (place,)
    other = rng.choice(TOWN)
    first, second = rng.sample((place, other), 2)
    return f"{person} is either in the {first} or the {second}.", (place, other)


def ask_indefinitely(rng, person, known, line):
    """Maybe for both places of "either", also where the two are the same."""
    asked = place_to_ask_about(rng, known[0], TOWN)
    if asked not in known:
        answer = "no"
    else:
        answer = "yes" if len(known) == 1 else "maybe"
    return f"Is {person} in the {asked}? ", answer, (line,)


def task_10(rng):
    return whereabouts_story(rng, TOWNSPEOPLE, TOWN, describe_indefinitely, ask_indefinitely)


# ---------------------------------------------------------------------------------------------------------------------
# Tasks 11-13: pronouns and pairs of people.

PRONOUN = {"Mary": "she", "Sandra": "she", "John": "he", "Daniel": "he"}
CONNECTIVES = ("Then", "After that", "Afterwards", "Following that")


def walkers_story(rng, group_size, followed_up):
    """A group walks, and if followed_up walks on as a pronoun; two facts, a question, five times.

    Group and goal are drawn together until the goal is new to everybody, which makes people who are at one place
    slightly more likely to walk again.
    """
    story, clauses, latest = Story(), [], {}
    place = {person: rng.choice(ROOMS) for person in PEOPLE}
    facts_per_walk = 2 if followed_up else 1
    while len(story.question_lines) < QUESTIONS_PER_STORY:
        for _ in range(2 // facts_per_walk):
            group, goal = rng.sample(PEOPLE, group_size), rng.choice(ROOMS)
            while any(place[person] == goal for person in group):
                group, goal = rng.sample(PEOPLE, group_size), rng.choice(ROOMS)
            lines = [story.tell(go_sentence(rng, " and ".join(group), goal))]
            if followed_up:
                pronoun = PRONOUN[group[0]] if group_size == 1 else "they"
                goal = choose_other(rng, ROOMS, goal)
                lines.append(story.tell(go_sentence(rng, f"{rng.choice(CONNECTIVES)} {pronoun}", goal)))
            for person in group:
                place[person], latest[person] = goal, lines
            clauses.extend(group * facts_per_walk)
        ask_about_recent(
            rng, story, clauses, lambda person: (f"Where is {person}? ", place[person], latest[person])
        )
    return story


def task_11(rng):
    return walkers_story(rng, group_size=1, followed_up=True)


def task_12(rng):
    return walkers_story(rng, group_size=2, followed_up=False)


def task_13(rng):
    return walkers_story(rng, group_size=2, followed_up=True)


# ---------------------------------------------------------------------------------------------------------------------
# Task 14: times of day.

TIMES = ("yesterday", "this morning", "this afternoon", "this evening")


def timed_sentence(rng, person, place, when):
    if rng.random() < 0.5:
        return f"{when.capitalize()} {go_sentence(rng, person, place)}"
    return f"{go_sentence(rng, person, place)[:-1]} {when}."


def shuffle_cyclically(rng, items):
    """Shuffle by one random cycle through all items, so that none keeps its position (two are always swapped)."""
    for last in range(len(items) - 1, 0, -1):
        other = rng.randrange(last)
        items[last], items[other] = items[other], items[last]


def task_14(rng):
    """Everybody walks through the times of day in order; the facts since the last question are told out of order.

    Asked is the place before one of the five latest walks; of several visits to that place the latest counts.
    """
    story, walks, untold = Story(), [], []
    diary = {person: [] for person in TOWNSPEOPLE}  # places in order of time
    lines = {}  # (person, index of time): line
    while len(story.question_lines) < QUESTIONS_PER_STORY:
        for _ in range(2):
            person = rng.choice([person for person in TOWNSPEOPLE if len(diary[person]) < len(TIMES)])
            diary[person].append(choose_other(rng, TOWN, *diary[person][-1:]))
            walks.append((person, len(diary[person]) - 1))
            untold.append(walks[-1])
        askable = [walk for walk in walks[-WINDOW:] if walk[1] > 0]
        if not askable:
            continue
        shuffle_cyclically(rng, untold)
        for who, when in untold:
            lines[who, when] = story.tell(timed_sentence(rng, who, diary[who][when], TIMES[when]))
        untold = []
        person, when = rng.choice(askable)
        place = diary[person][when]
        when = max(index for index, visited in enumerate(diary[person]) if visited == place)
        story.ask(
            f"Where was {person} before the {place}? ", diary[person][when - 1],
            (lines[person, when], lines[person, when - 1]),
        )
    return story


# ---------------------------------------------------------------------------------------------------------------------
# Tasks 15 and 16: deduction and induction about animals.

PLURAL = {"mouse": "mice", "sheep": "sheep", "wolf": "wolves", "cat": "cats"}
NAMED_ANIMALS = ("Emily", "Gertrude", "Jessica", "Winona")


def task_15(rng):
    """Each of four kinds is afraid of another, each of four animals is of a kind; four questions.

    A random kind and a random animal are drawn: what the kind is afraid of is told unless it has been, else that the
    animal is of that kind unless the animal's kind has been told.
    """
    story, kinds, fear, kind_of = Story(), tuple(PLURAL), {}, {}
    while len(fear) + len(kind_of) < 8:
        kind, animal = rng.choice(kinds), rng.choice(NAMED_ANIMALS)
        if kind not in fear:
            feared = choose_other(rng, kinds, kind)
            fear[kind] = (feared, story.tell(f"{PLURAL[kind].capitalize()} are afraid of {PLURAL[feared]}."))
        elif animal not in kind_of:
            kind_of[animal] = (kind, story.tell(f"{animal} is a {kind}."))
    for _ in range(4):
        animal = rng.choice(NAMED_ANIMALS)
        kind, kind_line = kind_of[animal]
        feared, fear_line = fear[kind]
        story.ask(f"What is {animal.lower()} afraid of?", feared, (kind_line, fear_line))
    return story


COLOURED_ANIMALS = ("Bernhard", "Brian", "Greg", "Julius", "Lily")
COLOURED_KINDS = ("frog", "lion", "rhino", "swan")
COLOURS = ("gray", "green", "white", "yellow")


def task_16(rng):
    """Five animals, the kind of each and then its colour, the last colour being asked for.

    The answer is the colour of the animal of the same kind whose kind was told last. A kind's colour is drawn anew
    whenever an animal is said to be of that kind, so animals of one kind may differ. The released files have one,
    three or four such animals, never two.
    """
    while True:
        untold = {animal: ["kind", "colour"] for animal in COLOURED_ANIMALS}
        story, kind_of, kind_line, colour_of, colour_line, kind_colour = Story(), {}, {}, {}, {}, {}
        while True:
            animal = rng.choice(list(untold))
            what = untold[animal].pop(0)
            if not untold[animal]:
                del untold[animal]
                if not untold:
                    break
            if what == "kind":
                kind_of[animal] = rng.choice(COLOURED_KINDS)
                kind_colour[kind_of[animal]] = rng.choice(COLOURS)
                kind_line[animal] = story.tell(f"{animal} is a {kind_of[animal]}.")
            else:
                colour_of[animal] = kind_colour[kind_of[animal]]
                colour_line[animal] = story.tell(f"{animal} is {colour_of[animal]}.")
        # The animal left over is the one asked about.
        alike = [other for other in colour_of if kind_of[other] == kind_of[animal]]
        if len(alike) in (1, 3, 4):
            witness = max(alike, key=kind_line.get)
            support = (kind_line[animal], kind_line[witness], colour_line[witness])
            story.ask(f"What color is {animal}?", colour_of[witness], support)
            return story


# ---------------------------------------------------------------------------------------------------------------------
# Task 17: relative positions; task 18: sizes.

SHAPES = ("blue square", "pink rectangle", "red sphere", "red square", "triangle", "yellow square")
SIDES = {"above": (0, 1), "below": (0, -1), "to the left of": (-1, 0), "to the right of": (1, 0)}


def task_17(rng):
    """Two shapes at different sides of a third, two facts, eight yes/no questions about the two.

    A shape is "above" another if it is higher, to whichever side. Yes and no are equally likely.
    """
    story, sides = Story(), tuple(SIDES)
    middle, *ends = rng.sample(SHAPES, 3)
    end_sides = rng.sample(sides, 2)
    position = {end: SIDES[side] for end, side in zip(ends, end_sides)}
    opposite = {"above": "below", "below": "above",
                "to the left of": "to the right of", "to the right of": "to the left of"}
    line, facts = {}, list(zip(ends, end_sides))
    while facts:
        # A random shape becomes the object of one of its facts: the middle one is the subject two times in three.
        chosen = rng.choice((middle, *ends))
        told = rng.choice([fact for fact in zip(ends, end_sides) if chosen in (middle, fact[0])])
        if told not in facts:
            continue
        facts.remove(told)
        end, side = told
        if chosen == middle:
            line[end] = story.tell(f"The {end} is {side} the {middle}.")
        else:
            line[end] = story.tell(f"The {middle} is {opposite[side]} the {end}.")
    for _ in range(8):
        subject, other = rng.sample(ends, 2)
        offset = [position[subject][axis] - position[other][axis] for axis in (0, 1)]
        true = {side for side, (x, y) in SIDES.items() if x * offset[0] + y * offset[1] > 0}
        answer = rng.choice(("yes", "no"))
        side = rng.choice([side for side in sides if (side in true) == (answer == "yes")])
        story.ask(f"Is the {subject} {side} the {other}?", answer, (line[subject], line[other]))
    return story


CONTAINERS = ("box", "chest", "container", "suitcase")


def task_18(rng):
    """Chocolate, box of chocolates and four containers of random order of size; a question is two comparisons deep.

    Five facts compare random pairs, with repetitions. A question joins one of the latest five to the first other fact
    about its smaller thing (answer yes) or about its bigger one (answer no); if no such two make a chain, five more
    facts follow. A repeated comparison counts as its latest telling in seven stories of ten, else as its first.
    """
    story, facts, chains = Story(), [], []
    by_size = ["chocolate", "box of chocolates", *rng.sample(CONTAINERS, 4)]
    telling = -1 if rng.random() < 0.7 else 0
    while not chains:
        for _ in range(5):
            small, big = (by_size[index] for index in sorted(rng.sample(range(6), 2)))
            if rng.random() < 0.5:
                line = story.tell(f"The {small} fits inside the {big}.")
            else:
                line = story.tell(f"The {big} is bigger than the {small}.")
            facts.append((small, big, line))
        for small, big, _ in facts[-WINDOW:]:
            fact = [other for other in facts if other[:2] == (small, big)][telling]
            for shared in (small, big):
                joined = next((other for other in facts if other != fact and shared in other[:2]), fact)
                if joined[1] == small or joined[0] == big:
                    chains.append((fact, joined))
    for _ in range(5):
        fact, joined = rng.choice(chains)
        if joined[1] == fact[0]:
            answer, inner, outer = "yes", joined[0], fact[1]
        else:
            answer, inner, outer = "no", joined[1], fact[0]
        support = (fact[2], joined[2])
        if rng.random() < 0.5:
            story.ask(f"Does the {inner} fit in the {outer}?", answer, support)
        else:
            story.ask(f"Is the {outer} bigger than the {inner}?", answer, support)
    return story


# ---------------------------------------------------------------------------------------------------------------------
# Task 20: motives.

AGENTS = ("Antoine", "Jason", "Sumit", "Yann")
MOTIVES = {  # motive: (place it leads to, object it makes one take)
    "hungry": ("kitchen", "apple"), "thirsty": ("kitchen", "milk"),
    "bored": ("garden", "football"), "tired": ("bedroom", "pajamas"),
}


def task_20(rng):
    """Everybody has a motive, goes to a place and takes the object, if nobody has; a question after each fact."""
    story, taken = Story(), set()
    motive, motive_line, walked = {}, {}, set()
    active = list(AGENTS)
    while active:
        agent = rng.choice(active)
        name = agent.lower()
        if agent not in motive:
            motive[agent] = rng.choice(tuple(MOTIVES))
            motive_line[agent] = story.tell(f"{agent} is {motive[agent]}.")
            story.ask(f"Where will {name} go?", MOTIVES[motive[agent]][0], (motive_line[agent],))
            continue
        place, thing = MOTIVES[motive[agent]]
        if agent not in walked:
            walked.add(agent)
            story.tell(go_sentence(rng, agent, place))
            story.ask(f"Why did {name} go to the {place}?", motive[agent], (motive_line[agent],))
        else:
            taken.add(thing)
            story.tell(f"{agent} {rng.choice(GET)} the {thing} there.")
            story.ask(f"Why did {name} get the {thing}?", motive[agent], (motive_line[agent],))
        active = [
            agent for agent in AGENTS if agent not in walked or MOTIVES[motive[agent]][1] not in taken
        ]
    return story


STORY_WRITERS = {
    1: task_1, 2: task_2, 3: task_3, 4: task_4, 5: task_5, 6: task_6, 7: task_7, 8: task_8, 9: task_9, 10: task_10,
    11: task_11, 12: task_12, 13: task_13, 14: task_14, 15: task_15, 16: task_16, 17: task_17, 18: task_18,
    19: task_19, 20: task_20,
}


def simulate_task(task, questions, seed, split="train"):
    """The text of one file of the given task with exactly that many questions.

    Task, split and seed alone determine its stories; more questions only make it longer. It ends with a question.
    """
    if task not in STORY_WRITERS:
        raise ValueError(f"there is no task {task!r}: tasks are numbered 1 to 20")
    rng = random.Random(f"simulated bAbI, task {task}, {split}, seed {seed}")
    pieces, missing = [], questions
    while missing > 0:
        story = STORY_WRITERS[task](rng)
        wanted = story.question_lines[:missing]
        pieces.extend(story.lines[:wanted[-1]])
        missing -= len(wanted)
    return "".join(pieces)


# ---------------------------------------------------------------------------------------------------------------------
# Files and command line.


def file_name(task, split):
    return f"qa{task}_{TASKS[task - 1]}_{split}.txt"


def read_mark(folder):
    """{file name: line about it} from the mark in a tasks folder, empty where there is none."""
    path = folder / MARK
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {line.split()[0]: line for line in lines if re.match(r"qa\d+_\S+ ", line)}


def mark_text(entries):
    heading = (
        "These files are SIMULATED. They are not the released bAbI benchmark, and results on them are not results on\n"
        "bAbI. They were written by data/simulate_babi.py. Each line below names a file and what it was made with.\n\n"
    )
    ordered = sorted(entries, key=lambda name: (int(re.match(r"qa(\d+)", name)[1]), name))
    return heading + "".join(entries[name] + "\n" for name in ordered)


def check_folder(folder):
    """Refuse to write among files that are not marked as simulated."""
    if not folder.exists():
        return
    marked = read_mark(folder)
    simulated = {folder / LANGUAGE_FOLDER / name for name in marked}
    strangers = sorted(set(folder.rglob("qa*.txt")) - simulated)
    if strangers:
        raise DataError(f"{strangers[0]} is not marked as simulated: nothing written, choose another folder")


def simulate(out, tasks, questions, test_questions, seed):
    """Write the files of the given tasks under the folder out; returns how many files and lines."""
    folder = Path(out) / RELEASE
    check_folder(folder)
    (folder / LANGUAGE_FOLDER).mkdir(parents=True, exist_ok=True)
    entries, lines = read_mark(folder), 0
    for task in tasks:
        started = time.monotonic()
        for split, count in (("train", questions), ("test", test_questions)):
            name = file_name(task, split)
            text = simulate_task(task, count, seed, split)
            lines += text.count("\n")
            # The mark comes first, so that no simulated file is ever without it.
            entries[name] = f"{name} questions={count} seed={seed} simulator-version={VERSION}"
            command_line.write_whole(str(folder / MARK), mark_text(entries).encode())
            command_line.write_whole(str(folder / LANGUAGE_FOLDER / name), text.encode())
        seconds = time.monotonic() - started
        print(f"task {task:2d}  {TASKS[task - 1]:24s} {seconds:5.1f} s", file=sys.stderr, flush=True)
    return 2 * len(tasks), lines


def main(argv=None):
    parser = command_line.Parser(description=__doc__.split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help=f"folder that gets {RELEASE}/")
    add("--questions", type=command_line.positive_int, metavar="N", default=10000,
        help="questions in each training file (default %(default)s)")
    add("--test-questions", type=command_line.positive_int, metavar="N", default=1000,
        help="questions in each test file (default %(default)s)")
    add("--tasks", type=command_line.task_list, metavar="LIST", default=list(range(1, 21)),
        help="tasks such as 1,2,16-19 (default 1-20)")
    add("--seed", type=command_line.natural_number, default=0, help="same seed, same bytes (default %(default)s)")
    args = parser.parse_args(argv)
    started = time.monotonic()
    files, lines = simulate(args.out, args.tasks, args.questions, args.test_questions, args.seed)
    print(f"wrote {files} simulated files, {lines:,} lines, in {time.monotonic() - started:.0f} s "
          f"to {Path(args.out) / RELEASE}")


if __name__ == "__main__":
    command_line.run_script(main, "files are written whole or not at all; the same command goes on")
