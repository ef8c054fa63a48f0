"""From a recording to a Fit: the one function that a person calls, and how it is resumed.

What is decided before training is in `problem`, the models that are trained in `members`, the loop
in `training`, what trained models say and how well in `summary`, and the same fit again, on other
blocks or with other neurons held out, in `repeats`.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nwbdyn import opening, streaming
from nwbdyn.data import splits
from nwbdyn.errors import ConfigError
from nwbdyn.fitting import cross_validation, memory_check, sweep_space, train_models
from nwbdyn.fitting.assemble import assemble_fit, score_fit
from nwbdyn.fitting.stages import benchmark, benchmark_submission, reference_networks
from nwbdyn.fitting.stages.hypothesis_tests import HypothesisTests
from nwbdyn.fitting.task import build_task, log_important, num_draws, training_length
from nwbdyn.fitting.train_models import RunContext, TrainingExecutor
from nwbdyn.inference import influence
from nwbdyn.nwb.results import exportable
from nwbdyn.progress import Report, silent
from nwbdyn.recording import Note, Recording
from nwbdyn.results import fit_results, run_directory, run_lock
from nwbdyn.results.fit_results import Fit
from nwbdyn.training import distributed, pretrained

DEVICES = ("auto", "cpu", "cuda")
_UNUSED_TEST = "the benchmark does not ask this model about this layout; it is not used"
_ONE_DRAW = "the file says which neurons are held out, or the model holds out none"


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
    draws: int | None = None,
    test_recording: Recording | str | None = None,
    targets: Path | str | None = None,
    sweep: Mapping[str, object] | Path | str | None = None,
    null: str | None = None,
    states: str | None = None,
    adopt: Path | str | None = None,
    comparators: bool = False,
    influence_windows: int = influence.NUM_WINDOWS,
    engine: TrainingExecutor | None = None,
    run: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report = silent,
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
        draws: K: for a co-smoothing model, also train K - 1 further draws of held-out neurons, and
            add the mean of their test scores with its interval over neurons and trials: one draw
            says as much of its neurons as of the model. Default: 5, or 1 where the file says which
            neurons are held out. The further draws take the options that the first one settled on,
            and no connectivity is read from them.
        test_recording: the test file that belongs to a train file of the Neural Latents Benchmark.
            The model is trained once more, on train and val trials, and its rates for the test
            trials are written to `run` as the benchmark's `submission.h5`. Without a layout of
            the benchmark, or with a model that predicts the next bin, it is left out, with a note.
        targets: file of the benchmark's targets, to score these rates here; without a test file
            those for the val trials.
        null: "shift:K" or "trials:K": also fit K surrogate recordings in which neurons are
            independent, or coupled by their trials' condition alone, and ten halves of the training
            blocks. Edges then carry p, q, a standard error, the agreement of halves and flags; 20
            surrogates are enough for q = .05. It is also told whether coupling that changes over
            time predicts better than a refit with a constant one, and mean weights between cell
            types. Of a co-smoothing model the predictive influence is tested, not its maps. Of a
            next-bin model it is also told whether other neurons, and a gain that follows the
            population, help to predict (`nested`).
        states: with `null`, also test whether coupling differs between the states in an interval
            table, "TABLE:COLUMN" or "TABLE", by as many simulations with a constant coupling (see
            `state_null`). NetFormer of traces only.
        adopt: run directory of an earlier fit of this model, of one recording or of several. What
            sessions share (SynapsNet's decoder, NetFormer's query and key maps) is taken from it
            and not trained; its options and the width of its bins hold where none are given here.
        comparators: also train two networks without a learned coupling on the same windows, and
            score the model against them (see `comparing`). A next-bin model only.
        influence_windows: test windows that the predictive influence is averaged over, at most. It
            is dear for stndt, and only there (with `causal_mask_ratio`) worth reducing.
        sweep: settings to try, as a table or a YAML file (see `nwbdyn.fitting.sweep_space`). All are trained
            with the first seed, and the one that does best on validation is fitted and scored.
        engine: trains the candidates of a sweep and further seeds, all at once (`cluster.Ray`); it
            needs a `run`. By default they train here, one after the other.
        run: run directory to write while fitting; None keeps everything in memory.
        resume: go on with the interrupted run in `run`; a finished one is loaded.
        overwrite: replace an earlier run in `run`.
        report: told how far training, baselines and folds are.

    Returns:
        The Fit, also written to `run` if that is given.

    Raises:
        ConfigError: an unknown model, option, device or fold.
        DataError: a recording that this model cannot be fitted to.
        FitError: training failed, or `resume` found another fit.
        ResultsError: `run` is occupied, or another process writes there.
    """
    team = distributed.init_process_group(device, devices, nodes)
    if team is not distributed.SINGLE_PROCESS and (test_recording or targets or engine):
        raise ConfigError(
            "Several devices train one model; they take no test file, no targets and no engine."
        )
    report = report if team.is_rank_zero else silent
    run = Path(run) if run is not None and team.is_rank_zero else None
    targets = Path(targets) if targets is not None else None
    if seeds < 1:
        raise ConfigError(f"seeds is {seeds}; at least 1 fit is needed.")
    if draws is not None and draws < 1:
        raise ConfigError(f"draws is {draws}; at least 1 draw of held-out neurons is needed.")
    if folds is not None and folds < splits.FEWEST_FOLDS:
        raise ConfigError(f"folds is {folds}; at least {splits.FEWEST_FOLDS} folds are needed.")
    place = RunContext(run, resume=resume, report=report, engine=engine, team=team)
    length = training_length(epochs, options)
    adopted = None
    if adopt is not None:
        adopted = pretrained.read(adopt, model)
        options = {**adopted.options, **options}
        bin_width = bin_width or adopted.bin_width
    choices: dict[str, Any] = {
        "bin_width": bin_width,
        "trials": trials,
        "covariates": covariates,
        "fold": fold,
    }
    points = None if sweep is None else sweep_space.points(sweep)
    with ExitStack() as files:
        recording = opened(recording, files)
        warns = team.is_rank_zero and fold is None  # a fold repeats what the whole fit warned of
        if fold is None:
            recording = exportable.noted(recording)
        if warns:  # before anything is refused
            log_important(recording, recording.notes)
        problem = build_task(
            recording,
            model,
            seed=seed,
            options={**options, **length},
            device=team.device or device_called(device),
            among=({},) if points is None else points,
            **choices,
        )
        streaming.check_unchanged()  # all of the recording has been read
        problem = replace(problem, adopted=adopted)
        if warns:
            log_important(recording, problem.notes[len(recording.notes) :])
        paired = problem.co_smoothing and benchmark.layout_of(problem) is not None
        test = opened(test_recording, files) if paired and test_recording is not None else None
        drawn = num_draws(draws, co_smoothing=problem.co_smoothing, stated=problem.held_out_stated)
        submission = benchmark_submission.Submission(test, targets)
        submission.check(problem, run)
        questions = HypothesisTests.parse(recording, null, states)
        questions.check(problem)
        if comparators:
            reference_networks.check(problem)
        configs = train_models.candidates(problem, problem.tried)
        if len(configs) == 1:
            problem = replace(problem, config=configs[0])
        more: dict[str, Any] = {
            "sweep": points and list(points),
            "adopted": adopted and adopted.asked,
            "comparators": comparators,
            "draws": drawn if drawn > 1 else None,
            "by_validation": train_models.open_options(problem, configs)
            if len(configs) > 1
            else None,
        }
        asked = (
            submission.asked | questions.asked | {name: one for name, one in more.items() if one}
        )
        every_seed = list(range(seed, seed + seeds))
        described = problem.described() | {"seed": seed, "seeds": every_seed, "folds": folds}

        def complete() -> Path | None:
            """The run directory, where it holds this very fit already."""
            if run is None:
                return None
            files.enter_context(run_lock.run_lock(run, resume=resume, report=report))
            ended = run_directory.open_run(
                run, described | asked, resume=resume, overwrite=overwrite
            )
            return run if ended else None

        if not (resume and run is not None and run_directory.is_complete(run)):
            memory_check.check([problem], seeds=seeds)
        there = team.broadcast_from_rank0(complete)
        if there is not None:
            return fit_results.load(there)
        choice = train_models.select_candidate(problem, configs, seed, place)
        problem = choice.problem
        trained = train_models.train_seeds(problem, every_seed, place, first=choice.trained)
        uncoupled = train_models.predict_without_coupling(problem, seed, place)
        others = reference_networks.train_comparators(problem, seed, place) if comparators else {}
        scored = score_fit(problem, trained, report=report)
        fitted = assemble_fit(
            problem,
            trained,
            scored,
            uncoupled,
            comparators=others,
            influence_windows=influence_windows,
            folds=folds,
            report=report,
        )
        if choice.table:
            listed = {"candidates": list(choice.table)}
            fitted = replace(fitted, metrics=fitted.metrics | listed)
        if asked:
            fitted = replace(fitted, environment=fitted.environment | {"asked": asked})
        fitted = questions.answer(
            fitted, problem, trained, place, influence_windows=influence_windows
        )
        if submission:
            ensemble: Any = fitted.metrics.get("ensemble", {"seeds": every_seed})
            averaged = [member for member in trained if member.seed in ensemble["seeds"]]
            submitted = submission.submit(problem, averaged, place)
            fitted = replace(fitted, metrics=fitted.metrics | {"submission": submitted})
        if test_recording is not None and test is None:
            fitted = _noted(fitted, "unused-test-file", _UNUSED_TEST)
        if draws is not None and draws > drawn:
            fitted = _noted(fitted, "one-draw", f"{draws} draws were asked for; {_ONE_DRAW}")
        if folds is not None:
            refit = partial(
                fit,
                recording,
                model,
                epochs=epochs,
                device=device,
                devices=devices,
                nodes=nodes,
                options=options,
                draws=1,
                adopt=adopt,
                sweep=sweep,
                engine=engine,
                report=report,
                **choices,
            )
            fitted = cross_validation.add_folds(fitted, refit, folds, place)
        if drawn > 1:
            again = partial(
                build_task,
                recording,
                model,
                options=asdict(problem.config),
                device=problem.windows.device,
                **choices,
            )
            fitted = cross_validation.add_heldout_resamples(
                fitted, scored, again, drawn, every_seed, place
            )
        if run is not None:
            fit_results.write(fitted, run)
            fitted = replace(fitted, run=run)
    return fitted


def opened(recording: Recording | str, files: ExitStack) -> Recording:
    """A recording, opened until `files` close where it is an address."""
    if isinstance(recording, str):
        return files.enter_context(opening.open(recording))
    return recording


def device_called(name: str) -> torch.device:
    """The device called "cpu", "cuda" or "auto"; ConfigError where there is none of that name."""
    if name not in DEVICES:
        raise ConfigError(f"No device named {name!r}. Choose from: {', '.join(DEVICES)}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("No CUDA device is available here. Pass --device cpu or auto.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def _noted(fitted: Fit, code: str, reason: str) -> Fit:
    return replace(fitted, notes=(*fitted.notes, Note(code, fitted.model, reason)))
