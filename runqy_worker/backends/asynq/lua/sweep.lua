-- Looks for ids in active without a lease, and for leases of ids that are not in active. Changes nothing.
--
-- KEYS: active, lease
-- ARGV: most ids to look at
-- Returns: {ids without a lease}, {ids of leases only}
local limit = tonumber(ARGV[1])
local active = redis.call('LRANGE', KEYS[1], 0, limit - 1)
local seen, without_lease, lease_only = {}, {}, {}
for _, id in ipairs(active) do
  seen[id] = true
  if not redis.call('ZSCORE', KEYS[2], id) then
    without_lease[#without_lease + 1] = id
  end
end
if #active < limit then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, limit - 1)) do
    if not seen[id] then
      lease_only[#lease_only + 1] = id
    end
  end
end
return {without_lease, lease_only}
