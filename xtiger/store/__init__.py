"""Tables, and the SQL that gives the queue its meaning."""
