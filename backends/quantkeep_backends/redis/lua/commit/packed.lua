-- Many entries at once come packed: chunks as they will stand, and their identities beside them.
-- All other writes of the batch to the same log are appends too, and come with the first of them.
local shared = {} -- by log: what is to be answered of those appends
local function take_blob()
  local staged = take()
  if staged == '' then return {value = take()} end
  return {staged = staged}
end

local function content(blob)
  if not blob.staged then return blob.value end
  return call('GET', blob.staged)
end

-- Identities of a parcel's rows: the length of a list of them and of their rows' numbers (none if
-- all rows have one), that list, and their digests, if they were needed.
local function identities(blob)
  local size = struct.unpack('>I4', blob)
  local lists = cmsgpack.unpack(blob:sub(5, 4 + size))
  local numbers, ids, digests = lists[2], {names = lists[1]}, #blob > 4 + size
  function ids.entry(at, first)
    local from = 5 + size + 16 * (at - 1)
    local revision = text(first + (numbers[at] or at - 1))
    return digests and revision .. ' ' .. blob:sub(from, from + 15) or revision
  end
  return ids
end

-- Which of a parcel's identities are stored already.
local function look_up(stream, names, report)
  local ids = P .. 'ids:' .. stream
  local function look(key, first)
    for from = 1, #names, MANY do
      local upto = math.min(from + MANY - 1, #names)
      for at, found in ipairs(call('HMGET', key, unpack(names, from, upto))) do
        if found then report(names[from + at - 1], first and counted_from(first, found) or found) end
      end
    end
  end
  look(ids)
  for first in beside_of(stream).segments:gmatch('%d+') do look(ids .. ':' .. first, first) end
end

-- Whether identities that were sent ahead are all there, and nobody else was first with one.
local function still_reserved(stream)
  return beside_of(stream).pending:find(id, 1, true)
    and call('EXISTS', P .. 'staged:' .. id .. ':ids:' .. stream) == 1
end

local function part(collection, columns, number, dupes)
  local of, reserved = take(), take() == '1'
  local stream = collection .. ':' .. of
  if reserved and not still_reserved(stream) then return nil, {'changed'} end
  local first = head_of(collection, of) + 1
  local revision, parcels = first, {}
  for _ = 1, count() do
    local parcel = {rows = count(), first = revision}
    parcel.data, parcel.info, parcel.ids = take_blob(), take(), take_blob()
    local packed_ids = content(parcel.ids)
    local missing = parcel.data.staged and call('EXISTS', parcel.data.staged) == 0
    if missing or not packed_ids then return nil, {'unstaged'} end
    if packed_ids ~= '' then
      local ids = identities(packed_ids)
      parcel.ids.unpacked = ids
      look_up(stream, ids.names, function(name, found)
        local n = #dupes
        dupes[n + 1], dupes[n + 2], dupes[n + 3] = number, name, found
      end)
    end
    parcels[#parcels + 1] = parcel
    revision = revision + parcel.rows
  end
  heads[collection][of] = revision - 1
  for _, column in ipairs(columns) do
    local least, most, sorted = take(), take(), take() == '1'
    if revision > first then order(stream, column, revision - 1, least, most, sorted) end
  end
  local noted = note_entry(stream)
  for _, parcel in ipairs(parcels) do noted.packed[#noted.packed + 1] = parcel end
  noted.rows = noted.rows + revision - first
  noted.reserved = reserved and text(first)
  return first, nil, revision - first
end

function extend()
  local collection, columns = take(), take_columns()
  local dupes, firsts, added = {}, {}, 0
  for number = 1, count() do
    local first, refusal, many = part(collection, columns, text(number), dupes)
    if refusal then return refusal end
    firsts[number], added = first, added + many
  end
  local changed = false
  for _ = 1, count() do -- identities that were there before, at these revisions
    local stream, identity, revision = take(), take(), take()
    local known = identity_of(stream, identity)
    changed = changed or not known or known:match('^%d+') ~= revision
  end
  for _ = 1, count() do -- streams of which no identity became free since they were looked up
    local stream, freed = take(), take()
    changed = changed or (call('HGET', P .. 'stream:' .. stream, 'freed') or '0') ~= freed
  end
  local answers = {}
  for number = 1, count() do
    local new, runs = take(), {}
    for _ = 1, count() do
      local of, many, revision = count(), count(), count()
      if of > 0 then -- the next rows of that part
        revision = firsts[of] + revision
      end
      runs[#runs + 1] = '[' .. text(revision) .. ',' .. text(many) .. ']'
    end
    answers[number] = {new, table.concat(runs, ',')}
  end
  if changed then return {'changed'} end
  if #dupes > 0 then return {'dupes', unpack(dupes, 1, math.min(#dupes, 3 * 2000))} end
  grows = grows or added > 0
  shared[collection] = answers
  share(collection)
end

-- An append whose rows have come with those of an earlier one.
function share(collection)
  outcome(unpack(table.remove(shared[collection or take()], 1)))
end

function write_packed(stream, parcel)
  local first = text(parcel.first)
  local name = P .. 'chunk:' .. stream .. ':' .. first
  if parcel.data.staged then
    call('RENAME', parcel.data.staged, name)
    call('PERSIST', name)
  else
    call('SET', name, parcel.data.value)
  end
  if parcel.ids.staged then call('DEL', parcel.ids.staged) end
  call('HSET', P .. 'chunks:' .. stream, first,
    text(parcel.first + parcel.rows - 1) .. ' ' .. text(parcel.rows) .. ' ' .. now .. ' '
    .. parcel.info)
  local ids = parcel.ids.unpacked
  if ids then
    local set = {}
    for at = 1, #ids.names do
      set[2 * at - 1], set[2 * at] = ids.names[at], ids.entry(at, parcel.first)
    end
    by_many('HSET', P .. 'ids:' .. stream, set)
    disturb(stream, ids.names)
  end
end

-- Identities that were sent ahead become a segment. Other large appends have to look again.
function publish(stream, first)
  local key, segment = P .. 'staged:' .. id .. ':ids:' .. stream, P .. 'ids:' .. stream .. ':' .. first
  local of = beside_of(stream)
  call('HDEL', key, '')
  call('RENAME', key, segment)
  call('PERSIST', segment)
  of.segments = of.segments == '' and first or of.segments .. ' ' .. first
  of.pending, of.changed, of.added = '', true, true
end
