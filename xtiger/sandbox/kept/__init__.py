"""What the local Xero remembers, and what its books begin with."""
