"""Answer bAbI questions from their text alone, by the meaning of each task.

Independent of the simulator: it reads sentences and knows nothing of how they came about. solve(task, facts, question)
gives the answer, or None where the facts do not settle it. Facts are given oldest first.

Given only the supporting facts of a question it must give the same answer. Where what is not said matters, "suffice"
means that the facts given are all there is:
- tasks 7 and 8: an object a person was never said to get is not carried (the supports are all gets, drops and gifts
  of that person, so a count of them is complete);
- task 3: who drops an object without an earlier get had it from the first fact on;
- tasks 1-3, 5, 6, 9-13: the latest statement about somebody or something holds until the next one;
- task 16: the animal of the same kind whose kind was told last decides.
"""

import re
from itertools import pairwise

GO = r"(?:went back|went|moved|journeyed|travelled) to the (\w+)"
GET = re.compile(r"(\w+) (?:took|got|grabbed|picked up) the (\w+)(?: there)?")
DROP = re.compile(r"(\w+) (?:dropped|discarded|left|put down) the (\w+)(?: there)?")
GIVE = re.compile(r"(\w+) (?:gave|handed|passed) the (\w+) to (\w+)")
WALK = re.compile(r"(?:(?:Then|After that|Afterwards|Following that) )?(\w+)(?: and (\w+))? " + GO)
STATED = re.compile(r"(\w+) is (not in|no longer in|in|either in) the (\w+)(?: or the (\w+))?")
COMPASS = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}


def parts(pattern, text):
    match = re.fullmatch(pattern, text)
    return match and match.groups()


def clean(sentence):
    return sentence.strip().rstrip(".?")


class World:
    """Follow walks, gets, drops and gifts."""

    def __init__(self, facts):
        self.place = {}  # person: place
        self.holder = {}  # object: person, None once dropped
        self.lies_at = {}  # object: place where it was dropped
        self.visited = {}  # object: places in order
        self.trail = {}  # person: places in order
        self.first_got = {}  # person: objects in order of the first get
        self.gifts = []  # (giver, object, receiver)
        speakers = ()
        for fact in facts:
            speakers = self.follow(clean(fact), speakers)

    def follow(self, text, speakers):
        if got := parts(WALK, text):
            people = speakers if got[0] in ("he", "she", "they") else tuple(person for person in got[:2] if person)
            for person in people:
                self.place[person] = got[2]
                self.trail.setdefault(person, []).append(got[2])
                for thing, holder in self.holder.items():
                    if holder == person:
                        self.visit(thing, got[2])
            return people
        if got := parts(GET, text):
            person, thing = got
            self.take(person, thing)
            self.visit(thing, self.place.get(person))
        elif got := parts(DROP, text):
            person, thing = got
            if thing not in self.holder:
                self.visited[thing] = list(self.trail.get(person, ()))
            self.holder[thing], self.lies_at[thing] = None, self.place.get(person)
        elif got := parts(GIVE, text):
            giver, thing, receiver = got
            self.gifts.append(got)
            self.take(receiver, thing)
            self.visit(thing, self.place.get(receiver, self.place.get(giver)))
        else:
            raise ValueError(f"unknown sentence {text!r}")
        return ()

    def take(self, person, thing):
        self.holder[thing] = person
        self.first_got.setdefault(person, [])
        if thing not in self.first_got[person]:
            self.first_got[person].append(thing)

    def visit(self, thing, place):
        places = self.visited.setdefault(thing, [])
        if place is not None and places[-1:] != [place]:
            places.append(place)

    def where_is(self, thing):
        if self.holder.get(thing):
            return self.place.get(self.holder[thing])
        return self.lies_at.get(thing)

    def carried(self, person):
        return [thing for thing in self.first_got.get(person, ()) if self.holder[thing] == person]


def where_is_person(facts, question):
    person, = parts(r"Where is (\w+)", question)
    return World(facts).place.get(person)


