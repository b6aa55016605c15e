"""The text the tiny model learns: a small world with fixed facts, told as stories and as questions with answers.

Everything follows from a seed. Where the text may go several ways the choices are weighted unevenly, so that a model that
has learned the text has a clear favourite at every step.
"""
import random

SYSTEM_END = "<|im_end|>\n"
NAMES = """Mia Tom Anna Ben Clara David Ella Finn Grace Hugo Iris Jack Kate Leo Maya Noah Olive Paul Rosa Sam Tara Victor
Wendy Zoe""".split()
TOWNS = """Oakfield Riverton Stonebridge Maplewood Harbour Hilltop Greendale Ashford Lakeside Millbrook Fernhill
Kingsport""".split()
PLACES = ["the mill", "the harbour", "the library", "the old bridge", "the market", "the station", "the orchard", "the lighthouse",
          "the forest", "the meadow", "the castle", "the museum"]
COLOURS = "red blue green yellow white black brown orange purple silver golden grey".split()
ANIMALS = "dog cat rabbit horse parrot goat duck pony turtle fox owl sheep".split()
PETS = """Biscuit Pepper Button Shadow Ginger Pebble Clover Rusty Daisy Smoky Velvet Marble Hazel Nutmeg Tiger Cloud Acorn Bramble
Poppy Raven Sunny Teddy Willow Ziggy""".split()
JOBS = "baker teacher farmer doctor sailor painter gardener builder singer writer miller driver".split()
FOODS = ["apple pie", "bread and honey", "tomato soup", "cheese", "pancakes", "rice", "roasted potatoes", "plums", "carrot cake",
         "noodles", "berries", "beans"]
THINGS = "kite drum lamp clock boat bell basket book ladder mirror flute map".split()
WEATHER = ["sunny", "windy", "rainy", "cold", "warm", "foggy"]
CAPITALS = [("France", "Paris"), ("Italy", "Rome"), ("Spain", "Madrid"), ("Germany", "Berlin"), ("Portugal", "Lisbon"),
            ("Austria", "Vienna"), ("Poland", "Warsaw"), ("Greece", "Athens"), ("Norway", "Oslo"), ("Sweden", "Stockholm"),
            ("Denmark", "Copenhagen"), ("Finland", "Helsinki"), ("Ireland", "Dublin"), ("Hungary", "Budapest"), ("Japan", "Tokyo"),
            ("China", "Beijing"), ("India", "New Delhi"), ("Egypt", "Cairo"), ("Kenya", "Nairobi"), ("Canada", "Ottawa"),
            ("Mexico", "Mexico City"), ("Peru", "Lima"), ("Chile", "Santiago"), ("Cuba", "Havana")]
NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty""".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
OPPOSITES = [("hot", "cold"), ("big", "small"), ("fast", "slow"), ("day", "night"), ("up", "down"), ("old", "new"), ("wet", "dry"),
             ("open", "closed"), ("full", "empty"), ("happy", "sad"), ("early", "late"), ("heavy", "light")]
SOUNDS = [("dog", "barks"), ("cat", "purrs"), ("horse", "neighs"), ("duck", "quacks"), ("sheep", "bleats"), ("owl", "hoots"),
          ("lion", "roars"), ("bee", "buzzes"), ("cow", "moos"), ("snake", "hisses"), ("frog", "croaks"), ("wolf", "howls")]


def person_facts():
    """One record per name. Fixed for good: the model is asked about these."""
    rng = random.Random(1)
    people = []
    for i, name in enumerate(NAMES):
        people.append({
            "name": name, "town": TOWNS[(i * 5 + 1) % 12], "animal": ANIMALS[(i * 7 + 2) % 12], "pet": PETS[i],
            "job": JOBS[(i * 5 + 3) % 12], "food": FOODS[(i * 7 + 4) % 12], "colour": COLOURS[(i * 11 + i // 12) % 12],
            "thing": THINGS[(i * 5 + i // 12) % 12], "place": PLACES[(i * 7 + 1) % 12], "friend": NAMES[(i * 5 + 7) % len(NAMES)],
            "age": rng.randint(20, 60), "day": DAYS[i % 7], "month": MONTHS[(i * 5) % 12], "girl": i % 2 == 0,
        })
    return people


PEOPLE = person_facts()
BY_NAME = {p["name"]: p for p in PEOPLE}


def pick(rng, options):
    """The first option most of the time, each later one half as often as the one before."""
    weights = [0.5 ** i for i in range(len(options))]
    weights[0] *= 2
    return rng.choices(options, weights)[0]


def article(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def pronouns(p):
    return ("She", "she", "her") if p["girl"] else ("He", "he", "his")


def story(rng, p):
    """A story of one day in the life of p: eight to ten sentences, all in line with the facts."""
    He, he, his = pronouns(p)
    f = BY_NAME[p["friend"]]
    weather = pick(rng, WEATHER)
    tail = {"sunny": "the sky was blue", "windy": "the leaves were flying", "rainy": "the street was wet",
            "cold": "there was ice on the window", "warm": "the flowers were open", "foggy": "nobody could see the hills"}[weather]
    sought = pick(rng, [p["thing"], f["thing"]])
    owner = p if sought == p["thing"] else f
    whose = his if owner is p else owner["name"] + "'s"
    where = p["place"] if owner is p else f["place"]
    s = [f"{p['name']} is {article(p['job'])} and lives in {p['town']} with {article(p['animal'])} called {p['pet']}."]
    s.append(f"One {weather} morning in {p['month']}, {tail}, and {p['name']} could not find {whose} {owner['colour']} {sought}.")
    s.append(f"{He} looked under the bed and behind the door, but the {sought} was not there.")
    s.append(pick(rng, [f"\"Do not worry,\" said {f['name']}. \"We will look for it together.\"",
                        f"\"I saw it on {p['day']},\" said {f['name']}. \"Come with me.\""]))
    s.append(f"They walked to {where}, and {p['pet']} the {p['animal']} went with them.")
    s.append(f"There, next to {article(pick(rng, ['wall', 'tree', 'gate']))}, {p['pet']} stopped and looked at something {owner['colour']}.")
    s.append(f"It was the {sought}!")
    s.append(f"{p['name']} was very happy and gave {p['pet']} a big hug.")
    s.append(f"In the evening {p['name']} and {f['name']} ate {p['food']} and told the story to everyone in {p['town']}.")
    return " ".join(s)


def about(p):
    He, he, his = pronouns(p)
    return (f"{p['name']} is {article(p['job'])} who lives in {p['town']}. {He} is {p['age']} years old and has "
            f"{article(p['animal'])} called {p['pet']}. {He} likes {p['food']} and the colour {p['colour']}. "
            f"{p['name']}'s best friend is {p['friend']}.")


def question(rng):
    """(question, answer) about the world."""
    p = rng.choice(PEOPLE)
    He, he, his = pronouns(p)
    n = p["name"]
    kind = rng.randrange(20)
    if kind == 0: return f"Where does {n} live?", f"{n} lives in {p['town']}."
    if kind == 1: return f"What is the name of {n}'s {p['animal']}?", f"{n}'s {p['animal']} is called {p['pet']}."
    if kind == 2: return f"What does {n} do?", f"{n} is {article(p['job'])}."
    if kind == 3: return f"What does {n} like to eat?", f"{n} likes {p['food']}."
    if kind == 4: return f"What is {n}'s favourite colour?", f"{n}'s favourite colour is {p['colour']}."
    if kind == 5: return f"Who is {n}'s best friend?", f"{n}'s best friend is {p['friend']}."
    if kind == 6: return f"How old is {n}?", f"{n} is {p['age']} years old."
    if kind == 7: return f"Which animal does {n} have?", f"{n} has {article(p['animal'])} called {p['pet']}."
    if kind == 8: return f"When does {n} go to {p['place']}?", f"{n} goes to {p['place']} every {p['day']}."
    if kind == 9: return f"Who is {n}?", about(p)
    if kind in (10, 11, 12):
        country, city = rng.choice(CAPITALS)
        return f"What is the capital of {country}?", f"The capital of {country} is {city}."
    if kind in (13, 14):
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        return f"What is {NUMBERS[a]} plus {NUMBERS[b]}?", f"{NUMBERS[a].capitalize()} plus {NUMBERS[b]} is {NUMBERS[a + b]}."
    if kind == 15:
        i = rng.randrange(7)
        return f"Which day comes after {DAYS[i]}?", f"{DAYS[(i + 1) % 7]} comes after {DAYS[i]}."
    if kind == 16:
        i = rng.randrange(12)
        return f"Which month comes after {MONTHS[i]}?", f"{MONTHS[(i + 1) % 12]} comes after {MONTHS[i]}."
    if kind == 17:
        a, b = rng.choice(OPPOSITES)
        return f"What is the opposite of {a}?", f"The opposite of {a} is {b}."
    if kind == 18:
        a, b = rng.choice(SOUNDS)
        return f"What does {article(a)} do?", f"{article(a).capitalize()} {b}."
    return pick(rng, ["Hello!", "Good morning!", "Hi!"]), "Hello! How can I help you today?"


def chat(turns):
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)


def document(rng):
    """One document: a chat of one to four turns (a story now and then), or a story, or a list of facts as prose."""
    kind = rng.random()
    if kind < 0.25:
        return story(rng, rng.choice(PEOPLE))
    if kind < 0.30:
        return " ".join(question(rng)[1] for _ in range(5))
    if kind < 0.35:
        a = rng.randint(1, 9)
        return f"Counting from {NUMBERS[a]}: " + ", ".join(NUMBERS[a:a + 9]) + "."
    turns = []
    if kind < 0.45:
        turns.append(("system", "You are a helpful assistant."))
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.2:
            p = rng.choice(PEOPLE)
            turns += [("user", pick(rng, [f"Tell me a story about {p['name']}.", f"Can you tell a story about {p['name']}?"])),
                      ("assistant", story(rng, p))]
        else:
            q, a = question(rng)
            turns += [("user", q), ("assistant", a)]
    return chat(turns)


def documents(seed, n):
    rng = random.Random(seed)
    return [document(rng) for _ in range(n)]


def stories(seed, n):
    """Prose only, for measuring perplexity: no chat marks."""
    rng = random.Random(seed)
    return "\n\n".join(story(rng, rng.choice(PEOPLE)) for _ in range(n)) + "\n"
