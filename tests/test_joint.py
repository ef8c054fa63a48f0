"""One model over several recordings: what is shared, what is not, and that it resumes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from small_fits import LINEAR, assert_same_fit, imaging, interrupt_after, units

import nwbdyn
from nwbdyn.cli import main, scoreboard
from nwbdyn.connectivity import edge_table
from nwbdyn.errors import ConfigError, DataError, FitError, ResultsError
from nwbdyn.evaluation import scoring
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.stages import surrogate_data
from nwbdyn.progress import Progress
from nwbdyn.recording import Covariate, Recording, Source
from nwbdyn.request import FitRequest
from nwbdyn.results import fit_results, run_directory
from nwbdyn.workflows.joint import fit_joint, fit_joint_request
from nwbdyn.workflows.joint_task import build_joint_task

TINY = {"preset": "paper", "context": 4, "hidden": 8, "batch_size": 32}  # of SynapsNet
SMALL = TINY | {"updates": 30}


def session(name: str, num_neurons: int = 5, frames: int = 300, seed: int = 0, **columns: object):
    """A recording in a file of its own; `columns` go into its table of neurons."""
    made = imaging(8, frames, seed)
    neurons = made.neurons.take(np.arange(num_neurons))
    return replace(
        made,
        neurons=replace(neurons, table=neurons.table.assign(**columns)),
        activity=replace(made.activity, data=made.activity.data[:, :num_neurons]),
        source=Source(uri=f"{name}.nwb", url=f"file:///{name}.nwb", digest=f"sha256:{name}"),
    )


def days() -> list[Recording]:
    """Two days of one mouse: of four and of three neurons, two are on both."""
    return [
        session("monday", 4, 300, uid=["a", "b", "c", ""]),
        session("tuesday", 3, 240, seed=1, uid=["b", "d", "a"]),
    ]


def state(run) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run / "weights.safetensors")


# --- what is shared ---


def test_each_session_is_scored_beside_its_own_baselines():
    fits = fit_joint(days(), "synapsnet", options=SMALL)
    assert list(fits) == ["monday", "tuesday"]
    for name, recording in zip(fits, days(), strict=True):
        alone = fit(recording, "synapsnet", options=SMALL)
        same = json.dumps(alone.metrics["baselines"])  # NaN is not equal to itself
        assert json.dumps(fits[name].metrics["baselines"]) == same
        assert fits[name].split == alone.split
        assert fits[name].neurons.ids.tolist() == recording.neurons.ids.tolist()
        assert fits[name].embeddings.shape == (len(recording.neurons), 8)
        assert fits[name].metrics["coupling"]["metric"] == "r2"


def test_sessions_share_the_decoder_and_nothing_of_each_others_adjacency():
    monday, tuesday = fit_joint(days(), "synapsnet", options=SMALL).values()
    for name, value in monday.weights.items():
        if name.startswith("decoder."):
            np.testing.assert_array_equal(value, tuesday.weights[name])
    assert "A.monday" in monday.weights
    assert "A.tuesday" not in monday.weights
    for fitted, size in ((monday, 4), (tuesday, 3)):
        (key,) = (name for name in fitted.weights if name.startswith("A."))
        weight = fitted.weights[key] * (1 - np.eye(size))
        np.testing.assert_array_equal(fitted.connectivity.arrays["A"], weight.astype(np.float32))


def test_a_neuron_is_the_same_where_subject_and_column_say_so():
    joint = build_joint_task(days(), "netformer", seed=0, neuron_id="uid")
    assert joint.layout.neuron_ids == {"monday": (0, 1, 2, 3), "tuesday": (1, 4, 0)}
    assert joint.num_shared == 2
    assert joint.joint_notes == ()
    monday, tuesday = days()
    other = replace(tuesday, subject={"subject_id": "another mouse"})
    joint = build_joint_task([monday, other], "netformer", seed=0, neuron_id="uid")
    assert joint.num_shared == 0


def test_sessions_with_no_neuron_in_common_are_fitted_with_a_note():
    fits = fit_joint(days(), "netformer", options=LINEAR, epochs=2)
    for fitted in fits.values():
        (note,) = (note for note in fitted.notes if note.code == "no-neuron-in-common")
        assert "--neuron-id" in note.reason


def test_numbers_name_the_same_neuron_however_they_are_stored():
    monday, tuesday = days()
    monday = session("monday", 4, uid=[1, 2, 3, 4])
    tuesday = session("tuesday", 3, seed=1, uid=[2.0, np.nan, 1.0])
    joint = build_joint_task([monday, tuesday], "netformer", seed=0, neuron_id="uid")
    assert joint.layout.neuron_ids["tuesday"] == (1, 4, 0)


def test_cell_types_are_numbered_over_all_sessions_and_missing_ones_are_unknown():
    monday = session("monday", 4, cell_type=["Sst", "", "EC", "EC"])
    tuesday = session("tuesday", 3, seed=1, cell_type=["Vip", "Sst", None])
    joint = build_joint_task([monday, tuesday], "netformer", seed=0)
    assert joint.layout.cell_types == (1, -1, 0, 0, 2, 1, -1)


def test_batches_hold_one_session_and_sessions_take_even_turns():
    joint = build_joint_task(days(), "synapsnet", seed=0, options=SMALL)
    generator = torch.Generator().manual_seed(0)
    batches = list(joint.windows.batches("train", 32, generator))
    assert len(batches) == joint.windows.num_batches("train", 32)
    order = [batch.session for batch in batches]
    sizes = {"monday": 4, "tuesday": 3}
    assert all(batch.activity.shape[2] == sizes[batch.session] for batch in batches)
    monday = np.cumsum([name == "monday" for name in order])
    even = np.arange(1, len(order) + 1) * order.count("monday") / len(order)
    assert np.abs(monday - even).max() <= 1
    starts = np.concatenate([b.start_bin for b in batches if b.session == "tuesday"])
    expected = joint.sessions["tuesday"].windows.starts("train")
    np.testing.assert_array_equal(np.sort(starts), expected)


def test_a_neuron_in_two_sessions_is_trained_in_both():
    joint = fit_joint(days(), "netformer", neuron_id="uid", options=LINEAR, epochs=2)
    monday, tuesday = (joint[name].embeddings for name in ("monday", "tuesday"))
    np.testing.assert_array_equal(monday[[1, 0]], tuesday[[0, 2]])


# --- on disk ---


def test_every_session_is_loaded_and_exported_like_a_fit_of_its_own(tmp_path):
    run = tmp_path / "run"
    fits = fit_joint(days(), "synapsnet", options=SMALL, run=run)
    for name, fitted in fits.items():
        assert_same_fit(nwbdyn.load(run / name), fitted)
        path = nwbdyn.export(nwbdyn.load(run / name), tmp_path / f"{name}.nwb")
        assert path.exists()
    with pytest.raises(ResultsError, match=r"one model over 2 recordings.*run/monday"):
        fit_results.load(run)
    table = json.loads((run / "metrics.json").read_text())
    assert set(table["sessions"]) == {"monday", "tuesday"}
    values = [fits[name].metrics["model"]["test"]["r2"] for name in fits]
    assert [row["model"] for row in table["sessions"].values()] == pytest.approx(values)


def test_a_joint_run_stopped_anywhere_ends_like_one_that_was_not(tmp_path):
    whole = fit_joint(days(), "netformer", options=LINEAR, epochs=4)

    def stop_at_second_session(progress: Progress) -> None:
        if progress.stage == "sessions" and progress.done == 1:
            raise KeyboardInterrupt

    run = tmp_path / "run"
    again = {"options": LINEAR, "epochs": 4, "run": run}
    with pytest.raises(KeyboardInterrupt):
        fit_joint(days(), "netformer", **again, report=interrupt_after(2))
    assert not (run / "monday").exists()
    with pytest.raises(KeyboardInterrupt):
        fit_joint(days(), "netformer", **again, resume=True, report=stop_at_second_session)
    assert run_directory.is_complete(run / "monday")
    with pytest.raises(ResultsError, match="--resume"):
        fit_joint(days(), "netformer", **again)
    stages = []
    resumed = fit_joint(
        days(), "netformer", **again, resume=True, report=lambda p: stages.append(p.stage)
    )
    assert stages.count("connectivity") == 2  # of tuesday alone
    for name in whole:
        assert_same_fit(resumed[name], whole[name])
    loaded = fit_joint(days(), "netformer", **again, resume=True)
    assert_same_fit(loaded["tuesday"], whole["tuesday"])
    with pytest.raises(FitError, match="started with"):
        fit_joint(days()[::-1], "netformer", **again, resume=True)


def test_overwriting_a_joint_run_leaves_nothing_of_it(tmp_path):
    run = tmp_path / "run"
    fit_joint(days(), "netformer", options=LINEAR, epochs=1, run=run)
    fit(days()[0], "netformer", options=LINEAR, epochs=1, run=run, overwrite=True)
    assert not (run / "tuesday").exists()
    assert nwbdyn.load(run).model == "netformer"


# --- a later session ---


@pytest.fixture
def fitted(tmp_path):
    run = tmp_path / "fitted"
    fit_joint(days(), "synapsnet", options=SMALL, run=run)
    return run


def test_a_new_session_takes_the_decoder_over_and_leaves_it(fitted):
    new = fit(session("new", 6, seed=2), "synapsnet", init_from=fitted)
    shared = {name: value for name, value in state(fitted).items() if name.startswith("decoder.")}
    for name, value in shared.items():
        np.testing.assert_array_equal(new.weights[name], value)
    assert new.config["hidden"] == 8
    assert new.connectivity.arrays["A"].shape == (6, 6)


def test_later_sessions_join_without_touching_what_is_shared(fitted, tmp_path):
    before = state(fitted)
    more = [session("wednesday", 5, seed=3), session("thursday", 4, seed=4)]
    later = fit_joint(more, "synapsnet", init_from=fitted, run=tmp_path / "later")
    for name, value in before.items():
        assert torch.equal(state(fitted)[name], value)
        if name.startswith("decoder."):
            assert torch.equal(state(tmp_path / "later")[name], value)
    assert set(later) == {"wednesday", "thursday"}


def test_netformer_keeps_its_maps_for_a_new_session_and_learns_who_is_who(tmp_path):
    first = fit(session("first"), "netformer", options=LINEAR, epochs=2, run=tmp_path / "first")
    new = fit(session("new", 7, seed=2), "netformer", init_from=tmp_path / "first", epochs=2)
    for name in ("query", "key"):
        np.testing.assert_array_equal(new.weights[name], first.weights[name])
    assert new.embeddings.shape[0] == 7


def test_a_run_of_another_model_or_other_sizes_is_not_taken_over(fitted, tmp_path):
    with pytest.raises(ConfigError, match=r"holds a fit of synapsnet, not of netformer"):
        fit(session("new"), "netformer", init_from=fitted)
    with pytest.raises(FitError, match=r"cannot be taken over.*hidden|decoder does not fit"):
        fit(session("new"), "synapsnet", init_from=fitted, options={"hidden": 16})
    with pytest.raises(ResultsError, match="No run directory"):
        fit(session("new"), "synapsnet", init_from=tmp_path / "nothing")


# --- what is refused ---


def test_recordings_that_do_not_fit_together_are_refused():
    monday, tuesday = days()
    slow = replace(tuesday, activity=replace(tuesday.activity, timestamps=np.arange(240) / 4))
    with pytest.raises(DataError, match=r"lasts 0\.1 s in monday and 0\.25 s in tuesday"):
        fit_joint([monday, slow], "netformer")
    with pytest.raises(DataError, match="monday holds dff, made holds counts"):
        fit_joint([monday, units()], "netformer")
    with pytest.raises(DataError, match="takes two or more"):
        fit_joint([monday], "netformer")
    speed = Covariate("speed", np.sin(np.arange(300.0))[:, None], monday.activity.timestamps)
    both = replace(
        speed,
        data=np.ones((240, 2)) * np.arange(240)[:, None],
        timestamps=tuesday.activity.timestamps,
    )
    with pytest.raises(DataError, match="have 1 channels, those of tuesday 2"):
        fit_joint(
            [replace(monday, covariates=(speed,)), replace(tuesday, covariates=(both,))],
            "netformer",
            covariates=["speed"],
        )


def test_a_column_must_be_there_and_tell_neurons_apart():
    monday, tuesday = days()
    with pytest.raises(DataError, match=r"of monday have no column 'name'; they have: id, uid"):
        fit_joint([monday, tuesday], "netformer", neuron_id="name")
    alike = session("monday", 4, uid=["a", "a", "b", "b"])
    with pytest.raises(DataError, match="gives 'a' to 2 neurons"):
        fit_joint([alike, tuesday], "netformer", neuron_id="uid")


def test_an_entry_of_several_neurons_identifies_none_of_them():
    monday, tuesday = days()
    entries = ["a", "a", *monday.neurons.table["uid"][2:]]
    twice = replace(
        monday, neurons=replace(monday.neurons, table=monday.neurons.table.assign(uid=entries))
    )
    joint = build_joint_task([twice, tuesday], "netformer", neuron_id="uid", seed=0)
    rows = joint.layout.neuron_ids["monday"]
    assert len(set(rows)) == len(rows)
    (note,) = (note for note in joint.joint_notes if note.code == "ambiguous-id")
    assert note.reason == "a: several neurons of monday each, so none is identified"


def test_a_model_that_fits_one_session_at_a_time_says_so():
    recordings = [units(), replace(units(seed=1), source=Source("b.nwb", "file:///b.nwb"))]
    with pytest.raises(ConfigError, match="one session at a time"):
        fit_joint(recordings, "stndt", options={"context": 10})


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"null": "shift:20", "states": "sleep"}, "--states: each recording has its own"),
        ({"heldout_resamples": 2}, "--heldout-resamples: no neurons are held out"),
        ({"targets": "targets.h5"}, "--targets: the benchmark scores one session"),
    ],
)
def test_what_a_joint_fit_cannot_have_is_refused_before_training(given, option):
    stages = []
    request = FitRequest.from_keywords("synapsnet", options=SMALL, **given)
    with pytest.raises(ConfigError, match=f"--joint cannot go with {option}"):
        fit_joint_request(request, days(), report=lambda p: stages.append(p.stage))
    assert "seeds" not in stages


def test_a_joint_fit_is_cross_validated_session_by_session(tmp_path):
    run = tmp_path / "run"
    fits = fit_joint(days(), "synapsnet", options=SMALL | {"updates": 5}, folds=3, run=run)
    for name, fitted in fits.items():
        folds = [nwbdyn.load(run / f"fold-{k}" / name) for k in range(3)]
        values = [fold.metrics["model"]["test"]["r2"] for fold in folds]
        assert fitted.metrics["folds"]["model"]["r2"]["values"] == pytest.approx(values)
        assert folds[0].split != folds[1].split


# --- the table, the command line ---


def test_paired_differences_by_hand():
    message = scoring.sign_flip_test([0.1, 0.3, -0.05])
    assert message["mean"] == pytest.approx(0.35 / 3)
    assert message["num_above"] == 2
    # |sum| of .1 +- .3 -+ .05 is at least .35 in 4 of 8 sign patterns: +.35, -.35, +.45, -.45
    assert message["p"] == 0.5
    assert scoring.sign_flip_test([0.2] * 15)["p"] < 0.01


def test_a_folder_is_fitted_jointly_from_the_command_line(tmp_path):
    from nwbdyn import archive

    folder = tmp_path / "mice"
    folder.mkdir()
    for seed in (0, 1):
        path = archive.resolve(f"sample:cortex?neurons=6&duration=40&seed={seed}")[0].path
        (folder / f"mouse{seed}.nwb").write_bytes(path.read_bytes())
    run = tmp_path / "run"
    quick = ["--set", "updates=20", "--set", "hidden=8", "--null", "shift:2"]
    call = ["fit", str(folder), "--model", "synapsnet", "--joint", "-o", str(run), *quick]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    assert "mouse1" in done.stdout
    assert "over 2 recordings" in done.stdout
    assert done.stdout.splitlines()[-1] == str(run)
    assert edge_table.directed(nwbdyn.load(run / "mouse0").edges)["p"].notna().all()
    page = CliRunner().invoke(main, ["report", str(run / "mouse0")])
    assert page.exit_code == 0, page.output
    refused = CliRunner().invoke(main, [*call, "--states", "sleep"])
    assert refused.exit_code == 2
    assert "--joint cannot go with --states" in refused.output
    later = ["fit", str(folder / "mouse1.nwb"), "--model", "synapsnet", "--init-from", str(run)]
    new = CliRunner().invoke(main, [*later, "-o", str(tmp_path / "new")])
    assert new.exit_code == 0, new.output
    assert nwbdyn.load(tmp_path / "new").config["hidden"] == 8


def test_several_seeds_of_a_joint_fit_are_averaged_session_by_session(tmp_path):
    options = SMALL | {"updates": 10}
    both = fit_joint(days(), "synapsnet", options=options, seeds=2, run=tmp_path / "run")
    one, two = (fit_joint(days(), "synapsnet", options=options, seed=seed) for seed in (0, 1))
    for name, fitted in both.items():
        mean = (one[name].predictions.values + two[name].predictions.values) / 2
        np.testing.assert_allclose(fitted.predictions.values, mean, atol=1e-4)
        assert set(fitted.metrics["seeds"]) == {"0", "1"}
        assert edge_table.directed(fitted.edges)["seed_sd"].notna().all()
        apart = ~np.eye(len(fitted.neurons), dtype=bool)
        each = [alone[name].connectivity.mean().to_numpy()[apart] for alone in (one, two)]
        agree = np.corrcoef(each)[0, 1]
        assert fitted.metrics["agreement"]["coupling"]["seeds"] == pytest.approx(agree, abs=1e-4)
    table = json.loads((tmp_path / "run" / "metrics.json").read_text())
    reported = [fitted.metrics["agreement"]["coupling"]["seeds"] for fitted in both.values()]
    assert list(table["seeds_agree"].values()) == pytest.approx(reported)
    message = " ".join(scoreboard.of_joint(table, "synapsnet").split())
    assert f"two seeds agree at r = {min(reported):.2f} to {max(reported):.2f}" in message


# --- a sweep ---


def test_validation_of_all_sessions_takes_one_setting_of_a_sweep(tmp_path):
    requested = {"options": LINEAR | {"history": 8}, "epochs": 3, "neuron_id": "uid"}
    space = {"grid": {"history": [2, 8], "learning_rate": [1e-2, 1e-9]}}
    run = tmp_path / "run"
    fits = fit_joint(days(), "netformer", **requested, sweep=space, run=run)
    table = json.loads((run / "metrics.json").read_text())["candidates"]
    assert [row["options"] for row in table] == [
        {"history": bins, "learning_rate": rate} for bins in (2, 8) for rate in (1e-2, 1e-9)
    ]
    (taken,) = (row for row in table if row["chosen"])
    assert taken["validation"] == min(row["validation"] for row in table)
    for name, fitted in fits.items():
        assert fitted.metrics["candidates"] == table
        assert fitted.config["history"] == taken["options"]["history"]
        plain = fit_joint(days(), "netformer", **requested)[name]  # sees back by eight bins
        assert fitted.split == plain.split
        assert fitted.metrics["baselines"].keys() == plain.metrics["baselines"].keys()
    again = fit_joint(days(), "netformer", **requested, sweep=space, run=run, resume=True)
    for name, fitted in fits.items():
        assert_same_fit(again[name], fitted)
    message = scoreboard.of_joint(json.loads((run / "metrics.json").read_text()), "n", swept=True)
    assert sorted(message.split()[:2]) == ["history", "learning_rate"]


def test_candidates_of_a_joint_sweep_are_judged_on_the_same_bins_of_every_session():
    among = ({"history": 2}, {"history": 8})
    joint = build_joint_task(
        days(), "netformer", seed=0, neuron_id="uid", options=LINEAR, among=among
    )
    for config in joint.tried:
        other = joint.with_config(config)
        for name, problem in other.sessions.items():
            wide = joint.sessions[name].windows
            np.testing.assert_array_equal(
                problem.windows.starts("val") + problem.spec.context,
                wide.starts("val") + wide.spec.context,
            )
            assert problem.windows.session == name
            batches = [next(one.batches("val", 8)) for one in (problem.windows, wide)]
            assert torch.equal(batches[0].neuron_ids, batches[1].neuron_ids)
            assert torch.equal(batches[0].target, batches[1].target)


# --- edges against a null ---


def test_edges_of_a_joint_fit_are_tested_in_each_session(tmp_path):
    run = tmp_path / "run"
    fits = fit_joint(days(), "synapsnet", options=SMALL, null="shift:2", run=run)
    for name, size in (("monday", 4), ("tuesday", 3)):
        edges = edge_table.directed(fits[name].edges)
        assert len(edges) == size * (size - 1)
        assert edges[["p", "se", "model_weight"]].notna().all(axis=None)
        assert edges["p"].min() >= edges.attrs["smallest_p"] == 1 / (1 + 2 * size * (size - 1))
        assert fit_results.load(run / name).edges.attrs["null_hypothesis"]
        assert fits[name].metrics["edges"]["num_surrogates"] == 2
    each = {name: fitted.metrics for name, fitted in fits.items()}
    table = json.loads((run / "metrics.json").read_text())
    message = scoreboard.of_joint(table, "synapsnet", each=each)
    words = " ".join(message.split())
    for name, metrics in each.items():
        withheld = metrics["edges"]["withheld"]
        assert f"{name}: Coupling " in words
        assert f"No edge can be called significant: {withheld}." in words
    assert "sign-flip" not in message  # two recordings cannot speak against chance
    many = table | {"difference": table["difference"] | {"num_sessions": 6, "p": 0.03125}}
    assert "test p = 0.031)." in scoreboard.of_joint(many, "synapsnet")


def test_surrogates_of_a_joint_fit_are_those_of_each_session():
    joint = build_joint_task(days(), "synapsnet", seed=0, options=SMALL)
    windows = surrogate_data.windows_over(
        joint.sessions["tuesday"], joint.sessions["tuesday"].binned
    )
    assert windows.session == "tuesday"
    whole = joint.sessions["tuesday"].windows
    ours, theirs = (next(one.batches("val", 8)) for one in (windows, whole))
    assert torch.equal(ours.neuron_ids, theirs.neuron_ids)
    assert torch.equal(ours.activity, theirs.activity)
