"""Tracking: up to two categories at work, their options, and what a line may say of them."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from uuid import uuid4

from xtiger.sandbox.accounting import validation
from xtiger.sandbox.accounting.answers import (
    elements_of,
    enveloped,
    not_allowed,
    not_found,
    refused_parts,
)
from xtiger.sandbox.accounting.books import READ, Books, Endpoint, Outcome, PartCall
from xtiger.sandbox.accounting.queries import Query
from xtiger.sandbox.kept.state import Keys, Stored, fold
from xtiger.sandbox.wire import ZERO_ID, Json, Malformed, Reply, identifier, text

#: Xero: tracking categories page
_ACTIVE, _IN_ALL, _PER_LINE = 2, 4, 2
#: name of a category and of an option (Xero OpenAPI TrackingCategory, TrackingOption)
_LONGEST = 100
_STATUSES = ("ACTIVE", "ARCHIVED")


def _any_case(element: Json, *names: str) -> Json:
    """The fields asked for, whatever their case: Xero's own examples send `name`."""
    folded = {field.lower(): value for field, value in element.items()}
    return {name: folded[name.lower()] for name in names if folded.get(name.lower()) is not None}


class TrackingCategories(Endpoint):
    """PUT, POST and DELETE /TrackingCategories (Xero OpenAPI TrackingCategory).

    A body holds its options as `{TrackingOptionID, Name, Status}`; deleted ones stay in it.
    """

    plural = "TrackingCategories"
    kind = "tracking"
    id_field = "TrackingCategoryID"
    error_flag = ""
    methods = READ | {"PUT", "POST/id", "DELETE/id"}
    fields = {"TrackingCategoryID": "id", "Name": "name", "Status": "status"}

    def find(self, books: Books, key: str) -> Stored | None:
        wanted = identifier(key)
        return books.get("tracking", wanted) if wanted else None

    def members(self, books: Books, query: Query, *, detail: bool) -> list[Json]:
        query.narrow("status = 'ACTIVE' OR (? AND status = 'ARCHIVED')", query.archived)
        rows = books.state.objects(
            books.tenant, "tracking", query.condition, query.values, order=query.order
        )
        statuses = _STATUSES if query.archived else ("ACTIVE",)
        return [_category(one.id, one.body, statuses) for one in rows]

    def show(self, books: Books, stored: Stored, *, detail: bool) -> Json:
        return _category(stored.id, stored.body, _STATUSES)

    def write(
        self, books: Books, element: Json, *, create_only: bool, target: str | None
    ) -> Outcome:
        """PUT creates a category, with options if they are sent along; POST renames, archives."""
        stored = books.get("tracking", target) if target else None
        body: Json = dict(stored.body) if stored else {"Status": "ACTIVE", "Options": []}
        errors: list[str] = []
        sent = _any_case(element, "Name", "Status", "Options")
        if "Name" in sent:
            body["Name"] = (text(sent["Name"], "Name") or "").strip()
        if stored and stored.status == "DELETED":
            errors.append(validation.TRACKING_DELETED)
        else:
            body["Status"] = _status(sent, body["Status"], errors)
            errors += _name_faults(str(body.get("Name") or ""))
            errors += self._limits(books, body, stored)
            errors += self._options(body, sent.get("Options"))
        category = stored.id if stored else ZERO_ID
        trace = {"name": body.get("Name", "")}
        if errors:
            shown = _category(category, body, _STATUSES)
            return Outcome(category, shown, list(dict.fromkeys(errors)), False, trace)
        category = stored.id if stored else str(uuid4())
        _save(books, category, body)
        if stored and stored.body["Name"] != body["Name"]:
            _rename(books, "TrackingCategoryID", category, {"Name": body["Name"]})
        shown = _category(category, body, _STATUSES)
        return Outcome(category, shown, [], stored is None, trace)

    def _limits(self, books: Books, body: Json, stored: Stored | None) -> list[str]:
        others = [
            one
            for one in books.state.objects(books.tenant, "tracking", "status <> 'DELETED'")
            if stored is None or one.id != stored.id
        ]
        errors: list[str] = []
        name = fold(str(body.get("Name") or ""))
        if name and any(fold(str(one.body["Name"])) == name for one in others):
            errors.append(validation.TRACKING_NAME_TAKEN)
        active = sum(one.status == "ACTIVE" for one in others)
        if body["Status"] == "ACTIVE" and active >= _ACTIVE:
            errors.append(validation.TRACKING_ACTIVE_LIMIT)
        if len(others) >= _IN_ALL:
            errors.append(validation.TRACKING_LIMIT)
        return errors

    def _options(self, body: Json, sent: object) -> list[str]:
        """Adds the options sent without an id; those with one are left as they are."""
        if sent is None:
            return []
        if not isinstance(sent, list) or not all(isinstance(one, dict) for one in sent):
            raise Malformed("Options must be a list of objects.")
        errors: list[str] = []
        body["Options"] = list(body["Options"])
        for one in sent:
            if not identifier(one.get("TrackingOptionID")):
                errors += _add_option(body["Options"], one)
        return errors

    def remove(self, books: Books, stored: Stored) -> Outcome | None:
        """Deletes one that no document has; others can be archived."""
        shown = _category(stored.id, stored.body, _STATUSES)
        trace = {"name": stored.body["Name"]}
        if _used(books, "TrackingCategoryID", stored.id):
            return Outcome(stored.id, shown, [validation.TRACKING_USED], False, trace)
        _save(books, stored.id, stored.body | {"Status": "DELETED"})
        return Outcome(stored.id, shown | {"Status": "DELETED"}, [], False, trace)


