"""A tiny model that tells languages apart by their letters. Deterministic, and small enough to read."""

import json
import math
from collections import Counter
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus.json")


class Model:
    """Compares a text's letter frequencies with those of each language."""

    def __init__(self, profiles):
        self._profiles = profiles

    def predict(self, text):
        """The language that fits best, and how well each fits (cosine, 0 to 1)."""
        profile = profile_of(text)
        scores = {name: round(cosine(profile, known), 4) for name, known in self._profiles.items()}
        return {"language": max(scores, key=scores.get), "scores": scores}


def load(progress):
    """Build the model; `progress(done, of, name)` is called after each step."""
    corpus = json.loads(CORPUS.read_text(encoding="utf-8"))
    profiles = {}
    for done, (name, text) in enumerate(sorted(corpus.items()), start=1):
        profiles[name] = profile_of(text)
        progress(done, len(corpus), name)
    return Model(profiles)


def profile_of(text):
    """How often each letter and each pair of letters occurs."""
    letters = "".join(letter if letter.isalpha() else " " for letter in text.lower())
    return Counter(letters.replace(" ", "")) + Counter(letters[at : at + 2] for at in range(len(letters) - 1))


def cosine(one, other):
    """How much two profiles point the same way."""
    dot = sum(count * other[key] for key, count in one.items())
    length = math.sqrt(sum(n * n for n in one.values())) * math.sqrt(sum(n * n for n in other.values()))
    return dot / length if length else 0.0
