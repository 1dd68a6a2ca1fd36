"""The sentences of Mapping; `words` adds them to the catalogue."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    # mapping
    "mapping.help": "Where each Xero field's value comes from, proved on a real record.",
    "mapping.none": "No mapping template is in use for {module} yet. Choose an organisation first.",
    "mapping.unmade": "No mapping for this yet: Auto-map proposes one, Save makes it v1.",
    "mapping.version": "v{version}, {author}, ",
    "mapping.no_record": "No {singular} to show yet; results use an invented one.",
    "mapping.not_found": "No {singular} is called “{words}”. Results are those of {label}.",
    "mapping.fields.of": "{what} fields",
    "mapping.fields.line": "Fields of a line",
    "mapping.required": "Required by Xero: choose a field or a fixed value.",
    "mapping.several.none": "Choose a CRM field, a fixed value or a transform.",
    "mapping.setting.none": "Fill in “{label}”.",
    "mapping.table.twice": "“{value}” stands in the table twice.",
    "mapping.category.none": "choose a category",
    "mapping.category.gone": "{name} (not active in Xero)",
    "mapping.category.unread": "Xero's tracking categories haven't been read yet: Xero Accounts, "
    "Refresh.",
    "mapping.amounts.help": "The CRM fields that amounts are counted from. XTiger sends lines from "
    "which Xero counts the CRM's total to the cent.",
    "mapping.taxes.help": "XTiger takes the tax rate in Xero that has the CRM's percentage and "
    "that the line's account may carry. Choose one here to take another, or where several fit.",
    "mapping.taxes.unread": "Xero's tax rates haven't been read yet.",
    "mapping.unsent.none": "Every CRM field is sent.",
    "mapping.proposed": "{count} proposed. Look at the results, then Save.",
    "mapping.proposed.none": "Nothing to propose: no CRM field fits an empty Xero field.",
    "mapping.faults": "{count} to correct. Nothing was saved.",
    "mapping.saved": "Saved as v{version}.",
    "mapping.saved.same": "Nothing is different from v{version}; it stays in use.",
    "mapping.restored": "v{old} is in use again, as v{version}.",
    "mapping.copied": "Copied from {organisation} as v{version}.",
    "mapping.copied.same": "{organisation} has exactly this mapping already.",
    "mapping.copied.faults": "This is the mapping of {organisation}, not saved here yet: correct "
    "what doesn't fit, then Save.",
    "mapping.imported": "Imported, not saved yet. Look at the results, then Save.",
    "mapping.imported.tests": "{count} came with it.",
    "mapping.import.none": "Choose a file, or paste its text.",
    "mapping.change": "{count} in Xero would change; they aren't sent until you add them.",
    "mapping.change.none": "No record in Xero would change.",
    "mapping.change.part": "Of {looked} looked at, {count} in Xero would change; they aren't sent "
    "until you add them.",
    "mapping.change.test": "Saving this, {count} in Xero would change.",
    "mapping.change.test.part": "Saving this, {count} of {looked} looked at in Xero would change.",
    "mapping.broken": "{count} in Xero couldn't be sent any more: {label}: {why}",
    "mapping.stale": "{who} saved this at {time}. Your entries are below, unsaved; compare and "
    "save again.",
    "mapping.test.sent": "Nothing was sent.",
    "mapping.test.choose": "Choose one to five records to test.",
    "mapping.test.good": "XTiger finds nothing that Xero would refuse.",
    "mapping.test.create": "It would be created in Xero.",
    "mapping.test.update": "It would be changed in Xero.",
    "mapping.test.none": "Xero has exactly this already: no call.",
    "mapping.test.missing": "It needs {what} in Xero first; until then its id is noughts here.",
    "mapping.totals": "Xero counts {theirs}, the CRM {ours}: difference {difference}.",
    "mapping.kept": "Kept as the test “{name}”. It runs on each save.",
    "mapping.kept.full": "A mapping keeps {most} tests. Remove one first.",
    "mapping.kept.none": "No test is kept yet. Test a record, then keep it: a save that makes "
    "other values of it is refused.",
    "mapping.kept.dropped": "The test “{name}” is removed.",
    "mapping.kept.differs": "The test “{name}” fails: {field} is {made}, {expected} is expected.",
    "mapping.kept.nothing": "empty",
    "mapping.kept.fault": "The test “{name}” fails: {why}",
    "mapping.kept.more": "{count} more of its values differ.",
    "mapping.kept.help": "Correct the mapping, or remove the test if it asks for what isn't wanted "
    "any more.",
    "mapping.versions.none": "No version yet.",
    "mapping.versions.help": "Every version stays. Restoring makes a new version of an old one.",
    "mapping.versions.same": "They have the same content.",
    "mapping.versions.gone": "There is no version {number}.",
    # checks of a mapping
    "check.map.required": "required fields have a value",
    "check.map.required.no": "{count} required by Xero without a value",
    "check.map.unread": "accounts and tax rates haven't been read yet",
    "check.map.taxes": "tax fields mapped",
    "check.map.taxes.no": "tax fields not mapped: choose one under Amounts and taxes",
    "check.map.rates": "rates equal Xero's",
    "check.map.rates.differ.no": "CRM tax “{label}” is {rate} %, Xero's {tax} is {theirs} %.",
    "check.map.rates.none.no": "CRM tax “{label}” is {rate} %; Xero has no rate of {rate} %.",
    "check.map.accounts": "accounts exist",
    "check.map.accounts.wrong.no": "{sentence}",
    "check.map.blank.no": "{count} {has} no {what}",
    "check.map.blank.part.no": "of the newest {most}, {count} {has} no {what}",
}
