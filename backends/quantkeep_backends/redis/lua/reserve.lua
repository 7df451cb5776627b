-- A large append is about to send identities ahead: from now on whoever appends to the stream looks
-- there too, and strikes it from `pending` if one of them is taken. Those that ended are dropped.
local stream, id, seconds = take(), take(), take()
local name = P .. 'stream:' .. stream
local f = call('HMGET', name, 'freed', 'pending', 'segments')
local pending = {}
for other in (f[2] or ''):gmatch('%x+') do
  if call('EXISTS', P .. 'staged:' .. other .. ':ids:' .. stream) == 1 then
    pending[#pending + 1] = other
  end
end
local key = P .. 'staged:' .. id .. ':ids:' .. stream
call('HSET', key, '', '') -- no identity is empty; it goes with the commit
call('EXPIRE', key, seconds)
pending[#pending + 1] = id
call('HSET', name, 'pending', table.concat(pending, ' '))
local others = (f[3] or '') ~= '' or call('EXISTS', P .. 'ids:' .. stream) == 1
return {f[1] or '0', others and '1' or ''}
