"""One series of ROI responses -> its values, times and ROIs."""

import numpy as np

from nwbdyn.nwb.read import series, tables
from nwbdyn.nwb.read.imaging import frame_checks, frame_times, orientation, regions, roles
from nwbdyn.nwb.read.imaging.choice import TraceChoice
from nwbdyn.nwb.read.imaging.regions import Regions
from nwbdyn.nwb.read.imaging.responses import Response
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, number


def read(contents: NwbIndex, item: NwbObject, choice: TraceChoice) -> Response | None:
    """A series with its times and ROIs; None with a note where it cannot be read."""
    region = regions.read(contents, item)
    plane = None if region.table is None else roles.imaging_plane(region.table)
    rate = frame_times.plane_rate(contents, plane)
    axis = _time_axis(contents, item, region, choice)
    data = None if axis is None else series.values(contents, item, time_axis=axis)
    if data is None:
        return None
    num_frames, num_rois = data.shape
    expected = region.num_rois if region.rows is None else len(region.rows)
    if expected is not None and num_rois != expected:
        shape = " x ".join(map(str, data.shape))
        reason = f"is {shape} for {expected} rois; neither axis has as many"
        contents.note("roi-count", item.path, reason)
        return None
    timestamps = frame_times.read(contents, item, num_frames, choice, rate)
    if timestamps is None:
        return None
    rows = np.arange(num_rois) if region.rows is None else region.rows
    return Response(
        series=item,
        data=data,
        timestamps=timestamps,
        rows=rows,
        table=None if region.rows is None else region.table,
        plane_rate=rate,
        paths=(item.path,),
        numbered=region.rows is None or region.table is None,
    )


def _time_axis(
    contents: NwbIndex, series: NwbObject, region: Regions, choice: TraceChoice
) -> int | None:
    """The axis of the traces that is time; None with a note where nothing decides."""
    dataset = contents.dataset(series.group, "data")
    if dataset is None or dataset.ndim != 2:
        return 0  # `series.values` notes what is wrong
    if choice.time_axis is not None:
        return choice.time_axis
    timestamps = contents.dataset(series.group, "timestamps")
    start = contents.dataset(series.group, "starting_time")
    rate = choice.frame_rate or (None if start is None else number(start, "rate", np.nan))
    if region.table is not None:
        lengths = [tables.count_rows(contents, region.table)]
    else:
        lengths = list(regions.table_lengths(contents).values())
    evidence = orientation.Evidence(
        num_rois=region.num_rois,
        num_times=None if timestamps is None else int(timestamps.size),
        table_rows=lengths,
        rate=rate if rate is not None and np.isfinite(rate) and rate > 0 else None,
        durations=lambda: frame_checks.durations(contents),
    )
    axis = orientation.time_axis(dataset.shape, evidence)
    if axis is None:
        shape = " x ".join(map(str, dataset.shape))
        reason = (
            f"is {shape}, and neither rois, timestamps, an ROI table nor the session says which "
            "axis is time; pass --time-axis 0 (the first) or --time-axis 1"
        )
        contents.note("ambiguous-axes", series.path, reason, important=True)
    return axis
