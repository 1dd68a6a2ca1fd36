"""The flow of a record; knows ports, store and domain only."""
