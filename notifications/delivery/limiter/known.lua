-- Returns the epoch of a store that knows past calls (KEYS[1]), or false.
return epoch(KEYS[1]) or false
