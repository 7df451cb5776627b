-- Deletions and requirements.

local function take_target()
  local collection, key, log, identity = take(), take(), take() == '1', take()
  local row = row_of(collection, key, log)
  if row and log and identity ~= '' then row.identity = identity end
  return collection, key, row, unmet(row, take(), take())
end

local function delete()
  local collection, key, row, refusal = take_target()
  if refusal then return refusal end
  if row then
    remove(collection, key)
    cascade(collection, key)
  end
  outcome(row and 1 or 0, '')
end

local function require_row()
  local _, _, _, refusal = take_target()
  if refusal then return refusal end
  outcome(0, '')
end
