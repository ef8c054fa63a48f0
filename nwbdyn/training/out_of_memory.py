"""Out-of-memory errors on a GPU or a CPU: how they are recognised, and advice."""

import torch


def ran_out(error: BaseException) -> bool:
    """True for out-of-memory errors of torch and NumPy; on a CPU torch has no class of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def advice(batch_size: int) -> str:
    """Advice for a training that needs more memory than there is.

    Args:
        batch_size: in windows.
    """
    text = f"The memory is too small for batches of {batch_size} windows. "
    if batch_size > 1:
        text += f"Set batch_size to {batch_size // 2} or less, "
    return text + "choose fewer neurons with --where, or train on another --device."
