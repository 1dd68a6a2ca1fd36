"""Xero's API over HTTP: consent, calls, errors."""
