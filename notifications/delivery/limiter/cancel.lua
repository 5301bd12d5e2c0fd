-- Removes calls that were not made from windows and daily budgets. KEYS[1]: the epoch of a store that knows past calls.
-- ARGV[1]: JSON with `now` (tests only) and `unused`: epoch, id, windows, budget and persons of each permit. Permits of
-- an earlier epoch are skipped: a refilled store contains only calls that were made.
local arguments = cjson.decode(ARGV[1])
local now = arguments.now
if now == nil then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local day = math.floor((now + 8 * 3600000) / 86400000)
local current_epoch = epoch(KEYS[1])
for _, call in ipairs(arguments.unused) do
  if call.epoch == current_epoch then
    for _, key in ipairs(call.windows) do
      redis.call('ZREM', key, call.id)
    end
    if call.budget ~= nil then
      redis.call('DECRBY', call.budget .. ':' .. day, call.persons)
    end
  end
end
return 1
