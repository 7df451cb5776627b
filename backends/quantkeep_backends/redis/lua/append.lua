-- One entry of a log that refers to nothing: what `commit.lua` does, without what it needs for more.
local call, format = redis.call, string.format
local P = KEYS[1]:sub(1, -5)
local schema, id, seen, seen_id, op, op_digest = unpack(ARGV, 1, 6)
local collection, of, digest, created, updated, body, identity = unpack(ARGV, 7, 13)
local meta = call('HMGET', KEYS[1], 'commits', 'schema')
local commits = tonumber(meta[1] or 0)

seen = tonumber(seen)
if commits < seen then return {'regressed', meta[1] or '0'} end
if seen > 0 and seen_id ~= '' and commits - seen < 4096 then
  local known = call('HGET', P .. 'recent', format('%.0f', seen % 4096))
  if not known or known:sub(1, #seen_id) ~= seen_id then return {'regressed', meta[1]} end
end
if call('HEXISTS', P .. 'void', id) == 1 then return {'void'} end
if op ~= '' then
  local known = call('HGET', P .. 'ops', op)
  if known then return {'replayed', meta[1], known} end
end
if meta[2] ~= schema then return {'schema'} end

local clock = call('TIME')
local now = clock[1] .. format('%06d', clock[2])
local stream, new = collection .. ':' .. of, true
local revision, pending
if identity ~= '' then
  local ids = P .. 'ids:' .. stream
  local known = call('HGET', ids, identity)
  local beside = call('HMGET', P .. 'stream:' .. stream, 'segments', 'pending')
  pending = beside[2]
  for first in (not known and beside[1] or ''):gmatch('%d+') do
    local found = call('HGET', ids .. ':' .. first, identity)
    if found then
      local offset = found:match('^%d+')
      known = format('%.0f', tonumber(first) + tonumber(offset)) .. found:sub(#offset + 1)
    end
  end
  if known then
    revision, new = known:match('^%d+'), false
    if known == revision then return {'undigested', {{stream, identity, revision}}} end
    if known:sub(#revision + 2) ~= digest then return {'no', '1', 'taken', '0', '1'} end
  end
end
if new then
  local head = call('HGET', P .. 'heads:' .. collection, of)
  revision = format('%.0f', tonumber(head or 0) + 1)
end
local receipt = '{"at":' .. now .. ',"outcomes":[[' .. (new and 1 or 0) .. ',[[' .. revision .. ',1]]]]}'
if not new and op == '' then return {'same', meta[1], receipt} end

commits = commits + 1
local number = format('%.0f', commits)
if not new then call('DEL', P .. 'none') end
call('HSET', P .. 'recent', format('%.0f', commits % 4096), id .. ' ' .. receipt)
call('HSET', KEYS[1], 'commits', number)
if op ~= '' then
  local check = '{"check": "sha1:' .. redis.sha1hex(receipt .. op .. op_digest):sub(1, 8) .. '", '
  call('HSET', P .. 'ops', op, op_digest .. ' ' .. check .. receipt:sub(2))
end
if not new then return {'ok', number, receipt} end

if created == '' then created = now end
if updated == '' then updated = now end
local said = table.concat({revision, created, updated, ''}, ' ')
call('HSET', P .. 'tail:' .. stream, revision, said .. redis.sha1hex(said .. body):sub(1, 8) .. ' ' .. body)
call('HSET', P .. 'heads:' .. collection, of, revision)
if identity ~= '' then call('HSET', P .. 'ids:' .. stream, identity, revision .. ' ' .. digest) end
local name = P .. 'stream:' .. stream
for at = 14, #ARGV, 2 do
  local most = call('HGET', name, 'max:' .. ARGV[at])
  if not most or ARGV[at + 1] >= most then
    most = ARGV[at + 1]
    call('HSET', name, 'max:' .. ARGV[at], most)
  else
    call('HSET', name, 'late:' .. ARGV[at], revision)
  end
  -- up to here no entry has a greater value: what a listing of the newest need not look at
  if tonumber(revision) % 256 == 0 then
    call('HSET', name, 'top:' .. ARGV[at] .. ':' .. revision, most)
  end
end
for other in (pending or ''):gmatch('%x+') do -- a large append under way, which must look again
  if call('HEXISTS', P .. 'staged:' .. other .. ':ids:' .. stream, identity) == 1 then
    pending = pending:gsub(other, '')
    call('HSET', name, 'pending', pending)
  end
end
call('HINCRBY', name, 'rows', 1)
if call('HINCRBY', name, 'loose', 1) >= 4096 then return {'ok', number, receipt, stream} end
return {'ok', number, receipt}
