-- Ends what the store knows of the past, because its clock was moved. KEYS[1]: the mark. ARGV[1]: JSON with the `epoch` that
-- is to end, the `step` of the clock in milliseconds, and the `kept` keys: what was asked of us for a time lasts as long as
-- before. Answers 1, or false where the mark is another one already.
local said = cjson.decode(ARGV[1])
if redis.call('GET', KEYS[1]) ~= said.epoch then
  return false
end
redis.call('DEL', KEYS[1])
for _, key in ipairs(said.kept) do
  local left, value = redis.call('PTTL', key) + said.step, redis.call('GET', key)
  if value and left > 0 then
    if string.sub(key, -5) == ':hold' then
      value = tonumber(value) + said.step
    end
    redis.call('SET', key, string.format('%.0f', value), 'PX', string.format('%.0f', left))
  end
end
return 1
