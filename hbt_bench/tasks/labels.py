"""The labels of languages in data: which code each label has, and which rows or folders are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hbt_bench.languages import general, match_labels, read_label

#: The largest number of labels that a note lists.
_MAX_LISTED = 8


def match_codes(labels: Iterable[str], rare: bool = False) -> tuple[dict[str, str], list[str]]:
    """Return our codes with the labels of the data, and the labels that are unknown or repeat a language.

    `rare` states that the labels are languages, so rare codes count too; see `hbt_bench.languages.read_label`.
    """
    labels = list(labels)
    codes = match_labels(labels, rare=rare)
    used = set(codes.values())
    return codes, [label for label in labels if label not in used]


def describe_unused(counts: Mapping[str, int], unit: str, codes: Mapping[str, str]) -> list[str]:
    """Return a note on the labels that are not used, with the number of rows or folders of each."""
    if not counts:
        return []
    most_frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(
        f"'{label[:30]}' ({count:,}{_reason(label, codes)})" for label, count in most_frequent[:_MAX_LISTED]
    )
    more = f" and {len(counts) - _MAX_LISTED} more" if len(counts) > _MAX_LISTED else ""
    total = sum(counts.values())
    return [
        f"{total:,} {unit}{'s are' if total > 1 else ' is'} left out, because the language is unknown or repeated: "
        f"{listed}{more}; to use them, add them to `languages`, for example {{sw: kiswahili}}"
    ]


def _reason(label: str, codes: Mapping[str, str]) -> str:
    """Return which label is used for the language of an unused label, or an empty text for an unknown language."""
    code = read_label(label, rare=True)
    if code is None:
        return ""
    code = code if code in codes else general(code)
    return f"; '{codes[code]}' is used for {code}" if code in codes else ""
