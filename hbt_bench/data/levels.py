"""Clusters of questions that are not independent, because they share a document, a paragraph or an article.

A level has a cluster for each question. Levels are nested: questions of a cluster are together at all coarser levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The finest level: each question is a cluster.
QUESTION = "question"
#: The level that judgements give: questions with a common relevant document are in the same cluster.
DOCUMENT = "document"


def nested_levels(
    questions: Mapping[str, int],
    judged: tuple[NDArray[np.integer], NDArray[np.integer]],
    named: Mapping[str, Iterable[tuple[str, str]]],
) -> dict[str, NDArray[np.int32]]:
    """Return the clusters of each question by level, from fine to coarse, each (questions,).

    `questions` has the number of each question. `judged` are the question and the relevant document of each pair, two
    arrays (pairs,). `named` has pairs of a question and an id by level; two questions are in the same cluster if a
    chain of common ids connects them, at this level or at a finer level. A level with as many clusters as the finer
    level is left out. Clusters are numbered in the order of the questions.

    >>> import numpy as np
    >>> articles = [("a", "Oslo"), ("b", "Oslo"), ("c", "Rome")]
    >>> nested_levels({"a": 0, "b": 1, "c": 2}, (np.arange(3), np.arange(3)), {"article": articles})
    {'article': array([0, 0, 1], dtype=int32)}
    """
    import numpy as np

    levels: dict[str, NDArray[np.int32]] = {}
    labels = np.arange(len(questions), dtype=np.int32)
    for name, (rows, ids) in {
        DOCUMENT: judged,
        **{key: _numbers(questions, pairs) for key, pairs in named.items()},
    }.items():
        clusters = _connected(labels, rows, ids)
        if clusters.max(initial=-1) < labels.max(initial=-1):
            levels[name] = labels = clusters
    return levels


def _numbers(
    questions: Mapping[str, int], pairs: Iterable[tuple[str, str]]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return the pairs as numbers; pairs of unknown questions are left out."""
    import numpy as np

    asked = [(questions[question], key) for question, key in pairs if question in questions]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(key for _, key in asked))}
    array = np.array([(question, numbers[key]) for question, key in asked], dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _connected(
    labels: NDArray[np.int32], questions: NDArray[np.integer], ids: NDArray[np.integer]
) -> NDArray[np.int32]:
    """Return the clusters of the questions if questions of a cluster of `labels`, or with an equal id, are together."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    finer = int(labels.max(initial=-1)) + 1
    nodes = finer + int(ids.max(initial=-1)) + 1
    edges = (np.ones(len(ids), np.bool_), (labels[questions], finer + ids))
    _, components = connected_components(coo_array(edges, shape=(nodes, nodes)).tocsr(), directed=False)
    joined = components[labels]
    _, first, inverse = np.unique(joined, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    clusters: NDArray[np.int32] = order[inverse].astype(np.int32)
    return clusters
