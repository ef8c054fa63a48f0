"""Quantity and channel of a series, by its names.

What a series holds is in its name, not in its type: `Deconvolved`, `Neuropil` and `dff_events` lie
inside `Fluorescence` as often as fluorescence does.
"""

import re
from itertools import pairwise

import h5py

from nwbdyn.nwb.read.objects import HDF5_ERRORS, NwbIndex, NwbObject, attribute, name_of
from nwbdyn.nwb.read.series import scalar_text

NOT_NEURONS = re.compile(
    r"neuropil|npil|background|baseline|surround|residual|(?<!de)noise|motion|\bf0\b"
)
CORRECTED = re.compile(r"subtract|correct|minus|demix")
PROCESSED = re.compile(r"denois|smooth|filter|detrend|z_?score|normali[sz]|interpol|downsampl")
ROLES = (  # the first that matches a name decides
    ("events", re.compile(r"event")),
    ("deconvolved", re.compile(r"deconv|spike|spks|oasis|cascade|infer")),
    ("dff", re.compile(r"d_?f_?f|df_?over_?f|delta_?f|d_?f_f_?0")),
    (
        "fluorescence",
        re.compile(r"fluo|raw|ratio|roi_?response|corrected|demix|subtract|^f$|gcamp"),
    ),
)
SIGNAL, REFERENCE = "signal", "reference"
FUNCTIONAL = re.compile(r"gcamp|geco|rcamp|xcamp|cal_?520|ogb|glusnfr|grab|dlight|voltron")
STRUCTURAL = re.compile(
    r"td_?tom|m_?cherry|m_?ruby|ds_?red|m_?kate|m_?scarlet|\b(tag_?)?rfp|sulforhodamine|hoechst"
)
SIGNAL_WORDS = {"signal", "functional", "green"}
REFERENCE_WORDS = {"reference", "ref", "structural", "anatomical", "isosbestic"}
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words(name: str) -> list[str]:
    """The words of a name, in lower case: RoiResponseSeriesRed_ch2 -> roi, response, …, ch, 2."""
    return [word.lower() for word in WORD.findall(name)]


def role(series: NwbObject) -> str | None:
    """Quantity of a series; None for neuropil, baselines and the like.

    The series' name decides, then its container's name and type, then its module's name.
    """
    name = series.name.lower()
    if is_background(series.name):
        return None
    quantity = _named(name)
    # `RoiResponseSeries` and the like say nothing; the container does
    plain = quantity == "fluorescence" and re.search(r"roi_?response", name)
    if quantity is not None and not plain:
        return quantity
    container = series.parent
    while container is not None:
        if container.neurodata_type == "DfOverF":
            return "dff"
        if is_background(container.name):
            return None
        inherited = _named(container.name.lower())
        if inherited is not None:
            return inherited
        container = container.parent
    return quantity or "fluorescence"


def is_background(name: str) -> bool:
    """True for a name of neuropil, background and the like; False for their removal."""
    low = name.lower()
    if CORRECTED.search(low):
        return False
    return bool(NOT_NEURONS.search(low)) or "bg" in words(name)


def rawness(series: NwbObject) -> int:
    """Rank of a series: corrected values 0, unnamed 1, smoothed 2, raw 3."""
    name = series.name.lower()
    if CORRECTED.search(name):
        return 0
    if "raw" in words(series.name):
        return 3
    return 2 if PROCESSED.search(name) else 1


def channel(contents: NwbIndex, series: NwbObject, table: h5py.Group | None) -> str | None:
    """SIGNAL, REFERENCE, or None if no name tells.

    The series' name decides, then its container's, then the name of its ROI table, then the
    imaging plane's name, its optical channel where it has one, and the indicator.
    """
    names = [series.name]
    if series.parent is not None and series.parent.neurodata_type != "ProcessingModule":
        names.append(series.parent.name)
    if table is not None:
        names.append(name_of(table))
        names += _of_plane(contents, table)
    return next((known for name in names if (known := channel_named(name)) is not None), None)


def channel_named(name: str) -> str | None:
    """The channel that a name denotes."""
    low, listed = name.lower(), set(words(name))
    if "ratio" in listed or {"signal", "reference"} <= listed:
        return SIGNAL
    if listed & REFERENCE_WORDS:
        return REFERENCE
    if FUNCTIONAL.search(low) or listed & SIGNAL_WORDS:
        return SIGNAL
    if STRUCTURAL.search(low) or "red" in listed:
        return REFERENCE
    return None


def channel_number(series: NwbObject) -> int:
    """The number of the channel in a series' or its container's name, else 1."""
    parent = "" if series.parent is None else series.parent.name
    numbers = (numbered_channel(name)[1] for name in (series.name, parent))
    return next((number for number in numbers if number is not None), 1)


def numbered_channel(name: str) -> tuple[str, int | None]:
    """A name without the number behind "ch", "chan" or "channel", and that number."""
    listed = words(name)
    for at, (word, following) in enumerate(pairwise(listed)):
        if word in ("ch", "chan", "channel") and following.isdigit():
            return " ".join(listed[:at] + listed[at + 2 :]), int(following)
    return " ".join(listed), None


def imaging_plane(table: h5py.Group) -> h5py.Group | None:
    """The imaging plane of an ROI table."""
    try:
        plane = table.get("imaging_plane")
    except HDF5_ERRORS:
        return None
    return plane if isinstance(plane, h5py.Group) else None


def _of_plane(contents: NwbIndex, table: h5py.Group) -> list[str]:
    plane = imaging_plane(table)
    if plane is None:
        return []
    named = [name_of(plane)]
    channels = [name for name in contents.names(plane) if _is_optical_channel(plane, name)]
    named += channels if len(channels) == 1 else []
    indicator = contents.dataset(plane, "indicator")
    return named + ([] if indicator is None else [scalar_text(indicator)])


def _is_optical_channel(plane: h5py.Group, name: str) -> bool:
    try:
        child = plane.get(name)
    except HDF5_ERRORS:
        return False
    is_group = isinstance(child, h5py.Group)
    return is_group and attribute(child, "neurodata_type") == "OpticalChannel"


def _named(name: str) -> str | None:
    return next((quantity for quantity, pattern in ROLES if pattern.search(name)), None)
