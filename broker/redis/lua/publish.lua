-- KEYS: generation, lane, streams.
-- ARGV: generation, number of this call, records (see append.lua).
-- Answers in JSON what ids they got: ranges, each the index of a stream in KEYS,
-- the first id, and how many there are in the same millisecond, with one number
-- after the other. Nobody else can add entries meanwhile.
--
-- The calls of a lane come one after the other. If the last one is this one, its
-- answer got lost and it was sent again: so the answer is kept with its number.
local number, answer = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (.*)$')
if number == ARGV[2] then
  return answer
end

local ranges = {}

local function add(stream, ids, i, j)
  local ms = string.match(ids[i], '^%d+')
  if ms == string.match(ids[j], '^%d+') then
    ranges[#ranges + 1] = { stream = tonumber(stream), first = ids[i], count = j - i + 1 }
  else
    local middle = math.floor((i + j) / 2)
    add(stream, ids, i, middle)
    add(stream, ids, middle + 1, j)
  end
end

local added, failure = append(3)
if not added then
  return failure
end
for stream, ids in pairs(added) do
  add(stream, ids, 1, #ids)
end
answer = cjson.encode(ranges)
redis.call('SET', KEYS[2], ARGV[2] .. ' ' .. answer, 'EX', 86400)
return answer
