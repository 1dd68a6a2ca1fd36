"""Every sentence that pages say, in one catalogue; templates hold labels only."""

from __future__ import annotations

from collections.abc import Mapping

from xtiger.domain.records import Module
from xtiger.web import mail_words, map_words, what_words

#: `{x}` is filled in by `say`.
WORDS: Mapping[str, str] = {
    # errors
    "error.403": "Only {who} can open {page}. Your role is {role}.",
    "error.403.ask": "Ask {names}.",
    "error.404": "No page here",
    "error.404.why": "The address may be mistyped, or what it showed is no longer kept.",
    "error.404.record": "This record doesn't exist or you can't see it.",
    "error.500": "This page broke; your data is safe. Reference {reference}. "
    "It is in the server's log.",
    "error.token": "This form belongs to an earlier session, so nothing was done. "
    "Go back, load the page anew and send it again.",
    "error.400": "This address or form can't be read, so nothing was done.",
    "error.ended": "Your session has ended. Sign in to go on.",
    # sign-in
    "sign_in.wrong": "E-mail and password don't match. After 5 tries sign-in rests for 15 minutes.",
    "sign_in.rests": "Too many tries. Sign in after {time}.",
    # search
    "search.nothing": "Nothing is called “{q}”. Search by record number, name, e-mail, CRM id "
    "or Xero id.",
    "search.empty": "Search by record number, name, e-mail, CRM id or Xero id.",
    # menu
    "menu.waits": "in the Queue",
    "menu.needs": "needing you",
    "menu.warned": "to be replaced",
    # banner
    "banner.disconnected": "{organisation} is disconnected since {time}: {cause} {waiting}",
    "banner.disconnected.many": "{organisations} are disconnected. {waiting}",
    "banner.held_up": "{waiting} in order and go by themselves once reconnected.",
    "banner.held_up.one": "1 record waits and goes by itself once reconnected.",
    "banner.held_up.none": "No record waits for that.",
    "banner.paused.all": "Everything is paused since {time} by {by}.",
    "banner.paused.module": "{module} for {organisation} are paused since {time} by {by}.",
    "banner.worker": "{waiting} since {time}: no worker is running.",
    "banner.held": "{why}",
    "banner.paused": "{organisation} is paused since {time}{by}.",
    "banner.not_live": "Rehearsal: nothing is sent to {organisation} until you go live.",
    "ask": "Ask {names}.",
    # dashboard
    "health.disconnected": "XTiger can't reach {organisation}: its consent ended {time}. "
    "{waiting}.",
    "health.disconnected.many": "XTiger can't reach {organisations}: their consent ended {time}. "
    "{waiting}.",
    "health.disconnected.unknown": "XTiger can't reach {organisations}: their consent ended. "
    "{waiting}.",
    "health.disconnected.first": "XTiger can't reach {organisations}: their consent ended, the "
    "first {time}. {waiting}.",
    "health.none": "XTiger isn't connected with Xero yet.",
    "health.not_live": "XTiger isn't live yet: nothing is sent to {organisation} by itself.",
    "health.held": "{why}",
    "health.paused": "{organisation} is paused. {waiting}.",
    "health.paused.all": "Everything is paused. {waiting}.",
    "health.need": "{need}; {went} went over today.",
    "need.you": "{count} need you",
    "need.you.one": "{count} needs you",
    "need.somebody": "{count} need somebody",
    "need.somebody.one": "{count} needs somebody",
    "health.sending": "Sending {due}, {done} done.",
    "health.waiting": "{waiting}; {went} went over today.",
    "health.well": "Everything selected is in Xero.",
    "dashboard.chart.empty": "No calls yet. The chart starts with the first run.",
    "dashboard.nothing": "Nothing needs you.",
    "dashboard.need.all": "{need}, counting all users' records. A record's own page says why.",
    "dashboard.more": "and {causes} more, {records}.",
    "dashboard.no_runs": "No run yet. Sync starts the first one.",
    "dashboard.start": "Connect XTiger with your Xero app, choose the organisations, then go live.",
    "dashboard.sync.help": "Sends everything due now.",
    "dashboard.add.help": "Adds what is selected; the schedule sends it.",
    # records
    "records.empty": "No {module} in the CRM yet.",
    "records.no_match": "No {singular} matches these filters.",
    "records.rule": "Allow Xero Sync isn't used for {module}: the rule is {rule}.",
    "rule.all": "all records",
    "rule.ticked": "only ticked",
    "rule.status": "by status",
    "records.none_ticked": "Tick at least one record first.",
    "flag.ticked": "{label} is ticked: it goes to Xero by the rules of What syncs.",
    "flag.unticked": "{label} is unticked and stays out of Xero.",
    "flag.unticked.bound": "{label} is unticked. It stays in Xero; later changes aren't sent.",
    "flag.saved": "Saved for {label}.",
    "flag.ticked.many": "{count} ticked.",
    "flag.unticked.many": "{count} unticked. What is in Xero stays there; later changes "
    "aren't sent.",
    "flag.typed.many": "{count} set to {type}.",
    "type.fixed": "{label} is {article} {type} in Xero; the type can't change.",
    "type.Invoice": "you are owed",
    "type.Bill": "you owe",
    "record.no_organisation": "No organisation is connected yet.",
    "record.money.refused": "It isn't sent: {why}",
    "record.money.alert": (
        "Xero's editor will remark on the tax: its lines carry more than 0.05 other than its own."
    ),
    "record.no_history": "Nothing has happened to it yet.",
    "record.sent": "{label} is on its way: see its run.",
    "record.not_sent": "{label} has nothing to send. The reason stands below.",
    "record.retried": "{label} goes again in its old place, #{position}.",
    "record.not_retried": "{label} isn't failed any more. Nothing was done.",
    "record.chosen_by_rule": "by its rules",
    # queue
    "added": "Added {what} to the Queue, {places}.",
    "added.none": "Nothing to add: nothing more is selected than what is in Xero or in the Queue.",
    "adding.ask": "Add {count} to the Queue? The schedule sends them: about {calls}.",
    "adding.needed": "The contacts and items they need go first, if they aren't in Xero yet.",
    "adding.too_many": "That is more than today's calls. What is left goes on tomorrow, in order.",
    "adding.moved": "There are now {count}. Nothing was done; look again.",
    "sync.none": "Nothing to send: Xero already has everything selected.",
    "sync.none.open": "Nothing can go now: {what}. The Queue says why.",
    "sync.none.pending": "{count} in its turn or held",
    "sync.none.blocked": "{count} waiting for another",
    "sync.none.failed": "{count} failed, for Retry once the cause is gone",
    "sync.none.check": "{count} unclear, for you to decide",
    "queue.empty.pending": "Nothing waits. New changes of selected records appear here.",
    "queue.empty.failed": "Nothing failed.",
    "queue.empty.blocked": "Nothing waits for another record.",
    "queue.empty.running": "Nothing is in a call to Xero now.",
    "queue.empty.check": "Nothing is unclear.",
    "queue.empty.succeeded": "Nothing has gone over yet.",
    "queue.empty.unchanged": "Nothing was found unchanged yet.",
    "queue.empty.superseded": "Nothing was taken over by a newer change.",
    "queue.empty.cancelled": "Nothing was taken out.",
    "queue.empty.all": "The Queue is empty. New changes of selected records appear here.",
    "queue.no_match": "Nothing in the Queue matches these filters.",
    "queue.tries_again": "Tries again at {time}.",
    "queue.tick_first": "Tick at least one row first.",
    "queue.retried": "Retrying {count}, in the old {places}.",
    "queue.retried.manual": "Press Sync to send them.",
    "queue.retried.none": "Nothing was retried: only failed records can be.",
    "queue.cancelled": "Taken out: {count}. They aren't sent until they change again or are added. "
    "Nothing changes in Xero.",
    "queue.cancelled.none": "Nothing was taken out: what is at Xero now, or unclear, can't be.",
    "queue.cancel.help": "It isn't sent until it changes again or is added. "
    "Nothing changes in Xero.",
    "queue.confirm": "Retry {count}? They go in their old places; about {calls}.",
    "queue.confirm.cause": "If the cause is still there, retrying fails again.",
    "queue.moved": "There are now {count}. Nothing was done; look again.",
    "queue.gone": "Nothing in the Queue fails for this cause any more.",
    "queue.confirm.scope": "Only of: {scope}.",
    "queue.confirm.most": "There are more; these are the oldest {most}.",
    "queue.looked": "The {looked} places from here were looked through. Go on for others.",
    "queue.paused": "Paused: {what}. Calls under way finish; changes are still captured.",
    "queue.resumed": "Resumed: {what}. What waits goes on, in order.",
    "queue.is_paused": "{what}: paused since {time} by {by}. Nothing of it is sent.",
    "pause.all": "Everything",
    "pause.module": "{module} for {organisation}",
    # unclear items
    "check.confirm.there": "{label} arrived, and it is this one in Xero?",
    "check.confirm.not-there": "{label} never arrived in Xero?",
    "check.help.there": "XTiger reads it from Xero (1 call), compares it and links the two. "
    "Nothing is sent.",
    "check.help.not-there": "It goes again in its old place. If it is in Xero after all, "
    "Xero will hold it twice.",
    "check.there.succeeded": "{label} is linked: Xero has what was meant.",
    "check.there.failed": "{label} is linked, but Xero has something else than was meant. "
    "The reason stands below; Retry sends it as an update.",
    "check.there.pending": "{label} is linked. It was deleted in the CRM, so it goes from Xero "
    "next.",
    "check.not_there": "{label} goes again in its old place, #{position}.",
    "check.gone": "#{position} isn't unclear any more. Nothing was done.",
    "check.choose": "Choose one of those Xero has, or paste its Xero id or link.",
    "check.looked": "Xero has {count} that come near. Compare them below.",
    "check.looked.none": "Xero has nothing that comes near.",
    "check.none_near": "Xero had nothing that comes near.",
    "check.not_looked": "Nobody has looked yet.",
    "check.as_of": "As of {time}.",
    "check.forgotten": "What was sent is no longer kept. Look in the CRM and in Xero.",
    "queue.no_attempts": "It hasn't been sent yet.",
    "met.choose": "Choose one of those Xero has, or say that it is a new one.",
    "met.linked": "It is linked with Xero's {label} and goes on in its old place, #{position}.",
    "met.new": "It is created as a new one, in its old place, #{position}.",
    "met.help": "What is linked keeps what Xero has; only the fields that What syncs lists go "
    "over it. Xero takes no second contact in use of the same name: for a new one rename it first.",
    "met.gone": "Xero had nothing like it any more when it was last read. Retry it.",
    "queue.no_chain": "It waits for nothing, and nothing waits for it.",
    # runs
    "runs.empty": "No run yet. Sync on the Dashboard starts the first one.",
    "run.waiting": "Waits for a worker since {time}.",
    "run.done": "Finished in {time}: {succeeded} succeeded, {unchanged} unchanged, "
    "{failed} failed, {blocked} blocked.",
    "run.progress": "{done} of {due}",
    "run.nothing": "Nothing was due.",
    "run.stopped": "It stopped before any record had its turn; what was due waits in its place.",
    "run.nothing.asked": "It had nothing to send: what it was asked for went with another run, "
    "failed before, or waits. The Queue says which.",
    "run.no_entries": "No record has been settled yet.",
    "run.mailed": "Report mailed to {count}.",
    "run.mail.waiting": "The report waits to be mailed to {count}.",
    "run.mail.failed": "The report couldn't be mailed to {recipient}: {why}",
    # logs
    "logs.empty": "Nothing has been logged yet.",
    "logs.no_match": "No entry matches these filters.",
    "logs.looked": "The {looked} entries from here were looked through. Go on for others.",
    "logs.no_call": "No call was made for this step.",
    "logs.no_payload": "Requests and responses are shown to people who may read them. "
    "Your role is {role}.",
    "logs.no_answer": "Xero's answer never came.",
    "logs.refused": "Xero refused the call as a whole; its words stand above.",
    "logs.no_body": "It has no body: its address says all.",
    "logs.file": "A file: {kind}, {size}.",
    "logs.forgotten": "Its bytes are no longer kept. Their hash is {hash}.",
    "logs.forgotten.answer": "Its bytes are no longer kept.",
    "logs.hidden": "[hidden]",
    # API details
    "api.saved": "Saved. Press Connect to give XTiger access.",
    "api.locked": "Set by {name}.",
    "api.secret.set": "set, ends {ends}",
    "api.secret.none": "not set",
    "api.connect.help": "Xero asks which organisations XTiger may use. Tick all you need, then "
    "press Allow access.",
    "api.connect.first": "Save your app's client ID and secret first.",
    "api.kind.web": "Web app: people give consent on a page of Xero",
    "api.kind.custom": "Custom connection: one organisation, no page of Xero",
    "api.permission.extra": "Bank transactions and classic receipts are asked for only if "
    "ticked. Connect again after a change.",
    "api.permission.needed": "XTiger always needs this.",
    "api.permission.granted": "granted",
    "api.permission.missing": "not granted",
    "api.permission.broad": "Asked as the broad scopes of an older app (XTIGER_XERO_SCOPES).",
    "api.lacks": "{what} can't sync: the connection lacks “{scope}”.",
    "api.lacks.contacts": "Contacts",
    "api.lacks.settings": "Items, accounts and tax rates",
    "api.lacks.invoices": "Invoices, bills and credit notes",
    "api.lacks.payments": "Payments",
    "api.lacks.attachments": "Attachments",
    "api.lacks.bank": "Bank transactions",
    "api.lacks.receipts": "Classic receipts",
    "api.renews": "renews by itself",
    "api.connect.custom": "A custom connection needs no consent page: Connect asks Xero for its "
    "one organisation.",
    "api.day_limit": "{organisation} may take {limit} calls a day.",
    "api.day_limit.help": "1,000 in Xero's Starter tier, 5,000 in all others.",
    "api.calls": "{left} of {limit}",
    "api.usage": "today {calls}, {sent} out, {received} in",
    "api.usage.none": "no call today",
    "api.webhook.last": "last {time}",
    "api.webhook.none": "none yet",
    "api.webhook.refused": "Refused {time}: {why}",
    "api.webhook.refused.no_key": "no key was set here. Paste the webhook's key from your Xero "
    "app.",
    "api.webhook.refused.unsigned": "it wasn't signed, so it wasn't Xero's.",
    "api.webhook.refused.signature": "its signature isn't that of the key set here. Send intent "
    "to receive does that on purpose; if no webhook arrives, paste the key again.",
    "api.webhook.refused.size": "it was larger than any of Xero's webhooks.",
    "api.webhook.gap": "Xero's webhooks since {time} didn't all arrive.",
    "api.webhook.help": "Create a webhook in your Xero app with this URL, then paste its key here.",
    "api.webhook.saved": "The webhook key is saved. Press Send intent to receive in Xero.",
    "api.webhook.key.set": "set",
    "api.webhook.key.none": "not set",
    "api.redirect.help": "Copy it into your Xero app, letter by letter.",
    "api.connected": "Connected. Choose the organisations to sync.",
    "api.connected.again": "Connected. What waited goes on by itself, in order.",
    "api.connected.without": "This consent is without {organisations}: nothing is sent there. "
    "Press Reconnect and tick that in Xero, too, if it is to go on.",
    "api.none": "No organisation is connected yet.",
    "api.offered": "This consent also covers these organisations.",
    "api.chosen": "{organisation} is ready. Check What syncs, then press Go live.",
    "api.chosen.none": "Tick at least one organisation.",
    "api.live": "{organisation} is live: selected records are sent.",
    "api.live.help": "Go live lets XTiger send selected records by itself and switches "
    "Auto-sync on.",
    "api.auto.on": "Auto-sync is on for {organisation}: the schedule and changes send.",
    "api.auto.off": "Auto-sync is off for {organisation}: only Sync sends.",
    "api.auto.help": "On: the schedule and changes send. Off: only Sync does.",
    "api.disconnect.help": "Nothing is deleted in Xero or the CRM. {waiting}. Links and logs stay.",
    "api.disconnected": "{organisation} is disconnected. Nothing was deleted.",
    "api.reference.none": "Accounts and tax rates haven't been read yet.",
    **what_words.WORDS,
    **mail_words.WORDS,
    **map_words.WORDS,
    # CRM forms
    "crm.saved": "{label} is saved.",
    "crm.saved.sync": "{label} is saved and on its way to Xero.",
    "crm.changed": "Somebody saved this meanwhile. Your entries are below, unsaved; compare and "
    "save again.",
    "crm.required": "(required)",
    "crm.code.help": "Its item code in Xero, up to 30 characters; without one it isn't sent.",
    "crm.no_contacts": "An invoice needs a contact. Make one first.",
    "crm.lines.none": "Add at least one line.",
    "crm.totals.none": "Totals are counted once what is marked is corrected.",
    "crm.more.tax": (
        "With “once a rate” the discount on all is taken off before tax, with “on each line” "
        "off the total."
    ),
    "crm.more.taxes": "A line with several taxes: write 4.5 + 10, or 10 + 5 compound, as its tax.",
    "crm.number.taken": "{number} is taken. Choose another number.",
    "crm.code.taken": "Another {singular} has the part number {code}.",
    "crm.code.taken.by": (
        "A {singular} has the part number {code}. In Xero both would be one item: choose another."
    ),
    # forms
    "form.faults": "{count} to correct. Nothing was saved.",
    "form.at": "{name}: {fault}",
    "form.required": "Fill in {label}.",
    "form.number": "{value} isn't a number. Write it like 1150.00, without commas.",
    "form.day": "{value} isn't a day. Write it like 2026-11-21.",
    "form.long": "{label} takes {most} characters; this has {count}.",
    "form.choice": "Choose one of the list.",
    "form.least": "{label} can't be less than {least}.",
    "form.most": "{label} can't be more than {most}.",
    "form.taxes": "{value} isn't a tax. Write 15, or several as 4.5 + 10 or 10 + 5 compound.",
    "form.discounts": "A discount is in percent or an amount: leave one of the two empty.",
    "form.currency": "A currency is three letters, such as NZD.",
    "form.limit": "Xero allows 1,000 or 5,000 calls a day; choose one of them.",
    "form.whole": "{value} isn't a whole number.",
    # lists
    "list.filters": "Filters",
    "filter.state": "“{value}” isn't a state; {shown} is shown.",
    "filter.module": "“{value}” isn't a module; all modules are shown.",
    "filter.action": "“{value}” isn't an action; all actions are shown.",
    "filter.outcome": "“{value}” isn't an outcome; all outcomes are shown.",
    "filter.run": "“{value}” isn't a run's number; all runs are shown.",
    "filter.mail": "“{value}” isn't the status of a mail; all are shown.",
    "filter.kind": "“{value}” isn't a kind of mail; all kinds are shown.",
    "filter.status": "“{value}” isn't a status of {module}; all are shown.",
    "filter.account": "“{value}” is neither active nor archived; both are shown.",
    "filter.from": "“{value}” isn't a day such as 2026-11-21; earlier days are shown, too.",
    "filter.to": "“{value}” isn't a day such as 2026-11-21; later days are shown, too.",
    "filter.zone": "“{value}” isn't a time zone; days are those of your own clock.",
    "filter.org": "“{value}” isn't an organisation here; the page is shown without it.",
    "filter.place": "“{value}” isn't a place in this list; it is shown from its start.",
}


