-- Membership of a group: who reads which partition.
--
-- KEYS: generation, group, events, groups, streams.
-- ARGV: generation, action, group's name, member, timeout in milliseconds, the
-- lease that the member knows (none: it wants positions in any case), its topics
-- separated by commas, their number of partitions, those of which the member has
-- something open; then positions, one for each of the streams (none where the
-- group stays at the one it has).
--
-- Actions: join; poll (gives and takes partitions); beat (only shows that the
-- member is alive); leave; seek (sets positions).
--
-- The group is a hash:
--   p:topic:partition  position: last entry that the group is past, and count
--   topics, n          what the members read, and the number of partitions
--   m:member           when it is taken for dead, and its number in line
--   e:member           its lease: another one whenever it gained or lost
--   l:member           the lease with which it last lost something
--   s:member           the number of its last settle
--   g:member           when it went, and whether it left; its last settle is known
--                      for an hour yet
--   o:partition        the member that owns the partition, and the lease with
--                      which it got it: who loses it and gets it back has another
--   t:partition        the member that shall own it
--   d:partition        when the owner must have given it
--   lease, line        counters
-- Times are the server's, in milliseconds.
--
-- A partition whose owner is not the one that shall own it is given by the owner
-- when nothing of it is open, or taken from it when its time is over. Then its
-- target takes it. All of it happens in calls of the members, whoever calls.
local call = redis.call
local key, action, group, me = KEYS[2], ARGV[2], ARGV[3], ARGV[4]
local timeout = tonumber(ARGV[5])
local clock = call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local hash = {}
do
  local flat = call('HGETALL', key)
  for i = 1, #flat, 2 do
    hash[flat[i]] = flat[i + 1]
  end
end

local function set(field, value)
  if value ~= nil and type(value) == 'number' then
    value = string.format('%.0f', value)
  end
  if hash[field] == value then
    return
  end
  hash[field] = value
  if value == nil then
    call('HDEL', key, field)
  else
    call('HSET', key, field, value)
  end
end

local function count(field)
  set(field, tonumber(hash[field] or '0') + 1)
  return hash[field]
end

local changed = false

-- lease gives the member another lease. It is not less than the time, so that
-- one is never given again, even if the server has lost the counter.
local function lease(member)
  set('lease', math.max(tonumber(hash.lease or '0') + 1, now))
  set('e:' .. member, hash.lease)
  changed = true
end

-- loses notes that the member has lost something with its lease, so that what it
-- settles for all that it had is fenced. What it gained since fences nothing: the
-- answer that says so may have been lost with a Poll that was given up.
local function loses(member)
  set('l:' .. member, hash['e:' .. member])
end

local function owner(p)
  local value = hash['o:' .. p]
  return value and string.match(value, '^%S+')
end

local function partitions()
  return tonumber(hash.n or '0') - 1
end

-- leave ends a membership. A member that was only silent may come back.
local function leave(member, why)
  for p = 0, partitions() do
    if owner(p) == member then
      set('o:' .. p, nil)
    end
  end
  set('m:' .. member, nil)
  set('e:' .. member, nil)
  set('l:' .. member, nil)
  set('g:' .. member, string.format('%.0f ', now) .. why)
  changed = true
end

