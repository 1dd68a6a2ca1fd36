"""The sentences of What syncs and of Xero Accounts; `words` adds them to the catalogue."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    # what syncs
    "what.help": "Which records go, and when they count. Saving never sends.",
    "what.none": "No organisation is connected yet, so nothing syncs.",
    "what.title": "{module} for {organisation}",
    "what.direction": "CRM to Xero",
    "what.saved": "Saved. {what} now selected.",
    "what.saved.none": "Saved. Nothing was sent; what is selected goes with the next Sync or when "
    "it changes.",
    "what.changed": "{who} saved this at {time}. Your entries are below, unsaved; compare and "
    "save again.",
    "what.changed.line": "{label}: saved as {theirs}, here {mine}.",
    "what.paused": "{what}: paused since {time} by {by}. Nothing of it is sent.",
    # the count
    "what.count": "Selects {selected} of {all}; saving brings {in_} in and takes {out} out.",
    "what.count.same": "Selects {selected} of {all}; saving changes nothing about that.",
    "what.count.plain": "Selects {selected} of {all}.",
    "what.count.part": "The newest {looked} were looked at.",
    "what.count.none": "Not counted yet.",
    "what.count.off": "It is switched off, so it selects nothing.",
    "what.brings": "Saving brings in",
    "what.takes": "Saving takes out",
    "what.takes.help": "What is in Xero stays there; later changes aren't sent.",
    "what.which.more": "and {count} more.",
    "what.which.none": "Saving brings nothing in and takes nothing out.",
    # earlier cut-off
    "what.confirm": "This sends {what}: about {calls} and {minutes}, plus the contacts they need. "
    "Xero can't undo authorised, paid ones. Type “{organisation}” to go on.",
    "what.confirm.title": "Letting older documents in",
    "what.confirm.wrong": "Type “{organisation}” exactly as it stands here. Nothing was saved.",
    # which records
    "what.rule.all": "Every record goes.",
    "what.rule.ticked": "Only records with Allow Xero Sync ticked go.",
    "what.rule.status": "Records go once they have one of these statuses.",
    "what.rule.status.none": "This CRM's records of this kind have no status.",
    "what.rule.status.empty": "Choose at least one status, or another rule.",
    "what.created.help": "Records made before this day stay out, by the clocks of "
    "{organisation}. Empty: any day.",
    "what.dated.help": "Documents with an earlier date stay out. Empty: any day.",
    "what.route.help": "Only documents whose field has this value go to {organisation}; capitals "
    "don't matter. Empty: it takes all that no other organisation's condition takes.",
    "what.route.half": "Give both the field and its value, or leave both empty.",
    "what.route.yes_no": "{label} is ticked or not: write Yes or No.",
    # what becomes of them
    "what.target.DRAFT": "Somebody approves it in Xero.",
    "what.target.SUBMITTED": "It waits for approval in Xero.",
    "what.target.AUTHORISED": "It counts in the books at once.",
    "what.overwrites.help": "A {what} that was in Xero before keeps what it has there, but for "
    "these fields where the CRM has a value, and what changes in the CRM later.",
    "what.needed.add": "add them by themselves",
    "what.needed.wait": "wait",
    "what.needed.add.help": "What a document names goes first, ticked or not.",
    "what.needed.wait.help": "The document waits until somebody has sent what it names, and goes "
    "by itself then.",
    "what.locked.hold": "It fails and says so; Retry once the period is open.",
    "what.locked.first open day": "Xero gets the first day that isn't locked; the CRM keeps its "
    "own.",
    "what.locked.as draft": "Xero takes drafts of any day; somebody approves it there.",
    "what.locked.until": "Locked until {day}, as of {time}.",
    "what.locked.none": "Nothing is locked, as of {time}.",
    "what.deleted.leave": "What is in Xero stays there.",
    "what.deleted.status": "A draft is deleted, an authorised one voided. Xero can't undo that, "
    "and refuses it for paid ones.",
    "what.deleted.status.label": "delete or void in Xero",
    "what.deleted.archive": "Xero has no delete for {what}; they are archived.",
    "what.deleted.archive.label": "archive in Xero",
    "what.deleted.delete": "It is deleted in Xero; Xero refuses that once it is used.",
    "what.deleted.delete.label": "delete in Xero",
    "what.deleted.none": "Xero keeps {what} for good.",
    "what.deleted.none.label": "delete in Xero (not possible)",
    # when, and in which order
    "what.when.at once": "Within seconds of the change.",
    "what.when.every": "Together, by the clock: full calls and fewer of them.",
    "what.when.daily": "By the clocks of {organisation} ({zone}).",
    "what.when.by sync": "Somebody presses Sync.",
    "what.when.auto_off": "Auto-sync is off for {organisation}, so only Sync sends, whatever "
    "stands here.",
    "what.minutes.bad": "Choose {least} to {most} minutes.",
    "what.daily.none": "Give a time of day, such as 02:00.",
    "what.daily.bad": "{value} isn't a time of day. Write it like 02:00.",
    "what.order.normal": "Full calls; what fails waits alone, with what depends on it.",
    "what.order.strict": "One call at a time. What fails or waits holds everything behind it, "
    "until somebody mends it.",
    "what.retries.help": "How often the schedule takes a failed record again by itself. 0: only "
    "a person does.",
    "what.copied": "Filled in as {module} for {organisation} have it, not saved yet.",
    # Xero accounts
    "accounts.help": "What was read from Xero, and what uses it. Change it in Xero, then Refresh.",
    "accounts.none": "Nothing read yet.",
    "accounts.no_organisation": "No organisation is connected yet, so nothing was read.",
    "accounts.as_of": "{what} of {organisation} as of {time} ({age} ago).",
    "accounts.refreshed": "{organisation} was read from Xero ({calls}): {what}.",
    "accounts.empty": "{organisation} has none in Xero.",
    "accounts.no_match": "Nothing matches “{text}”.",
    "accounts.tracking": "{used} of 2 categories in use.",
    "accounts.unused": "–",
    "accounts.replace": "Replace {what} with another",
    "accounts.fix": "Replace it here, choose another in the mapping or on the product, or restore "
    "it in Xero, then Refresh.",
    "accounts.warnings": "One thing in use can't be used in Xero any more",
    "accounts.warnings.many": "{count} things in use can't be used in Xero any more",
    "replace.ask": "Everything here that names the {noun} {old} of {organisation} gets another. "
    "What is in Xero already stays as it is.",
    "replace.with": "Replace with",
    "replace.pick": "choose one",
    "replace.alike": "Of its kind",
    "replace.other": "Others",
    "replace.help": "Only what Xero takes in all of these mappings is listed. Each of them becomes "
    "a new version; Versions takes it back.",
    "replace.records.ours": "{records}: the account on them is changed too.",
    "replace.records.others": "They go to {organisations} too, with the same account. Whether it "
    "can be used there is looked at once you press Replace.",
    "replace.records.calls": "Sending them again takes at most {calls}.",
    "replace.records.lookup": "{records}: a lookup in the mapping decides the {noun} of these; "
    "change it in Mapping.",
    "replace.records.theirs": "{records}: they belong to your CRM, so change the {noun} there.",
    "replace.unused": "Nothing of {organisation} names it any more.",
    "replace.none": "{organisation} has no other {noun} that all of these can take. Add one in "
    "Xero, or restore this one, then Refresh.",
    "replace.choose": "Choose what stands instead from the list. Nothing was changed.",
    "replace.somebody": "Somebody",
    "replace.moved": "{who} changed the mapping {mapping} meanwhile, so it wasn't changed. Look at "
    "it here as it is now, and press Replace again.",
    "replace.unfit": "{mapping} can't take it: {why} Nothing was changed.",
    "replace.unfit.rest": "{mapping} can't take it: {why} It wasn't changed.",
    "replace.also.wrong": "{records} go to {organisation} too, which can't use {new}: {why}",
    "replace.also.named": "{records} go to {organisation} too, where account {new} is “{name}”.",
    "replace.also": "Nothing was changed. Choose another one, or press Replace once more to do it "
    "all the same.",
    "replace.records.failed": "{count} failed for it. Once it is replaced, they can be retried.",
    "replace.uncounted": "Who uses what couldn't be counted anew. Press Refresh on Xero Accounts.",
    "replace.done": "{noun} {old} is replaced by {new}{where}.",
    "replace.where.mappings": " in {mappings}",
    "replace.where.records": " on {records}",
    "replace.nothing": "Nothing names it any more, so nothing was changed.",
    "replace.failed": "{count} still {verb} for it.",
    "replace.retry": "Retry {count}?",
}
