"""NWB's types and their inheritance: the nearest known type of a group of unknown type.

The core types are listed here, so that an ordinary file costs no extra bytes. Types of extensions
are looked up in the specifications cached inside the file; where those are missing too, a group is
recognised by what lies in it.
"""

import json
from collections.abc import Iterator

import h5py

CORE_PARENTS = {
    "AbstractFeatureSeries": "TimeSeries",
    "AlignedDynamicTable": "DynamicTable",
    "AnnotationSeries": "TimeSeries",
    "BehavioralEpochs": "NWBDataInterface",
    "BehavioralEvents": "NWBDataInterface",
    "BehavioralTimeSeries": "NWBDataInterface",
    "ClusterWaveforms": "NWBDataInterface",
    "Clustering": "NWBDataInterface",
    "CompassDirection": "NWBDataInterface",
    "CorrectedImageStack": "NWBDataInterface",
    "CurrentClampSeries": "PatchClampSeries",
    "CurrentClampStimulusSeries": "PatchClampSeries",
    "DecompositionSeries": "TimeSeries",
    "Device": "NWBContainer",
    "DfOverF": "NWBDataInterface",
    "DynamicTable": "Container",
    "ElectricalSeries": "TimeSeries",
    "ElectrodeGroup": "NWBContainer",
    "ElectrodesTable": "DynamicTable",
    "EventDetection": "NWBDataInterface",
    "EventWaveform": "NWBDataInterface",
    "EventsTable": "DynamicTable",
    "ExperimentalConditionsTable": "DynamicTable",
    "EyeTracking": "NWBDataInterface",
    "FeatureExtraction": "NWBDataInterface",
    "FilteredEphys": "NWBDataInterface",
    "Fluorescence": "NWBDataInterface",
    "FrequencyBandsTable": "DynamicTable",
    "HERD": "Container",
    "IZeroClampSeries": "CurrentClampSeries",
    "ImageMaskSeries": "ImageSeries",
    "ImageSegmentation": "NWBDataInterface",
    "ImageSeries": "TimeSeries",
    "Images": "NWBDataInterface",
    "ImagingPlane": "NWBContainer",
    "ImagingRetinotopy": "NWBDataInterface",
    "IndexSeries": "TimeSeries",
    "IntervalSeries": "TimeSeries",
    "IntracellularElectrode": "NWBContainer",
    "IntracellularElectrodesTable": "DynamicTable",
    "IntracellularRecordingsTable": "AlignedDynamicTable",
    "IntracellularResponsesTable": "DynamicTable",
    "IntracellularStimuliTable": "DynamicTable",
    "LFP": "NWBDataInterface",
    "LabMetaData": "NWBContainer",
    "MeaningsTable": "DynamicTable",
    "MotionCorrection": "NWBDataInterface",
    "NWBContainer": "Container",
    "NWBDataInterface": "NWBContainer",
    "NWBFile": "NWBContainer",
    "OnePhotonSeries": "ImageSeries",
    "OpticalSeries": "ImageSeries",
    "OptogeneticSeries": "TimeSeries",
    "PatchClampSeries": "TimeSeries",
    "PlaneSegmentation": "DynamicTable",
    "Position": "NWBDataInterface",
    "ProcessingModule": "NWBContainer",
    "PupilTracking": "NWBDataInterface",
    "RepetitionsTable": "DynamicTable",
    "RoiResponseSeries": "TimeSeries",
    "SequentialRecordingsTable": "DynamicTable",
    "SimultaneousRecordingsTable": "DynamicTable",
    "SpatialSeries": "TimeSeries",
    "SpikeEventSeries": "ElectricalSeries",
    "Subject": "NWBContainer",
    "SweepTable": "DynamicTable",
    "TimeIntervals": "DynamicTable",
    "TimeSeries": "NWBDataInterface",
    "TwoPhotonSeries": "ImageSeries",
    "Units": "DynamicTable",
    "VoltageClampSeries": "PatchClampSeries",
    "VoltageClampStimulusSeries": "PatchClampSeries",
}

ROOTS = ("Container", "Data")


def is_a(core_type: str, ancestor: str) -> bool:
    """True if a core type is `ancestor` or descends from it."""
    while core_type != ancestor:
        if core_type not in CORE_PARENTS:
            return False
        core_type = CORE_PARENTS[core_type]
    return True


def core_ancestor(name: str, cached_parents: dict[str, str]) -> str | None:
    """The nearest core type of an extension's type, or None when the chain is not known."""
    seen: set[str] = set()
    while name not in CORE_PARENTS and name not in ROOTS:
        if name in seen or name not in cached_parents:
            return None
        seen.add(name)
        name = cached_parents[name]
    return name


def cached_parents(specifications: h5py.Group) -> dict[str, str]:
    """Parent of every type in the specifications cached in the file; unreadable ones are left out.

    Args:
        specifications: the group `/specifications`: namespace / version / one JSON text per source.
    """
    parents: dict[str, str] = {}
    for namespace in specifications.values():
        for version in namespace.values():
            for dataset in version.values():
                if h5py.check_string_dtype(dataset.dtype) is None:
                    continue
                try:
                    parents.update(_definitions(json.loads(dataset[()])))
                except (ValueError, TypeError):
                    continue
    return parents


def _definitions(node: object) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        name = node.get("neurodata_type_def") or node.get("data_type_def")
        parent = node.get("neurodata_type_inc") or node.get("data_type_inc")
        if isinstance(name, str) and isinstance(parent, str):
            yield name, parent
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _definitions(child)


def guess(group: h5py.Group) -> str | None:
    """The core type that a group of unknown type looks like, by the names of what lies in it."""
    names = set(group.keys())
    if "data" in names and names & {"timestamps", "starting_time"}:
        return "RoiResponseSeries" if "rois" in names else "TimeSeries"
    if "id" not in names:
        return None
    if {"spike_times", "spike_times_index"} <= names:
        return "Units"
    if {"start_time", "stop_time"} <= names:
        return "TimeIntervals"
    if names & {"pixel_mask", "image_mask", "voxel_mask"}:
        return "PlaneSegmentation"
    return "DynamicTable"
