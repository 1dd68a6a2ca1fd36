"""What a record comes to in the CRM and in one organisation of Xero, before anything is sent."""

from __future__ import annotations

from xtiger.domain.defaults import MappingTemplate
from xtiger.domain.mapping import compile_template
from xtiger.domain.reckoning import Reckoning, reckon
from xtiger.domain.records import DOCUMENTS, DocumentType, Record
from xtiger.domain.transforms import TemplateFault
from xtiger.engine.mapping import mappings
from xtiger.engine.services import Services
from xtiger.store.templates import Place


def reckoned(
    services: Services, record: Record, organisation_id: int, kind: DocumentType
) -> Reckoning | None:
    """A document counted on both sides; None for what is none, or has no mapping there.

    Reads the CRM and the database; Xero isn't asked.
    """
    if record.ref.module not in DOCUMENTS or record.fault:
        return None
    on = mappings.bench(services, Place(organisation_id, record.ref.module, kind))
    if on.latest is None or on.read_at is None:
        return None
    try:
        mapper = compile_template(MappingTemplate.from_json(on.latest.body), on.info)
    except TemplateFault as fault:
        return Reckoning(refusal=fault.sentence)
    [subject] = mappings.subjects(services, on, [record])
    return reckon(mapper, record, subject.context(services, on))
