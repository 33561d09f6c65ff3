"""The two halves of `rolesum annotate`: serve the annotation page, and read the results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rolesum.atomic_io import check_writable
from rolesum.console import log
from rolesum.counts import counted
from rolesum.errors import DataError, UsageError
from rolesum.evaluation.evaluated_run import EvaluatedRun, read_run, read_run_dialogues, read_runs
from rolesum.evaluation.human.results import annotation_results, check_export_suffix, export_judgments
from rolesum.evaluation.human.server import AnnotationServer
from rolesum.evaluation.human.session import AnnotationSession
from rolesum.evaluation.human.store import AnnotationStore, Judgment
from rolesum.evaluation.human.study import Study, StudySettings, check_record, make_study, resolve_settings


def serve_annotation(
    directories: Sequence[Path],
    requested: Mapping[str, Any],
    *,
    store: Path,
    data: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8765,
    open_page: bool = False,
) -> None:
    """Serve the annotation page until Ctrl-C.

    `requested` are the StudySettings that the user gave; a new store saves all settings, and a later call takes them
    from there. Raises UsageError for settings that do not fit, DataError for a store of other runs, ResourceError.
    """
    runs = _runs(directories)
    dialogues = read_run_dialogues(runs, data)
    if not dialogues:
        raise UsageError("the runs' dialogues were not found", fix="name their file with --data")
    make_study(runs, resolve_settings(requested, _saved_settings(store), str(store)))  # raises before a file is created
    opened = AnnotationStore(store)
    try:
        record = opened.study_record()
        settings = resolve_settings(requested, record and record["settings"], str(store))
        study = make_study(_in_order(runs, record), settings, dialogues)
        if record is None:
            opened.begin_study(study.record())
        else:
            check_record(study, record, str(store))
        server = AnnotationServer(AnnotationSession(study, opened), host, port)
        log(f"annotation of {_describe(study)}: {server.url}")
        log(f"answers are saved in {store}; Ctrl-C stops, the same command continues")
        server.run(open_page)
        log(f"stopped: {counted(len(opened.judgments()), 'judgment')} in {store}; --results prints the results")
    finally:
        opened.close()


def read_annotation_results(
    directories: Sequence[Path], requested: Mapping[str, Any], *, store: Path, export: Path | None = None
) -> dict[str, Any]:
    """Compute the results of a store's judgments; with `export`, also write them to a .csv or .jsonl file."""
    if export:
        check_export_suffix(export)
        check_writable(export)
    if not store.is_file():
        raise UsageError(f"there is no {store}", fix="name the judgments with --store")
    runs = _runs(directories)
    opened = AnnotationStore(store)
    try:
        record = opened.study_record()
        settings = resolve_settings(requested, record and record["settings"], str(store))
        study = make_study(_in_order(runs, record), settings)
        if record is not None:
            check_record(study, record, str(store))
        judgments = opened.judgments()
    finally:
        opened.close()
    _check_values(judgments, settings, store)
    results = annotation_results(study, judgments)
    if export:
        export_judgments(judgments, export)
    return results


def _check_values(judgments: Sequence[Judgment], settings: StudySettings, store: Path) -> None:
    """Raise DataError for an answer that the page cannot have sent."""
    allowed = range(1, settings.scale + 1) if settings.mode == "rate" else range(-1, 2)
    if bad := next((one for one in judgments if one.value not in allowed), None):
        what = f"the answer {bad.value!r} of {bad.annotator} to dialogue {bad.dialogue} is not among the possible ones"
        raise DataError(what, str(store), "the store was changed from outside: restore it from a copy")


def _runs(directories: Sequence[Path]) -> list[EvaluatedRun]:
    return [read_run(directories[0])] if len(directories) == 1 else read_runs(directories)


def _in_order(runs: Sequence[EvaluatedRun], record: Mapping[str, Any] | None) -> list[EvaluatedRun]:
    """Sort the runs as they were when the store was created: labels and pairs depend on the order."""
    names = list(record["systems"]) if record else []
    return sorted(runs, key=lambda run: names.index(run.name) if run.name in names else len(names))


def _saved_settings(store: Path) -> Mapping[str, Any] | None:
    if not store.is_file():
        return None
    opened = AnnotationStore(store)
    try:
        record = opened.study_record()
        return record["settings"] if record else None
    finally:
        opened.close()


def _describe(study: Study) -> str:
    return f"{counted(len(study.items), 'summary', 'summaries')} of {counted(len(study.systems), 'system')}"
