-- Takes or keeps the stewardship of a queue: one worker at a time does the chores that look at everything.
--
-- KEYS: the queue's steward key
-- ARGV: who asks, milliseconds until it lapses
-- Returns: 1 when the asker is the steward now, else 0.
local steward = redis.call('GET', KEYS[1])
if steward and steward ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
