-- Writes past calls into the windows. KEYS[1]: the lock. ARGV[1]: JSON with `now` (tests only), `token`, `identity`,
-- `seconds` of the lock, and `calls`. Returns false if the lock is no longer ours, or the store is another one.
local said = cjson.decode(ARGV[1])
local now = said.now
if now == nil then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
if redis.call('GET', KEYS[1]) ~= said.token or identity() ~= said.identity then
  return false
end
redis.call('EXPIRE', KEYS[1], said.seconds)
local WINDOW, HOUR, DAY = 60010, 3600010, 86400000
local day = math.floor((now + 8 * 3600000) / DAY)
for _, call in ipairs(said.calls) do
  local ended = now - call.ago
  for _, key in ipairs(call.windows) do
    redis.call('ZADD', key, ended, call.id)
    redis.call('PEXPIRE', key, WINDOW + said.lease + 1000)
  end
  for _, key in ipairs(call.hours) do
    redis.call('HINCRBY', key .. ':hour', math.floor(math.min(now, ended) / 60000), 1)
    redis.call('PEXPIRE', key .. ':hour', HOUR + said.lease + 60000)
  end
  for _, key in ipairs(call.members) do
    redis.call('ZADD', key, math.min(now, ended), call.id)
    redis.call('PEXPIRE', key, HOUR + said.lease)
  end
  if call.budget ~= nil then
    redis.call('INCRBY', call.budget .. ':' .. day, call.persons)
    redis.call('PEXPIRE', call.budget .. ':' .. day, 2 * DAY)
  end
end
return #said.calls
