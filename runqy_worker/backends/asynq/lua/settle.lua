-- Writes the outcomes of a batch of tasks of one queue, each only while its token holds.
--
-- KEYS: pending, active, lease, retry, archived, completed, processed, failed, processed:<day>, failed:<day>,
--       prefix of the task hashes
-- ARGV: now in s, now in ns, when the day's counters expire in Unix s, most archived tasks (0 no limit), then for each task
--   D id token unique_key                          delete: done without retention, or revoked
--   C id token unique_key msg score                keep as completed, to be purged at score
--   K id token unique_key msg score result         likewise, with a result
--   R id token msg score counted death             retry at score; at once when score is empty
--   A id token msg error                           archive; an empty msg leaves the stored one as it is
--   L id token pending_since rerun                 back to the front; an empty pending_since means now
-- Returns a string with one character per task: 1 written, 0 the token is void.

local pending, active, lease, retry, archived, completed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local prefix = KEYS[11]
local queue = string.match(prefix, '^asynq:{(.*)}:t:$')
local now, now_ns, limit = ARGV[1], ARGV[2], tonumber(ARGV[4])
local call = redis.call
local CHUNK = 1000
local CROWD = 128
local WIDTH = { D = 4, C = 6, K = 7, R = 7, A = 5, L = 5 }

-- A script that fails halfway undoes nothing, so a key of the wrong type must show before anything is written, and what
-- comes after that uses other keys (locks that clients name, counters, records) with pcall only.
for i = 1, 6 do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= (i < 3 and 'list' or 'zset') then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. found)
  end
end

local flags, gone, records, ended, released, fresh = {}, {}, {}, {}, {}, {}
local processed, failed, archives = 0, 0, 0

