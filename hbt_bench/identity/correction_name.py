"""The names of corrections, as in ``--correct subspace:4``: part of a corrected model's revision."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from hbt_bench.errors import UsageError, did_you_mean

Scope = Literal["", "role", "shared"]


@dataclass(frozen=True)
class _Kind:
    """The parts that the name of a kind may have.

    Attributes:
        number: What the number means, "" if there is none.
        default: The number without a number, None if it must be given.
        greatest: The greatest number, None if it depends on the vectors; such numbers are whole.
        scopes: The scopes besides the default, which is a map for each language.
    """

    number: str = ""
    default: float | None = None
    greatest: float | None = None
    scopes: tuple[Scope, ...] = ("role",)


#: The kinds by name. The number of all-but-the-top is by default a hundredth of the dimensions, for which 0 stands.
KINDS = {
    "center": _Kind(scopes=("role", "shared")),
    "whiten": _Kind("strength", 1.0, 1.0, ("role", "shared")),
    "lir": _Kind("number of directions", 1),
    "subspace": _Kind("number of directions"),
    "procrustes": _Kind(),
    "shift": _Kind("factor", greatest=1.0, scopes=()),
    "all-but-the-top": _Kind("number of directions", 0),
}


@dataclass(frozen=True)
class CorrectionName:
    """A kind of correction with its number and scope.

    >>> CorrectionName.parse("subspace:4:role")
    CorrectionName(kind='subspace', number=4, scope='role')

    Attributes:
        kind: A key of `KINDS`.
        number: A number of directions, a strength or a factor; None for a kind without a number.
        scope: ``role`` if queries and documents have separate maps, ``shared`` if all languages have the same map.
    """

    kind: str
    number: float | None = None
    scope: Scope = ""

    @classmethod
    def parse(cls, text: str) -> CorrectionName:
        """Read a name. Raises `UsageError` for an unknown kind, a number that cannot be, or another scope."""
        kind, *words = text.strip().split(":")
        if kind not in KINDS:
            advice = did_you_mean(kind, KINDS) or f": there are {', '.join(KINDS)}"
            raise UsageError(f"unknown correction '{text}'{advice}")
        about = KINDS[kind]
        number = about.default
        if words and re.fullmatch(r"[\d.]+", words[0]):
            number = _number(text, about, words.pop(0))
        elif about.number and number is None:
            example = f"{kind}:{'0.6' if about.greatest else 4}"
            raise UsageError(f"{kind} needs a {about.number}: write it as in {example}")
        scope: Scope = ""
        if words:
            scopes = {scope: scope for scope in about.scopes}
            if len(words) > 1 or words[0] not in scopes:
                allowed = f"has {' and '.join(f'{kind}:{scope}' for scope in scopes)}" if scopes else "has no variants"
                raise UsageError(f"'{words[-1]}' is not a variant of {kind}, which {allowed}")
            scope = scopes[words[0]]
        return cls(kind, number, scope)

    def __str__(self) -> str:
        number = "" if self.number == KINDS[self.kind].default or self.number is None else f"{self.number:g}"
        return ":".join(part for part in (self.kind, number, self.scope) if part)

    @property
    def language_blind(self) -> bool:
        """Whether all texts have the same map, in whichever language and role."""
        return self.scope == "shared" or (self.kind in ("subspace", "all-but-the-top") and self.scope != "role")

    @property
    def mark(self) -> str:
        """The name in a revision, which is also a folder: ``subspace_4_role``."""
        return str(self).replace(":", "_")


def _number(text: str, about: _Kind, word: str) -> float:
    if not about.number:
        raise UsageError(f"'{text}' has a number, but {text.partition(':')[0]} has none: leave it out")
    is_whole = about.greatest is None
    if not re.fullmatch(r"[1-9]\d{0,4}" if is_whole else r"\d?(\.\d{1,6})?", word) or not float(word):
        bounds = "a whole number from 1" if is_whole else f"a number above 0, up to {about.greatest:g}"
        raise UsageError(f"the {about.number} of '{text}' is not {bounds}")
    number = int(word) if is_whole else float(word)
    if about.greatest is not None and number > about.greatest:
        raise UsageError(f"the {about.number} of '{text}' is above {about.greatest:g}")
    return number
