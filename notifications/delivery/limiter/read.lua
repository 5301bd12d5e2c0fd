-- Returns the room of windows within some time, the use of a day, and the waits of members. Takes nothing.
--
-- KEYS[1]: the epoch of a store that knows past calls. ARGV[1]: JSON (notifications/delivery/limiter/__init__.py).
local ask = cjson.decode(ARGV[1])
local present = epoch(KEYS[1])
if not present then
  return false
end
local now = ask.now
if now == nil then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local WINDOW, HOUR = 60010, 3600010
local MINUTE = 60000
-- More than any caller asks for; a whole number that Lua and Python can hold.
local UNLIMITED = 2 ^ 50
local rooms, used, waits = {}, {}, {}

local function of_limit(limit, scope)
  if scope.urgent then
    return limit
  end
  return limit - math.ceil(limit * scope.reserved / 100)
end

local function hour_room(scope)
  if scope.per_hour == 0 then
    return UNLIMITED
  end
  local first_minute = math.floor((now + ask.within - HOUR - ask.lease) / MINUTE)
  local taken = 0
  local stored = redis.call('HGETALL', scope.key .. ':hour')
  for position = 1, #stored, 2 do
    if tonumber(stored[position]) >= first_minute then
      taken = taken + tonumber(stored[position + 1])
    end
  end
  return of_limit(scope.per_hour, scope) - taken
end

for number, scope in ipairs(ask.scopes) do
  local hold = tonumber(redis.call('GET', scope.key .. ':hold') or '0')
  local taken = redis.call('ZCOUNT', scope.key, '(' .. (now + ask.within - WINDOW), '+inf')
  local room = hour_room(scope)
  if scope.limit > 0 then
    room = math.min(room, of_limit(scope.limit, scope) - taken)
  end
  if scope.respects_hold and hold > now + ask.within then
    room = 0
  end
  rooms[number] = math.max(0, room)
end
for number, budget in ipairs(ask.budgets) do
  local day = math.floor((now + 8 * 3600000) / 86400000)
  used[number] = tonumber(redis.call('GET', budget .. ':' .. day) or '0')
end
for number, key in ipairs(ask.members) do
  local count = redis.call('ZCOUNT', key, '(' .. (now - HOUR - ask.lease), '+inf')
  local wait = 0
  for _, rule in ipairs({ { ask.per_hour, HOUR }, { ask.per_minute, WINDOW } }) do
    if rule[1] > 0 and count >= rule[1] then
      local entry = redis.call('ZREVRANGE', key, rule[1] - 1, rule[1] - 1, 'WITHSCORES')
      wait = math.max(wait, tonumber(entry[2]) + rule[2] + ask.lease - now)
    end
  end
  waits[number] = math.max(0, math.ceil(wait))
end
return { present, now, rooms, used, waits }
