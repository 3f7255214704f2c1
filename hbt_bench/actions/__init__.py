"""The commands as functions: in Python, they return what the command line prints or writes.

The functions take the options of the commands. `evaluate`, `compare`, `load_results` and `score` are in the packages
that do their work.
"""

from hbt_bench.actions.analyses import bias, leaderboard, plot, readable
from hbt_bench.actions.experiments import study, study_plan, train
from hbt_bench.actions.outputs import card, draft_task, export, report, site

__all__ = [
    "bias",
    "card",
    "draft_task",
    "export",
    "leaderboard",
    "plot",
    "readable",
    "report",
    "site",
    "study",
    "study_plan",
    "train",
]
