-- cache.lua [URL] - what is dear to make is kept in Redis, and made once: whoever misses it takes a lock; the
-- others wait until it is there. The lock has an owner and a limit of time: a program that dies leaves none,
-- and nobody lets go of another's.
local asyncio = require "asyncio"

local LOCKED = 5      -- seconds that making may take
local KEPT = 60       -- seconds that a value is kept
local PAUSE = 0.02    -- seconds between two looks

local made = 0

--- Stands for a query that takes long.
local function make(name)
  made = made + 1
  asyncio.sleep(0.1)
  return ("%s, made at %.0f"):format(name, os.time())
end

--- A cache on that client.
local function new_cache(client)
  local unlock = client:script [[
    if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end
    return 0
  ]]

  --- The value, and whether it was made here.
  return function(name)
    local key, lock = "cache:" .. name, "lock:" .. name
    local owner = ("%x.%x"):format(math.random(0), math.random(0))
    while true do
      local value = client:get(key)
      if value then return value, false end
      if client:set(lock, owner, "NX", "PX", LOCKED * 1000) then
        local _ <close> = asyncio.defer(unlock, { lock }, owner)
        value = client:get(key) -- another may have made it just before the lock was ours
        if value then return value, false end
        value = make(name)
        client:set(key, value, "EX", KEPT)
        return value, true
      end
      asyncio.sleep(PAUSE)
    end
  end
end

asyncio.run(function()
  local client <close> = asyncio.redis.connect(arg[1] or "redis://127.0.0.1:6379")
  client:del("cache:tea", "cache:coffee")
  local fetch = new_cache(client)
  local makers, values = 0, {}
  do
    local group <close> = asyncio.TaskGroup()
    for i = 1, 100 do
      group:create_task(function()
        local value, here = fetch(i % 2 == 0 and "tea" or "coffee")
        values[value] = true
        if here then makers = makers + 1 end
      end)
    end
  end
  local different = 0
  for _ in pairs(values) do different = different + 1 end
  print(("100 asked, %d made, %d values"):format(makers, different))
  assert(made == makers)
end)
