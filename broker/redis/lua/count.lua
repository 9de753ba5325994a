-- KEYS: a stream. ARGV: an id to begin after, one to end with, how many entries
-- to look at. Answers in JSON how many there were, and the last one's id.
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local n = #entries
return cjson.encode({ count = n, last = n > 0 and entries[n][1] or ARGV[1] })
