--- Statements about objects whose finalisers act: they lie around, or in something that becomes garbage.
local asyncio = require "asyncio"

--- An object that does a block when it is collected.
local function object(env, list)
  return setmetatable({}, { __gc = function()
    env:trace "a finaliser"
    local ok, err = pcall(env.quick, env, list)
    if not ok then env:judge("a finaliser", err) end
  end })
end

local QUICK = { "quick" }

-- What an object does to its task when it is collected.
local ENDS = {
  function(task) task:cancel() end,
  function(task) task:set_name "of an object that is gone" end,
  function(task) task:add_done_callback(rawlen) end,
  function(task) task:uncancel() end,
  function(task) task:remove_done_callback(rawlen) end,
  function(task) return task:get_coro(), task:traceback() end,
}

local function watch(body)
  for _ = 1, 2 do
    local _ <close> = asyncio.timeout(1)
    asyncio.sleep(0)
  end
  if body then body() end
end

--- An object with a task in the background that doesn't know it.
local function watched(task, act) return setmetatable({ task = task }, { __gc = function(self) act(self.task) end }) end

return {
  { "garbage", 4, quick = true, bodies = QUICK, run = function(env, s) object(env, s[1]) end },
  { "much garbage", 3, quick = true, bodies = QUICK, run = function(env, s)
    for _ = 1, s.a % 20 do object(env, s[1]) end
  end },
  { "objects with tasks", 6, bodies = { "task" }, run = function(env, s)
    local body, act = env:body(s[1], s.b), ENDS[s.c % #ENDS + 1]
    for round = 1, s.a % 8 + 1 do
      for i = 1, 40 do watched(asyncio.create_task(watch, i == 1 and round == 1 and body), act) end
      asyncio.sleep(0)
    end
  end },
  { "garbage in a task", 3, quick = true, bodies = { "quick", "task" }, run = function(env, s)
    env:add("task", asyncio.create_task(env:body(s[2], s.b), object(env, s[1])))
  end },
  { "garbage in a queue", 2, on = "queue", quick = true, bodies = QUICK, run = function(env, s, queue)
    return queue:put_nowait(object(env, s[1])) -- the one that compares tells which of them it minds
  end },
  { "garbage in a future", 2, on = "future", quick = true, bodies = QUICK, run = function(env, s, future)
    future:set_result(object(env, s[1]))
  end },
  { "garbage in an error", 2, on = "future", quick = true, bodies = QUICK, run = function(env, s, future)
    future:set_exception(object(env, s[1]))
  end },
  { "garbage in a callback", 3, on = "future", quick = true, bodies = QUICK, run = function(env, s, future)
    local held = object(env, s[1])
    future:add_done_callback(function() return held end)
  end },
  { "garbage in a timer", 2, quick = true, bodies = QUICK, run = function(env, s)
    asyncio.get_running_loop():call_later(env:delay(s.b), tostring, object(env, s[1])):cancel()
  end },
  { "garbage in a ring", 2, quick = true, bodies = QUICK, run = function(env, s)
    local future, held = asyncio.get_running_loop():create_future(), object(env, s[1])
    held.future = future
    future:add_done_callback(function() return held end)
  end },
  { "garbage in a coroutine", 2, quick = true, bodies = QUICK, run = function(env, s)
    local co = asyncio.coroutine.create(function()
      local held <const> = object(env, s[1])
      asyncio.coroutine.yield()
      return held
    end)
    coroutine.resume(co)
  end },
  { "garbage in a block", 3, bodies = { "quick", "task" }, run = function(env, s)
    local held = object(env, s[1])
    env:block(s[2])
    return held and true
  end },
  { "garbage that comes back", 1, quick = true, bodies = QUICK, run = function(env, s)
    local back = asyncio.Lock() -- finalised before who holds it: it is used without its own finaliser
    setmetatable({ back }, { __gc = function(self) env:add("lock", self[1]) end })
    object(env, s[1])
  end },
}
