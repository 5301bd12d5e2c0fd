-- Forgets what the store holds, before it is filled. KEYS[1]: the lock. ARGV[1]: JSON with `token`, `identity`, `seconds` of
-- the lock, and the `keys` to forget. Answers false where the lock is not ours any more, or the store another.
local said = cjson.decode(ARGV[1])
if redis.call('GET', KEYS[1]) ~= said.token or identity() ~= said.identity then
  return false
end
redis.call('EXPIRE', KEYS[1], said.seconds)
for _, key in ipairs(said.keys) do
  redis.call('UNLINK', key)
end
return 1
