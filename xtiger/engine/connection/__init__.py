"""The connection to Xero: consent, tokens, webhooks, and what rules need to know of it."""
