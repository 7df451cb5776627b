-- Appends, entry by entry.

local function note_entry(stream)
  local of = entries[stream]
  if not of then
    of = {tail = {}, tops = {}, rows = 0, loose = 0, most = {}, packed = {}}
    entries[stream] = of
  end
  return of
end

-- Which entries are out of the order of a column: the last that came late, by revision.
local function order(stream, column, revision, least, most, sorted)
  local of = note_entry(stream)
  local known = of.most[column]
  if not known then
    local f = call('HMGET', P .. 'stream:' .. stream, 'max:' .. column, 'late:' .. column)
    known = {f[1] or '', f[2] or '0'}
    of.most[column] = known
  end
  if not sorted or least < known[1] then known[2] = text(revision) end
  if most > known[1] then known[1] = most end
  if revision % 256 == 0 then -- up to here no entry has a greater value
    local n = #of.tops
    of.tops[n + 1], of.tops[n + 2] = 'top:' .. column .. ':' .. text(revision), known[1]
  end
end

-- Entries that a large append left without a digest, whose content has to be looked at elsewhere.
local undigested = {}

-- Whether an identity is known: a refusal, or the revision of the entry that has it.
local function told_before(stream, identity, digest)
  local known = identity ~= '' and identity_of(stream, identity)
  if not known then return end
  local revision = known:match('^%d+')
  if known == revision then
    undigested[#undigested + 1] = {stream, identity, revision}
    return nil, revision
  end
  if known:sub(#revision + 2) == digest then return nil, revision end
  return {'taken', '0'}
end

local function written(revision, created, updated, body)
  local stamps = table.concat({
    revision, created == '' and now or created, updated == '' and now or updated, ''}, ' ')
  return stamps .. redis.sha1hex(stamps .. body):sub(1, 8) .. ' ' .. body
end

-- An entry of a log that nothing else in the batch is about, and that refers to nothing.
local function append_plain(collection, columns)
  local of, digest, created, updated, body, identity = unpack(arguments, place + 1, place + 6)
  place = place + 6
  local stream = collection .. ':' .. of
  local refused, before = told_before(stream, identity, digest)
  if refused or before then
    place = place + #columns
    return refused, before
  end
  local revision = head_of(collection, of) + 1
  local said, noted = text(revision), note_entry(stream)
  heads[collection][of] = revision
  if identity ~= '' then identify(stream, identity, said .. ' ' .. digest) end
  for _, column in ipairs(columns) do
    local value = take()
    order(stream, column, revision, value, value, true)
  end
  local n = #noted.tail
  noted.tail[n + 1], noted.tail[n + 2] = said, written(said, created, updated, body)
  noted.rows, noted.loose = noted.rows + 1, noted.loose + 1
  grows = true
  return nil, said, true
end

local function append_row(collection, columns)
  local of, digest, created, updated = take(), take(), take(), take()
  local body, identity = take(), take()
  local sorted_by = {}
  for at = 1, #columns do sorted_by[at] = take() end
  local book = take_book('', '')
  book[4] = identity
  local stream = collection .. ':' .. of
  local refusal = taken(book)
  if refusal then return refusal end
  local refused, before = told_before(stream, identity, digest)
  if refused or before then return refused, before end
  local revision = head_of(collection, of) + 1
  local key, said = of .. ':' .. text(revision), text(revision)
  rows[collection .. ':' .. key] = false
  touch(collection, key)
  heads[collection][of] = revision
  if identity ~= '' then identify(stream, identity, said .. ' ' .. digest) end
  for at, column in ipairs(columns) do
    order(stream, column, revision, sorted_by[at], sorted_by[at], true)
  end
  store(collection, key, {
    revision = said, stream = stream, log = true, book = book, identity = identity,
    body = written(said, created, updated, body),
  })
  return nil, said, true
end

local function take_columns()
  local columns = {}
  for at = 1, count() do columns[at] = take() end
  return columns
end

local function append()
  local collection, plain, columns = take(), take() == '1', take_columns()
  local runs, added, last, length = {}, 0, nil, 0
  for at = 1, count() do
    local refusal, revision, new = (plain and append_plain or append_row)(collection, columns)
    if refusal then
      refusal[#refusal + 1] = text(at)
      return refusal
    end
    if new then added = added + 1 end
    if last and tonumber(revision) == last + length then
      length = length + 1
    else
      if last then runs[#runs + 1] = '[' .. text(last) .. ',' .. length .. ']' end
      last, length = tonumber(revision), 1
    end
  end
  if last then runs[#runs + 1] = '[' .. text(last) .. ',' .. length .. ']' end
  outcome(added, table.concat(runs, ','))
end
