"""A file that stands alone: who and when by value, results, and where they came from."""

from collections.abc import Mapping
from datetime import datetime

from pynwb import NWBFile
from pynwb.file import Subject

from nwbdyn import disclosure
from nwbdyn.errors import ConfigError
from nwbdyn.nwb.results import exportable
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.printable import folder_name
from nwbdyn.recording import RECORDED_BY, Note
from nwbdyn.results.fit_results import Fit

FIELDS = (
    "subject_id",
    "species",
    "sex",
    "age",
    "age__reference",
    "date_of_birth",
    "description",
    "genotype",
    "strain",
    "weight",
)
KEYWORDS = ("population dynamics", "functional connectivity")  # of the file, beside the model
UNKNOWN = {"u", "unknown", "n/a", "na", "none"}  # a Subject's field with one of these is missing
MODALITY = {"unit": "ecephys", "roi": "ophys"}
LONGEST_LABEL = 50  # letters; a file name has three labels, and 255 bytes at most
_NOT_IN_LABELS = "_*\\/<>:|\"'?%@;. "


def new_file(fit: Fit, subject: Mapping[str, str]) -> tuple[NWBFile, tuple[Note, ...]]:
    """An NWBFile of the session that was fitted, still without results.

    Args:
        subject: Subject fields that the source lacks, given by a person.

    Returns:
        the file, and a note for every field that came from `subject`.

    Raises:
        ConfigError: a field that NWB's Subject does not have, or that the source states otherwise.
        ResultsError: the source states no session start.
    """
    fields, notes = _subject(fit, subject)
    identifier = _session(fit, "identifier") or _session(fit, "session_id")
    session_id = _session(fit, "session_id")
    nwbfile = NWBFile(
        session_description=_session(fit, "session_description") or _session(fit, "description"),
        identifier=f"{identifier}_{name_of(fit)}",
        session_start_time=exportable.session_start(
            _session(fit, "session_start_time"), fit.source.name
        ),
        session_id=session_id or None,
        subject=Subject(**fields) if fields else None,
        **_recorded_by(fit),
        was_generated_by=[["nwbdyn", fit.versions.get("nwbdyn", "unknown")]],
        source_script=None,
        experiment_description=(
            f"Activity that {fit.model} predicts and the coupling between neurons that it fits. "
            "The recording is not in here."
        ),
        keywords=[*KEYWORDS, fit.model],
        notes=f"Results of {fit.model} fitted to {disclosure.of_uri(fit.source.uri)}.",
    )
    return nwbfile, notes


def missing_subject_fields(fit: Fit, subject: Mapping[str, str]) -> tuple[str, ...]:
    """Fields without which the archive refuses a file, named as `Subject` names them."""
    fields, _ = _subject(fit, subject)
    missing = [name for name in ("subject_id", "species", "sex") if _is_unknown(fields.get(name))]
    if not fields.get("age") and not fields.get("date_of_birth"):
        missing.append("age")
    return tuple(missing)


def unstated_fields(fit: Fit, given: Mapping[str, str]) -> dict[str, str]:
    """Given Subject fields, without those that the recording states differently.

    One value may be given for many recordings, and some of these may state the field.
    """
    known = _known_subject(fit)
    return {
        name: value
        for name, value in given.items()
        if _is_unknown(known.get(name)) or known[name] == value
    }


def file_name(fit: Fit, subject: Mapping[str, str], *, suffix: str = "") -> str:
    """`sub-X[_ses-Y]_desc-MODEL_MODALITY.nwb`, the archive's own rule.

    Without a subject_id there is no such name, and the source's takes its place.
    """
    who = subject.get("subject_id") or _known_subject(fit).get("subject_id", "")
    described = f"desc-{_label(fit.model + suffix)}"
    if not who:
        return f"{fit.source.name}_{described}.nwb"
    session = _session(fit, "session_id")
    parts = [f"sub-{_label(who)}", f"ses-{_label(session)}" if session else "", described]
    return "_".join(part for part in parts if part) + f"_{MODALITY[fit.neurons.kind]}.nwb"


def _subject(
    fit: Fit, given: Mapping[str, str]
) -> tuple[dict[str, str | datetime], tuple[Note, ...]]:
    known = _known_subject(fit)
    notes = []
    for name, value in given.items():
        if name not in FIELDS:
            raise ConfigError(f"Subject has no field {name!r}; it has: {', '.join(FIELDS)}.")
        stated = not _is_unknown(known.get(name))
        if stated and known[name] != value:
            raise ConfigError(
                f"The source says {name} is {known[name]!r}, not {value!r}. Leave it out, or "
                "correct the source."
            )
        if not stated:
            notes.append(Note("given", f"/general/subject/{name}", "Given at export."))
    fields: dict[str, str | datetime] = {**known, **given}
    if "date_of_birth" in fields:
        fields["date_of_birth"] = exportable.moment(str(fields["date_of_birth"]), "date of birth")
    exportable.check_age_reference(fields)
    return fields, tuple(notes)


def _is_unknown(value: object) -> bool:
    return not value or str(value).strip().lower() in UNKNOWN


def _known_subject(fit: Fit) -> dict[str, str]:
    """Subject fields of the source that core NWB knows, without the empty ones."""
    subject = fit.session.get("subject")
    if not isinstance(subject, Mapping):
        return {}
    return {name: str(subject[name]) for name in FIELDS if subject.get(name)}


def _recorded_by(fit: Fit) -> dict[str, str | list[str]]:
    """Experimenters, lab and institution of the recording, as NWBFile takes them."""
    stated = {
        name: [str(text) for text in texts]
        for name in RECORDED_BY
        if isinstance(texts := fit.session.get(name), list) and texts
    }
    return {
        name: texts if name == "experimenter" else ", ".join(texts)
        for name, texts in stated.items()
    }


def _session(fit: Fit, name: str) -> str:
    return str(fit.session.get(name) or "")


def _label(text: str) -> str:
    """A label of a file name in the archive: no separators, no special characters."""
    label = "".join("-" if letter in _NOT_IN_LABELS else letter for letter in text)
    return folder_name(label, longest=LONGEST_LABEL)
