"""A local Xero: a second, independent reading of Xero's contract, with its own process and port."""

from xtiger.sandbox.server import Running, create_app, start

__all__ = ["Running", "create_app", "start"]
