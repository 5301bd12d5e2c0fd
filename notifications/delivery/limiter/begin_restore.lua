-- Begins to fill a store that does not know past calls. KEYS: the epoch, the lock. ARGV: a token, the lock's seconds.
-- Returns 'known' if the store knows them already, false while another worker fills it, else the store's identity.
if epoch(KEYS[1]) then
  return 'known'
end
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'EX', ARGV[2]) then
  return false
end
redis.call('DEL', KEYS[1])
return identity()
