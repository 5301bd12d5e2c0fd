-- Removes calls that were not made from windows and days. KEYS[1]: the epoch of a store that knows past calls. ARGV[1]:
-- JSON with `now` (tests only) and `unused`: the epoch of each permit, its id, windows, day and persons. Permits of an
-- earlier epoch are skipped: a refilled store holds only calls that were made.
local said = cjson.decode(ARGV[1])
local now = said.now
if now == nil then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local day = math.floor((now + 8 * 3600000) / 86400000)
local present = epoch(KEYS[1])
for _, call in ipairs(said.unused) do
  if call.epoch == present then
    for _, key in ipairs(call.windows) do
      redis.call('ZREM', key, call.id)
    end
    if call.budget ~= nil then
      redis.call('DECRBY', call.budget .. ':' .. day, call.persons)
    end
  end
end
return 1