def say(key: str, **values: object) -> str:
    """A sentence of the catalogue with its values filled in."""
    return WORDS[key].format(**values)


#: Pages by what people call them, for "Only administrators can open …".
PAGES: Mapping[str, str] = {
    "dashboard": "Dashboard",
    "records": "Records",
    "record": "Records",
    "queue": "Queue",
    "runs": "Runs",
    "logs": "Logs",
    "api_details": "API details",
    "connection": "API details",
    "mapping": "Mapping",
    "what_syncs": "What syncs",
    "xero_accounts": "Xero Accounts",
    "email_": "Email notification",
    "report": "Reports",
    "settings": "Settings",
}

#: The roles that have a capability, as the sentence of a refusal names them.
ALLOWED: Mapping[str, str] = {
    "flag": "users and administrators",
    "sync.one": "users and administrators",
    "crm.edit": "users and administrators",
    "queue.read": "managers and administrators",
    "logs.read": "managers and administrators",
    "reports": "managers and administrators",
}

#: The columns of each module's list, behind its number or name.
COLUMNS: Mapping[Module, tuple[str, ...]] = {
    Module.CONTACTS: ("email", "phone", "city"),
    Module.PRODUCTS: ("name", "price"),
    Module.SERVICES: ("name", "price"),
    Module.INVOICES: ("contact", "date", "total"),
}


def article(word: str) -> str:
    """a Bill, an Invoice."""
    return "an" if word[:1].lower() in "aeiou" else "a"


def names(people: list[str]) -> str:
    """Up to three names: Ana, Bo or Cy."""
    few = people[:3]
    if len(few) < 2:
        return "".join(few)
    return f"{', '.join(few[:-1])} or {few[-1]}"


def all_of(some: list[str]) -> str:
    """Acme NZ; Acme NZ and Acme UK; of more than three: Acme NZ, Acme UK and 2 more."""
    few = some if len(some) < 4 else [*some[:2], f"{len(some) - 2} more"]
    return " and ".join(filter(None, (", ".join(few[:-1]), few[-1])))


def places(first: int | None, last: int | None) -> str:
    """place #903, or places #903–#914."""
    if first is None:
        return ""
    if last is None or first == last:
        return f"place #{first}"
    return f"places #{first}–#{last}"
