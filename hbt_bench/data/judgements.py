"""Relevance judgements, and the documents that are a query's own text, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING

from hbt_bench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The highest grade of a judgement, which fits 16 bits.
MAX_GRADE = 32767


@dataclass(frozen=True, eq=False)
class Qrels:
    """Relevance judgements in compressed rows: query `q` owns the pairs ``offsets[q]:offsets[q + 1]``.

    Shapes: `offsets` (queries + 1,), `documents` (pairs,) indexes into the documents, ascending within a query,
    `grades` (pairs,) relevance levels of at least 1.
    """

    offsets: NDArray[np.int64]
    documents: NDArray[np.int32]
    grades: NDArray[np.int16]

    def __repr__(self) -> str:
        return f"Qrels({len(self.documents):,} judgements of {len(self.offsets) - 1:,} queries)"

    @cached_property
    def queries(self) -> NDArray[np.int64]:
        """The query of each pair, shape (pairs,)."""
        import numpy as np

        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @classmethod
    def from_grades(
        cls, name: str, queries: Sequence[str], columns: Mapping[str, int], relevant: Mapping[str, Mapping[str, int]]
    ) -> Qrels:
        """Check the grades of each query's relevant documents, and return them in rows.

        `queries` are ids, `columns` the number of each document id, and `relevant` maps query ids to document ids with
        grades. For example, ``Qrels.from_grades("demo", ["q"], {"d": 0}, {"q": {"d": 1}})``. Raises `DataError` for an
        unknown document or query, a grade that is not a whole number from 1 to 32767, and a query without a relevant
        document.
        """
        import numpy as np

        unknown = relevant.keys() - set(queries)
        if unknown:
            raise DataError(f"{name} judges '{min(unknown)}', which is not a query of the collection")
        offsets, pairs = [0], []
        for query in queries:
            grades = relevant.get(query)
            if not grades:
                raise DataError(f"{name}: query '{query}' has no relevant document")
            for document, grade in grades.items():
                if document not in columns:
                    raise DataError(f"{name}: query '{query}' names the document '{document}', which does not exist")
                if type(grade) is not int and not (isinstance(grade, Real) and grade == grade // 1):
                    raise DataError(
                        f"{name}: query '{query}' has grade {grade!r} for '{document}', which is not a whole number"
                    )
                if grade < 1:
                    raise DataError(
                        f"{name}: query '{query}' has grade {grade} for '{document}'; list grades from 1 up"
                    )
                if grade > MAX_GRADE:
                    raise DataError(f"{name}: query '{query}' has grade {grade} for '{document}', above {MAX_GRADE}")
            pairs.extend(sorted((columns[document], grade) for document, grade in grades.items()))
            offsets.append(len(pairs))
        return cls(
            np.array(offsets, dtype=np.int64),
            np.array([document for document, _ in pairs], dtype=np.int32),
            np.array([grade for _, grade in pairs], dtype=np.int16),
        )


def same_ids(
    name: str, queries: Sequence[str], relevant: Mapping[str, Mapping[str, int]]
) -> dict[str, tuple[str, ...]]:
    """Return each query's id as that of its own document; raises `DataError` if the query names it as relevant."""
    for query, grades in relevant.items():
        if query in grades:
            raise DataError(f"{name}: query '{query}' names itself as relevant")
    return {query: (query,) for query in queries}


def columns_of(
    queries: Sequence[str], columns: Mapping[str, int], own_documents: Mapping[str, Iterable[str]]
) -> NDArray[np.int32]:
    """Return the columns of each query's own documents, filled up with -1; documents of other languages may lack."""
    import numpy as np

    rows = [sorted(columns[key] for key in own_documents.get(query, ()) if key in columns) for query in queries]
    copies = np.full((len(rows), max(1, *map(len, rows))), -1, dtype=np.int32)
    for row, numbers in enumerate(rows):
        copies[row, : len(numbers)] = numbers
    return copies
