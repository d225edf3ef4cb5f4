"""The one place that imports compressai.

compressai 1.2.8 imports torchvision and torch_geometric when it is loaded, for data sets and point-cloud
transforms that nobody needs here. torchvision from the package index beside a CPU torch fails on import
(`operator torchvision::nms does not exist`), and torch_geometric is slow. So small stand-ins take their names in
sys.modules while compressai loads; afterwards the names are as they were before.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["EntropyBottleneck", "GaussianConditional", "ans", "compressai", "layers", "zoo"]


class _Absent:
    """Stands for any class that compressai only inherits from or names in an annotation."""


def _keep_class(_name: str) -> Callable[[type], type]:
    return lambda cls: cls


def _stand_in(name: str, **attributes: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(attributes)
    return module


def _stand_ins() -> dict[str, ModuleType]:
    """Every module name that compressai 1.2.8 imports and this project does not need."""
    vision_transforms = _stand_in("torchvision.transforms")
    datapipes = _stand_in("torch_geometric.data.datapipes", functional_transform=_keep_class)
    data = _stand_in("torch_geometric.data", Data=_Absent, datapipes=datapipes)
    transforms = _stand_in("torch_geometric.transforms", BaseTransform=_Absent, Center=_Absent)
    modules = [
        _stand_in("torchvision", transforms=vision_transforms),
        vision_transforms,
        _stand_in("torch_geometric", data=data, transforms=transforms),
        data,
        datapipes,
        transforms,
        _stand_in("compressai.datasets"),
    ]
    return {module.__name__: module for module in modules}


@contextmanager
def _replaced_in_sys_modules(replacements: dict[str, ModuleType]) -> Iterator[None]:
    """While the context lasts, these names import as these modules."""
    before = {name: sys.modules.get(name) for name in replacements}
    sys.modules.update(replacements)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


with _replaced_in_sys_modules(_stand_ins()), warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import compressai
    from compressai import ans, layers, zoo  # pyright: ignore[reportAttributeAccessIssue]
    from compressai.entropy_models import EntropyBottleneck, GaussianConditional
