"""Made the archives in `0.1.0`: runs of nwbdyn 0.1.0 and the files it exported from them.

Run with nwbdyn 0.1.0 installed, in its tests folder:

    python files/make_0_1_0.py FOLDER

Each archive holds a run directory, what `export` wrote from it, and `expected.json` with a few
values that every later version has to read from them.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import nwbdyn
from nwbdyn import simulate
from nwbdyn.simulate import nwb_file

folder = Path(sys.argv[1]).resolve()
work = folder / "work"
work.mkdir(parents=True)

CORTEX = "sample:cortex?neurons=6&duration=60"
REACH = "sample:reach?neurons=20&trials=24"
STNDT = {"layers": 1, "feedforward": 8, "updates": 10, "batch_size": 8, "validate_every": 1}


def expected(fit: nwbdyn.Fit) -> dict[str, object]:
    """A few values of a fit, as JSON."""
    mean = np.asarray(fit.connectivity.mean())
    return {
        "model": fit.model,
        "primary": fit.metrics["primary"],
        "scores": fit.metrics["model"],
        "num_bins": len(fit.predictions.time),
        "prediction_sum": float(np.nansum(fit.predictions.values)),
        "mean_connectivity": np.round(mean, 7).tolist(),
        "source": fit.source.uri if fit.source else None,
    }


def pack(name: str, runs: list[Path]) -> None:
    for run in runs:
        fit = nwbdyn.load(run)
        nwbdyn.export(fit, run / "results.nwb")
        (run / "expected.json").write_text(json.dumps(expected(fit), indent=1), "utf-8")
    for checkpoint in (work / name).rglob("checkpoint.pt"):  # a finished run does without
        checkpoint.unlink()
    shutil.make_archive(str(folder / name), "zip", work / name)


run = work / "netformer" / "run"
nwbdyn.fit(CORTEX, "netformer", epochs=2, options={"history": 4}, null="shift:2", run=run)
nwbdyn.export(nwbdyn.load(run), run / "enriched.nwb", enrich=True)
pack("netformer", [run])

run = work / "synapsnet" / "run"
nwbdyn.fit(CORTEX, "synapsnet", epochs=2, seeds=2, run=run)
pack("synapsnet", [run])

run = work / "stndt" / "run"
recording, _ = simulate.sample(REACH)
table = recording.neurons.table.drop(columns="heldout")
undecided = replace(recording, neurons=replace(recording.neurons, table=table))
nwbdyn.fit(undecided, "stndt", options=STNDT | {"context": 10}, bin_width=0.05, draws=2, run=run)
pack("stndt", [run])

run = work / "benchmark" / "run"
nwbdyn.fit(REACH, "stndt", options=STNDT, bin_width=0.02, run=run)
pack("benchmark", [run])

sessions = work / "sessions"
sessions.mkdir()
for seed in range(2):
    session, truth = simulate.sample(f"sample:cortex?neurons=6&duration=60&seed={seed}")
    nwb_file.write(session, sessions / f"day{seed}.nwb")
run = work / "joint" / "run"
nwbdyn.fit_joint(
    [str(path) for path in sorted(sessions.glob("*.nwb"))], "synapsnet", epochs=2, run=run
)
pack("joint", [run / "day0", run / "day1"])
shutil.rmtree(work)
