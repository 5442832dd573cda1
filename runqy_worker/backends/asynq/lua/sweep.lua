-- Looks for ids in active without a lease, and for leases of ids that are not in active. Changes nothing.
--
-- A list that is longer than one look is looked at one window after the other. Then to know that an id is not in it means
-- to search it, so of the leases only some that ran out are looked at: in the end, each that nobody renews is among them.
--
-- KEYS: active, lease
-- ARGV: most ids to look at, where the window of active begins, most leases to search for, where their window begins
-- Returns: {ids without a lease}, {ids of leases only}, where the next windows begin
local limit, from = tonumber(ARGV[1]), tonumber(ARGV[2])
local length = redis.call('LLEN', KEYS[1])
if length <= limit or from >= length then from = 0 end
local active = redis.call('LRANGE', KEYS[1], from, from + limit - 1)
local seen, without_lease, lease_only = {}, {}, {}
for _, id in ipairs(active) do
  seen[id] = true
  if not redis.call('ZSCORE', KEYS[2], id) then
    without_lease[#without_lease + 1] = id
  end
end
if length <= limit then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, limit - 1)) do
    if not seen[id] then
      lease_only[#lease_only + 1] = id
    end
  end
  return { without_lease, lease_only, 0, 0 }
end
local most, lease_from = tonumber(ARGV[3]), tonumber(ARGV[4])
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', redis.call('TIME')[1], 'LIMIT', lease_from, most)
for _, id in ipairs(lapsed) do
  if not seen[id] and not redis.call('LPOS', KEYS[1], id) then
    lease_only[#lease_only + 1] = id
  end
end
return { without_lease, lease_only, from + #active, #lapsed == most and lease_from + most or 0 }
