"""A device for tests that is not the CPU and needs no GPU: its tensors lie in main memory but mix with no others.

Its name is "other". Every operation is done by the CPU on the tensors behind, after a check that all of them are on the
device, as a GPU demands: an operation on tensors of two devices raises RuntimeError, except for what a GPU allows, too:
copies, single numbers, and indices on the CPU. As on a GPU, `numpy()` is refused.
"""

from collections import Counter
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

aten = torch.ops.aten
MIXES = {aten.copy_.default, aten._to_copy.default}  # from device to device
INDICES = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
DEVICE = torch.device("other", 0) if torch._C._get_privateuse1_backend_name() == "other" else None
MAKERS = ("arange", "arange.start", "arange.start_step", "eye", "eye.m")
operations: Counter[str] = Counter()  # how often each ran on the device


class OtherTensor(torch.Tensor):
    """A tensor on the device; `behind` is the one in main memory."""

    behind: Tensor

    @staticmethod
    def __new__(cls, behind: Tensor) -> "OtherTensor":
        return torch.Tensor._make_wrapper_subclass(
            cls, behind.shape, strides=behind.stride(), storage_offset=behind.storage_offset(),
            dtype=behind.dtype, layout=behind.layout, device=DEVICE,
        )  # fmt: skip

    def __init__(self, behind: Tensor) -> None:
        self.behind = behind

    def __repr__(self) -> str:
        return f"OtherTensor({self.behind})"

    def tolist(self) -> Any:
        return self.behind.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return run(operation, args, kwargs or {})


def run(operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Do an operation on tensors of the device, or make new ones."""
    goes_to = next((x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.device)), DEVICE)
    checked = (args[0], args[2:]) if operation in INDICES else args
    if operation not in MIXES:
        check_together(operation, checked)
    operations[operation.name()] += 1
    plain_args, plain_kwargs = tree_map(behind, (args, kwargs))
    plain_kwargs.pop("pin_memory", None)
    answer = operation(*plain_args, **plain_kwargs)
    for x in tree_leaves((args, kwargs)):
        if isinstance(x, OtherTensor) and x.shape != x.behind.shape:
            raise NotImplementedError(f"{operation.name()} changes the size of a tensor")
    if operation is aten._local_scalar_dense.default:
        return answer
    if goes_to.type != "other":
        return answer
    with torch.inference_mode(False):  # a view of a weight may be no inference tensor
        wrapped = tree_map(lambda x: OtherTensor(x) if isinstance(x, Tensor) else x, answer)
    if any(isinstance(x, OtherTensor) for x in tree_leaves(args)):
        return return_and_correct_aliasing(operation, args, kwargs, wrapped)
    return wrapped


def make(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """A new tensor of the device."""
    return run(operation, args, kwargs)


def behind(x: Any) -> Any:
    """The tensor in main memory behind one of the device, the CPU for the device; anything else as it is."""
    if isinstance(x, torch.device):
        return torch.device("cpu")
    return x.behind if isinstance(x, OtherTensor) else x


def check_together(operation: Any, args: Any) -> None:
    """RuntimeError unless all tensors are on the device; a single number may be on the CPU."""
    for tensor in tree_leaves(args):
        if isinstance(tensor, Tensor) and not isinstance(tensor, OtherTensor) and tensor.dim() > 0:
            raise RuntimeError(
                f"{operation.name()} got tensors of two devices, one of them {tuple(tensor.shape)} on CPU"
            )


class Backend:
    """What torch asks of a device's module."""

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def _is_in_bad_fork(self) -> bool:
        return False

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


def over_the_cpu(maker: Any) -> Any:
    """A function that makes a tensor of data, which then is brought to the device."""

    def on_device(data: Any, device: Any = None, **kwargs: Any) -> Tensor:
        return maker(data, **kwargs) if device is None else maker(data, **kwargs).to(device)

    return on_device


def install() -> torch.device:
    """Make the device known to torch in this process, once, and return it."""
    global DEVICE
    if DEVICE is None:
        _setup_privateuseone_for_python_backend("other", backend_module=Backend())
        library = torch.library.Library("_", "IMPL")
        library.fallback(lambda operation, *args, **kwargs: run(operation, args, kwargs), "PrivateUse1")
        makers = torch.library.Library("aten", "IMPL")
        for name in MAKERS:  # they would fill an empty tensor, whose size must not change here
            operation = getattr(getattr(aten, name.split(".")[0]), (name.split(".") + ["default"])[1])
            makers.impl(name, partial(make, operation), "PrivateUse1")
        torch.tensor, torch.as_tensor = over_the_cpu(torch.tensor), over_the_cpu(torch.as_tensor)
        install.libraries = library, makers  # which must live on
        DEVICE = torch.device("other", 0)
    return DEVICE
