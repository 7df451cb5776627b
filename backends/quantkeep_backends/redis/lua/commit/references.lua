-- Every write in order; then references, judged by the state after the batch.

local kinds = {P = put, A = append, B = extend, S = share, D = delete, R = require_row}
for number = 1, writes do
  local refusal = kinds[take()]()
  if #undigested > 0 and (refusal or number == writes) then return {'undigested', undigested} end
  if refusal then return {'no', text(number), unpack(refusal)} end
end


for _, effect in ipairs(effects) do
  if not effect[3] and not rows[effect[1] .. ':' .. effect[2]] then
    local found = referring(effect[1], effect[2])[1]
    if found then return {'referred', effect[1], effect[2], referrer(found[1])} end
  end
end
for _, effect in ipairs(effects) do
  local row = effect[3]
  -- What a row that is stored refers to is not missing: it could not have been deleted.
  if row and not row.settled and rows[effect[1] .. ':' .. effect[2]] == row then
    local references = book_of(effect[1], effect[2], row)[3]
    for at = 1, #references, 5 do
      if not row_of(references[at], references[at + 1], references[at + 2] == '1') then
        return {'dangling', effect[1], references[at + 4], references[at], references[at + 1]}
      end
    end
  end
end
