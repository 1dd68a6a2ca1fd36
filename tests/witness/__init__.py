"""Watches every exchange with the local Xero during a test run and checks all of them."""
