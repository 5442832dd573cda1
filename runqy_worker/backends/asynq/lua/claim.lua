-- Takes up to `want` tasks, each under a lease, from several queues in the order given.
--
-- KEYS: the pending list of each queue; its other keys are named after it
-- ARGV: want, token, lease in ms,
--       1 to adopt what the wait just before this call moved to active, and to do nothing when there is no such id;
--       then, with a single queue only: the number of unanswered claims to look for, their tokens,
--       and ids that a wait moved to active and that have no lease yet, oldest first
-- Returns {queues looked at, {numbers of paused ones}, claims, refusals, what is left in the last queue looked at}.
--   claims: number of the queue, its tasks, ids that had no task behind them, ids that were in pending once too often;
--           for each queue that gave something
--   refusals: number of the queue, what Redis said; for each queue with a key of the wrong type
--   a task: {msg, pending_since, id, nil or {retried, deaths, reruns, ttl_completed, pending_timeout, active_timeout},
--            nil or, for a task without msg, {type, payload, max_retry}}
-- What is found of unanswered claims beyond `want`, and what waits took hold of, goes back to the front; so does what
-- would make the answer longer than some megabytes, except the first task.

local want, token = tonumber(ARGV[1]), ARGV[2]
local adopt, unanswered = ARGV[4] == '1', tonumber(ARGV[5] or 0)
local call = redis.call
local CHUNK, SCAN, NEAR, MOST_BYTES = 1000, 10000, 32, 16777216
local SETS = { scheduled = true, retry = true, archived = true, completed = true }

local time = call('TIME')
local now_ns = time[1] .. string.format('%06d', tonumber(time[2])) .. '000'
local expiry = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[3])

local left, looked, pending_left, bytes = want, 0, 0, 0
local paused_ones, claims, refusals = {}, {}, {}

-- A script that fails halfway undoes nothing, so a key of the wrong type must show before anything is taken; and nothing
-- may be taken whose outcome could not be written.
local KINDS = { pending = 'list', active = 'list', lease = 'zset', retry = 'zset', completed = 'zset', archived = 'zset' }
local function refusal(base)
  for name, kind in pairs(KINDS) do
    local found = call('TYPE', base .. name).ok
    if found ~= kind and found ~= 'none' then
      return base .. name .. ' is a ' .. found .. ', not a ' .. kind
    end
  end
end

-- The id that a wait just moved: near the front of active, still marked as pending, and nobody's.
local function just_moved(active, lease, prefix)
  for _, id in ipairs(call('LRANGE', active, 0, NEAR - 1)) do
    if redis.pcall('HGET', prefix .. id, 'state') == 'pending' and not call('ZSCORE', lease, id) then return id end
  end
end

-- Whether a task that was in pending is in somebody's hands, or where its state says: its id was there once too often.
local function is_elsewhere(id, state, base)
  if state == 'active' then
    return call('HGET', base .. 't:' .. id, 'token') == token or call('ZSCORE', base .. 'lease', id)
  end
  return SETS[state] and type(redis.pcall('ZSCORE', base .. state, id)) == 'string'
end

-- When the lease of the i-th task of a queue ends, in Unix seconds: each is a microsecond longer than the one before, so that
-- they are recovered in this order. The fraction, never zero, tells ours from asynq's. Whole numbers are put together
-- because to format a floating-point one costs as much as a command.
local function lease_end(i)
  local micros = expiry % 1000 * 1000 + i
  return string.format('%d.%06d5', math.floor(expiry / 1000) + math.floor(micros / 1000000), micros % 1000000)
end

-- Puts back those that would make the answer too long to arrive in time.
local function put_back(ids, base)
  for i = #ids, 1, -1 do
    local key = base .. 't:' .. ids[i]
    call('LREM', base .. 'active', 1, ids[i])
    call('ZREM', base .. 'lease', ids[i])
    if redis.pcall('HGET', key, 'state') == 'active' then
      call('HSET', key, 'state', 'pending', 'pending_since', now_ns)
      call('HDEL', key, 'token')
    end
    call('RPUSH', base .. 'pending', ids[i])
  end
end

