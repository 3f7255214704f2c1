"""More steps on a finished run."""

import pytest

from hbt_bench.errors import UsageError
from hbt_bench.training.recipe import Recipe
from hbt_bench.training.run import Training
from tests.factories import SMALL, weights_hash

CONSTANT = {**SMALL, "steps": 4, "schedule": "constant", "warmup": 0.0, "keep_checkpoint": True, "save_every": 2}


def run(folder, **changes):
    return Training(Recipe(**{**CONSTANT, **changes}), folder).run()


def test_more_steps_give_the_weights_of_a_longer_run(tmp_path, messages):
    run(tmp_path / "grown")
    run(tmp_path / "grown", steps=7)
    assert any("continuing from checkpoint-4" in message for message in messages)
    assert weights_hash(tmp_path / "grown") == weights_hash(run(tmp_path / "whole", steps=7, keep_checkpoint=False))
    assert (tmp_path / "grown" / "checkpoints" / "checkpoint-7").is_dir()
    assert not (tmp_path / "whole" / "checkpoints").exists()
    with pytest.raises(UsageError, match="differs in steps"):  # fewer steps are another run
        run(tmp_path / "grown")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "linear"}, "`schedule: linear` lowers the learning rate by the share of all steps"),
        ({"warmup": 0.5}, "`warmup: 0.5` is a share of all steps"),
        ({"keep_checkpoint": False}, "has no checkpoint to continue from: train with `keep_checkpoint`"),
    ],
)
def test_runs_that_cannot_be_continued(tmp_path, changes, message):
    run(tmp_path, **changes)
    with pytest.raises(UsageError, match=message):
        run(tmp_path, **changes, steps=8)