class Options:
    """PUT /TrackingCategories/{id}/Options, POST and DELETE of one of them."""

    plural = "Options"
    scopes: tuple[str, ...] | None = None

    def call(self, books: Books, owner: Stored, call: PartCall) -> Reply:
        options: list[Json] = [dict(one) for one in owner.body["Options"]]
        if call.key is None:
            return (
                self._added(books, owner, options, call) if call.method == "PUT" else not_allowed()
            )
        if call.method not in ("POST", "DELETE"):
            return not_allowed()
        wanted = identifier(call.key)
        found = next((one for one in options if one["TrackingOptionID"] == wanted), None)
        if found is None:
            return not_found()
        if call.method == "DELETE":
            return self._deleted(books, owner, options, found)
        return self._changed(books, owner, options, found, call)

    def _added(self, books: Books, owner: Stored, options: list[Json], call: PartCall) -> Reply:
        errors: list[str] = []
        before = len(options)
        for one in elements_of(call.body, self.plural):
            errors += _add_option(options, one)
        if owner.status == "DELETED":
            errors.append(validation.TRACKING_DELETED)
        return self._kept(books, owner, options, options[before:], errors)

    def _changed(
        self, books: Books, owner: Stored, options: list[Json], found: Json, call: PartCall
    ) -> Reply:
        sent = _any_case(elements_of(call.body, self.plural)[0], "Name", "Status")
        errors: list[str] = []
        if found["Status"] == "DELETED" or owner.status == "DELETED":
            errors.append(validation.TRACKING_DELETED)
        if "Name" in sent:
            found["Name"] = (text(sent["Name"], "Name") or "").strip()
            errors += _name_faults(found["Name"])
            others = [one for one in options if one is not found]
            if _taken(others, found["Name"]):
                errors.append(validation.TRACKING_OPTION_TAKEN)
        found["Status"] = _status(sent, found["Status"], errors)
        reply = self._kept(books, owner, options, [found], errors)
        if not errors:
            _rename(books, "TrackingOptionID", found["TrackingOptionID"], {"Option": found["Name"]})
        return reply

    def _deleted(self, books: Books, owner: Stored, options: list[Json], found: Json) -> Reply:
        if _used(books, "TrackingOptionID", found["TrackingOptionID"]):
            errors = [validation.TRACKING_OPTION_USED]
        else:
            errors = []
            found["Status"] = "DELETED"
        return self._kept(books, owner, options, [found], errors)

    def _kept(
        self,
        books: Books,
        owner: Stored,
        options: list[Json],
        changed: list[Json],
        errors: list[str],
    ) -> Reply:
        if errors:
            elements = [_option(one) for one in changed]
            return refused_parts(elements, [list(dict.fromkeys(errors))] * len(elements))
        _save(books, owner.id, owner.body | {"Options": options})
        return enveloped(books.state.now(), "Options", [_option(one) for one in changed])


TrackingCategories.parts = MappingProxyType({"options": Options()})


def _add_option(options: list[Json], sent: Json) -> list[str]:
    fields = _any_case(sent, "Name", "Status")
    name = (text(fields.get("Name"), "Name") or "").strip()
    errors = _name_faults(name)
    if _taken(options, name):
        errors.append(validation.TRACKING_OPTION_TAKEN)
    status = _status(fields, "ACTIVE", errors)
    options.append({"TrackingOptionID": str(uuid4()), "Name": name, "Status": status})
    return errors


