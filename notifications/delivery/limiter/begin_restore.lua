-- Begins to fill a store that knows nothing of the past. KEYS: the mark, the lock. ARGV: a token, the lock's seconds.
-- Answers 'known' where it knows the past already, false while somebody else fills it, else under whose identity to do it.
if epoch(KEYS[1]) then
  return 'known'
end
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'EX', ARGV[2]) then
  return false
end
redis.call('DEL', KEYS[1])
return identity()