local function flush(run, command, key, items)
  for i = 1, #items, CHUNK do
    local last = math.min(i + CHUNK - 1, #items)
    if key then
      run(command, key, unpack(items, i, last))
    else
      run(command, unpack(items, i, last))
    end
  end
end

local function unlock(unique, id)
  if unique ~= '' and redis.pcall('GET', unique) == id then redis.pcall('DEL', unique) end
end

-- Returns the new value, and whether it started again because what was there can't be added to.
local function count(key, by)
  local total = redis.pcall('INCRBY', key, by)
  if type(total) == 'number' then return total, false end
  redis.pcall('SET', key, by)
  return by, true
end

local function count_for_a_day(key, by)
  if count(key, by) == by then redis.pcall('EXPIREAT', key, ARGV[3]) end
end

local function forget(id)
  gone[#gone + 1] = prefix .. id
  records[#records + 1] = 'asynq:t:' .. id
end

-- Those that end are among the oldest of their like, at the end of the list; short tasks beside many long ones are not.
local crowded = call('LLEN', active) > CROWD

local function take_from_active(id)
  local near = not crowded or call('LPOS', active, id, 'RANK', -1, 'MAXLEN', CROWD)
  return call('LREM', active, near and -1 or 1, id) == 1
end

local function has_ended(id)
  for i = 1, #ended do
    if ended[i] == id then return true end
  end
  return false
end

local starts, ids = {}, {}
local at = 5
while at <= #ARGV do
  starts[#starts + 1] = at
  ids[#ids + 1] = ARGV[at + 1]
  at = at + WIDTH[ARGV[at]]
end
local leases = #ids > 0 and call('ZMSCORE', lease, unpack(ids))

for number, id in ipairs(ids) do
  local at = starts[number]
  local op, key = ARGV[at], prefix .. id
  local ours = redis.pcall('HGET', key, 'token') == ARGV[at + 2]
  if ours then
    local held = leases[number]
    ours = held and string.find(held, '.', 1, true)
    -- Token and lease are proof enough if somebody else broke the list, but each task ends once in a batch.
    if ours and not take_from_active(id) then ours = not has_ended(id) end
  end
  flags[#flags + 1] = ours and '1' or '0'
  if ours then
    ended[#ended + 1] = id
    if op == 'D' then
      unlock(ARGV[at + 3], id)
      forget(id)
      processed = processed + 1
    elseif op == 'C' or op == 'K' then
      call('ZADD', completed, ARGV[at + 5], id)
      if op == 'K' then
        call('HSET', key, 'msg', ARGV[at + 4], 'state', 'completed', 'completed_at', now, 'result', ARGV[at + 6])
      else
        call('HSET', key, 'msg', ARGV[at + 4], 'state', 'completed', 'completed_at', now)
      end
      call('HDEL', key, 'token', 'deaths', 'reruns')
      unlock(ARGV[at + 3], id)
      processed = processed + 1
    elseif op == 'R' then
      if ARGV[at + 4] == '' then
        call('LPUSH', pending, id)
        call('HSET', key, 'msg', ARGV[at + 3], 'state', 'pending', 'pending_since', now_ns)
      else
        call('ZADD', retry, ARGV[at + 4], id)
        call('HSET', key, 'msg', ARGV[at + 3], 'state', 'retry')
      end
      if ARGV[at + 6] == '1' then redis.pcall('HINCRBY', key, 'deaths', 1) end
      call('HDEL', key, 'token')
      if ARGV[at + 5] == '1' then
        processed = processed + 1
        failed = failed + 1
      end
    elseif op == 'A' then
      call('ZADD', archived, now, id)
      call('HSET', key, 'state', 'archived', 'error_msg', ARGV[at + 4], 'last_failed_at', now)
      if ARGV[at + 3] ~= '' then call('HSET', key, 'msg', ARGV[at + 3]) end
      call('HDEL', key, 'token', 'deaths', 'reruns')
      processed = processed + 1
      failed = failed + 1
      archives = archives + 1
      fresh[id] = true
    elseif op == 'L' then
      local since = ARGV[at + 3]
      call('HSET', key, 'state', 'pending', 'pending_since', since ~= '' and since or now_ns)
      if ARGV[at + 4] == '1' then redis.pcall('HINCRBY', key, 'reruns', 1) end
      call('HDEL', key, 'token')
      released[#released + 1] = id
    end
  end
end

for i = #released, 1, -1 do call('RPUSH', pending, released[i]) end -- the first of the batch is first in line

flush(call, 'ZREM', lease, ended)
flush(call, 'DEL', nil, gone)

if processed > 0 then
  count_for_a_day(KEYS[9], processed)
  local _, again = count(KEYS[7], processed)
  if again then -- both do
    redis.pcall('SET', KEYS[8], failed)
  elseif failed > 0 then
    count(KEYS[8], failed)
  end
  if failed > 0 then count_for_a_day(KEYS[10], failed) end
end

local function is_elsewhere(id, state)
  if state == 'archived' then return false end
  local set = ({ completed = completed, retry = retry, scheduled = string.sub(prefix, 1, -3) .. 'scheduled' })[state]
  if set then return redis.pcall('ZSCORE', set, id) end
  return call('LPOS', pending, id) or call('LPOS', active, id)
end

-- A task that was run again only leaves the set; what is no task is not ours to delete.
local function trim(id)
  local key = prefix .. id
  local found = call('TYPE', key).ok
  if found == 'hash' then
    local task = call('HMGET', key, 'state', 'unique_key')
    if is_elsewhere(id, task[1]) then return end
    unlock(task[2] or '', id)
  end
  if found == 'hash' or found == 'none' then forget(id) end
end

if archives > 0 and limit > 0 then
  local excess = math.min(call('ZCARD', archived) - limit, CHUNK)
  if excess > 0 then
    gone = {}
    local trimmed = {}
    -- Those of this call may have the lowest scores, if the clock was set back. They stay.
    for _, id in ipairs(call('ZRANGE', archived, 0, excess + archives - 1)) do
      if #trimmed < excess and not fresh[id] then trimmed[#trimmed + 1] = id end
    end
    flush(call, 'ZREM', archived, trimmed)
    for i = 1, #trimmed do trim(trimmed[i]) end
    flush(call, 'DEL', nil, gone)
  end
end

-- The runqy server's record of a task's queue goes with the task, unless another queue has the same id by now. Tasks that
-- did not come through that server have none, which one call for all of them tells.
-- Where we may not look at records they are left alone.
local known = #records > 0 and redis.pcall('EXISTS', unpack(records))
if type(known) == 'number' and known > 0 then
  local ours = {}
  for _, record in ipairs(records) do
    if redis.pcall('HGET', record, 'queue') == queue then ours[#ours + 1] = record end
  end
  flush(redis.pcall, 'DEL', nil, ours)
end

return table.concat(flags)
