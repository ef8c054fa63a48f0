"""A trained model -> predictions on the session clock, time-resolved connectivity, edges.

Several fits of one recording become one answer here: predictions are averaged, and every coupling
matrix is scaled to unit root mean square before it is averaged, because seeds agree on the pattern
better than on its size.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data.splits import GAP, SPLITS
from nwbdyn.data.windows import Windows
from nwbdyn.models.base import CO_SMOOTHING, PER_WINDOW, Batch, Model
from nwbdyn.recording import Neurons

SPLITS_WITH_WINDOWS = SPLITS[:GAP]
MOST_NEURONS = 5000  # above, no N x N matrix is made
MOST_MAP_BYTES = 256 * 2**20  # above, only the first layer's attention maps are kept

MEASURES = {
    "netformer": "attention coefficient: newest value of the sender -> next value of the receiver",
    "gain": "change of the receiver's next value per unit of the sender's (input units)",
    "attention": "attention weight of the first layer (no unit, acausal)",
    "static": "mean change of the receiver's next value per unit of the sender's (input units)",
    "dense": "model weight",
}


def predict(
    model: Model,
    windows: Windows,
    *,
    splits: Sequence[str] = SPLITS_WITH_WINDOWS,
    maps: str | None = None,
    without: torch.Tensor | None = None,
) -> np.ndarray:
    """(num_bins, N) predictions in source units where a window of these splits reaches, else NaN.

    Args:
        maps: what stands for a model's attention maps, for models that can replace them.
        without: columns whose input is 0: no spike, or the training mean of a trace.
    """
    options = {} if maps is None else {"maps": maps}
    values = np.full(windows.binned.values.shape, np.nan, dtype=np.float32)
    for split in splits:
        starts, size = windows.starts(split), model.config.batch_size
        if len(starts) % size == 1:
            size += 1  # no window alone in the last batch: shuffled maps need a second one
        with torch.no_grad():
            parts = [
                model(_zero_inputs(batch, without), **options).prediction.cpu().numpy()
                for batch in windows.batches(split, size)
            ]
        stitched = windows.to_session_clock(starts, np.concatenate(parts))
        reached = np.isfinite(stitched)
        values[reached] = stitched[reached]
    return values


def all_starts(windows: Windows) -> np.ndarray:
    """(num_windows,) first bins of the windows of every split, split after split."""
    return np.concatenate([windows.starts(split) for split in SPLITS_WITH_WINDOWS])


def connectivity(model: Model, windows: Windows) -> Connectivity:
    """The model's native form over every window of every split, in time order."""
    binned, spec = windows.binned, windows.spec
    starts = all_starts(windows)
    order = np.argsort(starts, kind="stable")
    first = starts[order]
    arrays, attributes = _parameters(model, windows.session)
    parts = _time_resolved_parts(model, windows, len(starts))
    arrays |= {name: values[order] for name, values in parts.items()}
    if model.target == CO_SMOOTHING:
        half = (spec.context + spec.forward) * binned.bin_width / 2
        held_in = windows.split.held_in
        sent = {}
        if "y" in arrays:
            sent = _on_session_clock(windows, first, arrays.pop("y")[..., held_in])
            attributes["bin_width"] = binned.bin_width
        return Connectivity(
            form=model.fitted_form,
            time=binned.time[first] - binned.bin_width / 2 + half,
            window=(-half, half),
            neurons=binned.neurons.take(held_in),
            measure=MEASURES[model.fitted_form],
            causal=False,
            arrays={name: values[..., held_in, :][..., held_in] for name, values in arrays.items()}
            | sent,
            attributes=attributes,
        )
    last = first + spec.context - 1
    if model.fitted_form in ("netformer", "gain", "static"):
        activity, seen = windows.inputs, arrays.pop("seen", None)
        if seen is not None:  # the range that a dynamic part sees
            activity = np.clip(activity, seen[:, 0], seen[:, 1])
        arrays |= {"activity": activity, "last": last}
    return Connectivity(
        form=model.fitted_form,
        time=binned.time[last],
        window=(-(spec.context - 0.5) * binned.bin_width, 0.5 * binned.bin_width),
        neurons=binned.neurons,
        measure=MEASURES[model.fitted_form],
        causal=True,
        arrays=arrays,
        attributes=attributes,
    )


def currents(connectivity: Connectivity, windows: Windows) -> np.ndarray | None:
    """(num_bins, N) input currents I(t) = A x(t), NaN in bins that were not observed.

    x is the activity as the model saw it. None for a form without an adjacency.
    """
    adjacency = {"gain": "A", "static": "weight"}.get(connectivity.form)
    if adjacency is None or "activity" not in connectivity.arrays:
        return None
    inputs = windows.inputs
    values = np.empty_like(inputs)
    np.matmul(inputs, connectivity.arrays[adjacency].T, out=values)
    values[~windows.binned.valid] = np.nan
    return values


