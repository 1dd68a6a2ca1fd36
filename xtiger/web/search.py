"""Search: an exact number or id opens its record, anything else lists what matches."""

from __future__ import annotations

from typing import Any

from flask import redirect, request, url_for
from sqlalchemy import or_, select

from xtiger.domain.records import Module, Record, RecordRef
from xtiger.store.models import Binding
from xtiger.web.access import needs
from xtiger.web.frame import load, page, xt
from xtiger.web.records import find
from xtiger.web.routes import Routes

routes = Routes()
#: How many matches of a module are shown.
MOST = 20


@routes.get("/search")
@needs("records.read")
def search() -> Any:
    """Looks in every module of the CRM, and for Xero's ids and numbers."""
    typed = request.args.get("q", "")
    wanted = "".join(one for one in typed if one.isprintable()).strip()[:200]
    groups: list[tuple[Module, list[Record]]] = []
    if wanted:
        exact = _exact(wanted)
        if len(exact) == 1:
            ref = exact[0]
            return redirect(
                url_for("xtiger.record", module=ref.module.value, record_id=ref.id), 302
            )
        groups = _groups(wanted, exact)
    with xt().services.database.read() as session:
        load(session)
    return page("xtiger/search.html", q=wanted, groups=groups)


def _exact(wanted: str) -> list[RecordRef]:
    """Records whose number, CRM id, Xero id or Xero number this is."""
    crm = xt().services.crm
    found: list[RecordRef] = []
    for module in crm.modules():
        ref = RecordRef(module, wanted)
        if find(ref) is not None:
            found.append(ref)
        matches = crm.browse(module, text=wanted, status=None, before=None, limit=MOST)
        found.extend(one.ref for one in matches if one.label.casefold() == wanted.casefold())
    with xt().services.database.read() as session:
        rows = session.scalars(
            select(Binding)
            .where(or_(Binding.xero_id == wanted.lower(), Binding.number == wanted))
            .limit(MOST)
        )
        found.extend(RecordRef(Module(row.module), row.record_id) for row in rows)
    return list(dict.fromkeys(found))


def _groups(wanted: str, exact: list[RecordRef]) -> list[tuple[Module, list[Record]]]:
    crm = xt().services.crm
    known = crm.fetch_many(exact) if exact else {}
    groups = []
    for module in crm.modules():
        first = [record for ref, record in known.items() if ref.module is module]
        more = crm.browse(module, text=wanted, status=None, before=None, limit=MOST)
        seen = {record.ref for record in first}
        records = [*first, *(record for record in more if record.ref not in seen)]
        if records:
            groups.append((module, records[:MOST]))
    return groups
