"""OAuth2 as Xero has it: who calls, consent, tokens, connections."""