def _taken(options: Iterable[Json], name: str) -> bool:
    live = (one for one in options if one["Status"] != "DELETED")
    return any(fold(one["Name"]) == fold(name) for one in live)


def _status(sent: Json, old: str, errors: list[str]) -> str:
    status = (text(sent.get("Status"), "Status") or old).upper()
    if status not in _STATUSES:
        errors.append(validation.TRACKING_STATUS)
        return old
    return status


def _name_faults(name: str) -> list[str]:
    if not name:
        return [validation.TRACKING_NAMELESS]
    return validation.lengths({"Name": name}, {"Name": _LONGEST})


def _save(books: Books, category: str, body: Json) -> None:
    keys = Keys(name=body["Name"], status=body["Status"], app=books.app)
    books.state.save(books.tenant, "tracking", category, body, keys)


def _category(category: str, body: Json, statuses: tuple[str, ...]) -> Json:
    return {
        "Name": body.get("Name", ""),
        "Status": body["Status"],
        "TrackingCategoryID": category,
        "Options": [_option(one) for one in body["Options"] if one["Status"] in statuses],
    }


def _option(option: Json) -> Json:
    """With the three flags of the description's examples."""
    return option | {
        "HasValidationErrors": False,
        "IsDeleted": option["Status"] == "DELETED",
        "IsArchived": option["Status"] == "ARCHIVED",
        "IsActive": option["Status"] == "ACTIVE",
    }


def _used(books: Books, field: str, wanted: str) -> bool:
    return bool(books.state.mentioning(books.tenant, field, wanted, besides="tracking"))


def _rename(books: Books, field: str, wanted: str, changes: Json) -> None:
    """Documents show the names of today."""
    for kind, found in books.state.mentioning(books.tenant, field, wanted, besides="tracking"):
        body = dict(found.body)
        body["LineItems"] = [
            line
            | {
                "Tracking": [
                    one | changes if one.get(field) == wanted else one
                    for one in line.get("Tracking") or []
                ]
            }
            for line in body.get("LineItems") or []
        ]
        books.state.reword(books.tenant, kind, found.id, body)


def of_line(books: Books, sent: object, kept: list[Json], errors: list[str]) -> list[Json]:
    """What a line is tracked under: at most two categories, one option of each.

    A category is named by its id or Name, an option by its id or Option, both live. What the line
    had before stays allowed, though its option may have been archived since.
    """
    if sent is None:
        return []
    if not isinstance(sent, list) or not all(isinstance(one, dict) for one in sent):
        raise Malformed("Tracking must be a list of objects.")
    if len(sent) > _PER_LINE:
        errors.append(validation.TRACKING_PER_LINE)
    known = {one["TrackingOptionID"]: one for one in kept}
    found: list[Json] = []
    for one in sent:
        fields = _any_case(one, "TrackingCategoryID", "TrackingOptionID", "Name", "Option")
        before = known.get(identifier(fields.get("TrackingOptionID")) or "")
        line = before or _meant(books, fields, errors)
        if line:
            found.append(line)
    if len({one["TrackingCategoryID"] for one in found}) < len(found):
        errors.append(validation.TRACKING_TWICE)
    return found


def _meant(books: Books, fields: Json, errors: list[str]) -> Json | None:
    name = text(fields.get("Name"), "Name") or ""
    by_id = _guid(fields, "TrackingCategoryID")
    category = books.get("tracking", by_id) if by_id else None
    if not by_id:
        same = (one for one in books.named("tracking", name) if one.status == "ACTIVE")
        category = next(same, None)
    if category is None or category.status != "ACTIVE":
        errors.append(validation.tracking_category_unknown(name or by_id or ""))
        return None
    word = text(fields.get("Option"), "Option") or ""
    own = _guid(fields, "TrackingOptionID")
    for option in category.body["Options"]:
        if option["Status"] != "ACTIVE":
            continue
        if option["TrackingOptionID"] == own or (not own and fold(option["Name"]) == fold(word)):
            return {
                "Name": category.body["Name"],
                "Option": option["Name"],
                "TrackingCategoryID": category.id,
                "TrackingOptionID": option["TrackingOptionID"],
            }
    errors.append(validation.tracking_option_unknown(word or own or "", category.body["Name"]))
    return None


def _guid(fields: Json, field: str) -> str | None:
    sent = fields.get(field)
    if sent in (None, "", ZERO_ID):
        return None
    found = identifier(sent)
    if found is None:
        raise Malformed(f"'{sent}' is not an id that {field} can hold.")
    return found
