"""Probes and metrics for operators, and /v1/info with what the page offers: models, presets, formats, limits."""

from importlib import metadata
from typing import Any

from fastapi import APIRouter, Request, Response

from rolesum.checks import CHECKS
from rolesum.errors import ResourceError
from rolesum.formats import FORMATS
from rolesum.instructions.fields import field_presets
from rolesum.instructions.sections import load_sections, preset_names
from rolesum.server.admission import RETRY_AFTER, AdmissionController
from rolesum.server.jobs.worker import BatchWorker
from rolesum.server.openapi import error_responses
from rolesum.server.problems import HTTPProblem

router = APIRouter(tags=["system"])


@router.get("/health")
async def health() -> dict[str, str]:
    """Liveness: the process answers."""
    return {"status": "alive", "version": metadata.version("rolesum")}


@router.get("/ready", responses=error_responses(503))
async def ready(request: Request) -> dict[str, Any]:
    """Readiness: models are loaded, their threads run, batches can be saved, and the server is not shutting down."""
    admission: AdmissionController = request.app.state.admission
    worker: BatchWorker = request.app.state.batch_worker
    headers = {"Retry-After": RETRY_AFTER}
    if not admission.is_ready:
        what = "the server is shutting down" if admission.is_shutting_down else "a model's engine has stopped"
        raise HTTPProblem(503, what, fix="send the request to another server, or again later", headers=headers)
    try:
        await admission.probe(worker.store.check)
    except ResourceError as error:
        problem = error.problems[0]
        raise HTTPProblem(503, problem.what, where=problem.where, fix=problem.fix, headers=headers) from None
    return {
        "status": "ready",
        "models": list(admission.models),
        "active_requests": admission.active_requests,
        "max_concurrent_requests": admission.limits.max_concurrent_requests,
    }


@router.get("/metrics", responses=error_responses(401), response_class=Response)
def metrics(request: Request) -> Response:  # in a thread, since it reads the batches
    """Metrics in Prometheus' text format."""
    admission: AdmissionController = request.app.state.admission
    return Response(admission.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/info", responses=error_responses(401))
async def info(request: Request) -> dict[str, Any]:
    """The models, the presets of sections, the formats, the checks and the limits.

    A model that `verifies` statements has a `support_threshold`: the support under which one is doubtful by default.
    """
    admission: AdmissionController = request.app.state.admission
    limits = admission.limits
    return {
        "version": metadata.version("rolesum"),
        "models": [
            {
                "name": model.name,
                "roles": list(model.trained_roles),
                "languages": list(model.languages),
                "verifies": model.support_threshold is not None,
                "support_threshold": model.support_threshold,
            }
            for model in admission.models.values()
        ],
        "sections": {name: {language: _titles(name, language) for language in ("en", "zh")} for name in preset_names()},
        "fields": list(field_presets()),
        "formats": {name: file_format.description for name, file_format in FORMATS.items()},
        "checks": {name: check.description for name, check in CHECKS.items()},
        "limits": {
            "max_turns": limits.max_turns,
            "max_characters": limits.max_characters,
            "max_batch_dialogues": limits.max_batch_dialogues,
            "max_new_tokens": limits.max_new_tokens,
            "max_sessions": limits.max_sessions,
            "session_timeout": limits.session_timeout,
        },
    }


def _titles(preset: str, language: str) -> dict[str, str]:
    sections = load_sections(preset)
    return {name: sections.title(name, language) for name in sections.names}
