-- Prepended to every script.
--
-- The epoch of a store that knows past calls names the process of Valkey, and its replication history, under which it
-- was written. A restarted Valkey has another run_id, so an epoch from its snapshot is not valid. A promoted replica,
-- and a primary that was a replica meanwhile, have another replication id.
local function identity()
  local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
  local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
  return process .. ':' .. history .. ':'
end

-- Returns the epoch if it is of this process and history, else nil.
local function epoch(key)
  local stored, mine = redis.call('GET', key), identity()
  if stored and string.sub(stored, 1, string.len(mine)) == mine then
    return stored
  end
end
