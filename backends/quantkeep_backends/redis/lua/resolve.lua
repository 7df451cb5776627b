-- What became of a commit whose answer was lost. If it was not made, it never will be: the command
-- may still be on its way, and is refused when it comes.
local id, sent_at = take(), count()
local commits = commits_now()
local from = math.max(sent_at + 1, commits - RING + 1)
for number = from, commits do
  local known = call('HGET', P .. 'recent', text(number % RING))
  if known and known:sub(1, #id) == id then return {'done', text(number), known:sub(#id + 2)} end
end
if commits - sent_at >= RING then return {'unknown'} end
call('HSET', P .. 'void', id, text(commits))
return {'never'}
