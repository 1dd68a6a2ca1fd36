"""Alerts: what is wrong now, who is told, in which words, and that it is over."""
