-- append(first) adds the records in ARGV from index first on. Each is the index
-- of its stream in KEYS, the number of its fields and values, and these.
--
-- An id must have a number below a million, or it does not fit into an offset.
-- Only a clock that stands still, or was set back, could bring so many entries
-- of one millisecond; then the next millisecond is taken.
local function append(first)
  local call, room, nextMilli = redis.call, {}, {}
  local i, n = first, #ARGV
  while i <= n do
    local stream, fields = ARGV[i], tonumber(ARGV[i + 1])
    local key, left = KEYS[tonumber(stream)], room[stream]
    if left == nil then
      local id = call('XADD', key, '*', unpack(ARGV, i + 2, i + 1 + fields))
      local ms, seq = string.match(id, '^(%d+)-(%d+)$')
      room[stream] = 999999 - tonumber(seq)
      nextMilli[stream] = string.format('%.0f-0', tonumber(ms) + 1)
    elseif left > 0 then
      call('XADD', key, '*', unpack(ARGV, i + 2, i + 1 + fields))
      room[stream] = left - 1
    else
      call('XADD', key, nextMilli[stream], unpack(ARGV, i + 2, i + 1 + fields))
      room[stream] = nil
    end
    i = i + 2 + fields
  end
end
