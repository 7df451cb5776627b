-- Stages a blob, or renews the time it was staged at; with no data, forgets it.
local digest, data, before = take(), take(), take()
local clock = call('TIME')
if data ~= '' or before == 'put' then
  call('SET', P .. 'blob:' .. digest, data)
  call('ZADD', P .. 'blobs', clock[1] .. format('%06d', clock[2]), digest)
  return 'ok'
end
local staged = call('ZSCORE', P .. 'blobs', digest)
if staged and (before == '' or tonumber(staged) < tonumber(before)) then
  call('DEL', P .. 'blob:' .. digest)
  call('ZREM', P .. 'blobs', digest)
end
return 'ok'
