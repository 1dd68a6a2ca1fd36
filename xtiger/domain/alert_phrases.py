"""What alerts say, in each language; causes stay as they were logged."""

from __future__ import annotations

from typing import Any

from xtiger.domain import phrases

#: A phrase for one alone stands under the same name with `.one` behind, for none with `.none`.
_EN = {
    "waits": "{count} records wait",
    "waits.one": "1 record waits",
    "waits.none": "no record waits",
    "goes": "{count} records wait and go on at about {time}",
    "goes.one": "1 record waits and goes on at about {time}",
    "goes.none": "no record waits; it goes on at about {time}",
    "way": "{count} records are on their way",
    "way.one": "1 record is on its way",
    "way.none": "nothing was held up",
    "names": "{first} and {count} more",
    "all": "everything",
    "module": "{module} for {name}",
    "hours": "{count} h",
    "causes": "{count} causes",
    "causes.one": "one cause",
    "again": "If nothing changes, you hear of it again on {time}.",
    "lasted": "It lasted {length}.",
    "more": "and {count} more.",
    "more.one": "and 1 more.",
    "largest": "The most of them: {sentence}",
    "first": "First: {labels}",
    "first.more": "First: {labels} and {count} more",
    "first.more.one": "First: {labels} and 1 more",
    # disconnected
    "disconnected.subject": "[XTiger] {name} is disconnected: {waits}",
    "disconnected.subject.many": "[XTiger] {name} are disconnected: {waits}",
    "disconnected.sentence": "XTiger can't reach {name}: its consent ended {time}. {Waits}.",
    "disconnected.sentence.removed": "XTiger can't reach {name} since {time}. {Waits}.",
    "disconnected.advice": "{why} XTiger then goes on by itself.",
    "disconnected.link": "Reconnect",
    "disconnected.over": "[XTiger] {name} is connected again; {way}",
    "disconnected.over.many": "[XTiger] {name} are connected again; {way}",
    "disconnected.over.sentence": "{name} is connected again; {way}.",
    # worker
    "worker.subject": "[XTiger] No worker is running: {waits}",
    "worker.sentence": "No worker is running since {time}: nothing is sent. {Waits}.",
    "worker.advice": "It ended without being told to. Start it again (xtiger serve, xtiger worker, "
    "or what starts it on your machine): it goes on where it stopped, and nothing is lost.",
    "worker.link": "Open the Queue",
    "worker.over": "[XTiger] A worker is running again; {way}",
    "worker.over.sentence": "A worker is running again; {way}.",
    # nothing
    "nothing.subject": "[XTiger] Nothing sent for {length} although {waits}",
    "nothing.subject.of": "[XTiger] Nothing sent to {name} for {length} although {waits}",
    "nothing.sentence": "Nothing was sent to {name} for {length} although {waits}.",
    "nothing.sentence.all": "Nothing was looked at for {length} although {waits}.",
    "nothing.sentence.no worker": "Nothing was sent for {length} although {waits}: no worker is "
    "running.",
    "nothing.advice": "The Queue says of each record what it waits for.",
    "nothing.advice.why": "The last try ended so: “{why}” The Queue says of each record what it "
    "waits for.",
    "nothing.advice.no worker": "Start xtiger serve or xtiger worker, or let xtiger sync --due run "
    "by itself: it goes on where it stopped.",
    "nothing.link": "Open the Queue",
    "nothing.over": "[XTiger] Records go to {name} again; {way}",
    "nothing.over.all": "[XTiger] Records go again; {way}",
    "nothing.over.sentence": "Records go to {name} again; {way}.",
    "nothing.over.sentence.all": "Records go again; {way}.",
    # day limit
    "day_limit.subject": "[XTiger] {name} has used up today's calls: {waits}",
    "day_limit.subject.many": "[XTiger] {name} have used up today's calls: {waits}",
    "day_limit.sentence": "Today's calls to {name} are used up. {Waits}.",
    "day_limit.sentence.until": "Today's calls to {name} are used up. {goes}.",
    "day_limit.advice": "XTiger goes on by itself, in order. Where it happens often, a larger tier "
    "of Xero allows more calls a day.",
    "day_limit.link": "Open the Queue",
    "day_limit.over": "[XTiger] {name} takes calls again; {way}",
    "day_limit.over.many": "[XTiger] {name} take calls again; {way}",
    "day_limit.over.sentence": "{name} takes calls again; {way}.",
    # failures
    "failures.subject": "[XTiger] {name}: {count} records fail for {causes}",
    "failures.subject.one": "[XTiger] {name}: 1 record fails for {causes}",
    "failures.sentence": "{name}: {count} records fail for {causes}.",
    "failures.sentence.one": "{name}: 1 record fails for {causes}.",
    "failures.advice": "Mend the cause, then retry all of it: each record goes in its old place.",
    "failures.link": "Open the Queue",
    "failures.over": "[XTiger] {name}: no record fails any more for {causes}",
    "failures.over.out": "[XTiger] {name}: what failed for {causes} was taken out of the queue",
    "failures.over.sentence": "{name}: no record fails any more for {causes}.",
    "failures.out": "All of it was taken out of the queue.",
    "failures.retried": "{name}: what failed for {causes} waits to be tried again.",
    # paused
    "paused.subject": "[XTiger] Paused for {length}: {name}, {waits}",
    "paused.sentence": "Paused since {time} by {who}: {name}. {Waits}.",
    "paused.advice": "Resume it on the Queue's page: all goes on in its old order.",
    "paused.link": "Open the Queue",
    "paused.over": "[XTiger] Resumed: {name}; {way}",
    "paused.over.sentence": "Resumed: {name}; {way}.",
    # webhooks
    "webhooks.subject": "[XTiger] No webhook from Xero for {length}: {name}",
    "webhooks.sentence": "Xero's webhooks told of {name} until {time}, and tell no more although "
    "records changed there since.",
    "webhooks.advice": "Look at the webhook's status in your app at developer.xero.com: Xero "
    "switches one off that was not answered for 24 h. Send the intent to receive again there.",
    "webhooks.link": "API details",
    "webhooks.over": "[XTiger] Xero's webhooks come again: {name}",
    "webhooks.over.sentence": "Xero's webhooks come again: {name}.",
    # mail, told on the Dashboard alone
    "mail.sentence": "{count} mails couldn't be sent since {time}: {why}",
    "mail.sentence.one": "1 mail couldn't be sent since {time}: {why}",
}
_DE = {
    "waits": "{count} Datensätze warten",
    "waits.one": "1 Datensatz wartet",
    "waits.none": "kein Datensatz wartet",
    "goes": "{count} Datensätze warten und gehen weiter (etwa {time})",
    "goes.one": "1 Datensatz wartet und geht weiter (etwa {time})",
    "goes.none": "kein Datensatz wartet; es geht weiter (etwa {time})",
    "way": "{count} Datensätze sind unterwegs",
    "way.one": "1 Datensatz ist unterwegs",
    "way.none": "nichts wurde aufgehalten",
    "names": "{first} und {count} weitere",
    "all": "alles",
    "module": "{module} für {name}",
    "hours": "{count} h",
    "causes": "{count} Ursachen",
    "causes.one": "eine Ursache",
    "again": "Ändert sich nichts, hören Sie am {time} wieder davon.",
    "lasted": "Es dauerte {length}.",
    "more": "und {count} weitere.",
    "more.one": "und 1 weitere.",
    "largest": "Die meisten davon: {sentence}",
    "first": "Zuerst: {labels}",
    "first.more": "Zuerst: {labels} und {count} weitere",
    "first.more.one": "Zuerst: {labels} und 1 weiterer",
    "disconnected.subject": "[XTiger] {name} ist nicht verbunden: {waits}",
    "disconnected.subject.many": "[XTiger] {name} sind nicht verbunden: {waits}",
    "disconnected.sentence": "XTiger erreicht {name} nicht: Die Zustimmung endete am {time}. "
    "{Waits}.",
    "disconnected.sentence.removed": "XTiger erreicht {name} seit {time} nicht. {Waits}.",
    "disconnected.advice": "{why} XTiger geht danach von selbst weiter.",
    "disconnected.link": "Neu verbinden",
    "disconnected.over": "[XTiger] {name} ist wieder verbunden; {way}",
    "disconnected.over.many": "[XTiger] {name} sind wieder verbunden; {way}",
    "disconnected.over.sentence": "{name} ist wieder verbunden; {way}.",
    "worker.subject": "[XTiger] Kein Worker läuft: {waits}",
    "worker.sentence": "Seit {time} läuft kein Worker: Nichts wird übertragen. {Waits}.",
    "worker.advice": "Er wurde nicht ordentlich beendet. Starten Sie ihn wieder (xtiger serve, "
    "xtiger worker oder was ihn auf Ihrer Maschine startet): Er geht weiter, wo er aufhörte; "
    "nichts ist verloren.",
    "worker.link": "Warteschlange öffnen",
    "worker.over": "[XTiger] Ein Worker läuft wieder; {way}",
    "worker.over.sentence": "Ein Worker läuft wieder; {way}.",
    "nothing.subject": "[XTiger] Seit {length} nichts übertragen, obwohl {waits}",
    "nothing.subject.of": "[XTiger] {name}: seit {length} nichts übertragen, obwohl {waits}",
    "nothing.sentence": "Seit {length} wurde nichts an {name} übertragen, obwohl {waits}.",
    "nothing.sentence.all": "Seit {length} wurde nichts angesehen, obwohl {waits}.",
    "nothing.sentence.no worker": "Seit {length} wurde nichts übertragen, obwohl {waits}: Kein "
    "Worker läuft.",
    "nothing.advice": "Die Warteschlange sagt zu jedem Datensatz, worauf er wartet.",
    "nothing.advice.why": "Der letzte Versuch endete so: „{why}“ Die Warteschlange sagt zu jedem "
    "Datensatz, worauf er wartet.",
    "nothing.advice.no worker": "Starten Sie xtiger serve oder xtiger worker, oder lassen Sie "
    "xtiger sync --due von selbst laufen: Es geht weiter, wo es aufhörte.",
    "nothing.link": "Warteschlange öffnen",
    "nothing.over": "[XTiger] {name} wird wieder beliefert; {way}",
    "nothing.over.all": "[XTiger] Es wird wieder übertragen; {way}",
    "nothing.over.sentence": "{name} wird wieder beliefert; {way}.",
    "nothing.over.sentence.all": "Es wird wieder übertragen; {way}.",
    "day_limit.subject": "[XTiger] Die Aufrufe für heute sind verbraucht: {name}, {waits}",
    "day_limit.subject.many": "[XTiger] Die Aufrufe für heute sind verbraucht: {name}, {waits}",
    "day_limit.sentence": "Die Aufrufe für heute sind verbraucht: {name}. {Waits}.",
    "day_limit.sentence.until": "Die Aufrufe für heute sind verbraucht: {name}. {goes}.",
    "day_limit.advice": "XTiger geht von selbst weiter, der Reihe nach. Kommt es oft vor, erlaubt "
    "ein größerer Tarif von Xero mehr Aufrufe am Tag.",
    "day_limit.link": "Warteschlange öffnen",
    "day_limit.over": "[XTiger] {name} nimmt wieder Aufrufe an; {way}",
    "day_limit.over.many": "[XTiger] {name} nehmen wieder Aufrufe an; {way}",
    "day_limit.over.sentence": "{name} nimmt wieder Aufrufe an; {way}.",
    "failures.subject": "[XTiger] {name}: {count} Datensätze scheitern, {causes}",
    "failures.subject.one": "[XTiger] {name}: 1 Datensatz scheitert, {causes}",
    "failures.sentence": "{name}: {count} Datensätze scheitern, {causes}.",
    "failures.sentence.one": "{name}: 1 Datensatz scheitert, {causes}.",
    "failures.advice": "Beheben Sie die Ursache, dann versuchen Sie alles davon erneut: Jeder "
    "Datensatz geht an seinem alten Platz.",
    "failures.link": "Warteschlange öffnen",
    "failures.over": "[XTiger] {name}: kein Datensatz scheitert mehr ({causes})",
    "failures.over.out": "[XTiger] {name}: Gescheitertes wurde aus der Warteschlange genommen "
    "({causes})",
    "failures.over.sentence": "{name}: Kein Datensatz scheitert mehr ({causes}).",
    "failures.out": "Alles davon wurde aus der Warteschlange genommen.",
    "failures.retried": "{name}: Gescheitertes wartet auf einen neuen Versuch ({causes}).",
    "paused.subject": "[XTiger] Seit {length} angehalten: {name}, {waits}",
    "paused.sentence": "Seit {time} angehalten von {who}: {name}. {Waits}.",
    "paused.advice": "Setzen Sie es auf der Seite Queue fort: Alles geht in seiner alten Ordnung.",
    "paused.link": "Warteschlange öffnen",
    "paused.over": "[XTiger] Fortgesetzt: {name}; {way}",
    "paused.over.sentence": "Fortgesetzt: {name}; {way}.",
    "webhooks.subject": "[XTiger] Seit {length} kein Webhook von Xero: {name}",
    "webhooks.sentence": "Xeros Webhooks meldeten {name} bis {time} und melden nichts mehr, obwohl "
    "sich dort seither Datensätze änderten.",
    "webhooks.advice": "Sehen Sie den Stand des Webhooks in Ihrer App unter developer.xero.com "
    "nach: Xero schaltet einen ab, der 24 h lang nicht beantwortet wurde. Schicken Sie dort das "
    "„intent to receive“ erneut.",
    "webhooks.link": "API details",
    "webhooks.over": "[XTiger] Xeros Webhooks kommen wieder: {name}",
    "webhooks.over.sentence": "Xeros Webhooks kommen wieder: {name}.",
    "mail.sentence": "{count} Mails konnten seit {time} nicht gesendet werden: {why}",
    "mail.sentence.one": "1 Mail konnte seit {time} nicht gesendet werden: {why}",
}
SAID = {"en": _EN, "de": _DE}


def say(language: str, phrase: str, /, **values: Any) -> str:
    """A phrase of alerts with its values filled in; whole numbers get their separators.

    `count` chooses between none, one and many. A language nobody knows is English. Raises
    KeyError for a phrase that isn't there.
    """
    return phrases.filled(SAID.get(language, _EN), language, phrase, values)


def opening(sentence: str) -> str:
    """A sentence with a capital at its beginning, whatever name begins it."""
    return sentence[:1].upper() + sentence[1:]
