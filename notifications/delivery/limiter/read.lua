-- Returns how many calls of each scope may begin within some time, how much of each daily budget is used, and how long
-- each member must wait. Changes nothing.
--
-- KEYS[1]: the epoch of a store that knows past calls. ARGV[1]: JSON (notifications/delivery/limiter/__init__.py).
local arguments = cjson.decode(ARGV[1])
local current_epoch = epoch(KEYS[1])
if not current_epoch then
  return false
end
local now = arguments.now
if now == nil then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local WINDOW, HOUR = 60010, 3600010
local MINUTE = 60000
-- More than any caller asks for; a whole number that Lua and Python can hold.
local UNLIMITED = 2 ^ 50
local rooms, used, waits = {}, {}, {}

-- As in acquire.lua: a part is reserved for urgent calls, but ordinary calls may use at least one.
local function usable_part(limit, scope)
  if scope.urgent then
    return limit
  end
  return math.max(1, limit - math.ceil(limit * scope.reserved / 100))
end

local function find_room_in_hour(scope)
  if scope.per_hour == 0 then
    return UNLIMITED
  end
  local first_minute = math.floor((now + arguments.within - HOUR - arguments.lease) / MINUTE)
  local taken = 0
  local stored = redis.call('HGETALL', scope.key .. ':hour')
  for position = 1, #stored, 2 do
    if tonumber(stored[position]) >= first_minute then
      taken = taken + tonumber(stored[position + 1])
    end
  end
  return usable_part(scope.per_hour, scope) - taken
end

for number, scope in ipairs(arguments.scopes) do
  local hold = tonumber(redis.call('GET', scope.key .. ':hold') or '0')
  local taken = redis.call('ZCOUNT', scope.key, '(' .. (now + arguments.within - WINDOW), '+inf')
  local room = find_room_in_hour(scope)
  if scope.limit > 0 then
    room = math.min(room, usable_part(scope.limit, scope) - taken)
  end
  if scope.respects_hold and hold > now + arguments.within then
    room = 0
  end
  rooms[number] = math.max(0, room)
end
for number, budget in ipairs(arguments.budgets) do
  local day = math.floor((now + 8 * 3600000) / 86400000)
  used[number] = tonumber(redis.call('GET', budget .. ':' .. day) or '0')
end
for number, key in ipairs(arguments.members) do
  local count = redis.call('ZCOUNT', key, '(' .. (now - HOUR - arguments.lease), '+inf')
  local wait = 0
  for _, rule in ipairs({ { arguments.per_hour, HOUR }, { arguments.per_minute, WINDOW } }) do
    if rule[1] > 0 and count >= rule[1] then
      local entry = redis.call('ZREVRANGE', key, rule[1] - 1, rule[1] - 1, 'WITHSCORES')
      wait = math.max(wait, tonumber(entry[2]) + rule[2] + arguments.lease - now)
    end
  end
  waits[number] = math.max(0, math.ceil(wait))
end
return { current_epoch, now, rooms, used, waits }