def where_is_object(facts, question):
    thing, = parts(r"Where is the (\w+)", question)
    return World(facts).where_is(thing)


def where_was_object(facts, question):
    thing, place = parts(r"Where was the (\w+) before the (\w+)", question)
    before = [first for first, second in pairwise(World(facts).visited.get(thing, ())) if second == place]
    return before[-1] if before else None


def who_gave_what(facts, question):
    gifts = World(facts).gifts
    if got := parts(r"What did (\w+) give to (\w+)", question):
        found = [gift[1] for gift in gifts if (gift[0], gift[2]) == got]
    elif got := parts(r"Who gave the (\w+)(?: to (\w+))?", question):
        found = [gift[0] for gift in gifts if gift[1] == got[0] and got[1] in (None, gift[2])]
    elif got := parts(r"Who did (\w+) give the (\w+) to", question):
        found = [gift[2] for gift in gifts if gift[:2] == got]
    else:
        thing, = parts(r"Who received the (\w+)", question)
        found = [gift[2] for gift in gifts if gift[1] == thing]
    return found[-1] if found else None


def is_person_there(facts, question):
    person, place = parts(r"Is (\w+) in the (\w+)", question)
    known = World(facts).place.get(person)
    return known and ("yes" if known == place else "no")


def how_many_carried(facts, question):
    person, = parts(r"How many objects is (\w+) carrying", question)
    return ("none", "one", "two", "three")[len(World(facts).carried(person))]


def what_is_carried(facts, question):
    person, = parts(r"What is (\w+) carrying", question)
    return ",".join(World(facts).carried(person)) or "nothing"


def is_person_there_maybe(facts, question):
    person, asked = parts(r"Is (\w+) in the (\w+)", question)
    answer = None
    for fact in map(clean, facts):
        if got := parts(WALK, fact):
            who, how, places = got[0], "in", {got[2]}
        else:
            who, how, *named = parts(STATED, fact)
            places = set(named)
        if who != person:
            continue
        if how == "in":
            answer = "yes" if asked in places else "no"
        elif how == "either in":
            answer = "maybe" if asked in places else "no"
        else:
            answer = "no" if asked in places else None
    return answer


def neighbours(facts):
    """{(room, direction): room to that direction of it}."""
    found = {}
    for fact in facts:
        room, direction, other = parts(r"The (\w+) is (\w+) of the (\w+)", clean(fact))
        step = COMPASS[direction]
        found[other, step] = room
        found[room, (-step[0], -step[1])] = other
    return found


def what_is_next_to(facts, question):
    if got := parts(r"What is (\w+) of the (\w+)", question):
        direction, room = got
        return neighbours(facts).get((room, COMPASS[direction]))
    room, direction = parts(r"What is the (\w+) (\w+) of", question)
    step = COMPASS[direction]
    return neighbours(facts).get((room, (-step[0], -step[1])))


def path(facts, question):
    start, end = parts(r"How do you go from the (\w+) to the (\w+)", question)
    letters = {step: name[0] for name, step in COMPASS.items()}
    edges = neighbours(facts)
    routes = [
        f"{letters[first]},{letters[second]}"
        for (room, first), middle in edges.items() if room == start
        for (other, second), goal in edges.items() if other == middle and goal == end
    ]
    return routes[0] if len(routes) == 1 else None


def where_was_person(facts, question):
    person, place = parts(r"Where was (\w+) before the (\w+)", question)
    times = ("yesterday", "this morning", "this afternoon", "this evening")
    diary = {}
    for fact in facts:
        text = clean(fact)
        when, = (time for time in times if time in text.lower())
        who, _, where = parts(WALK, re.sub(when, "", text, flags=re.IGNORECASE).strip())
        if who == person:
            diary[times.index(when)] = where
    visits = [diary[time] for time in sorted(diary)]
    before = [first for first, second in pairwise(visits) if second == place]
    return before[-1] if before else None


