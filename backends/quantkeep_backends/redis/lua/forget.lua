-- For corruption tests alone: a record or a single entry vanishes, with what was noted of it.
local collection, key, log = take(), take(), take() == '1'
local book = call('HGET', P .. 'book:' .. collection, key)
call('HDEL', P .. 'book:' .. collection, key)
if book then
  local known = cmsgpack.unpack(book)
  for at = 1, #known[1], 2 do call('ZREM', P .. known[1][at], known[1][at + 1]) end
  for at = 1, #known[2], 2 do call('HDEL', P .. known[2][at], known[2][at + 1]) end
  for at = 1, #known[3], 5 do
    call('HDEL', P .. 'refs:' .. known[3][at] .. ':' .. known[3][at + 1], known[3][at + 4] .. key)
  end
end
if not log then return call('DEL', P .. collection .. ':' .. key) end
local of, revision = key:match('^(.*):(%d+)$')
local stream = collection .. ':' .. of
if call('HDEL', P .. 'tail:' .. stream, revision) == 0 then
  call('SADD', P .. 'gone:' .. stream, revision)
  call('HINCRBY', P .. 'stream:' .. stream, 'epoch', 1)
end
return 1
