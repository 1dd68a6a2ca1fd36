"""XTiger keeps a CRM and Xero in step, record by record, through a queue people can see."""

__version__ = "0.1.0"
