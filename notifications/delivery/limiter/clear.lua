-- Deletes keys of the store before it is filled. KEYS[1]: the lock. ARGV[1]: JSON with `token`, `identity`, `seconds`
-- of the lock, and `keys`. Returns false if another worker has the lock, or the store is another one.
local arguments = cjson.decode(ARGV[1])
if redis.call('GET', KEYS[1]) ~= arguments.token or identity() ~= arguments.identity then
  return false
end
redis.call('EXPIRE', KEYS[1], arguments.seconds)
for _, key in ipairs(arguments.keys) do
  redis.call('UNLINK', key)
end
return 1
