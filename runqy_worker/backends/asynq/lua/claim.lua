-- Takes up to `want` tasks of one queue, each under a lease, and gives back what was taken hold of beyond that.
--
-- KEYS: pending, active, lease, paused, prefix of the task hashes
-- ARGV: want, token, lease in ms, 1 to look first for tasks that an unanswered claim took under the same token,
--       then ids that a wait moved to active and that have no lease yet, oldest first
-- Returns {1 when paused, tasks, ids that had no task behind them}; a task is
--   {msg, pending_since, id, nil or {retried, deaths, reruns, ttl_completed, pending_timeout, active_timeout},
--    nil or, for a task without msg, {type, payload, max_retry}}

local pending, active, lease, prefix = KEYS[1], KEYS[2], KEYS[3], KEYS[5]
local want, token = tonumber(ARGV[1]), ARGV[2]
local call = redis.call
local CHUNK, SCAN = 1000, 10000

local time = call('TIME')
local now_ns = time[1] .. string.format('%06d', tonumber(time[2])) .. '000'
local expiry = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[3])
if expiry % 1000 == 0 then expiry = expiry + 1 end -- a fraction tells our leases from asynq's
local score = string.format('%.3f', expiry / 1000)

local taken, back = {}, {}

if ARGV[4] == '1' then
  local ids = call('LRANGE', active, 0, SCAN - 1)
  for i = #ids, 1, -1 do
    local id = ids[i]
    if call('HGET', prefix .. id, 'token') == token then
      local held = call('ZSCORE', lease, id)
      if held and string.find(held, '.', 1, true) then
        if #taken < want then
          taken[#taken + 1] = id
        else
          call('ZREM', lease, id)
          call('HDEL', prefix .. id, 'token')
          call('HSET', prefix .. id, 'state', 'pending', 'pending_since', now_ns)
          back[#back + 1] = id
        end
      end
    end
  end
end

local paused = call('EXISTS', KEYS[4]) == 1

for i = 5, #ARGV do
  local id = ARGV[i]
  if not call('ZSCORE', lease, id) and call('LPOS', active, id) then
    if paused or #taken >= want then
      back[#back + 1] = id
    else
      taken[#taken + 1] = id
    end
  end
end

for i = #back, 1, -1 do -- the oldest ends up first in line
  if call('LREM', active, 1, back[i]) == 1 then call('RPUSH', pending, back[i]) end
end

while not paused and #taken < want do
  local ids = call('RPOP', pending, math.min(want - #taken, CHUNK))
  if not ids or #ids == 0 then break end
  call('LPUSH', active, unpack(ids))
  for i = 1, #ids do taken[#taken + 1] = ids[i] end
end

local tasks, dropped, leases = {}, {}, {}
for i = 1, #taken do
  local id = taken[i]
  local key = prefix .. id
  local task = call('HMGET', key, 'msg', 'pending_since')
  local plain = not task[1] and call('HMGET', key, 'type', 'payload', 'max_retry')
  if plain and not plain[1] then
    call('LREM', active, 1, id)
    call('ZREM', lease, id)
    if not plain[2] then call('DEL', key) end -- what is left of a deleted task: no message, no payload
    dropped[#dropped + 1] = id
  else
    task[3] = id
    -- Most tasks have three fields and no more: msg, state, pending_since.
    task[4] = (plain or call('HLEN', key) > 3) and call('HMGET', key,
      'retried', 'deaths', 'reruns', 'ttl_completed', 'pending_timeout', 'active_timeout')
    task[5] = plain
    call('HSET', key, 'state', 'active', 'token', token)
    if task[2] then call('HDEL', key, 'pending_since') end
    call('PERSIST', key) -- older workers leave a TTL behind
    tasks[#tasks + 1] = task
    leases[#leases + 1] = score
    leases[#leases + 1] = id
    if #leases >= 2 * CHUNK then
      call('ZADD', lease, unpack(leases))
      leases = {}
    end
  end
end
if #leases > 0 then call('ZADD', lease, unpack(leases)) end

return { paused and 1 or 0, tasks, dropped }
