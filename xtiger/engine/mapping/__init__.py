"""Mappings at work: tried, checked, saved, proved, and what of Xero they use."""