-- members lists those who are there, in the order of joining.
local function members()
  local list, line = {}, {}
  for field, value in pairs(hash) do
    if string.sub(field, 1, 2) == 'm:' then
      local name = string.sub(field, 3)
      list[#list + 1] = name
      line[name] = tonumber(string.match(value, ' (%d+)$'))
    end
  end
  table.sort(list, function(a, b) return line[a] < line[b] end)
  return list
end

local function expire()
  for _, name in ipairs(members()) do
    if name ~= me and tonumber(string.match(hash['m:' .. name], '^%d+')) < now then
      leave(name, 'silent')
    end
  end
  local old = {}
  for field, value in pairs(hash) do
    if string.sub(field, 1, 2) == 'g:' and tonumber(string.match(value, '^%d+')) < now - 3600000 then
      old[#old + 1] = string.sub(field, 3)
    end
  end
  for _, name in ipairs(old) do
    set('g:' .. name, nil)
    set('s:' .. name, nil)
  end
end

-- balance gives as many partitions to each member as to any other, give or take
-- one, and as few as possible to others than before.
local function balance(list)
  local last = partitions()
  if #list == 0 then
    for p = 0, last do
      set('t:' .. p, nil)
      set('d:' .. p, nil)
    end
    set('topics', nil)
    set('n', nil)
    return
  end
  local has, quota, order, place = {}, {}, {}, {}
  for i, name in ipairs(list) do
    has[name], order[i], place[name] = 0, name, i
  end
  for p = 0, last do
    local name = hash['t:' .. p]
    if name and has[name] then
      has[name] = has[name] + 1
    end
  end
  table.sort(order, function(a, b)
    if has[a] ~= has[b] then
      return has[a] > has[b]
    end
    return place[a] < place[b]
  end)
  local each, over = math.floor((last + 1) / #list), (last + 1) % #list
  for i, name in ipairs(order) do
    quota[name] = each + (i <= over and 1 or 0)
  end
  local free = {}
  for p = 0, last do
    local name = hash['t:' .. p]
    if name and quota[name] and quota[name] > 0 then
      quota[name] = quota[name] - 1
    else
      free[#free + 1] = p
    end
  end
  local i = 1
  for _, p in ipairs(free) do
    while quota[order[i]] == 0 do
      i = i + 1
    end
    set('t:' .. p, order[i])
    quota[order[i]] = quota[order[i]] - 1
  end
end

-- handOver notes what is to be given until when, and takes what is overdue.
local function handOver()
  for p = 0, partitions() do
    local from = owner(p)
    if from == nil or from == hash['t:' .. p] then
      set('d:' .. p, nil)
    elseif not hash['d:' .. p] then
      set('d:' .. p, now + timeout)
    elseif tonumber(hash['d:' .. p]) <= now then
      set('o:' .. p, nil)
      set('d:' .. p, nil)
      lease(from)
      loses(from)
    end
  end
end

-- exchange gives what others shall own and nothing is open of, and takes what is
-- free.
local function exchange()
  local busy, take, gave = {}, {}, false
  for p in string.gmatch(ARGV[9], '%d+') do
    busy[p] = true
  end
  for p = 0, partitions() do
    local mine = hash['t:' .. p] == me
    if owner(p) == me and not mine and not busy[tostring(p)] then
      set('o:' .. p, nil)
      set('d:' .. p, nil)
      gave = true
    elseif owner(p) == nil and mine then
      take[#take + 1] = p
    end
  end
  if gave or #take > 0 then
    lease(me)
  end
  if gave then
    loses(me)
  end
  for _, p in ipairs(take) do
    set('o:' .. p, me .. ' ' .. hash['e:' .. me])
  end
end

-- position sets where the group is in a stream.
local function position(stream, field, value)
  set(field, value)
  local last, read = string.match(value, '^(%S+) (%S+)$')
  local made = redis.pcall('XGROUP', 'CREATE', stream, group, last, 'MKSTREAM', 'ENTRIESREAD', read)
  if type(made) == 'table' and made.err then
    call('XGROUP', 'SETID', stream, group, last, 'ENTRIESREAD', read)
  end
end

-- eachStream calls f with the stream, its field and its index from 1.
local function eachStream(f)
  local i = 1
  for topic in string.gmatch(ARGV[7], '[^,]+') do
    for p = 0, tonumber(ARGV[8]) - 1 do
      f(KEYS[4 + i], 'p:' .. topic .. ':' .. p, i)
      i = i + 1
    end
  end
end

expire()

if action == 'seek' then
  local alive = #members()
  if alive > 0 then
    return redis.error_reply('ACTIVE ' .. alive)
  end
  balance({})
  eachStream(function(stream, field, i)
    if ARGV[9 + i] ~= '' then
      position(stream, field, ARGV[9 + i])
    end
  end)
  call('SADD', KEYS[4], group)
  return '{}'
end

local left = string.match(hash['g:' .. me] or '', 'left')
if action == 'leave' then
  if not left then
    leave(me, 'left')
  end
elseif left then
  return redis.error_reply('LEFT ' .. me) -- this call came late
else
  if hash.topics and hash.topics ~= ARGV[7] and #members() > 0 then
    return redis.error_reply('CONFLICT ' .. hash.topics)
  end
  set('topics', ARGV[7])
  set('n', ARGV[8])
  local line = hash['m:' .. me] and string.match(hash['m:' .. me], ' (%d+)$')
  if not line then
    line = count('line')
    set('g:' .. me, nil)
    lease(me)
    loses(me) -- all that it had before it was silent
    call('SADD', KEYS[4], group)
  end
  set('m:' .. me, string.format('%.0f ', now + timeout) .. line)
  if action == 'join' then
    eachStream(function(stream, field, i)
      if not hash[field] then
        position(stream, field, ARGV[9 + i] ~= '' and ARGV[9 + i] or '0-0 0')
      end
    end)
  end
end

if changed then
  balance(members())
end
handOver()
if action == 'poll' then
  exchange()
end

local event = nil
if changed then
  event = call('XADD', KEYS[3], 'MAXLEN', '~', 100, '*', 'member', me, 'action', action)
end

-- Answers with what the member owns, in JSON: since when, whether another one
-- waits for it, and where the group is in each topic if the lease is not the known
-- one. due is when the next partition is overdue, in milliseconds from now.
local answer = { lease = hash['e:' .. me], event = event, due = -1 }
for p = 0, partitions() do
  local at = hash['d:' .. p]
  if at then
    local left = math.max(0, tonumber(at) - now)
    if answer.due < 0 or left < answer.due then
      answer.due = left
    end
  end
  if owner(p) == me then
    local owned = { partition = p, since = string.match(hash['o:' .. p], '%S+$'), wanted = hash['t:' .. p] ~= me }
    if answer.lease ~= ARGV[6] then
      owned.positions = {}
      for topic in string.gmatch(ARGV[7], '[^,]+') do
        local field = 'p:' .. topic .. ':' .. p
        if not hash[field] then
          set(field, '0-0 0') -- the server has lost it: begin with what there is
        end
        owned.positions[#owned.positions + 1] = hash[field]
      end
    end
    answer.owned = answer.owned or {} -- an empty table would be an object
    answer.owned[#answer.owned + 1] = owned
  end
end
return cjson.encode(answer)
