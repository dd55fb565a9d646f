-- KEYS: position, outbox. ARGV: sequence number up to which messages were delivered. Returns how many were taken out.
local appended = tonumber(redis.call('HGET', KEYS[1], 'appended') or '0')
local length = redis.call('LLEN', KEYS[2])
local delivered = math.min(tonumber(ARGV[1]) - (appended - length), length)
if delivered > 0 then
  redis.call('LTRIM', KEYS[2], delivered, -1)
  return delivered
end
return 0
