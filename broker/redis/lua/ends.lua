-- KEYS: generation, a group or any key, streams. ARGV: generation, fields of
-- the group. Answers the fields, then for each stream the first and the last
-- entry's id, the number of entries, the number ever added and the last deleted.
local answer = {}
if #ARGV > 1 then
  answer = redis.call('HMGET', KEYS[2], unpack(ARGV, 2))
end
for i = 3, #KEYS do
  local info, of = redis.pcall('XINFO', 'STREAM', KEYS[i]), {}
  if info.err then
    of = { ['recorded-first-entry-id'] = '0-0', ['last-generated-id'] = '0-0', length = 0, ['entries-added'] = 0, ['max-deleted-entry-id'] = '0-0' }
  else
    for j = 1, #info, 2 do
      of[info[j]] = info[j + 1]
    end
  end
  answer[#answer + 1] = of['recorded-first-entry-id']
  answer[#answer + 1] = of['last-generated-id']
  answer[#answer + 1] = of['length']
  answer[#answer + 1] = of['entries-added']
  answer[#answer + 1] = of['max-deleted-entry-id']
end
return answer
