"""Five real minutes against the 60-a-minute window, beside what the window allows at best."""

from __future__ import annotations

import sys
import time
from math import ceil
from uuid import uuid4

from tests.benchmarks.calls import local_xero
from xtiger.domain import exactjson
from xtiger.domain.errors import TransientError
from xtiger.domain.resources import Resource, Verb
from xtiger.ports import Call


def main(windows: int = 6) -> None:
    """Uses up so many windows, one call after another (six: five minutes); prints the time."""
    count = 60 * windows
    with local_xero("--enforce-limits") as xero:
        client, access = xero.client(), xero.access()
        began, sent, refused = time.monotonic(), 0, 0
        while sent < count:
            body = exactjson.dumps({"Contacts": [{"Name": f"P {uuid4()}"}]})
            call = Call(Resource.CONTACTS, Verb.CREATE, body, str(uuid4()), 1)
            try:
                answer = client.save_many(access, call)
            except TransientError as wait:
                refused += wait.retry_after is None
                time.sleep(wait.retry_after or 1)
                continue
            assert answer.elements[0].stored
            sent += 1
        took = time.monotonic() - began
        client.close()
    least = (ceil(count / 60) - 1) * 60
    print(f"{count} calls in {took:.1f} s; the windows allow {least} s: {took / least:.3f}")


if __name__ == "__main__":
    main(*(int(one) for one in sys.argv[1:]))
