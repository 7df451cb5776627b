-- Records by key, or by a range of an index; a page of them as one string.
local seen, seen_id = count(), take()
local commits = commits_now()
if gone_back(commits, seen, seen_id) then return {'regressed', text(commits)} end

local collection, index, backwards = take(), take(), take() == '1'
local low, high, most, bytes = take(), take(), count(), count()
local fields = {}
for at = 1, count() do fields[at] = take() end

local function key_in(member)
  local size = member:byte(-2) * 256 + member:byte(-1)
  return member:sub(-2 - size, -3)
end

local members = {}
if index == '' then
  members = {low}
elseif backwards then
  members = call('ZREVRANGEBYLEX', P .. index, high, low, 'LIMIT', 0, most)
else
  members = call('ZRANGEBYLEX', P .. index, low, high, 'LIMIT', 0, most)
end
local found, size, last = {}, 0, ''
for _, member in ipairs(members) do
  local key = index == '' and member or key_in(member)
  local row = packed(call('HMGET', P .. collection .. ':' .. key, unpack(fields)), #fields)
  found[#found + 1] = struct.pack('>I4', #row)
  found[#found + 1] = row
  size, last = size + #row, member
  if size > bytes then break end
end
local more = #members == most or (last ~= members[#members] and #members > 0)
return {'ok', text(commits), now_text(), more and last or '', table.concat(found)}
