-- Enters a record into indexes and groups that it was stored without; nothing if it has changed.
local collection, key, revision = take(), take(), take()
local f = call('HMGET', P .. collection .. ':' .. key, '_revision', '_created_at', '_updated_at')
if f[1] ~= revision then return 'changed' end
local function stamp(digits)
  if digits:sub(1, 1) ~= '-' then return '1' .. string.rep('0', 20 - #digits) .. digits end
  local magnitude = digits:sub(2)
  local padded = string.rep('0', 20 - #magnitude) .. magnitude
  return '0' .. padded:gsub('%d', function(digit) return text(9 - digit) end)
end
local book = {{}, {}, {}}
for at = 1, count() do
  book[1][2 * at - 1] = take()
  local parts = {}
  for segment = 1, count() do
    local said = take()
    if said == '\0created' then said = stamp(f[2]) end
    if said == '\0updated' then said = stamp(f[3]) end
    parts[segment] = said
  end
  book[1][2 * at] = table.concat(parts)
end
for at = 1, 2 * count() do book[2][at] = take() end
for at = 1, 5 * count() do book[3][at] = take() end
for at = 1, #book[2], 2 do
  local holder = call('HGET', P .. book[2][at], book[2][at + 1])
  if holder and holder ~= key then return 'taken' end
end
for at = 1, #book[1], 2 do call('ZADD', P .. book[1][at], '0', book[1][at + 1]) end
for at = 1, #book[2], 2 do call('HSET', P .. book[2][at], book[2][at + 1], key) end
for at = 1, #book[3], 5 do
  call('HSET', P .. 'refs:' .. book[3][at] .. ':' .. book[3][at + 1],
    book[3][at + 4] .. key, book[3][at + 3])
end
call('HSET', P .. 'book:' .. collection, key, cmsgpack.pack(book))
return 'ok'
