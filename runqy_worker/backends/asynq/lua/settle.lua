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

-- A script that fails halfway undoes nothing, so a key of the wrong type must show before anything is written.
for i = 1, 6 do
  local found = call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= (i < 3 and 'list' or 'zset') then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. found)
  end
end

local flags, gone, records, ended, released = {}, {}, {}, {}, {}
local processed, failed, archives = 0, 0, 0

local function flush(command, key, items)
  for i = 1, #items, CHUNK do
    local last = math.min(i + CHUNK - 1, #items)
    if key then
      call(command, key, unpack(items, i, last))
    else
      call(command, unpack(items, i, last))
    end
  end
end

local function unlock(unique, id)
  if unique ~= '' and call('GET', unique) == id then call('DEL', unique) end
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

if processed > 0 then
  if call('INCRBY', KEYS[9], processed) == processed then call('EXPIREAT', KEYS[9], ARGV[3]) end
  local total = redis.pcall('INCRBY', KEYS[7], processed)
  if type(total) == 'table' and total.err then -- it would overflow: both start again
    call('SET', KEYS[7], processed)
    call('SET', KEYS[8], failed)
  elseif failed > 0 then
    call('INCRBY', KEYS[8], failed)
  end
  if failed > 0 and call('INCRBY', KEYS[10], failed) == failed then call('EXPIREAT', KEYS[10], ARGV[3]) end
end

if archives > 0 and limit > 0 then
  local excess = call('ZCARD', archived) - limit
  if excess > 0 then
    local trimmed = call('ZRANGE', archived, 0, math.min(excess, CHUNK) - 1)
    call('ZREM', archived, unpack(trimmed))
    for i = 1, #trimmed do
      unlock(call('HGET', prefix .. trimmed[i], 'unique_key') or '', trimmed[i])
      forget(trimmed[i])
    end
  end
end

-- The runqy server's record of a task's queue goes with the task, unless another queue has the same id by now. Tasks that
-- did not come through that server have none, which one call for all of them tells.
if #records > 0 and call('EXISTS', unpack(records)) > 0 then
  for _, record in ipairs(records) do
    if redis.pcall('HGET', record, 'queue') == queue then gone[#gone + 1] = record end
  end
end

flush('ZREM', lease, ended)
flush('DEL', nil, gone)
return table.concat(flags)
