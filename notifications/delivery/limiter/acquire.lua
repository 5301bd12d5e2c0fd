-- Grants calls in order. A call is granted only if every limit has room for it, and is then counted in all of them.
--
-- A window is a sorted set with one entry per call. The score is when the call ended or, while it is under way, when
-- its lease ends. WeCom counts a call when it arrives, some time between its beginning and its end. Here it is counted
-- until 60 s after its end, so no 60 s at WeCom can exceed the limit, however long calls take to arrive.
--
-- Hours are counted by minute, in a hash with the number of calls that began in each minute: single calls would be half
-- a million entries. All calls of a minute leave the hour together, an hour and a lease after the minute's end.
--
-- KEYS[1]: the epoch of a store that knows past calls. ARGV[1]: JSON (notifications/delivery/limiter/__init__.py).
-- Returns false if the epoch is not this store's (epoch.lua), else the epoch, the time, and for each call the
-- milliseconds to wait; 0 means granted.
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
-- Ten milliseconds more, so that rounding down never allows one call too many.
local WINDOW, HOUR, DAY = 60010, 3600010, 86400000
local CHINA = 8 * 3600000
local lease_end = now + arguments.lease

-- Returns the part of the limit that the call may use: a part is reserved for urgent calls.
local function usable_part(limit, scope, is_urgent)
  if is_urgent or scope.reserved == 0 then
    return limit
  end
  return math.max(1, limit - math.ceil(limit * scope.reserved / 100))
end

local MINUTE = 60000
local this_minute = math.floor(now / MINUTE)
local first_minute = math.floor((now - HOUR - arguments.lease) / MINUTE)

-- Returns the calls of the hour by minute, the oldest first, and removes older minutes.
local function minutes_of(key)
  local found = {}
  local stored = redis.call('HGETALL', key)
  for position = 1, #stored, 2 do
    local minute = tonumber(stored[position])
    if minute < first_minute then
      redis.call('HDEL', key, stored[position])
    else
      found[#found + 1] = { minute = minute, count = tonumber(stored[position + 1]) }
    end
  end
  table.sort(found, function(one, other)
    return one.minute < other.minute
  end)
  return found
end

for _, scope in ipairs(arguments.scopes) do
  scope.in_hour = 0
  if scope.per_hour > 0 then
    scope.minutes = minutes_of(scope.key .. ':hour')
    for _, each in ipairs(scope.minutes) do
      scope.in_hour = scope.in_hour + each.count
    end
  end
  redis.call('ZREMRANGEBYSCORE', scope.key, '-inf', now - WINDOW)
  scope.used = redis.call('ZCARD', scope.key)
  scope.under_way = redis.call('ZCOUNT', scope.key, '(' .. now, '+inf')
  scope.hold = tonumber(redis.call('GET', scope.key .. ':hold') or '0')
  local ceiling = tonumber(redis.call('GET', scope.key .. ':ceiling') or '0')
  if ceiling > 0 and (scope.parallel == 0 or ceiling < scope.parallel) then
    scope.parallel = ceiling
  end
end

-- Returns the milliseconds until enough of the oldest minutes have left the hour.
local function wait_of_hour(scope, is_urgent)
  local surplus = scope.in_hour - usable_part(scope.per_hour, scope, is_urgent) + 1
  if scope.per_hour == 0 or surplus <= 0 then
    return 0
  end
  for _, each in ipairs(scope.minutes) do
    surplus = surplus - each.count
    if surplus <= 0 then
      return (each.minute + 1) * MINUTE + HOUR + arguments.lease - now
    end
  end
  -- The calls of this script alone fill the hour.
  return HOUR + arguments.lease
end

local function wait_of_scope(scope, is_urgent)
  if scope.hold > now then
    return scope.hold - now
  end
  local hour = wait_of_hour(scope, is_urgent)
  if hour > 0 then
    return hour
  end
  local limit = usable_part(scope.limit, scope, is_urgent)
  if scope.limit > 0 and scope.used >= limit then
    -- The window has room again when enough of the oldest calls have left it.
    local entry = redis.call('ZRANGE', scope.key, scope.used - limit, scope.used - limit, 'WITHSCORES')
    if #entry == 0 then
      return 50
    end
    -- A call under way is likely to end now, not at the end of its lease.
    return math.max(50, math.min(tonumber(entry[2]), now) + WINDOW - now)
  end
  if scope.parallel > 0 and scope.under_way >= usable_part(scope.parallel, scope, is_urgent) then
    return 50
  end
  return 0
end

local function wait_of_member(key, per_minute, per_hour, window)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - HOUR - window)
  local count = redis.call('ZCARD', key)
  local wait = 0
  if per_hour > 0 and count >= per_hour then
    local entry = redis.call('ZRANGE', key, count - per_hour, count - per_hour, 'WITHSCORES')
    wait = tonumber(entry[2]) + HOUR + window - now
  end
  if per_minute > 0 and count >= per_minute then
    local entry = redis.call('ZRANGE', key, count - per_minute, count - per_minute, 'WITHSCORES')
    wait = math.max(wait, tonumber(entry[2]) + WINDOW + window - now)
  end
  return wait
end

local function wait_of_budget(key, per_day, persons, reserved, is_urgent)
  if per_day == 0 then
    return 0
  end
  if not is_urgent then
    per_day = per_day - math.ceil(per_day * reserved / 100)
  end
  local used = tonumber(redis.call('GET', key) or '0')
  -- A message larger than the whole budget goes out first on a day, or it never would.
  if used == 0 or used + persons <= per_day then
    return 0
  end
  return DAY - (now + CHINA) % DAY
end

local answer = {}
for number, call in ipairs(arguments.calls) do
  local wait = 0
  for _, position in ipairs(call.scopes) do
    wait = math.max(wait, wait_of_scope(arguments.scopes[position], call.urgent))
  end
  local day = math.floor((now + CHINA) / DAY)
  if wait == 0 and call.budget ~= nil then
    wait = wait_of_budget(call.budget .. ':' .. day, call.per_day, call.persons, call.reserved_of_day, call.urgent)
  end
  -- A call may take as long as its lease, and its message may arrive that much later.
  if wait == 0 and call.member_prefix ~= nil then
    for _, member in ipairs(call.members) do
      local key = call.member_prefix .. member
      wait = math.max(wait, wait_of_member(key, call.per_minute, call.per_hour, arguments.lease))
    end
  end
  if wait == 0 then
    for _, position in ipairs(call.scopes) do
      local scope = arguments.scopes[position]
      redis.call('ZADD', scope.key, lease_end, call.id)
      redis.call('PEXPIRE', scope.key, WINDOW + arguments.lease + 1000)
      if scope.per_hour > 0 then
        redis.call('HINCRBY', scope.key .. ':hour', this_minute, 1)
        redis.call('PEXPIRE', scope.key .. ':hour', HOUR + arguments.lease + MINUTE)
        scope.in_hour = scope.in_hour + 1
      end
      scope.used = scope.used + 1
      scope.under_way = scope.under_way + 1
    end
    if call.budget ~= nil then
      redis.call('INCRBY', call.budget .. ':' .. day, call.persons)
      redis.call('PEXPIRE', call.budget .. ':' .. day, 2 * DAY)
    end
    if call.member_prefix ~= nil then
      for _, member in ipairs(call.members) do
        redis.call('ZADD', call.member_prefix .. member, now, call.id)
        redis.call('PEXPIRE', call.member_prefix .. member, HOUR + arguments.lease)
      end
    end
  end
  answer[number] = math.ceil(wait)
end
return { current_epoch, now, answer }
