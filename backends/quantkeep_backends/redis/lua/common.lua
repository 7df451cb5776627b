-- What every script begins with. KEYS[1] is the keep's `meta`; all other names derive from it, and
-- share its hash tag. Arguments are taken one by one.
local call, format = redis.call, string.format
local P = KEYS[1]:sub(1, -5)
local arguments, place = ARGV, 0
local function take() place = place + 1; return arguments[place] end
local function count() return tonumber(take()) end

local RING = 4096 -- the last commits, by their number; what a handle remembers is looked up there
local MANY = 4000 -- what unpack() takes without running out of Lua's stack

local function by_many(command, key, list)
  for from = 1, #list, MANY do
    call(command, key, unpack(list, from, math.min(from + MANY - 1, #list)))
  end
end

local function text(number) return format('%.0f', number) end

-- Notices a store that went back behind what this handle has seen: a failover that lost commits,
-- an older file put back. `seen` is the number of a commit, `seen_id` the id it must have.
local function gone_back(commits, seen, seen_id)
  if commits < seen then return true end
  if seen == 0 or seen_id == '' or commits - seen >= RING then return false end
  local known = call('HGET', P .. 'recent', text(seen % RING))
  return not known or known:sub(1, #seen_id) ~= seen_id
end

local function commits_now() return tonumber(call('HGET', KEYS[1], 'commits') or 0) end

local function now_text()
  local clock = call('TIME')
  return clock[1] .. format('%06d', clock[2])
end

-- Several strings as one, which the driver reads faster: lengths first, -1 where there is nothing.
local function packed(values, width)
  local sizes, parts = {}, {}
  for at = 1, width do
    local value = values[at]
    sizes[at] = value and #value or -1
    parts[at] = value or ''
  end
  return struct.pack('>' .. string.rep('i4', width), unpack(sizes, 1, width)) .. table.concat(parts)
end

-- The chunks of a stream's packed entries: {first, last, live}, by first.
local function chunks_of(stream)
  local found, flat = {}, call('HGETALL', P .. 'chunks:' .. stream)
  for at = 1, #flat, 2 do
    local last, live = flat[at + 1]:match('^(%d+) (%d+) ')
    found[#found + 1] = {tonumber(flat[at]), tonumber(last), tonumber(live)}
  end
  table.sort(found, function(a, b) return a[1] < b[1] end)
  return found
end
