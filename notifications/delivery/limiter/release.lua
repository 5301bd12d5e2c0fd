-- Records that calls ended now. Calls whose entry has left the window, or whose store was emptied, are skipped.
-- ARGV[1]: JSON with `now` (tests only) and `ended`: window, call, window, call …
local arguments = cjson.decode(ARGV[1])
local now = arguments.now
if now == nil then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
for position = 1, #arguments.ended, 2 do
  redis.call('ZADD', arguments.ended[position], 'XX', now, arguments.ended[position + 1])
end
return now
