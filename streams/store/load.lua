-- KEYS: position, then users. Returns {{offset, note, token, appended}, {field, value, ...} of each user}.
local answer = {redis.call('HMGET', KEYS[1], 'offset', 'note', 'token', 'appended')}
for at = 2, #KEYS do
  answer[at] = redis.call('HGETALL', KEYS[at])
end
return answer
