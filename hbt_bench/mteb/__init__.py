"""The only door to MTEB: task classes and models.

``import hbt_bench.mteb`` registers our tasks and benchmarks in MTEB, before or after ``import mteb``::

    import hbt_bench.mteb
    import mteb

    mteb.get_task("XQuADRMultilingualRetrieval")
    mteb.get_benchmark("hbt(xquad-r)")

MTEB takes seconds to import, and the modules of this package that check a request do without it. So nothing is imported
here: `hbt_bench.mteb.plugin`, which registers, follows the import of MTEB.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _AfterMteb(MetaPathFinder):
    """Import the plug-in as soon as MTEB is imported."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "mteb":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        sys.meta_path.insert(0, self)  # whoever asks for the spec may not import MTEB
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                import_module("hbt_bench.mteb.plugin")

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if "mteb" in sys.modules:
    import_module("hbt_bench.mteb.plugin")
else:
    sys.meta_path.insert(0, _AfterMteb())
