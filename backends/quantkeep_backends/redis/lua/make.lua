-- A new keep, unless there is one.
local layout, format, id = take(), take(), take()
if call('HEXISTS', KEYS[1], 'layout') == 0 then
  call('HSET', KEYS[1], 'layout', layout, 'format', format, 'id', id, 'schema', '0', 'commits', '0')
end
return call('HMGET', KEYS[1], 'layout', 'format', 'id')
