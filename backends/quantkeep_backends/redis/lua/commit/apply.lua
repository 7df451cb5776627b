-- From here on nothing is refused.

local receipt = '{"at":' .. now .. ',"outcomes":[' .. table.concat(outcomes, ',') .. ']}'
if #effects == 0 and not grows and op == '' then return {'same', text(commits), receipt} end

-- A full server refuses a script's first write if it takes room, and none after that.
if not grows then call('DEL', P .. 'none') end
commits = commits + 1
call('HSET', P .. 'recent', text(commits % RING), id .. ' ' .. receipt)
call('HSET', KEYS[1], 'commits', text(commits))
if op ~= '' then
  local check = '{"check": "sha1:' .. redis.sha1hex(receipt .. op .. op_digest):sub(1, 8) .. '", '
  call('HSET', P .. 'ops', op, op_digest .. ' ' .. check .. receipt:sub(2))
end

local added, dropped, epochs = {}, {}, {}
local function index(before, after)
  local kept = {}
  for at = 1, #(after or {}), 2 do kept[after[at] .. '\0' .. after[at + 1]] = true end
  for at = 1, #(before or {}), 2 do
    local name, member = before[at], before[at + 1]
    if kept[name .. '\0' .. member] then
      kept[name .. '\0' .. member] = nil
    else
      dropped[name] = dropped[name] or {}
      table.insert(dropped[name], member)
    end
  end
  for at = 1, #(after or {}), 2 do
    local name, member = after[at], after[at + 1]
    if kept[name .. '\0' .. member] then
      added[name] = added[name] or {}
      table.insert(added[name], '0')
      table.insert(added[name], member)
    end
  end
end

local function write_keyed(change, row)
  local name, book = P .. change.name, P .. 'book:' .. change.collection
  local before = change.before
  if not row then
    index(book_of(change.collection, change.key, before)[1], nil)
    call('DEL', name)
    call('HDEL', book, change.key)
    return
  end
  if not before or before.note ~= row.note then
    index(before and book_of(change.collection, change.key, before)[1],
      book_of(change.collection, change.key, row)[1])
    call('HSET', book, change.key, row.note)
  end
  local fields = row.fields
  local n = #fields
  fields[n + 1], fields[n + 2] = '_revision', row.revision
  fields[n + 3], fields[n + 4] = '_created_at', row.created
  fields[n + 5], fields[n + 6] = '_updated_at', row.updated
  fields[n + 7], fields[n + 8] = '_schema_version', row.version
  fields[n + 9], fields[n + 10] = '_digest', row.digest
  fields[n + 11] = '_seal'
  fields[n + 12] = redis.sha1hex(table.concat(
    {change.key, row.revision, row.created, row.updated, row.version, row.digest}, '|'))
  by_many('HSET', name, fields)
  if before then by_many('HDEL', name, row.nulls) end
end

local function has_book(row) return #row.book[2] > 0 or #row.book[3] > 0 end

local function write_entry(change, row)
  local book = P .. 'book:' .. change.collection
  local of = note_entry((row or change.before).stream)
  if row then
    table.insert(of.tail, row.revision)
    table.insert(of.tail, row.body)
    of.rows, of.loose = of.rows + 1, of.loose + 1
    if has_book(row) then call('HSET', book, change.key, cmsgpack.pack(row.book)) end
    return
  end
  local before = change.before
  call('HDEL', book, change.key)
  of.rows = of.rows - 1
  epochs[before.stream] = true
  if not before.chunk then
    of.loose = of.loose - 1
    call('HDEL', P .. 'tail:' .. before.stream, before.revision)
    return
  end
  local chunk, gone = before.chunk, P .. 'gone:' .. before.stream
  chunk[3] = chunk[3] - 1
  chunk.changed = true
  if chunk[3] > 0 then
    call('SADD', gone, before.revision)
    return
  end
  call('DEL', P .. 'chunk:' .. before.stream .. ':' .. text(chunk[1]))
  call('HDEL', P .. 'chunks:' .. before.stream, text(chunk[1]))
  local through = {}
  for revision = chunk[1], chunk[2] do through[#through + 1] = text(revision) end
  by_many('SREM', gone, through)
end

for _, change in ipairs(touched) do
  local row = rows[change.name]
  if row or change.before then
    local log = (row or change.before).log
    if log then write_entry(change, row) else write_keyed(change, row) end
  end
end
for stream, list in pairs(chunks) do
  for _, chunk in ipairs(list) do
    if chunk.changed and chunk[3] > 0 then
      local first = text(chunk[1])
      local known = call('HGET', P .. 'chunks:' .. stream, first)
      local rest = known:match('^%d+ %d+ (.*)$') or ''
      call('HSET', P .. 'chunks:' .. stream, first,
        text(chunk[2]) .. ' ' .. text(chunk[3]) .. ' ' .. rest)
    end
  end
end
for name, list in pairs(dropped) do by_many('ZREM', P .. name, list) end
for name, list in pairs(added) do by_many('ZADD', P .. name, list) end
local function note_identities(stream, held, free)
  disturb(stream, held)
  if #free == 0 then return end
  for first in beside_of(stream).segments:gmatch('%d+') do
    by_many('HDEL', P .. 'ids:' .. stream .. ':' .. first, free)
  end
  call('HINCRBY', P .. 'stream:' .. stream, 'freed', 1)
end

for group, of in pairs(holders) do
  local set, free, held = {}, {}, {}
  for value, key in pairs(of) do
    if key then
      local n = #set
      set[n + 1], set[n + 2] = value, key
      held[#held + 1] = value
    else
      free[#free + 1] = value
    end
  end
  by_many('HDEL', P .. group, free)
  by_many('HSET', P .. group, set)
  if group:sub(1, 4) == 'ids:' then note_identities(group:sub(5), held, free) end
end
for to, of in pairs(back) do
  local set, free = {}, {}
  for field, value in pairs(of) do
    if value then
      local n = #set
      set[n + 1], set[n + 2] = field, value
    else
      free[#free + 1] = field
    end
  end
  by_many('HDEL', P .. to, free)
  by_many('HSET', P .. to, set)
end
for collection, of in pairs(heads) do
  for stream, head in pairs(of) do
    if head > 0 then call('HSET', P .. 'heads:' .. collection, stream, text(head)) end
  end
end

local crowded = {}
for stream, of in pairs(entries) do
  by_many('HSET', P .. 'tail:' .. stream, of.tail)
  for _, parcel in ipairs(of.packed) do write_packed(stream, parcel) end
  if of.reserved then publish(stream, of.reserved) end
  local name = P .. 'stream:' .. stream
  call('HINCRBY', name, 'rows', text(of.rows))
  if of.loose ~= 0 then
    local loose = call('HINCRBY', name, 'loose', text(of.loose))
    if loose >= 4096 then crowded[#crowded + 1] = stream end
  end
  if epochs[stream] or #of.packed > 0 then call('HINCRBY', name, 'epoch', 1) end
  by_many('HSET', name, of.tops)
  for column, known in pairs(of.most) do
    call('HSET', name, 'max:' .. column, known[1], 'late:' .. column, known[2])
  end
end

for stream, of in pairs(beside) do
  local name = P .. 'stream:' .. stream
  if of.changed then call('HSET', name, 'pending', of.pending) end
  if of.added then call('HSET', name, 'segments', of.segments) end
  if of.added and select(2, of.segments:gsub('%d+', '')) > 8 then crowded[#crowded + 1] = stream end
end

return {'ok', text(commits), receipt, unpack(crowded, 1, math.min(#crowded, 100))}
