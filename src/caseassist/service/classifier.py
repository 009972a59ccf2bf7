"""Which value of a field a text speaks for: naive Bayes over words, small enough to follow with pencil and paper.

Every value starts out as likely as any other. Each different word of the text that occurs in the examples then makes a
value more likely, the more of its examples have the word. The *confidence* is the share of a value in the end: those of
all values of a field add up to 1. docs/reference/knowledge-base.md works an example through.

Why this, and no package for machine learning: a knowledge base has some ten examples for a value. Trained on the
example that comes with caseassist, this guesses the category of 40 of 42 other texts; logistic regression and a support
vector machine (scikit-learn 1.9, on words or on letters) guess that of 39. tests/service/test_knowledge.py has the
texts. And this has no dependency, no training and no chance in it, and what it says can be explained word by word.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Classifier", "Guess", "words_of"]

SMOOTHING = 0.5
"""So many examples of each value are taken to have any word, and as many not to have it: no word rules a value out."""

_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """The words of a text, in order, without case, accents and punctuation: ``Électrique`` is ``electrique``."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return _WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))


class Guess(NamedTuple):
    """A value that a field may have."""

    value: str
    confidence: float
    """From 0 to 1."""


class Classifier:
    """Guesses the value of one field.

    ``examples``: for each value, texts that speak for it.
    """

    def __init__(self, examples: Mapping[str, Sequence[str]]) -> None:
        counts = {value: Counter(word for text in texts for word in set(words_of(text)))
                  for value, texts in examples.items()}  # fmt: skip
        self._known = frozenset(word for count in counts.values() for word in count)
        self._logs = {
            value: {
                word: math.log((count[word] + SMOOTHING) / (len(examples[value]) + 2 * SMOOTHING))
                for word in self._known
            }
            for value, count in counts.items()
        }

    def guess(self, text: str) -> list[Guess]:
        """The values, the surest first; none if no word of the text occurs in the examples."""
        known = sorted(self._known.intersection(words_of(text)))
        if not known:
            return []
        scores = {value: math.fsum(logs[word] for word in known) for value, logs in self._logs.items()}
        best = max(scores.values())
        weights = {value: math.exp(score - best) for value, score in scores.items()}
        total = math.fsum(weights.values())
        guesses = [Guess(value, weight / total) for value, weight in weights.items()]
        return sorted(guesses, key=lambda guess: -guess.confidence)  # of equals, the first of the file stays first
