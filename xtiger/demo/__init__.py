"""XTiger on one machine, whole: small CRM, local Xero and mail sink, for trying and for proving."""
