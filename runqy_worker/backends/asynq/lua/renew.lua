-- Extends leases of one queue. A lease that lapsed but that nobody took is extended too.
--
-- KEYS: lease, prefix of the task hashes
-- ARGV: lease in ms, then id and token of each task
-- Returns a string with one character per task: 1 extended, 0 the token is void.

local lease, prefix = KEYS[1], KEYS[2]
local call = redis.call
local CHUNK = 1000

local time = call('TIME')
local expiry = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[1])
if expiry % 1000 == 0 then expiry = expiry + 1 end -- a fraction tells our leases from asynq's
local score = string.format('%.3f', expiry / 1000)

local flags, leases = {}, {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local held = call('ZSCORE', lease, id)
  local ours = held and string.find(held, '.', 1, true) and redis.pcall('HGET', prefix .. id, 'token') == ARGV[i + 1]
  flags[#flags + 1] = ours and '1' or '0'
  if ours then
    leases[#leases + 1] = score
    leases[#leases + 1] = id
  end
end

-- Redis checks for memory at a script's first write only. This one takes none, so that leases are kept when it is short.
call('ZREM', lease, '')
for i = 1, #leases, 2 * CHUNK do
  call('ZADD', lease, 'XX', unpack(leases, i, math.min(i + 2 * CHUNK - 1, #leases)))
end
return table.concat(flags)