def what_is_feared(facts, question):
    name, = parts(r"What is (\w+) afraid of", question)
    singular = {"mice": "mouse", "wolves": "wolf", "cats": "cat", "sheep": "sheep"}
    kind_of, fear = {}, {}
    for fact in map(clean, facts):
        if got := parts(r"(\w+) are afraid of (\w+)", fact):
            fear[singular[got[0].lower()]] = singular[got[1]]
        else:
            animal, kind = parts(r"(\w+) is a (\w+)", fact)
            kind_of[animal.lower()] = kind
    return fear.get(kind_of.get(name))


def which_colour(facts, question):
    name, = parts(r"What color is (\w+)", question)
    kind_of, colour_of = {}, {}
    for fact in map(clean, facts):
        if got := parts(r"(\w+) is a (\w+)", fact):
            kind_of[got[0]] = got[1]
        else:
            animal, colour = parts(r"(\w+) is (\w+)", fact)
            colour_of[animal] = colour
    alike = [animal for animal in kind_of if kind_of[animal] == kind_of.get(name) and animal in colour_of]
    return colour_of[alike[-1]] if alike else None


def relative_position(facts, question):
    sides = {"above": (0, 1), "below": (0, -1), "to the left of": (-1, 0), "to the right of": (1, 0)}
    alternatives = "|".join(sides)
    position = {}
    relations = [parts(rf"The (.+?) is ({alternatives}) the (.+)", clean(fact)) for fact in facts]
    position[relations[0][0]] = (0, 0)
    for _ in relations:
        for subject, side, other in relations:
            x, y = sides[side]
            if other in position:
                position.setdefault(subject, (position[other][0] + x, position[other][1] + y))
            elif subject in position:
                position[other] = (position[subject][0] - x, position[subject][1] - y)
    subject, side, other = parts(rf"Is the (.+?) ({alternatives}) the (.+)", question)
    if subject not in position or other not in position:
        return None
    x, y = sides[side]
    (subject_x, subject_y), (other_x, other_y) = position[subject], position[other]
    return "yes" if (subject_x - other_x) * x + (subject_y - other_y) * y > 0 else "no"


def is_bigger(facts, question):
    bigger = {}
    for fact in map(clean, facts):
        if got := parts(r"The (.+) fits inside the (.+)", fact):
            small, big = got
        else:
            big, small = parts(r"The (.+) is bigger than the (.+)", fact)
        bigger.setdefault(small, set()).add(big)

    def is_smaller(thing, other):
        return any(next_one == other or is_smaller(next_one, other) for next_one in bigger.get(thing, ()))

    if got := parts(r"Does the (.+) fit in the (.+)", question):
        small, big = got
    else:
        big, small = parts(r"Is the (.+) bigger than the (.+)", question)
    if is_smaller(small, big):
        return "yes"
    return "no" if is_smaller(big, small) else None


def why_or_where(facts, question):
    leads_to = {"hungry": "kitchen", "thirsty": "kitchen", "bored": "garden", "tired": "bedroom"}
    motives = {}
    for fact in map(clean, facts):
        if got := parts(r"(\w+) is (\w+)", fact):
            motives[got[0].lower()] = got[1]
    if got := parts(r"Where will (\w+) go", question):
        return leads_to.get(motives.get(got[0]))
    name, = parts(r"Why did (\w+) (?:go to|get) the \w+", question)
    return motives.get(name)


SOLVERS = {
    1: where_is_person, 2: where_is_object, 3: where_was_object, 4: what_is_next_to, 5: who_gave_what,
    6: is_person_there, 7: how_many_carried, 8: what_is_carried, 9: is_person_there_maybe, 10: is_person_there_maybe,
    11: where_is_person, 12: where_is_person, 13: where_is_person, 14: where_was_person, 15: what_is_feared,
    16: which_colour, 17: relative_position, 18: is_bigger, 19: path, 20: why_or_where,
}


def solve(task, facts, question):
    """The answer that the facts (sentences, oldest first) give to the question, or None."""
    return SOLVERS[task](facts, clean(question))
