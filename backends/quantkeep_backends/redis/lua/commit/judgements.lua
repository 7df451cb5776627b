-- Judgements: nil, or why not.

local function unmet(row, kind, wanted)
  if kind == '' then return end
  if kind == 'absent' then return row and {'exists'} end
  if kind == 'present' then return not row and {'absent'} end
  if kind == 'at' then
    if row and row.revision == wanted then return end
    return {'revision', row and row.revision or ''}
  end
  if row and row.token == wanted then return end
  return {'token', row and row.token or ''}
end

local function taken(book)
  for at = 1, #book[2], 2 do
    if holder_of(book[2][at], book[2][at + 1]) then return {'taken', text((at + 1) / 2)} end
  end
end
