-- KEYS: generation, group, streams.
-- ARGV: generation, group's name, member, lease, number of this settle, number
-- of moves; for each move: index of the stream in KEYS, field, old and new
-- position, its last entry and its count; then records (see append.lua).
--
-- All is checked before anything is written, because what a script has written
-- stays. The records are first: Redis refuses a script's first write when its
-- memory is full, and no later one.
local group, member, lease, number = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local moves = tonumber(ARGV[6])
local records = 7 + moves * 6

local state = redis.call('HMGET', KEYS[2], 'e:' .. member, 's:' .. member)
if state[2] == number then
  return 0 -- the answer got lost and it was sent again
end
if state[1] ~= lease then
  return redis.error_reply('FENCED the lease is another one')
end
for i = 7, records - 1, 6 do
  if redis.call('HGET', KEYS[2], ARGV[i + 1]) ~= ARGV[i + 2] then
    return redis.error_reply('ASTRAY the group is at another position')
  end
end

append(records)
redis.call('HSET', KEYS[2], 's:' .. member, number)
for i = 7, records - 1, 6 do
  local stream = KEYS[tonumber(ARGV[i])]
  redis.call('HSET', KEYS[2], ARGV[i + 1], ARGV[i + 3])
  -- For those who look with XINFO GROUPS.
  local set = redis.pcall('XGROUP', 'SETID', stream, group, ARGV[i + 4], 'ENTRIESREAD', ARGV[i + 5])
  if set.err then
    redis.pcall('XGROUP', 'CREATE', stream, group, ARGV[i + 4], 'MKSTREAM', 'ENTRIESREAD', ARGV[i + 5])
  end
end
return 1
