"""Modules are heard of when they are loaded, and not loaded by who looks at them."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from steerio.edge.system.late_loading import call_once_loaded
from steerio.worker.random_streams import RandomStreams

pytestmark = pytest.mark.borders
PACKAGED = ("steerio_packaged_a", "steerio_packaged_b")
LAZY = "steerio_lazy"


class Package(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads several modules by itself, as importers of archives do."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of these modules."""
        del path, target
        return importlib.util.spec_from_loader(name, self) if name in PACKAGED else None

    def exec_module(self, module: ModuleType) -> None:
        """Load it."""
        module.__dict__["loaded"] = True


@pytest.fixture
def imports() -> Iterator[None]:
    """Leave what is found and loaded as it was."""
    finders = list(sys.meta_path)
    yield
    sys.meta_path[:] = finders
    for name in (*PACKAGED, LAZY):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("imports")
def test_a_module_is_told_of_once_and_others_of_its_loader_are_not() -> None:
    sys.meta_path.insert(0, Package())
    told: list[str] = []
    call_once_loaded([PACKAGED[0]], lambda name, module: told.append(f"{name} {module.loaded}"))
    for name in PACKAGED:
        assert importlib.import_module(name).loaded
    assert told == [f"{PACKAGED[0]} True"]
    importlib.reload(sys.modules[PACKAGED[0]])
    assert len(told) == 1


@pytest.mark.usefixtures("imports")
def test_a_module_that_loads_when_it_is_used_is_not_loaded_to_look_for_generators(
    tmp_path: Path,
) -> None:
    pytest.importorskip("numpy.random")
    (tmp_path / "lazy.py").write_text("raise ImportError('it was used')")
    spec = importlib.util.spec_from_file_location(LAZY, tmp_path / "lazy.py")
    assert spec is not None
    assert spec.loader is not None
    lazy = importlib.util.LazyLoader(spec.loader)
    spec.loader = lazy
    module = importlib.util.module_from_spec(spec)
    sys.modules[LAZY] = module
    lazy.exec_module(module)
    RandomStreams(1).look()
    with pytest.raises(ImportError, match="it was used"):
        module.anything  # noqa: B018 - it is loaded now
