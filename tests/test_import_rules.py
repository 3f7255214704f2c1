"""The layers of the package: imports go down only, and slow libraries are met in few places."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import hbt_bench

PACKAGE = Path(hbt_bench.__file__).parent

#: A module may import from its own package and from those with a smaller number.
LAYERS = {
    "errors": 0,
    "messages": 0,
    "languages": 1,
    "markup": 1,
    "corpus": 2,
    "ranking": 3,
    "tasks": 4,
    "training": 5,
    "reporting": 5,
    "studies": 6,
    "cli": 7,
    "__init__": 8,
    "__main__": 9,
}

#: Libraries whose classes change often and whose import takes seconds.
HARNESS = {"mteb", "sentence_transformers"}
#: Where they may be imported, with "lazy" for inside a function only.
ADAPTORS = {
    "tasks/mteb_task.py": "",
    "tasks/mteb_pass.py": "",
    "tasks/mteb_model.py": "",
    "tasks/mteb_pool.py": "lazy",
    "tasks/smoke.py": "lazy",
    "reporting/evaluation.py": "lazy",
    "reporting/export.py": "lazy",
}

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imports(source, module):
    """Full name of every imported module, and whether it is imported inside a function.

    `module` is the path below the package, for relative imports. ``from hbt_bench import x`` is ``hbt_bench.x``
    where there is such a module.
    """
    tree = ast.parse(source)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inside = {id(node) for function in ast.walk(tree) if isinstance(function, functions) for node in ast.walk(function)}
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
            yield name, id(node) in inside


def layer(name):
    """The layer of a dotted name of this package: ``hbt_bench.cli.run`` is of "cli"."""
    part = f"{name}.__init__".split(".")[1]
    return part if part in LAYERS else "__init__"


def upward(source, module):
    """Imports that go up, or across to a sibling."""
    own = module.split("/")[0].removesuffix(".py")
    return [
        name
        for name, _ in imports(source, module)
        if name.split(".")[0] == "hbt_bench" and layer(name) != own and LAYERS[layer(name)] >= LAYERS[own]
    ]


def misplaced(source, module):
    """Imports of the harness where it has no place."""
    if module.startswith("training/"):
        return []
    rule = ADAPTORS.get(module)
    return [
        name
        for name, lazy in imports(source, module)
        if name.split(".")[0] in HARNESS and (rule is None or (rule == "lazy" and not lazy))
    ]


def test_every_part_has_a_layer():
    parts = {path.split("/")[0].removesuffix(".py") for path in MODULES}
    assert parts <= set(LAYERS)
    assert {"errors", "languages", "corpus", "ranking", "tasks", "training", "reporting", "cli"} <= parts


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    assert upward((PACKAGE / module).read_text(), module) == []


@pytest.mark.parametrize("module", MODULES)
def test_the_harness_is_met_in_its_adaptors_alone(module):
    assert misplaced((PACKAGE / module).read_text(), module) == []


@pytest.mark.parametrize(
    ("source", "module", "found"),
    [
        ("from hbt_bench.cli import options", "reporting/table.py", ["hbt_bench.cli.options"]),
        ("from hbt_bench.training.plan import Plan", "reporting/table.py", ["hbt_bench.training.plan.Plan"]),
        ("import hbt_bench.reporting.results", "training/plan.py", ["hbt_bench.reporting.results"]),
        ("def f():\n    from hbt_bench.tasks import spec", "ranking/ranks.py", ["hbt_bench.tasks.spec"]),
        ("if True:\n    import hbt_bench.corpus", "languages.py", ["hbt_bench.corpus"]),
        ("from hbt_bench import languages", "errors.py", ["hbt_bench.languages"]),
        ("from hbt_bench import Ranks", "cli/run.py", ["hbt_bench.Ranks"]),  # the public names are for users
        ("import hbt_bench", "ranking/ranks.py", ["hbt_bench"]),
        ("from ..cli import run", "tasks/spec.py", ["hbt_bench.cli.run"]),
        ("from . import spec\nfrom .spec import TaskSpec", "tasks/registry.py", []),
        ("from hbt_bench.errors import DataError\nimport json, click", "cli/run.py", []),
        ("from hbt_bench.training import plan", "cli/quickstart.py", []),
    ],
)
def test_the_rule_finds_what_it_should(source, module, found):
    assert upward(source, module) == found


@pytest.mark.parametrize(
    ("source", "module", "found"),
    [
        ("import mteb", "tasks/registry.py", ["mteb"]),
        ("import numpy, mteb.models", "ranking/ranks.py", ["mteb.models"]),
        ("def f():\n    from sentence_transformers import util", "ranking/encoders.py", ["sentence_transformers"]),
        ("import mteb", "reporting/evaluation.py", ["mteb"]),
        ("class A:\n    def f(self):\n        import mteb", "reporting/evaluation.py", []),
        ("def f():\n    import mteb", "reporting/results.py", ["mteb"]),
        ("import sentence_transformers", "training/trainer.py", []),
        ("import mteb.abstasks", "tasks/mteb_task.py", []),
        ("import mtebx", "cli/run.py", []),
    ],
)
def test_the_rule_of_the_harness_finds_what_it_should(source, module, found):
    assert misplaced(source, module) == found


# Public names


def test_public_names_are_sorted_and_each_resolves():
    assert hbt_bench.__all__ == sorted(hbt_bench.__all__)
    assert len(set(hbt_bench.__all__)) == len(hbt_bench.__all__)
    for name in hbt_bench.__all__:
        assert getattr(hbt_bench, name) is not None


def test_public_names_are_what_their_modules_define():
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
    """The imports for type checkers repeat the table of the lazy ones."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    checked = {alias.name: f"{node.module}" for node in block.body for alias in node.names}
    assert checked == {name: f"hbt_bench.{module}" for name, module in hbt_bench._MODULES.items()}


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'hbt_bench' has no attribute 'Rank'"):
        hbt_bench.Rank  # noqa: B018 -- read for its error
