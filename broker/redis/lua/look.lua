-- KEYS: generation, a group or a key that does not exist, streams.
-- ARGV: generation.
-- Answers at one instant, in JSON: the group's positions by their fields (see
-- group.lua), the topics that its members read, the owner of each partition that
-- has one that is alive; and of each stream the first and the last entry's id, the
-- number of entries, the number ever added and the last deleted.
local call = redis.call
local answer = { positions = {}, owners = {} }
local clock = call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local hash = {}
do
  local flat = call('HGETALL', KEYS[2])
  for i = 1, #flat, 2 do
    hash[flat[i]] = flat[i + 1]
  end
end
answer.topics = hash.topics
for field, value in pairs(hash) do
  local kind = string.sub(field, 1, 2)
  if kind == 'p:' then
    answer.positions[field] = value
  elseif kind == 'o:' then
    local member = string.match(value, '^%S+')
    local deadline = string.match(hash['m:' .. member] or '', '^%d+')
    if deadline and tonumber(deadline) >= now then
      answer.owners[field] = member
    end
  end
end
for i = 3, #KEYS do
  local info, of = redis.pcall('XINFO', 'STREAM', KEYS[i]), {}
  if not info.err then
    for j = 1, #info, 2 do
      of[info[j]] = info[j + 1]
    end
  end
  answer.ends = answer.ends or {} -- an empty table would be an object
  answer.ends[i - 2] = {
    first = of['recorded-first-entry-id'] or '0-0',
    last = of['last-generated-id'] or '0-0',
    length = of['length'] or 0,
    added = of['entries-added'] or 0,
    deleted = of['max-deleted-entry-id'] or '0-0',
  }
end
return cjson.encode(answer)
