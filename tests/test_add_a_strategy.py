"""Add a strategy in one place: recipes, flags, batches and the preview follow."""

from pathlib import Path

import pytest

from hbt_bench.cli.train import show
from hbt_bench.errors import UsageError
from hbt_bench.training.data import TrainingData
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.strategies import STRATEGIES, BatchType, Strategy

RECIPE = "strategy: dummy\nlanguages: [de, en, sw]\nbatch_size: 8\nsteps: 5\nguard: []\n"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def dummy(monkeypatch):
    """Enter a strategy whose rows are of one language, each drawn by itself."""
    dummy = Strategy(lambda pairs: [(1.0, BatchType("dummy-batch", 1.0, per_row=True))])
    monkeypatch.setitem(STRATEGIES, "dummy", dummy)


@pytest.mark.usefixtures("dummy")
def test_one_entry_adds_a_strategy(recipe, tmp_path, capsys):
    data = TrainingData.from_recipe(Recipe.read(recipe), [tmp_path])
    assert {batch.type for batch in data.plan.batches()} == {"dummy-batch"}
    assert all((batch.pairs[:, 0] == batch.pairs[:, 1]).all() for batch in data.plan.batches())
    show(data, 1)
    assert "batch 1: dummy-batch, cldr-facts" in capsys.readouterr().out


def test_unknown_strategy_is_refused():
    with pytest.raises(UsageError, match=r"strategy: must be 'monolingual', .* or 'multi-task'"):
        Recipe.read(None, {"strategy": "dummy"})


def test_every_strategy_is_documented():
    text = (Path(__file__).parent.parent / "docs" / "training.md").read_text()
    assert [name for name in STRATEGIES if f"| `{name}` |" not in text] == []
