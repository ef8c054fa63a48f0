"""A script as a user with a type checker writes it; `test_typing.py` has mypy read it."""

from pathlib import Path

import nwbdyn


def best_score(address: str, folder: Path) -> float:
    """Fit a recording, draw and export the result; return the model's score on test."""
    with nwbdyn.open(address) as recording:
        fit = nwbdyn.fit(recording, model="netformer", seed=0, epochs=2, report=False)
    axes = fit.plot.connectivity()
    axes.set_title(fit.model)
    summary: str = fit.summary()
    (folder / "summary.txt").write_text(summary)
    strongest = fit.connectivity.edges(10)
    strongest.to_csv(folder / "edges.csv")
    nwbdyn.export(fit, folder / "fit.nwb", overwrite=True)
    return float(fit.predictions.values.mean())
