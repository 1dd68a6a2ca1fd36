"""The figures for Prometheus: by token, or from this machine itself."""

from __future__ import annotations

from flask import Response, request

from xtiger.engine import figures
from xtiger.web.frame import xt
from xtiger.web.routes import Routes

routes = Routes()


@routes.get("/metrics")
def metrics() -> Response:
    """Nobody signs in here: a token does, or standing on the machine (`figures.permitted`)."""
    services = xt().services
    if not figures.permitted(services, request.environ):
        return Response(
            "Send the token of XTIGER_METRICS_TOKEN, or ask on this machine itself.\n",
            status=403,
            mimetype="text/plain",
        )
    answer = Response(figures.exposition(services), content_type=figures.CONTENT_TYPE)
    answer.headers["Cache-Control"] = "no-store"
    return answer
