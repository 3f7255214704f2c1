"""The tokens of BM25: words, and pairs of characters in scripts without spaces between words.

Words are those of UAX #29, the rule of Lucene's StandardTokenizer, with these differences:

1. Full stops, commas, underscores and apostrophes separate. So the French ``l'été`` has the word ``été``, as in
   Lucene's analyzers for French and Italian. In Cyrillic, Armenian and Hebrew words, an apostrophe is a letter.
2. In scripts without spaces, a run of letters becomes overlapping pairs of characters, as in Lucene's CJK analyzer.
3. Characters that only change the look of a word are dropped, as in Lucene's analyzers for Arabic and Hindi and in its
   ICU filter: soft hyphens, joiners, variation selectors, tatweel, Armenian marks of intonation.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from hbt_bench.text import UNSPACED

if TYPE_CHECKING:
    import regex

#: The version of the tokens, which is in the revision of BM25. Version 1 is that of hbt-bench 0.1.
VERSION = 2

_SPACED = rf"[[\p{{L}}\p{{N}}]--{UNSPACED}]"
#: Marks within a word of some scripts: the middle dot of Catalan and Gascon, gershayim and geresh in Hebrew.
_INNER = r"(?<=\p{Latin})·(?=\p{Latin})|(?<=\p{Hebrew})[״׳](?=\p{Hebrew})"
_TOKEN = rf"(?P<unspaced>{UNSPACED}(?:{UNSPACED}|\p{{M}})*)|{_SPACED}(?:{_SPACED}|\p{{M}}|{_INNER})*"
#: Characters without a look of their own. Kept are the zero-width space, which separates words, and the non-joiner of
#: Arabic letters, which separates the parts of Persian words, as in Lucene's Persian analyzer.
_INVISIBLE = r"[\p{DI}--[\u200b\u200c]]|(?<!\p{scx=Arab})\u200c|\u200c(?!\p{scx=Arab})"
#: Tatweel and its relative in N'Ko, which stretch a word, and the Armenian marks over the stressed vowel of a question.
_ORNAMENTS = dict.fromkeys(map(ord, "\u0640\u07fa\u055b\u055c\u055e"))
#: One spelling for each letter that is written as an apostrophe or quotation mark: the apostrophe of Cyrillic and
#: Armenian words, the turned comma of Uzbek and Hawaiian, and geresh and gershayim in Hebrew.
_SPELLINGS = (
    (r"(?<=\p{Cyrillic})['’‘′`](?=\p{Cyrillic})|(?<=\p{Armenian})՚(?=\p{Armenian})", "ʼ"),
    (r"(?<=\p{Latin})‘(?=\p{Latin})", "ʻ"),
    (r"(?<=\p{Hebrew})['’](?=\p{Hebrew})", "׳"),
    (r'(?<=\p{Hebrew})["”](?=\p{Hebrew})', "״"),
)


def tokenize(text: str) -> list[str]:
    """Return case-folded words of letters, marks and digits; text without spaces becomes character pairs.

    Pairs overlap. They are pairs of grapheme clusters, so a Thai vowel sign stays with its consonant; a single cluster
    is a token. For example, ``tokenize("In 東京都")`` is ``["in", "東京", "京都"]``.
    """
    tokens: list[str] = []
    for match in _compiled(_TOKEN).finditer(_folded(text)):
        if match["unspaced"] is None:
            tokens.append(match[0])
            continue
        clusters = _compiled(r"\X").findall(match[0])
        tokens.extend(map("".join, pairwise(clusters)) if len(clusters) > 1 else clusters)
    return tokens


def words(text: str) -> list[str]:
    """Return the words of a text; scripts without spaces between words have a grapheme cluster for each word.

    Unlike the pairs of `tokenize`, the words of a part of a text are part of the words of the text. For example,
    ``words("In 東京都")`` is ``["in", "東", "京", "都"]``.
    """
    separate: list[str] = []
    for match in _compiled(_TOKEN).finditer(_folded(text)):
        separate.extend([match[0]] if match["unspaced"] is None else _compiled(r"\X").findall(match[0]))
    return separate


def _folded(text: str) -> str:
    """Return `text` with compatible, composed, upper-case and ornamented forms made equal."""
    if text.isascii():
        return text.casefold()
    text = unicodedata.normalize("NFKC", text)
    text = _compiled(_INVISIBLE).sub("", text).translate(_ORNAMENTS)
    for pattern, letter in _SPELLINGS:
        text = _compiled(pattern).sub(letter, text)
    # folding takes some letters apart, such as the Greek iota with diaeresis and accent. The letters i of Turkish and
    # Azerbaijani become i, because the language of the text, and of foreign words in it, is not known
    return unicodedata.normalize("NFC", text.casefold().replace("i\u0307", "i").replace("\u0131", "i"))


@cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    import regex  # slow to import

    return regex.compile(pattern, regex.VERSION1)
