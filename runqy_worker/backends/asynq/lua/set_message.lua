-- Gives a task that was enqueued as plain hash fields the message that every asynq tool reads.
--
-- KEYS: the task's hash
-- ARGV: token, msg
-- Returns 1, or 0 when the token is void.

if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'msg', ARGV[2])
return 1
