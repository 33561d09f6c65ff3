"""What operators and the page ask: whether the service lives and is ready, what it counts, and what it has."""

from importlib import metadata
from typing import Any

from fastapi import APIRouter, Request, Response

from rolesum.checks import CHECKS
from rolesum.formats import FORMATS
from rolesum.instructions.sections import load_sections, preset_names
from rolesum.server.admission import AdmissionController
from rolesum.server.openapi import errors
from rolesum.server.problems import Refusal

router = APIRouter(tags=["system"])


@router.get("/health")
async def health() -> dict[str, str]:
    """Alive: the process answers."""
    return {"status": "alive", "version": metadata.version("rolesum")}


@router.get("/ready", responses=errors(503))
async def ready(request: Request) -> dict[str, Any]:
    """Ready: the models are loaded, their threads run, and the service is not ending."""
    house: AdmissionController = request.app.state.house
    if not house.is_ready:
        raise Refusal(503, "not ready", fix="ask again", headers={"Retry-After": "5"})
    return {"status": "ready", "models": list(house.served), "inside": house.inside, "room": house.limits.waiting}


@router.get("/metrics", responses=errors(401), response_class=Response)
async def counters(request: Request) -> Response:
    """Counters for Prometheus, in its text format."""
    house: AdmissionController = request.app.state.house
    return Response(house.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/setup", responses=errors(401))
async def setup(request: Request) -> dict[str, Any]:
    """The models with their roles, the presets, the formats, the checks and the limits."""
    house: AdmissionController = request.app.state.house
    limits = house.limits
    return {
        "version": metadata.version("rolesum"),
        "models": [
            {"name": one.name, "roles": list(one.trained_roles), "languages": list(one.languages)}
            for one in house.served.values()
        ],
        "sections": {name: {language: _titles(name, language) for language in ("en", "zh")} for name in preset_names()},
        "formats": {name: form.description for name, form in FORMATS.items()},
        "checks": {name: check.description for name, check in CHECKS.items()},
        "limits": {
            "turns": limits.turns,
            "characters": limits.characters,
            "dialogues": limits.dialogues,
            "new_tokens": limits.new_tokens,
        },
    }


def _titles(name: str, language: str) -> dict[str, str]:
    chosen = load_sections(name)
    return {one: chosen.title(one, language) for one in chosen.names}
