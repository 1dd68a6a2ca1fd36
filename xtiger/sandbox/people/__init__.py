"""Pages for people: the books, the calls, and what may go wrong."""
