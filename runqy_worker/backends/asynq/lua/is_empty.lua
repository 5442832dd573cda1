-- Whether nothing is left to do in some queues, looked at in one instant: a task on its way from one place to the next
-- must not be missed in both.
--
-- KEYS: the pending list of each queue; its other keys are named after it
-- ARGV: what the tokens of the asker's claims begin with
-- Returns 1 when nothing waits, and nothing is in active that the asker claimed or that a wait just moved there; else 0.
local owner = ARGV[1]

local function waits(base) -- a key of the wrong type holds nothing that could be done
  for name, count in pairs({ pending = 'LLEN', scheduled = 'ZCARD', retry = 'ZCARD' }) do
    local found = redis.pcall(count, base .. name)
    if type(found) == 'number' and found > 0 then return true end
  end
end

local function is_taken(base)
  local ids = redis.pcall('LRANGE', base .. 'active', 0, -1)
  for _, id in ipairs(ids) do
    local fields = redis.pcall('HMGET', base .. 't:' .. id, 'token', 'state')
    local token = fields[1] or ''
    if string.sub(token, 1, #owner) == owner or fields[2] == 'pending' then return true end
  end
end

for _, pending in ipairs(KEYS) do
  if waits(string.sub(pending, 1, -8)) then return 0 end
end
for _, pending in ipairs(KEYS) do
  if is_taken(string.sub(pending, 1, -8)) then return 0 end
end
return 1
