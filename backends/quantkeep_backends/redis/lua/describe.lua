-- The keep's description of its collections, put in the place of the one it was made from.
local before, after = take(), take()
local known = call('HGET', KEYS[1], 'description') or ''
if known ~= before then return {'changed'} end
if known ~= after then
  call('HSET', KEYS[1], 'description', after)
  call('HINCRBY', KEYS[1], 'schema', 1)
end
for _ = 1, count() do call('HSET', P .. 'columns', take(), take()) end
local building = {}
for _ = 1, count() do
  local collection, index = take(), take()
  local state = call('HGET', P .. 'indexes', index)
  if not state then
    state = call('EXISTS', P .. 'book:' .. collection) == 1 and 'building' or 'ready'
    call('HSET', P .. 'indexes', index, state)
  end
  if state ~= 'ready' then building[#building + 1] = index end
end
return {'ok', unpack(building)}
