"""The picture of a mean matrix: its colours, its order, and how large networks fit into it."""

from dataclasses import replace
from pathlib import Path

import h5py
import lab_files
import numpy as np
import pytest
from pynwb import NWBHDF5IO, validate

from nwbdyn.nwb.results import couplings
from nwbdyn.nwb.results.heat_map import HDF5_IMAGE, LabelledMatrix, Scale, draw, figure, scale_of
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.workflows.export import export


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return lab_files.write_imaging(tmp_path / "lab.nwb")


def test_the_heat_map_is_red_above_zero_blue_below_and_grey_on_the_diagonal():
    matrix = np.array([[9.0, 1.0, 0.0], [-1.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    scale = scale_of(matrix)
    pixels = draw(matrix, scale)
    side = len(pixels) // 3
    colour = {(i, j): pixels[i * side, j * side].astype(int) for i in range(3) for j in range(3)}
    assert scale.low == -scale.high
    assert 0.9 < scale.high <= 1
    assert colour[0, 1][0] > 3 * colour[0, 1][2]  # red
    assert colour[1, 0][2] > 3 * colour[1, 0][0]  # blue
    assert np.ptp(colour[0, 0]) == 0
    assert min(colour[0, 2]) > 240


def test_the_heat_map_sorts_neurons_by_cell_type(source, tmp_path):
    fit = lab_files.fit_of(source)
    with NWBHDF5IO(export(fit, tmp_path / "out.nwb"), "r") as io:
        image = io.read().processing["population_dynamics"][f"{name_of(fit)}_figures"]["coupling"]
        order = [0, 2, 1, 4, 3]
        mean = fit.connectivity.mean().to_numpy()
        scale = scale_of(mean)
        shown = LabelledMatrix(
            draw(mean[np.ix_(order, order)], scale),
            scale,
            names=["10", "12", "11", "14", "13"],
            groups=["Pvalb", "Pvalb", "Sst", "Sst", ""],
            title="Mean coupling over every window",
            measure="z per z",
            kind="roi",
        )
        np.testing.assert_array_equal(image.data[:], figure(shown))
        assert "Rows receive, columns send; both sorted by cell type" in image.description


def drawn(names: list[str], groups: list[str]) -> np.ndarray:
    scale = Scale("RdBu_r", -1.0, 1.0)
    pixels = draw(np.zeros((len(names), len(names))), scale)
    picture = figure(LabelledMatrix(pixels, scale, names, groups, "", "z per z", "unit"))
    assert picture.dtype == np.uint8
    assert picture.shape == (504, 576, 3)
    return picture


def test_the_picture_has_names_separators_and_a_colour_bar():
    names, groups = [f"n{row}" for row in range(6)], ["a"] * 3 + ["b"] * 3
    whole = drawn(names, groups)
    assert (drawn([""] * 6, groups) != whole).any()  # names are on the axes
    assert (drawn(names, ["a"] * 6) != whole).any()  # a line separates two groups
    assert (drawn(names, ["a"] * 3 + ["c"] * 3) != whole).any()  # which are named
    red, blue = whole[..., 0].astype(int), whole[..., 2].astype(int)
    bar = np.argwhere(red - blue > 100)[:, 1]  # only the colour bar is red: all weights are 0
    assert bar.min() > 0.75 * whole.shape[1]


def test_no_name_in_the_picture_is_a_formula():
    odd = ["$a_{b$", "$x^{$"]
    assert (drawn(odd, ["a", "b"]) != drawn(["a", "x"], ["a", "b"])).any()
    assert (drawn(["a", "b"], odd) != drawn(["a", "b"], ["a", "x"])).any()


def test_a_large_network_has_names_of_groups_on_its_axes():
    names = [str(row) for row in range(100)]
    assert (drawn(names, ["a"] * 60 + ["b"] * 40) != drawn(names, ["a"] * 60 + ["c"] * 40)).any()
    assert (drawn(names, []) == drawn(["x"] * 100, [])).all()  # too many to be written


def test_the_picture_of_a_large_network_averages_some_windows_and_says_so(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(couplings, "PICTURE_WINDOWS", 3)
    fit = lab_files.fit_of(source)
    fit.edges.attrs = {"num_pairs": 20, "kept_share": 0.5}
    fit = replace(fit, edges=fit.edges[:10])
    with NWBHDF5IO(export(fit, tmp_path / "out.nwb"), "r") as io:
        image = io.read().processing["population_dynamics"][f"{name_of(fit)}_figures"]["coupling"]
        assert "over 3 evenly spaced windows" in image.description


def test_a_large_matrix_is_averaged_in_blocks():
    matrix = np.zeros((2500, 2500))
    matrix[:1250] = 1
    pixels = draw(matrix, Scale("RdBu_r", -1.0, 1.0))
    assert pixels.shape == (1000, 1000, 3)
    assert pixels[100, 900, 0] > 3 * pixels[100, 900, 2].astype(int)
    assert pixels[900, 100].min() > 240


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ((-2.0, 1.0), Scale("RdBu_r", -1.99, 1.99)),  # both signs
        ((1.0, 2.0), Scale("Reds", 1.01, 1.99)),  # no negative weight: no half is unused
        ((0.0, 0.0), Scale("RdBu_r", -1.0, 1.0)),  # nothing to show
        ((3.0, 3.0), Scale("RdBu_r", -3.0, 3.0)),  # one value: no range of its own
    ],
)
def test_the_colours_follow_the_signs_of_the_weights(weights, wanted):
    scale = scale_of(np.array([[9.0, weights[0]], [weights[1], 9.0]]))
    assert scale.colours == wanted.colours
    assert (scale.low, scale.high) == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize("enrich", [False, True])
def test_viewers_of_hdf5_know_the_picture_and_the_file_stays_valid(source, tmp_path, enrich):
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "out.nwb", enrich=enrich)
    with h5py.File(path) as file:
        picture = file[f"processing/population_dynamics/{name_of(fit)}_figures/coupling"]
        assert {name: picture.attrs[name].decode() for name in HDF5_IMAGE} == HDF5_IMAGE
        assert picture.shape[2] == 3  # INTERLACE_PIXEL: colours are the last axis
    assert not validate(path=str(path))
