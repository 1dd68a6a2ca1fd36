"""Templates of the XTiger blueprint, under the inner folder `xtiger/`."""
