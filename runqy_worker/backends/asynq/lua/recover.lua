-- Gives tasks whose lease ran out back to the front of the line, uncharged; the oldest comes first. Each may have run
-- in part, so it counts as run again.
--
-- A lease with a fraction was written by this program, in this server's time. A whole number was written by a Go
-- worker, in its own time: those are only listed, when they are older than the cutoff.
--
-- KEYS: lease, active, pending
-- ARGV: prefix of task hashes, leases to skip (seen and kept), most leases to look at, cutoff for whole numbers,
--       Unix seconds after which this comes too late: the server stood still meanwhile, and renewals with it; or its
--       clock was set forward. Unix seconds before which it was set back, and says nothing about leases when set again
-- Returns: leases looked at (-1: not in that time, nothing was done), leases kept, {recovered ids}, {dropped ids: no task behind them},
--          {id, score, msg, retried, ... of the Go workers'}

--include misfit

-- A server that takes no writes must refuse this too, when nothing has lapsed yet: others can't renew meanwhile. One that
-- is only short of memory does not, since Redis checks for that at a script's first write only and this one takes none.
redis.call('ZREM', KEYS[1], '')
local now = redis.call('TIME')
local seconds = tonumber(now[1]) + tonumber(now[2]) / 1000000
if seconds > tonumber(ARGV[5]) or seconds < tonumber(ARGV[6]) then
  return {-1, 0, {}, {}, {}}
end
local since = string.format('%s%06d000', now[1], tonumber(now[2]))
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', seconds, 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[3])
local cutoff = tonumber(ARGV[4])
local recovered, dropped, foreign = {}, {}, {}
local kept = 0
local wrong = #lapsed > 0 and (misfit(KEYS[2], 'list') or misfit(KEYS[3], 'list'))
if wrong then return redis.error_reply(wrong) end

for at = #lapsed - 1, 1, -2 do
  local id = lapsed[at]
  local score = tonumber(lapsed[at + 1])
  local task = ARGV[1] .. id
  local whole = score == math.floor(score)
  if whole and score > cutoff then
    kept = kept + 1
  elseif redis.call('TYPE', task).ok ~= 'hash' then
    redis.call('LREM', KEYS[2], 0, id)
    redis.call('ZREM', KEYS[1], id)
    dropped[#dropped + 1] = id
  elseif whole then
    local fields = redis.call('HMGET', task, 'msg', 'retried')
    foreign[#foreign + 1] = id
    foreign[#foreign + 1] = lapsed[at + 1]
    foreign[#foreign + 1] = fields[1] or ''
    foreign[#foreign + 1] = fields[2] or ''
    kept = kept + 1
  elseif redis.call('LREM', KEYS[2], 0, id) == 0 then
    kept = kept + 1
  else
    redis.call('RPUSH', KEYS[3], id)
    redis.call('HSET', task, 'state', 'pending', 'pending_since', since)
    redis.call('HDEL', task, 'token')
    redis.pcall('HINCRBY', task, 'recovered', 1) -- what is not a number stays as it is
    redis.pcall('HINCRBY', task, 'reruns', 1)
    redis.call('PERSIST', task)
    redis.call('ZREM', KEYS[1], id)
    recovered[#recovered + 1] = id
  end
end
return {#lapsed / 2, kept, recovered, dropped, foreign}
