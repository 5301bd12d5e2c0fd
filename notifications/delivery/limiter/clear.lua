-- Deletes keys of the store before it is filled. KEYS[1]: the lock. ARGV[1]: JSON with `token`, `identity`, `seconds`
-- of the lock, and `keys`. Returns false if the lock is no longer ours, or the store is another one.
local said = cjson.decode(ARGV[1])
if redis.call('GET', KEYS[1]) ~= said.token or identity() ~= said.identity then
  return false
end
redis.call('EXPIRE', KEYS[1], said.seconds)
for _, key in ipairs(said.keys) do
  redis.call('UNLINK', key)
end
return 1
