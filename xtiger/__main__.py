"""`python -m xtiger`."""

from xtiger.cli import main

main()
