"""Reports by mail: who hears of what, its figures and words, and the mails that wait."""
