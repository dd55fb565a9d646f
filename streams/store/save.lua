-- One batch of a partition, as a whole or not at all.
-- KEYS: position, outbox, then users.
-- ARGV: expected offset ('' for none), new offset, note, token, and in MessagePack {messages, users}: a list of strings,
--       and for each user of KEYS a list {field, value, ...}, empty where the user is erased. (One argument instead of
--       thousands: most of the call's cost would be the client's, taking them one by one.)
-- Returns {1, sequence of the newest message}, or {0, offset found} where the position is not the expected one.
local held = redis.call('HMGET', KEYS[1], 'offset', 'token', 'appended')
local appended = tonumber(held[3] or '0')
if ARGV[4] ~= '' and held[2] == ARGV[4] then
  return {1, appended} -- this very save was made before; only its reply was lost
end
if (held[1] or '') ~= ARGV[1] then
  return {0, held[1] or ''}
end

local batch = cmsgpack.unpack(ARGV[5])
local messages, users = batch[1], batch[2]
for first = 1, #messages, 1000 do -- unpack takes some 8,000 values at most
  redis.call('RPUSH', KEYS[2], unpack(messages, first, math.min(first + 999, #messages)))
end
for at, fields in ipairs(users) do
  if #fields == 0 then
    redis.call('DEL', KEYS[at + 2])
  else
    redis.call('HSET', KEYS[at + 2], unpack(fields))
  end
end

appended = appended + #messages
redis.call('HSET', KEYS[1], 'offset', ARGV[2], 'note', ARGV[3], 'token', ARGV[4], 'appended', appended)
return {1, appended}
