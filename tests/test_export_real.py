"""Real labs' files, old and new, take results and stay as valid as they were."""

from pathlib import Path

import lab_files
import numpy as np
import pytest
from exported_files import messages

import nwbdyn
from nwbdyn.workflows.export import export

FILES = [
    "ecephys/mouse_thalamus_dandi000009_anm00239123.nwb",  # NWB 2.1
    "ecephys/human_mtl_dandi000207_sub-4_ses-4.nwb",  # MatNWB, 2.4, an incomplete cached schema
    pytest.param("ecephys/rat_hippocampus_nelpy_linear-track.nwb", marks=pytest.mark.slow),
    pytest.param("ophys/celegans_dag2023_2022-07-26-31.nwb", marks=pytest.mark.slow),
    pytest.param("ophys/zebrafish_tectum_triplett2018_f1.nwb", marks=pytest.mark.slow),
    pytest.param("ophys/mouse_v1_2p_neuronsxnets_24617.nwb", marks=pytest.mark.slow),
    pytest.param("ophys/celegans_scholz_142554_per-neuron-timeseries.nwb", marks=pytest.mark.slow),
    pytest.param("ophys/ophys_schema_sample_neuroconv_nwb_test.nwb", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("name", FILES)
def test_an_enriched_copy_of_a_real_file_adds_no_problem(data: Path, tmp_path: Path, name: str):
    source = data / name
    with nwbdyn.open(str(source)) as recording:
        fit = lab_files.fit_of_recording(recording)
    path = export(fit, tmp_path / "enriched.nwb", enrich=True)
    assert messages(path) <= messages(source)
    alone = export(fit, tmp_path / "alone.nwb")
    for exported in (path, alone):
        with nwbdyn.open_results(exported) as back:
            assert list(back.neurons.ids) == list(fit.neurons.ids)
            np.testing.assert_array_equal(back.connectivity.mean(), fit.connectivity.mean())
