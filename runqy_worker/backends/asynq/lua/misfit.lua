-- What is wrong with a key that holds another kind of value than it should; false when nothing is.
--
-- A script that fails halfway undoes nothing, so this must show before anything is written.
local function misfit(key, kind)
  local found = redis.call('TYPE', key).ok
  return found ~= 'none' and found ~= kind and 'WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. kind
end
