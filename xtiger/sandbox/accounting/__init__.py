"""Xero's Accounting API: every endpoint, its rules and its arithmetic."""
