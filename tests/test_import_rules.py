"""Check the layers of the package: imports go down only, slow libraries are in few modules, class names are unique."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import hbt_bench

PACKAGE = Path(hbt_bench.__file__).parent

#: A module may import from its own package and from those with a smaller number, late and for type checkers too.
LAYERS = {
    "errors": 0,
    "text": 0,
    "log": 0,
    "settings": 1,
    "distributed": 2,
    "languages": 2,
    "files": 2,
    "yaml_file": 2,
    "identity": 3,
    "data": 4,
    "ranking": 5,
    "stats": 5,
    "measures": 6,
    "tasks": 7,
    "mteb": 8,
    "results": 9,
    "checks": 10,
    "training": 10,
    "reports": 11,
    "studies": 12,
    "actions": 13,
    "cli": 14,
    "__init__": 15,
    "__main__": 16,
}

#: Libraries that change often and take seconds to import.
HARNESS = {"mteb", "sentence_transformers"}
#: Where they may be imported, with "lazy" for inside a function only.
ADAPTORS = {
    "mteb/tasks.py": "",
    "mteb/shared_pass.py": "",
    "mteb/plugin.py": "",
    "mteb/metadata.py": "",
    "mteb/benchmarks.py": "",
    "mteb/loaders.py": "lazy",
    "mteb/models.py": "",
    "mteb/backends.py": "lazy",
    "mteb/corrected_model.py": "lazy",
    "mteb/endpoint.py": "lazy",
    "mteb/evaluation.py": "lazy",
    "mteb/given.py": "lazy",
    "mteb/probe.py": "lazy",
    "mteb/run_model.py": "lazy",
    "mteb/saved_correction.py": "lazy",
    "mteb/token_batches.py": "lazy",
    "mteb/variants.py": "lazy",
    "mteb/vectors.py": "lazy",
    "data/mteb_reader.py": "lazy",
    "cli/mteb.py": "lazy",
    "checks/smoke.py": "lazy",
    "results/evaluate.py": "lazy",
    "reports/export.py": "lazy",
    "reports/mteb_task.py": "lazy",
}

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imports(source, module):
    """Yield the full name of every imported module, and whether it is imported inside a function.

    `module` is the path below the package, for relative imports. ``from hbt_bench import x`` is ``hbt_bench.x``
    if there is such a module.
    """
    tree = ast.parse(source)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    late = {id(node) for function in ast.walk(tree) if isinstance(function, functions) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = ["hbt_bench", *module.removesuffix(".py").split("/")][: -node.level] if node.level else []
            origin = ".".join([*parts, *([node.module] if node.module else [])])
            names = [f"{origin}.{alias.name}" for alias in node.names] if origin.startswith("hbt_bench") else [origin]
        else:
            continue
        for name in names:
            yield name, id(node) in late


def layer(name):
    """Return the layer of a dotted name of this package: ``hbt_bench.cli.run`` is in "cli"."""
    package = f"{name}.__init__".split(".")[1]
    return package if package in LAYERS else "__init__"


def upward(source, module):
    """Return the imports that go up, or across to a package of the same layer."""
    package = module.split("/")[0].removesuffix(".py")
    return [
        name
        for name, _ in imports(source, module)
        if name.split(".")[0] == "hbt_bench" and layer(name) != package and LAYERS[layer(name)] >= LAYERS[package]
    ]


def misplaced(source, module):
    """Return the imports of the harness outside its adaptors."""
    if module.startswith("training/"):
        return []
    rule = ADAPTORS.get(module)
    return [
        name
        for name, late in imports(source, module)
        if name.split(".")[0] in HARNESS and (rule is None or (rule == "lazy" and not late))
    ]


def import_graph(sources):
    """Return the modules that each module imports, imports for type checkers and late imports included.

    `sources` maps paths below the package to their source, as in ``{"cli/run.py": "import hbt_bench.text"}``.
    """

    def dotted(path):
        return "hbt_bench." + path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    modules = {dotted(path) for path in sources}
    graph = {}
    for path, source in sources.items():
        names = {name for name, _ in imports(source, path)}
        targets = {name if name in modules else name.rpartition(".")[0] for name in names}
        graph[dotted(path)] = (targets & modules) - {dotted(path)}
    return graph


def circle(graph):
    """Return the modules on a circle of imports, or an empty list."""
    finished: set[str] = set()

    def visit(module, path):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in finished:
            return []
        for target in sorted(graph[module]):
            if found := visit(target, [*path, module]):
                return found
        finished.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


def test_every_package_has_a_layer():
    packages = {path.split("/")[0].removesuffix(".py") for path in MODULES}
    assert packages == set(LAYERS)


def found_in_modules(search):
    """Return the imports that a search finds, by module."""
    found = {module: search((PACKAGE / module).read_text(), module) for module in MODULES}
    return {module: names for module, names in found.items() if names}


def test_imports_go_down():
    assert found_in_modules(upward) == {}


def test_no_import_circles():
    sources = {module: (PACKAGE / module).read_text() for module in MODULES}
    assert circle(import_graph(sources)) == []


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"a.py": "from hbt_bench import b", "b.py": "import hbt_bench.c", "c.py": ""}, []),
        (
            {"a.py": "from hbt_bench import b", "b.py": "from hbt_bench.c import X", "c.py": "import hbt_bench.a"},
            ["hbt_bench.a", "hbt_bench.b", "hbt_bench.c", "hbt_bench.a"],
        ),
        (
            {
                "p/a.py": "def f():\n    from hbt_bench.p.b import g",
                "p/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hbt_bench.p.a import f",
            },
            ["hbt_bench.p.a", "hbt_bench.p.b", "hbt_bench.p.a"],
        ),
    ],
)
def test_circles_are_found(sources, expected):
    assert circle(import_graph(sources)) == expected


def test_harness_is_imported_in_its_adaptors_only():
    assert found_in_modules(misplaced) == {}


@pytest.mark.parametrize(
    ("source", "module", "found"),
    [
        ("from hbt_bench.cli import options", "reports/table.py", ["hbt_bench.cli.options"]),
        ("from hbt_bench.studies.jobs import Plan", "reports/table.py", ["hbt_bench.studies.jobs.Plan"]),
        ("import hbt_bench.reports.table", "training/plan.py", ["hbt_bench.reports.table"]),
        ("def f():\n    from hbt_bench.tasks import task", "ranking/ranks.py", ["hbt_bench.tasks.task"]),
        ("from hbt_bench.stats.paired import holm", "ranking/ranks.py", ["hbt_bench.stats.paired.holm"]),
        ("if True:\n    import hbt_bench.data", "languages.py", ["hbt_bench.data"]),
        ("from hbt_bench import languages", "errors.py", ["hbt_bench.languages"]),
        ("from hbt_bench import Ranks", "cli/run.py", ["hbt_bench.Ranks"]),  # the public names are for users
        ("import hbt_bench", "ranking/ranks.py", ["hbt_bench"]),
        ("from ..cli import run", "tasks/task.py", ["hbt_bench.cli.run"]),
        ("from . import task\nfrom .task import TaskSpec", "tasks/registry.py", []),
        ("from hbt_bench.errors import DataError\nimport json, click", "cli/run.py", []),
        ("from hbt_bench.training import plan", "cli/quickstart.py", []),
    ],
)
def test_upward_imports_are_found(source, module, found):
    assert upward(source, module) == found


@pytest.mark.parametrize(
    ("source", "module", "found"),
    [
        ("import mteb", "tasks/registry.py", ["mteb"]),
        ("import numpy, mteb.models", "ranking/ranks.py", ["mteb.models"]),
        ("def f():\n    from sentence_transformers import util", "ranking/dense.py", ["sentence_transformers"]),
        ("import mteb", "results/evaluate.py", ["mteb"]),
        ("class A:\n    def f(self):\n        import mteb", "results/evaluate.py", []),
        ("def f():\n    import mteb", "results/store.py", ["mteb"]),
        ("import sentence_transformers", "training/trainer.py", []),
        ("import mteb.abstasks", "mteb/tasks.py", []),
        ("import mtebx", "cli/run.py", []),
    ],
)
def test_misplaced_harness_imports_are_found(source, module, found):
    assert misplaced(source, module) == found


# Names of classes


def repeated_classes(sources):
    """Return the class names that occur in several modules, with their modules."""
    found: dict[str, set[str]] = {}
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).add(path)
    return {name: sorted(modules) for name, modules in found.items() if len(modules) > 1}


def test_no_class_name_has_two_meanings():
    assert repeated_classes({module: (PACKAGE / module).read_text() for module in MODULES}) == {}


def test_repeated_class_names_are_found():
    sources = {
        "a.py": "class Texts: ...\nclass _Sign: ...\nclass Twice: ...\nclass Twice: ...",
        "p/b.py": "def f():\n    class Texts: ...",
        "p/c.py": "class A:\n    class _Sign: ...\nclass Sign: ...",
    }
    assert repeated_classes(sources) == {"Texts": ["a.py", "p/b.py"], "_Sign": ["a.py", "p/c.py"]}


# Public names


def test_public_names_are_sorted_and_each_resolves():
    assert hbt_bench.__all__ == sorted(hbt_bench.__all__)
    assert len(set(hbt_bench.__all__)) == len(hbt_bench.__all__)
    for name in hbt_bench.__all__:
        assert getattr(hbt_bench, name) is not None


def test_public_names_are_defined_in_their_modules():
    for name, module in hbt_bench._MODULES.items():
        public = getattr(hbt_bench, name)
        assert public is getattr(import_module(f"hbt_bench.{module}"), name)
        assert public.__module__ == f"hbt_bench.{module}"
        assert public.__name__ == name


def test_nothing_else_is_public():
    assert dir(hbt_bench) == hbt_bench.__all__ == sorted({*hbt_bench._MODULES, "__version__"})
    modules = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()}
    bound = {name for name in vars(hbt_bench) if not name.startswith("_")}
    assert bound - modules <= {"annotations", "TYPE_CHECKING", "Any"}
    starred: dict[str, object] = {}
    exec("from hbt_bench import *", starred)
    assert set(starred) - {"__builtins__"} == set(hbt_bench.__all__)


def test_type_checkers_see_the_same_names():
    """The imports for type checkers repeat the table of the lazy imports."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    checked = {alias.name: f"{node.module}" for node in block.body for alias in node.names}
    assert checked == {name: f"hbt_bench.{module}" for name, module in hbt_bench._MODULES.items()}


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hbt_bench' has no attribute 'Rank'"):
        hbt_bench.Rank  # noqa: B018 -- read for its error
