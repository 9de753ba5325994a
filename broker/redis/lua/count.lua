-- KEYS: a stream. ARGV: an id to begin after, one to end with, how many entries
-- to look at. Answers how many there were, and the last one's id.
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local n = #entries
if n == 0 then
  return { 0, ARGV[1] }
end
return { n, entries[n][1] }
