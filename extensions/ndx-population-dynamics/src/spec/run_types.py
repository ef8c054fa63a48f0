"""A fit and its records: what was fitted to which bytes, with which options, and how it scored."""

from parts_of_types import column, description, number, scalar_text, text
from pynwb.spec import NWBGroupSpec

DEPRECATED = "DEPRECATED: written by 0.1 and 0.2 only. {} See `{}`."

model_run = NWBGroupSpec(
    neurodata_type_def="ModelRun",
    neurodata_type_inc="NWBDataInterface",
    doc="One model fitted to one recording: everything needed to judge the fit and to repeat it.",
    attributes=[
        description("the fit, in a sentence or two", required=False),
        text("model", "Name of the model, e.g. 'netformer'."),
        text("software", "Name of the software that fitted it."),
        text("software_version", "Version of that software."),
        number("seed", "Seed of the fit.", dtype="int"),
        text("device", "Device that it was computed on, e.g. 'cpu'.", required=False),
        text("fit_time", "When the fit ended, ISO 8601 with time zone.", required=False),
        text("checkpoint_digest", "'sha256:' and the digest of the weights.", required=False),
        text("quantity", "Quantity that was fitted, e.g. 'counts' or 'dff'.", required=False),
        number("bin_width", "Width of a time bin in seconds.", required=False),
        number("num_bins", "Number of time bins.", dtype="int", required=False),
        number("num_neurons", "Number of fitted neurons.", dtype="int", required=False),
        text("split_rule", "Rule that divides the session into splits.", required=False),
        text("primary_metric", "Metric that the fit is judged by.", required=False),
    ],
    datasets=[
        scalar_text("config", DEPRECATED.format("Options of the model, as JSON.", "details")),
        scalar_text("binning", DEPRECATED.format("How time was binned, as JSON.", "details")),
        scalar_text("split", DEPRECATED.format("How splits were chosen, as JSON.", "details")),
        scalar_text("versions", DEPRECATED.format("Versions of packages, as JSON.", "details")),
        scalar_text("history", DEPRECATED.format("Epochs, as JSON.", "training_history")),
        scalar_text("scores", DEPRECATED.format("Scores, as JSON.", "metrics")),
        scalar_text("notes", DEPRECATED.format("Notes, as JSON.", "run_notes")),
    ],
    groups=[
        NWBGroupSpec(
            neurodata_type_inc="RunSource",
            doc="The recordings that were fitted.",
            quantity="*",
        ),
        NWBGroupSpec(
            name="metrics",
            neurodata_type_inc="RunMetricsTable",
            doc="Scores of the model beside the baselines.",
            quantity="?",
        ),
        NWBGroupSpec(
            name="splits",
            neurodata_type_inc="TimeIntervals",
            doc="Intervals of the session used for training, validation and test; column `label`.",
            quantity="?",
        ),
        NWBGroupSpec(
            name="details",
            neurodata_type_inc="RunDetailsTable",
            doc="Options, binning, split, versions and further results, one value per row.",
            quantity="?",
        ),
        NWBGroupSpec(
            name="training_history",
            neurodata_type_inc="TrainingHistoryTable",
            doc="One row per epoch.",
            quantity="?",
        ),
        NWBGroupSpec(
            name="run_notes",
            neurodata_type_inc="RunNotesTable",
            doc="Everything that was skipped or changed.",
            quantity="?",
        ),
    ],
)

run_source = NWBGroupSpec(
    neurodata_type_def="RunSource",
    neurodata_type_inc="NWBDataInterface",
    doc="A recording that a model was fitted to, precise enough to fetch the same bytes again.",
    attributes=[
        description("the recording", required=False),
        text("uri", "Address of the recording, as a person would type it."),
        text("url", "Address that the bytes are read from.", required=False),
        text("instance", "Name of the archive's instance, e.g. 'dandi'.", required=False),
        text("dandiset_id", "Identifier of the dandiset.", required=False),
        text("dandiset_version", "Version of the dandiset.", required=False),
        text("asset_path", "Path of the asset in the dandiset.", required=False),
        text("asset_id", "Identifier of the asset.", required=False),
        text(
            "digest",
            "Algorithm, ':' and digest of the file; the algorithm is e.g. 'sha256'.",
            required=False,
        ),
        number("size", "Size of the file in bytes.", dtype="int", required=False),
        text("neurons_path", "Path of the table of units or ROIs in the file.", required=False),
        text("neurons_object_id", "Object id of that table.", required=False),
        text("series_path", "Path of the activity series in the file.", required=False),
        text("series_object_id", "Object id of that series.", required=False),
    ],
)

run_metrics_table = NWBGroupSpec(
    neurodata_type_def="RunMetricsTable",
    neurodata_type_inc="DynamicTable",
    doc="One row per split, metric and method: the model, the baselines and their differences.",
    datasets=[
        column("method", "Name of the model or the baseline.", dtype="text", required=True),
        column("split", "Split that it was measured on, e.g. 'test'.", dtype="text", required=True),
        column("metric", "Name of the score; '@h' is the horizon.", dtype="text", required=True),
        column("value", "The score.", dtype="float", required=True),
        column("low", "Lower end of its interval; NaN where it has none.", dtype="float"),
        column("high", "Upper end of its interval; NaN where it has none.", dtype="float"),
        column(
            "compared_with",
            "Method whose score is subtracted; '' where the row is a score itself.",
            dtype="text",
        ),
    ],
)

run_details_table = NWBGroupSpec(
    neurodata_type_def="RunDetailsTable",
    neurodata_type_inc="DynamicTable",
    doc="Named values of a fit, one per row, so that any table viewer shows them.",
    datasets=[
        column(
            "section",
            "Part of the fit: 'config', 'binning', 'split', 'versions', 'environment', 'scores'.",
            dtype="text",
            required=True,
        ),
        column(
            "key",
            "Name of the value. Levels of nested values are separated by '.'; elements of a list "
            "of mappings are the levels '[0]', '[1]' and so on. A '.' or '\\' inside a level, and "
            "a '[' that begins one, is preceded by '\\'.",
            dtype="text",
            required=True,
        ),
        column("value", "The value, as text.", dtype="text", required=True),
        column(
            "value_type",
            "'text', 'number', 'boolean' or 'null'; 'json' for lists of plain values; 'mapping' "
            "for an empty mapping.",
            dtype="text",
            required=True,
        ),
    ],
)

training_history_table = NWBGroupSpec(
    neurodata_type_def="TrainingHistoryTable",
    neurodata_type_inc="DynamicTable",
    doc=(
        "One row per epoch of training; further columns hold whatever the software logs. NaN where "
        "an epoch has no such value."
    ),
    datasets=[
        column("epoch", "Number of the epoch, from 1.", dtype="int"),
        column("loss", "Mean training loss.", dtype="float"),
        column("validation", "Validation loss.", dtype="float"),
    ],
)

run_notes_table = NWBGroupSpec(
    neurodata_type_def="RunNotesTable",
    neurodata_type_inc="DynamicTable",
    doc="One row for everything that was skipped or changed when reading, fitting or exporting.",
    datasets=[
        column("code", "Kind of note, e.g. 'skipped-column'.", dtype="text", required=True),
        column("location", "Object or step it is about.", dtype="text", required=True),
        column("reason", "Why, in words.", dtype="text", required=True),
    ],
)

RUN_TYPES = [
    model_run,
    run_source,
    run_metrics_table,
    run_details_table,
    training_history_table,
    run_notes_table,
]