-- The first `known` of those taken are ours already; the others were in pending a moment ago.
local function hand_out(taken, known, index, base)
  local active, lease, prefix = base .. 'active', base .. 'lease', base .. 't:'
  local tasks, dropped, doubled, leased, rest = {}, {}, {}, {}, {}
  for i = 1, #taken do
    local id = taken[i]
    local key = prefix .. id
    local task = bytes <= MOST_BYTES and redis.pcall('HMGET', key, 'msg', 'pending_since', 'state')
    local plain = task and not task[1] and (task.err and {} or call('HMGET', key, 'type', 'payload', 'max_retry'))
    if not task then
      rest[#rest + 1] = id
    elseif plain and not (plain[1] or plain[2]) then
      call('LREM', active, 1, id)
      call('ZREM', lease, id)
      if not task.err then call('DEL', key) end -- what is left of a deleted task: no message, no payload
      dropped[#dropped + 1] = id
    elseif i > known and task[3] ~= 'pending' and is_elsewhere(id, task[3], base) then
      call('LREM', active, 1, id)
      doubled[#doubled + 1] = id
    else
      bytes = bytes + #(task[1] or plain[2] or '')
      task[3] = id
      -- Most tasks have these fields and no more: msg, state, and pending_since unless a Go program gave it back.
      task[4] = (plain or call('HLEN', key) > (task[2] and 3 or 2)) and call('HMGET', key,
        'retried', 'deaths', 'reruns', 'ttl_completed', 'pending_timeout', 'active_timeout')
      task[5] = plain
      call('HSET', key, 'state', 'active', 'token', token)
      if task[2] then call('HDEL', key, 'pending_since') end
      call('PERSIST', key) -- older workers leave a TTL behind
      tasks[#tasks + 1] = task
      leased[#leased + 1] = id
    end
  end
  -- From the last to the first: Redis searches a small set from its front, which is where each then goes.
  for last = #leased, 1, -CHUNK do
    local scores = {}
    for i = last, math.max(1, last - CHUNK + 1), -1 do
      scores[#scores + 1] = lease_end(i)
      scores[#scores + 1] = leased[i]
    end
    call('ZADD', lease, unpack(scores))
  end
  put_back(rest, base)
  claims[#claims + 1] = index
  claims[#claims + 1] = tasks
  claims[#claims + 1] = dropped
  claims[#claims + 1] = doubled
  left = left - #tasks
end

local function visit(index, pending)
  local base = string.sub(pending, 1, -8)
  local active, lease, prefix = base .. 'active', base .. 'lease', base .. 't:'
  local moved = adopt and just_moved(active, lease, prefix)
  local paused = call('EXISTS', base .. 'paused') == 1
  if paused then paused_ones[#paused_ones + 1] = index end
  if adopt and not moved then return end -- the wait was in vain, as most waits of an idle worker are
  local said = refusal(base)
  if said then
    refusals[#refusals + 1] = index
    refusals[#refusals + 1] = said
    return
  end
  -- Redis checks for memory at a script's first write only. This one takes none, so that work goes on when it is short.
  call('ZREM', lease, '')
  local taken, back = {}, {}

  if unanswered > 0 then
    local tokens = {}
    for i = 6, 5 + unanswered do tokens[ARGV[i]] = true end
    local ids = call('LRANGE', active, 0, SCAN - 1)
    for i = #ids, 1, -1 do
      local id = ids[i]
      if tokens[redis.pcall('HGET', prefix .. id, 'token')] then
        local held = call('ZSCORE', lease, id)
        if held and string.find(held, '.', 1, true) then
          if #taken < left then
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

  local known, held = #taken, { moved or nil }
  for i = 6 + unanswered, #ARGV do held[#held + 1] = ARGV[i] end
  for i = 1, #held do
    local id = held[i]
    if adopt or (not call('ZSCORE', lease, id) and call('LPOS', active, id)) then
      if paused or #taken >= left then
        back[#back + 1] = id
      else
        taken[#taken + 1] = id
      end
    end
  end
  for i = #back, 1, -1 do -- the oldest ends up first in line
    if call('LREM', active, 1, back[i]) == 1 then call('RPUSH', pending, back[i]) end
  end

  while not paused and #taken < left do
    local ids = call('RPOP', pending, math.min(left - #taken, CHUNK))
    if not ids or #ids == 0 then break end
    call('LPUSH', active, unpack(ids))
    for i = 1, #ids do taken[#taken + 1] = ids[i] end
  end
  if #taken > 0 then hand_out(taken, known, index, base) end
  if not paused then pending_left = call('LLEN', pending) end
end

for index = 1, #KEYS do
  if index > 1 and (left <= 0 or bytes > MOST_BYTES) then break end
  looked, pending_left = index, 0
  -- Two looks are enough to pass over an empty queue.
  if #KEYS == 1 or redis.pcall('LLEN', KEYS[index]) ~= 0 then
    visit(index, KEYS[index])
  elseif call('EXISTS', string.sub(KEYS[index], 1, -8) .. 'paused') == 1 then
    paused_ones[#paused_ones + 1] = index
  end
end

return { looked, paused_ones, claims, refusals, pending_left }
