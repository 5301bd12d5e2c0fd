-- Answers the mark of a store that knows the past (KEYS[1]), or false.
return epoch(KEYS[1]) or false
