"""The queue's promises, tried by hypothesis: the real engine between a model CRM and a model Xero."""
