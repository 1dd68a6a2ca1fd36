"""The figures for Prometheus: by token, or from this machine itself where all use is local."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, request

from xtiger.engine.upkeep import figures
from xtiger.web.frame import xt
from xtiger.web.routes import Routes

routes = Routes()


@routes.get("/metrics")
def metrics() -> Response:
    """Nobody signs in here: a token does, or standing on the machine (`figures.permitted`)."""
    services = xt().services
    site = urlsplit(services.settings.public_url).hostname or ""
    if not figures.permitted(services, request.environ, site=site):
        return Response(
            "Send the token of XTIGER_METRICS_TOKEN. Without one the figures are told only where "
            "XTIGER_PUBLIC_URL is this machine itself, and only there.\n",
            status=403,
            mimetype="text/plain",
        )
    answer = Response(figures.exposition(services), content_type=figures.CONTENT_TYPE)
    answer.headers["Cache-Control"] = "no-store"
    return answer
