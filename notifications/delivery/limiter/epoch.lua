-- Begins every script that asks whether the store knows the past, or is filled with it.
--
-- The mark that says so names the process of Valkey and its history of replication, under which it was written. A Valkey
-- that was restarted has another run_id: with whatever snapshot it came back, the mark in it is of another one. A
-- replica that was promoted, and a primary that was one meanwhile, have another replication id.
local function identity()
  local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
  local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
  return process .. ':' .. history .. ':'
end

-- The mark, if it is of this process and history; else nil.
local function epoch(key)
  local mark, mine = redis.call('GET', key), identity()
  if mark and string.sub(mark, 1, string.len(mine)) == mine then
    return mark
  end
end
