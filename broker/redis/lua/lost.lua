-- Ends the script if the server has lost its data since the client looked:
-- KEYS[1] is the generation, ARGV[1] what the client takes it for.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return redis.error_reply('LOST the data is of another generation')
end
