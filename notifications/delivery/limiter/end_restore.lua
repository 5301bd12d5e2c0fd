-- Marks the store as knowing past calls, if this worker has its lock and it is the same store. KEYS: epoch, lock.
-- ARGV: the token, the identity. Returns 1, or false.
if redis.call('GET', KEYS[2]) ~= ARGV[1] or identity() ~= ARGV[2] then
  return false
end
redis.call('SET', KEYS[1], ARGV[2] .. ARGV[1])
redis.call('DEL', KEYS[2])
return 1
