"""How nbval runs the notebooks."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel


def with_another_try(start: Callable) -> Callable:
    """Starts a kernel again that dies before it answers: another process may have taken the port that it was given."""

    def start_or_restart(*args: Any, **kwargs: Any) -> Any:
        with suppress(RuntimeError):
            return start(*args, **kwargs)
        return start(*args, **kwargs)

    return start_or_restart


nbval.plugin.RunningKernel = with_another_try(RunningKernel)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Compares what cells print and show, not what they warn of: the objects that are lost depend on the weights."""
    for notebook in {item.parent for item in items if hasattr(item.parent, "skip_compare")}:
        notebook.skip_compare += ("stderr",)
