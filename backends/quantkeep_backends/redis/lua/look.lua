-- Which identities are stored already, and at which revisions.
local ids = P .. 'ids:' .. take()
local found = {}
local function look(key, first)
  if call('EXISTS', key) == 0 then return end
  for from = place + 1, #ARGV, MANY do
    local upto = math.min(from + MANY - 1, #ARGV)
    for at, known in ipairs(call('HMGET', key, unpack(ARGV, from, upto))) do
      if known then
        local offset = known:match('^%d+')
        if first then known = text(tonumber(first) + tonumber(offset)) .. known:sub(#offset + 1) end
        found[#found + 1] = ARGV[from + at - 1]
        found[#found + 1] = known
      end
    end
  end
end
look(ids)
for first in (call('HGET', P .. 'stream:' .. ids:sub(#P + 5), 'segments') or ''):gmatch('%d+') do
  look(ids .. ':' .. first, first)
end
return found
