"""The queue's promises, tried by hypothesis: the engine between a model CRM and a model Xero."""