def edges(
    matrices: Sequence[np.ndarray], neurons: Neurons, influences: Sequence[np.ndarray] = ()
) -> pd.DataFrame:
    """The off-diagonal entries of the mean matrix as a table, see `connectivity.edge_table`.

    Args:
        matrices: (N, N) [post, pre], one per seed. A single one keeps its scale.
        influences: likewise, see `learning.influence`; none where the model has none.

    Returns:
        The columns of every edge table, and seed_sd (of the scaled weights; optimisation noise, not
        an error bar) and sign_agreement (share of seeds with the sign of the mean), NaN for one
        seed; influence, the mean over seeds in the same way, NaN without. `attrs`: num_pairs, and
        kept_share of the summed |weight|.
    """
    off_diagonal = ~np.eye(len(neurons), dtype=bool)
    stack = _unit_rms(matrices, off_diagonal)
    mean = stack.mean(axis=0)
    post, pre = edge_table.strongest(np.abs(mean))
    entries, weight = stack[:, post, pre], mean[post, pre]  # (num_seeds, E), (E,)
    unknown = np.full(len(weight), np.nan)
    several = len(stack) > 1
    table = edge_table.edge_table(neurons, post, pre, weight.astype(np.float32)).assign(
        seed_sd=entries.std(axis=0, ddof=1) if several else unknown,
        sign_agreement=(np.sign(entries) == np.sign(weight)).mean(axis=0) if several else unknown,
        influence=(
            _unit_rms(influences, off_diagonal).mean(axis=0)[post, pre].astype(np.float32)
            if len(influences)
            else unknown
        ),
    )
    total = np.abs(mean[off_diagonal]).sum()
    table.attrs = {
        "num_pairs": int(off_diagonal.sum()),
        "kept_share": float(np.abs(weight).sum() / total) if total else 1.0,
    }
    return table


def _unit_rms(matrices: Sequence[np.ndarray], off_diagonal: np.ndarray) -> np.ndarray:
    """(num_seeds, N, N) float64, scaled to unit root mean square if there are several seeds."""
    stack = np.stack(matrices).astype(np.float64)
    if len(stack) == 1:
        return stack
    size = np.sqrt(np.square(stack[:, off_diagonal]).mean(axis=1))
    return stack / np.where(size > 0, size, 1)[:, None, None]


def _zero_inputs(batch: Batch, columns: torch.Tensor | None) -> Batch:
    """The batch without the input of some neurons."""
    if columns is None or not len(columns):
        return batch
    return replace(batch, activity=batch.activity.index_fill(2, columns, 0.0), lower=None)


def _parameters(
    model: Model, session: str
) -> tuple[dict[str, np.ndarray], dict[str, float | int | str | bool]]:
    """The parameters that the form needs: arrays, and single numbers as attributes."""
    arrays: dict[str, np.ndarray] = {}
    attributes: dict[str, float | int | str | bool] = {}
    for name, value in model.connectivity(session).items():
        if value.ndim:
            arrays[name] = value.cpu().numpy()
        else:
            attributes[name] = value.item()
    return arrays, attributes


def _time_resolved_parts(model: Model, windows: Windows, num_windows: int) -> dict[str, np.ndarray]:
    """The time-resolved parts of the form, one row per window, split after split.

    `y` is kept wherever a model tells it: its contributions need it.
    """
    wanted = PER_WINDOW.get(model.fitted_form, ())
    parts: dict[str, list[np.ndarray]] = {}
    for split in SPLITS_WITH_WINDOWS:
        for batch in windows.batches(split, model.config.batch_size):
            read = model.time_resolved(batch)
            names = (*wanted, "y") if "y" in read else wanted
            if not names:
                return {}
            for name in names:
                values = read[name]
                if name == "maps":
                    size = 2 * num_windows * values[0].numel()
                    values = (values[:, :1] if size > MOST_MAP_BYTES else values).half()
                elif name == "y" and model.form == "attention":
                    values = values[:, 0].half()  # (B, T, N) of the first layer, like its maps
                parts.setdefault(name, []).append(values.cpu().numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def _on_session_clock(
    windows: Windows, first: np.ndarray, sent: np.ndarray
) -> dict[str, np.ndarray]:
    """y (num_windows, T, N) of the windows that begin at `first`, in the bins that they predict."""
    owners = windows.window_of_bin(first)
    owners = owners[owners[:, 0] >= 0]
    return {"y": sent[owners[:, 0], owners[:, 1]], "owner": owners}
