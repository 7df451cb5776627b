-- Single entries of a log become a packed chunk; nothing if anything was deleted meanwhile.
local stream, first, last, rows, epoch = take(), take(), take(), take(), take()
local info, data = take(), take()
local name = P .. 'stream:' .. stream
if (call('HGET', name, 'epoch') or '0') ~= epoch then return 'changed' end
call('SET', P .. 'chunk:' .. stream .. ':' .. first, data)
call('HSET', P .. 'chunks:' .. stream, first, last .. ' ' .. rows .. ' 0 ' .. info)
local through, gaps, tops = {}, {}, {}
for revision = tonumber(first), tonumber(last) do through[#through + 1] = text(revision) end
for at = 1, count() do gaps[at] = take() end
for at = 1, count() do tops[at] = take() end
by_many('HDEL', name, tops)
by_many('HDEL', P .. 'tail:' .. stream, through)
by_many('SADD', P .. 'gone:' .. stream, gaps)
call('HINCRBY', name, 'loose', '-' .. rows)
call('HINCRBY', name, 'epoch', 1)
return 'ok'
