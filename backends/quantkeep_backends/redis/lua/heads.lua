-- How far every stream of a log has come, at one moment.
local seen, seen_id = count(), take()
local commits = commits_now()
if gone_back(commits, seen, seen_id) then return {'regressed', text(commits)} end
return {'ok', text(commits), now_text(), call('HGETALL', P .. 'heads:' .. take())}
