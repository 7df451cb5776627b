-- One batch: everything is looked at and judged first, in tables beside what is stored; only then
-- is anything written, so that a refusal leaves no trace. See `quantkeep.model` for what it all means.

arguments = cmsgpack.unpack(ARGV[1]) -- many as one, which cost a fourth of as many
local schema, id, seen, seen_id = take(), take(), count(), take()
local op, op_digest, writes = take(), take(), count()

local meta = call('HMGET', KEYS[1], 'commits', 'schema')
local commits = tonumber(meta[1] or 0)
if gone_back(commits, seen, seen_id) then return {'regressed', text(commits)} end
if call('HEXISTS', P .. 'void', id) == 1 then return {'void'} end
if op ~= '' then
  local known = call('HGET', P .. 'ops', op)
  if known then return {'replayed', text(commits), known} end
end
if meta[2] ~= schema then return {'schema'} end

local clock = call('TIME')
local now = clock[1] .. format('%06d', clock[2])

local extend, share, write_packed, publish -- of packed entries, where the batch has any
