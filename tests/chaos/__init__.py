"""The kill test: `python -m tests.chaos` kills real workers and then counts what Xero holds."""
