"""`nwbdyn.fit`: one model, one recording, one Fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nwbdyn.fitting import pipeline
from nwbdyn.fitting.stages import STAGES
from nwbdyn.fitting.train_models import TrainingExecutor
from nwbdyn.inference import influence
from nwbdyn.progress import Report, silent
from nwbdyn.progress_bars import progress_bars
from nwbdyn.recording import Recording
from nwbdyn.request import FitRequest
from nwbdyn.results.fit_results import Fit


def fit(
    recording: Recording | str,
    model: str,
    *,
    seed: int = 0,
    seeds: int = 1,
    bin_width: float | None = None,
    epochs: int | None = None,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    options: Mapping[str, object] = {},
    trials: str | None = None,
    covariates: Sequence[str] = (),
    fold: tuple[int, int] | None = None,
    folds: int | None = None,
    heldout_resamples: int | None = None,
    test_recording: Recording | str | None = None,
    targets: Path | str | None = None,
    sweep: Mapping[str, object] | Path | str | None = None,
    null: str | None = None,
    states: str | None = None,
    init_from: Path | str | None = None,
    influence_windows: int = influence.NUM_WINDOWS,
    engine: TrainingExecutor | None = None,
    run: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report | bool = True,
    **old_names: Any,
) -> Fit:
    """Fit a model to a recording and score it beside its baselines.

    Args:
        recording: a recording, or an address that `nwbdyn.open` takes.
        model: a model's name, e.g. "netformer".
        seed: of the weights, the order of batches and the draw of held-out neurons.
        seeds: number of fits, with seeds seed, seed + 1, …; predictions and couplings are averaged,
            rates of a co-smoothing model over the best of them on validation.
        bin_width: seconds. Default: traces keep their frames; spikes take the model's own width, or
            the Neural Latents Benchmark's in its layouts.
        epochs: passes over the training windows, at most; overrides the model's own length.
        device: "cpu", "cuda", or "auto" = cuda where there is one.
        devices, nodes: processes per machine, and machines, that train the model together (see
            `distributed.join`). Each of them runs the caller's script; the first alone writes.
        options: fields of the model's Config, and `preset` where it has presets.
        trials: the interval table whose rows are the trials, or windows around the times in a
            column, as `trials.with_trials` takes them. A co-smoothing model aligns
            its windows to them; for any model they decide the split, and windows stay inside one.
        covariates: what the model and its baselines may use beside the neurons: names of
            behavioural signals, and of events as `events.covariates` takes them.
        fold: (k, K): test on every K-th block, from the k-th on, instead of on the last 15 %.
        folds: K, 3 or more: also fit K folds (one seed each), and add mean and spread of their test
            scores.
        heldout_resamples: K: for a co-smoothing model, also train on K - 1 further sets of held-out
            neurons, and add the mean of their test scores with its interval over neurons and
            trials: the score of one set says as much of the set as of the model. Default: 5, or 1
            where the file says which neurons are held out. The further sets take the options that
            the first one settled on, and no connectivity is read from them.
        test_recording: the test file that belongs to a train file of the Neural Latents Benchmark.
            The model is trained once more, on train and val trials, and its rates for the test
            trials are written to `run` as the benchmark's `submission.h5`. Without a layout of
            the benchmark, or with a model that predicts the next bin, it is left out, with a note.
        targets: file of the benchmark's targets, to score these rates; without a test file those
            for the val trials.
        null: "shift:K" or "trials:K": test edges against K surrogate recordings, in which neurons
            are independent or share only the condition of their trials; 20 are enough for q = .05.
            Edges have p, q, a standard error and flags. For a next-bin model couplings over lags
            are fitted to the recording, and no model is trained again. A co-smoothing model is
            fitted again to the surrogates and to ten halves of the training blocks; its predictive
            influence is tested, not its maps. "jitter:K": test couplings of spike times on a grid
            of 1 ms against K recordings whose spikes are drawn again within 20 ms.
        states: also test whether coupling differs between states, its pattern and its gain apart
            (see `statistics.state_change`): an interval table, "TABLE:COLUMN" or "TABLE"; a CSV
            file with the columns start_time, stop_time and label; or times in seconds,
            "run=0-40,rest=40-90,run=90-125". Each state needs 10 periods. Any next-bin model.
        init_from: run directory of an earlier fit of this model, of one recording or of several.
            What sessions share (SynapsNet's decoder, NetFormer's query and key maps) is taken from
            it and not trained; its options and bin width hold where none are given here.
        influence_windows: test windows that the predictive influence is averaged over, at most. It
            is dear for stndt, and only there (with `causal_mask_ratio`) worth reducing.
        sweep: settings to try, as a table or a YAML file (see `fitting.sweep_space`). All are
            trained with the first seed; the one with the lowest validation loss is fitted.
        engine: trains the candidates of a sweep and further seeds, all at once (`cluster.Ray`); it
            needs a `run`. By default they train here, one after the other.
        run: run directory to write while fitting; None keeps everything in memory.
        resume: go on with the interrupted run in `run`; a finished one is loaded.
        overwrite: replace an earlier run in `run`.
        report: False for no progress bar. True draws one in a notebook and on a terminal. A
            function is called with the progress of training, baselines and folds.
        **old_names: `draws` and `adopt`, as `heldout_resamples` and `init_from` were called in
            version 0.1; accepted in this release.

    Returns:
        The Fit, also written to `run` if that is given.

    Raises:
        ConfigError: an unknown model, option, device or fold.
        DataError: a recording that this model cannot be fitted to.
        FitError: training failed, or `resume` found another fit.
        ResultsError: `run` is occupied, or another process writes there.
    """
    request = FitRequest.from_keywords(
        model,
        seed=seed,
        seeds=seeds,
        bin_width=bin_width,
        epochs=epochs,
        device=device,
        devices=devices,
        nodes=nodes,
        options=options,
        trials=trials,
        covariates=tuple(covariates),
        fold=fold,
        folds=folds,
        heldout_resamples=heldout_resamples,
        targets=targets,
        sweep=sweep,
        null=null,
        states=states,
        init_from=init_from,
        influence_windows=influence_windows,
        run=None if run is None else Path(run),
        resume=resume,
        overwrite=overwrite,
        **old_names,
    )
    with progress_bars(report) as shown:
        return fit_request(
            request, recording, test_recording=test_recording, executor=engine, report=shown
        )


def fit_request(
    request: FitRequest,
    recording: Recording | str,
    *,
    test_recording: Recording | str | None = None,
    executor: TrainingExecutor | None = None,
    report: Report = silent,
) -> Fit:
    """Fit a recording to a request; arguments and errors as for `fit`."""
    (fitted,) = pipeline.run(
        request,
        recordings=[recording],
        stages=STAGES,
        test_recording=test_recording,
        executor=executor,
        report=report,
    ).values()
    return fitted
