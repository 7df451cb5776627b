-- Puts.

local function stamp(digits)
  if digits:sub(1, 1) ~= '-' then return '1' .. string.rep('0', 20 - #digits) .. digits end
  local magnitude = digits:sub(2)
  local padded = string.rep('0', 20 - #magnitude) .. magnitude
  return '0' .. padded:gsub('%d', function(digit) return text(9 - digit) end)
end

local function take_book(created, updated)
  local members, groups, references = {}, {}, {}
  for at = 1, count() do
    members[2 * at - 1] = take()
    local parts = {}
    for segment = 1, count() do
      local said = take()
      if said == '\0created' then said = stamp(created) end
      if said == '\0updated' then said = stamp(updated) end
      parts[segment] = said
    end
    members[2 * at] = table.concat(parts)
  end
  for at = 1, 2 * count() do groups[at] = take() end
  for at = 1, 5 * count() do references[at] = take() end
  return {members, groups, references}
end

local outcomes = {}
local function outcome(added, runs) outcomes[#outcomes + 1] = '[' .. added .. ',[' .. runs .. ']]' end

local function put()
  local collection, key, stream, immutable = take(), take(), take(), take() == '1'
  local kind, wanted = take(), take()
  local row = {digest = take(), version = take(), created = take(), updated = take(), token = take()}
  local known = keyed_row(collection, key)
  if known then row.created = known.created end
  if row.created == '' then row.created = now end
  if row.updated == '' then row.updated = now end
  row.note = take()
  if row.note == '' then
    row.book = take_book(row.created, row.updated)
    row.note = cmsgpack.pack(row.book)
  end
  row.fields, row.nulls = {}, {}
  for at = 1, 2 * count() do row.fields[at] = take() end
  for at = 1, count() do row.nulls[at] = take() end
  if row.token == '' then row.token = nil end

  local refusal = unmet(known, kind, wanted)
  if refusal then return refusal end
  if known and immutable then
    if known.digest ~= row.digest then return {'content'} end
    outcome(0, '[' .. known.revision .. ',1]')
    return
  end
  touch(collection, key)
  local revision = head_of(collection, stream) + 1
  row.same = known and known.note == row.note -- as with most updates
  row.settled = row.same and (known.settled or not known.fields) -- and so it is stored
  if not row.same then
    if known then remove(collection, key, true) end
    refusal = taken(book_of(collection, key, row))
    if refusal then return refusal end
  end
  row.revision = text(revision)
  heads[collection][stream] = revision
  store(collection, key, row)
  outcome(known and 0 or 1, '[' .. row.revision .. ',1]')
end
