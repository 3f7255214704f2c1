"""The languages of rows: the column of their labels, the code of each label, and whether equal ids are translations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hbt_bench.data.language_pairs import LabelForm
from hbt_bench.data.records import PLACEHOLDER, Row, first_value, identifier, is_missing, label_text, values
from hbt_bench.data.row_fields import usual_fields
from hbt_bench.errors import UsageError
from hbt_bench.languages import general, parse_code, read_label
from hbt_bench.tasks.fields import count_labels
from hbt_bench.tasks.inferred import RowFiles, describe_unused, match_codes
from hbt_bench.tasks.pair_labels import LabelledRow, PairLabels


def find_language_column(rows: Iterable[Row], sample: Sequence[Row]) -> str | None:
    """Return the field with a usual name that has languages, or pairs of languages, in most rows."""
    for name in usual_fields(dict.fromkeys(name for row in sample for name in row.fields), "language"):
        if any(isinstance(row.fields.get(name), str) for row in sample):
            labels = _count(rows, name)
            pairs = PairLabels.detect(labels)
            halves = pairs.halves if pairs else {}
            languages = sum(count for label, count in labels.items() if read_label(label, rare=True) or label in halves)
            if 2 * languages > labels.total():
                return name
    return None


def _count(rows: Iterable[Row], path: str) -> Counter[str]:
    """Return the labels in a column with their rows; rows without a label are not counted."""
    labels = (first_value(row.fields, path) for row in rows)
    return Counter(text for label in labels if not is_missing(label) and (text := label_text(label)))


@dataclass(frozen=True)
class RowLanguages:
    """The languages of the rows of files. The user may state the `form` of labels, which is None for a language."""

    files: RowFiles
    form: LabelForm | None = None
    is_stated: bool = False

    def read(
        self, columns: Mapping[str, str], language: str | None
    ) -> tuple[dict[str, str], LabelForm | None, list[str]]:
        """Return our codes of all languages with those in the data, the form of labels, and notes.

        Raises `UsageError` if there is no language, and `DataError` if the labels may be pairs or locales.
        """
        notes: list[str] = []
        form = None
        if self.form is not None and "language" not in columns:
            raise UsageError("language_form needs the column with the labels: name it with --columns language=FIELD")
        if self.files.by_language:
            counts = Counter(str(row.language) for row in self.files)
            notes = self._notes_on_fields()
        elif "language" in columns:
            counts = _count(self.files, columns["language"])
            form, notes = self._form(columns, counts)
        else:
            paths = [path for path in columns.values() if PLACEHOLDER in path]
            if not paths and language is None:
                raise UsageError(
                    f"the language of {self.files.data} is unknown: set it, for example with --language en, or name "
                    "its field with --columns language=FIELD"
                )
            if not paths:
                return {str(language): str(language)}, None, []
            counts, notes = self._count_in_paths(paths)
        if form is None:
            codes, unused = match_codes(counts, rare="language" in columns)
        else:
            codes = match_codes((half for label in counts for half in _halves(form, label)), rare=True)[0]
            by_label = {label: code for code, label in codes.items()}
            unused = [label for label in counts if form.codes(label, by_label) is None]
        if not codes:
            listed = ", ".join(sorted(counts)[:5]) or "no label of a language"
            raise UsageError(
                f"{self.files.data} has no known language code, only {listed}: map the codes in a task file, for "
                "example `languages: {sw: kiswahili}`"
            )
        if language is not None and set(codes) != {parse_code(language)}:
            raise UsageError(
                f"{self.files.data} states the languages of its rows itself ({' '.join(sorted(codes))}): leave out "
                f"--language {language}"
            )
        return codes, form, [*notes, *describe_unused({label: counts[label] for label in unused}, "row", codes)]

    def _notes_on_fields(self) -> list[str]:
        """Return a note on rows with a field that names another language than their file does."""
        others: Counter[tuple[str, str, str]] = Counter()
        for row in self.files:
            for name in list(usual_fields(row.fields, "language"))[:1]:
                label, of_file = label_text(row.fields[name]), str(row.language)
                codes = [general(code) for code in map(read_label, (label, of_file)) if code]
                if len(set(codes)) > 1:
                    others[name, label, of_file] += 1
        return [
            f"by their field '{name}', {count:,} rows in the file of '{of_file}' are in '{label}', but they are read "
            f"as '{of_file}'"
            for (name, label, of_file), count in others.most_common(3)
        ]

    def _form(self, columns: Mapping[str, str], counts: Counter[str]) -> tuple[LabelForm | None, list[str]]:
        """Return the form of the labels in the language column, and notes on it."""
        if self.is_stated or "text" in columns:
            return self.form, []
        pairs = PairLabels.detect(counts)
        if pairs is None:
            return None, []
        form, note = pairs.form(self._labelled(columns), f"'{columns['language']}' of {self.files.data}")
        return form, [note] if note else []

    def _labelled(self, columns: Mapping[str, str]) -> Iterator[LabelledRow]:
        """Yield the rows with a label, with the texts and the languages in other columns."""
        for row in self.files:
            label = first_value(row.fields, columns["language"])
            others = {
                str(name): label_text(value)
                for name, value in row.fields.items()
                if "lang" in str(name).lower() and str(name) != columns["language"] and isinstance(value, str)
            }
            query, document = (_texts(row, columns[role]) for role in ("query", "document"))
            if not is_missing(label) and query and document:
                yield LabelledRow(label_text(label), query, document, others)

    def labels(self, row: Row, columns: Mapping[str, str], form: LabelForm | None) -> tuple[str, str]:
        """Return the labels of the query and of the documents of a row, empty if the rows have no label."""
        label = row.language or first_value(row.fields, columns["language"]) if "language" in columns else row.language
        label = "" if label is None else label_text(label)
        return next(iter(_pairs(form, label)), (label, label))

    def _count_in_paths(self, paths: Sequence[str]) -> tuple[Counter[str], list[str]]:
        """Return the labels of the texts at paths with their rows, and a note on those that a column lacks."""
        counts, *others = (count_labels(self.files, path) for path in paths)
        if all(PLACEHOLDER in path.split(".") for path in paths):  # a label is a key of a mapping
            return counts, []
        partial = sorted(set().union(counts, *others) - set(counts).intersection(*others))
        shared = Counter({label: count for label, count in counts.items() if label not in partial})
        names = ", ".join(f"'{label}'" for label in partial)
        return shared, [f"{names}: left out, because not all of {', '.join(paths)} have it"] if partial else []

    def infer_parallel(self, columns: Mapping[str, str], labels: set[str], form: LabelForm | None) -> tuple[bool, str]:
        """Return whether most ids occur in several languages, and a note with the reason.

        In pairs, an id with two queries in a language is a number of a row, so it does not count.
        """
        if "id" not in columns:
            return False, "the rows have no id, so the languages are treated as independent (parallel: false)"
        occurrences: dict[str, set[tuple[str, str]]] = {}
        texts: dict[tuple[str, str], set[str]] = {}  # id and language of the query -> queries
        for row in self.files:
            pair = self.labels(row, columns, form)
            keys = [identifier(first_value(row.fields, path)) for path in columns["id"].split(",")]
            if labels.issuperset(pair) and None not in keys:
                key = "/".join(map(str, keys))
                occurrences.setdefault(key, set()).add(pair)
                if form is not None:
                    texts.setdefault((key, pair[0]), set()).add(_texts(row, columns["query"]))
        numbers = {key for (key, _), queries in texts.items() if len(queries) > 1}
        shared = sum(len(pairs) > 1 for key, pairs in occurrences.items() if key not in numbers)
        counts = f"{shared:,} of {len(occurrences):,} ids occur in several languages"
        if numbers:
            counts += f", and {len(numbers):,} have several queries in a language"
        if 2 * shared > len(occurrences):
            return True, f"{counts}, so equal ids are treated as translations (parallel: true): compare a few rows"
        return (
            False,
            f"{counts}, too few for translations, so the languages are treated as independent (parallel: false)",
        )


def _texts(row: Row, paths: str) -> str:
    """Return the texts at paths, which a comma separates, on a line each."""
    return "\n".join(value for path in paths.split(",") for value in values(row.fields, path) if isinstance(value, str))


def _pairs(form: LabelForm | None, label: str) -> list[tuple[str, str]]:
    """Return the readings of a label as a pair of known languages; a language is a pair with itself."""
    if form is None:
        return []
    if next(form.split(label), None) is None:
        return [(label, label)] if read_label(label, rare=True) else []
    return [pair for pair in form.split(label) if all(read_label(half, rare=True) for half in pair)]


def _halves(form: LabelForm, label: str) -> tuple[str, ...]:
    """Return the two labels of languages in a label, or nothing if it is not a pair."""
    return next(iter(_pairs(form, label)), ())
