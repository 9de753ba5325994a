-- append(first) adds the records in ARGV from index first on, or none. They are in
-- runs: the index of the run's stream in KEYS, how many fields and values each
-- record has, how many records there are, and their fields and values. It returns
-- the ids that each stream's entries got, in a table by the stream's index; or nil
-- and an error.
--
-- What a script has written stays when it fails. So the entries that were added are
-- deleted again if one cannot be, as where somebody has put something else under a
-- stream's key; nobody has seen them.
--
-- An id must have a number below a million, or it does not fit into an offset.
-- Only a clock that stands still, or was set back, could bring so many entries
-- of one millisecond; then the next millisecond is taken.
local adding -- the stream's key

local function appendAll(first, ids)
  local call, unpack = redis.call, unpack
  local room, nextMilli = {}, {}
  local i, last = first, #ARGV
  while i <= last do
    local stream, fields, records = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
    local key, left, list = KEYS[tonumber(stream)], room[stream] or 0, ids[stream] or {}
    local n = #list
    ids[stream], adding = list, key
    i = i + 3
    for _ = 1, records do
      n = n + 1
      if left > 0 then
        list[n] = call('XADD', key, '*', unpack(ARGV, i, i + fields - 1))
        left = left - 1
      else
        local id = call('XADD', key, nextMilli[stream] or '*', unpack(ARGV, i, i + fields - 1))
        local ms, seq = string.match(id, '^(%d+)-(%d+)$')
        list[n] = id
        if tonumber(ms) > 9223372036853 then
          error({ err = 'FOREIGN the last entry of the stream ' .. key .. ' has an id beyond all times in milliseconds' })
        end
        nextMilli[stream] = string.format('%.0f-0', tonumber(ms) + 1)
        left = 999999 - tonumber(seq)
      end
      i = i + fields
    end
    room[stream] = left
  end
end

local function append(first)
  local ids = {}
  local ok, err = pcall(appendAll, first, ids)
  if ok then
    return ids
  end
  for stream, list in pairs(ids) do
    for _, id in ipairs(list) do
      redis.call('XDEL', KEYS[tonumber(stream)], id)
    end
  end
  if type(err) == 'table' then
    err = err.err
  end
  return nil, redis.error_reply(err .. ', adding to the stream ' .. adding)
end
