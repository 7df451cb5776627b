-- Chunks, and single entries between them, become one chunk; nothing if one of them changed.
local stream, epoch, first, last, rows = take(), take(), take(), take(), take()
local info, data = take(), take()
local name, chunks = P .. 'stream:' .. stream, P .. 'chunks:' .. stream
if (call('HGET', name, 'epoch') or '0') ~= epoch then return 'changed' end
local function taken()
  local list = {}
  for at = 1, count() do list[at] = take() end
  return list
end
local before, singles, tops, lost, gaps = taken(), taken(), taken(), taken(), taken()
for _, chunk in ipairs(before) do call('UNLINK', P .. 'chunk:' .. stream .. ':' .. chunk) end
by_many('HDEL', chunks, before)
by_many('HDEL', P .. 'tail:' .. stream, singles)
by_many('HDEL', name, tops)
by_many('SREM', P .. 'gone:' .. stream, lost)
by_many('SADD', P .. 'gone:' .. stream, gaps)
call('SET', P .. 'chunk:' .. stream .. ':' .. first, data)
call('HSET', chunks, first, last .. ' ' .. rows .. ' 0 ' .. info)
if #singles > 0 then call('HINCRBY', name, 'loose', '-' .. #singles) end
call('HINCRBY', name, 'epoch', 1)
return 'ok'
