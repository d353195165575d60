/**
 * `takeToken` of bucket.ts inside Redis, by Redis' clock: one step for all processes that share a bucket. The level is
 * written without an exponent, because `%.14g`, Redis' own way, would round it.
 */
export const TAKE_TOKEN = `
local rate, burst, remember = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local unit = 60000
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local stored = redis.call("HMGET", KEYS[1], "level", "at")
local level = burst * unit
if stored[1] then
  local elapsed = math.max(0, now - tonumber(stored[2]))
  level = math.min(level, tonumber(stored[1]) + elapsed * rate)
end
local allowed = 0
if level >= unit then
  level = level - unit
  allowed = 1
end
redis.call("HSET", KEYS[1], "level", string.format("%.0f", level), "at", string.format("%.0f", now))
redis.call("PEXPIRE", KEYS[1], remember)
return { allowed, string.format("%.0f", level), string.format("%.0f", now) }
`;
