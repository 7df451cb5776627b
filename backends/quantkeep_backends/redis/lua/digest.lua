-- Notes the digests of entries whose identities a large append left without, where they still are.
call('DEL', P .. 'none') -- a full server refuses a script's first write if it takes room
for _ = 1, count() do
  local stream, identity, revision, digest = take(), take(), take(), take()
  local ids = P .. 'ids:' .. stream
  local function note(key, known)
    if call('HGET', key, identity) == known then call('HSET', key, identity, known .. ' ' .. digest) end
  end
  note(ids, revision)
  for first in (call('HGET', P .. 'stream:' .. stream, 'segments') or ''):gmatch('%d+') do
    note(ids .. ':' .. first, text(tonumber(revision) - tonumber(first)))
  end
end
return 'ok'
