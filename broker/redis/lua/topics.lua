-- KEYS: generation, topics. ARGV: a new generation, then names and descriptions.
-- Makes all topics or, if one exists with another number of partitions, none.
for i = 2, #ARGV, 2 do
  local old = redis.call('HGET', KEYS[2], ARGV[i])
  if old then
    local has, wanted = cjson.decode(old).Partitions, cjson.decode(ARGV[i + 1]).Partitions
    if has ~= wanted then
      return redis.error_reply('CONFLICT ' .. ARGV[i] .. ' with ' .. wanted .. ' partitions: it has ' .. has)
    end
  end
end
redis.call('SETNX', KEYS[1], ARGV[1])
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
return 1
