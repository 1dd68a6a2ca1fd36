"""What keeps an installation well: the doctor, retention, new keys, heartbeats, figures."""
