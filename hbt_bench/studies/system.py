"""A system that a study compares: an init, trained with a strategy, or untouched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hbt_bench.errors import UsageError, did_you_mean
from hbt_bench.languages import get_language, parse_code
from hbt_bench.studies.keys import StudyError

#: The strategy of an init that is not trained.
UNTOUCHED = "none"
#: The keys of a strategy that are no keys of a recipe.
_OWN_KEYS = ("correct", "correct_on", "each")
#: The keys of an untouched init.
_UNTOUCHED_KEYS = ("strategy", "correct", "correct_on")
#: The share of monolingual batches of the ends of a curve.
_ENDS = {"cross-lingual": 0.0, "monolingual": 1.0}
#: The keys of a recipe that a study sets itself, and the keys that say so.
_GIVEN_BY_STUDY = {"init": "inits", "seed": "seeds"}


@dataclass(frozen=True)
class StudySystem:
    """A system to compare: an init, trained with a strategy, or untouched.

    Attributes:
        init: The init.
        strategy: The name of the strategy in the study.
        changes: The changes to the recipe.
        alpha: The position on the curve, None if it has none.
        correct, correct_on: The correction of the vectors, and the texts that it is fitted on; empty for none.
        each: The languages that have a model each, which answers the queries in its language; empty for one model.
    """

    init: str
    strategy: str
    changes: Mapping[str, Any]
    alpha: float | None = None
    correct: str = ""
    correct_on: str = "own"
    each: tuple[str, ...] = ()

    @classmethod
    def from_keys(cls, init: str, strategy: str, keys: Mapping[str, Any], alpha: float | None) -> StudySystem:
        """Make a system from the keys of a strategy, which are those of a recipe and `correct`, `correct_on`, `each`.

        Raises `StudyError` for a key without effect and for an unknown language. For example:

        >>> StudySystem.from_keys("LaBSE", "centered", {"strategy": "none", "correct": "center"}, None).trained
        False
        """
        _check_keys(strategy, keys)
        changes = {key: value for key, value in keys.items() if key not in _OWN_KEYS}
        own = {key: keys[key] for key in _OWN_KEYS if key in keys}
        return cls(init, strategy, changes, alpha, **{**own, "each": _codes(strategy, own.get("each", ()))})

    @property
    def trained(self) -> bool:
        """Whether the init is trained."""
        return self.changes.get("strategy") != UNTOUCHED


def alpha_of(keys: Mapping[str, Any], recipe: Mapping[str, Any]) -> float | None:
    """Return the share of monolingual batches of a strategy and the study's recipe, None if it is of another kind.

    >>> alpha_of({"strategy": "hybrid"}, {"alpha": 0.25}), alpha_of({"strategy": "monolingual"}, {})
    (0.25, 1.0)
    """
    merged = {"strategy": "hybrid", "alpha": 0.5, **recipe, **keys}
    return merged["alpha"] if merged["strategy"] == "hybrid" else _ENDS.get(merged["strategy"])


def check_recipe_keys(location: Sequence[object], keys: Mapping[str, Any]) -> None:
    """Raise `StudyError` if a part of a recipe has a key that the study sets itself.

    >>> check_recipe_keys(("recipe",), {"steps": 100})
    """
    for key, owner in _GIVEN_BY_STUDY.items():
        if key in keys:
            raise StudyError((*location, key), f"{key}: the study gives it in `{owner}`: remove it here")


def _check_keys(strategy: str, keys: Mapping[str, Any]) -> None:
    check_recipe_keys(("strategies", strategy), keys)
    untouched = keys.get("strategy") == UNTOUCHED
    for key in keys:
        if untouched and key not in _UNTOUCHED_KEYS:
            problem = f"an untouched init has no such key{did_you_mean(key, _UNTOUCHED_KEYS) or ': remove it'}"
        elif key == "correct_on" and not keys.get("correct"):
            problem = "there is no correction: name it in `correct`"
        else:
            continue
        raise StudyError(("strategies", strategy, key), f"{key}: {problem}")


def _codes(strategy: str, languages: Any) -> tuple[str, ...]:
    """Return the codes of the languages that have a model each."""
    location = ("strategies", strategy, "each")
    if isinstance(languages, str):
        raise StudyError(location, f"each: write a list: [{languages}]")
    try:
        codes = tuple(get_language(parse_code(str(code)) or str(code)).code for code in languages)
    except UsageError as error:
        raise StudyError(location, f"each: {error}") from error
    if repeated := [code for code in codes if codes.count(code) > 1]:
        raise StudyError(location, f"each: '{repeated[0]}' is named twice: remove one")
    return codes
