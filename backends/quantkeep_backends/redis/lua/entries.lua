-- A stream of a log: how far it has come, what is packed, and its single entries of some revisions.
local seen, seen_id = count(), take()
local commits = commits_now()
if gone_back(commits, seen, seen_id) then return {'regressed', text(commits)} end

local collection, of, epoch = take(), take(), take()
local low, high, many, bytes, backwards = take(), take(), count(), count(), take() == '1'
local stream = collection .. ':' .. of
local head = tonumber(call('HGET', P .. 'heads:' .. collection, of) or 0)
local facts = call('HGETALL', P .. 'stream:' .. stream)
local now = call('HGET', P .. 'stream:' .. stream, 'epoch') or '0'
local chunks, gone = false, false
if now ~= epoch then
  chunks = call('HGETALL', P .. 'chunks:' .. stream)
  gone = call('SMEMBERS', P .. 'gone:' .. stream)
end

if high == '' then high = head else high = math.min(tonumber(high), head) end
low = math.max(low == '' and 1 or tonumber(low), 1)
local found, size, reached = {}, 0, backwards and high + 1 or low - 1
while many > 0 do
  local from, upto
  if backwards then
    upto = reached - 1
    from = math.max(low, upto - math.min(many, 500) + 1)
  else
    from = reached + 1
    upto = math.min(high, from + math.min(many, 500) - 1)
  end
  if from > upto or size > bytes then break end
  local names = {}
  for revision = from, upto do names[#names + 1] = text(revision) end
  local rows = call('HMGET', P .. 'tail:' .. stream, unpack(names))
  local page = {}
  for at = 1, #names do
    if rows[at] then
      page[#page + 1] = struct.pack('>I4', #rows[at])
      page[#page + 1] = rows[at]
      size = size + #rows[at] + 4
    end
  end
  local page_text = table.concat(page)
  if backwards then table.insert(found, 1, page_text) else found[#found + 1] = page_text end
  many = many - #names
  reached = backwards and from or upto
end
return {'ok', text(commits), now_text(), text(head), now, facts, chunks, gone, text(reached), table.concat(found)}
