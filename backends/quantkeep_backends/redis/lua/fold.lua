-- Identities of a segment are moved to the hash of their stream, some hundred at a time.
local stream, first, cursor, many = take(), take(), take(), take()
local ids, name = P .. 'ids:' .. stream, P .. 'stream:' .. stream
local found = call('HSCAN', ids .. ':' .. first, cursor, 'COUNT', many)
local moved, gone = {}, {}
for at = 1, #found[2], 2 do
  local identity, value = found[2][at], found[2][at + 1]
  local offset = value:match('^%d+')
  moved[#moved + 1] = identity
  moved[#moved + 1] = text(tonumber(first) + tonumber(offset)) .. value:sub(#offset + 1)
  gone[#gone + 1] = identity
end
by_many('HSET', ids, moved)
by_many('HDEL', ids .. ':' .. first, gone)
if call('EXISTS', ids .. ':' .. first) == 0 then
  local rest = {}
  for other in (call('HGET', name, 'segments') or ''):gmatch('%d+') do
    if other ~= first then rest[#rest + 1] = other end
  end
  call('HSET', name, 'segments', table.concat(rest, ' '))
  return {'0'}
end
return {found[1]}
