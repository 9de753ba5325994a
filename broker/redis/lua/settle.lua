-- KEYS: generation, group, streams.
-- ARGV: generation, group's name, member, number of this settle, lease (none:
-- what the member has lost besides is of no interest), number of moves; for each
-- move: index of the stream in KEYS, field of the partition's owner, since when
-- the member owns it, field of the position, old and new position, the new one's
-- last entry and its count; then records (see append.lua).
--
-- A member's settles come one after the other, with rising numbers. One that is
-- not above the last has taken place, and its answer got lost; or it came late,
-- when the member had gone on, and must not take place any more.
--
-- All is checked before anything is written, because what a script has written
-- stays. The records are first: Redis refuses a script's first write when its
-- memory is full, and no later one.
local group, member, number, lease = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local moves = tonumber(ARGV[6])
local records = 7 + moves * 8

local state = redis.call('HMGET', KEYS[2], 's:' .. member, 'e:' .. member, 'l:' .. member)
if tonumber(state[1] or '0') >= tonumber(number) then
  return 0
end
if lease ~= '' and (not state[2] or tonumber(state[3] or '0') > tonumber(lease)) then
  return redis.error_reply('FENCED the member has lost something since')
end
for i = 7, records - 1, 8 do
  local at = redis.call('HMGET', KEYS[2], ARGV[i + 1], ARGV[i + 3])
  if at[1] ~= member .. ' ' .. ARGV[i + 2] then
    return redis.error_reply('FENCED the partition is not the member\'s any more')
  end
  if at[2] ~= ARGV[i + 4] then
    return redis.error_reply('ASTRAY the group is at another position')
  end
end

local added, failure = append(records)
if not added then
  return failure
end
redis.call('HSET', KEYS[2], 's:' .. member, number)
for i = 7, records - 1, 8 do
  local stream = KEYS[tonumber(ARGV[i])]
  redis.call('HSET', KEYS[2], ARGV[i + 3], ARGV[i + 5])
  -- For those who look with XINFO GROUPS.
  local set = redis.pcall('XGROUP', 'SETID', stream, group, ARGV[i + 6], 'ENTRIESREAD', ARGV[i + 7])
  if set.err then
    redis.pcall('XGROUP', 'CREATE', stream, group, ARGV[i + 6], 'MKSTREAM', 'ENTRIESREAD', ARGV[i + 7])
  end
end
return 1
