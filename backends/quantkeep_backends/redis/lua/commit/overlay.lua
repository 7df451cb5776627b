-- What will be stored, over what is.

local rows = {} -- 'collection:key': the row as this batch leaves it, false where there is none
local touched = {} -- each row that changes, once, with what was there before
local effects = {} -- {collection, key, row that was stored, or nil}
local heads, holders, back, entries = {}, {}, {}, {}
local grows = false

-- What a row holds and refers to, as it is noted beside it: members of indexes, values of unique
-- groups, references; of an entry, its identity.
local function note_of(collection, key, row)
  row.note = row.note or call('HGET', P .. 'book:' .. collection, key) or ''
  return row.note
end

local function keyed_row(collection, key)
  local name = collection .. ':' .. key
  local row = rows[name]
  if row == nil then
    local f = call('HMGET', P .. name, '_revision', '_created_at', '_digest', 'token')
    row = f[1] and {revision = f[1], created = f[2], digest = f[3], token = f[4]} or false
    rows[name] = row
  end
  return row
end

-- Whether this batch has appended an entry of that revision, which may not be among `rows`.
local function is_appended(collection, of, revision)
  local head = (heads[collection] or {})[of]
  return head and revision <= head
    and revision > tonumber(call('HGET', P .. 'heads:' .. collection, of) or 0)
end

-- A log's entry stands alone in a hash, or in a chunk unless it is marked as gone.
local chunks = {}
local function chunk_over(stream, revision)
  chunks[stream] = chunks[stream] or chunks_of(stream)
  for _, chunk in ipairs(chunks[stream]) do
    if chunk[1] <= revision and revision <= chunk[2] then return chunk end
  end
end

local function log_row(collection, key)
  local name = collection .. ':' .. key
  local row = rows[name]
  if row ~= nil then return row end
  local of, revision = key:match('^(.*):(%-?%d+)$')
  local stream = collection .. ':' .. of
  row = false
  if call('HEXISTS', P .. 'tail:' .. stream, revision) == 1 then
    row = {revision = revision, stream = stream, log = true}
  elseif is_appended(collection, of, tonumber(revision)) then
    return {revision = revision, stream = stream, log = true}
  else
    local chunk = chunk_over(stream, tonumber(revision))
    if chunk and call('SISMEMBER', P .. 'gone:' .. stream, revision) == 0 then
      row = {revision = revision, stream = stream, log = true, chunk = chunk}
    end
  end
  rows[name] = row
  return row
end

local function row_of(collection, key, log)
  if log then return log_row(collection, key) end
  return keyed_row(collection, key)
end

local function book_of(collection, key, row)
  if not row.book then
    local note = note_of(collection, key, row)
    row.book = note ~= '' and cmsgpack.unpack(note) or {{}, {}, {}, ''}
  end
  return row.book
end

local function touch(collection, key)
  local name = collection .. ':' .. key
  if not touched[name] then
    local before = rows[name]
    if before then note_of(collection, key, before) end
    touched[name] = true
    touched[#touched + 1] = {name = name, collection = collection, key = key, before = before}
  end
end

local function head_of(collection, stream)
  local of = heads[collection] or {}
  heads[collection] = of
  of[stream] = of[stream] or tonumber(call('HGET', P .. 'heads:' .. collection, stream) or 0)
  return of[stream]
end

local function holder_of(group, value)
  local of = holders[group] or {}
  holders[group] = of
  if of[value] == nil then of[value] = call('HGET', P .. group, value) end
  return of[value]
end

local function hold(book, key, value)
  for at = 1, #book[2], 2 do
    local group, what = book[2][at], book[2][at + 1]
    if value or holder_of(group, what) == key then holders[group][what] = value end
  end
end

-- References, seen from what is referred to: field 'collection|columns|key', 'cascade' or not.
local function refer(book, key, value)
  for at = 1, #book[3], 5 do
    local to = 'refs:' .. book[3][at] .. ':' .. book[3][at + 1]
    back[to] = back[to] or {}
    back[to][book[3][at + 4] .. key] = value and (book[3][at + 3]) or false
  end
end

local function referring(collection, key)
  local to = 'refs:' .. collection .. ':' .. key
  local flat, found = call('HGETALL', P .. to), {}
  local changed = back[to] or {}
  for at = 1, #flat, 2 do
    if changed[flat[at]] == nil then found[#found + 1] = {flat[at], flat[at + 1]} end
  end
  for field, value in pairs(changed) do
    if value then found[#found + 1] = {field, value} end
  end
  table.sort(found, function(a, b) return a[1] < b[1] end)
  return found
end

local function referrer(field) return field:match('^([^|]*)|[^|]*|(.*)$') end

-- Identities stand in a hash for each stream, and in segments that large appends left beside it,
-- whose revisions count from their first. Those of large appends that are under way are pending.
local beside = {}
local function beside_of(stream)
  local of = beside[stream]
  if not of then
    local f = call('HMGET', P .. 'stream:' .. stream, 'segments', 'pending')
    of = {segments = f[1] or '', pending = f[2] or ''}
    beside[stream] = of
  end
  return of
end

local function counted_from(first, found)
  local offset = found:match('^%d+')
  return text(tonumber(first) + tonumber(offset)) .. found:sub(#offset + 1)
end

local function in_segments(stream, identity)
  for first in beside_of(stream).segments:gmatch('%d+') do
    local found = call('HGET', P .. 'ids:' .. stream .. ':' .. first, identity)
    if found then return counted_from(first, found) end
  end
  return false
end

local function identity_of(stream, identity)
  local group = 'ids:' .. stream
  local of = holders[group] or {}
  holders[group] = of
  if of[identity] == nil then
    of[identity] = call('HGET', P .. group, identity) or in_segments(stream, identity)
  end
  return of[identity]
end

local function identify(stream, identity, value)
  identity_of(stream, identity)
  holders['ids:' .. stream][identity] = value
end

-- Large appends that are under way look again if one of these identities is theirs too.
local function disturb(stream, identities)
  local of = beside_of(stream)
  for id in of.pending:gmatch('%x+') do
    local key, met = P .. 'staged:' .. id .. ':ids:' .. stream, false
    for from = 1, #identities, MANY do
      local upto = math.min(from + MANY - 1, #identities)
      for _, found in ipairs(call('HMGET', key, unpack(identities, from, upto))) do
        met = met or found
      end
    end
    if met then of.pending, of.changed = of.pending:gsub(id, ''), true end
  end
end

local function remove(collection, key, replaced)
  touch(collection, key)
  local row = rows[collection .. ':' .. key]
  local book = book_of(collection, key, row)
  hold(book, key, false)
  refer(book, key, false)
  if row.log then
    local identity = row.identity or book[4]
    if identity and identity ~= '' then
      local known = identity_of(row.stream, identity)
      if known and known:match('^%d+') == row.revision then identify(row.stream, identity, false) end
    end
  end
  rows[collection .. ':' .. key] = false
  if not replaced then effects[#effects + 1] = {collection, key} end
end

local function cascade(collection, key)
  for _, found in ipairs(referring(collection, key)) do
    if found[2]:sub(1, 7) == 'cascade' then
      local other, other_key = referrer(found[1])
      if row_of(other, other_key, found[2]:sub(-3) == 'log') then
        remove(other, other_key)
        cascade(other, other_key)
      end
    end
  end
end

local function store(collection, key, row)
  rows[collection .. ':' .. key] = row
  if not row.same then
    hold(row.book, key, key)
    refer(row.book, key, true)
  end
  effects[#effects + 1] = {collection, key, row}
  grows = true
end
