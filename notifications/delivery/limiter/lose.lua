-- Forgets that the store knows past calls, because its clock was set. KEYS[1]: the epoch. ARGV[1]: JSON: the `epoch`
-- to end, the `step` of the clock in milliseconds, and the `kept` keys, whose waits are moved so that they last as long
-- as before. Returns 1, or false if the epoch has changed.
local arguments = cjson.decode(ARGV[1])
if redis.call('GET', KEYS[1]) ~= arguments.epoch then
  return false
end
redis.call('DEL', KEYS[1])
for _, key in ipairs(arguments.kept) do
  local left, value = redis.call('PTTL', key) + arguments.step, redis.call('GET', key)
  if value and left > 0 then
    if string.sub(key, -5) == ':hold' then
      value = tonumber(value) + arguments.step
    end
    redis.call('SET', key, string.format('%.0f', value), 'PX', string.format('%.0f', left))
  end
end
return 1
