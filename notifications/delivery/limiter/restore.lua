-- Writes past calls into windows, hours, members and daily budgets. KEYS[1]: the lock. ARGV[1]: JSON with `now` (tests
-- only), `token`, `identity`, `seconds` of the lock, and `calls`. Returns false if another worker has the lock, or the
-- store is another one.
local arguments = cjson.decode(ARGV[1])
local now = arguments.now
if now == nil then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
if redis.call('GET', KEYS[1]) ~= arguments.token or identity() ~= arguments.identity then
  return false
end
redis.call('EXPIRE', KEYS[1], arguments.seconds)
local WINDOW, HOUR, DAY = 60010, 3600010, 86400000
local day = math.floor((now + 8 * 3600000) / DAY)
for _, call in ipairs(arguments.calls) do
  local ended = now - call.ago
  for _, key in ipairs(call.windows) do
    redis.call('ZADD', key, ended, call.id)
    redis.call('PEXPIRE', key, WINDOW + arguments.lease + 1000)
  end
  for _, key in ipairs(call.hours) do
    redis.call('HINCRBY', key .. ':hour', math.floor(math.min(now, ended) / 60000), 1)
    redis.call('PEXPIRE', key .. ':hour', HOUR + arguments.lease + 60000)
  end
  for _, key in ipairs(call.members) do
    redis.call('ZADD', key, math.min(now, ended), call.id)
    redis.call('PEXPIRE', key, HOUR + arguments.lease)
  end
  if call.budget ~= nil then
    redis.call('INCRBY', call.budget .. ':' .. day, call.persons)
    redis.call('PEXPIRE', call.budget .. ':' .. day, 2 * DAY)
  end
end
return #arguments.calls
